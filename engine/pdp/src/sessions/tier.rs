//! Tiers (A1 to A3): how long a session may live and how many a subject may have, by the risk at
//! which it was granted. What is here is a function of its arguments alone.
//!
//! A tier tightens at once and relaxes only by a step-up that is passed in the session: with it, or
//! after it, when the score that had it tightened is over. It ends no other session: that would let
//! a thief shut out whom he stole from.

use domain::{Assurance, Level, SessionTerms, Tier, Timestamp};

use crate::settings::SessionSettings;

/// The end of a session of a tier that begins, or tightens, at a moment.
#[must_use]
pub(crate) fn end(tier: Tier, from: Timestamp, settings: &SessionSettings) -> Timestamp {
    let lasts = settings.tier(tier).absolute.as_secs();
    from.plus_seconds(i64::try_from(lasts).unwrap_or(i64::MAX))
}

/// Tightens to a tier. False when it is as tight already.
pub(crate) fn tighten(
    terms: &mut SessionTerms,
    to: Tier,
    settings: &SessionSettings,
    now: Timestamp,
) -> bool {
    if to <= terms.tier {
        return false;
    }
    terms.tier = to;
    terms.tightened_at = Some(now);
    terms.expires_at = terms.expires_at.min(end(to, now, settings));
    true
}

/// What it takes to leave a tier: what it takes to be let through in it.
pub(crate) const fn needs(tier: Tier) -> Level {
    match tier {
        Tier::Standard | Tier::Restricted => Level::Challenge,
        Tier::Strict => Level::Mfa,
    }
}

/// Whether a lower score is enough for it to relax: what it takes to leave its tier was passed by a
/// step-up since it last tightened, or since it was born, and it waits for nothing.
pub(crate) fn may_relax(terms: &SessionTerms, assurance: &Assurance, born: Timestamp) -> bool {
    let since = terms.tightened_at.unwrap_or(born);
    let is_after = |at: Option<Timestamp>| at.is_some_and(|at| at >= since);
    is_after(terms.stepped_up_at)
        && (needs(terms.tier) < Level::Mfa || is_after(assurance.mfa_at))
        && terms.wanted.is_none()
}

/// Relaxes to the tier of a score that was found after a step-up ([`may_relax`]): as if it had begun
/// in that tier, and held at that score from now on. False when there is nothing to relax.
pub(crate) fn relax(
    terms: &mut SessionTerms,
    assurance: &Assurance,
    (to, score): (Tier, u8),
    born: Timestamp,
    settings: &SessionSettings,
) -> bool {
    if to >= terms.tier || !may_relax(terms, assurance, born) {
        return false;
    }
    terms.tier = to;
    terms.expires_at = terms.expires_at.max(end(to, born, settings));
    terms.score = Some(score);
    // Or a later rise would be held against the score that is over.
    terms.granted_score = terms.granted_score.map(|granted| granted.min(score));
    true
}

