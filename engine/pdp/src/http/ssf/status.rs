//! `/ssf/status`: whether a stream flows (SSF 1.0 §8.1.2).

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use ssf::stream::{Status, Stream};
use store::sqlite::StreamRow;

use super::{failed, find, record, require_read};
use crate::access::Permission;
use crate::app::App;
use crate::http::Problem;
use crate::http::authn::Authenticated;
use crate::http::authzen::{json as answer, read_object};
use crate::http::query::query;
use crate::http::to_the_end::to_the_end;
use crate::telling::registry::Held;

/// Bytes of a reason at most.
const REASON_MAX: usize = 1024;

#[derive(Debug, Deserialize)]
pub(in crate::http) struct Which {
    stream_id: String,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    stream_id: String,
    status: Status,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    stream_id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

fn shown(held: &Held) -> Result<Response, Problem> {
    answer(&Shown {
        stream_id: &held.row.id,
        status: held.stream.status,
        reason: held.row.reason.as_deref(),
    })
}

/// `GET /ssf/status?stream_id=`.
pub(in crate::http) async fn read(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    require_read(&app, &asker)?;
    shown(&*find(&app, &asker, &query(which)?.stream_id)?)
}

/// `POST /ssf/status` `{stream_id, status, reason?}`. A paused stream holds `ssf.held` events; one
/// that is disabled has nothing to tell, and what it had is gone.
pub(in crate::http) async fn update(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::ManageStreams)?;
    let form = r#"{"stream_id": …, "status": "enabled", "paused" or "disabled", "reason"?: …}"#;
    let wanted: Wanted = read_object(&app, request, form).await?;
    if wanted
        .reason
        .as_ref()
        .is_some_and(|reason| reason.len() > REASON_MAX)
    {
        return Err(Problem::malformed(format!(
            "`reason` is longer than {REASON_MAX} bytes"
        )));
    }
    let work = async move { update_now(&app, &asker, wanted).await };
    to_the_end("a stream's status", work).await?
}

async fn update_now(app: &App, asker: &Authenticated, wanted: Wanted) -> Result<Response, Problem> {
    let _alone = app.telling.registry.alone().await;
    let held = find(app, asker, &wanted.stream_id)?;
    let row = StreamRow {
        status: wanted.status.as_str().to_owned(),
        reason: wanted.reason,
        active_at: app.inputs.clock.now(),
        ..held.row.clone()
    };
    let store = app.state.store();
    let kept = store.update_stream(&row).await;
    kept.map_err(|error| failed(&error))?;
    let stream = Stream {
        status: wanted.status,
        ..held.stream.clone()
    };
    let held = app.telling.put_stream(held.with(row, stream));
    if wanted.status == Status::Disabled {
        let cleared = store.clear_outbox(&held.row.id).await;
        cleared.map_err(|error| failed(&error))?;
    }
    held.progress.begin_anew();
    app.telling.wake();
    record(app, "status", &asker.caller.by(), &held).await?;
    shown(&held)
}
