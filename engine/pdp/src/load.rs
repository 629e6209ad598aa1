//! How much is decided at once, and how much may be before everybody waits.
//!
//! Past a certain number at once, a machine answers no more and only later: each decision waits for
//! a core and for the disk behind all the others. That number is another on every machine, so it is
//! found: where decisions take longer than `limits.shed_after`, fewer are let in, and more again
//! when they do not, or with time. Whoever is too many is told at once (503), which costs little.
//! What clients take their time for, such as to send a body, is no work and does not count.
//!
//! Whoever asks less than an equal share of what may be decided is let in although others fill it:
//! one who floods the engine turns away itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked whether fewer or more may be let in.
const WINDOW: Duration = Duration::from_millis(100);
/// Fewer decisions than these say nothing of how long they take: one may have met a flush.
const SAMPLE: usize = 16;
/// Unless no more came in so many windows: it is waited for them no longer.
const WINDOWS_PER_SAMPLE: u64 = 10;
/// Fewer are never let in: the disk takes as long for one as for as many, and a slow one is no
/// overload.
const LEAST: usize = 64;
/// Where even those are late it is not their number: twice as long as they take is in time then,
/// up to so many times what is set.
const PATIENCE_MAX: u32 = 4;
/// Windows in which nobody asked count up to these, which takes any limit back to its most.
const WINDOWS_MAX: u64 = 128;

/// The engine has as much to decide as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine is overloaded; ask again in a moment")]
pub struct Overloaded;

/// What is decided at once.
#[derive(Debug)]
pub(crate) struct Load {
    /// Decisions may take so long. None: as many are let in as come.
    shed_after: Option<Duration>,
    most: usize,
    since: Instant,
    deciding: AtomicUsize,
    /// The same by caller. Holds only those that have one.
    by_caller: Mutex<HashMap<String, usize>>,
    limit: AtomicUsize,
    /// What is late by now, microseconds.
    patience: AtomicU64,
    window: Window,
}

/// What was seen since the limit was last looked at.
#[derive(Debug, Default)]
struct Window {
    /// When it began, microseconds after the start.
    begun: AtomicU64,
    decided: AtomicUsize,
    late: AtomicUsize,
    /// What they took together, microseconds.
    took: AtomicU64,
}

/// A decision at work, until this is dropped.
#[derive(Debug)]
pub(crate) struct Deciding<'a> {
    load: &'a Load,
    caller: &'a str,
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
            by_caller: Mutex::default(),
            limit: AtomicUsize::new(most),
            patience: AtomicU64::new(micros(shed_after)),
            window: Window::default(),
        }
    }

    /// Whether there is room for what can wait. It leaves a quarter to decisions.
    pub(crate) fn has_room(&self) -> bool {
        self.is_below(|limit| (limit / 4 * 3).max(1))
    }

    /// Whether there is room for one more of a caller: a look, before anything is read of it.
    pub(crate) fn has_room_for(&self, caller: &str) -> bool {
        self.is_below(|limit| limit) || self.has_share(caller)
    }

    /// Begins a decision. One of a batch, which was let in as a whole, always finds room.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn begin<'a>(
        &'a self,
        caller: &'a str,
        in_batch: bool,
    ) -> Result<Option<Deciding<'a>>, Overloaded> {
        if self.shed_after.is_none() {
            return Ok(None);
        }
        if !in_batch && !self.has_room_for(caller) {
            return Err(Overloaded);
        }
        self.deciding.fetch_add(1, Ordering::Relaxed);
        let mut by_caller = self.callers();
        match by_caller.get_mut(caller) {
            Some(count) => *count += 1,
            None => drop(by_caller.insert(caller.to_owned(), 1)),
        }
        drop(by_caller);
        Ok(Some(Deciding {
            load: self,
            caller,
            began: Instant::now(),
        }))
    }

    fn callers(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.by_caller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether fewer are decided than this makes of the limit.
    fn is_below(&self, of: impl Fn(usize) -> usize) -> bool {
        if self.shed_after.is_none() {
            return true;
        }
        let is_below = || {
            let room = of(self.limit.load(Ordering::Relaxed));
            self.deciding.load(Ordering::Relaxed) < room
        };
        // The limit may be one of a while ago.
        is_below() || (self.look(Instant::now()) && is_below())
    }

    /// Whether a caller has less than its share. Shares together are no more than the limit, so
    /// that never more than twice as many are decided.
    fn has_share(&self, caller: &str) -> bool {
        let by_caller = self.callers();
        let (own, callers) = match by_caller.get(caller) {
            Some(own) => (*own, by_caller.len()),
            None => (0, by_caller.len() + 1),
        };
        // Whoever is alone has it all, and has filled it.
        callers > 1 && own < self.limit.load(Ordering::Relaxed) / callers
    }

    fn end(&self, caller: &str, took: Duration, now: Instant) {
        self.deciding.fetch_sub(1, Ordering::Relaxed);
        let mut by_caller = self.callers();
        if let Some(count) = by_caller.get_mut(caller) {
            *count -= 1;
            if *count == 0 {
                by_caller.remove(caller);
            }
        }
        drop(by_caller);
        let took = micros(took);
        self.window.decided.fetch_add(1, Ordering::Relaxed);
        self.window.took.fetch_add(took, Ordering::Relaxed);
        if took > self.patience.load(Ordering::Relaxed) {
            self.window.late.fetch_add(1, Ordering::Relaxed);
        }
        self.look(now);
    }

    /// Looks at the window if it is over. Whether it was.
    fn look(&self, now: Instant) -> bool {
        let Some(shed_after) = self.shed_after else {
            return false;
        };
        let now = micros(now.saturating_duration_since(self.since));
        let begun = self.window.begun.load(Ordering::Relaxed);
        let windows = now.saturating_sub(begun) / micros(WINDOW);
        let late = self.window.late.load(Ordering::Relaxed);
        let decided = self.window.decided.load(Ordering::Relaxed);
        if windows == 0 || late > 0 && says_little(decided, self.most, windows) {
            return false;
        }
        // One of those who see that it is over looks at it.
        let is_ours =
            self.window
                .begun
                .compare_exchange(begun, now, Ordering::Relaxed, Ordering::Relaxed);
        if is_ours.is_err() {
            return true;
        }
        let seen = Seen {
            decided: self.window.decided.swap(0, Ordering::Relaxed),
            late: self.window.late.swap(0, Ordering::Relaxed),
            took: self.window.took.swap(0, Ordering::Relaxed),
            windows: windows.min(WINDOWS_MAX),
            is_idle: self.deciding.load(Ordering::Relaxed) == 0,
        };
        let held = Held {
            limit: self.limit.load(Ordering::Relaxed),
            patience: self.patience.load(Ordering::Relaxed),
        };
        let next = next(held, self.most, micros(shed_after), seen);
        self.limit.store(next.limit, Ordering::Relaxed);
        self.patience.store(next.patience, Ordering::Relaxed);
        true
    }
}

