//! A list that is elsewhere, with a filter before it.
//!
//! With many engines, what was revoked is in a store that they share, too far away to be asked
//! for every token. A Bloom filter of what is there answers for nearly all of them (V9): what is
//! not in it is not revoked. Only what may be there is asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use domain::Timestamp;
use fastbloom::AtomicBloomFilter;

use super::table::{Mark, Seed};
use super::{Breaker, BreakerState, Entry, Kind, Lineage, Live, RevocationList, RevokedBy, walk};

/// The store that is shared could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shared list of revocations did not answer: {0}")]
pub struct RemoteError(pub String);

/// A list that is elsewhere.
pub trait RemoteList: std::fmt::Debug + Send + Sync {
    /// What it has under this kind and name. Answers within a time of its own.
    ///
    /// # Errors
    /// When it cannot tell.
    fn look_up(&self, kind: Kind, id: &str) -> Result<Option<Mark>, RemoteError>;
}

/// How large the filter is, and how patient its owner.
#[derive(Clone, Copy, Debug)]
pub struct FilterSettings {
    /// Entries that it is made for; with more, more is asked for that is not there (V5:
    /// 50,000,000 take 86 MiB at a thousandth).
    pub entries: usize,
    /// Share of what is not there and asked for all the same, when that many are.
    pub false_positives: f64,
    /// Failures in a row until the list is left alone.
    pub failures_max: u32,
    /// For how long, seconds.
    pub pause_seconds: i64,
}

impl Default for FilterSettings {
    fn default() -> Self {
        Self {
            entries: 50_000_000,
            false_positives: 0.001,
            failures_max: 5,
            pause_seconds: 30,
        }
    }
}

/// How often which layer had the answer, one count a name that was asked about (V18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Revoked, as was known here.
    pub local: u64,
    /// Not in the filter, so not revoked.
    pub filter: u64,
    /// In the filter, and asked for: revoked.
    pub remote_revoked: u64,
    /// In the filter, and asked for: not revoked.
    pub remote_absent: u64,
    /// In the filter, and no answer: taken as revoked.
    pub unsure: u64,
}

#[derive(Debug, Default)]
struct Counts {
    local: AtomicU64,
    filter: AtomicU64,
    remote_revoked: AtomicU64,
    remote_absent: AtomicU64,
    unsure: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The filter, and the next one while it is filled.
#[derive(Debug)]
struct Filters {
    current: AtomicBloomFilter,
    next: Option<AtomicBloomFilter>,
}

/// A remote list behind what is known here and a filter.
///
/// The order is what is known here, the filter, the remote list (V9). The remote list's failure
/// is a refusal ([`RevokedBy::Unsure`]): of those tokens alone that the filter cannot clear, one
/// in a thousand of the good ones.
#[derive(Debug)]
pub struct Filtered<L> {
    /// What was told to this process, and what was found.
    local: Live,
    seed: Seed,
    filters: RwLock<Filters>,
    remote: L,
    breaker: Breaker,
    counts: Counts,
    settings: FilterSettings,
}

impl<L: RemoteList> Filtered<L> {
    /// An empty filter before a list that is empty too; what is in the list is told by
    /// [`Self::note`]. `local` is a list of this one's own.
    pub fn new(local: Live, seed: Seed, remote: L, settings: FilterSettings) -> Self {
        Self {
            local,
            seed,
            filters: RwLock::new(Filters {
                current: empty(seed, &settings),
                next: None,
            }),
            remote,
            breaker: Breaker::new(settings.failures_max, settings.pause_seconds),
            counts: Counts::default(),
            settings,
        }
    }

    /// Takes note of an entry that is in the remote list by now, whoever put it there. In effect
    /// when this returns.
    pub fn note(&self, entry: &Entry, until: Timestamp) {
        self.note_name(entry.kind(), entry.id());
        if self.local.has_room() {
            self.local.put(entry, until);
        }
    }

