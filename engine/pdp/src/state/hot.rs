//! A bounded map in front of the store, written behind.

use std::hash::{Hash, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, UnitWeighter};

/// Values by key: loaded on first use, changed in place, handed out to be written. What is
/// clean and not used for longest makes room; what waits to be written stays.
#[derive(Debug)]
pub(super) struct Hot<K, V> {
    cache: Cache<K, Arc<Slot<V>>, UnitWeighter, RandomState, KeepDirty>,
    dirty: Mutex<Vec<(K, Arc<Slot<V>>)>>,
    dirty_max: usize,
    /// How often something was written past this map.
    written: Mutex<u64>,
}

/// When a look-up in the store, or a write to it, began.
#[derive(Clone, Copy, Debug)]
pub struct Begun(u64);

#[derive(Debug)]
struct Slot<V> {
    /// None: the store has nothing either.
    value: Mutex<Option<V>>,
    dirty: AtomicBool,
}

/// What the map knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lookup<V> {
    /// The value.
    Found(V),
    /// There is none, here or in the store.
    Nothing,
    /// It was not looked up yet.
    NotLoaded,
}

/// Eviction passes over what waits to be written.
#[derive(Clone, Copy, Debug)]
struct KeepDirty;

impl<K, V> Lifecycle<K, Arc<Slot<V>>> for KeepDirty {
    type RequestState = ();