impl Drop for Deciding<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.began);
        self.load.end(self.caller, took, now);
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// What a window has seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    decided: usize,
    /// Of those, the ones that took too long.
    late: usize,
    /// What they took together, microseconds.
    took: u64,
    /// How many windows it lasted, at least 1.
    windows: u64,
    /// Whether nothing is at work.
    is_idle: bool,
}

/// What was found so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    limit: usize,
    /// What is late, microseconds.
    patience: u64,
}

/// Whether so few, in so many windows, are not looked at yet.
fn says_little(decided: usize, most: usize, windows: u64) -> bool {
    decided < SAMPLE.min(most) && windows < WINDOWS_PER_SAMPLE
}

/// What holds next. A tenth fewer where more than a tenth is late, a quarter where most are; a
/// sixteenth more for each window in which they are not, or nobody asks.
fn next(held: Held, most: usize, shed_after: u64, seen: Seen) -> Held {
    let Held { limit, patience } = held;
    let least = LEAST.min(most);
    let mean = seen.took / (seen.decided.max(1) as u64);
    if seen.late.saturating_mul(10) > seen.decided {
        if says_little(seen.decided, most, seen.windows) {
            return held;
        }
        let longest = shed_after.saturating_mul(u64::from(PATIENCE_MAX));
        let by_nature = mean.saturating_mul(2);
        if limit <= least && by_nature <= longest {
            // So few are no overload: it is the disk, and to turn others away makes nobody faster.
            let patience = patience.max(by_nature);
            return Held { limit, patience };
        }
        let are_many = seen.decided >= SAMPLE && seen.late * 2 > seen.decided;
        let part = if are_many { 4 } else { 10 };
        let limit = (limit - limit / part).max(least);
        let since = match seen.is_idle {
            true => seen.windows.saturating_sub(WINDOWS_PER_SAMPLE),
            false => 0,
        };
        let limit = grown(limit, most, since);
        return Held { limit, patience };
    }
    if seen.decided == 0 && !seen.is_idle {
        // They hang, and nothing is known of when they will not.
        return held;
    }
    let limit = grown(limit, most, seen.windows);
    // As quick as that they are late sooner again.
    let patience = match seen.decided {
        0 => patience,
        _ => patience.min(mean.saturating_mul(4)).max(shed_after),
    };
    Held { limit, patience }
}

/// A sixteenth more for each window.
fn grown(mut limit: usize, most: usize, windows: u64) -> usize {
    for _ in 0..windows {
        limit = limit.saturating_add((limit / 16).max(1)).min(most);
    }
    limit
}

#[cfg(test)]
mod tests;
