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
pub(crate) mod handing_on;
mod keys;
mod looking_after;
pub(crate) mod pushing;
pub(crate) mod registry;
mod sealing;
mod subjects;
pub(crate) mod words;

use std::sync::Arc;

use tokio::sync::{Notify, OnceCell};

use crate::app::App;
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
}

impl Telling {
    /// With what the settings name; streams are taken up with [`App::take_up_streams`].
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
        })
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

impl App {
    /// Seconds since 1970, as tokens have it.
    fn now_seconds(&self) -> i64 {
        self.inputs.clock.now().seconds()
    }
}
