//! The query of a target: passed on as it is, and read strictly where a route reads it.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::path::escapes_are_whole;

/// The most pairs of a query that a route reads.
pub const PAIRS_MAX: usize = 256;

/// Why a key of the query has no single value. Each is a 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryFault {
    /// The key comes twice.
    #[error("the query has `{0}` more than once: servers differ in which one counts")]
    Duplicate(String),
    /// The key comes as some frameworks read it, and not as the route writes it.
    #[error("the query has `{0}` in another spelling (such as `ID` or `id[]` for `id`)")]
    OtherSpelling(String),
    /// A key that begins with `[`: some frameworks read `[id]` as `id`.
    #[error("the query has a key that begins with `[`, which servers read as different keys")]
    NoRoot,
    /// A `;`, at which some servers part pairs.
    #[error("the query has a `;`, at which some servers part pairs; encode it as %3B")]
    Semicolon,
    /// `%` without two hexadecimal digits.
    #[error("in the query a `%` is not followed by two hexadecimal digits")]
    BadEscape,
    /// A key, or the value of a key that the route reads, is not UTF-8.
    #[error("the query is not UTF-8 when it is decoded")]
    NotUtf8,
    /// NUL or another control character in a key, or in a value that the route reads.
    #[error("the query has the control character U+{0:04X}")]
    Control(u32),
    /// More than [`PAIRS_MAX`] pairs.
    #[error("the query has more than {PAIRS_MAX} pairs")]
    TooMany,
}

/// A query as it was sent, without its `?`: visible ASCII, since [`crate::Target`] lets nothing
/// else through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query(Box<str>);

impl Query {
    pub(crate) fn new(raw: &[u8]) -> Self {
        Self(String::from_utf8_lossy(raw).into())
    }

    /// As it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one value of `key`, decoded as HTML forms are (`+` is a space). None: it is not there.
    ///
    /// All keys are looked at, since one that is hard to read may be this one to somebody else:
    /// `ID`, `%69d`, `id[]` and `id[0]` are all `id` to some framework, and `user.id` is `user_id`.
    ///
    /// # Errors
    /// When servers could differ in the value.
    pub fn value(&self, key: &str) -> Result<Option<String>, QueryFault> {
        if self.0.contains(';') {
            return Err(QueryFault::Semicolon);
        }
        let mut found = None;
        for (number, pair) in self.0.split('&').enumerate() {
            if number == PAIRS_MAX {
                return Err(QueryFault::TooMany);
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            if name != key {
                if name.trim_start().starts_with('[') {
                    return Err(QueryFault::NoRoot);
                }
                // It is not the key to us, but may be to the app.
                if is_like(&name, key) {
                    return Err(QueryFault::OtherSpelling(key.to_owned()));
                }
                continue;
            }
            if found.is_some() {
                return Err(QueryFault::Duplicate(key.to_owned()));
            }
            found = Some(decode(value)?);
        }
        Ok(found)
    }

    /// The values of all keys that anybody could take for `key`, as far as they can be read: for a
    /// key that frameworks read whether or not a route does, so that nothing else is refused here.
    pub(crate) fn like<'a>(&'a self, key: &'a str) -> impl Iterator<Item = String> + 'a {
        let pairs = self.0.split(['&', ';']);
        pairs.filter_map(move |pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = lenient(name);
            let name = name.trim_start_matches(['[', ' ']).trim_end_matches(']');
            is_like(name, key).then(|| lenient(value))
        })
    }

    /// The keys that can be read, for people.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        self.0
            .split('&')
            .filter(|pair| !pair.is_empty())
            .take(PAIRS_MAX)
            .filter_map(|pair| decode(pair.split('=').next().unwrap_or_default()).ok())
    }
}

/// Whether some framework takes `name` for `key`.
fn is_like(name: &str, key: &str) -> bool {
    let root = name.split('[').next().unwrap_or_default();
    let key = folded(key);
    [root.trim(), name.trim(), name.trim_start()]
        .into_iter()
        .any(|name| folded(name) == key)
}

/// A key as PHP and Spring write it, in one case.
fn folded(name: &str) -> String {
    name.chars()
        .filter(|character| *character != ']')
        .map(|character| match character {
            '.' | ' ' | '[' => '_',
            _ => character.to_ascii_lowercase(),
        })
        .collect()
}

/// Decoded as far as it goes.
fn lenient(raw: &str) -> String {
    let spaced = raw.replace('+', " ");
    percent_decode(spaced.as_bytes())
        .decode_utf8_lossy()
        .into_owned()
}

fn decode(raw: &str) -> Result<String, QueryFault> {
    if !escapes_are_whole(raw.as_bytes()) {
        return Err(QueryFault::BadEscape);
    }
    let spaced = if raw.contains('+') {
        Cow::Owned(raw.replace('+', " "))
    } else {
        Cow::Borrowed(raw)
    };
    let text = percent_decode(spaced.as_bytes())
        .decode_utf8()
        .map_err(|_| QueryFault::NotUtf8)?
        .into_owned();
    match text.chars().find(|character| character.is_control()) {
        Some(character) => Err(QueryFault::Control(u32::from(character))),
        None => Ok(text),
    }
}
