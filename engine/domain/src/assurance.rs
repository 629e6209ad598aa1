//! How sure one may be of who the subject is, and since when.

use crate::time::Timestamp;

/// The strength of the last authentication (`product` §1; compare NIST SP 800-63B AAL).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// No proof at all.
    #[default]
    None,
    /// A single factor.
    SingleFactor,
    /// One re-confirmation: a password, a code, a prompt.
    Challenge,
    /// Two distinct factors.
    Mfa,
}

impl Level {
    /// 0 to 3, as policies see it.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::None => 0,
            Self::SingleFactor => 1,
            Self::Challenge => 2,
            Self::Mfa => 3,
        }
    }

    /// The level with this number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::SingleFactor),
            2 => Some(Self::Challenge),
            3 => Some(Self::Mfa),
            _ => None,
        }
    }
}

/// What stands in for the age of something that never happened: a hundred years, in seconds.
pub const NEVER_SECONDS: i64 = 3_155_760_000;

/// The assurance of a request: a level, and when each step was passed.
///
/// A step whose time is unknown counts as long ago: freshness is never assumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assurance {
    /// The level held.
    pub level: Level,
    /// When what gave the level happened.
    pub at: Option<Timestamp>,
    /// When a challenge, or anything stronger, was last passed.
    pub challenge_at: Option<Timestamp>,
    /// When MFA was last passed.
    pub mfa_at: Option<Timestamp>,
}

impl Assurance {
    /// The assurance that an authentication of this level at this time gives.
    #[must_use]
    pub fn of(level: Level, at: Option<Timestamp>) -> Self {
        Self {
            level,
            at: at.filter(|_| level > Level::None),
            challenge_at: at.filter(|_| level >= Level::Challenge),
            mfa_at: at.filter(|_| level >= Level::Mfa),
        }
    }

    /// The assurance that had these ages, in seconds, at a moment. To whole seconds, which is all
    /// that policies see of it.
    #[must_use]
    pub fn of_ages(
        level: Level,
        age_seconds: i64,
        challenge_age_seconds: Option<i64>,
        mfa_age_seconds: Option<i64>,
        now: Timestamp,
    ) -> Self {
        let ago = |age: i64| now.plus_seconds(age.saturating_neg());
        Self {
            level,
            at: (age_seconds != NEVER_SECONDS).then(|| ago(age_seconds)),
            challenge_at: challenge_age_seconds.map(ago),
            mfa_at: mfa_age_seconds.map(ago),
        }
    }

    /// The second rung of the ladder: as if a challenge had just passed. Levels below
    /// [`Level::Challenge`] are lifted, a challenge is refreshed, MFA keeps level and age.
    #[must_use]
    pub fn with_challenge_passed(self, now: Timestamp) -> Self {
        if self.level == Level::Mfa {
            Self {
                challenge_at: Some(now),
                ..self
            }
        } else {
            Self {
                level: Level::Challenge,
                at: Some(now),
                challenge_at: Some(now),
                ..self
            }
        }
    }

    /// The third rung of the ladder: as if MFA had just passed.
    #[must_use]
    pub fn with_mfa_passed(self, now: Timestamp) -> Self {
        Self::of(Level::Mfa, Some(now))
    }

    /// What two sources know together: the higher level, and the later time of each step.
    #[must_use]
    pub fn merged_with(self, other: Self) -> Self {
        let (level, at) = match self.level.cmp(&other.level) {
            std::cmp::Ordering::Greater => (self.level, self.at),
            std::cmp::Ordering::Less => (other.level, other.at),
            std::cmp::Ordering::Equal => (self.level, self.at.max(other.at)),
        };
        Self {
            level,
            at,
            challenge_at: self.challenge_at.max(other.challenge_at),
            mfa_at: self.mfa_at.max(other.mfa_at),
        }
    }

    /// Seconds since what gave the level; [`NEVER_SECONDS`] when that is unknown.
    #[must_use]
    pub fn age_seconds(&self, now: Timestamp) -> i64 {
        self.at
            .map_or(NEVER_SECONDS, |at| now.whole_seconds_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000);
    const HOUR_AGO: Timestamp = Timestamp::from_seconds(1_000_000 - 3600);

    #[test]
    fn a_challenge_lifts_what_is_below_it_and_leaves_mfa_its_age() {
        for level in [Level::None, Level::SingleFactor, Level::Challenge] {
            let lifted = Assurance::of(level, Some(HOUR_AGO)).with_challenge_passed(NOW);
            assert_eq!(
                lifted,
                Assurance::of(Level::Challenge, Some(NOW)),
                "{level:?}"
            );
        }
        let strong = Assurance::of(Level::Mfa, Some(HOUR_AGO)).with_challenge_passed(NOW);
        assert_eq!((strong.level, strong.at), (Level::Mfa, Some(HOUR_AGO)));
        assert_eq!(
            (strong.challenge_at, strong.mfa_at),
            (Some(NOW), Some(HOUR_AGO))
        );
    }

    #[test]
    fn mfa_makes_every_step_fresh() {
        let lifted = Assurance::default().with_mfa_passed(NOW);
        assert_eq!(lifted, Assurance::of(Level::Mfa, Some(NOW)));
        assert_eq!(lifted.challenge_at, Some(NOW));
    }

    #[test]
    fn a_level_without_a_time_is_never_fresh() {
        let claimed = Assurance::of(Level::Mfa, None);
        assert_eq!(claimed.age_seconds(NOW), NEVER_SECONDS);
        assert_eq!((claimed.challenge_at, claimed.mfa_at), (None, None));
    }
}