    fn is_pinned(&self, _key: &K, slot: &Arc<Slot<V>>) -> bool {
        slot.dirty.load(Ordering::Acquire)
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Hot<K, V> {
    /// An empty map of at most about this many values.
    #[must_use]
    pub(super) fn new(most: usize) -> Self {
        Self {
            cache: Cache::with(
                most,
                most as u64,
                UnitWeighter,
                RandomState::new(),
                KeepDirty,
            ),
            dirty: Mutex::default(),
            dirty_max: most,
            written: Mutex::default(),
        }
    }

    /// What is known of a key.
    #[must_use]
    pub(super) fn get(&self, key: &K) -> Lookup<V> {
        match self.cache.get(key) {
            None => Lookup::NotLoaded,
            Some(slot) => lock(&slot.value)
                .clone()
                .map_or(Lookup::Nothing, Lookup::Found),
        }
    }

    /// To be called before the store is asked.
    pub(super) fn begin(&self) -> Begun {
        Begun(*lock(&self.written))
    }

    /// Puts in what the store had, unless something is there by now; returns what is there. What
    /// may have been written past this map meanwhile is not kept: nobody would correct it.
    pub(super) fn loaded(&self, key: &K, value: Option<V>, begun: Begun) -> Option<V> {
        let written = lock(&self.written);
        if *written != begun.0 {
            return value;
        }
        let fresh = || Ok::<_, std::convert::Infallible>(Slot::new(value));
        match self.cache.get_or_insert_with(key, fresh) {
            Ok(slot) => lock(&slot.value).clone(),
            Err(never) => match never {},
        }
    }

    /// Changes a value that was loaded. `change` says whether it changed anything. False when
    /// it did not, or when the key was never loaded: what is learnt on top of nothing would
    /// overwrite what is stored.
    pub(super) fn change(&self, key: &K, change: impl FnOnce(&mut Option<V>) -> bool) -> bool {
        let Some(slot) = self.cache.get(key) else {
            return false;
        };
        let changed = change(&mut lock(&slot.value));
        if changed && !slot.dirty.swap(true, Ordering::AcqRel) {
            self.queue(key.clone(), slot);
        }
        changed
    }

    /// Puts a marked slot in line to be written.
    fn queue(&self, key: K, slot: Arc<Slot<V>>) {
        let mut waiting = lock(&self.dirty);
        if waiting.len() >= self.dirty_max {
            // The store has been failing for long. What is learnt meanwhile may be lost; the
            // memory must not run out.
            slot.dirty.store(false, Ordering::Release);
            return;
        }
        // It may have been dropped between the look-up and the mark.
        if !self.cache.contains_key(&key) {
            self.cache.insert(key.clone(), Arc::clone(&slot));
        }
        waiting.push((key, slot));
    }

    /// Drops a value that was written past this map, to be looked up anew.
    pub(super) fn forget(&self, key: &K) {
        let mut written = lock(&self.written);
        *written += 1;
        self.cache.remove(key);
    }

    /// To be called after the store was written past this map: what is being looked up meanwhile
    /// is not kept.
    pub(super) fn written_past(&self) {
        *lock(&self.written) += 1;
    }

    /// Changes a value that the store has changed already, if it is here.
    pub(super) fn follow(&self, key: &K, change: impl FnOnce(&mut V)) {
        if let Some(slot) = self.cache.get(key)
            && let Some(value) = lock(&slot.value).as_mut()
        {
            change(value);
        }
    }

    /// Drops the clean values that this holds for.
    pub(super) fn forget_if(&self, gone: impl Fn(&V) -> bool) {
        self.cache.retain(|_, slot| {
            slot.dirty.load(Ordering::Acquire) || !lock(&slot.value).as_ref().is_some_and(&gone)
        });
    }

    /// Everything that waits to be written; it counts as written from now on.
    #[must_use]
    pub(super) fn take_dirty(&self) -> Vec<(K, V)> {
        let waiting = std::mem::take(&mut *lock(&self.dirty));
        waiting
            .into_iter()
            .filter_map(|(key, slot)| {
                // Unmarked first: a change from here on marks it again.
                slot.dirty.store(false, Ordering::Release);
                let value = lock(&slot.value).clone();
                value.map(|value| (key, value))
            })
            .collect()
    }

    /// It was not written after all.
    pub(super) fn not_written(&self, keys: impl Iterator<Item = K>) {
        for key in keys {
            if let Some(slot) = self.cache.get(&key)
                && !slot.dirty.swap(true, Ordering::AcqRel)
            {
                self.queue(key, slot);
            }
        }
    }

    /// How many values are held.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.cache.len()
    }
}

impl<V> Slot<V> {
    fn new(value: Option<V>) -> Arc<Self> {
        Arc::new(Self {
            value: Mutex::new(value),
            dirty: AtomicBool::new(false),
        })
    }
}

/// The lock guards plain data that every holder leaves whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<V>(value: V) -> impl FnOnce(&mut Option<V>) -> bool {
        |slot| {
            *slot = Some(value);
            true
        }
    }

    #[test]
    fn it_stays_bounded_and_keeps_what_is_not_written() {
        let hot: Hot<u32, u32> = Hot::new(1000);
        for key in 0..100 {
            hot.loaded(&key, None, hot.begin());
            assert!(hot.change(&key, set(key)));
        }
        for key in 1000..50_000 {
            hot.loaded(&key, None, hot.begin());
        }
        assert!(hot.len() <= 1000 + 100, "{}", hot.len());
        for key in 0..100 {
            assert_eq!(hot.get(&key), Lookup::Found(key));
        }
        assert_eq!(hot.take_dirty().len(), 100);
    }

    #[test]
    fn what_was_never_loaded_is_not_changed() {
        let hot: Hot<u32, u32> = Hot::new(10);
        assert!(!hot.change(&1, set(1)));
        assert_eq!(hot.get(&1), Lookup::NotLoaded);
        assert_eq!(hot.loaded(&1, None, hot.begin()), None);
        assert_eq!(hot.get(&1), Lookup::Nothing);
        assert_eq!(
            hot.loaded(&1, Some(5), hot.begin()),
            None,
            "who came first stays"
        );
    }

    #[test]
    fn what_was_read_before_a_write_is_not_kept() {
        let hot: Hot<u32, &str> = Hot::new(10);
        let begun = hot.begin();
        hot.forget(&1);
        assert_eq!(hot.loaded(&1, Some("trusted"), begun), Some("trusted"));
        assert_eq!(hot.get(&1), Lookup::NotLoaded);
        assert_eq!(
            hot.loaded(&1, Some("revoked"), hot.begin()),
            Some("revoked")
        );
        assert_eq!(hot.get(&1), Lookup::Found("revoked"));
    }

    #[test]
    fn what_was_not_written_is_tried_again() {
        let hot: Hot<u32, u32> = Hot::new(10);
        hot.loaded(&1, None, hot.begin());
        hot.change(&1, set(3));
        hot.change(&1, set(4));
        let taken = hot.take_dirty();
        assert_eq!(
            (taken.as_slice(), hot.take_dirty().len()),
            ([(1, 4)].as_slice(), 0)
        );
        hot.not_written(taken.into_iter().map(|(key, _)| key));
        assert_eq!(hot.take_dirty(), [(1, 4)]);
    }
}
