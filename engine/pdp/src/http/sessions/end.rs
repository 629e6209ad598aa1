//! The end of one session, and of all of a subject.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::EntityRef;
use serde::Deserialize;
use serde_json::json;
use store::sqlite::SessionsOf;

use super::{failed, find, subject_of};
use crate::access::Permission;
use crate::app::App;
use crate::http::Problem;
use crate::http::authn::{Asker, Authenticated};
use crate::http::authzen::{json as answer, read_object};
use crate::http::path::Id;
use crate::http::query::query;
use crate::http::to_the_end::to_the_end;
use crate::revoking::REASON_MAX;
use crate::sessions::ending::{self, By};

/// Why something is ended.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Because {
    #[serde(default)]
    reason: Option<String>,
}

impl Because {
    fn word(&self) -> Result<&str, Problem> {
        match self.reason.as_deref() {
            None | Some("") => Ok("ended"),
            Some(reason) if reason.len() <= REASON_MAX => Ok(reason),
            Some(_) => Err(Problem::malformed(format!(
                "`reason` is longer than {REASON_MAX} bytes"
            ))),
        }
    }
}

/// `DELETE /v1/sessions/{id}?reason=`: ends it, its refresh tokens and its access tokens. Ended
/// again it is as ended as before.
pub(in crate::http) async fn end(
    State(app): State<Arc<App>>,
    asker: Asker,
    Id(id): Id,
    because: Result<Query<Because>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    asker.require(Permission::EndSessions)?;
    let because = query(because)?;
    because.word()?;
    let stored = find(&app, &asker, &id, Permission::EndAnySessions).await?;
    let by = asker.name();
    let work = async move {
        let why = because.word().unwrap_or_default();
        ending::end(&app, &stored.record.id, asker.by(&by), why).await
    };
    let ended = to_the_end("the end of a session", work).await?;
    ended.map_err(|error| failed(&error))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The subject of a path in one part or, type and id, in two.
pub(in crate::http) struct Whose(pub(in crate::http) EntityRef);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Whose {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Problem> {
        let named = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Path(named) = named.map_err(|_| {
            Problem::malformed("the subject in the path is not percent-encoded UTF-8")
        })?;
        match named.as_slice() {
            [(_, subject)] => subject_of(subject).map(Self),
            [(_, kind), (_, id)] => EntityRef::new(kind.as_str(), id.as_str())
                .map(Self)
                .map_err(|error| Problem::malformed(format!("type or id in the path {error}"))),
            _ => Err(Problem::malformed("the path names no subject")),
        }
    }
}

/// `POST /v1/subjects/{id}/sessions/end` `{"reason"?}`: ends every session of a subject. With the
/// permission to end anybody's, everything that the subject was given is revoked with them.
pub(in crate::http) async fn end_all(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Whose(subject): Whose,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::EndSessions)?;
    let has_body = request
        .headers()
        .contains_key(axum::http::header::CONTENT_TYPE);
    let because: Because = if has_body {
        read_object(&app, request, r#"{"reason": …}"#).await?
    } else {
        Because::default()
    };
    because.word()?;
    let caller = asker.caller.clone();
    let any = app.keys.permits(&caller, Permission::EndAnySessions);
    let work = async move {
        let of = SessionsOf {
            subject: &subject,
            client_id: (!any).then_some(caller.client_id.as_str()),
        };
        let why = because.word().unwrap_or_default();
        let by = caller.by();
        ending::end_all(&app, of, By::client(&caller, &by), why).await
    };
    let ended = to_the_end("the end of a subject's sessions", work).await?;
    let ended = ended.map_err(|error| failed(&error))?;
    answer(&json!({ "ended": ended }))
}
