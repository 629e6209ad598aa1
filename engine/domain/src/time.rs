//! One point in time, read once at the edge and passed in from there.

/// Milliseconds since the Unix epoch, UTC.
///
/// Everything below the edge takes the time as an argument, so that a decision reads one clock
/// once, and a replay reads none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first instant that is accepted from outside: 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);
    /// The last instant that is accepted from outside: 9999-12-30T22:00:00Z, the last that has
    /// a date in every time zone.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// From milliseconds since the Unix epoch, clamped to [`Self::MIN`]..=[`Self::MAX`].
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        if millis < Self::MIN.0 {
            Self::MIN
        } else if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// From whole seconds since the Unix epoch, clamped like [`Self::from_millis`].
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0 / 1000
    }

    /// Seconds from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        // INVARIANT: both lie in MIN..=MAX, far below 2^53, so the conversion is exact.
        (self.0 - earlier.0).max(0) as f64 / 1000.0
    }

    /// Whole seconds from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub const fn whole_seconds_since(self, earlier: Self) -> i64 {
        let gap = self.0 - earlier.0;
        if gap < 0 { 0 } else { gap / 1000 }
    }

    /// This instant moved by a number of seconds, clamped like [`Self::from_millis`].
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_millis(self.0.saturating_add(seconds.saturating_mul(1000)))
    }
}
