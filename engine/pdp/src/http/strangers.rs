//! Bodies of those of whom nothing is known yet, as at OAuth endpoints, where the body says who
//! asks. They are read before a request takes a place at work: whoever sends slowly must not hold
//! what decisions need. What such bodies hold is bounded together, and by where they come from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::Method;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;

use super::Problem;
use super::oauth;
use crate::app::App;
use crate::serve::{Peer, neighbourhood};

/// What a request holds that brings little or nothing, bytes.
const LEAST: usize = 4 << 10;
/// What all of them hold together at most, bytes; more where bodies may be long.
const MOST: usize = 16 << 20;

/// What strangers have under way, bytes.
#[derive(Debug)]
pub(crate) struct Strangers {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    /// By where they come from. Holds only those who hold something.
    by: HashMap<IpAddr, usize>,
}

/// What one request holds, until this is dropped.
#[derive(Debug)]
pub(crate) struct Holding<'a> {
    strangers: &'a Strangers,
    from: IpAddr,
    bytes: usize,
}

impl Strangers {
    /// `body_max` is the longest body, bytes.
    pub(crate) fn new(body_max: usize) -> Self {
        Self {
            most: MOST.max(body_max.saturating_add(LEAST).saturating_mul(8)),
            held: Mutex::default(),
        }
    }

    /// Begins to hold something for a request. None: too much is under way.
    pub(crate) fn hold(&self, from: IpAddr) -> Option<Holding<'_>> {
        let mut holding = Holding {
            strangers: self,
            from: neighbourhood(from),
            bytes: 0,
        };
        holding.grow(LEAST).then_some(holding)
    }
}

impl Holding<'_> {
    /// Holds more. Nobody has more than a quarter of all.
    fn grow(&mut self, bytes: usize) -> bool {
        let most = self.strangers.most;
        let held = self.strangers.held.lock();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        let total = held.total.saturating_add(bytes);
        let own = held.by.get(&self.from).copied().unwrap_or(0);
        let own = own.saturating_add(bytes);
        if total > most || own > most / 4 {
            return false;
        }
        held.total = total;
        held.by.insert(self.from, own);
        self.bytes += bytes;
        true
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let held = self.strangers.held.lock();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        held.total -= self.bytes;
        if let Some(own) = held.by.get_mut(&self.from) {
            *own -= self.bytes;
            if *own == 0 {
                held.by.remove(&self.from);
            }
        }
    }
}

/// Whether a request says who asks in its body.
pub(super) fn is_from_one(request: &Request) -> bool {
    request.method() == Method::POST && oauth::NAME_CLIENTS.contains(&request.uri().path())
}

/// Reads the body, as far as it may be long; what is longer is refused by whoever looks at it.
///
/// # Errors
/// 503 when others have too much under way, 400 when it cannot be read.
pub(super) async fn read(app: &App, request: Request) -> Result<Request, Problem> {
    let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() else {
        return Ok(request);
    };
    let busy = || {
        app.metrics.door.shed();
        Problem::unavailable("too much is sent by clients that are not known yet; ask again")
    };
    let mut holding = app.strangers.hold(peer.ip()).ok_or_else(busy)?;
    let (parts, mut body) = request.into_parts();
    let mut read = Vec::new();
    while read.len() <= app.settings.limits.body_bytes {
        let Some(frame) = body.frame().await else {
            return Ok(Request::from_parts(parts, Body::from(read)));
        };
        let frame =
            frame.map_err(|_| Problem::malformed("the body could not be read to its end"))?;
        if let Ok(bytes) = frame.into_data() {
            if !holding.grow(bytes.len()) {
                return Err(busy());
            }
            read.extend_from_slice(&bytes);
        }
    }
    let begun = stream::iter([Ok::<_, axum::Error>(Bytes::from(read))]);
    let whole = Body::from_stream(begun.chain(body.into_data_stream()));
    Ok(Request::from_parts(parts, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_hold_is_bounded_and_nobody_has_it_all() {
        let strangers = Strangers::new(256 << 10);
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let hold = |n: u8| -> Vec<_> {
            std::iter::from_fn(|| {
                let mut holding = strangers.hold(address(n))?;
                holding.grow(256 << 10).then_some(holding)
            })
            .collect()
        };
        let first = hold(1);
        assert_eq!(first.len(), 15, "a quarter of 16 MiB");
        let others: Vec<_> = (2..=5).flat_map(hold).collect();
        assert!(others.len() >= 45 && others.len() <= 49, "{}", others.len());
        assert!(strangers.held.lock().unwrap().total <= MOST);
        drop((first, others));
        let held = strangers.held.lock().unwrap();
        assert!(held.total == 0 && held.by.is_empty());
    }
}
