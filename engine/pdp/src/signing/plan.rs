//! What is to be done with the signing keys at a moment: which one signs, which are published,
//! whether the next is due and which are over. Pure: the clock is an argument.
//!
//! Everything follows from one number of each key, the moment from which it signs. The key that
//! signs is the last whose moment has come; the one after it is published and waits; those before
//! it verify until their last token is gone.

use std::time::Duration;

use domain::Timestamp;
use token::keys::Algorithm;

/// How long a key verifies after another has taken its place, seconds: the longest life of a
/// token (T20), and a minute for clocks and for the second that an engine takes to notice.
pub const OUTLIVES_SECONDS: i64 = token::claims::LIFE_MAX_SECONDS.cast_signed() + 60;

/// How long verifiers may keep the key set, seconds: `Cache-Control` of the JWKS, and the least
/// time for which a key is published before it signs.
pub const CACHED_SECONDS: u64 = 300;

/// When keys take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How the next key signs.
    pub algorithm: Algorithm,
    /// How long a key signs.
    pub rotate_every: Duration,
    /// How long it is published before.
    pub publish_before: Duration,
}

/// What there is to know of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub kid: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// Whether its private half is gone.
    pub is_retired: bool,
}

/// What a key is there for at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Published, and waits.
    Next,
    /// Signs.
    Signs,
    /// Verifies what it signed.
    Verifies,
    /// Over: its public half is kept for what it signed in the record.
    Retired,
}

impl State {
    /// The word in lists and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signs => "signs",
            Self::Verifies => "verifies",
            Self::Retired => "retired",
        }
    }
}

/// What is to be done, and what holds meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Each key with what it is there for, in the order in which they sign.
    pub standing: Vec<(String, State)>,
    /// A key is to be made that signs from this moment on.
    pub make: Option<Timestamp>,
    /// Keys whose private half is to be destroyed.
    pub retire: Vec<String>,
}

impl Plan {
    /// The key that signs.
    #[must_use]
    pub fn signer(&self) -> Option<&str> {
        let mut all = self.standing.iter();
        let signer = all.find(|(_, state)| *state == State::Signs)?;
        Some(&signer.0)
    }

    /// The key that is published and waits.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        let mut all = self.standing.iter();
        let next = all.find(|(_, state)| *state == State::Next)?;
        Some(&next.0)
    }
}

/// Works it out.
#[must_use]
pub fn plan(keys: &[Known], schedule: &Schedule, now: Timestamp) -> Plan {
    let mut live: Vec<&Known> = keys.iter().filter(|key| !key.is_retired).collect();
    live.sort_by_key(|key| (key.signs_from, key.created_at, &key.kid));
    let mut standing: Vec<(String, State)> = keys
        .iter()
        .filter(|key| key.is_retired)
        .map(|key| (key.kid.clone(), State::Retired))
        .collect();
    let mut retire = Vec::new();
    // A clock that was set back must not leave the engine without a key.
    let signing = live
        .iter()
        .rposition(|key| key.signs_from <= now)
        .unwrap_or(0);
    let successors = live.iter().skip(1).map(Some).chain([None]);
    for (position, (key, successor)) in live.iter().zip(successors).enumerate() {
        let state = match position.cmp(&signing) {
            std::cmp::Ordering::Less => State::Verifies,
            std::cmp::Ordering::Equal => State::Signs,
            std::cmp::Ordering::Greater => State::Next,
        };
        let over = successor.map(|next| next.signs_from.plus_seconds(OUTLIVES_SECONDS));
        if state == State::Verifies && over.is_some_and(|over| over <= now) {
            retire.push(key.kid.clone());
            standing.push((key.kid.clone(), State::Retired));
        } else {
            standing.push((key.kid.clone(), state));
        }
    }
    let make = match live.get(signing) {
        None => Some(now),
        Some(_) if signing + 1 < live.len() => None,
        Some(signer) => due(signer, schedule, now),
    };
    Plan {
        standing,
        make,
        retire,
    }
}

