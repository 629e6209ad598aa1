//! The list in memory: exact, expiring, read by everybody at once.

use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use domain::Timestamp;

use super::table::{Key, Mark, SHARDS, Seed, Table};
use super::{Entry, Kind, Lineage, RevocationList, RevokedBy, walk};

/// Parts of a table that [`Live::tidy`] looks through at once.
const PARTS: usize = 64;

/// What was revoked, in this process.
///
/// To ask takes a hash and a look into a sharded map for each kind that has any entry at all;
/// the usual answer is that nothing is known of any of them. An entry counts as soon as
/// [`Self::put`] has returned, for every thread, and until it is removed, which is after its end:
/// nothing that it revokes can be used any more by then.
#[derive(Debug)]
pub struct Live {
    seed: Seed,
    sessions: Table,
    subjects: Table,
    families: Table,
    clients: Table,
    tokens: Table,
    /// Milliseconds; -1 for none.
    issuer: AtomicI64,
    /// How far the last [`Self::tidy`] came.
    next: AtomicUsize,
    /// How often something was added that was not known.
    changes: AtomicU64,
    most: usize,
}

/// What a token is held against the list by, hashed once for many checks: for those who watch
/// over many tokens, at some 160 bytes each. Of one list alone.
#[derive(Clone, Debug)]
pub struct Hashed {
    sid: Option<Key>,
    sub: Key,
    family: Option<Key>,
    client: Key,
    /// Its own id and those of its ancestors.
    tokens: Box<[Key]>,
    /// The clients of its ancestors, and when they got them.
    issued_to: Box<[(Key, Timestamp)]>,
    issued_at: Timestamp,
    began_at: Timestamp,
}

impl Live {
    /// An empty list for at most `most` entries.
    #[must_use]
    pub fn new(seed: Seed, most: usize) -> Self {
        Self {
            seed,
            sessions: Table::new(),
            subjects: Table::new(),
            families: Table::new(),
            clients: Table::new(),
            tokens: Table::new(),
            issuer: AtomicI64::new(-1),
            next: AtomicUsize::new(0),
            changes: AtomicU64::new(0),
            most,
        }
    }

