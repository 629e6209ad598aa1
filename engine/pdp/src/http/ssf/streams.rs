//! `/ssf/streams`: streams are made, read, changed and removed (SSF 1.0 §8.1.1).

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use ssf::stream::{BadStream, Delivery, Offer, Stream, Wish};
use store::sqlite::StreamRow;

use super::{configuration, empty, failed, find, offered, record, require_read, written};
use crate::access::{Caller, Permission};
use crate::app::App;
use crate::http::Problem;
use crate::http::authn::Authenticated;
use crate::http::authzen::{json as answer, read_object};
use crate::http::query::query;
use crate::http::to_the_end::to_the_end;
use crate::outbound::is_callable;
use crate::telling::fresh;
use crate::telling::registry::Held;

const FORM: &str = r#"{"events_requested": […], "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": …, "authorization_header"?: …} or {"method": "urn:ietf:rfc:8936"}, "description"?: …}"#;

#[derive(Debug, Deserialize)]
pub(in crate::http) struct Which {
    stream_id: Option<String>,
}

/// `POST /ssf/streams`: 201, or 409 where the caller has as many as it may.
pub(in crate::http) async fn create(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::ManageStreams)?;
    let wish: Wish = read_object(&app, request, FORM).await?;
    check_url(&app, &wish)?;
    // A stream can be verified with the first thing that it tells.
    app.set_keys().await.map_err(|error| {
        tracing::error!(%error, "there are no keys for security event tokens");
        Problem::unavailable("there are no keys to sign with; ask again in a moment")
    })?;
    let caller = asker.caller.clone();
    let work = async move { create_now(&app, &caller, wish).await };
    to_the_end("a stream", work).await?
}

async fn create_now(app: &App, caller: &Caller, wish: Wish) -> Result<Response, Problem> {
    let id = fresh("str_", &*app.inputs.randomness);
    // Whom its tokens are for: the client, whichever of its keys it has by then.
    let aud = vec![caller.client_id.clone()];
    let stream = offered(app, &id, |offer| {
        Stream::create(id.clone(), aud, wish, offer)
    });
    let stream = stream.map_err(|why| bad(&why))?;
    let now = app.inputs.clock.now();
    let blank = StreamRow {
        id,
        client_id: caller.client_id.clone(),
        aud: texts(&stream.aud),
        events_requested: String::new(),
        endpoint_url: None,
        authorization: None,
        description: None,
        status: stream.status.as_str().to_owned(),
        reason: None,
        hears_all: app.settings.ssf.hears_all,
        verified_at: None,
        created_at: now,
        active_at: now,
    };
    let row = row_of(app, &stream, blank)?;
    let _alone = app.telling.registry.alone().await;
    let most = app.settings.ssf.streams;
    let kept = app.state.store().insert_stream(&row, most).await;
    if !kept.map_err(|error| failed(&error))? {
        return Err(Problem::conflict(format!(
            "you have {most} streams, as many as a client may; change one of them, or delete it"
        )));
    }
    let held = app.telling.put_stream(Held::new(row, stream));
    record(app, "created", &caller.by(), &held).await?;
    configuration(app, &held, StatusCode::CREATED)
}

/// `GET /ssf/streams?stream_id=`: one, or all of the caller's.
pub(in crate::http) async fn read(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    require_read(&app, &asker)?;
    match query(which)?.stream_id {
        Some(id) => configuration(&app, &*find(&app, &asker, &id)?, StatusCode::OK),
        None => {
            let all = app.telling.registry.all();
            let own = all
                .values()
                .filter(|held| held.row.client_id == asker.caller.client_id)
                .map(|held| written(&app, held));
            answer(&own.collect::<Result<Vec<_>, _>>()?)
        }
    }
}

/// `PATCH /ssf/streams`: what is left out stays.
pub(in crate::http) async fn update(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    change(app, asker, request, Stream::update).await
}

