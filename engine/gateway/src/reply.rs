//! What a gateway gets back: a status, headers, a body, for whatever came of its question.
//!
//! Only an allow is ever 2xx: gateways let through what they get 2xx for. Nothing is stored.

pub mod cookie;
pub mod login;

use std::fmt::Write as _;

use domain::Rung;
use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::door::Door;
use crate::identity::{DECISION_ID, Known, OUTCOME};
use crate::original::{Original, OriginalFault};
use crate::pages;
use crate::routes::{NoRoute, Route, StepUp};
use crate::template::{MapFault, Question};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Which statuses a gateway passes on to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statuses {
    /// All: Caddy, Traefik, HAProxy, Envoy.
    #[default]
    Any,
    /// 2xx, 401 and 403: nginx makes 500 of any other. A redirect is a 401 with `Location`, for
    /// `error_page`; a request that cannot be read is a 403.
    AuthRequest,
}

/// How the client has to prove who it is (RFC 6750, RFC 9449 §7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// A token by itself, or a session.
    #[default]
    Bearer,
    /// A token with a proof of its key.
    Dpop,
}

/// A decision that was made, for the client.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// Its id.
    pub decision_id: &'a str,
    /// Why, for the subject: never thresholds or policies.
    pub reason_user: &'a str,
}

/// What came of a question.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// 200.
    Allow {
        /// What the app is told.
        known: Known<'a>,
        /// The token for the app: the value of `Authorization`, scheme included. None where none
        /// was minted.
        authorization: Option<&'a str>,
    },
    /// 401: the subject has to prove more (RFC 9470).
    StepUp {
        /// The decision.
        decided: Decided<'a>,
        /// `challenge` or `mfa`.
        rung: Rung,
        /// What to ask for.
        acr_values: &'a str,
        /// With what the subject came.
        scheme: Scheme,
    },
    /// 403.
    Deny(Decided<'a>),
    /// 401: nobody knows who it is.
    Unauthenticated {
        /// What was shown is not valid; false: nothing was shown.
        invalid: bool,
        /// How to do it.
        scheme: Scheme,
    },
    /// 403: no route, or the caller is no gateway. The text is for people.
    Refused(&'a str),
    /// 400: the request has no single reading. The text is for people.
    Malformed(&'a str),
    /// 431: a header is longer than one may be (G4).
    HeaderTooLong,
    /// 429.
    TooMany {
        /// When to come again, seconds.
        retry_after_seconds: u32,
    },
    /// 503: the engine cannot answer. The text is for people.
    Unavailable(&'a str),
}

/// An answer, ready to be sent.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers: on an allow, what to set on the app's request; otherwise, what the client gets.
    pub headers: HeaderMap,
    /// `application/problem+json`; none on an allow.
    pub body: Option<String>,
}

impl OriginalFault {
    /// What to answer: `detail` is this fault as text. Whom the settings trust is for the log, not
    /// for whoever asks.
    #[must_use]
    pub fn verdict<'a>(&self, detail: &'a str) -> Verdict<'a> {
        match self {
            Self::NotTrusted(_) => Verdict::Refused("whoever asks is no gateway here"),
            _ => Verdict::Malformed(detail),
        }
    }
}

impl MapFault {
    /// What to answer: `detail` is this fault as text.
    #[must_use]
    pub fn verdict<'a>(&self, detail: &'a str) -> Verdict<'a> {
        match self {
            Self::NoCredential => Verdict::Unauthenticated {
                invalid: false,
                scheme: Scheme::Bearer,
            },
            Self::NoClaim(_) | Self::OtherType(_) => Verdict::Refused(detail),
            _ => Verdict::Malformed(detail),
        }
    }
}

impl NoRoute {
    /// What to answer.
    #[must_use]
    pub fn verdict<'a>(&self, detail: &'a str) -> Verdict<'a> {
        match self {
            Self::NoMatch {
                needs_credential: true,
            } => MapFault::NoCredential.verdict(detail),
            Self::NoMatch { .. } => Verdict::Refused(detail),
            Self::Fault(fault) => fault.verdict(detail),
        }
    }
}