    /// The same for one that only the filter is to know of: one of millions from long ago.
    pub fn note_name(&self, kind: Kind, id: &str) {
        let hash = hash(&self.seed, kind, id);
        let filters = self.filters.read().unwrap_or_else(PoisonError::into_inner);
        filters.current.insert_hash(hash);
        if let Some(next) = &filters.next {
            next.insert_hash(hash);
        }
    }

    /// Begins a new filter, since nothing can be taken out of the old one. From now on both are
    /// told of entries; whoever called goes through the remote list with [`Self::note_name`], and
    /// then [`Self::end_renewal`].
    pub fn begin_renewal(&self) {
        let next = empty(self.seed, &self.settings);
        let mut filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        filters.next = Some(next);
    }

    /// Puts the new filter in the place of the old one.
    pub fn end_renewal(&self) {
        let old = {
            let mut filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
            let Some(next) = filters.next.take() else {
                return;
            };
            std::mem::replace(&mut filters.current, next)
        };
        // Tens of megabytes, given back outside the lock.
        drop(old);
    }

    /// Removes from what is known here what is over.
    pub fn tidy(&self, now: Timestamp) -> usize {
        self.local.tidy(now)
    }

    /// How often which layer had the answer.
    #[must_use]
    pub fn layers(&self) -> Layers {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Layers {
            local: read(&self.counts.local),
            filter: read(&self.counts.filter),
            remote_revoked: read(&self.counts.remote_revoked),
            remote_absent: read(&self.counts.remote_absent),
            unsure: read(&self.counts.unsure),
        }
    }

    /// Whether the remote list is asked.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// The list behind.
    pub const fn remote(&self) -> &L {
        &self.remote
    }

    fn mark(&self, kind: Kind, id: &str, now: Timestamp) -> Result<Option<Mark>, Unsure> {
        let known = self.local.mark(kind, id);
        // A moment may have been put later elsewhere, so only what ends for good settles it.
        if let Some(mark) = known.filter(|mark| mark.before == Timestamp::MAX) {
            count(&self.counts.local);
            return Ok(Some(mark));
        }
        let may_be_there = {
            let filters = self.filters.read().unwrap_or_else(PoisonError::into_inner);
            filters.current.contains_hash(hash(&self.seed, kind, id))
        };
        if !may_be_there {
            count(&self.counts.filter);
            return Ok(known);
        }
        if !self.breaker.may_ask(now) {
            count(&self.counts.unsure);
            return Err(Unsure);
        }
        match self.remote.look_up(kind, id) {
            Ok(found) => {
                self.breaker.succeeded();
                count(match found {
                    Some(_) => &self.counts.remote_revoked,
                    None => &self.counts.remote_absent,
                });
                if let Some(mark) = found
                    && self.local.has_room()
                {
                    self.local.put_mark(kind, id, mark);
                }
                Ok(match (found, known) {
                    (Some(found), Some(known)) => Some(found.merged_with(known)),
                    (found, known) => found.or(known),
                })
            }
            Err(_) => {
                self.breaker.failed(now);
                count(&self.counts.unsure);
                Err(Unsure)
            }
        }
    }
}

/// Nobody could tell.
struct Unsure;

impl<L: RemoteList> RevocationList for Filtered<L> {
    fn check(&self, lineage: &Lineage<'_>, now: Timestamp) -> Option<RevokedBy> {
        walk(lineage, |kind, id| self.mark(kind, id, now)).unwrap_or(Some(RevokedBy::Unsure))
    }
}

fn empty(seed: Seed, settings: &FilterSettings) -> AtomicBloomFilter {
    AtomicBloomFilter::with_false_pos(settings.false_positives)
        .seed(&seed.number())
        .expected_items(settings.entries.max(1))
}

/// One number for a kind and a name, by the seed: names cannot be chosen to fill the filter.
fn hash(seed: &Seed, kind: Kind, id: &str) -> u64 {
    // The kinds are told apart by a multiple of an odd number.
    seed.key(id)
        .0
        .wrapping_add((kind as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
