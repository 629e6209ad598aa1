//! Text with placeholders: how routes make ids, properties and words of the context from what a
//! request holds.

use std::collections::BTreeSet;

use domain::Value;
use domain::value::Attributes;
use http::{HeaderMap, HeaderName};

use crate::identity::scalar;
use crate::original::Original;
use crate::query::QueryFault;

/// Whose credential came with a request, verified.
#[derive(Clone, Copy, Debug)]
pub struct Credential<'a> {
    /// Whom it names.
    pub subject: &'a domain::EntityRef,
    /// What it says: claims of a token, attributes of a session.
    pub claims: &'a Attributes,
}

/// A request that a gateway asks about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What was asked of the gateway.
    pub original: &'a Original,
    /// The client's headers.
    pub headers: &'a HeaderMap,
    /// The verified credential, if one came.
    pub credential: Option<Credential<'a>>,
}

/// Why a route that matched makes no evaluation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapFault {
    /// 401: who is it?
    #[error("the route needs a credential, and none came")]
    NoCredential,
    /// 403: the credential does not say what the route needs.
    #[error("the credential has no claim `{0}` that can be an id")]
    NoClaim(String),
    /// 400.
    #[error("the query has no `{0}`, and the route needs it")]
    NoQueryKey(String),
    /// 400.
    #[error("the header `{0}` is not there, and the route needs it")]
    NoHeader(HeaderName),
    /// 400.
    #[error("the header `{0}` came more than once, and the route reads it")]
    RepeatedHeader(HeaderName),
    /// 400.
    #[error("the header `{0}` is not text")]
    HeaderNotText(HeaderName),
    /// 400.
    #[error(transparent)]
    Query(#[from] QueryFault),
    /// 403: the credential is of another type than the route is for.
    #[error("the credential is of type `{0}`, which the route does not take")]
    OtherType(domain::Name),
    /// 400: some apps tell it apart, some do not, and nobody has said which this one does.
    #[error(
        "the path is a route's but for the case of its letters or a dot at its end; set \
         `gateway.case` to `exact` or `fold`, as the app reads paths"
    )]
    OtherCase,
    /// 400: two requests would mean one thing.
    #[error("`{0}` holds the text that parts it from what follows in `{1}`")]
    NotParted(String, String),
    /// 400.
    #[error("{what} {fault}")]
    Name {
        /// Which name.
        what: &'static str,
        /// What is wrong with it.
        fault: domain::NameError,
    },
}

/// Where a placeholder takes its value from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Capture(String),
    Query(String),
    Header(HeaderName),
    Claim(String),
    Method,
    Scheme,
    Host,
    Path,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    From(Source),
}

