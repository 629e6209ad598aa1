//! Who holds how much of the list: a key that gets tokens to revoke them must not fill it for all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use store::Store;
use store::sqlite::{RevocationRow, StoreError};
use token::revocation::Kind;

use crate::access::key_of;

/// One key may have a quarter of the list.
const PARTS: usize = 4;

/// Single tokens and families that were revoked, by the key that did it.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    held: Mutex<HashMap<String, usize>>,
}

impl Shares {
    pub(super) fn of(list: usize) -> Self {
        Self {
            most: (list / PARTS).max(1),
            held: Mutex::default(),
        }
    }

    /// Counts what was revoked before.
    pub(super) fn count(&self, row: &RevocationRow) {
        if Kind::from_word(&row.kind).is_some_and(is_shared) {
            *self.held().entry(key_of(&row.by).to_owned()).or_default() += 1;
        }
    }

    /// Takes one more for who revokes; false when it has its share.
    pub(super) fn take(&self, kind: Kind, by: &str) -> bool {
        if !is_shared(kind) {
            return true;
        }
        let mut held = self.held();
        let held = held.entry(key_of(by).to_owned()).or_default();
        let has_room = *held < self.most;
        *held += usize::from(has_room);
        has_room
    }

    /// Counts anew: what was over is gone.
    pub(super) async fn recount(&self, store: &Store) -> Result<(), StoreError> {
        let mut counted = HashMap::new();
        for (by, made) in store.revocations_by_maker().await? {
            let made = usize::try_from(made).unwrap_or(usize::MAX);
            *counted.entry(key_of(&by).to_owned()).or_default() += made;
        }
        *self.held() = counted;
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // Plain numbers, which every holder leaves whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The others are few, and must always find room.
const fn is_shared(kind: Kind) -> bool {
    matches!(kind, Kind::Jti | Kind::Family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_fills_a_quarter_of_the_list_and_no_more() {
        let shares = Shares::of(8);
        for (kind, by, wanted) in [
            (Kind::Jti, "sk_1", true),
            // With a token it is the same key.
            (Kind::Family, "sk_1/jti-7", true),
            (Kind::Jti, "sk_1", false),
            (Kind::Session, "sk_1", true),
            (Kind::Jti, "sk_2", true),
        ] {
            assert_eq!(shares.take(kind, by), wanted, "{by} {}", kind.as_str());
        }
    }
}
