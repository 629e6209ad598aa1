//! Who asks over gRPC, found out by the metadata alone.

use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use tokio::sync::SemaphorePermit;

use crate::access::Caller;
use crate::app::App;
use crate::gateways::Complaint;
use crate::http::{NotBelieved, authn};

/// Under which checks are asked.
pub(super) const CHECKS: &str = "/envoy.service.auth.v3.Authorization/";

/// The gateway that asks: an extension of every check.
#[derive(Clone, Debug)]
pub(super) struct Admitted(pub(super) Result<Caller, NotAdmitted>);

/// Why a check is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// Too much is under way.
    TooMuch,
    /// Too many made-up keys came.
    TooManyRefused,
    /// Whoever asks is no gateway, or it cannot be told whether they are.
    NoGateway(Complaint),
    /// The certificate that it came with is not believed: why.
    NotBelieved(String),
    /// Its message cannot be read: why.
    NotRead(String),
    /// Its message did not come in time.
    TooSlow,
}

/// Admits a check, and gives it a place at work. It counts as under way from where the flow
/// begins, which is the same for all.
pub(super) async fn admit<'a>(
    app: &'a App,
    parts: &Parts,
) -> (Admitted, Option<SemaphorePermit<'a>>) {
    let caller = match recognise(app, parts).await {
        Ok(caller) => caller,
        Err(why) => return (Admitted(Err(why)), None),
    };
    let has_room = app.load.has_room_for(&caller.client_id);
    match app.at_work.try_acquire().ok().filter(|_| has_room) {
        Some(at_work) => (Admitted(Ok(caller)), Some(at_work)),
        None => {
            // At once: to queue is to let everybody wait.
            app.metrics.door.shed();
            (Admitted(Err(NotAdmitted::TooMuch)), None)
        }
    }
}

async fn recognise(app: &App, parts: &Parts) -> Result<Caller, NotAdmitted> {
    if let Some(NotBelieved(why)) = parts.extensions.get() {
        return Err(NotAdmitted::NotBelieved(why.item().1.to_owned()));
    }
    let refused = match authn::gateway(parts, app).await {
        Ok(caller) => return Ok(caller),
        Err(problem) => StatusCode::from_u16(problem.item().0),
    };
    Err(match refused {
        Ok(StatusCode::TOO_MANY_REQUESTS) => NotAdmitted::TooManyRefused,
        Ok(StatusCode::SERVICE_UNAVAILABLE) => NotAdmitted::NoGateway(Complaint::KeyUnknown),
        _ if parts.headers.contains_key(AUTHORIZATION) => {
            NotAdmitted::NoGateway(Complaint::WrongKey)
        }
        _ => NotAdmitted::NoGateway(Complaint::NoKey),
    })
}