/// `{id}` is a capture of the path, `{query.page}`, `{header.x-tenant}`, `{claim.tenant}` what
/// they say, `{request.method}`, `{request.scheme}`, `{request.host}` and `{request.path}` what was
/// asked, the path decoded and without a slash at its end; everything else is text, `{{` and `}}` are braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    written: String,
    parts: Vec<Part>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// With a sentence on what is wrong and what to write instead.
    pub fn parse(written: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = written;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at_checked(at).unwrap_or_default();
            text.push_str(before);
            if let Some(after) = after.strip_prefix("{{") {
                text.push('{');
                rest = after;
            } else if let Some(after) = after.strip_prefix("}}") {
                text.push('}');
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                let (word, after) = after
                    .split_once('}')
                    .ok_or_else(|| format!("`{written}` has a `{{` without its `}}`"))?;
                if text.is_empty() && matches!(parts.last(), Some(Part::From(_))) {
                    return Err(format!(
                        "`{written}` has two placeholders side by side, so that different values \
                         could make the same text; put a `/` between them"
                    ));
                }
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::From(source(word)?));
                rest = after;
            } else {
                return Err(format!(
                    "`{written}` has a `}}` alone; write `}}}}` for a brace"
                ));
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self {
            written: written.to_owned(),
            parts,
        })
    }

    /// As it stands in the settings.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.parts.iter().filter_map(|part| match part {
            Part::From(source) => Some(source),
            Part::Text(_) => None,
        })
    }

    /// The capture that it is, where it is nothing else.
    pub(crate) fn only_capture(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::From(Source::Capture(name))] => Some(name),
            _ => None,
        }
    }

    /// The value: of one placeholder as it is, a claim's list as a list; otherwise text. None
    /// where something is not there.
    pub(crate) fn value(
        &self,
        question: &Question<'_>,
        captures: &Captures,
    ) -> Result<Option<Value>, MapFault> {
        if let [Part::From(source)] = self.parts.as_slice() {
            return source.value(question, captures);
        }
        match self.text(question, captures) {
            Ok(text) => Ok(Some(Value::Text(text))),
            Err(
                MapFault::NoCredential
                | MapFault::NoClaim(_)
                | MapFault::NoQueryKey(_)
                | MapFault::NoHeader(_),
            ) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The text, of which no part may be missing.
    pub(crate) fn text(
        &self,
        question: &Question<'_>,
        captures: &Captures,
    ) -> Result<String, MapFault> {
        let mut made = String::new();
        for (at, part) in self.parts.iter().enumerate() {
            let source = match part {
                Part::Text(text) => {
                    made.push_str(text);
                    continue;
                }
                Part::From(source) => source,
            };
            let found = source.value(question, captures)?;
            let found = found.as_ref().and_then(scalar);
            let found = found.ok_or_else(|| source.missing(question))?;
            let later = self.parts.get(at + 1..).unwrap_or_default();
            if let [Part::Text(between), Part::From(_), ..] = later
                && !is_parted(&found, between)
            {
                return Err(MapFault::NotParted(found, self.written.clone()));
            }
            made.push_str(&found);
        }
        Ok(made)
    }
}

/// Whether a value ends where the text after it begins, to whoever reads both as one:
/// `{tenant}-{id}` would be `a-b-c` for `a-b` and `c` as for `a` and `b-c`.
fn is_parted(value: &str, between: &str) -> bool {
    format!("{value}{between}").find(between) == Some(value.len())
}

/// What a path's placeholders stand for, by their names.
pub(crate) type Captures = Vec<(String, String)>;

fn source(word: &str) -> Result<Source, String> {
    let example = "for example `{id}`, `{query.page}`, `{header.x-tenant}` or `{claim.tenant}`";
    match word.split_once('.') {
        None => match word {
            _ if is_capture_name(word) => Ok(Source::Capture(word.to_owned())),
            _ => Err(format!("`{{{word}}}` is no placeholder, {example}")),
        },
        Some((_, "")) => Err(format!("`{{{word}}}` names nothing, {example}")),
        Some(("query", key)) => Ok(Source::Query(key.to_owned())),
        Some(("request", "method")) => Ok(Source::Method),
        Some(("request", "scheme")) => Ok(Source::Scheme),
        Some(("request", "host")) => Ok(Source::Host),
        Some(("request", "path")) => Ok(Source::Path),
        Some(("claim", path)) => Ok(Source::Claim(path.to_owned())),
        Some(("header", name)) => match name.to_ascii_lowercase().parse() {
            Ok(name) => Ok(Source::Header(name)),
            Err(_) => Err(format!("`{{{word}}}`: `{name}` is no header's name")),
        },
        Some(_) => Err(format!("`{{{word}}}` is no placeholder, {example}")),
    }
}

/// What a placeholder of a path may be called.
pub(crate) fn is_capture_name(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(is_known)
}

impl Source {
    fn value(
        &self,
        question: &Question<'_>,
        captures: &Captures,
    ) -> Result<Option<Value>, MapFault> {
        let original = question.original;
        let text = match self {
            Self::Capture(name) => captures
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone()),
            Self::Query(key) => match original.target.query() {
                Some(query) => query.value(key)?,
                None => None,
            },
            Self::Header(name) => header(question.headers, name)?.map(str::to_owned),
            Self::Claim(path) => {
                let claims = question.credential.map(|credential| credential.claims);
                return Ok(claims.and_then(|claims| claim(claims, path)).cloned());
            }
            Self::Method => Some(original.method.as_str().to_owned()),
            Self::Scheme => Some(original.scheme.as_str().to_owned()),
            Self::Host => Some(original.authority.host.as_str().to_owned()),
            Self::Path => Some(original.target.decoded()),
        };
        Ok(text.map(Value::Text))
    }

    fn missing(&self, question: &Question<'_>) -> MapFault {
        match self {
            Self::Query(key) => MapFault::NoQueryKey(key.clone()),
            Self::Header(name) => MapFault::NoHeader(name.clone()),
            Self::Claim(_) if question.credential.is_none() => MapFault::NoCredential,
            Self::Claim(path) => MapFault::NoClaim(path.clone()),
            Self::Capture(_) | Self::Method | Self::Scheme | Self::Host | Self::Path => {
                MapFault::Name {
                    what: "the placeholder's value",
                    fault: domain::NameError::Empty,
                }
            }
        }
    }
}

/// The one value of a header.
pub(crate) fn header<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, MapFault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(MapFault::RepeatedHeader(name.clone()));
    }
    first
        .map(|value| std::str::from_utf8(value.as_bytes()))
        .transpose()
        .map_err(|_| MapFault::HeaderNotText(name.clone()))
}

/// A claim by its name, or by the names on the way to it with dots between.
pub(crate) fn claim<'a>(claims: &'a Attributes, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut at = claims;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let value = at.get(name)?;
        match value {
            value if names.peek().is_none() => return Some(value),
            Value::Record(below) => at = below,
            _ => return None,
        }
    }
    None
}

/// Placeholders of the path that a template names and the path does not have.
pub(crate) fn unknown_captures<'a>(template: &'a Template, known: &BTreeSet<&str>) -> Vec<&'a str> {
    let named = template.sources().filter_map(|source| match source {
        Source::Capture(name) => Some(name.as_str()),
        _ => None,
    });
    named.filter(|name| !known.contains(name)).collect()
}
