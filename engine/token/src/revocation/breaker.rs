//! When to stop asking somebody who does not answer (V14).

use std::sync::{Mutex, PoisonError};

use domain::Timestamp;

/// Whether the other side is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Yes.
    Closed,
    /// No: it failed too often, and is left alone for a while.
    Open,
    /// One at a time, to see whether it is back.
    HalfOpen,
}

impl BreakerState {
    /// The word in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// A circuit breaker: after some failures in a row nobody is asked for a while, then one at a
/// time, until an answer comes. What to do without an answer is its owner's business.
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    pause_seconds: i64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    failures: u32,
    /// Since when nobody is asked, or when the last one was sent to see.
    open_since: Option<Timestamp>,
    is_trying: bool,
}

impl Breaker {
    /// Opens after this many failures in a row, for so many seconds.
    #[must_use]
    pub const fn new(failures_max: u32, pause_seconds: i64) -> Self {
        Self {
            failures_max,
            pause_seconds,
            inner: Mutex::new(Inner {
                failures: 0,
                open_since: None,
                is_trying: false,
            }),
        }
    }

    /// Whether to ask now. Who is told so tells [`Self::succeeded`] or [`Self::failed`]; one who
    /// never does is waited for no longer than the pause.
    pub fn may_ask(&self, now: Timestamp) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = inner.open_since else {
            return true;
        };
        // A clock that went back must not keep it open for years.
        let waited = (now.millis() - since.millis()).abs();
        if waited < self.pause_seconds.saturating_mul(1000) {
            return false;
        }
        inner.open_since = Some(now);
        inner.is_trying = true;
        true
    }

    /// There was an answer.
    pub fn succeeded(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        *inner = Inner {
            failures: 0,
            open_since: None,
            is_trying: false,
        };
    }

    /// There was none.
    pub fn failed(&self, now: Timestamp) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.failures = inner.failures.saturating_add(1);
        if inner.is_trying || inner.failures >= self.failures_max {
            inner.open_since = Some(now);
            inner.is_trying = false;
        }
    }

    /// Whether the last answer came.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.failures == 0
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match (inner.open_since, inner.is_trying) {
            (None, _) => BreakerState::Closed,
            (Some(_), false) => BreakerState::Open,
            (Some(_), true) => BreakerState::HalfOpen,
        }
    }
}
