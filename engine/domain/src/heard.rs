//! What others said of a subject: what is known of it only because it was heard.

use crate::risk::RiskLevel;
use crate::time::Timestamp;

/// How long a risk that was heard of holds before it fades by a level, seconds: a day.
pub const RISK_FADES_SECONDS: i64 = 86_400;

/// What one who tells of a subject has said of it. Each is of the moment at which it happened
/// there; what happened earlier and is heard later changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Whether its account is disabled there, and since when that is so. None: nothing was said.
    pub disabled: Option<(bool, Timestamp)>,
    /// When a credential of it was last made, changed or taken back.
    pub credential_at: Option<Timestamp>,
    /// How risky it was called, and when.
    pub risk: Option<(RiskLevel, Timestamp)>,
}

impl Heard {
    /// The risk as it counts at a moment: a day later it is a level less, and LOW is nothing.
    #[must_use]
    pub fn risk_at(&self, now: Timestamp) -> Option<RiskLevel> {
        let (level, at) = self.risk?;
        let days = now.whole_seconds_since(at) / RISK_FADES_SECONDS;
        match (level, days) {
            (RiskLevel::High, 0) => Some(RiskLevel::High),
            (RiskLevel::High, 1) | (RiskLevel::Medium, 0) => Some(RiskLevel::Medium),
            (RiskLevel::Low, 0) => Some(RiskLevel::Low),
            _ => None,
        }
    }

    /// What several have said, together: the worst of it.
    #[must_use]
    pub fn together<'h>(all: impl IntoIterator<Item = &'h Self>, now: Timestamp) -> Self {
        let mut whole = Self::default();
        for one in all {
            whole.disabled = match (whole.disabled, one.disabled) {
                (None, said) | (said, None) => said,
                (Some(one), Some(other)) => Some(one.max(other)),
            };
            whole.credential_at = whole.credential_at.max(one.credential_at);
            if one.risk_at(now) > whole.risk_at(now) {
                whole.risk = one.risk;
            }
        }
        whole
    }

    /// Whether it says nothing any more that was not always so.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        /// A credential that was changed so long ago is as any other.
        const CREDENTIAL_SECONDS: i64 = 90 * 86_400;
        let is_old = |at: Timestamp| now.whole_seconds_since(at) > CREDENTIAL_SECONDS;
        self.disabled
            .is_none_or(|(disabled, at)| !disabled && is_old(at))
            && self.credential_at.is_none_or(is_old)
            && self.risk_at(now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_risk_that_was_heard_fades_and_the_worst_word_counts() {
        let at = Timestamp::from_seconds(1_795_215_660);
        let risk = |level| Heard {
            risk: Some((level, at)),
            ..Heard::default()
        };
        let day = RISK_FADES_SECONDS;
        use RiskLevel::{High, Low, Medium};
        for (level, seconds, wanted) in [
            (High, 0, Some(High)),
            (High, -5, Some(High)),
            (High, day - 1, Some(High)),
            (High, day, Some(Medium)),
            (High, 2 * day, None),
            (Medium, day - 1, Some(Medium)),
            (Medium, day, None),
            (Low, 0, Some(Low)),
            (Low, day, None),
        ] {
            let heard = risk(level).risk_at(at.plus_seconds(seconds));
            assert_eq!(heard, wanted, "{level:?} after {seconds} s");
        }
        let disabled = |is| Heard {
            disabled: Some((is, at)),
            ..Heard::default()
        };
        let whole = Heard::together(
            &[disabled(true), disabled(false), risk(Medium), risk(High)],
            at,
        );
        assert_eq!(
            (whole.disabled, whole.risk_at(at)),
            (Some((true, at)), Some(High))
        );
        assert_eq!(Heard::together([], at), Heard::default());
        assert!(Heard::default().is_over(at));
        assert!(!disabled(true).is_over(Timestamp::MAX));
        assert!(!risk(High).is_over(at) && risk(High).is_over(at.plus_seconds(2 * day)));
    }
}
