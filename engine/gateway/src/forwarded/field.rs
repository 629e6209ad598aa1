//! Lists in header fields: `X-Forwarded-For`, and `Forwarded` with its quotes.

use http::{HeaderMap, HeaderName};

use super::{ELEMENTS_MAX, FORWARDED, ForwardedFault};

/// One element of `Forwarded`, with what is read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) from: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) proto: Option<String>,
}

impl Element {
    /// The value of `for`; a hop that leaves it out does not say.
    pub(crate) fn node(&self) -> &str {
        self.from.as_deref().unwrap_or("unknown")
    }
}

/// The elements of a plain list in all its fields, in their order (RFC 9110 §5.3): some proxies
/// add to the field, some add a field. Empty elements are none (§5.6.1).
pub(super) fn listed<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Vec<&'a str>, ForwardedFault> {
    let mut found = Vec::new();
    for value in headers.get_all(name) {
        let text = value
            .to_str()
            .map_err(|_| ForwardedFault::Malformed(name.clone()))?;
        for element in text.split(',') {
            let element = element.trim_matches([' ', '\t']);
            if element.is_empty() {
                continue;
            }
            if found.len() == ELEMENTS_MAX {
                return Err(ForwardedFault::TooLong(name.clone()));
            }
            found.push(element);
        }
    }
    Ok(found)
}

/// The elements of `Forwarded` (RFC 7239 §4). Each field is read by itself, and to its end: a
/// quote that a client leaves open must not swallow what a proxy wrote behind it.
pub(crate) fn forwarded(headers: &HeaderMap) -> Result<Vec<Element>, ForwardedFault> {
    let malformed = || ForwardedFault::Malformed(FORWARDED);
    let mut found = Vec::new();
    for value in headers.get_all(FORWARDED) {
        let text = value.to_str().map_err(|_| malformed())?;
        let mut rest = text;
        loop {
            let (element, after) = element(rest).ok_or_else(malformed)?;
            if let Some(element) = element {
                if found.len() == ELEMENTS_MAX {
                    return Err(ForwardedFault::TooLong(FORWARDED));
                }
                found.push(element);
            }
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
    }
    Ok(found)
}

type Rest<'a> = Option<&'a str>;

/// One element, and what follows its comma. None inside: it is empty.
fn element(text: &str) -> Option<(Option<Element>, Rest<'_>)> {
    let mut element = Element::default();
    let mut is_empty = true;
    let mut seen: Vec<String> = Vec::new();
    let mut rest = text;
    loop {
        rest = blanks(rest);
        let end = rest
            .bytes()
            .position(|byte| !is_token(byte))
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end)?;
        if name.is_empty() {
            rest = after;
        } else {
            let (value, after) = value(after.strip_prefix('=')?)?;
            let name = name.to_ascii_lowercase();
            // Twice in one element is not allowed (§4), and would have two readings.
            if seen.contains(&name) {
                return None;
            }
            match name.as_str() {
                "for" => element.from = Some(value),
                "host" => element.host = Some(value),
                "proto" => element.proto = Some(value),
                _ => {}
            }
            seen.push(name);
            is_empty = false;
            rest = after;
        }
        rest = blanks(rest);
        let mut characters = rest.chars();
        match characters.next() {
            None => return Some(((!is_empty).then_some(element), None)),
            Some(',') => return Some(((!is_empty).then_some(element), Some(characters.as_str()))),
            Some(';') => rest = characters.as_str(),
            Some(_) => return None,
        }
    }
}

/// A token or a quoted string, and what follows.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text
            .bytes()
            .position(|byte| !is_token(byte))
            .unwrap_or(text.len());
        let (token, rest) = text.split_at_checked(end)?;
        return (!token.is_empty()).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

fn blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
