//! Proofs that were seen, as long as they could come again.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use domain::Timestamp;

use super::{PROOF_AGE_MAX_SECONDS, Proof};

/// Why a proof does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Replayed {
    /// It was seen before, or was made before anything was remembered.
    #[error("the proof was used before; make one for each request")]
    Before,
    /// There are more proofs about than are remembered: it cannot be told whether this one was
    /// seen, so it is not taken.
    #[error("too many proofs at once; try again in a minute")]
    TooMany,
}

/// The proofs that were seen. Bounded by count; each is forgotten when it is too old to hold.
#[derive(Debug)]
pub struct Replays {
    most: usize,
    since: i64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<[u8; 32]>,
    /// The same by the second from which each is too old, in the order that they came.
    order: VecDeque<(i64, [u8; 32])>,
}

impl Replays {
    /// Remembers so many proofs, from now on. What was made before may have been used before: a
    /// start of the engine forgets, and does not let in a second time for it.
    #[must_use]
    pub fn new(most: usize, now: Timestamp) -> Self {
        Self {
            most,
            since: now.seconds(),
            seen: Mutex::default(),
        }
    }

    /// Takes a proof that holds, once. To be called last, when everything else about the request
    /// is right, so that nobody fills the memory with proofs for nothing.
    ///
    /// # Errors
    /// When it was taken before, or too many are about.
    pub fn spend(&self, proof: &Proof, now: Timestamp) -> Result<(), Replayed> {
        if proof.iat < self.since {
            return Err(Replayed::Before);
        }
        let id = id(proof);
        // What was made ahead of time holds longer; counted from the later of both, the order
        // by arrival and by end differ by seconds at most.
        let ends = proof.iat.max(now.seconds()) + PROOF_AGE_MAX_SECONDS + 1;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((end, oldest)) = seen.order.front().copied() {
            if end > now.seconds() {
                break;
            }
            seen.order.pop_front();
            seen.ids.remove(&oldest);
        }
        if seen.ids.contains(&id) {
            return Err(Replayed::Before);
        }
        if seen.ids.len() >= self.most {
            return Err(Replayed::TooMany);
        }
        seen.ids.insert(id);
        seen.order.push_back((ends, id));
        Ok(())
    }
}

/// By hash: what clients call their proofs may be long. By key: what another calls its own is
/// nobody's business.
fn id(proof: &Proof) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(proof.jkt.as_bytes());
    hash.update(b" ");
    hash.update(proof.jti.as_bytes());
    let mut id = [0; 32];
    for (to, from) in id.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(jkt: &str, jti: &str, iat: i64) -> Proof {
        Proof {
            jkt: jkt.to_owned(),
            jti: jti.to_owned(),
            iat,
        }
    }

    #[test]
    fn a_proof_counts_once_as_long_as_it_could_hold() {
        let at = Timestamp::from_seconds;
        let replays = Replays::new(10, at(1000));
        let before = replays.spend(&proof("k", "0", 999), at(1000));
        assert_eq!(before, Err(Replayed::Before));
        assert_eq!(replays.spend(&proof("k", "1", 1000), at(1000)), Ok(()));
        for later in 1000..=1060 {
            let again = replays.spend(&proof("k", "1", 1000), at(later));
            assert_eq!(again, Err(Replayed::Before), "{later}");
        }
        assert_eq!(replays.spend(&proof("other", "1", 1000), at(1000)), Ok(()));
        // Made five seconds ahead: holds until 1065.
        assert_eq!(replays.spend(&proof("k", "2", 1005), at(1000)), Ok(()));
        let again = replays.spend(&proof("k", "2", 1005), at(1065));
        assert_eq!(again, Err(Replayed::Before));
    }

    #[test]
    fn what_cannot_be_remembered_is_not_taken() {
        let at = Timestamp::from_seconds;
        let replays = Replays::new(2, at(1000));
        assert_eq!(replays.spend(&proof("k", "1", 1000), at(1000)), Ok(()));
        assert_eq!(replays.spend(&proof("k", "2", 1000), at(1000)), Ok(()));
        let third = proof("k", "3", 1000);
        assert_eq!(replays.spend(&third, at(1001)), Err(Replayed::TooMany));
        // Two are forgotten when they are over, and there is room again.
        assert_eq!(replays.spend(&third, at(1061)), Ok(()));
    }
}