/// Takes over the tier that a step-up leaves it in. It ends as if it had begun in that tier, but a
/// proof ends nothing sooner.
pub(crate) fn step_up(
    terms: &mut SessionTerms,
    to: Tier,
    born: Timestamp,
    settings: &SessionSettings,
    now: Timestamp,
) {
    if to < terms.tier {
        terms.tier = to;
        terms.expires_at = terms.expires_at.max(end(to, born, settings));
    } else {
        tighten(terms, to, settings, now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Settings;

    const BORN: Timestamp = Timestamp::from_seconds(1_795_215_660);

    /// What happens to a session: so many seconds later it tightens to a tier, or a step-up is
    /// passed at the score of one.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Tightens(Tier),
        SteppedUp(Tier),
    }

    fn tier() -> impl Strategy<Value = Tier> {
        prop::sample::select(Tier::ALL.to_vec())
    }

    fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
        let step = prop_oneof![
            tier().prop_map(Step::Tightens),
            tier().prop_map(Step::SteppedUp)
        ];
        prop::collection::vec((0..4000_i64, step), 0..20)
    }

    fn opened(tier: Tier, settings: &SessionSettings) -> SessionTerms {
        SessionTerms {
            tier,
            expires_at: end(tier, BORN, settings),
            ..SessionTerms::default()
        }
    }

    #[test]
    fn a1_a2_a3_hours_are_counted_from_when_a_tier_begins() {
        let settings = Settings::default().sessions;
        let hour = 3600;
        let until = |terms: &SessionTerms| terms.expires_at.whole_seconds_since(BORN);
        for (tier, wanted) in Tier::ALL.into_iter().zip([8 * hour, 2 * hour, hour / 2]) {
            assert_eq!(until(&opened(tier, &settings)), wanted, "{tier:?}");
        }
        // At three hours it tightens twice; a proof at a lower score gives it back its day, one at
        // a score as high gives and takes nothing.
        let mut terms = opened(Tier::Standard, &settings);
        let at = |seconds: i64| BORN.plus_seconds(seconds);
        assert!(tighten(
            &mut terms,
            Tier::Restricted,
            &settings,
            at(3 * hour)
        ));
        assert_eq!(until(&terms), 5 * hour);
        assert!(tighten(
            &mut terms,
            Tier::Strict,
            &settings,
            at(3 * hour + 60)
        ));
        assert_eq!(until(&terms), 3 * hour + 60 + hour / 2);
        let strict = terms.clone();
        assert!(!tighten(
            &mut terms,
            Tier::Restricted,
            &settings,
            at(3 * hour + 90)
        ));
        step_up(&mut terms, Tier::Strict, BORN, &settings, at(3 * hour + 90));
        assert_eq!(terms, strict);
        // As if it had begun restricted it would be over; a proof ends nothing.
        step_up(
            &mut terms,
            Tier::Restricted,
            BORN,
            &settings,
            at(3 * hour + 90),
        );
        assert_eq!(
            (terms.tier, until(&terms)),
            (Tier::Restricted, until(&strict))
        );
        step_up(
            &mut terms,
            Tier::Standard,
            BORN,
            &settings,
            at(3 * hour + 95),
        );
        assert_eq!((terms.tier, until(&terms)), (Tier::Standard, 8 * hour));
    }

    proptest! {
        #[test]
        fn a1_a2_a3_a_tier_tightens_at_once_and_relaxes_only_by_a_step_up(
            first in tier(), steps in steps(),
        ) {
            let settings = Settings::default().sessions;
            let mut terms = opened(first, &settings);
            let mut now = BORN;
            for (later, step) in steps {
                now = now.plus_seconds(later);
                if now >= terms.expires_at {
                    break;
                }
                let before = terms.clone();
                match step {
                    Step::Tightens(to) => {
                        tighten(&mut terms, to, &settings, now);
                        // At once, never less strict, never longer.
                        prop_assert_eq!(terms.tier, before.tier.max(to));
                        prop_assert!(terms.expires_at <= before.expires_at);
                        if to > before.tier {
                            prop_assert!(terms.expires_at <= end(to, now, &settings));
                        }
                    }
                    Step::SteppedUp(to) => {
                        step_up(&mut terms, to, BORN, &settings, now);
                        prop_assert_eq!(terms.tier, to);
                        prop_assert!(to <= before.tier || terms.expires_at <= before.expires_at);
                        prop_assert!(to > before.tier || terms.expires_at >= before.expires_at);
                    }
                }
                // Alive after it, and never longer than any session may be.
                prop_assert!(terms.expires_at > now);
                prop_assert!(terms.expires_at <= end(Tier::Standard, BORN, &settings));
            }
        }

        /// Without a step-up that was passed since it tightened, no score relaxes a session; with
        /// one, it is as if it had begun in the tier that the score asks for.
        #[test]
        fn a1_a2_a3_a_lower_score_relaxes_only_after_a_step_up(
            first in tier(), steps in prop::collection::vec((1..600_i64, 0..3_u8, tier()), 0..20),
        ) {
            let settings = Settings::default().sessions;
            let mut terms = opened(first, &settings);
            let mut assurance = Assurance::default();
            let (mut now, mut passed) = (BORN, Level::None);
            for (later, what, to) in steps {
                now = now.plus_seconds(later);
                let before = terms.clone();
                match what {
                    0 => {
                        if tighten(&mut terms, to, &settings, now) {
                            passed = Level::None;
                        }
                    }
                    1 => {
                        let level = if to == Tier::Strict { Level::Mfa } else { Level::Challenge };
                        assurance = assurance.merged_with(Assurance::of(level, Some(now)));
                        terms.stepped_up_at = Some(now);
                        passed = passed.max(level);
                    }
                    _ => {
                        let may = passed >= needs(terms.tier) && to < terms.tier;
                        prop_assert_eq!(relax(&mut terms, &assurance, (to, 1), BORN, &settings), may);
                        if may {
                            let whole = before.expires_at.max(end(to, BORN, &settings));
                            prop_assert_eq!((terms.tier, terms.expires_at), (to, whole));
                        } else {
                            prop_assert_eq!(&terms, &before);
                        }
                    }
                }
                prop_assert!(terms.expires_at <= end(Tier::Standard, BORN, &settings));
            }
        }
    }
}
