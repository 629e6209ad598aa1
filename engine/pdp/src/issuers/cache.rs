//! The keys of one issuer, kept so that neither the issuer nor anybody's tokens can wear out the other
//! (T31, K5, K6, F1).
//!
//! - Keys are fetched anew every ten minutes of use, by one request while the others go on with what
//!   is there.
//! - A key that is not known makes a fetch, at most every 30 s; names that were looked for in vain are
//!   remembered, a thousand of them.
//! - A fetch that fails changes nothing: the keys go on until they are too old, and the next fetch
//!   waits longer each time, up to eight minutes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::Timestamp;
use token::keys::{Admitted, FindKey as _};

/// Age from which keys are fetched anew, seconds.
pub(super) const FRESH_SECONDS: i64 = 600;
/// Least time between two fetches, seconds.
pub(super) const COOL_DOWN_SECONDS: i64 = 30;
/// How often that is doubled while fetches fail.
const DOUBLINGS_MAX: u32 = 4;
/// For how long a name is known to be nobody's, seconds.
const UNKNOWN_SECONDS: i64 = 300;
/// Names that are remembered as nobody's.
const UNKNOWN_MAX: usize = 1000;

/// What to do for a token that names a key.
#[derive(Debug)]
pub(super) enum Plan {
    /// Verify with these.
    Use(Arc<Admitted>),
    /// Fetch first; with these if it fails and they are there.
    Fetch(Option<Arc<Admitted>>),
    /// There are no keys that could be trusted, and it is too early to ask again.
    Nothing,
}

/// What is known of the keys. Pure: whoever fetches tells what came of it.
#[derive(Debug)]
pub(super) struct KeyCache {
    stale_max_seconds: i64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    keys: Option<(Arc<Admitted>, Timestamp)>,
    tried_at: Option<Timestamp>,
    failures: u32,
    /// Names of no key, each with the time until which nobody asks again.
    unknown: HashMap<String, Timestamp>,
}

impl KeyCache {
    pub(super) fn new(stale_max_seconds: u64) -> Self {
        Self {
            stale_max_seconds: i64::try_from(stale_max_seconds).unwrap_or(i64::MAX),
            inner: Mutex::default(),
        }
    }

    /// What to do for a token that names this key.
    pub(super) fn plan(&self, kid: &str, now: Timestamp) -> Plan {
        let inner = self.lock();
        let may_fetch = inner.may_fetch(now);
        let keys = inner.keys.as_ref().filter(|(_, fetched_at)| {
            let apart = (now.millis() - fetched_at.millis()).abs();
            apart <= (FRESH_SECONDS + self.stale_max_seconds).saturating_mul(1000)
        });
        let Some((keys, fetched_at)) = keys else {
            return if may_fetch {
                Plan::Fetch(None)
            } else {
                Plan::Nothing
            };
        };
        let keys = Arc::clone(keys);
        // A clock that went back tells no age, so they count as old.
        let is_stale = now < *fetched_at || now.whole_seconds_since(*fetched_at) > FRESH_SECONDS;
        let is_known = keys.find(kid).is_some();
        let is_nobodys = inner.is_nobodys(kid, now);
        if may_fetch && (is_stale || !is_known && !is_nobodys) {
            Plan::Fetch(Some(keys))
        } else {
            Plan::Use(keys)
        }
    }

    /// A fetch begins.
    pub(super) fn begins(&self, now: Timestamp) {
        self.lock().tried_at = Some(now);
    }

    /// It brought keys, because of a token that named one of them, or none.
    pub(super) fn fetched(&self, keys: Arc<Admitted>, kid: &str, now: Timestamp) {
        let mut inner = self.lock();
        inner.failures = 0;
        inner
            .unknown
            .retain(|name, until| is_running(*until, now) && keys.find(name).is_none());
        if keys.find(kid).is_none() && inner.unknown.len() < UNKNOWN_MAX {
            inner
                .unknown
                .insert(kid.to_owned(), now.plus_seconds(UNKNOWN_SECONDS));
        }
        inner.keys = Some((keys, now));
    }

    /// It brought nothing. What is there stays.
    pub(super) fn failed(&self) {
        let mut inner = self.lock();
        inner.failures = inner.failures.saturating_add(1);
    }

    /// Whether a key of this name was looked for of late, and is nobody's.
    pub(super) fn is_nobodys(&self, kid: &str, now: Timestamp) -> bool {
        self.lock().is_nobodys(kid, now)
    }

