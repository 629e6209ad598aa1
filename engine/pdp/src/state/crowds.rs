//! What is usual for groups: read by every request, changed twice a second.
//!
//! A crowd is large, and everybody reads the same ones. So requests leave what they teach in a
//! queue, and the flush takes it in and swaps the crowds whole.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use risk::profile::Observation;
use risk::{Crowd, CrowdKeys, Crowds, Key, Standing};

/// Groups that are told apart; members of further ones are held against everybody.
const MOST: usize = 2000;
/// Lessons that may wait. Beyond it the newest are dropped: a crowd learns from many, and is
/// none the wiser for one more.
const WAITING_MAX: usize = 200_000;

/// A trusted access, as a crowd sees it.
#[derive(Debug)]
struct Lesson {
    crowds: CrowdKeys,
    seen: Observation,
    standing: Standing,
}

/// All crowds of the engine.
#[derive(Debug, Default)]
pub(super) struct LiveCrowds {
    known: ArcSwap<HashMap<Key, Arc<Crowd>>>,
    nobody: Arc<Crowd>,
    waiting: Mutex<Vec<Lesson>>,
}

impl LiveCrowds {
    /// Those that were kept.
    pub(super) fn restore(&self, kept: impl Iterator<Item = (Key, Crowd)>) {
        let known = kept.map(|(key, crowd)| (key, Arc::new(crowd))).collect();
        self.known.store(Arc::new(known));
    }

    /// The crowds of one subject.
    pub(super) fn of(&self, keys: CrowdKeys) -> Crowds {
        let known = self.known.load();
        let everyone = known.get(&keys.everyone).unwrap_or(&self.nobody);
        Crowds {
            group: Arc::clone(known.get(&keys.group).unwrap_or(everyone)),
            everyone: Arc::clone(everyone),
        }
    }

    /// Leaves a lesson for the next [`Self::settle`].
    pub(super) fn teach(&self, crowds: CrowdKeys, seen: Observation, standing: Standing) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push(Lesson {
                crowds,
                seen,
                standing,
            });
        }
    }

    /// Takes in what waits; returns the crowds that changed.
    pub(super) fn settle(&self) -> Vec<(Key, Arc<Crowd>)> {
        let waiting = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *waiting)
        };
        if waiting.is_empty() {
            return Vec::new();
        }
        let mut known = HashMap::clone(&self.known.load());
        let mut changed = HashSet::new();
        for lesson in &waiting {
            for key in lesson.crowds.each() {
                if known.len() >= MOST && !known.contains_key(&key) {
                    continue;
                }
                let crowd = known.entry(key).or_default();
                Arc::make_mut(crowd).learn(&lesson.seen, &lesson.standing);
                changed.insert(key);
            }
        }
        let changed = changed
            .into_iter()
            .filter_map(|key| Some((key, Arc::clone(known.get(&key)?))))
            .collect();
        self.known.store(Arc::new(known));
        changed
    }
}