    /// Whether there is room for one more. To be asked before an entry is made durable: one that
    /// is durable is always taken in.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.len() < self.most
    }

    /// Whether one more of this kind may be taken in. Families and tokens are bounded, which any
    /// client may revoke as many of as it was given. What ends much at once never is, or a full
    /// list would block the very thing that helps.
    #[must_use]
    pub fn has_room_for(&self, kind: Kind) -> bool {
        match kind {
            Kind::Family | Kind::Jti => self.families.len() + self.tokens.len() < self.most,
            Kind::Session | Kind::Subject | Kind::Client | Kind::Issuer => true,
        }
    }

    /// How many entries it holds, the issuer's apart.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables().map(Table::len).sum()
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.issuer_before().is_none()
    }

    /// Adds an entry, in effect when this returns. One that is known stays at least as it is:
    /// entries may come twice and in any order (X27). Whether it says more than was known.
    pub fn put(&self, entry: &Entry, until: Timestamp) -> bool {
        self.put_mark(entry.kind(), entry.id(), Mark::of(entry, until))
    }

    /// Until when it has the entry, if to revoke it again gains nothing. What ends for good ended
    /// the first time: nothing has come of it since that could live longer.
    #[must_use]
    pub fn knows(&self, entry: &Entry, until: Timestamp) -> Option<Timestamp> {
        let wanted = Mark::of(entry, until);
        let known = self.mark(entry.kind(), entry.id())?;
        let gains = entry.before().is_some() && known.merged_with(wanted) != known;
        let kept = match entry.kind() {
            // For good, which is no moment.
            Kind::Issuer => until,
            _ => known.until,
        };
        (!gains).then_some(kept)
    }

    pub(super) fn put_mark(&self, kind: Kind, id: &str, mark: Mark) -> bool {
        let is_news = match self.table(kind) {
            Some(table) => table.put(self.seed.key(id), mark),
            // Kept for good: there is one.
            None => {
                let before = mark.before.millis();
                self.issuer.fetch_max(before, Ordering::AcqRel) < before
            }
        };
        if is_news {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
        is_news
    }

    /// Grows with every entry that says more than was known: while it is the same, so is every
    /// answer.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Hashes what a token is held against this list by.
    #[must_use]
    pub fn hashed(&self, lineage: &Lineage<'_>) -> Hashed {
        let key = |name: &str| self.seed.key(name);
        let ancestors = lineage.ancestors.iter().map(String::as_str);
        let tokens = std::iter::once(lineage.jti)
            .chain(lineage.original_jti)
            .chain(ancestors);
        Hashed {
            sid: lineage.sid.map(key),
            sub: key(lineage.sub),
            family: lineage.family.map(key),
            client: key(lineage.client_id),
            tokens: tokens.map(key).collect(),
            issued_to: (lineage.issued_to.iter())
                .map(|to| (key(&to.client_id), Timestamp::from_millis(to.at)))
                .collect(),
            issued_at: lineage.issued_at,
            began_at: lineage.began_at(),
        }
    }

    /// Whether anything revokes it, as [`RevocationList::check`] would find.
    #[must_use]
    pub fn revokes(&self, hashed: &Hashed) -> bool {
        let hit_at = |table: &Table, key: Key, issued_at| {
            !table.is_empty() && table.get(key).is_some_and(|mark| mark.covers(issued_at))
        };
        let hit = |table, key| hit_at(table, key, hashed.began_at);
        hashed.sid.is_some_and(|key| hit(&self.sessions, key))
            || hit(&self.subjects, hashed.sub)
            || hashed.family.is_some_and(|key| hit(&self.families, key))
            || hit_at(&self.clients, hashed.client, hashed.issued_at)
            || (hashed.issued_to.iter()).any(|(key, at)| hit_at(&self.clients, *key, *at))
            || self
                .issuer_before()
                .is_some_and(|before| hashed.began_at <= before)
            || hashed.tokens.iter().any(|key| hit(&self.tokens, *key))
    }

    /// Removes what is over, from the next few parts: a call takes microseconds with a few
    /// thousand entries, tens of milliseconds with tens of millions, and holds up readers of one
    /// part at a time. How many were removed.
    pub fn tidy(&self, now: Timestamp) -> usize {
        let from = self.next.fetch_add(PARTS, Ordering::Relaxed);
        (from..from.saturating_add(PARTS))
            .map(|part| {
                self.tables()
                    .map(|table| table.tidy(part % SHARDS, now))
                    .sum::<usize>()
            })
            .sum()
    }

    /// Removes everything that is over: as many calls of [`Self::tidy`] as that takes.
    pub fn tidy_all(&self, now: Timestamp) -> usize {
        (0..SHARDS / PARTS).map(|_| self.tidy(now)).sum()
    }

    /// Up to when everything that was issued is revoked.
    #[must_use]
    pub fn issuer_before(&self) -> Option<Timestamp> {
        let millis = self.issuer.load(Ordering::Acquire);
        (millis >= 0).then(|| Timestamp::from_millis(millis))
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        Kind::ALL.into_iter().filter_map(|kind| self.table(kind))
    }

    const fn table(&self, kind: Kind) -> Option<&Table> {
        match kind {
            Kind::Session => Some(&self.sessions),
            Kind::Subject => Some(&self.subjects),
            Kind::Family => Some(&self.families),
            Kind::Client => Some(&self.clients),
            Kind::Jti => Some(&self.tokens),
            Kind::Issuer => None,
        }
    }

    /// What is known of one name.
    pub(super) fn mark(&self, kind: Kind, id: &str) -> Option<Mark> {
        match self.table(kind) {
            Some(table) if table.is_empty() => None,
            Some(table) => table.get(self.seed.key(id)),
            None => self.issuer_before().map(|before| Mark {
                before,
                until: Timestamp::MAX,
            }),
        }
    }
}

impl RevocationList for Live {
    fn check(&self, lineage: &Lineage<'_>, _now: Timestamp) -> Option<RevokedBy> {
        let asked = walk(lineage, |kind, id| Ok::<_, Infallible>(self.mark(kind, id)));
        match asked {
            Ok(revoked) => revoked,
            Err(never) => match never {},
        }
    }
}