/// `PUT /ssf/streams`: what is left out is gone.
pub(in crate::http) async fn replace(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    change(app, asker, request, Stream::replace).await
}

type Change = fn(&Stream, Wish, Offer<'_>) -> Result<Stream, BadStream>;

async fn change(
    app: Arc<App>,
    asker: Authenticated,
    request: Request,
    change: Change,
) -> Result<Response, Problem> {
    asker.require(Permission::ManageStreams)?;
    let wish: Wish = read_object(&app, request, FORM).await?;
    let id = wish.stream_id.clone();
    let id =
        id.ok_or_else(|| Problem::malformed("`stream_id` says which stream, and is missing"))?;
    check_url(&app, &wish)?;
    let work = async move {
        let _alone = app.telling.registry.alone().await;
        let held = find(&app, &asker, &id)?;
        let changed = offered(&app, &id, |offer| change(&held.stream, wish, offer));
        let changed = changed.map_err(|why| bad(&why))?;
        let row = row_of(&app, &changed, held.row.clone())?;
        let kept = app.state.store().update_stream(&row).await;
        kept.map_err(|error| failed(&error))?;
        let held = app.telling.put_stream(held.with(row, changed));
        // What could not be told there may be told here.
        held.progress.begin_anew();
        app.telling.wake();
        record(&app, "changed", &asker.caller.by(), &held).await?;
        configuration(&app, &held, StatusCode::OK)
    };
    to_the_end("a stream", work).await?
}

/// `DELETE /ssf/streams?stream_id=`: with everything that it still had to tell.
pub(in crate::http) async fn delete(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    asker.require(Permission::ManageStreams)?;
    let id = query(which)?.stream_id;
    let id =
        id.ok_or_else(|| Problem::malformed("`stream_id` says which stream, and is missing"))?;
    let work = async move {
        let _alone = app.telling.registry.alone().await;
        let held = find(&app, &asker, &id)?;
        let gone = app.state.store().delete_stream(&id).await;
        gone.map_err(|error| failed(&error))?;
        app.telling.remove_stream(&id);
        record(&app, "deleted", &asker.caller.by(), &held).await?;
        Ok(empty(StatusCode::NO_CONTENT))
    };
    to_the_end("a stream", work).await?
}

/// Whether it may be pushed to at all: to say so now is better than in the log later.
fn check_url(app: &App, wish: &Wish) -> Result<(), Problem> {
    match &wish.delivery {
        Some(Delivery::Push { endpoint_url, .. })
            if !is_callable(endpoint_url, &app.settings.outbound.allow) =>
        {
            Err(Problem::malformed(
                "`delivery.endpoint_url` must be an https URL; anything else is pushed to only if \
                 `limits.outbound_allow` names its host and port",
            ))
        }
        _ => Ok(()),
    }
}

fn bad(why: &BadStream) -> Problem {
    Problem::malformed(why.to_string())
}

fn texts(all: &[String]) -> String {
    // Text alone: it cannot fail.
    serde_json::to_string(all).unwrap_or_default()
}

/// A row with what of a stream may change.
fn row_of(app: &App, stream: &Stream, row: StreamRow) -> Result<StreamRow, Problem> {
    let (endpoint_url, secret) = match &stream.delivery {
        Delivery::Push {
            endpoint_url,
            authorization_header,
        } => (Some(endpoint_url.clone()), authorization_header.as_deref()),
        Delivery::Poll { .. } => (None, None),
    };
    let sealed = secret.map(|secret| app.telling.seal(&row.id, secret));
    if sealed == Some(None) {
        return Err(Problem::unavailable(
            "the authorization header could not be sealed; send it again",
        ));
    }
    Ok(StreamRow {
        events_requested: texts(&stream.events_requested),
        endpoint_url,
        authorization: sealed.flatten(),
        description: stream.description.clone(),
        active_at: app.inputs.clock.now(),
        ..row
    })
}
