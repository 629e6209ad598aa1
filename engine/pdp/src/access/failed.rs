//! Authentications that failed: every one is counted, and told of once in a while.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use domain::Timestamp;

/// Least time between two warnings, seconds: whoever guesses must not fill the log.
const WARN_EVERY_SECONDS: i64 = 60;

/// How somebody failed to show who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// With a key that is none, or not good any more.
    Key,
    /// With a token of ours that does not let in.
    Token,
    /// With a certificate that stands for nobody.
    Certificate,
    /// With an `Authorization` of no transmitter, where signals are pushed to.
    Transmitter,
}

impl Credential {
    /// The word in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::Transmitter => "transmitter",
        }
    }
}

/// The failures that nobody was told of yet.
#[derive(Debug, Default)]
pub struct Failed(Mutex<Untold>);

#[derive(Debug, Default)]
struct Untold {
    count: u64,
    told_at: Option<Timestamp>,
}

impl Failed {
    /// Notes a failure, and warns of all since the last warning if that was long ago. `from` is
    /// where this one came from.
    pub fn note(&self, how: Credential, from: Option<IpAddr>, now: Timestamp) {
        if let Some(count) = self.due(now) {
            let from = from.map(|from| from.to_string());
            tracing::warn!(
                event = "authentication_failed",
                count,
                last = how.as_str(),
                last_from = from.as_deref().unwrap_or("unknown"),
                "callers failed to authenticate"
            );
        }
    }

    /// How many to tell of now, this one among them.
    fn due(&self, now: Timestamp) -> Option<u64> {
        let mut untold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        untold.count += 1;
        // A clock that went back does not keep anybody quiet.
        let is_soon = untold
            .told_at
            .is_some_and(|at| at <= now && now.whole_seconds_since(at) < WARN_EVERY_SECONDS);
        if is_soon {
            return None;
        }
        untold.told_at = Some(now);
        Some(std::mem::take(&mut untold.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_once_a_minute() {
        let failed = Failed::default();
        let at = |seconds: i64| Timestamp::from_seconds(1_795_215_660 + seconds);
        for (seconds, told) in [
            (0, Some(1)),
            (0, None),
            (59, None),
            (60, Some(3)),
            (61, None),
            (-600, Some(2)),
            (-599, None),
        ] {
            assert_eq!(failed.due(at(seconds)), told, "{seconds}");
        }
    }
}
