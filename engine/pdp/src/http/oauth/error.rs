//! What went wrong at an OAuth endpoint, as RFC 6749 §5.2 wants it told.
//!
//! One sentence for the caller. What would help somebody who guesses tokens or secrets goes to the
//! log alone.

use crate::minting::SignError;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

/// An error of the token, introspection and revocation endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OAuthError {
    status: StatusCode,
    code: &'static str,
    description: Box<str>,
    /// Members beyond the two that every error has.
    more: Map<String, Value>,
    /// The caller tried `Authorization`, so it is told which schemes there are (RFC 6749 §5.2).
    challenges: bool,
    /// The one challenge instead of those, where it tried a token.
    challenge: Option<Box<HeaderValue>>,
    /// When to ask again, seconds, where that is known.
    retry_after: Option<u16>,
}

impl OAuthError {
    fn new(status: StatusCode, code: &'static str, description: impl Into<String>) -> Self {
        Self {
            status,
            code,
            description: description.into().into_boxed_str(),
            more: Map::new(),
            challenges: status == StatusCode::UNAUTHORIZED,
            challenge: None,
            retry_after: None,
        }
    }

    fn refused(code: &'static str, description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, description)
    }

    /// 401: which client is this?
    pub(crate) fn invalid_client(description: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description)
    }

    /// 401: a token of ours that does not let in (RFC 6750 §3.1).
    pub(crate) fn invalid_token(challenge: String) -> Self {
        Self {
            challenge: HeaderValue::try_from(challenge).ok().map(Box::new),
            challenges: false,
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_token",
                "the token is not valid here; get another one, or send an API key",
            )
        }
    }

    /// 400: a parameter is missing, there twice, or not of its form.
    pub(crate) fn invalid_request(description: impl Into<String>) -> Self {
        Self::refused("invalid_request", description)
    }

    /// 400: the refresh token or the subject token is not valid, for this client.
    pub(crate) fn invalid_grant(description: impl Into<String>) -> Self {
        Self::refused("invalid_grant", description)
    }

    /// 400: none of the scopes, or one that nobody could have.
    pub(crate) fn invalid_scope(description: impl Into<String>) -> Self {
        Self::refused("invalid_scope", description)
    }

    /// 400: no audience, more than one, or one that tokens are not made for (RFC 8707 §2).
    pub(crate) fn invalid_target(description: impl Into<String>) -> Self {
        Self::refused("invalid_target", description)
    }

    /// 400: a grant that is not served here.
    pub(crate) fn unsupported_grant_type(description: impl Into<String>) -> Self {
        Self::refused("unsupported_grant_type", description)
    }

    /// 400: a client that may not use the grant.
    pub(crate) fn unauthorized_client(description: impl Into<String>) -> Self {
        Self::refused("unauthorized_client", description)
    }

    /// 400: the proof of possession does not hold (RFC 9449 §5).
    pub(crate) fn invalid_dpop_proof(description: impl Into<String>) -> Self {
        Self::refused("invalid_dpop_proof", description)
    }

    /// 403: the policies do not let the caller act for somebody.
    pub(crate) fn access_denied(description: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "access_denied", description)
    }

    /// 400: a fresh proof of who the subject is would change the answer (RFC 9470 §3).
    pub(crate) fn step_up(acr_values: &str) -> Self {
        Self::refused(
            "insufficient_user_authentication",
            "the subject has to authenticate again; ask once it has",
        )
        .with("acr_values", acr_values)
        .with("max_age", 0)
    }

    /// 413: the body is larger than the settings allow.
    pub(crate) fn too_large(most: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request",
            format!("the body is larger than {most} bytes"),
        )
    }

    /// 429: too much of one caller, or of those who guess.
    pub(crate) fn too_many(description: impl Into<String>) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "temporarily_unavailable",
            description,
        )
    }

    /// The same, with when to ask again, seconds, where that is known.
    pub(crate) fn after(mut self, seconds: Option<u16>) -> Self {
        self.retry_after = seconds;
        self
    }

    /// 503: it cannot be answered now. Nothing was granted, and nothing spent.
    pub(crate) fn unavailable(description: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            description,
        )
    }

    /// The same with one more member.
    #[must_use]
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.more.insert(member.to_owned(), value.into());
        self
    }

    /// 500: the engine's own fault, of which the log says more.
    pub(crate) fn server_error() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "the token could not be signed; the engine's log says why",
        )
    }

    /// What it says to people.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// The code, for metrics and records.
    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }
}

impl From<SignError> for OAuthError {
    fn from(error: SignError) -> Self {
        if matches!(error, SignError::SessionOver) {
            return Self::invalid_grant("the session is over, or about to end; open another");
        }
        tracing::error!(%error, "a token could not be signed");
        match error {
            SignError::SessionOver | SignError::SessionUnknown => {
                Self::unavailable("its session cannot be looked up; ask again in a moment")
            }
            SignError::Key(_) => Self::server_error(),
            SignError::Place(_) => {
                Self::unavailable("the token could not be recorded; ask again in a moment")
            }
        }
    }
}

/// As RFC 6749 §5.2 allows it: printable ASCII without quotation marks and backslashes. A caller's
/// own words may be in it.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' => '\'',
            '\\' => '/',
            ' '..='~' => character,
            _ => '?',
        })
        .collect()
}

/// An answer that no cache may keep (RFC 6749 §5.1).
pub(crate) fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (PRAGMA, "no-cache"),
    ];
    (status, headers, body.to_string()).into_response()
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let mut body = self.more;
        body.insert("error".to_owned(), self.code.into());
        let description = printable(&self.description);
        body.insert("error_description".to_owned(), description.into());
        let mut response = answer(self.status, &Value::Object(body));
        let headers = response.headers_mut();
        if self.challenges {
            // Each scheme in a header of its own: some clients read no further than a comma.
            headers.append(
                WWW_AUTHENTICATE,
                HeaderValue::from_static(r#"Basic realm="portreeve""#),
            );
            headers.append(
                WWW_AUTHENTICATE,
                HeaderValue::from_static(r#"Bearer realm="portreeve""#),
            );
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, *challenge);
        }
        if matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            headers.insert(RETRY_AFTER, self.retry_after.unwrap_or(1).into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_no_character_that_rfc_6749_forbids() {
        let text = printable("scope \"läs\" \\ \u{7f}\n~!");
        assert_eq!(text, "scope 'l?s' / ??~!");
    }
}
