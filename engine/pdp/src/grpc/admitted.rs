//! Who asks over gRPC, found out by the metadata alone; then the message is taken in, which costs
//! nobody but the gateway whose it is; and only then is there a place at work for it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;

use super::{EMPTY_MESSAGE, largest};
use crate::access::Caller;
use crate::app::App;
use crate::gateways::{self, Checked, Complaint};
use crate::http::NotBelieved;
use crate::http::authn::{self, Entered};
use crate::http::body::{Begun, LEAST, NotRead, begin};
use crate::pool::Holding;

/// The gateway that asks: an extension of every check.
#[derive(Clone, Debug)]
pub(super) struct Admitted(pub(super) Result<Caller, NotAdmitted>);

/// Why a check is not looked at.
#[derive(Clone, Debug)]
pub(super) enum NotAdmitted {
    /// Too much is under way.
    TooMuch,
    /// Too many made-up keys came.
    TooManyRefused,
    /// Whoever asks is no gateway, or it cannot be told whether they are.
    NoGateway(Complaint),
    /// It may not ask here, or has itself too much under way: what it is answered.
    NotEntered(Box<Checked>),
    /// The certificate that it came with is not believed: why.
    NotBelieved(String),
    /// Its message cannot be read: why.
    NotRead(String),
    /// Its message did not come in time.
    TooSlow,
}

/// What a check holds while it is answered.
#[derive(Debug)]
pub(super) struct Held {
    _under_way: Entered,
    _message: Holding,
    _at_work: OwnedSemaphorePermit,
}

/// Admits a check once its message is whole. What is not admitted is not read on: the check then
/// says why not, as every check is answered.
pub(super) async fn admit(
    app: &Arc<App>,
    parts: &Parts,
    body: Body,
) -> (Admitted, Body, Option<Held>) {
    let admitted = async {
        let caller = recognise(app, parts).await?;
        let (message, held) = take_in(app, &caller, body).await?;
        Ok((caller, message, held))
    };
    match admitted.await {
        Ok((caller, message, held)) => (Admitted(Ok(caller)), message, Some(held)),
        Err(why) => {
            let nothing = Body::from(EMPTY_MESSAGE);
            (Admitted(Err(why)), nothing, None)
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

/// Takes in the message of a gateway, within what one caller may have under way.
async fn take_in(
    app: &Arc<App>,
    caller: &Caller,
    mut body: Body,
) -> Result<(Body, Held), NotAdmitted> {
    let door = gateways::door(app, caller);
    let under_way = gateways::enter(app, door, caller);
    let under_way = under_way.map_err(NotAdmitted::NotEntered)?;
    let busy = || {
        // At once: to queue is to let everybody wait.
        app.metrics.door.shed();
        NotAdmitted::TooMuch
    };
    let by = caller.client_id.clone();
    let message = app.receiving.known.hold(by, LEAST);
    let mut message = message.ok_or_else(busy)?;
    let most = largest(app) + EMPTY_MESSAGE.len();
    let begun = begin(&mut body, most, &mut message).await;
    let Begun { bytes, .. } = begun.map_err(|why| match why {
        NotRead::TooMuch => busy(),
        NotRead::Broken => NotAdmitted::NotRead("it broke off".to_owned()),
    })?;
    let at_work = Arc::clone(&app.at_work).try_acquire_owned();
    let held = Held {
        _under_way: under_way,
        _message: message,
        _at_work: at_work.map_err(|_| busy())?,
    };
    Ok((Body::from(bytes), held))
}
