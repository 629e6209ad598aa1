//! Which sessions the policies have let go on, and as what they saw them: so that they are not
//! asked again where nothing that they see has changed.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use domain::SessionRecord;
use policy::Question;

use crate::engine::Snapshot;

/// Sessions that are remembered; further ones are put to the policies at each look. 17 bytes each.
const MOST: usize = 4_000_000;

/// What the policies saw when they last let a session go on, each as a hash with a random key.
/// Those that one sweep did not meet are forgotten with the next.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    key: RandomState,
    generations: Mutex<[HashMap<u64, u64>; 2]>,
}

impl Allowed {
    /// What the policies see of a session. None when it cannot be put to them.
    pub(super) fn glance(&self, snapshot: &Snapshot, question: &Question<'_>) -> Option<u64> {
        use std::hash::{Hash as _, Hasher as _};
        let mut hash = self.key.build_hasher();
        let revisions = &snapshot.revisions;
        (&revisions.policies, &revisions.entities).hash(&mut hash);
        snapshot
            .policies
            .glance(question, &mut hash)
            .then(|| hash.finish())
    }

    /// Whether it is what they saw when they last let this session go on.
    pub(super) fn is(&self, session: &SessionRecord, glance: u64) -> bool {
        let id = self.key.hash_one(&session.id);
        let mut generations = self.lock();
        let [now, before] = &mut *generations;
        if let Some(seen) = now.get(&id) {
            return *seen == glance;
        }
        let is = before.get(&id) == Some(&glance);
        if is && now.len() < MOST {
            now.insert(id, glance);
        }
        is
    }

    /// Notes that they let a session go on.
    pub(super) fn note(&self, session: &SessionRecord, glance: u64) {
        let id = self.key.hash_one(&session.id);
        let [now, _] = &mut *self.lock();
        if now.len() < MOST || now.contains_key(&id) {
            now.insert(id, glance);
        }
    }

    /// Forgets those that were not met since the last time.
    pub(super) fn turn(&self) {
        let mut generations = self.lock();
        let [now, before] = &mut *generations;
        std::mem::swap(now, before);
        *now = HashMap::new();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [HashMap<u64, u64>; 2]> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
