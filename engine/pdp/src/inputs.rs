//! The outside world, as a list of arguments.
//!
//! Everything that a run of the engine does not compute comes in here, so that a test can hand
//! in its own clock and its own randomness, and the same inputs give the same answers.

use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use domain::Timestamp;

/// A source of the current time.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// A source of randomness fit for keys.
pub trait Randomness: std::fmt::Debug + Send + Sync {
    /// Fills the bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// What comes from outside.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Read once for each request.
    pub clock: Arc<dyn Clock>,
    /// For ids and keys.
    pub randomness: Arc<dyn Randomness>,
}

impl Inputs {
    /// The real world.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            randomness: Arc::new(OsRandomness(SystemRandom::new())),
        }
    }
}

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let millis = since.map(|since| since.as_millis()).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

/// The operating system's randomness.
#[derive(Debug)]
struct OsRandomness(SystemRandom);

impl Randomness for OsRandomness {
    fn fill(&self, bytes: &mut [u8]) {
        // A machine without randomness cannot make keys or ids; there is no way to go on that
        // would not be worse.
        if self.0.fill(bytes).is_err() {
            std::process::abort();
        }
    }
}
