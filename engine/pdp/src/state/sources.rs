//! What comes from addresses, networks and autonomous systems: counted in memory alone.
//!
//! The counters forget within hours; a start begins them anew.

use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use risk::{Attempt, Key, Tally};

/// Which of the three an entry is about; an ASN and an address may have the same number.
type Source = (u8, Key);

/// The tallies of the sources seen lately; the least used make room.
#[derive(Debug)]
pub(super) struct Sources(Cache<Source, Arc<Mutex<Tally>>>);

impl Sources {
    pub(super) fn new(most: usize) -> Self {
        Self(Cache::new(most))
    }

    /// The tallies of an address, its network, its autonomous system.
    pub(super) fn of(&self, sources: [Option<Key>; 3]) -> [Option<Tally>; 3] {
        let mut tallies = [None; 3];
        for ((slot, source), kind) in tallies.iter_mut().zip(sources).zip(0_u8..) {
            if let Some(key) = source
                && let Some(tally) = self.0.get(&(kind, key))
            {
                *slot = Some(*tally.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
        tallies
    }

    /// Counts an attempt for each of its sources.
    pub(super) fn count(&self, attempt: &Attempt) {
        for (source, kind) in attempt.sources.into_iter().zip(0_u8..) {
            let Some(key) = source else { continue };
            let fresh = || Ok::<_, std::convert::Infallible>(Arc::default());
            match self.0.get_or_insert_with(&(kind, key), fresh) {
                Ok(tally) => tally
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .add(attempt),
                Err(never) => match never {},
            }
        }
    }
}
