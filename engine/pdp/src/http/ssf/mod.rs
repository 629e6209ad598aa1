//! Shared signals over HTTP (OpenID SSF 1.0): what a receiver may ask of this engine as a
//! transmitter. A receiver reaches its own streams and no others.

pub(super) mod metadata;
pub(super) mod poll;
pub(super) mod status;
pub(super) mod streams;
pub(super) mod subjects;
pub(super) mod verify;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use ssf::stream::Offer;
use store::sqlite::StoreError;
use wire::record::RECORD_VERSION;

use super::Problem;
use super::authn::Authenticated;
use crate::access::Permission;
use crate::app::App;
use crate::telling::registry::{Held, poll_url};
use crate::telling::words::SUPPORTED;

/// Names of streams are shorter; nothing longer is looked up.
const ID_MAX: usize = 128;

fn failed(error: &StoreError) -> Problem {
    tracing::error!(%error, "a stream could not be read or written");
    Problem::unavailable("the streams cannot be reached; ask again in a moment")
}

/// Goes on if the caller may look at its streams: who may change them may.
fn require_read(app: &App, asker: &Authenticated) -> Result<(), Problem> {
    if app.keys.permits(&asker.caller, Permission::ManageStreams) {
        return Ok(());
    }
    asker.require(Permission::ReadStreams)
}

/// The stream of a caller. One of another caller's is not there.
fn find(app: &App, asker: &Authenticated, id: &str) -> Result<Arc<Held>, Problem> {
    if !app.telling.registry.is_taken_up() {
        return Err(Problem::unavailable(
            "the streams are being read; ask again in a moment",
        ));
    }
    let found = Some(id).filter(|id| id.len() <= ID_MAX);
    let found = found.and_then(|id| app.telling.registry.get(id));
    found
        .filter(|held| held.row.client_id == asker.caller.client_id)
        .ok_or_else(|| Problem::not_found("you have no such stream"))
}

/// What is said of every stream, around one with a name.
fn offered<T>(app: &App, id: &str, with: impl FnOnce(Offer<'_>) -> T) -> T {
    let interval = app.settings.ssf.min_verification_interval.as_secs();
    let inactivity = app.settings.ssf.inactivity.as_secs();
    with(Offer {
        iss: app.public_url(),
        poll_url: &poll_url(app.public_url(), id),
        events_supported: &SUPPORTED,
        min_verification_interval: u32::try_from(interval).unwrap_or(u32::MAX),
        inactivity_timeout: (inactivity > 0).then_some(inactivity),
    })
}

/// A stream's configuration, as an answer.
fn configuration(app: &App, held: &Held, status: StatusCode) -> Result<Response, Problem> {
    let written = written(app, held)?;
    let mut response = super::authzen::json(&written)?;
    *response.status_mut() = status;
    Ok(response)
}

fn written(app: &App, held: &Held) -> Result<Value, Problem> {
    let written = offered(app, &held.row.id, |offer| {
        serde_json::to_value(held.stream.configuration(offer))
    });
    written.map_err(|error| {
        tracing::error!(%error, "a stream could not be written");
        Problem::unavailable("the stream could not be written")
    })
}

/// Puts on record what was done with a stream, and by whom. Before the answer.
async fn record(app: &App, act: &str, by: &str, held: &Held) -> Result<(), Problem> {
    let record = json!({
        "v": RECORD_VERSION,
        "kind": "stream",
        "act": act,
        "at": wire::time::format(app.inputs.clock.now()),
        "stream": held.row.id,
        "client": held.row.client_id,
        "by": by,
        "status": held.row.status,
        "reason": held.row.reason,
        "endpoint_url": held.row.endpoint_url,
        "events_requested": held.stream.events_requested,
    });
    let kept = app.journal.append(record.to_string().into_bytes()).await;
    kept.map(|_| ()).map_err(|error| {
        tracing::error!(%error, "what was done with a stream is not on record");
        Problem::unavailable("it was done, and could not be put on record; send it again")
    })
}

fn empty(status: StatusCode) -> Response {
    status.into_response()
}
