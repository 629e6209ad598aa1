//! What refused keys may cost.
//!
//! A key that is known is checked in memory. One that is not might have been made a moment ago by
//! another process, and only the store knows; whoever makes up key ids must not keep the store
//! busy with them. Keys that are known are never held up by this, so nobody can lock them out.

use std::sync::{Mutex, PoisonError};

use domain::Timestamp;
use quick_cache::sync::Cache;

/// Key ids remembered as unknown, until the keys are reloaded.
const UNKNOWN_REMEMBERED: usize = 1000;
/// Failed authentications at once.
const BURST: f64 = 100.0;
/// Failed authentications in the long run, a second.
const PER_SECOND: f64 = 20.0;

/// The failed authentications of all callers.
#[derive(Debug)]
pub(super) struct Refusals {
    unknown: Cache<String, ()>,
    allowance: Mutex<Allowance>,
}

/// How many may fail now; it fills up again as time goes on.
#[derive(Debug)]
struct Allowance {
    left: f64,
    at: Timestamp,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            unknown: Cache::new(UNKNOWN_REMEMBERED),
            allowance: Mutex::new(Allowance {
                left: BURST,
                at: Timestamp::MIN,
            }),
        }
    }

    /// Counts a failure. False when there have been too many.
    pub(super) fn count(&self, now: Timestamp) -> bool {
        let mut allowance = self
            .allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds between two failures, capped by the burst"
        )]
        let passed = now.millis().saturating_sub(allowance.at.millis()).max(0) as f64 / 1000.0;
        allowance.left = (allowance.left + passed * PER_SECOND).min(BURST);
        allowance.at = now;
        let may_fail = allowance.left >= 1.0;
        if may_fail {
            allowance.left -= 1.0;
        }
        may_fail
    }

    pub(super) fn is_unknown(&self, key_id: &str) -> bool {
        self.unknown.get(key_id).is_some()
    }

    pub(super) fn note_unknown(&self, key_id: &str) {
        self.unknown.insert(key_id.to_owned(), ());
    }

    /// Keys may have been made meanwhile.
    pub(super) fn forget_unknown(&self) {
        self.unknown.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_limited_and_the_limit_recovers() {
        let refusals = Refusals::new();
        let now = Timestamp::from_seconds(1_795_215_660);
        let failed = |at: Timestamp| (0..1000).filter(|_| refusals.count(at)).count();
        assert_eq!(failed(now), 100);
        assert_eq!(failed(now), 0);
        assert_eq!(failed(now.plus_seconds(2)), 40);
        assert_eq!(failed(now), 0, "a clock that goes back gives nothing");
        assert_eq!(failed(now.plus_seconds(3600)), 100);
    }
}
