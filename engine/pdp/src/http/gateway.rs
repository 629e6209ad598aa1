//! Gateways that ask over HTTP: forward-auth and Envoy's ext_authz in its HTTP mode.
//!
//! `Authorization` there is the client's own. The gateway says who it is in `Portreeve-Key`, which
//! its configuration sets, over whatever the client sent.

use std::net::IpAddr;
use std::sync::Arc;

use ::gateway::identity::TO_REMOVE;
use ::gateway::{Original, OriginalFault, Peer, Reply, Scheme, Verdict};
use axum::extract::{Request, State};
use axum::http::header::{COOKIE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::authn::{note_failed, note_known};
use super::client_certificate::Connected;
use super::guard::RequestId;
use crate::access::{Caller, Credential, NotAdmitted};
use crate::app::App;
use crate::gateways::{self, Asked, Complaint};
use crate::serve;

/// Under which gateways ask.
pub(super) const PREFIX: &str = "/gateway/";
/// Under which Envoy puts the client's path: its `path_prefix`.
pub(super) const ENVOY: &str = "/gateway/envoy";

const PORTREEVE_KEY: HeaderName = HeaderName::from_static("portreeve-key");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// `/gateway/forward-auth`, by any method: nginx, Caddy, Traefik, HAProxy, Apache.
pub(super) async fn forward_auth(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(&app, request, false, |from| {
        Original::told(from.peer, from.headers, &from.door.trust, from.door.reading)
    })
    .await
}

/// `/gateway/envoy/…`, by the client's own method: its path follows.
pub(super) async fn envoy(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(&app, request, true, |from| {
        if !from.door.trust.holds(from.peer) {
            return Err(OriginalFault::NotTrusted(from.peer.to_canonical()));
        }
        let target = from.parts.uri.path_and_query();
        let target = target.map_or("", |target| target.as_str());
        let target = target.strip_prefix(ENVOY).unwrap_or_default();
        let scheme = match one(from.headers, &X_FORWARDED_PROTO)? {
            Some(text) => Scheme::parse(text).ok_or(OriginalFault::Scheme)?,
            None => Scheme::default(),
        };
        let host = one(from.headers, &HOST)?.ok_or(OriginalFault::Missing(HOST))?;
        Original::direct(
            from.parts.method.as_str(),
            scheme,
            host,
            target.as_bytes(),
            from.headers,
            from.door.reading,
        )
    })
    .await
}

/// The one value of a header.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, OriginalFault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(::gateway::ForwardedFault::Repeated(name.clone()).into());
    }
    let text = first.map(axum::http::HeaderValue::to_str).transpose();
    text.map_err(|_| ::gateway::ForwardedFault::Malformed(name.clone()).into())
}

/// Where a request came from.
struct From<'a> {
    peer: IpAddr,
    parts: &'a Parts,
    headers: &'a HeaderMap,
    door: &'a ::gateway::Door,
}

