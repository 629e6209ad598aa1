//! What became of decisions: their records, and the step-ups that followed them.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use domain::Level;
use serde::Deserialize;

use super::Problem;
use super::authn::Authenticated;
use super::authzen::{json, read_object};
use super::path::Id;
use super::to_the_end::to_the_end;
use crate::access::Permission;
use crate::app::App;
use crate::step_up::StepUpError;
use crate::{feedback, recorder, step_up};

/// `GET /v1/decisions/{id}`: the record, once it is drained.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadDecisions)?;
    let record = recorder::find(&app, &id).await.map_err(|error| {
        tracing::error!(%error, "a record could not be read");
        Problem::unavailable("the record could not be read; ask again in a moment")
    })?;
    let record = record.ok_or_else(|| {
        Problem::not_found("no such decision is recorded; a new one takes a moment")
    })?;
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, record).into_response())
}

#[derive(Deserialize)]
struct Feedback {
    legitimate: bool,
}

/// `POST /v1/decisions/{id}/feedback`: the person's own word.
pub(super) async fn feedback(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::ConfirmDecisions)?;
    let form = r#"{"legitimate": true or false}"#;
    let told: Feedback = read_object(&app, request, form).await?;
    let done = feedback::feedback(&app, &asker.caller, &id, told.legitimate)
        .await
        .map_err(|error| {
            tracing::error!(%error, "feedback was not recorded");
            Problem::unavailable("the feedback could not be recorded; send it again")
        })?;
    let learnt = done.ok_or_else(|| {
        Problem::not_found("no such decision is recorded; a new one takes a moment")
    })?;
    json(&serde_json::json!({ "decision_id": id, "legitimate": told.legitimate, "learnt": learnt }))
}

#[derive(Deserialize)]
struct StepUp {
    level: i64,
    #[serde(default)]
    time: Option<String>,
}

/// `POST /v1/decisions/{id}/step-up`: a challenge or MFA was passed for it.
pub(super) async fn step_up(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::ConfirmDecisions)?;
    let told: StepUp = read_object(&app, request, r#"{"level": 2 or 3}"#).await?;
    let level = Level::from_number(told.level)
        .filter(|level| *level >= Level::Challenge)
        .ok_or_else(|| Problem::malformed("`level` is 2 for a challenge or 3 for MFA"))?;
    let at = match told.time {
        None => None,
        Some(text) => Some(
            wire::time::parse(&text)
                .ok_or_else(|| Problem::malformed("`time` is not a time as in RFC 3339"))?,
        ),
    };
    let decision_id = id.clone();
    let work = async move { step_up::step_up(&app, &asker.caller, &id, level, at).await };
    let done = to_the_end("a step-up", work)
        .await?
        .map_err(|error| match error {
            StepUpError::InTheFuture => Problem::malformed(error.to_string()),
            StepUpError::OfAnother => Problem::refused(error.to_string()),
            StepUpError::Told(error) => {
                tracing::error!(%error, "a step-up was not recorded");
                Problem::unavailable("the step-up could not be recorded; send it again")
            }
        })?;
    let done = done.ok_or_else(|| {
        Problem::not_found("no decision of that id waits for a step-up; it may be too old")
    })?;
    let mut told = serde_json::json!({
        "decision_id": decision_id,
        "level": level.number(),
        "learnt": done.learnt,
        "session_lifted": done.session.is_some(),
    });
    // A session of the engine's has another handle from now on (E3).
    if let Some(lifted) = &done.session
        && let (Some(handle), Some(members)) = (&lifted.handle, told.as_object_mut())
    {
        let session = serde_json::json!({ "id": lifted.session.id, "handle": handle.as_str() });
        members.insert("session".to_owned(), session);
    }
    json(&told)
}
