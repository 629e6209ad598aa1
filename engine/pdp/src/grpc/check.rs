//! `envoy.service.auth.v3.Authorization/Check`: who asks, limits, and the flow of every gateway.

use std::sync::Arc;
use std::time::Instant;

use ::gateway::certificate::from_pem;
use ::gateway::{CertificateFrom, Door, Peer, Verdict};
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use domain::Timestamp;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use token::certificate::ClientCertificate;
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::answer;
use super::asked::{self, NotTold, Told};
use crate::access::Caller;
use crate::app::App;
use crate::gateways::{self, Asked, Checked, Complaint};
use crate::http::{authn, fresh_id};
use crate::load::Class;
use crate::serve;

/// The service.
#[derive(Debug)]
pub(super) struct Check {
    app: Arc<App>,
}

impl Check {
    pub(super) fn new(app: &Arc<App>) -> Self {
        Self {
            app: Arc::clone(app),
        }
    }
}

#[tonic::async_trait]
impl Authorization for Check {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let started = Instant::now();
        let (checked, strip) = answer(&self.app, request).await;
        let status = checked.reply.status.as_u16();
        self.app.metrics.responded(status, started.elapsed());
        let response = answer::response(checked.reply, checked.told.as_ref(), &strip);
        Ok(Response::new(response))
    }
}

/// The answer, and what is taken off the client's request if it is let through.
async fn answer(app: &Arc<App>, request: Request<CheckRequest>) -> (Checked, Vec<HeaderName>) {
    let refused = |door: &Door, verdict: &Verdict<'_>| {
        let checked = gateways::refused(app, door, verdict);
        (checked, Vec::new())
    };
    let anybodys = app.settings.gateway.door(None);
    let has_room = app.load.has_room(Class::Decision);
    let at_work = app.at_work.try_acquire().ok().filter(|_| has_room);
    let Some(_at_work) = at_work else {
        app.metrics.door.shed();
        // At once: to queue is to let everybody wait.
        let verdict = Verdict::Unavailable("too many requests are at work; try again");
        return refused(anybodys, &verdict);
    };
    let (metadata, extensions, message) = request.into_parts();
    let mut parts = axum::http::Request::new(()).into_parts().0;
    (parts.headers, parts.extensions) = (metadata.into_headers(), extensions);
    let caller = match recognise(app, &parts).await {
        Ok(caller) => caller,
        Err(NotKnown::TooMany) => {
            let verdict = Verdict::TooMany {
                retry_after_seconds: 1,
            };
            return refused(anybodys, &verdict);
        }
        Err(NotKnown::NoGateway(complaint)) => {
            let reply = gateways::not_a_gateway(app, complaint);
            return (Checked { reply, told: None }, Vec::new());
        }
    };
    let door = gateways::door(app, &caller);
    let limits = &app.settings.limits;
    let told = match asked::told(message.attributes, door.reading, limits.header_bytes) {
        Ok(told) => told,
        Err(NotTold::HeaderTooLong) => return refused(door, &Verdict::HeaderTooLong),
        Err(why) => return refused(door, &Verdict::Malformed(&why.to_string())),
    };
    let now = app.inputs.clock.now();
    let client_certificate = match certificate(app, door, &told, &parts, now) {
        Ok(certificate) => certificate,
        Err(why) => return refused(door, &Verdict::Malformed(&why)),
    };
    let fresh = told.request_id().is_none().then(|| fresh_id(app));
    let fresh = fresh.as_ref().and_then(|id| id.to_str().ok());
    let asked = Asked {
        caller: &caller,
        door,
        request_id: told.request_id().or(fresh).unwrap_or_default(),
        original: told.original.clone(),
        peer: Peer::Client(told.client),
        headers: &told.headers,
        client_certificate,
    };
    match timeout(limits.request_timeout, gateways::check(app, asked)).await {
        Ok(mut checked) if checked.reply.status == StatusCode::OK => {
            let mut strip = door.identity.to_strip(&told.headers);
            match gateways::cookies_of_app(door, &told.headers) {
                Some(none) if none.is_empty() => strip.push(COOKIE),
                Some(others) => {
                    checked.reply.headers.insert(COOKIE, others);
                }
                None => {}
            }
            (checked, strip)
        }
        Ok(checked) => (checked, Vec::new()),
        Err(_) => {
            let verdict = Verdict::Unavailable("the answer took too long; try again");
            refused(door, &verdict)
        }
    }
}

/// Why nobody is answered.
enum NotKnown {
    /// Too much is under way, or too many made-up keys came.
    TooMany,
    /// Whoever asks is no gateway, or it cannot be told whether they are.
    NoGateway(Complaint),
}

/// The gateway. It counts as under way from where the flow begins, which is the same for all.
async fn recognise(app: &App, parts: &Parts) -> Result<Caller, NotKnown> {
    let refused = match authn::gateway(parts, app).await {
        Ok(caller) => return Ok(caller),
        Err(problem) => StatusCode::from_u16(problem.item().0),
    };
    Err(match refused {
        Ok(StatusCode::TOO_MANY_REQUESTS) => NotKnown::TooMany,
        Ok(StatusCode::SERVICE_UNAVAILABLE) => NotKnown::NoGateway(Complaint::KeyUnknown),
        _ if parts.headers.contains_key(AUTHORIZATION) => NotKnown::NoGateway(Complaint::WrongKey),
        _ => NotKnown::NoGateway(Complaint::NoKey),
    })
}

/// The client's certificate, verified. Envoy never writes `Client-Cert`, so over gRPC that header
/// is the client's own word and is not looked at.
fn certificate(
    app: &App,
    door: &Door,
    told: &Told,
    parts: &Parts,
    now: Timestamp,
) -> Result<Option<Arc<ClientCertificate>>, String> {
    let from = door.credentials.certificate_from;
    let gateway = parts.extensions.get::<serve::Peer>();
    if let (CertificateFrom::XForwardedClientCert, Some(serve::Peer(gateway))) = (from, gateway) {
        let shown = gateways::certificate::shown(app, door, &told.headers, gateway.ip(), now);
        return shown.map_err(|why| why.to_string());
    }
    // No client writes this one, so that nobody has to say where it stands.
    if told.certificate.is_empty() {
        return Ok(None);
    }
    let shown = from_pem(&told.certificate).map_err(|why| why.to_string())?;
    gateways::certificate::verified(app, &shown, now).map_err(|why| why.to_string())
}
