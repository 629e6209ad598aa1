//! A sharded map from names to marks.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use domain::Timestamp;
use siphasher::sip128::SipHasher13;

use super::Entry;

/// Parts of a table, a power of two. Of 50 million entries each holds 50,000, so that to grow one
/// or to go through it holds up those who read that part for about a millisecond, and no others.
pub(super) const SHARDS: usize = 1024;

/// What a list keeps of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What was issued up to this moment is revoked; [`Timestamp::MAX`] for everything.
    pub before: Timestamp,
    /// From when on nobody needs to know: what it revokes is over by itself.
    pub until: Timestamp,
}

impl Mark {
    /// What is kept of an entry.
    #[must_use]
    pub fn of(entry: &Entry, until: Timestamp) -> Self {
        Self {
            before: entry.before().unwrap_or(Timestamp::MAX),
            until,
        }
    }

    /// Whether it revokes what was issued then.
    #[must_use]
    pub fn covers(&self, issued_at: Timestamp) -> bool {
        issued_at <= self.before
    }

    /// Both: neither loses anything (X27), whichever came first.
    #[must_use]
    pub fn merged_with(self, other: Self) -> Self {
        Self {
            before: self.before.max(other.before),
            until: self.until.max(other.until),
        }
    }
}

/// What names are hashed with: random for each list, so that nobody can choose names that fall
/// together.
#[derive(Clone, Copy)]
pub struct Seed([u8; 16]);

impl Seed {
    /// From random bytes.
    #[must_use]
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// The 128 bits that stand for a name (SipHash-1-3 with this key). Two of 50 million names
    /// are the same by a chance of 4 in 10²⁴.
    pub(super) fn key(&self, name: &str) -> Key {
        let (first, second) = SipHasher13::new_with_key(&self.0)
            .hash(name.as_bytes())
            .as_u64();
        Key(first, second)
    }

    /// For what wants a seed as a number.
    pub(super) const fn number(&self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

/// A name, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(pub(super) u64, pub(super) u64);

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Keys write one number alone.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// Alone on its cache lines: to read one part must not slow down those who read its neighbour.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(RwLock<HashMap<Key, Mark, BuildHasherDefault<AsItIs>>>);

/// The entries of one kind.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Shard]>,
    count: AtomicUsize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            count: AtomicUsize::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Nobody hashes a name for a kind that has no entries at all, which most have not.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, key: Key) -> Option<Mark> {
        let shard = self.shard(key)?;
        let marks = shard.0.read().unwrap_or_else(PoisonError::into_inner);
        marks.get(&key).copied()
    }

    /// Whether that says more than was known.
    pub(super) fn put(&self, key: Key, mark: Mark) -> bool {
        // Counted first: whoever reads after this has returned must not find an empty table.
        self.count.fetch_add(1, Ordering::AcqRel);
        let Some(shard) = self.shard(key) else {
            return false;
        };
        let mut marks = shard.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = marks.get(&key).copied();
        let merged = known.map_or(mark, |known| known.merged_with(mark));
        marks.insert(key, merged);
        if known.is_some() {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
        known != Some(merged)
    }

    /// Removes from one part what is over. How many that were.
    pub(super) fn tidy(&self, shard: usize, now: Timestamp) -> usize {
        let Some(shard) = self.shards.get(shard) else {
            return 0;
        };
        let is_over = |mark: &Mark| mark.until < now;
        {
            // Mostly nothing is over, and to see that holds up nobody.
            let marks = shard.0.read().unwrap_or_else(PoisonError::into_inner);
            if !marks.values().any(is_over) {
                return 0;
            }
        }
        let mut marks = shard.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = marks.len();
        marks.retain(|_, mark| !is_over(mark));
        let removed = before - marks.len();
        if marks.capacity() > 64 && marks.len() < marks.capacity() / 4 {
            marks.shrink_to_fit();
        }
        self.count.fetch_sub(removed, Ordering::AcqRel);
        removed
    }

    fn shard(&self, key: Key) -> Option<&Shard> {
        // The half that the map inside does not hash by.
        let place = usize::try_from(key.1 % SHARDS as u64).ok()?;
        self.shards.get(place)
    }
}