/// `removes`: the gateway takes off the client's request what an answer names.
async fn answer(
    app: &Arc<App>,
    request: Request,
    removes: bool,
    read: impl Fn(&From<'_>) -> Result<Original, OriginalFault>,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let peer = parts.extensions.get::<serve::Peer>();
    let peer = peer.map(|serve::Peer(at)| at.ip());
    let connected = parts.extensions.get::<Connected>().cloned();
    let caller = match recognise(app, &mut parts.headers, connected.as_ref(), peer).await {
        Ok(caller) => caller,
        Err(complaint) => return written(gateways::not_a_gateway(app, complaint)),
    };
    note_known(&parts, &caller);
    let door = gateways::door(app, &caller);
    // Every request comes over a connection.
    let Some(peer) = peer else {
        let verdict = Verdict::Unavailable("nobody is there");
        return written(gateways::refused(app, door, &verdict).reply);
    };
    // Before anything is decided: what cannot be taken off must not be let through.
    let changes = removes.then(|| changes(door, &parts.headers));
    if changes.as_ref().is_some_and(Option::is_none) {
        return written(gateways::refused(app, door, &Verdict::HeaderTooLong).reply);
    }
    let request_id = parts.extensions.get::<RequestId>().map(RequestId::to_text);
    let _under_way = match gateways::enter(app, door, &caller) {
        Ok(under_way) => under_way,
        Err(why) => return written(why.reply),
    };
    let from = From {
        peer,
        parts: &parts,
        headers: &parts.headers,
        door,
    };
    let now = app.inputs.clock.now();
    let shown = gateways::certificate::shown(app, door, &parts.headers, peer, now);
    let client_certificate = match shown {
        Ok(shown) => shown,
        Err(why) => {
            let verdict = Verdict::Malformed(&why.to_string());
            return written(gateways::refused(app, door, &verdict).reply);
        }
    };
    let asked = Asked {
        caller: &caller,
        door,
        original: read(&from),
        peer: Peer::Gateway(peer),
        headers: &parts.headers,
        client_certificate,
        request_id: request_id.as_deref().unwrap_or_default(),
    };
    let mut checked = gateways::check(app, asked).await;
    if checked.reply.status == StatusCode::OK {
        for (name, value) in changes.flatten().into_iter().flatten() {
            checked.reply.headers.insert(name, value);
        }
    }
    if let Some(told) = &checked.told {
        let outcome = told.outcome.as_str();
        tracing::debug!(
            outcome,
            decision_id = told.decision_id,
            "a gateway was answered"
        );
    }
    written(checked.reply)
}

/// What an allow changes of the client's own headers, beside identity. None: more has to be taken
/// off than can be named.
fn changes(door: &::gateway::Door, headers: &HeaderMap) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let cookies = gateways::cookies_of_app(door, headers);
    let no_other = cookies.as_ref().is_some_and(HeaderValue::is_empty);
    let whole = [COOKIE];
    let more = if no_other { &whole[..] } else { &[] };
    let names = door.identity.to_remove(headers, more)?;
    let others = cookies.filter(|_| !no_other).map(|others| (COOKIE, others));
    Some(others.into_iter().chain([(TO_REMOVE, names)]).collect())
}

/// The gateway, by its key, or else by the certificate that it connected with; the two must not
/// name different ones. The key is taken out: nobody below has to see it.
async fn recognise(
    app: &App,
    headers: &mut HeaderMap,
    connected: Option<&Connected>,
    peer: Option<IpAddr>,
) -> Result<Caller, Complaint> {
    let mut sent = headers.get_all(&PORTREEVE_KEY).iter();
    let first = sent.next().cloned();
    let is_one = sent.next().is_none();
    headers.remove(&PORTREEVE_KEY);
    let Some(key) = first else {
        let connected = connected.ok_or(Complaint::NoKey)?;
        return connected.caller(app).map_err(|_| {
            note_failed(app, Credential::Certificate, peer);
            Complaint::NoKey
        });
    };
    // Two of them: one is the client's, and the gateway adds to it what it has to set.
    let key = key.to_str().ok().filter(|_| is_one);
    let now = app.inputs.clock.now();
    let admitted = match key {
        Some(key) => app.keys.admit(key.trim(), app.state.store(), now).await,
        None => Err(NotAdmitted::Refused(crate::access::Refused)),
    };
    let caller = admitted.map_err(|why| match why {
        NotAdmitted::Refused(_) => {
            note_failed(app, Credential::Key, peer);
            Complaint::WrongKey
        }
        NotAdmitted::TooManyRefused | NotAdmitted::NotLookedUp => Complaint::KeyUnknown,
    })?;
    // A gateway that is known by its certificate may not set the header, and then it is the
    // client's own.
    let certified = connected.and_then(|connected| connected.caller(app).ok());
    if certified.is_some_and(|certified| certified.client_id != caller.client_id) {
        note_failed(app, Credential::Key, peer);
        return Err(Complaint::KeyOfAnother);
    }
    Ok(caller)
}

fn written(reply: Reply) -> Response {
    let mut response = (reply.status, reply.body.unwrap_or_default()).into_response();
    *response.headers_mut() = reply.headers;
    response
}
