//! Where transmitters of shared signals push their tokens to (RFC 8935).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use ssf::delivery::{ErrorCode, SECEVENT_JWT, SetError};

use super::Problem;
use super::authn::{Authenticated, note_failed};
use super::authzen::read_body_up_to;
use super::sessions::Whose;
use super::to_the_end::to_the_end;
use crate::access::{Credential, Permission};
use crate::app::App;
use crate::hearing::{self, NotTaken, take};
use crate::serve::Peer;

/// Largest body, bytes: the longest token, and a line's end.
const BODY_BYTES_MAX: usize = token::jws::TOKEN_BYTES_MAX + 2;

/// `POST /ssf/receive`.
pub(super) async fn receive(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    if app.hearing.is_deaf() {
        return Err(Problem::not_found(
            "no transmitter is heard here; `ssf.transmitters` names them",
        ));
    }
    let headers = request.headers().clone();
    let senders: Vec<usize> = match authorization(&headers) {
        Some(authorization) => app.hearing.who_sends(authorization).await,
        None => Vec::new(),
    };
    if senders.is_empty() {
        let from = request.extensions().get::<Peer>();
        note_failed(&app, Credential::Transmitter, from.map(|Peer(at)| at.ip()));
        return Ok(refusal(SetError {
            err: ErrorCode::AuthenticationFailed,
            description: "`Authorization` is missing, or not that of a transmitter".to_owned(),
        }));
    }
    if !is_set(&headers) {
        return Ok(refusal(SetError {
            err: ErrorCode::InvalidRequest,
            description: format!("the Content-Type must be {SECEVENT_JWT}"),
        }));
    }
    let body = read_body_up_to(BODY_BYTES_MAX, request).await?;
    let text = String::from_utf8_lossy(body.trim_ascii()).into_owned();
    let work = async move {
        let sender = app.hearing.of_these(&senders, &text)?;
        let taken = take(&app, sender, &text).await;
        if let Err(why) = &taken {
            tracing::warn!(
                event = "signal_refused",
                issuer = sender.settings.issuer,
                ?why,
                "a security event token is not taken"
            );
        }
        taken
    };
    Ok(match to_the_end("a security event token", work).await? {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(NotTaken::NotNow) => {
            return Err(Problem::unavailable(
                "it cannot be checked or kept at the moment; send it again",
            ));
        }
        Err(NotTaken::Refused(err, description)) => refusal(SetError { err, description }),
    })
}

/// `DELETE /v1/subjects/{type}/{id}/heard`: forgets what others said of a subject, for an account
/// that they locked and cannot be asked to open. What they say from then on counts.
pub(super) async fn clear(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Whose(subject): Whose,
) -> Result<Response, Problem> {
    asker.require(Permission::ClearHeard)?;
    let by = asker.caller.by();
    let work = async move { hearing::clear(&app, &subject, &by).await };
    let cleared = to_the_end("what was heard of a subject", work).await?;
    let cleared = cleared.map_err(|error| {
        tracing::error!(%error, "what was heard of a subject is not cleared");
        Problem::unavailable("what was heard of this subject is not cleared yet; send it again")
    });
    if cleared? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::not_found("nothing was heard of this subject"))
    }
}

/// The one `Authorization` of a request.
fn authorization(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (Some(one), None) => Some(one.as_bytes()),
        _ => None,
    }
}

fn is_set(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    value.is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case(SECEVENT_JWT)
    })
}

/// An error as RFC 8935 §2.3 wants it.
fn refusal(error: SetError) -> Response {
    let body = serde_json::to_vec(&error).unwrap_or_default();
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CONTENT_LANGUAGE, "en"),
        (CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::BAD_REQUEST, headers, body).into_response()
}
