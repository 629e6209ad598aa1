//! Envoy's external authorization over gRPC, and what its operators expect of such a server:
//! health and reflection.
//!
//! ```text
//! metadata     ─▶ admitted  who asks, before anything else is read
//! CheckRequest ─▶ asked     the client's request, as the gateway tells it
//!              ─▶ check     the one flow of gateways
//!              ─▶ answer    reply ─▶ CheckResponse: headers, removals, metadata, denials
//! ```
//!
//! What cannot be answered is denied within a response that says so: a gRPC error, or any other
//! answer, would be let through by an Envoy that was told `failure_mode_allow`.

mod admitted;
mod answer;
mod asked;
mod check;
mod health;
mod reflection;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use futures_util::StreamExt as _;
use http_body_util::{BodyStream, StreamBody};
use tokio::time::{sleep, timeout};
use tonic::codegen::Service as _;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_health::pb::health_server::HealthServer;

use crate::app::App;
use crate::http::{NotBelieved, pass_or_tell};
use crate::serve::{HEAD_MAX, Peer};
use admitted::{Admitted, CHECKS, NotAdmitted, admit};

/// Where reflection is asked.
const REFLECTION: &str = "/grpc.reflection.";
/// Longest message to what needs no key, bytes.
const OPEN_MESSAGE_MAX: usize = 4 << 10;
/// A message of which nothing is said, as gRPC frames it.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// Says how a message is compressed.
const ENCODING: &str = "grpc-encoding";
/// How long one stream of it may last: it is for people, and needs no key.
const REFLECT_WITHIN: Duration = Duration::from_secs(60);

/// Every method that the engine answers.
pub(crate) fn router(app: &Arc<App>) -> Router {
    // A client's headers, its certificates, and a body where the gateway sends one though nobody
    // reads it here.
    let largest = 3 * HEAD_MAX + app.settings.limits.body_bytes;
    let check = AuthorizationServer::new(check::Check::new(app)).max_decoding_message_size(largest);
    let denying = check.clone();
    let health =
        HealthServer::new(health::Readiness::new(app)).max_decoding_message_size(OPEN_MESSAGE_MAX);
    let routes = Routes::new(check).add_service(health);
    reflection::add(routes)
        .into_axum_router()
        .layer(from_fn_with_state(Arc::clone(app), known_first))
        .layer(from_fn_with_state(Arc::clone(app), in_time))
        .layer(from_fn_with_state(Arc::clone(app), pass_or_tell))
        .layer(from_fn_with_state(denying, denied_at_least))
}

/// Denies a check that was answered with anything but a check's response: its message is too large,
/// too slow, compressed, or none.
async fn denied_at_least(
    State(mut denying): State<AuthorizationServer<check::Check>>,
    request: Request,
    next: Next,
) -> Response {
    let is_check = request.uri().path().starts_with(CHECKS);
    let path = request.uri().clone();
    let response = next.run(request).await;
    let Some(why) = not_answered(&response).filter(|_| is_check) else {
        return response;
    };
    let mut again = Request::new(Body::from(EMPTY_MESSAGE));
    *again.uri_mut() = path;
    again.extensions_mut().insert(Admitted(Err(why)));
    let denied = denying.call(again).await;
    denied.map_or(response, Response::into_response)
}

/// Why a call was not answered. None: it was.
fn not_answered(response: &Response) -> Option<NotAdmitted> {
    let status = Status::from_header_map(response.headers());
    match status {
        Some(status) if status.code() == Code::DeadlineExceeded => Some(NotAdmitted::TooSlow),
        Some(status) if status.code() != Code::Ok => {
            Some(NotAdmitted::NotRead(status.message().to_owned()))
        }
        _ if response.status() != StatusCode::OK => {
            Some(NotAdmitted::NotRead(response.status().to_string()))
        }
        _ => None,
    }
}

/// Finds out who asks before the message is read: strangers must neither hold memory nor a place
/// at work. What they send to [`CHECKS`] is not read at all, and to the rest is little.
async fn known_first(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with(CHECKS) {
        if let Some(NotBelieved(why)) = request.extensions_mut().remove() {
            return why.into_response();
        }
        let peer = request.extensions().get::<Peer>();
        let holding = peer.and_then(|Peer(peer)| app.strangers.hold(peer.ip()));
        let Some(_holding) = holding else {
            return Status::resource_exhausted("too much is asked by clients that are not known")
                .into_http::<Body>()
                .into_response();
        };
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let (admitted, _at_work) = admit(&app, &parts).await;
    // The check then says why not, as every check is answered.
    let body = if admitted.0.is_ok() {
        body
    } else {
        parts.headers.remove(ENCODING);
        Body::from(EMPTY_MESSAGE)
    };
    parts.extensions.insert(admitted);
    next.run(Request::from_parts(parts, body)).await
}

/// No call is taken in for longer than this, so that nobody holds one open by sending it slowly;
/// and whoever has reflection told for longer than [`REFLECT_WITHIN`] asks again. A check that is
/// taken in has a limit of its own, and says so in a response.
async fn in_time(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let is_reflection = request.uri().path().starts_with(REFLECTION);
    let patience = app.settings.limits.request_timeout.saturating_mul(2);
    match timeout(patience, next.run(request)).await {
        Ok(response) if is_reflection => response.map(|body| {
            let frames = BodyStream::new(body).take_until(sleep(REFLECT_WITHIN));
            Body::new(StreamBody::new(frames))
        }),
        Ok(response) => response,
        Err(_) => Status::deadline_exceeded("the call took too long")
            .into_http::<Body>()
            .into_response(),
    }
}
