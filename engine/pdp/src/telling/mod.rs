//! What the engine tells others of what happened: receivers of shared signals (SSF 1.0), and those
//! who are to be alerted.
//!
//! Whatever changes something that others may have to know of writes a row of `security_events` in
//! the same transaction ([`body`] has what each kind holds). [`handing_on`] takes these rows in
//! their order to the outbox of each stream and alert channel that wants them, and from there
//! [`pushing`], the receivers' own polls, and [`alerting`] work: nothing is told where it happens,
//! so nothing that hangs on others holds a request up, and a crash loses none.

pub(crate) mod alerting;
pub(crate) mod body;
pub(crate) mod claims;
pub(crate) mod handing_on;
pub(crate) mod keys;
mod looking_after;
pub(crate) mod pushing;
pub(crate) mod refusals;
pub(crate) mod registry;
mod sealing;
mod subjects;
mod syslog;
pub(crate) mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::Timestamp;
use tokio::sync::{Notify, OnceCell, Semaphore, watch};

use crate::inputs::Randomness;
use crate::settings::Settings;
use crate::signing::{KeyEncryptionKey, Ring};

use alerting::Channel;
pub use body::Severity;
use registry::Registry;

/// Everything that telling others needs.
#[derive(Debug)]
pub struct Telling {
    pub(crate) registry: Registry,
    /// The keys of security event tokens, made when somebody first asks for them.
    ring: OnceCell<Arc<Ring>>,
    /// What seals the secrets of receivers at rest.
    kek: Option<KeyEncryptionKey>,
    pub(crate) channels: Vec<Channel>,
    /// Something was put into an outbox.
    pub(crate) waiting: Notify,
    /// Whether the engine stops: nobody waits for news any more.
    pub(crate) stopping: watch::Sender<bool>,
    /// Polls that wait for something to tell: each holds a connection and a place.
    pub(crate) waiting_polls: Semaphore,
    /// The last number in a `jti`.
    numbers: AtomicU64,
}

/// Polls that wait at once; others are answered with nothing.
const WAITING_POLLS: usize = 128;

impl Telling {
    /// With what the settings name; streams are taken up with `App::take_up_streams`.
    ///
    /// # Errors
    /// When the secret of a webhook cannot be read.
    pub(crate) fn open(
        settings: &Settings,
        kek: Option<KeyEncryptionKey>,
    ) -> std::io::Result<Self> {
        let channels = settings.alerts.iter().map(Channel::open);
        Ok(Self {
            registry: Registry::default(),
            ring: OnceCell::new(),
            kek,
            channels: channels.collect::<Result<_, _>>()?,
            waiting: Notify::new(),
            stopping: watch::Sender::new(false),
            waiting_polls: Semaphore::new(WAITING_POLLS),
            numbers: AtomicU64::new(0),
        })
    }

    /// A name for a token that sorts after those before it: a poll is answered with an object, and
    /// whoever reads its members in their order has the events in theirs.
    fn next_jti(&self, now: Timestamp, randomness: &dyn Randomness) -> String {
        let micros = u64::try_from(now.millis())
            .unwrap_or(0)
            .saturating_mul(1000);
        let next = |last: u64| Some(micros.max(last.saturating_add(1)));
        let numbers = &self.numbers;
        let last = numbers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let number = last.ok().and_then(next).unwrap_or(micros);
        let mut random = [0; 8];
        randomness.fill(&mut random);
        format!("set_{number:016x}{}", hex::encode(random))
    }

    /// Says that there may be something to tell.
    pub(crate) fn wake(&self) {
        self.waiting.notify_waiters();
    }
}

/// A name that nobody can guess: 128 random bits behind a prefix.
pub(crate) fn fresh(prefix: &str, randomness: &dyn Randomness) -> String {
    let mut random = [0; 16];
    randomness.fill(&mut random);
    format!("{prefix}{}", hex::encode(random))
}
