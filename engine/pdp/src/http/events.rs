//! Facts observed elsewhere: failed logins, MFA that was denied, step-ups passed elsewhere.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::Problem;
use super::authn::Authenticated;
use super::authzen::{json, read_body};
use super::to_the_end::to_the_end;
use crate::access::Permission;
use crate::app::App;
use crate::observer;

/// `POST /v1/events`: one event a line, each a JSON object. Whatever is not taken in is named in
/// the answer, with its line and the reason.
pub(super) async fn report(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::ReportEvents)?;
    let body = read_body(&app, request).await?;
    let work = async move { observer::observe(&app, &asker.caller, &body).await };
    let (taken, rejected) = to_the_end("observed facts", work).await?.map_err(|error| {
        tracing::error!(%error, "events were not recorded");
        Problem::unavailable("the events could not be recorded; send them again")
    })?;
    if taken == 0 {
        let why = rejected.first().map_or_else(
            || "the body is empty: send one event a line".to_owned(),
            |first| {
                format!(
                    "no event was taken in; line {}: {}",
                    first.line, first.reason
                )
            },
        );
        return Err(Problem::malformed(why));
    }
    let rejected: Vec<_> = rejected
        .into_iter()
        .map(|rejected| serde_json::json!({ "line": rejected.line, "reason": rejected.reason }))
        .collect();
    json(&serde_json::json!({ "taken": taken, "rejected": rejected }))
}
