//! What every request passes: limits on headers, on work at once and on time; its id; its count.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, HeaderName, HeaderValue};
use axum::http::{Method, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Problem;
use super::body::{AtWork, too_much_at_work, too_slow};
use super::gateway;
use super::rest;
use super::ssf::poll;
use crate::app::App;
use crate::serve::HEAD_MAX;

/// Time for a request that brings a policy set or many entities.
const UPLOAD_WITHIN: Duration = Duration::from_secs(60);

/// Longest id of a request that is taken over, bytes.
const REQUEST_ID_MAX: usize = 128;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// The id that ties a request, its answer, its record and the log together.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) HeaderValue);

impl RequestId {
    /// As text, for the record.
    pub(super) fn to_text(&self) -> String {
        String::from_utf8_lossy(self.0.as_bytes()).into_owned()
    }
}

/// Where a request came in.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) app: Arc<App>,
    /// Whether it takes no place at work: those who run the engine must get in when it is full. The
    /// connections of their listener are few, with one request each.
    pub(super) has_own_places: bool,
}

pub(super) async fn pass(State(at): State<At>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let At { app, .. } = &at;
    let limits = &app.settings.limits;
    // What gateways pass on may be their client's word.
    let is_clients = request.uri().path().starts_with(gateway::PREFIX);
    let id = request.headers().get(REQUEST_ID).filter(|id| {
        let can_be = !is_clients || is_request_id(id.as_bytes());
        can_be && id.len() <= REQUEST_ID_MAX
    });
    let id = id.cloned().unwrap_or_else(|| fresh_id(app));
    let too_long = head_is_too_long(&request, limits.header_bytes);
    let is_http1 = request.version() <= Version::HTTP_11;
    let is_too_long = rest::is_too_long(&request);
    let mut request = if is_http1 {
        rest::taken(request)
    } else {
        request
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = if too_long {
        Problem::headers_too_large().into_response()
    } else {
        answered(&at, request, next).await
    };
    if is_too_long && is_http1 && !response.status().is_success() {
        // So much is not waited for.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    if app.stopping.load(Ordering::Relaxed) {
        app.asked_since.fetch_add(1, Ordering::Relaxed);
        if is_http1 {
            // The next one would find nobody here.
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
        .headers_mut()
        .insert(NO_SNIFF, HeaderValue::from_static("nosniff"));
    app.metrics
        .responded(response.status().as_u16(), started.elapsed());
    response
}

/// The answer, if there is a place for the request.
async fn answered(at: &At, mut request: Request, next: Next) -> Response {
    let At { app, .. } = at;
    let limits = &app.settings.limits;
    let class = class_of(request.uri().path());
    let Some(permit) = enter(at, class) else {
        return too_much_at_work(app).into_response();
    };
    let body_within = if is_upload(&request) {
        limits.request_timeout.max(UPLOAD_WITHIN)
    } else {
        limits.request_timeout
    };
    let patience = if request.uri().path().starts_with(poll::PATH) {
        // It may wait for something to tell.
        body_within.max(poll::WITHIN)
    } else {
        body_within
    };
    let permit = Arc::new(Mutex::new(permit));
    let at_work = AtWork::new(app, &permit, body_within);
    request.extensions_mut().insert(at_work);
    match timeout(patience, next.run(request)).await {
        Ok(response) => response,
        Err(_) => too_slow().into_response(),
    }
}

/// What a request is for. When there is too much, decisions go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Whether anybody is there.
    Probe,
    /// Decisions, and what those need who ask for them.
    Decision,
    /// What can wait.
    Administration,
}

/// A place for a request; probes need none, since who asks them must learn that the engine lives.
/// Whether a caller's decision has room is looked at once it is known whose it is.
fn enter(at: &At, class: Class) -> Option<Option<OwnedSemaphorePermit>> {
    let At { app, .. } = at;
    match class {
        _ if at.has_own_places => return Some(None),
        Class::Probe => return Some(None),
        Class::Administration if !app.load.has_room() => return None,
        Class::Administration | Class::Decision => {}
    }
    let permit = Arc::clone(&app.at_work).try_acquire_owned();
    permit.ok().map(Some)
}

fn class_of(path: &str) -> Class {
    let waits = ["/v1/", "/ssf/", "/metrics"];
    let goes_first = ["/v1/sessions", "/v1/decisions/"];
    let begins = |with: &[&str]| with.iter().any(|start| path.starts_with(start));
    if ["/healthz", "/readyz"].contains(&path) {
        Class::Probe
    } else if begins(&waits) && !begins(&goes_first) {
        Class::Administration
    } else {
        Class::Decision
    }
}

/// Whether a header's name or value is longer than one may be, or all of the head together longer
/// than it may be: hyper's own limit is on what it reads at once.
fn head_is_too_long(request: &Request, header_max: usize) -> bool {
    let mut total = request.uri().path().len() + request.uri().query().map_or(0, str::len);
    for (name, value) in request.headers() {
        if name.as_str().len().max(value.len()) > header_max {
            return true;
        }
        // A colon, a space, a line's end.
        total += name.as_str().len() + value.len() + 4;
    }
    total > HEAD_MAX
}

/// Whether it brings a policy set or many entities, which take their time.
fn is_upload(request: &Request) -> bool {
    let path = request.uri().path();
    match *request.method() {
        Method::PUT | Method::POST | Method::DELETE => {
            path == "/v1/entities" || path == "/v1/policies" || path.starts_with("/v1/policies/")
        }
        _ => false,
    }
}

/// Whether a gateway can call its client's request by this in records and logs: what proxies make,
/// and little else, since clients choose it where a proxy passes theirs on.
pub(crate) fn is_request_id(id: &[u8]) -> bool {
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@~".contains(byte);
    (1..=REQUEST_ID_MAX).contains(&id.len()) && id.iter().all(is_usual)
}

/// An id for a request that came without one, or with one that is none.
pub(crate) fn fresh_id(app: &App) -> HeaderValue {
    let mut random = [0; 8];
    app.inputs.randomness.fill(&mut random);
    let text = format!("req_{:016x}", u64::from_be_bytes(random));
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("req"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proxies_make_is_an_id_and_what_fills_a_record_is_none() {
        let long = "a".repeat(REQUEST_ID_MAX + 1);
        for (id, is_id) in [
            // nginx's `$request_id`, Envoy's and HAProxy's UUIDs, AWS's and W3C's trace ids.
            ("0af7651916cd43dd8448eb211c80319c", true),
            ("6f1c0c2e-1b2a-4c5d-8e9f-0a1b2c3d4e5f", true),
            ("Root=1-67891233-abcdef012345678912345678", true),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                true,
            ),
            (&long[1..], true),
            (&long, false),
            ("", false),
            ("two words", false),
            ("a\"b", false),
            ("a\nb", false),
            ("caf\u{e9}", false),
        ] {
            assert_eq!(is_request_id(id.as_bytes()), is_id, "{id:?}");
        }
    }
}
