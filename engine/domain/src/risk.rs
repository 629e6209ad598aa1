//! How unusual a request is: a score, its parts, and the reasons for it.

use std::fmt;
use std::sync::Arc;

/// A whole number from 0 (nothing unusual) to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RiskScore(u8);

impl RiskScore {
    /// The lowest score.
    pub const MIN: Self = Self(0);
    /// The highest score.
    pub const MAX: Self = Self(100);

    /// Rounds half up and clamps to 0..=100; none when `points` is not a number.
    #[must_use]
    pub fn from_points(points: f64) -> Option<Self> {
        if points.is_nan() {
            return None;
        }
        // Lossless: the value lies in 0..=100 by then.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 0..=100 on the same line"
        )]
        let rounded = (points + 0.5).floor().clamp(0.0, 100.0) as u8;
        Some(Self(rounded))
    }

    /// 0 to 100.
    #[must_use]
    pub const fn points(self) -> u8 {
        self.0
    }
}

impl From<RiskScore> for i64 {
    fn from(score: RiskScore) -> Self {
        Self::from(score.0)
    }
}

impl fmt::Display for RiskScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The reported level, in the words of CAEP 1.0 risk-level-change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RiskLevel {
    /// Under the first of `risk.levels`.
    Low,
    /// At or above the first.
    Medium,
    /// At or above the second.
    High,
}

impl RiskLevel {
    /// The level of a score under `[medium, high, critical]` (R12 to R15: half open).
    #[must_use]
    pub fn of(score: RiskScore, levels: [u8; 3]) -> Self {
        let [medium, high, _] = levels;
        if score.points() >= high {
            Self::High
        } else if score.points() >= medium {
            Self::Medium
        } else {
            Self::Low
        }
    }

    /// The word itself.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }
}

/// One reason for a score.
#[derive(Clone, Debug, PartialEq)]
pub struct Factor {
    /// The feature's name.
    pub feature: &'static str,
    /// Its value in the feature's unit; none when it is unknown.
    pub value: Option<f64>,
    /// Points of the score that it brought (or, below zero, took).
    pub contribution: i32,
    /// The same in words a person can read.
    pub reason: String,
}

/// A score with everything that explains it (R16).
#[derive(Clone, Debug, PartialEq)]
pub struct RiskAssessment {
    /// The blended score.
    pub score: RiskScore,
    /// Its level.
    pub level: RiskLevel,
    /// The isolation forest's part.
    pub model_score: RiskScore,
    /// The rules' part.
    pub rule_score: RiskScore,
    /// What an entirely ordinary request scores: where the contributions start.
    pub baseline: i32,
    /// What rounding and small effects left over.
    pub other: i32,
    /// The reasons, the weightiest first. With `baseline` and `other` they add up to `score`.
    pub factors: Vec<Factor>,
    /// The rules that fired.
    pub rules: Vec<&'static str>,
    /// The model that scored, `name@version`.
    pub model: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r11_scores_round_half_up_and_stay_in_range() {
        for (points, wanted) in [
            (29.49, Some(29)),
            (29.5, Some(30)),
            (-3.0, Some(0)),
            (100.4, Some(100)),
            (f64::INFINITY, Some(100)),
            (f64::NEG_INFINITY, Some(0)),
            (f64::NAN, None),
        ] {
            assert_eq!(
                RiskScore::from_points(points).map(RiskScore::points),
                wanted,
                "{points}"
            );
        }
    }

    #[test]
    fn r15_levels_are_half_open() {
        let level = |points: u8| RiskLevel::of(RiskScore(points), [30, 60, 80]).as_str();
        assert_eq!(
            [level(29), level(30), level(59), level(60), level(100)],
            ["LOW", "MEDIUM", "MEDIUM", "HIGH", "HIGH"]
        );
    }
}
