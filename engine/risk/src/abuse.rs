//! What comes from a source: how many different subjects fail from an address, a network, an
//! autonomous system. A spray of stolen passwords shows here before any one account shows it.

use domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::counts::Fading;
use crate::distinct::Distinct;
use crate::key::Key;

/// Mean life of the counters, seconds: "within about an hour".
const LIFE_SECONDS: f64 = 3600.0;
const WINDOW_SECONDS: u32 = 3600;
/// Subjects that fail from one source without it meaning anything: somebody mistypes.
const ORDINARY_SUBJECTS: f64 = 2.0;

/// One attempt as its sources see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attempt {
    /// When.
    pub at: Timestamp,
    /// The address, its /24 or /64, its autonomous system: the last is not always known.
    pub sources: [Option<Key>; 3],
    /// Who tried, or was tried.
    pub subject: Key,
    /// Whether it failed: a wrong password, a refused prompt, a subject that does not exist.
    pub failed: bool,
    /// The score it had, 0 to 100; 0 for what was only told.
    pub score: u8,
}

/// What one source has done lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    attempts: Fading,
    failures: Fading,
    failed_subjects: Distinct<4>,
    /// The highest score lately, fading.
    risk: Fading,
}

impl Tally {
    /// Takes an attempt in.
    pub fn add(&mut self, attempt: &Attempt) {
        self.attempts.add(attempt.at, LIFE_SECONDS);
        self.risk
            .raise(f64::from(attempt.score), attempt.at, LIFE_SECONDS);
        if attempt.failed {
            self.failures.add(attempt.at, LIFE_SECONDS);
            self.failed_subjects
                .add(attempt.subject, attempt.at, WINDOW_SECONDS);
        }
    }

    /// Whether nothing of it is left to remember.
    #[must_use]
    pub fn is_quiet(&self, now: Timestamp) -> bool {
        self.attempts.at(now, LIFE_SECONDS) < 0.01
    }

    /// The highest score of what came from it lately, 0 to 100, fading over about an hour.
    #[must_use]
    pub fn recent_risk(&self, now: Timestamp) -> f64 {
        self.risk.at(now, LIFE_SECONDS)
    }

    /// Different subjects that failed within about an hour, beyond the two that mean nothing,
    /// times the share of attempts that failed: a hundred people behind one office address who
    /// mistype now and then come to less than one, a spray comes to its number of subjects.
    #[must_use]
    pub fn abuse(&self, now: Timestamp) -> f64 {
        let attempts = self.attempts.at(now, LIFE_SECONDS);
        if attempts < 0.01 {
            return 0.0;
        }
        let failures = self.failures.at(now, LIFE_SECONDS);
        let share = (failures / attempts).min(1.0);
        let subjects = self.failed_subjects.count(now, WINDOW_SECONDS);
        (subjects - ORDINARY_SUBJECTS).max(0.0) * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(second: i64, subject: u64, failed: bool) -> Attempt {
        Attempt {
            at: Timestamp::from_seconds(1_800_000_000 + second),
            sources: [None; 3],
            subject: Key::number(subject),
            failed,
            score: if failed { 70 } else { 10 },
        }
    }

    #[test]
    fn a_spray_stands_out_and_an_office_does_not() {
        let now = Timestamp::from_seconds(1_800_000_900);
        let mut spray = Tally::default();
        let mut office = Tally::default();
        for number in 0..100 {
            spray.add(&attempt(number, number as u64, number % 50 != 0));
            // Everybody signs in on Monday, and one in twelve mistypes first.
            office.add(&attempt(number * 2, number as u64, false));
            if number % 12 == 0 {
                office.add(&attempt(number * 2 - 1, number as u64, true));
            }
        }
        assert!(spray.abuse(now) > 50.0, "{}", spray.abuse(now));
        assert!(office.abuse(now) < 1.0, "{}", office.abuse(now));
        assert!(spray.recent_risk(now) > 50.0);
        let later = Timestamp::from_seconds(1_800_000_000 + 3 * 3600);
        assert!(spray.abuse(later) < 1.0, "it is forgotten");
    }
}
