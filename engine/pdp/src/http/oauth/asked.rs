//! A request at the token endpoint whose client is known, and what all grants share.

use std::net::IpAddr;
use std::sync::Arc;

use domain::{Name, RequestContext, Timestamp};
use token::claims::{is_scope, is_scope_word};

use super::error::OAuthError;
use super::form::Form;
use super::proof::Proven;
use crate::access::Caller;
use crate::app::App;
use crate::families::RefreshToken;
use crate::minting::Minted;
use crate::minting::weigh::{NotGranted, SCOPES_MAX};

/// What was asked, and by whom.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) caller: &'a Caller,
    pub(super) form: &'a Form,
    /// The keys that the client holds.
    pub(super) proven: Proven,
    /// Where it comes from.
    pub(super) peer: Option<IpAddr>,
    pub(super) request_id: &'a str,
    pub(super) now: Timestamp,
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) minted: Minted,
    /// The service that it is for.
    pub(super) audience: String,
    /// `issued_token_type` (RFC 8693 §2.2.1).
    pub(super) kind: Option<&'static str>,
    pub(super) refresh_token: Option<RefreshToken>,
}

impl Asked<'_> {
    /// The service that the token is to be for: `audience` (RFC 8693) or `resource` (RFC 8707).
    /// One of them, always: a token for nobody in particular would be one for everybody.
    pub(super) fn target(&self) -> Result<&str, OAuthError> {
        let target = match (self.form.get("audience"), self.form.get("resource")) {
            (Some(audience), None) => audience,
            (None, Some(resource)) if is_absolute(resource) => resource,
            (None, Some(_)) => {
                return Err(OAuthError::invalid_target(
                    "`resource` is an absolute URI without a fragment",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(OAuthError::invalid_target(
                    "`audience` and `resource` are both there; send one",
                ));
            }
            (None, None) => {
                return Err(OAuthError::invalid_target(
                    "say which service the token is for, as `audience` or `resource`",
                ));
            }
        };
        Name::new(target)
            .map_err(|error| OAuthError::invalid_target(format!("the audience {error}")))?;
        Ok(target)
    }

    /// The scopes that are asked for, each once. None when nothing is said of them.
    pub(super) fn scopes(&self) -> Result<Option<Vec<Name>>, OAuthError> {
        let Some(text) = self.form.get("scope") else {
            return Ok(None);
        };
        if !is_scope(text) {
            return Err(OAuthError::invalid_scope(
                "`scope` is words of visible ASCII, apart by single spaces",
            ));
        }
        names(text.split(' ')).map(Some)
    }

    /// What is known of a client that asks for itself.
    pub(super) fn own_context(&self) -> RequestContext {
        RequestContext {
            ip: self.peer,
            ..RequestContext::default()
        }
    }
}

/// Words of a scope as names of actions, each once.
pub(super) fn names<'w>(words: impl Iterator<Item = &'w str>) -> Result<Vec<Name>, OAuthError> {
    let mut names: Vec<Name> = Vec::new();
    for word in words.filter(|word| is_scope_word(word)) {
        let name = Name::new(word)
            .map_err(|error| OAuthError::invalid_scope(format!("a scope {error}")))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > SCOPES_MAX {
        return Err(OAuthError::invalid_scope(format!(
            "at most {SCOPES_MAX} scopes at once"
        )));
    }
    Ok(names)
}

/// Scopes as they are written.
pub(super) fn written(scopes: &[Name]) -> String {
    let words: Vec<&str> = scopes.iter().map(Name::as_str).collect();
    words.join(" ")
}

/// A URI with a scheme and without a fragment (RFC 8707 §2).
fn is_absolute(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return false;
    };
    let mut letters = scheme.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
        && !rest.is_empty()
        && !rest.contains('#')
}

impl From<NotGranted> for OAuthError {
    fn from(why: NotGranted) -> Self {
        match why {
            NotGranted::StepUp(acr) => Self::step_up(&acr),
            NotGranted::UnknownAudience => {
                Self::invalid_target("the policies know no such service")
            }
            NotGranted::Subject => {
                Self::invalid_grant("the subject is not known, or its session is over")
            }
            NotGranted::Refused => Self::invalid_scope("the policies allow none of the scopes"),
            NotGranted::Undecided => {
                Self::unavailable("it cannot be decided at the moment; ask again in a moment")
            }
            NotGranted::NotRecorded(cause) => {
                tracing::error!(%cause, "a token was not granted, because it was not recorded");
                Self::unavailable("it could not be recorded; ask again in a moment")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_an_absolute_uri() {
        for good in ["https://docs.example", "urn:example:docs", "a+b-c.d:x"] {
            assert!(is_absolute(good), "{good}");
        }
        for bad in ["", "docs", "/docs", ":x", "https:", "1a:x", "https://x#y"] {
            assert!(!is_absolute(bad), "{bad}");
        }
    }
}
