//! The target of a request: decoded and normalised once, or refused.
//!
//! Between a client and an app several programs read the same path: the gateway, this engine, the
//! app's framework. Where two of them could read it differently, one may let through what the
//! other serves as something else. So nothing is repaired here: what has more than one reading is
//! refused, with a sentence that says why.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::query::Query;

/// The longest target that is read, bytes (G4).
pub const TARGET_MAX: usize = 8_192;
/// The most segments of a path.
pub const SEGMENTS_MAX: usize = 128;

/// What a segment is written with again: RFC 3986 unreserved, and the sub-delimiters that no
/// server takes for anything but themselves.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b':')
    .remove(b'@');

/// What to do with `//` in a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptySegments {
    /// Refuse it: some servers merge slashes, some do not.
    #[default]
    Refuse,
    /// Read it as one slash, as nginx does with `merge_slashes`: right where the app does so too.
    Merge,
}

/// Why a target has no single reading. Each is a 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// More than [`TARGET_MAX`] bytes.
    #[error("the target is longer than {TARGET_MAX} bytes")]
    TooLong,
    /// More than [`SEGMENTS_MAX`] segments.
    #[error("the path has more than {SEGMENTS_MAX} segments")]
    TooManySegments,
    /// Nothing.
    #[error("the target is empty; a path begins with `/`")]
    Empty,
    /// `*`, `https://host/path`, `host:443`, or a path without its slash (RFC 9112 §3.2).
    #[error("the target is not a path that begins with `/`")]
    NotOrigin,
    /// `#`.
    #[error("the target has a `#`: fragments are never sent")]
    Fragment,
    /// A byte that does not stand in a target as it is (RFC 3986 §2).
    #[error("the target holds the byte 0x{0:02X} as it is; it has to be percent-encoded")]
    BareByte(u8),
    /// `%` without two hexadecimal digits.
    #[error("a `%` is not followed by two hexadecimal digits")]
    BadEscape,
    /// `%2F`, or a character that some programs turn into a slash.
    #[error("the path has an encoded slash: is it part of a name, or does it end one?")]
    EncodedSlash,
    /// `\` or `%5C`, or a character that some programs turn into one.
    #[error("the path has a backslash, which some servers read as a slash")]
    Backslash,
    /// What is decoded can be decoded once more.
    #[error("the path is encoded twice")]
    EncodedTwice,
    /// `.` or `..`, in any encoding.
    #[error("the path has a dot segment (`.` or `..`)")]
    DotSegment,
    /// A segment that begins or ends with a blank.
    #[error("the path has a segment with a blank at its end, which some servers cut off")]
    BlankAtEnd,
    /// `//`, where it is not merged.
    #[error("the path has an empty segment (`//`)")]
    EmptySegment,
    /// `;` or `%3B`.
    #[error("the path has a `;`: some servers cut a segment there")]
    PathParameter,
    /// `%3F` or `%23`: a gateway that passes the path on decoded ends it there.
    #[error("the path has an encoded `?` or `#`: who passes it on decoded ends the path there")]
    EncodedEnd,
    /// NUL and other control characters.
    #[error("the path has the control character U+{0:04X}")]
    Control(u32),
    /// Not UTF-8 when decoded; overlong forms of `/` and `.` are this too.
    #[error("the path is not UTF-8 when it is decoded")]
    NotUtf8,
}

/// A target with one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    segments: Vec<String>,
    slash_at_end: bool,
    query: Option<Query>,
}

impl Target {
    /// Reads the target as it stood in the request line (RFC 9112 §3.2.1), not decoded by anyone.
    ///
    /// # Errors
    /// When it is not a path, or has more than one reading.
    pub fn parse(raw: &[u8], empty: EmptySegments) -> Result<Self, TargetFault> {
        if raw.len() > TARGET_MAX {
            return Err(TargetFault::TooLong);
        }
        match raw.first() {
            None => return Err(TargetFault::Empty),
            Some(b'/') => {}
            Some(_) => return Err(TargetFault::NotOrigin),
        }
        if let Some(byte) = raw.iter().find(|byte| !byte.is_ascii_graphic()) {
            return Err(TargetFault::BareByte(*byte));
        }
        if raw.contains(&b'#') {
            return Err(TargetFault::Fragment);
        }
        let mut halves = raw.splitn(2, |byte| *byte == b'?');
        let path = halves.next().unwrap_or_default();
        let query = halves.next().map(Query::new);
        let (segments, slash_at_end) = segments(path, empty)?;
        Ok(Self {
            segments,
            slash_at_end,
            query,
        })
    }