impl std::fmt::Display for NoRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoMatch { .. } => f.write_str("nothing here is for this request"),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

/// What is said to the client beside the status.
struct Problem<'a> {
    status: StatusCode,
    detail: &'a str,
    outcome: Option<Rung>,
    decision_id: Option<&'a str>,
    acr_values: Option<&'a str>,
}

impl Door {
    /// The reply to a question. `route` is the one that matched, `question` the client's request
    /// where it could be read.
    #[must_use]
    pub fn reply(
        &self,
        route: Option<&Route>,
        question: Option<&Question<'_>>,
        verdict: &Verdict<'_>,
    ) -> Reply {
        let redirect = |step: Option<&str>| {
            let wanted = route.is_some_and(|route| route.step_up == StepUp::Redirect);
            let login = self.login.as_deref().filter(|_| wanted)?;
            let question = question.filter(|question| is_navigation(question.headers))?;
            let (status, location) = login.send(question.original, step)?;
            Some((status, HeaderValue::from_str(&location).ok()?))
        };
        let plain = |status, detail| Problem {
            status,
            detail,
            outcome: None,
            decision_id: None,
            acr_values: None,
        };
        let mut reply = match *verdict {
            Verdict::Allow {
                ref known,
                authorization,
            } => {
                let token = route.is_some_and(|route| route.token.is_some());
                return self.allow(known, token, authorization);
            }
            Verdict::StepUp {
                decided,
                rung,
                acr_values,
                scheme,
            } => {
                let mut reply = refusal(&Problem {
                    status: StatusCode::UNAUTHORIZED,
                    detail: decided.reason_user,
                    outcome: Some(rung),
                    decision_id: Some(decided.decision_id),
                    acr_values: Some(acr_values),
                });
                let pairs = [
                    ("error", "insufficient_user_authentication"),
                    ("error_description", decided.reason_user),
                    ("acr_values", acr_values),
                    ("max_age", "0"),
                ];
                reply.challenge(scheme, &pairs);
                reply.redirect(redirect(Some(acr_values)));
                reply
            }
            Verdict::Deny(decided) => refusal(&Problem {
                status: StatusCode::FORBIDDEN,
                detail: decided.reason_user,
                outcome: Some(Rung::Deny),
                decision_id: Some(decided.decision_id),
                acr_values: None,
            }),
            Verdict::Unauthenticated { invalid, scheme } => {
                let detail = match invalid {
                    true => "the credential is not valid; get another one",
                    false => "sign in, or send a token",
                };
                let mut reply = refusal(&plain(StatusCode::UNAUTHORIZED, detail));
                let pairs = [("error", "invalid_token"), ("error_description", detail)];
                match invalid {
                    true => reply.challenge(scheme, &pairs),
                    false => reply.challenge(scheme, &[("realm", "portreeve")]),
                }
                reply.redirect(redirect(None));
                reply
            }
            Verdict::Refused(detail) => refusal(&plain(StatusCode::FORBIDDEN, detail)),
            Verdict::Malformed(detail) => refusal(&plain(StatusCode::BAD_REQUEST, detail)),
            Verdict::HeaderTooLong => refusal(&plain(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "a header is too long",
            )),
            Verdict::TooMany {
                retry_after_seconds,
            } => {
                let detail = "too many requests; wait for a moment";
                let mut reply = refusal(&plain(StatusCode::TOO_MANY_REQUESTS, detail));
                let seconds = HeaderValue::from(retry_after_seconds.max(1));
                reply.headers.insert(RETRY_AFTER, seconds);
                reply
            }
            Verdict::Unavailable(detail) => {
                let mut reply = refusal(&plain(StatusCode::SERVICE_UNAVAILABLE, detail));
                reply
                    .headers
                    .insert(RETRY_AFTER, HeaderValue::from_static("1"));
                reply
            }
        };
        if let Some(question) = question {
            let origins = &self.credentials.origins;
            pages::let_read(&mut reply.headers, question.headers, origins);
        }
        if self.statuses == Statuses::AuthRequest {
            reply.for_auth_request();
        }
        reply
    }

