//! What many have under way together, in bytes or in number, and how much of it each may have.
//!
//! Nobody has more than a third of what is left: a quarter of a pool that is theirs alone, and less
//! the more others have. So those who take all that they can get leave something to whoever comes
//! next, and it takes many of them to leave nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is held together.
#[derive(Debug)]
pub(crate) struct Pool {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    /// By who has it. Holds only those who have something.
    by: HashMap<String, usize>,
}

/// What one request holds, until this is dropped.
#[derive(Debug)]
pub(crate) struct Holding {
    pool: Arc<Pool>,
    by: String,
    size: usize,
}

impl Pool {
    /// `most` is what all hold together at most.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            held: Mutex::default(),
        })
    }

    /// Begins to hold something. None: too much is under way.
    pub(crate) fn hold(self: &Arc<Self>, by: String, size: usize) -> Option<Holding> {
        let mut holding = Holding {
            pool: Arc::clone(self),
            by,
            size: 0,
        };
        holding.grow(size).then_some(holding)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Plain numbers, which every holder leaves whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holding {
    /// Holds more; false when that is too much.
    pub(crate) fn grow(&mut self, size: usize) -> bool {
        let mut held = self.pool.held();
        let total = held.total.saturating_add(size);
        let own = held.by.get(&self.by).copied().unwrap_or(0);
        let own = own.saturating_add(size);
        let fits = (self.pool.most.checked_sub(total)).is_some_and(|left| own <= left / 3);
        if !fits {
            return false;
        }
        held.total = total;
        match held.by.get_mut(&self.by) {
            Some(size) => *size = own,
            None => drop(held.by.insert(self.by.clone(), own)),
        }
        self.size += size;
        true
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut held = self.pool.held();
        held.total -= self.size;
        if let Some(own) = held.by.get_mut(&self.by) {
            *own -= self.size;
            if *own == 0 {
                held.by.remove(&self.by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_those_who_take_all_leave_something() {
        let pool = Pool::new(1000);
        let take =
            |by: &str| -> Vec<_> { std::iter::from_fn(|| pool.hold(by.to_owned(), 1)).collect() };
        let first = take("first");
        assert_eq!(first.len(), 250, "a quarter");
        assert!(pool.hold("first".to_owned(), 1).is_none());
        let second = take("second");
        assert_eq!(second.len(), 187, "a quarter of the rest");
        let others: Vec<_> = (0..8).map(|n| take(&format!("other {n}"))).collect();
        let total = pool.held().total;
        assert!(total > 900 && total < 1000, "{total}");
        let mut late = pool.hold("late".to_owned(), 1).unwrap();
        assert!(!late.grow(1000) && !late.grow(usize::MAX) && late.grow(1));
        drop((first, second, others, late));
        let held = pool.held();
        assert!(held.total == 0 && held.by.is_empty());
    }
}
