//! One list: which of its places are taken, by which tokens.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use domain::Timestamp;
use token::revocation::{Hashed, Live};
use token::status_list::StatusList;

use crate::inputs::Randomness;

/// Places of a list: 128 KiB before it is deflated, a few hundred bytes after while little is
/// revoked.
pub(super) const PLACES: u32 = 1 << 20;
/// Places that are given out before another list is begun, so that a free one is found at once.
const TAKEN_MAX: u32 = PLACES / 2;

/// A list that is served.
#[derive(Debug)]
pub(super) struct List {
    pub(super) id: String,
    begun_at: Timestamp,
    taken: Mutex<Taken>,
    /// What was signed last. Held while the next is made.
    pub(super) made: tokio::sync::Mutex<Option<Made>>,
}

/// A list as it was signed.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) text: String,
    pub(super) at: Timestamp,
    /// As of which change of the list of revocations.
    pub(super) changes: u64,
    /// Not before then is another made.
    pub(super) next: Instant,
}

#[derive(Debug)]
struct Taken {
    places: Vec<u64>,
    count: u32,
    /// Those that may not be over.
    tokens: Vec<Listed>,
}

/// A token in a list.
#[derive(Debug)]
struct Listed {
    place: u32,
    expires_at: Timestamp,
    hashed: Hashed,
}

impl List {
    pub(super) fn new(id: String, now: Timestamp) -> Self {
        Self {
            id,
            begun_at: now,
            taken: Mutex::new(Taken {
                places: vec![0; (PLACES / 64) as usize],
                count: 0,
                tokens: Vec::new(),
            }),
            made: tokio::sync::Mutex::new(None),
        }
    }

    /// Whether no more places are given out: half of them were, or it was begun an hour ago.
    pub(super) fn is_closed(&self, now: Timestamp) -> bool {
        self.taken().count >= TAKEN_MAX || now > self.begun_at.plus_seconds(3600)
    }

    /// Gives out a place that was never given out before, by chance, so that a place says nothing
    /// of when a token was issued and to whom.
    pub(super) fn take(
        &self,
        hashed: Hashed,
        expires_at: Timestamp,
        randomness: &dyn Randomness,
    ) -> u32 {
        let mut taken = self.taken();
        let place = loop {
            let mut random = [0; 4];
            randomness.fill(&mut random);
            // Ends: at most half of the places are taken, give or take those who came at once.
            let place = u32::from_be_bytes(random) % PLACES;
            if taken.occupy(place) {
                break place;
            }
        };
        taken.tokens.push(Listed {
            place,
            expires_at,
            hashed,
        });
        place
    }

    /// Takes over a token that was given its place by an earlier process.
    pub(super) fn restore(&self, place: u32, hashed: Hashed, expires_at: Timestamp) {
        let mut taken = self.taken();
        if taken.occupy(place) {
            taken.tokens.push(Listed {
                place,
                expires_at,
                hashed,
            });
        }
    }

    /// How many tokens it holds that may not be over.
    pub(super) fn tokens(&self) -> usize {
        self.taken().tokens.len()
    }

    /// Lets go of tokens that are over. Whether any is left.
    pub(super) fn tidy(&self, now: Timestamp) -> bool {
        let mut taken = self.taken();
        taken.tokens.retain(|token| now <= token.expires_at);
        !taken.tokens.is_empty()
    }

    /// The statuses as they are now.
    pub(super) fn statuses(&self, revoked: &Live, now: Timestamp) -> StatusList {
        let mut statuses = StatusList::new(PLACES);
        let taken = self.taken();
        for token in taken.tokens.iter().filter(|token| now <= token.expires_at) {
            if revoked.revokes(&token.hashed) {
                statuses.revoke(token.place);
            }
        }
        statuses
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// False when it was given out before, or is none.
    fn occupy(&mut self, place: u32) -> bool {
        let bit = 1 << (place % 64);
        match self.places.get_mut((place / 64) as usize) {
            Some(places) if *places & bit == 0 => {
                *places |= bit;
                self.count += 1;
                true
            }
            _ => false,
        }
    }
}
