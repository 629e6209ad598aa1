//! How much is decided at once, and how much may be before everybody waits.
//!
//! Past a certain number at once, a machine answers no more and only later: each decision waits for
//! a core and for the disk behind all the others. That number is another on every machine, so it is
//! found: where decisions take longer than `limits.shed_after`, fewer are let in, and more again
//! when they do not. Whoever is too many is told at once (503), which costs little. What clients
//! take their time for, such as to send a body, is no work and does not count.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often it is looked whether fewer or more may be let in.
const WINDOW: Duration = Duration::from_millis(100);
/// Fewer are never let in: the disk takes as long for one as for as many, and a slow one is no
/// overload.
const LEAST: usize = 64;

/// The engine has as much to decide as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine is overloaded; ask again in a moment")]
pub struct Overloaded;

/// What a request is for. When there is too much, decisions go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Decisions, and what those need who ask for them.
    Decision,
    /// What can wait.
    Administration,
}

/// What is decided at once.
#[derive(Debug)]
pub(crate) struct Load {
    /// Decisions may take so long. None: as many are let in as come.
    shed_after: Option<Duration>,
    most: usize,
    since: Instant,
    deciding: AtomicUsize,
    limit: AtomicUsize,
    window: Window,
}

/// What was seen since the limit was last looked at.
#[derive(Debug, Default)]
struct Window {
    /// When it began, microseconds after the start.
    begun: AtomicU64,
    decided: AtomicUsize,
    late: AtomicUsize,
    peak: AtomicUsize,
}

/// A decision at work, until this is dropped.
#[derive(Debug)]
pub(crate) struct Deciding<'a> {
    load: &'a Load,
    began: Instant,
}

impl Load {
    /// `most` is what is never exceeded.
    pub(crate) fn new(shed_after: Duration, most: usize) -> Self {
        Self {
            shed_after: Some(shed_after).filter(|after| !after.is_zero()),
            most,
            since: Instant::now(),
            deciding: AtomicUsize::new(0),
            limit: AtomicUsize::new(most),
            window: Window::default(),
        }
    }

    /// Whether there is room for one more: a look, before anything is read of it. Administration
    /// leaves a quarter to decisions.
    pub(crate) fn has_room(&self, class: Class) -> bool {
        if self.shed_after.is_none() {
            return true;
        }
        let limit = self.limit.load(Ordering::Relaxed);
        let room = match class {
            Class::Decision => limit,
            Class::Administration => (limit / 4 * 3).max(1),
        };
        self.deciding.load(Ordering::Relaxed) < room
    }

    /// Begins a decision. One of a batch, which was let in as a whole, always finds room.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn begin(&self, in_batch: bool) -> Result<Option<Deciding<'_>>, Overloaded> {
        if self.shed_after.is_none() {
            return Ok(None);
        }
        let now = self.deciding.fetch_add(1, Ordering::Relaxed) + 1;
        if now > self.limit.load(Ordering::Relaxed) && !in_batch {
            self.deciding.fetch_sub(1, Ordering::Relaxed);
            return Err(Overloaded);
        }
        self.window.peak.fetch_max(now, Ordering::Relaxed);
        Ok(Some(Deciding {
            load: self,
            began: Instant::now(),
        }))
    }

    fn end(&self, took: Duration, now: Instant) {
        self.deciding.fetch_sub(1, Ordering::Relaxed);
        self.window.decided.fetch_add(1, Ordering::Relaxed);
        if self.shed_after.is_some_and(|after| took > after) {
            self.window.late.fetch_add(1, Ordering::Relaxed);
        }
        let now = now.saturating_duration_since(self.since);
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let begun = self.window.begun.load(Ordering::Relaxed);
        let length = u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX);
        if now.saturating_sub(begun) < length {
            return;
        }
        // One of those who see that it is over looks at it.
        let is_ours =
            self.window
                .begun
                .compare_exchange(begun, now, Ordering::Relaxed, Ordering::Relaxed);
        if is_ours.is_ok() {
            let seen = Seen {
                decided: self.window.decided.swap(0, Ordering::Relaxed),
                late: self.window.late.swap(0, Ordering::Relaxed),
                peak: self.window.peak.swap(0, Ordering::Relaxed),
            };
            let limit = self.limit.load(Ordering::Relaxed);
            self.limit
                .store(next(limit, self.most, seen), Ordering::Relaxed);
        }
    }
}

