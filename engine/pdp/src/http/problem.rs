//! What went wrong with a request, as `application/problem+json` (RFC 9457).
//!
//! A deny is no problem: it is an answer. A problem says that a question could not be taken, and
//! what to do about it. What only operators may know goes to the log.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};

use crate::administrator::Unanswered;
use crate::rates::TooOften;

/// A problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// Everything that is wrong, where there is more to say than one sentence (RFC 9457 §3.2).
    errors: Vec<serde_json::Value>,
    /// How to authenticate, where that is not with a key.
    challenge: Option<String>,
    /// When to ask again, seconds, where that is known.
    retry_after: Option<u16>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
            challenge: None,
            retry_after: None,
        }
    }

    /// The same with everything that is wrong.
    #[must_use]
    pub fn with_errors(self, errors: Vec<serde_json::Value>) -> Self {
        Self { errors, ..self }
    }

    /// 400: the request is not of the form that it must have.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: who asks?
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "send `Authorization: Bearer` with a valid key; `portreeve keys create` makes one",
        )
    }

    /// 401: the subject has to prove more (RFC 9470 §3). `detail` is for the subject.
    pub fn step_up(detail: &str, acr_values: &str) -> Self {
        // Between quotes (RFC 9110 §5.6.4), and nothing that a header cannot hold.
        let quoted = |text: &str| -> String {
            text.chars()
                .filter(|character| {
                    matches!(character, ' '..='~') && !matches!(character, '"' | '\\')
                })
                .collect()
        };
        Self {
            challenge: Some(format!(
                "Bearer error=\"insufficient_user_authentication\", \
                 error_description=\"{}\", acr_values=\"{}\", max_age=\"0\"",
                quoted(detail),
                quoted(acr_values)
            )),
            ..Self::new(StatusCode::UNAUTHORIZED, detail)
        }
    }

    /// 401: a token of ours that does not let in (RFC 6750 §3.1, RFC 9449 §7.1). The same words
    /// whatever is wrong with it.
    pub fn invalid_token(challenge: String) -> Self {
        Self {
            challenge: Some(challenge),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "the token is not valid here; get another one",
            )
        }
    }

    /// 403: not with this role.
    pub fn forbidden(action: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            format!("the key's role does not permit `{action}`"),
        )
    }

    /// 403: not this caller.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this path does not take this method",
        )
    }

    /// 409: what is asked for does not go with what holds now.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 412: something else is there by now than the caller thinks.
    pub fn condition_failed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, detail)
    }

    /// 422: of the right form, and makes no sense here.
    pub fn unfit(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 413: the body, or the batch in it, is larger than the settings allow.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 429: this caller has too much under way.
    pub fn too_many() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests of this key are under way; wait for some of them",
        )
    }

    /// 429: this caller, or this subject, asks too often (G1 to G3).
    #[must_use]
    pub fn too_often(why: TooOften) -> Self {
        Self {
            retry_after: Some(why.retry_after_seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, why.to_string())
        }
    }

    /// 429: too many keys were refused, whoever sent them (G1).
    pub fn too_many_refused() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "the key is not known, and too many such came lately; send a valid one, or wait",
        )
    }

    /// 429: the same was done a moment ago.
    pub fn too_soon(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
    }

    /// 431: a header is longer than the settings allow (G4).
    pub fn headers_too_large() -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "a header is too long",
        )
    }

    /// 503: the engine cannot answer now. Never an allow.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// When to ask again, seconds, where that is known.
    pub(crate) const fn retry_after(&self) -> Option<u16> {
        self.retry_after
    }

    /// The same as text: the message of one item in a batch.
    pub fn item(&self) -> (u16, &str) {
        (self.status.as_u16(), &self.detail)
    }
}

impl From<Unanswered> for Problem {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Malformed(detail) => Self::malformed(detail),
            Unanswered::Overloaded(why) => Self::unavailable(why.to_string()),
            Unanswered::TooOften(why) => Self::too_often(why),
            Unanswered::Proof(why) => Self::unavailable(why.to_string()),
            Unanswered::NotRecorded(cause) => {
                tracing::error!(%cause, "a decision was not answered, because it was not recorded");
                Self::unavailable("the decision could not be recorded; ask again in a moment")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(members) = body.as_object_mut().filter(|_| !self.errors.is_empty()) {
            members.insert("errors".to_owned(), self.errors.into());
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                let how = self
                    .challenge
                    .and_then(|challenge| HeaderValue::from_str(&challenge).ok());
                let with_a_key = HeaderValue::from_static(r#"Bearer realm="portreeve""#);
                let how = how.unwrap_or(with_a_key);
                headers.insert(WWW_AUTHENTICATE, how);
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, self.retry_after.unwrap_or(1).into());
            }
            _ => {}
        }
        response
    }
}