    /// The decoded segments: none for `/`. None is empty, a dot segment, or holds a slash.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The path decoded, without a slash at its end: one text for one reading. No segment holds a
    /// slash, so each is still what it was.
    #[must_use]
    pub fn decoded(&self) -> String {
        format!("/{}", self.segments.join("/"))
    }

    /// The path again, in the one way to write it: what two targets with the same reading share,
    /// but for a slash at the end, which stays.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            path.extend(utf8_percent_encode(segment, SEGMENT));
        }
        if self.slash_at_end || path.is_empty() {
            path.push('/');
        }
        path
    }

    /// What follows the first `?`.
    #[must_use]
    pub fn query(&self) -> Option<&Query> {
        self.query.as_ref()
    }

    /// Path and query again.
    #[must_use]
    pub fn written(&self) -> String {
        let mut written = self.path();
        if let Some(query) = &self.query {
            written.push('?');
            written.push_str(query.as_str());
        }
        written
    }
}

/// The segments of a path, and whether a slash ends it.
fn segments(path: &[u8], empty: EmptySegments) -> Result<(Vec<String>, bool), TargetFault> {
    let mut found = Vec::new();
    let mut parts = path.split(|byte| *byte == b'/').skip(1).peekable();
    let mut slash_at_end = false;
    while let Some(part) = parts.next() {
        if !part.is_empty() {
            found.push(segment(part)?);
            if found.len() > SEGMENTS_MAX {
                return Err(TargetFault::TooManySegments);
            }
        } else if parts.peek().is_none() {
            // The last slash of `/orders/`; that of `/` alone is its beginning.
            slash_at_end = !found.is_empty();
        } else if empty == EmptySegments::Refuse {
            return Err(TargetFault::EmptySegment);
        }
    }
    Ok((found, slash_at_end))
}

/// One segment, decoded once.
fn segment(raw: &[u8]) -> Result<String, TargetFault> {
    if !escapes_are_whole(raw) {
        return Err(TargetFault::BadEscape);
    }
    let decoded = percent_decode(raw).collect::<Vec<u8>>();
    let text = String::from_utf8(decoded).map_err(|_| TargetFault::NotUtf8)?;
    for character in text.chars() {
        match character {
            // Those beyond ASCII become a slash where text is brought to one form (NFKC).
            '/' | '\u{FF0F}' | '\u{2100}' | '\u{2101}' | '\u{2105}' | '\u{2106}' => {
                return Err(TargetFault::EncodedSlash);
            }
            '\\' | '\u{FF3C}' | '\u{FE68}' => return Err(TargetFault::Backslash),
            ';' | '\u{FF1B}' | '\u{FE14}' | '\u{FE54}' | '\u{037E}' => {
                return Err(TargetFault::PathParameter);
            }
            '?' | '\u{2047}' | '\u{2048}' | '\u{2049}' | '\u{FE16}' | '\u{FE56}' | '\u{FF1F}'
            | '#' | '\u{FE5F}' | '\u{FF03}' => return Err(TargetFault::EncodedEnd),
            '\u{FF05}' | '\u{FE6A}' => return Err(TargetFault::EncodedTwice),
            _ if character.is_control() => {
                return Err(TargetFault::Control(u32::from(character)));
            }
            _ => {}
        }
    }
    if is_dots(&text) {
        return Err(TargetFault::DotSegment);
    }
    if text.trim() != text {
        return Err(TargetFault::BlankAtEnd);
    }
    if can_be_decoded_again(text.as_bytes()) {
        return Err(TargetFault::EncodedTwice);
    }
    Ok(text)
}

/// Whether nothing but dots and what surrounds them unseen is there: `.`, `..`, also with blanks,
/// which some file systems cut off, and with the dots that NFKC turns into plain ones.
fn is_dots(text: &str) -> bool {
    let mut dots = 0;
    for character in text.trim().chars() {
        match character {
            '.' | '\u{2024}' | '\u{FE52}' | '\u{FF0E}' => dots += 1,
            '\u{2025}' | '\u{FE30}' => dots += 2,
            _ => return false,
        }
    }
    // Blanks alone are no name either; three dots and more are one.
    dots <= 2
}

/// Whether each `%` has its two digits.
pub(crate) fn escapes_are_whole(raw: &[u8]) -> bool {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {}
            _ => return false,
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    true
}

/// Whether somebody who decodes again would find something: `%2f`, or `%u002f` of old servers.
fn can_be_decoded_again(text: &[u8]) -> bool {
    text.iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .any(|(at, _)| {
            let hex = |from: usize, to: usize| {
                text.get(from..to)
                    .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            };
            let is_wide = matches!(text.get(at + 1), Some(b'u' | b'U')) && hex(at + 2, at + 6);
            is_wide || hex(at + 1, at + 3)
        })
}

#[cfg(test)]
mod tests;
