//! Envoy's external authorization over gRPC, and what its operators expect of such a server:
//! health and reflection.
//!
//! ```text
//! metadata     ─▶ admitted  who asks, before anything else is read; then the message
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
mod open;
mod reflection;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use tokio::time::timeout;
use tonic::codegen::Service as _;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_health::pb::health_server::HealthServer;

use crate::app::App;
use crate::http::{NotBelieved, pass_or_tell};
use crate::serve::HEAD_MAX;
use admitted::{Admitted, NotAdmitted, admit};
use open::{Decided, Open};

/// Where checks are asked.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// Longest message to what needs no key, bytes.
const OPEN_MESSAGE_MAX: usize = 4 << 10;
/// A message of which nothing is said, as gRPC frames it.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// Most headers of a request, as over HTTP/1.1: each takes far more room than it takes to send.
const HEADERS_MAX: usize = 100;
/// How a message is compressed.
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// What every call passes.
#[derive(Clone, Debug)]
struct Passed {
    app: Arc<App>,
    open: Arc<Open>,
}

/// Every method that the engine answers.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let check =
        AuthorizationServer::new(check::Check::new(app)).max_decoding_message_size(largest(app));
    let denying = check.clone();
    let health =
        HealthServer::new(health::Readiness::new(app)).max_decoding_message_size(OPEN_MESSAGE_MAX);
    let routes = Routes::new(check).add_service(health);
    let open: Arc<Open> = Arc::default();
    let passed = Passed {
        app: Arc::clone(app),
        open: Arc::clone(&open),
    };
    reflection::add(routes)
        .into_axum_router()
        .layer(from_fn_with_state(passed, pass))
        .layer(from_fn_with_state(Arc::clone(app), pass_or_tell))
        .layer(from_fn_with_state(denying, denied_at_least))
        .layer(from_fn_with_state(open, Open::pass))
}

/// Denies a check that was answered with anything but a check's response: its message is too large,
/// too slow, compressed, or none.
async fn denied_at_least(
    State(mut denying): State<AuthorizationServer<check::Check>>,
    request: Request,
    next: Next,
) -> Response {
    let is_check = request.uri().path() == CHECK;
    let response = next.run(request).await;
    let Some(why) = not_answered(&response).filter(|_| is_check) else {
        return response;
    };
    let mut again = Request::new(Body::from(EMPTY_MESSAGE));
    *again.uri_mut() = Uri::from_static(CHECK);
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

/// The longest check, bytes: a client's headers, its certificates, and a body where the gateway
/// sends one though nobody reads it here.
fn largest(app: &App) -> usize {
    3 * HEAD_MAX + app.settings.limits.body_bytes
}

/// Finds out who asks before the message is read: strangers must neither hold memory nor a place
/// at work. What they send to [`CHECK`] is not read at all, and to the rest is little.
async fn pass(State(passed): State<Passed>, mut request: Request, next: Next) -> Response {
    let Passed { app, open } = &passed;
    if request.headers().len() > HEADERS_MAX {
        return failed(Status::resource_exhausted("there are too many headers"));
    }
    if request.uri().path() == CHECK {
        return in_time(app, checked(app, request, next)).await;
    }
    let not_believed = request.extensions_mut().remove();
    match (open::find(request.uri().path()), not_believed) {
        (Some(found), None) => open.answer(found, request, next).await,
        (Some(found), Some(_)) if found.1.is_of_health() => open.answer(found, request, next).await,
        (_, Some(NotBelieved(why))) => why.into_response(),
        // It is said at once that there is no such method.
        (None, None) => next.run(request).await,
    }
}

async fn checked(app: &Arc<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let (admitted, message, _held) = admit(app, &parts, body).await;
    let mut request = Request::from_parts(parts, message);
    let_go(&mut request, CHECK);
    let is_admitted = admitted.0.is_ok();
    if !is_admitted {
        request.headers_mut().remove(GRPC_ENCODING);
    }
    request.extensions_mut().insert(admitted);
    let mut response = next.run(request).await;
    if is_admitted {
        response.extensions_mut().insert(Decided);
    }
    response
}

/// No check is taken in for longer than this, so that nobody holds one open by sending it slowly.
/// One that is taken in has a limit of its own, and says so in a response.
async fn in_time(app: &App, answer: impl Future<Output = Response>) -> Response {
    let patience = app.settings.limits.request_timeout.saturating_mul(2);
    let answer = timeout(patience, answer).await;
    answer.unwrap_or_else(|_| failed(Status::deadline_exceeded("the call took too long")))
}

/// Lets go of what came before the message and is not looked at any more: it may be much, and what
/// is left of it would hold all.
fn let_go(request: &mut Request, method: &'static str) {
    let encoding = request.headers().get(GRPC_ENCODING);
    let encoding = encoding.and_then(|name| HeaderValue::from_bytes(name.as_bytes()).ok());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(encoding) = encoding.filter(|name| name.len() <= 16) {
        headers.insert(GRPC_ENCODING, encoding);
    }
    *request.headers_mut() = headers;
    *request.uri_mut() = Uri::from_static(method);
}

fn failed(status: Status) -> Response {
    status.into_http::<Body>().into_response()
}
