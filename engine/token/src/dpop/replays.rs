//! Proofs that were seen, as long as they could come again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use domain::Timestamp;

use super::{PROOF_AGE_MAX_SECONDS, PROOF_AHEAD_MAX_SECONDS, Proof};

/// Why a proof does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Replayed {
    /// It was seen before, or it cannot be told any more whether it was.
    #[error("the proof was used before; make one for each request")]
    Before,
    /// It may have been used before anything was remembered.
    #[error(
        "the engine has just started, and cannot tell whether the proof was used before that; make \
         another in {PROOF_AHEAD_MAX_SECONDS} seconds"
    )]
    Started,
    /// There are more proofs about than are remembered: it cannot be told whether this one was
    /// seen, so it is not taken.
    #[error("too many proofs at once; try again in a minute")]
    TooMany,
    /// The same of one key: it has more about than it may, and nobody else is kept waiting for it.
    #[error("too many proofs of this key at once; send fewer")]
    TooManyOfKey,
}

/// Which part of what is remembered may be of one key: one in so many. Whoever holds a single bound
/// token keeps nobody else out.
const SHARE_OF_KEY: usize = 8;

/// The proofs that were seen. Bounded by count, of one key by a share of it; each is forgotten when it is too old to hold.
#[derive(Debug)]
pub struct Replays {
    most: usize,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// From when on it is known what was used, seconds; none: there was nothing before.
    since: Option<i64>,
    ids: HashSet<[u8; 32]>,
    /// The same by the second from which each is too old, in the order that they came, with the
    /// second in which each was made.
    order: VecDeque<Spent>,
    /// How many of these are of each key.
    of_key: HashMap<[u8; 16], usize>,
    /// The first and the last second in which those that are forgotten were made. Too old to hold,
    /// unless the clock goes back.
    forgotten: Option<(i64, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Spent {
    end: i64,
    made_at: i64,
    id: [u8; 32],
    key: [u8; 16],
}

impl Replays {
    /// Remembers so many proofs. `since` is the moment of the start, or none where no engine has
    /// answered for this data before: what was used before a start is not known after it, and
    /// nothing is let in a second time for it.
    #[must_use]
    pub fn new(most: usize, since: Option<Timestamp>) -> Self {
        Self {
            most,
            seen: Mutex::new(Seen {
                since: since.map(Timestamp::seconds),
                ids: HashSet::new(),
                order: VecDeque::new(),
                of_key: HashMap::new(),
                forgotten: None,
            }),
        }
    }

    /// Takes a proof that holds, once. To be called last, when everything else about the request
    /// is right, so that nobody fills the memory with proofs for nothing.
    ///
    /// # Errors
    /// When it was taken before, may have been, or too many are about.
    pub fn spend(&self, proof: &Proof, now: Timestamp) -> Result<(), Replayed> {
        let id = id(proof);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.check(proof.iat, now.seconds())?;
        seen.forget(now.seconds());
        if seen.ids.contains(&id) {
            return Err(Replayed::Before);
        }
        if seen.ids.len() >= self.most {
            return Err(Replayed::TooMany);
        }
        let key = key(&proof.jkt);
        let of_key = seen.of_key.entry(key).or_default();
        if *of_key >= self.most.div_ceil(SHARE_OF_KEY) {
            return Err(Replayed::TooManyOfKey);
        }
        *of_key += 1;
        seen.ids.insert(id);
        // What was made ahead of time holds longer; counted from the later of both, the order
        // by arrival and by end differ by seconds at most.
        seen.order.push_back(Spent {
            end: proof.iat.max(now.seconds()) + PROOF_AGE_MAX_SECONDS + 1,
            made_at: proof.iat,
            id,
            key,
        });
        Ok(())
    }
}

impl Seen {
    /// Whether it can be told of a proof that was made then if it was used before.
    fn check(&mut self, made_at: i64, now: i64) -> Result<(), Replayed> {
        // The clock was ahead at the start, and was put right since. By so much that the proofs of
        // clients whose clocks were right were too old as long as it was wrong, before the start
        // too: none of them was taken. After less, waiting is no hardship.
        let is_far = |since: i64| now < since - PROOF_AGE_MAX_SECONDS - PROOF_AHEAD_MAX_SECONDS;
        if self.since.is_some_and(is_far) {
            self.since = Some(now);
        }
        let last = self.since.map(|since| since + PROOF_AHEAD_MAX_SECONDS);
        if last.is_some_and(|last| made_at <= last) {
            return Err(Replayed::Started);
        }
        match self.forgotten {
            Some((first, last)) if (first..=last).contains(&made_at) => Err(Replayed::Before),
            _ => Ok(()),
        }
    }

    /// Forgets what is too old to hold.
    fn forget(&mut self, now: i64) {
        while let Some(oldest) = self.order.front().copied() {
            let Spent { end, made_at, .. } = oldest;
            if end > now {
                break;
            }
            self.order.pop_front();
            self.ids.remove(&oldest.id);
            if let Some(of_key) = self.of_key.get_mut(&oldest.key) {
                *of_key = of_key.saturating_sub(1);
                if *of_key == 0 {
                    self.of_key.remove(&oldest.key);
                }
            }
            let (first, last) = self.forgotten.unwrap_or((made_at, made_at));
            self.forgotten = Some((first.min(made_at), last.max(made_at)));
        }
    }
}

/// By hash: what clients call their proofs may be long. By key: what another calls its own is
/// nobody's business.
fn id(proof: &Proof) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(proof.jkt.as_bytes());
    hash.update(b" ");
    hash.update(proof.jti.as_bytes());
    first(hash)
}

fn key(jkt: &str) -> [u8; 16] {
    let mut hash = Context::new(&SHA256);
    hash.update(jkt.as_bytes());
    first(hash)
}

fn first<const BYTES: usize>(hash: Context) -> [u8; BYTES] {
    let mut first = [0; BYTES];
    for (to, from) in first.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    first
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
        let replays = Replays::new(10, None);
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
    fn what_may_have_been_used_before_a_start_is_not_taken_after_it() {
        let at = Timestamp::from_seconds;
        let used = proof("k", "1", 1004);
        let before = Replays::new(10, None);
        assert_eq!(before.spend(&used, at(999)), Ok(()), "made 5 seconds ahead");
        let after = Replays::new(10, Some(at(1000)));
        for later in 1000..=1064 {
            let again = after.spend(&used, at(later));
            assert_eq!(again, Err(Replayed::Started), "{later}");
        }
        let last = after.spend(&proof("k", "2", 1005), at(1000));
        assert_eq!(last, Err(Replayed::Started));
        // Nor when the clock is put back a little meanwhile.
        let made_later = after.spend(&proof("k", "3", 990), at(985));
        assert_eq!(made_later, Err(Replayed::Started));
        assert_eq!(after.spend(&used, at(1000)), Err(Replayed::Started));
        assert_eq!(after.spend(&proof("k", "3", 1006), at(1006)), Ok(()));
    }

    #[test]
    fn a_clock_that_was_ahead_at_the_start_shuts_nobody_out() {
        let at = Timestamp::from_seconds;
        let replays = Replays::new(10, Some(at(4600)));
        let honest = proof("k", "1", 1010);
        assert_eq!(replays.spend(&honest, at(4601)), Err(Replayed::Started));
        // Put right: as after a start at that moment.
        let first = replays.spend(&proof("k", "2", 1000), at(1000));
        assert_eq!(first, Err(Replayed::Started));
        assert_eq!(replays.spend(&honest, at(1010)), Ok(()));
        assert_eq!(replays.spend(&honest, at(1011)), Err(Replayed::Before));
    }

    #[test]
    fn what_was_forgotten_does_not_come_back_with_the_clock() {
        let at = Timestamp::from_seconds;
        let replays = Replays::new(10, None);
        let used = proof("k", "1", 1000);
        assert_eq!(replays.spend(&used, at(1000)), Ok(()));
        assert_eq!(replays.spend(&proof("k", "2", 1100), at(1100)), Ok(()));
        assert_eq!(replays.spend(&used, at(1001)), Err(Replayed::Before));
        assert_eq!(replays.spend(&proof("k", "3", 1001), at(1001)), Ok(()));
    }

    #[test]
    fn one_key_fills_its_share_and_keeps_nobody_else_out() {
        let at = Timestamp::from_seconds;
        let replays = Replays::new(8 * 3, None);
        let spent = |jkt: &str, at: Timestamp| {
            let mut jtis = (0..).map(|number: u32| format!("{number} at {at:?}"));
            jtis.find_map(|jti| replays.spend(&proof(jkt, &jti, at.seconds()), at).err())
        };
        assert_eq!(spent("greedy", at(1000)), Some(Replayed::TooManyOfKey));
        assert_eq!(replays.spend(&proof("k", "1", 1000), at(1000)), Ok(()));
        let again = replays.spend(&proof("greedy", "x", 1001), at(1060));
        assert_eq!(again, Err(Replayed::TooManyOfKey));
        // As soon as its own are over, and nothing is kept of who is gone.
        assert_eq!(replays.spend(&proof("greedy", "x", 1061), at(1061)), Ok(()));
        assert_eq!(replays.seen.lock().unwrap().of_key.len(), 1);
    }

    #[test]
    fn what_cannot_be_remembered_is_not_taken() {
        let at = Timestamp::from_seconds;
        let replays = Replays::new(2, None);
        assert_eq!(replays.spend(&proof("k", "1", 1000), at(1000)), Ok(()));
        assert_eq!(replays.spend(&proof("l", "2", 1000), at(1000)), Ok(()));
        let third = proof("m", "3", 1001);
        assert_eq!(replays.spend(&third, at(1001)), Err(Replayed::TooMany));
        // Two are forgotten when they are over, and there is room again.
        assert_eq!(replays.spend(&third, at(1061)), Ok(()));
    }
}
