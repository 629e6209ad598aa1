//! Sessions: how they began, how they were last seen, what holds for them.

use std::net::IpAddr;
use std::sync::Arc;

use crate::assurance::{Assurance, Level};
use crate::name::EntityRef;
use crate::request::DeviceClaim;
use crate::signal::Country;
use crate::time::Timestamp;

/// What a session may, by the risk at which it was granted (A1 to A3). The strictest is the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Below the first of `risk.levels`.
    #[default]
    Standard,
    /// Below the second.
    Restricted,
    /// From the second on: short, alone, with a second factor, and everything in it on record.
    Strict,
}

impl Tier {
    /// Every tier, the least strict first.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Restricted, Self::Strict];

    /// The word in answers, policies and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Restricted => "restricted",
            Self::Strict => "strict",
        }
    }

    /// The tier of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.as_str() == word)
    }
}

/// The circumstances in which a session began; later requests are held against them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionBirth {
    /// When it was first seen.
    pub at: Timestamp,
    /// The address.
    pub ip: Option<IpAddr>,
    /// Its country.
    pub country: Option<Country>,
    /// Its network.
    pub asn: Option<u32>,
    /// Family of the client program, for example `Firefox`.
    pub agent_family: Option<String>,
    /// Its major version, for example 128.
    pub agent_version: Option<u32>,
    /// The device.
    pub device_id: Option<String>,
    /// Its operating system, as the caller said.
    pub os: Option<String>,
    /// The version of that.
    pub os_version: Option<String>,
    /// Its fingerprint.
    pub fingerprint: Option<String>,
}

/// In which circumstances a session was last seen: what the monitor asks by while nobody does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionSight {
    /// When.
    pub at: Timestamp,
    /// The address.
    pub ip: Option<IpAddr>,
    /// The client program's own words.
    pub user_agent: Option<Arc<str>>,
    /// What was said of the device. Who names none is on the one before.
    pub device: Option<DeviceClaim>,
    /// The device was recorded: should its record go, the session goes with it (M9).
    pub is_enrolled: bool,
    /// Since when the device is enrolled to the session's own subject, as it was when the session
    /// came to it: should it be enrolled to somebody else, or anew, the session goes (M9). None:
    /// it is not, or that is not known.
    pub enrolled_at: Option<Timestamp>,
}

/// A session as far as the engine knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    /// The public id, or the caller's own correlation id.
    pub id: String,
    /// Whose it is.
    pub subject: EntityRef,
    /// How it began.
    pub birth: SessionBirth,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// In which circumstances; none: nobody has used it yet, or it is a caller's own.
    pub sight: Option<Arc<SessionSight>>,
    /// What was proven in it, and when.
    pub assurance: Assurance,
    /// Whether it has ended. An ended session never lives again.
    pub ended: bool,
    /// What holds for a session that was opened with the engine. None: a caller's own word for
    /// one.
    pub terms: Option<SessionTerms>,
}

/// What holds for a session that was opened with the engine (E1, E2, E14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTerms {
    /// The client that opened it.
    pub client_id: String,
    /// It ends then at the latest, however busy it is.
    pub expires_at: Timestamp,
    /// Seconds without use after which it ends.
    pub idle_seconds: i64,
    /// How often it was used.
    pub accesses: u64,
    /// What it may.
    pub tier: Tier,
    /// The score at which it was granted, or a step-up was last passed in it, 0 to 100: what the
    /// monitor compares with (B20). None: it was not scored.
    pub granted_score: Option<u8>,
    /// The score that was last found, 0 to 100.
    pub score: Option<u8>,
    /// What has to be proven anew before anything else is let through (M8).
    pub wanted: Option<Wanted>,
    /// When its tier last tightened.
    pub tightened_at: Option<Timestamp>,
    /// When the proof of the last step-up in it was given.
    pub stepped_up_at: Option<Timestamp>,
}

/// A proof that a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it takes.
    pub level: Level,
    /// Nothing that was proven before counts.
    pub since: Timestamp,
}

impl Wanted {
    /// Whether an assurance is that proof. One whose time is not known is not.
    #[must_use]
    pub fn is_met_by(self, assurance: &Assurance) -> bool {
        let proven = match self.level {
            Level::None => return true,
            Level::SingleFactor => assurance.at.max(assurance.challenge_at),
            Level::Challenge => assurance.challenge_at,
            Level::Mfa => assurance.mfa_at,
        };
        proven.is_some_and(|at| at >= self.since)
    }

    /// What is wanted when this is wanted as well. What waits already goes on waiting from when it
    /// did; a stronger proof is wanted from when it was asked for.
    #[must_use]
    pub fn joined_with(self, other: Self) -> Self {
        if other.level > self.level {
            other
        } else {
            self
        }
    }
}

impl Default for SessionTerms {
    fn default() -> Self {
        Self {
            client_id: String::new(),
            expires_at: Timestamp::MAX,
            idle_seconds: i64::from(u32::MAX),
            accesses: 0,
            tier: Tier::Standard,
            granted_score: None,
            score: None,
            wanted: None,
            tightened_at: None,
            stepped_up_at: None,
        }
    }
}

impl SessionRecord {
    /// Whether it is over at a moment: ended, or expired by the one or the other clock.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ended || self.live_until().is_some_and(|until| now >= until)
    }

    /// Until when it lives if nobody uses it any more. None: nothing limits it.
    #[must_use]
    pub fn live_until(&self) -> Option<Timestamp> {
        let terms = self.terms.as_ref()?;
        Some(self.idle_until(terms).min(terms.expires_at))
    }

    /// The device on which it was last seen, or on which it began.
    #[must_use]
    pub fn device_id(&self) -> Option<&str> {
        let seen = self.sight.as_ref().and_then(|sight| sight.device.as_ref());
        seen.and_then(|device| device.id.as_deref())
            .or(self.birth.device_id.as_deref())
    }

    fn idle_until(&self, terms: &SessionTerms) -> Timestamp {
        self.last_seen.plus_seconds(terms.idle_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e1_e2_a_session_ends_when_it_is_idle_and_when_it_is_old() {
        let born = Timestamp::from_seconds(1_795_215_660);
        let mut session = SessionRecord {
            id: "ses_1".to_owned(),
            subject: EntityRef::new("User", "alice").unwrap(),
            birth: SessionBirth {
                at: born,
                ..SessionBirth::default()
            },
            last_seen: born,
            sight: None,
            assurance: Assurance::default(),
            ended: false,
            terms: Some(SessionTerms {
                client_id: "sk_1".to_owned(),
                expires_at: born.plus_seconds(28_800),
                idle_seconds: 1800,
                ..SessionTerms::default()
            }),
        };
        // Seconds since it began, when it was last seen, whether it is over.
        for (now, seen, wanted) in [
            (0, 0, false),
            (1799, 0, false),
            (1800, 0, true),
            (1801, 1, true),
            (28_799, 28_000, false),
            (28_800, 28_799, true),
            // A clock that was put back ends nothing.
            (-60, 0, false),
        ] {
            session.last_seen = born.plus_seconds(seen);
            assert_eq!(session.is_over(born.plus_seconds(now)), wanted, "{now}");
        }
        session.ended = true;
        assert!(session.is_over(born));
        // A caller's own word for a session ends only when it is ended.
        session.ended = false;
        session.terms = None;
        assert!(!session.is_over(born.plus_seconds(1_000_000)));
    }
}