impl Drop for Deciding<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.load
            .end(now.saturating_duration_since(self.began), now);
    }
}

/// What a window has seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    decided: usize,
    /// Of those, the ones that took too long.
    late: usize,
    /// Most at once.
    peak: usize,
}

/// How many may be let in next. A tenth too few where more than a tenth is late; a sixteenth more
/// where as many as may came, and were in time.
fn next(limit: usize, most: usize, seen: Seen) -> usize {
    let least = LEAST.min(most);
    if seen.late.saturating_mul(10) > seen.decided {
        let held = limit.min(seen.peak);
        (held - held / 10).max(least)
    } else if seen.peak.saturating_mul(10) >= limit.saturating_mul(9) {
        limit.saturating_add((limit / 16).max(1)).min(most)
    } else {
        limit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A machine that decides so many in a window, and is asked by so many at once all the time.
    fn settles(capacity: usize, asking: usize, most: usize, target_windows: usize) -> usize {
        let mut limit = most;
        for _ in 0..400 {
            let peak = limit.min(asking);
            // Each waits for those before it (Little's law).
            let is_late = peak > capacity * target_windows;
            let decided = capacity.min(peak.max(1));
            let late = if is_late { decided } else { 0 };
            limit = next(
                limit,
                most,
                Seen {
                    decided,
                    late,
                    peak,
                },
            );
        }
        limit
    }

    #[test]
    fn as_many_are_let_in_as_are_decided_in_time() {
        // At 2,000 in a window and one window to decide in: nobody is shed.
        assert_eq!(settles(2000, 1024, 1024, 1), 1024);
        // At 200 in a window, with 4 times as many asking: about those 200.
        let limit = settles(200, 800, 1024, 1);
        assert!((170..=215).contains(&limit), "{limit}");
        // However slow it is, some are.
        assert_eq!(settles(1, 800, 1024, 1), LEAST);
        assert_eq!(settles(1, 800, 8, 1), 8);
        // Few ask: nothing is known of more, and nothing changes.
        assert_eq!(settles(200, 10, 1024, 1), 1024);
    }

    #[test]
    fn when_the_load_is_gone_everybody_is_let_in_again() {
        let mut limit = LEAST;
        let mut windows = 0;
        while limit < 1024 {
            let seen = Seen {
                decided: 1000,
                late: 0,
                peak: limit,
            };
            limit = next(limit, 1024, seen);
            windows += 1;
        }
        assert!(windows < 60, "{windows} windows");
    }

    #[test]
    fn a_decision_counts_while_it_lasts_and_decisions_go_first() {
        let load = Load::new(Duration::from_millis(50), 4);
        let held: Vec<_> = (0..3).map(|_| load.begin(false).unwrap()).collect();
        assert!(load.has_room(Class::Decision));
        assert!(!load.has_room(Class::Administration));
        let fourth = load.begin(false).unwrap();
        assert!(!load.has_room(Class::Decision));
        assert_eq!(load.begin(false).unwrap_err(), Overloaded);
        let of_a_batch = load.begin(true).unwrap();
        drop((held, fourth, of_a_batch));
        assert_eq!(load.deciding.load(Ordering::Relaxed), 0);
        assert!(load.has_room(Class::Administration));
        let off = Load::new(Duration::ZERO, 1);
        let many: Vec<_> = (0..9).map(|_| off.begin(false).unwrap()).collect();
        assert!(off.has_room(Class::Administration) && many.iter().all(Option::is_none));
    }

    #[test]
    fn what_takes_too_long_lets_fewer_in() {
        let load = Load::new(Duration::from_millis(50), 1000);
        let mut at = load.since;
        for _ in 0..100 {
            at += Duration::from_millis(150);
            load.deciding.store(500, Ordering::Relaxed);
            load.window.peak.store(500, Ordering::Relaxed);
            load.end(Duration::from_millis(80), at);
        }
        assert_eq!(load.limit.load(Ordering::Relaxed), LEAST);
    }

    proptest! {
        #[test]
        fn the_limit_stays_within_its_bounds(
            limit in 1_usize..5000,
            most in 1_usize..5000,
            decided in 0_usize..100_000,
            late in 0_usize..100_000,
            peak in 0_usize..10_000,
        ) {
            let limit = limit.min(most);
            let next = next(limit, most, Seen { decided, late, peak });
            prop_assert!(next >= 1 && next <= most);
            prop_assert!(next >= LEAST.min(most).min(limit));
        }
    }
}
