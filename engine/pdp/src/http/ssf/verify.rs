//! `POST /ssf/verify`: a receiver tries out whether what it is told arrives (SSF 1.0 §8.1.4).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use ssf::Event;
use ssf::stream::Status;
use store::sqlite::StreamRow;

use super::{empty, failed, find};
use crate::access::Permission;
use crate::app::App;
use crate::http::Problem;
use crate::http::authn::Authenticated;
use crate::http::authzen::read_object;
use crate::http::to_the_end::to_the_end;

/// Bytes of what is to be told again at most.
const STATE_MAX: usize = 1024;

#[derive(Debug, Deserialize)]
struct Wanted {
    stream_id: String,
    state: Option<String>,
}

/// 204: the event comes by the stream, after what was to be told before it. 429 when the last one
/// was less than `min_verification_interval` ago.
pub(in crate::http) async fn verify(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::ManageStreams)?;
    let form = r#"{"stream_id": …, "state"?: …}"#;
    let wanted: Wanted = read_object(&app, request, form).await?;
    if wanted
        .state
        .as_ref()
        .is_some_and(|state| state.len() > STATE_MAX)
    {
        return Err(Problem::malformed(format!(
            "`state` is longer than {STATE_MAX} bytes"
        )));
    }
    let work = async move { verify_now(&app, &asker, wanted).await };
    to_the_end("a verification", work).await?
}

async fn verify_now(app: &App, asker: &Authenticated, wanted: Wanted) -> Result<Response, Problem> {
    let alone = app.telling.registry.alone().await;
    let held = find(app, asker, &wanted.stream_id)?;
    if held.stream.status == Status::Disabled {
        return Err(Problem::conflict(
            "the stream is disabled and tells nothing; enable it at `/ssf/status`",
        ));
    }
    let now = app.inputs.clock.now();
    let interval = app.settings.ssf.min_verification_interval;
    let millis = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
    // A clock that was set back keeps nobody waiting for longer than that.
    let since = held
        .row
        .verified_at
        .map(|at| (now.millis() - at.millis()).abs());
    if let Some(since) = since.filter(|since| *since < millis) {
        let seconds = (millis - since).div_euclid(1000) + 1;
        let problem = Problem::too_soon(format!("verified a moment ago; again in {seconds} s"));
        let mut response = problem.into_response();
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
        return Ok(response);
    }
    let row = StreamRow {
        verified_at: Some(now),
        active_at: now,
        ..held.row.clone()
    };
    let event = Event::Verification {
        state: wanted.state,
    };
    let told = app.about_stream(&held, event);
    let store = app.state.store();
    let kept = store.update_stream(&row).await;
    kept.map_err(|error| failed(&error))?;
    let stream = held.stream.clone();
    let held = app.telling.put_stream(held.with(row, stream));
    let put = app.put_into_outbox(&alone, &held, told).await;
    put.map_err(|error| failed(&error))?;
    Ok(empty(StatusCode::NO_CONTENT))
}
