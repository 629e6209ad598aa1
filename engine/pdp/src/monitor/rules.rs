//! What the score of a live session comes to (M6 to M8, B20). Pure.

use domain::{RiskScore, Tier};

/// What is to become of a session, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It goes on as it is.
    GoesOn,
    /// It is riskier than when it was granted: its tier tightens if its score asks for a stricter
    /// one.
    Tightens,
    /// Its subject has to prove more before anything else is let through (M8).
    Reauthenticates,
    /// It ends (M7).
    Ends,
}

/// Where a score lies among `risk.levels`, 0 to 3: half open, so that a score of exactly 80 is 3.
#[must_use]
pub fn level_of(score: RiskScore, levels: [u8; 3]) -> u8 {
    levels
        .into_iter()
        .map(|from| u8::from(score.points() >= from))
        .sum()
}

/// The tier that a score asks for (A1 to A3).
#[must_use]
pub fn tier_of(score: RiskScore, levels: [u8; 3]) -> Tier {
    match level_of(score, levels) {
        0 => Tier::Standard,
        1 => Tier::Restricted,
        _ => Tier::Strict,
    }
}

/// Judges a session by its score now and the one at which it was granted, or at which a step-up
/// was last passed in it. It is up when it rose by more than `rise` points, or to another level:
/// the one alone would let a session that was granted at 75 climb to 95 (B20). Never held against
/// the score of the look before, so many small steps count as one large one.
///
/// A session that was not scored when it was granted counts as granted at 0.
#[must_use]
pub fn judge(granted: Option<RiskScore>, now: RiskScore, levels: [u8; 3], rise: u8) -> Verdict {
    let granted = granted.unwrap_or(RiskScore::MIN);
    let rose = now.points().saturating_sub(granted.points()) > rise;
    let level = level_of(now, levels);
    if !rose && level <= level_of(granted, levels) {
        return Verdict::GoesOn;
    }
    match level {
        3 => Verdict::Ends,
        2 => Verdict::Reauthenticates,
        _ => Verdict::Tightens,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEVELS: [u8; 3] = [30, 60, 80];
    const RISE: u8 = 20;

    fn score(points: u8) -> RiskScore {
        RiskScore::from_points(f64::from(points)).unwrap()
    }

    fn judged(granted: impl Into<Option<u8>>, now: u8) -> Verdict {
        judge(granted.into().map(score), score(now), LEVELS, RISE)
    }

    #[test]
    fn m6_m7_m8_b20_what_a_score_comes_to() {
        use Verdict::{Ends, GoesOn, Reauthenticates, Tightens};
        for (granted, now, wanted) in [
            (10, 10, GoesOn),
            (10, 29, GoesOn),
            // By exactly 20, and within its level: not more than 20.
            (5, 25, GoesOn),
            (5, 26, Tightens),
            (10, 30, Tightens),
            (29, 30, Tightens),
            (35, 55, GoesOn),
            (35, 56, Tightens),
            (59, 60, Reauthenticates),
            (10, 60, Reauthenticates),
            (59, 79, Reauthenticates),
            (60, 79, GoesOn),
            (60, 80, Ends),
            (10, 80, Ends),
            // B20: 95 is not more than 75 + 20.
            (75, 95, Ends),
            (79, 80, Ends),
            // Somebody decided at 85 that it may be; it is no worse now.
            (85, 100, GoesOn),
            (80, 100, GoesOn),
            (90, 10, GoesOn),
        ] {
            assert_eq!(judged(granted, now), wanted, "{granted} to {now}");
        }
        assert_eq!(judged(None, 29), Tightens);
        assert_eq!(judged(None, 10), GoesOn);
        assert_eq!(judged(None, 80), Ends);
        assert_eq!(
            [0, 29, 30, 59, 60, 80].map(|points| tier_of(score(points), LEVELS)),
            [
                Tier::Standard,
                Tier::Standard,
                Tier::Restricted,
                Tier::Restricted,
                Tier::Strict,
                Tier::Strict,
            ]
        );
    }

    proptest! {
        #[test]
        fn b20_a_riskier_session_never_fares_better(
            granted in 0..=100_u8, now in 0..=100_u8, more in 0..=100_u8, rise in 0..=100_u8,
        ) {
            let levels = LEVELS;
            let at = |now: u8| judge(Some(score(granted)), score(now), levels, rise);
            let higher = now.saturating_add(more).min(100);
            prop_assert!(at(now) <= at(higher), "{now} and {higher}");
            // Who was granted at more is not held to less.
            let other = judge(Some(score(granted.saturating_add(more).min(100))), score(now), levels, rise);
            prop_assert!(other <= at(now));
        }

        #[test]
        fn b20_small_steps_come_to_what_one_large_one_does(
            granted in 0..=100_u8, steps in prop::collection::vec(0..=100_u8, 1..20),
        ) {
            let mut steps = steps;
            steps.sort_unstable();
            let worst = steps.iter().map(|now| judged(granted, *now)).max();
            prop_assert_eq!(worst, steps.last().map(|now| judged(granted, *now)));
        }

        #[test]
        fn m7_b20_no_session_stays_at_80_that_was_granted_below(granted in 0..80_u8, now in 80..=100_u8) {
            prop_assert_eq!(judged(granted, now), Verdict::Ends);
        }

        #[test]
        fn a_session_that_is_no_riskier_is_left_alone(granted in 0..=100_u8, now in 0..=100_u8) {
            prop_assume!(now <= granted);
            prop_assert_eq!(judged(granted, now), Verdict::GoesOn);
        }
    }
}