    /// The keys that are there, however old, and when they were fetched.
    pub(super) fn standing(&self) -> Option<(usize, Timestamp)> {
        let inner = self.lock();
        let (keys, fetched_at) = inner.keys.as_ref()?;
        Some((keys.keys().len(), *fetched_at))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether such a time has begun and is not over: one that a faster clock set is none.
fn is_running(until: Timestamp, now: Timestamp) -> bool {
    now < until && until <= now.plus_seconds(UNKNOWN_SECONDS)
}

impl Inner {
    fn is_nobodys(&self, kid: &str, now: Timestamp) -> bool {
        (self.unknown.get(kid)).is_some_and(|until| is_running(*until, now))
    }

    fn may_fetch(&self, now: Timestamp) -> bool {
        let Some(tried_at) = self.tried_at else {
            return true;
        };
        let doublings = self.failures.saturating_sub(1).min(DOUBLINGS_MAX);
        let wait = COOL_DOWN_SECONDS << doublings;
        // A clock that went back must not keep it waiting for years.
        (now.millis() - tried_at.millis()).abs() >= wait * 1000
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use token::keys::{Algorithm, SigningKey, admit_jwks};

    use super::*;

    fn keys(names: &[&str]) -> Arc<Admitted> {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let mut jwk = serde_json::to_value(key.public()).unwrap();
        let all: Vec<_> = names
            .iter()
            .map(|name| {
                jwk["kid"] = (*name).into();
                jwk.clone()
            })
            .collect();
        let set = serde_json::json!({ "keys": all }).to_string();
        Arc::new(admit_jwks(&set).unwrap())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_795_215_660 + seconds)
    }

    fn told(plan: &Plan) -> &'static str {
        match plan {
            Plan::Use(_) => "use",
            Plan::Fetch(None) => "fetch",
            Plan::Fetch(Some(_)) => "fetch, or use",
            Plan::Nothing => "nothing",
        }
    }

    #[test]
    fn t31_an_unknown_key_makes_one_fetch_in_half_a_minute() {
        let cache = KeyCache::new(3600);
        assert_eq!(told(&cache.plan("a", at(0))), "fetch");
        cache.begins(at(0));
        cache.fetched(keys(&["a"]), "a", at(0));
        assert_eq!(told(&cache.plan("a", at(0))), "use");
        assert_eq!(told(&cache.plan("b", at(29))), "use");
        assert_eq!(told(&cache.plan("b", at(30))), "fetch, or use");
        cache.begins(at(30));
        cache.fetched(keys(&["a"]), "b", at(30));
        // Known to be nobody's, for five minutes; a new one shows with the fetch for another.
        assert_eq!(told(&cache.plan("b", at(100))), "use");
        assert_eq!(told(&cache.plan("c", at(100))), "fetch, or use");
        cache.begins(at(100));
        assert!(cache.is_nobodys("b", at(100)) && !cache.is_nobodys("c", at(100)));
        cache.fetched(keys(&["a", "b"]), "c", at(100));
        assert_eq!(told(&cache.plan("b", at(101))), "use");
        // Not looked for yet, since it is too early to fetch: it may be a new one.
        assert_eq!(told(&cache.plan("d", at(101))), "use");
        assert!(cache.is_nobodys("c", at(101)) && !cache.is_nobodys("d", at(101)));
        cache.begins(at(130));
        cache.failed();
        assert!(!cache.is_nobodys("d", at(131)), "nobody could tell");
    }

    #[test]
    fn a_clock_that_was_ahead_makes_no_keys_young_for_ever() {
        let cache = KeyCache::new(3600);
        cache.begins(at(100_000));
        cache.fetched(keys(&["a"]), "b", at(100_000));
        // A little behind: as good as old, and there to go on with.
        assert_eq!(told(&cache.plan("a", at(99_000))), "fetch, or use");
        // Far behind: they may be of any age.
        assert_eq!(told(&cache.plan("a", at(0))), "fetch");
        cache.begins(at(0));
        cache.failed();
        assert_eq!(told(&cache.plan("a", at(1))), "nothing");
        cache.begins(at(60));
        cache.fetched(keys(&["a"]), "a", at(60));
        assert_eq!(told(&cache.plan("a", at(61))), "use");
        // What was nobody's by the other clock is asked for anew.
        assert_eq!(told(&cache.plan("b", at(90))), "fetch, or use");
    }

    #[test]
    fn k6_f1_keys_go_on_while_their_source_fails_and_not_for_ever() {
        let cache = KeyCache::new(3600);
        cache.begins(at(0));
        cache.fetched(keys(&["a"]), "a", at(0));
        assert_eq!(told(&cache.plan("a", at(600))), "use");
        let mut fetches = 0;
        for second in 601..=4200 {
            let plan = cache.plan("a", at(second));
            assert_ne!(told(&plan), "nothing", "{second}");
            if matches!(plan, Plan::Fetch(_)) {
                fetches += 1;
                cache.begins(at(second));
                cache.failed();
            }
        }
        // 30, 60, 120, 240, 480, 480, … seconds apart.
        assert_eq!(fetches, 11);
        assert_ne!(told(&cache.plan("a", at(4201))), "use");
        assert_ne!(told(&cache.plan("a", at(4700))), "use");
    }

    proptest! {
        /// Whatever is asked for, and whatever comes of it: at most one fetch in 30 s, a bounded
        /// memory, and good keys that no failure takes away.
        #[test]
        fn storms_wear_nobody_out(
            steps in proptest::collection::vec((0..20_i64, "[a-z]{1,3}", any::<bool>()), 1..400),
        ) {
            let cache = KeyCache::new(1_000_000);
            let good = keys(&["good"]);
            cache.begins(at(0));
            cache.fetched(Arc::clone(&good), "good", at(0));
            let (mut second, mut last) = (0, 0);
            for (wait, kid, succeeds) in steps {
                second += wait;
                if matches!(cache.plan(&kid, at(second)), Plan::Fetch(_)) {
                    prop_assert!(second - last >= COOL_DOWN_SECONDS);
                    last = second;
                    cache.begins(at(second));
                    if succeeds {
                        cache.fetched(Arc::clone(&good), &kid, at(second));
                    } else {
                        cache.failed();
                    }
                }
                prop_assert!(cache.lock().unknown.len() <= UNKNOWN_MAX);
                let has_good = matches!(
                    cache.plan("good", at(second)),
                    Plan::Use(keys) | Plan::Fetch(Some(keys)) if keys.find("good").is_some()
                );
                prop_assert!(has_good);
            }
        }
    }
}
