//! `envoy.service.auth.v3.Authorization/Check`: the flow of every gateway.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ::gateway::certificate::from_pem;
use ::gateway::{CertificateFrom, Door, OriginalFault, Peer, Verdict};
use axum::http::header::COOKIE;
use axum::http::{HeaderName, StatusCode};
use domain::Timestamp;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use token::certificate::ClientCertificate;
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::admitted::{Admitted, NotAdmitted};
use super::answer;
use super::asked::{self, NotTold, Told};
use crate::app::App;
use crate::gateways::{self, Asked, Checked, Complaint};
use crate::http::fresh_id;
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
    let (_, mut extensions, message) = request.into_parts();
    let caller = match extensions.remove::<Admitted>() {
        Some(Admitted(Ok(caller))) => caller,
        // It is there for every check.
        None | Some(Admitted(Err(NotAdmitted::TooMuch))) => {
            let verdict = Verdict::Unavailable("too many requests are at work; try again");
            return refused(anybodys, &verdict);
        }
        Some(Admitted(Err(NotAdmitted::TooManyRefused))) => {
            let verdict = Verdict::TooMany {
                retry_after_seconds: 1,
            };
            return refused(anybodys, &verdict);
        }
        Some(Admitted(Err(NotAdmitted::NoGateway(complaint)))) => {
            let reply = gateways::not_a_gateway(app, complaint);
            return (Checked { reply, told: None }, Vec::new());
        }
        Some(Admitted(Err(NotAdmitted::NotEntered(why)))) => return (*why, Vec::new()),
        Some(Admitted(Err(NotAdmitted::NotBelieved(why)))) => {
            let reply = gateways::not_a_gateway_since(app, Complaint::NotBelieved, Some(&why));
            return (Checked { reply, told: None }, Vec::new());
        }
        Some(Admitted(Err(NotAdmitted::NotRead(why)))) => {
            let now = app.inputs.clock.now();
            let complaints = &app.gateway_complaints;
            complaints.note_why(Complaint::NotRead, now, Some(&why));
            let verdict =
                Verdict::Malformed("what the gateway tells of the request cannot be read");
            return refused(anybodys, &verdict);
        }
        Some(Admitted(Err(NotAdmitted::TooSlow))) => {
            let verdict = Verdict::Unavailable("the question took too long to come; try again");
            return refused(anybodys, &verdict);
        }
    };
    let Some(&serve::Peer(gateway)) = extensions.get::<serve::Peer>() else {
        return refused(anybodys, &Verdict::Unavailable("nobody is there"));
    };
    let gateway = gateway.ip().to_canonical();
    let door = gateways::door(app, &caller);
    let limits = &app.settings.limits;
    let told = match asked::told(message.attributes, door.reading, limits.header_bytes) {
        Ok(told) => told,
        Err(NotTold::HeaderTooLong) => return refused(door, &Verdict::HeaderTooLong),
        Err(why) => return refused(door, &Verdict::Malformed(&why.to_string())),
    };
    let now = app.inputs.clock.now();
    let client_certificate = match certificate(app, door, &told, gateway, now) {
        Ok(certificate) => certificate,
        Err(why) => return refused(door, &Verdict::Malformed(&why)),
    };
    let fresh = told.request_id().is_none().then(|| fresh_id(app));
    let fresh = fresh.as_ref().and_then(|id| id.to_str().ok());
    let original = if door.trust.holds(gateway) {
        told.original.clone()
    } else {
        Err(OriginalFault::NotTrusted(gateway))
    };
    let asked = Asked {
        caller: &caller,
        door,
        request_id: told.request_id().or(fresh).unwrap_or_default(),
        original,
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

/// The client's certificate, verified. Envoy never writes `Client-Cert`, so over gRPC that header
/// is the client's own word and is not looked at. Certificates are public, so whoever may ask may
/// not yet say whose connection it was: only those that pass certificates on do.
fn certificate(
    app: &App,
    door: &Door,
    told: &Told,
    gateway: IpAddr,
    now: Timestamp,
) -> Result<Option<Arc<ClientCertificate>>, String> {
    if door.credentials.certificate_from == CertificateFrom::XForwardedClientCert {
        let shown = gateways::certificate::shown(app, door, &told.headers, gateway, now);
        return shown.map_err(|why| why.to_string());
    }
    let mut passes_on = app.settings.certificates.from.iter();
    if told.certificate.is_empty() || !passes_on.any(|network| network.contains(&gateway)) {
        return Ok(None);
    }
    let shown = from_pem(&told.certificate).map_err(|why| why.to_string())?;
    gateways::certificate::verified(app, &shown, now).map_err(|why| why.to_string())
}
