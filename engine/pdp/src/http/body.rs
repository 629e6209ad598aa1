//! Bodies of requests. Whoever sends slowly must not hold what decisions need: while a body is
//! waited for, its request gives its place at work up. What such bodies hold is bounded together,
//! and by who sends them: those whom the engine knows have nothing to do with strangers, such as
//! ask at OAuth endpoints, where the body says who asks.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::request::Parts;
use http_body_util::BodyExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Problem;
use crate::app::App;
use crate::pool::{Holding, Pool};
use crate::serve::{Peer, Place, neighbourhood};
use crate::settings::Limits;

/// What a request holds that brings little or nothing, bytes.
pub(crate) const LEAST: usize = 4 << 10;
/// What bodies of strangers hold together at most, bytes; more where bodies may be long.
const STRANGERS_MOST: usize = 16 << 20;

/// What bodies hold that are not whole, bytes.
#[derive(Debug)]
pub(crate) struct Receiving {
    /// By client or subject.
    pub(crate) known: Arc<Pool>,
    /// By where they come from.
    strangers: Arc<Pool>,
}

impl Receiving {
    pub(crate) fn new(limits: &Limits) -> Self {
        // The longest must fit into the share of one.
        let eight_of = |bytes: usize| bytes.saturating_add(LEAST).saturating_mul(8);
        let longest = limits.body_bytes.max(limits.upload_bytes);
        let all = limits.concurrency.saturating_mul(limits.body_bytes);
        Self {
            known: Pool::new(all.max(eight_of(longest))),
            strangers: Pool::new(STRANGERS_MOST.max(eight_of(limits.body_bytes))),
        }
    }
}

/// Who sends a request, once that is known: an extension of the request.
#[derive(Clone, Debug)]
pub(super) struct Sender(pub(super) String);

/// A place at work, which may be given up for a while.
pub(super) type Permit = Mutex<Option<OwnedSemaphorePermit>>;

/// The place at work that a request has, and how long its body may take: an extension of every
/// request.
#[derive(Clone, Debug)]
pub(super) struct AtWork {
    app: Arc<App>,
    permit: Weak<Permit>,
    patience: Duration,
}

impl AtWork {
    pub(super) fn new(app: &Arc<App>, permit: &Arc<Permit>, patience: Duration) -> Self {
        Self {
            app: Arc::clone(app),
            permit: Arc::downgrade(permit),
            patience,
        }
    }

    /// Reads a body without the place, and takes one again for what comes of it.
    async fn aside<T>(&self, read: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        let permit = self.permit.upgrade().unwrap_or_default();
        let set = |place| {
            let mut permit = permit.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *permit, place)
        };
        let had_one = set(None).is_some();
        let read = timeout(self.patience, read).await;
        let read = read.unwrap_or_else(|_| Err(too_slow()))?;
        if had_one {
            let place = Arc::clone(&self.app.at_work).try_acquire_owned();
            set(Some(place.map_err(|_| too_much_at_work(&self.app))?));
        }
        Ok(read)
    }

    /// What a body holds that is read for this request. None: others have too much under way.
    fn hold(&self, parts: &Parts) -> Option<Holding> {
        let head = parts.headers.iter();
        let head: usize = head
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        let place = parts.extensions.get::<Arc<Place>>();
        let is_known = place.is_none_or(|place| place.is_known());
        let receiving = &self.app.receiving;
        let (pool, by) = if let Some(Sender(name)) = parts.extensions.get() {
            (&receiving.known, name.clone())
        } else {
            let Peer(peer) = parts.extensions.get()?;
            let from = neighbourhood(peer.ip()).to_string();
            let pool = if is_known {
                &receiving.known
            } else {
                &receiving.strangers
            };
            (pool, from)
        };
        pool.hold(by, LEAST.saturating_add(head))
    }
}

/// A body, or the beginning of one that is longer than it may be.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_whole: bool,
}

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRead {
    /// Too much is under way.
    TooMuch,
    /// It broke off.
    Broken,
}

/// Reads a body of at most so many bytes.
///
/// # Errors
/// When it cannot be read to its end, or not held.
pub(crate) async fn begin(
    body: &mut Body,
    most: usize,
    holding: &mut Holding,
) -> Result<Begun, NotRead> {
    let mut bytes = Vec::new();
    while bytes.len() <= most {
        let Some(frame) = body.frame().await else {
            let is_whole = true;
            return Ok(Begun { bytes, is_whole });
        };
        if let Ok(data) = frame.map_err(|_| NotRead::Broken)?.into_data() {
            if !holding.grow(data.len()) {
                return Err(NotRead::TooMuch);
            }
            bytes.extend_from_slice(&data);
        }
    }
    let is_whole = false;
    Ok(Begun { bytes, is_whole })
}

/// The body of a request. None: it has more than so many bytes.
///
/// # Errors
/// 503 when it does not come in time or too much is under way, 400 when it cannot be read.
pub(super) async fn read(
    parts: &Parts,
    mut body: Body,
    most: usize,
) -> Result<Option<Bytes>, Problem> {
    if body.is_end_stream() {
        return Ok(Some(Bytes::new()));
    }
    // INVARIANT: every request passes the guard, which says so.
    let at_work = parts.extensions.get::<AtWork>();
    let at_work = at_work.ok_or_else(|| Problem::unavailable("nobody is there; ask again"))?;
    let busy = || {
        at_work.app.metrics.door.shed();
        Problem::unavailable("too many requests are sent that are not whole; ask again")
    };
    let begun = at_work.aside(async {
        let mut holding = at_work.hold(parts).ok_or_else(busy)?;
        let begun = begin(&mut body, most, &mut holding).await;
        begun.map_err(|why| match why {
            NotRead::TooMuch => busy(),
            NotRead::Broken => Problem::malformed("the body could not be read to its end"),
        })
    });
    let begun = begun.await?;
    Ok(begun.is_whole.then(|| begun.bytes.into()))
}

pub(super) fn too_slow() -> Problem {
    Problem::unavailable("the answer took too long; ask again")
}

pub(super) fn too_much_at_work(app: &App) -> Problem {
    // At once: to queue is to let everybody wait.
    app.metrics.door.shed();
    Problem::unavailable("too many requests are at work; ask again")
}
