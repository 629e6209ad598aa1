//! How often one caller, and one subject, may ask (G1 to G4).
//!
//! GCRA, from `governor`: a moment for each, no counting of windows. It goes by time that only
//! passes, so a clock that jumps shuts nobody out. Whoever asks more often than is remembered here
//! is remembered; those who come seldom may be forgotten, and have their whole allowance again.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use domain::EntityRef;
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use quick_cache::sync::Cache;

use crate::settings::Rate;

/// Callers that are remembered: as many as there may be keys by default.
const CALLERS_REMEMBERED: usize = 10_000;
/// Subjects that are remembered, some 200 bytes each.
const SUBJECTS_REMEMBERED: usize = 100_000;

/// Somebody asks too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{who} asks too often; the next one is answered in {retry_after_seconds} s")]
pub struct TooOften {
    /// Whom the limit is about, for people.
    pub who: &'static str,
    /// When the next one is answered, seconds from now, at least 1.
    pub retry_after_seconds: u16,
}

/// The limits that are set.
#[derive(Debug)]
pub(crate) struct Rates {
    callers: Option<Limiter<String>>,
    subjects: Option<Limiter<(EntityRef, Option<IpAddr>)>>,
}

impl Rates {
    /// None where nothing is set, which then costs nothing.
    pub(crate) fn new(caller: Option<Rate>, subject: Option<Rate>) -> Self {
        Self {
            callers: caller.map(|rate| Limiter::new(rate, CALLERS_REMEMBERED, MonotonicClock)),
            subjects: subject.map(|rate| Limiter::new(rate, SUBJECTS_REMEMBERED, MonotonicClock)),
        }
    }

    /// Counts a request of a client.
    ///
    /// # Errors
    /// When it is one too many.
    pub(crate) fn caller(&self, client_id: &str) -> Result<(), TooOften> {
        take(self.callers.as_ref(), client_id, "the caller")
    }

    /// Counts an access of a subject. One that stands for whoever comes is counted by where they
    /// come from: one of them must not be in the way of all.
    ///
    /// # Errors
    /// When it is one too many.
    pub(crate) fn subject(
        &self,
        subject: &EntityRef,
        comes_from: Option<IpAddr>,
    ) -> Result<(), TooOften> {
        if self.subjects.is_none() {
            return Ok(());
        }
        let key = (subject.clone(), comes_from.map(of_one));
        take(self.subjects.as_ref(), &key, "the subject")
    }
}

/// What somebody has to themselves: an address, or of IPv6 a network of 64 bits.
fn of_one(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

fn take<K, Q>(limiter: Option<&Limiter<K>>, key: &Q, who: &'static str) -> Result<(), TooOften>
where
    K: Hash + Eq,
    Q: Hash + quick_cache::Equivalent<K> + ToOwned<Owned = K> + ?Sized,
{
    limiter
        .map_or(Ok(()), |limiter| limiter.take(key))
        .map_err(|wait| TooOften {
            who,
            retry_after_seconds: wait,
        })
}

type One<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A limit, and how far each has used it.
struct Limiter<K, C: Clock = MonotonicClock> {
    quota: Quota,
    clock: C,
    known: Cache<K, Arc<One<C>>>,
}

impl<K, C: Clock> std::fmt::Debug for Limiter<K, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter")
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

impl<K: Hash + Eq, C: Clock + Clone> Limiter<K, C> {
    fn new(rate: Rate, most: usize, clock: C) -> Self {
        let quota =
            Quota::with_period(rate.every).unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN));
        Self {
            quota: quota.allow_burst(rate.burst),
            clock,
            known: Cache::new(most),
        }
    }

    /// Seconds to wait when it is one too many.
    fn take<Q>(&self, key: &Q) -> Result<(), u16>
    where
        Q: Hash + quick_cache::Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let fresh = || Ok::<_, std::convert::Infallible>(Arc::new(self.fresh()));
        let one = match self.known.get_or_insert_with(key, fresh) {
            Ok(one) => one,
            Err(never) => match never {},
        };
        one.check()
            .map_err(|until| seconds(until.wait_time_from(self.clock.now())))
    }

    fn fresh(&self) -> One<C> {
        RateLimiter::direct_with_clock(self.quota, self.clock.clone())
    }
}

/// Whole seconds, after which it is certainly over.
fn seconds(wait: Duration) -> u16 {
    let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u16::try_from(whole).unwrap_or(u16::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(
        every: Duration,
        burst: u32,
        most: usize,
    ) -> (Limiter<String, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rate = Rate {
            every,
            burst: NonZeroU32::new(burst).unwrap(),
        };
        (Limiter::new(rate, most, clock.clone()), clock)
    }

    #[test]
    fn g1_g2_g3_who_is_too_fast_waits_and_nobody_else_does() {
        let (limiter, clock) = limiter(Duration::from_millis(2500), 3, 100);
        let taken = |who: &str| (0..10).take_while(|_| limiter.take(who).is_ok()).count();
        assert_eq!(taken("fast"), 3);
        assert_eq!(limiter.take("fast"), Err(3));
        assert_eq!(taken("other"), 3, "others have their own");
        clock.advance(Duration::from_secs(2));
        assert_eq!(limiter.take("fast"), Err(1));
        clock.advance(Duration::from_secs(1));
        assert_eq!(taken("fast"), 1, "what was said holds");
        clock.advance(Duration::from_secs(3600));
        assert_eq!(taken("fast"), 3, "no more than the burst");
    }

    #[test]
    fn g4_whoever_comes_without_a_name_is_in_nobody_elses_way() {
        let rate = Rate {
            every: Duration::from_secs(3600),
            burst: NonZeroU32::MIN,
        };
        let rates = Rates::new(None, Some(rate));
        let subject = EntityRef::new("Anonymous", "public").unwrap();
        for (from, is_first) in [
            (Some("192.0.2.1"), true),
            (Some("192.0.2.1"), false),
            (Some("::ffff:192.0.2.1"), false),
            (Some("192.0.2.2"), true),
            (Some("2001:db8::1"), true),
            (Some("2001:db8::ffff:1"), false),
            (Some("2001:db8:0:1::1"), true),
            (None, true),
            (None, false),
        ] {
            let ip = from.map(|from| from.parse().unwrap());
            assert_eq!(rates.subject(&subject, ip).is_ok(), is_first, "{from:?}");
        }
    }

    #[test]
    fn g1_what_is_remembered_is_bounded_and_who_keeps_asking_stays() {
        let (limiter, _) = limiter(Duration::from_secs(60), 1, 100);
        assert_eq!(limiter.take("fast"), Ok(()));
        for other in 0..10_000 {
            let _ = limiter.take(other.to_string().as_str());
            assert_eq!(limiter.take("fast"), Err(60), "{other}");
        }
        assert!(limiter.known.len() <= 100, "{}", limiter.known.len());
    }

    #[test]
    fn g2_the_wait_is_never_told_too_short() {
        for (millis, told) in [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(seconds(Duration::from_millis(millis)), told, "{millis}");
        }
        assert_eq!(seconds(Duration::from_nanos(1_000_000_001)), 2);
    }
}