    fn allow(&self, known: &Known<'_>, token: bool, authorization: Option<&str>) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, NO_STORE);
        for (name, value) in self.identity.set(known, Rung::Allow.as_str()) {
            headers.insert(name, value);
        }
        if token {
            // Empty rather than absent: the client's own token is not for the app.
            let value = authorization.and_then(|value| HeaderValue::from_str(value).ok());
            let mut value = value.unwrap_or(HeaderValue::from_static(""));
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Reply {
            status: StatusCode::OK,
            headers,
            body: None,
        }
    }
}

impl Reply {
    /// `WWW-Authenticate`, each value between quotes.
    fn challenge(&mut self, scheme: Scheme, pairs: &[(&str, &str)]) {
        let mut text = match scheme {
            Scheme::Bearer => "Bearer".to_owned(),
            Scheme::Dpop => "DPoP".to_owned(),
        };
        for (number, (name, value)) in pairs.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let _ = write!(text, "{comma} {name}=\"{}\"", quotable(value));
        }
        if let Ok(value) = HeaderValue::from_str(&text) {
            self.headers.insert(WWW_AUTHENTICATE, value);
        }
    }

    /// The challenge stays: whoever does not follow the redirect can read what is wanted.
    fn redirect(&mut self, to: Option<(StatusCode, HeaderValue)>) {
        if let Some((status, location)) = to {
            self.status = status;
            self.headers.insert(LOCATION, location);
        }
    }

    fn for_auth_request(&mut self) {
        if self.status.is_redirection() {
            self.status = StatusCode::UNAUTHORIZED;
        } else if matches!(
            self.status,
            StatusCode::BAD_REQUEST | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        ) {
            self.status = StatusCode::FORBIDDEN;
        }
    }
}

fn refusal(problem: &Problem<'_>) -> Reply {
    let mut body = serde_json::json!({
        "type": "about:blank",
        "title": problem.status.canonical_reason().unwrap_or_default(),
        "status": problem.status.as_u16(),
        "detail": problem.detail,
    });
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(CONTENT_TYPE, PROBLEM);
    if let Some(members) = body.as_object_mut() {
        if let Some(outcome) = problem.outcome {
            members.insert("outcome".to_owned(), outcome.as_str().into());
            headers.insert(OUTCOME, HeaderValue::from_static(outcome.as_str()));
        }
        if let Some(id) = problem.decision_id {
            members.insert("decision_id".to_owned(), id.into());
            headers.extend(HeaderValue::from_str(id).ok().map(|id| (DECISION_ID, id)));
        }
        if let Some(acr_values) = problem.acr_values {
            members.insert("acr_values".to_owned(), acr_values.into());
            members.insert("max_age".to_owned(), 0.into());
        }
    }
    Reply {
        status: problem.status,
        headers,
        body: Some(body.to_string()),
    }
}

/// What stands between quotes in a challenge (RFC 6750 §3): visible ASCII and spaces, neither
/// `"` nor `\`, which it does not allow in any form.
fn quotable(text: &str) -> String {
    text.chars()
        .filter_map(|character| match character {
            '"' => Some('\''),
            '\\' => Some('/'),
            ' '..='~' => Some(character),
            '\u{2018}' | '\u{2019}' | '\u{201C}' | '\u{201D}' => Some('\''),
            '\u{2013}' | '\u{2014}' => Some('-'),
            '\t' | '\n' | '\r' => Some(' '),
            _ => None,
        })
        .collect()
}

/// Whether a browser is about to show a page: to a script a login page is of no use.
fn is_navigation(headers: &HeaderMap) -> bool {
    if let Some(mode) = headers.get(SEC_FETCH_MODE) {
        return mode == "navigate";
    }
    let accepts_html = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("text/html"));
    accepts_html && !headers.contains_key(X_REQUESTED_WITH)
}

/// Whether asking for it changes nothing, so that a browser can come back to it.
fn is_safe(original: &Original) -> bool {
    [Method::GET, Method::HEAD].contains(&original.method)
}

#[cfg(test)]
mod tests;
