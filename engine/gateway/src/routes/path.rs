//! The paths of routes: `/orders/{id}`, `/files/{path...}`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use crate::path::{EmptySegments, Target};
use crate::template::{Captures, is_capture_name};

/// What to make of a segment that differs from a route's in case, or in dots at its end: to some
/// apps (Express, ASP.NET, IIS) `/Admin` and `/admin.` are `/admin`, to others they are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// Refuse what a route would take if it were the same: nobody has said how the app reads it.
    #[default]
    Refuse,
    /// It is another one. Right where the app tells them apart.
    Exact,
    /// It is the same. Right where the app does not.
    Fold,
}

/// How a path fits a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) captures: Captures,
    /// Only in another case.
    pub(crate) is_folded: bool,
}

/// A segment as apps see it that do not tell cases apart.
pub(crate) fn folded(segment: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if segment.bytes().all(is_plain) && !segment.ends_with('.') {
        return Cow::Borrowed(segment);
    }
    let bare = match segment.trim_end_matches('.') {
        "" => segment,
        bare => bare,
    };
    // By way of the upper case: `ſ` is an `S` to some.
    let upper = bare.chars().flat_map(char::to_uppercase);
    Cow::Owned(upper.flat_map(char::to_lowercase).collect())
}

/// A segment as it is compared.
pub(crate) fn compared(segment: &str, case: Case) -> Cow<'_, str> {
    match case {
        Case::Exact => Cow::Borrowed(segment),
        Case::Refuse | Case::Fold => folded(segment),
    }
}

/// One segment of a route's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This one, as it is when decoded.
    Literal(String),
    /// Any one.
    Capture(String),
}

/// The path of a route. A slash at the end makes no difference: most apps serve `/admin/` as
/// `/admin`, so a route that is for one of them has to see both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    written: String,
    /// Its segments.
    pub(crate) pieces: Vec<Piece>,
    /// What captures all that follows, none at all included.
    pub(crate) rest: Option<String>,
}

impl PathTemplate {
    /// Reads a path with placeholders.
    ///
    /// # Errors
    /// With a sentence on what is wrong and what to write instead.
    pub fn parse(written: &str) -> Result<Self, String> {
        let example = "for example `/orders/{id}` or `/files/{path...}`";
        let Some(path) = written.strip_prefix('/') else {
            return Err(format!("`{written}` does not begin with `/`, {example}"));
        };
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut template = Self {
            written: written.to_owned(),
            pieces: Vec::new(),
            rest: None,
        };
        let mut names = BTreeSet::new();
        let segments = path.split('/').filter(|_| !path.is_empty());
        for segment in segments {
            if template.rest.is_some() {
                return Err(format!(
                    "`{written}`: a `{{…...}}` takes the rest, so it stands last"
                ));
            }
            let Some(word) = segment
                .strip_prefix('{')
                .and_then(|word| word.strip_suffix('}'))
            else {
                template.pieces.push(literal(segment, written)?);
                continue;
            };
            let name = word.strip_suffix("...").unwrap_or(word);
            if !is_capture_name(name) {
                return Err(format!(
                    "`{written}`: `{name}` is no name of a placeholder; take letters, digits and \
                     `_`, {example}"
                ));
            }
            if !names.insert(name.to_owned()) {
                return Err(format!(
                    "`{written}` has `{name}` twice; give one another name"
                ));
            }
            if word.ends_with("...") {
                template.rest = Some(name.to_owned());
            } else {
                template.pieces.push(Piece::Capture(name.to_owned()));
            }
        }
        Ok(template)
    }

    /// The names of its placeholders.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        let captures = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Capture(name) => Some(name.as_str()),
            Piece::Literal(_) => None,
        });
        captures.chain(self.rest.as_deref()).collect()
    }

    /// What the placeholders stand for in a path. None: it is another one.
    pub(crate) fn fit(&self, segments: &[String], case: Case) -> Option<Fit> {
        let (own, rest) = segments.split_at_checked(self.pieces.len())?;
        if self.rest.is_none() && !rest.is_empty() {
            return None;
        }
        let mut captures = Captures::new();
        let mut is_folded = false;
        for (piece, segment) in self.pieces.iter().zip(own) {
            match piece {
                Piece::Literal(literal) if literal == segment => {}
                Piece::Literal(literal) if compared(literal, case) == compared(segment, case) => {
                    is_folded = true;
                }
                Piece::Literal(_) => return None,
                Piece::Capture(name) => captures.push((name.clone(), segment.clone())),
            }
        }
        if let Some(name) = &self.rest {
            // No segment holds a slash, so this is the only way to have come by it.
            captures.push((name.clone(), rest.join("/")));
        }
        Some(Fit {
            captures,
            is_folded,
        })
    }

    /// Whether all paths of `other` are paths of this one.
    pub(crate) fn covers(&self, other: &Self, case: Case) -> bool {
        let is_long_enough = match self.rest {
            Some(_) => other.pieces.len() >= self.pieces.len(),
            None => other.pieces.len() == self.pieces.len() && other.rest.is_none(),
        };
        let mut pairs = self.pieces.iter().zip(&other.pieces);
        is_long_enough
            && pairs.all(|pair| match pair {
                (Piece::Capture(_), _) => true,
                (Piece::Literal(own), Piece::Literal(other)) => {
                    compared(own, case) == compared(other, case)
                }
                (Piece::Literal(_), Piece::Capture(_)) => false,
            })
    }

    /// Whether some path is one of both.
    pub(crate) fn meets(&self, other: &Self, case: Case) -> bool {
        let reaches = |short: &Self, long: &Self| {
            short.pieces.len() >= long.pieces.len() || short.rest.is_some()
        };
        let mut pairs = self.pieces.iter().zip(&other.pieces);
        reaches(self, other)
            && reaches(other, self)
            && pairs.all(|pair| match pair {
                (Piece::Literal(own), Piece::Literal(other)) => {
                    compared(own, case) == compared(other, case)
                }
                _ => true,
            })
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// A segment that stands for itself: it must be one that a request can have.
fn literal(segment: &str, written: &str) -> Result<Piece, String> {
    if segment.contains(['{', '}']) {
        return Err(format!(
            "`{written}`: `{segment}` is neither text nor a placeholder; a placeholder is a whole \
             segment, for example `/orders/{{id}}`"
        ));
    }
    if segment.contains('%') {
        return Err(format!(
            "`{written}`: write the characters of `{segment}` themselves, not percent-encoded"
        ));
    }
    let encoded: String = segment.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let target = Target::parse(format!("/{encoded}").as_bytes(), EmptySegments::Refuse);
    match target.as_ref().map(Target::segments) {
        Ok([one]) => Ok(Piece::Literal(one.clone())),
        Ok(_) => Err(format!("`{written}` has an empty segment; take out a `/`")),
        Err(fault) => Err(format!("`{written}` matches nothing: {fault}")),
    }
}
