//! What time has really passed, for those who let go of things.

use std::time::Instant;

use domain::Timestamp;

/// For how long a revocation is kept after it is over, seconds: a day, here and in the store. A
/// start under a clock that is ahead by less loses none.
pub(crate) const KEPT_SECONDS: i64 = 86_400;

/// The wall clock, held back to the time that has passed since the start. One that jumps ahead
/// and back must not take away what is not over: what was revoked would come back (B5). Where it
/// was put right for good, things are kept longer, until the next start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    from: Timestamp,
    started: Instant,
}

impl Passed {
    pub(crate) fn since(from: Timestamp, started: Instant) -> Self {
        Self { from, started }
    }

    /// Before when everything that was over then may go.
    pub(crate) fn over_before(&self, wall: Timestamp, now: Instant) -> Timestamp {
        let passed = now.saturating_duration_since(self.started).as_secs();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        wall.min(self.from.plus_seconds(passed))
            .plus_seconds(-KEPT_SECONDS)
    }
}