/// From when on a successor is to sign, if it is time to publish it.
fn due(signer: &Known, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX / 2000);
    let soonest = now.plus_seconds(seconds(schedule.publish_before));
    let turn = signer
        .signs_from
        .plus_seconds(seconds(schedule.rotate_every));
    if signer.algorithm != schedule.algorithm || turn <= soonest {
        Some(soonest)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_795_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(START + seconds)
    }

    fn schedule(rotate: u64, publish: u64) -> Schedule {
        Schedule {
            algorithm: Algorithm::Es256,
            rotate_every: Duration::from_secs(rotate),
            publish_before: Duration::from_secs(publish),
        }
    }

    /// A ring on a virtual clock: carries out what is planned.
    struct World {
        keys: Vec<Known>,
        schedule: Schedule,
    }

    impl World {
        fn tick(&mut self, now: Timestamp) -> Plan {
            let wanted = plan(&self.keys, &self.schedule, now);
            if let Some(signs_from) = wanted.make {
                self.keys.push(Known {
                    kid: format!("k{}", self.keys.len()),
                    algorithm: self.schedule.algorithm,
                    created_at: now,
                    signs_from,
                    is_retired: false,
                });
            }
            for key in &mut self.keys {
                key.is_retired |= wanted.retire.contains(&key.kid);
            }
            plan(&self.keys, &self.schedule, now)
        }
    }

    fn states(plan: &Plan) -> String {
        let all = plan.standing.iter();
        let words: Vec<String> = all
            .map(|(kid, state)| format!("{kid} {}", state.as_str()))
            .collect();
        words.join(", ")
    }

    #[test]
    fn k2_k3_j9_keys_take_turns() {
        let day = 86_400;
        let mut world = World {
            keys: Vec::new(),
            schedule: schedule(30 * 86_400, 3600),
        };
        for (seconds, wanted) in [
            (0, "k0 signs"),
            (29 * day, "k0 signs"),
            (30 * day - 3601, "k0 signs"),
            (30 * day - 3600, "k0 signs, k1 next"),
            (30 * day - 1, "k0 signs, k1 next"),
            (30 * day, "k0 verifies, k1 signs"),
            (30 * day + 959, "k0 verifies, k1 signs"),
            (30 * day + 960, "k0 retired, k1 signs"),
            // An engine that was down: the next one is published first, all the same.
            (90 * day, "k0 retired, k1 signs, k2 next"),
            (90 * day + 3599, "k0 retired, k1 signs, k2 next"),
            (90 * day + 3600, "k0 retired, k1 verifies, k2 signs"),
            // A clock that was set back, and came again.
            (89 * day, "k0 retired, k1 signs, k2 next"),
            (90 * day + 3700, "k0 retired, k1 verifies, k2 signs"),
        ] {
            let found = world.tick(at(seconds));
            assert_eq!(states(&found), wanted, "after {seconds} s");
        }
        // Another algorithm is taken up as a rotation is.
        world.schedule.algorithm = Algorithm::EdDsa;
        let found = world.tick(at(91 * day));
        assert_eq!(states(&found), "k0 retired, k1 retired, k2 signs, k3 next");
        assert_eq!(world.keys[3].algorithm, Algorithm::EdDsa);
        assert_eq!(world.keys[3].signs_from, at(91 * day + 3600));
    }

    #[test]
    fn a_clock_behind_the_first_key_still_has_a_signer() {
        let mut world = World {
            keys: Vec::new(),
            schedule: schedule(86_400, 300),
        };
        world.tick(at(0));
        let found = world.tick(at(-50_000));
        assert_eq!(found.signer(), Some("k0"));
    }

    proptest! {
        /// Whatever the schedule and whenever somebody looks: there is one signer, what it signs
        /// is published as long as it may live, and was published a cache's life before.
        #[test]
        fn no_token_is_without_its_key(
            rotate in 3600u64..10_000_000,
            publish in 300u64..3600,
            steps in proptest::collection::vec(1i64..400_000, 1..60),
        ) {
            let mut world = World { keys: Vec::new(), schedule: schedule(rotate, publish) };
            let mut now = 0;
            let mut signed: Vec<(String, i64)> = Vec::new();
            let mut published_since: std::collections::BTreeMap<String, i64> = Default::default();
            for step in steps {
                let found = world.tick(at(now));
                let signs = found.standing.iter().filter(|(_, state)| *state == State::Signs);
                prop_assert_eq!(signs.count(), 1);
                let public = |kid: &str| {
                    found.standing.iter().any(|(known, state)| known == kid && *state != State::Retired)
                };
                for (kid, _) in &found.standing {
                    published_since.entry(kid.clone()).or_insert(now);
                }
                let signer = found.signer().unwrap();
                prop_assert!(signer == "k0" || published_since[signer] + 300 <= now);
                for (kid, when) in &signed {
                    prop_assert!(now - when > 900 || public(kid));
                }
                signed.push((signer.to_owned(), now));
                now += step;
            }
        }
    }
}
