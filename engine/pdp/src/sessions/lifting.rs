//! What a proof makes of a session: more assurance, and another handle for it.

use domain::{Assurance, EntityRef, Level, RiskScore, SessionRecord, Timestamp};
use store::sqlite::{Lift, SpentProof, StoreError};

use super::ending::By;
use super::handle::Handle;
use super::{handing, tells, tier};
use crate::app::App;
use crate::monitor::rules::tier_of;
use crate::settings::SessionSettings;

/// Why assurance is told to have changed, where somebody passed a step-up.
pub(crate) const STEP_UP: &str = "step-up";

/// What a step-up was passed for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The score of the decision that asked for it; none: no decision did, and what was last found
    /// of the session counts.
    pub(crate) score: Option<u8>,
    /// What that decision asked for.
    pub(crate) needs: Option<Level>,
    /// What it was passed by, where that counts once.
    pub(crate) spends: Option<SpentProof>,
}

/// A session in which more was proven.
#[derive(Clone, Debug)]
pub(crate) struct Lifted {
    /// The session.
    pub(crate) session: SessionRecord,
    /// The handle to be sent from now on; none where it has kept its own, or is a caller's own word.
    pub(crate) handle: Option<Handle>,
}

/// Adds to the assurance of a live session of this subject; none when there is none. A step-up
/// (`answered`) gives it another handle, is what it waited for, and may relax its tier. What was
/// proven elsewhere, with nobody there to be given a handle, counts for the client that names the
/// session by its id: whoever has the handle may have planted it, so it brings no assurance until
/// a step-up, which alone is what the session waits for. Durable when it returns.
///
/// # Errors
/// When it could not be made durable, or what it was passed by was spent before. It has no effect
/// then.
pub(crate) async fn lift(
    app: &App,
    key: &String,
    subject: &EntityRef,
    passed: Assurance,
    answered: Option<Answered>,
    by: By<'_>,
    why: &str,
) -> Result<Option<Lifted>, StoreError> {
    let now = app.inputs.clock.now();
    // What was proven would be lost, as if the session were over: whoever tells has to know.
    let Some(session) = app.state.session_surely(key, now).await? else {
        return Ok(None);
    };
    if session.is_over(now) || session.subject != *subject {
        return Ok(None);
    }
    if session.terms.is_none() {
        return lift_own_word(app, key, subject, passed, now).await;
    }
    let levels = app.live.current().settings.levels;
    let settings = &app.settings.sessions;
    let change = |session: &mut SessionRecord| {
        if session.is_over(now) || session.subject != *subject {
            return false;
        }
        apply(session, passed, answered.as_ref(), levels, settings, now);
        true
    };
    let after = session.assurance.merged_with(passed).level;
    let tells = tells::assurance(&session, after, by, why, now);
    let Some((handle, kept)) = handing::anew(app, key, answered.is_some(), now).await? else {
        return Ok(None);
    };
    let goes_with = Lift {
        handle: Some(kept),
        spends: answered
            .as_ref()
            .and_then(|answered| answered.spends.clone()),
    };
    let lifted = app
        .state
        .change_session_durably(key, tells.as_slice(), Some(&goes_with), change)
        .await?;
    Ok(lifted
        .filter(|session| !session.is_over(now))
        .map(|session| Lifted {
            session: SessionRecord::clone(&session),
            handle: answered.is_some().then_some(handle),
        }))
}

/// Takes a proof into a session. A function of its arguments alone.
fn apply(
    session: &mut SessionRecord,
    passed: Assurance,
    answered: Option<&Answered>,
    levels: [u8; 3],
    settings: &SessionSettings,
    now: Timestamp,
) {
    session.assurance = session.assurance.merged_with(passed);
    let (born, assurance) = (session.birth.at, session.assurance);
    let Some(terms) = &mut session.terms else {
        return;
    };
    let Some(answered) = answered else { return };
    terms.wanted = terms.wanted.filter(|wanted| !wanted.is_met_by(&assurance));
    let wanted = terms.wanted.map(|wanted| wanted.level);
    terms.stepped_up_at = terms.stepped_up_at.max(passed.at);
    let tightened = terms.tightened_at.map(Timestamp::seconds);
    let is_enough = passed.level >= tier::needs(terms.tier)
        && tightened <= passed.at.map(Timestamp::seconds)
        && answered.needs.is_none_or(|needs| passed.level >= needs)
        && wanted.is_none();
    let score = answered.score.or(terms.score).or(terms.granted_score);
    let score = score.filter(|_| is_enough);
    if let Some(found) = score.and_then(|score| RiskScore::from_points(f64::from(score))) {
        // What the monitor compares with from now on (B20).
        terms.granted_score = granted(terms.granted_score, found, levels);
        tier::step_up(terms, tier_of(found, levels), born, settings, now);
    }
}

/// The score that a session is held against when a step-up was passed at a score. Never one at
/// which sessions end: no proof makes 80 bearable, and a later 95 would be no more than that. Where
/// a policy let it be opened as high as that, it goes on being.
fn granted(before: Option<u8>, found: RiskScore, levels: [u8; 3]) -> Option<u8> {
    let [_, _, ends] = levels;
    if before.is_some_and(|before| before >= ends) {
        return before;
    }
    Some(found.points().min(ends.saturating_sub(1)))
}

/// The same for a caller's own word for a session, which has no tier and no handle.
async fn lift_own_word(
    app: &App,
    key: &String,
    subject: &EntityRef,
    passed: Assurance,
    now: Timestamp,
) -> Result<Option<Lifted>, StoreError> {
    let change = |session: &mut SessionRecord| {
        if session.is_over(now) || session.subject != *subject {
            return false;
        }
        session.assurance = session.assurance.merged_with(passed);
        true
    };
    let lifted = app
        .state
        .change_any_session_durably(key, &[], change)
        .await?;
    let lifted = lifted.filter(|session| !session.is_over(now) && session.subject == *subject);
    Ok(lifted.map(|session| Lifted {
        session: SessionRecord::clone(&session),
        handle: None,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::monitor::rules::{Verdict, judge};

    const LEVELS: [u8; 3] = [30, 60, 80];

    fn score(points: u8) -> RiskScore {
        RiskScore::from_points(f64::from(points)).unwrap()
    }

    proptest! {
        #[test]
        fn m7_b20_no_step_up_lets_a_session_stay_at_80(
            opened in prop::option::of(0..80_u8),
            passed in prop::collection::vec(0..=100_u8, 1..6),
            now in 80..=100_u8,
        ) {
            let mut terms = opened;
            for found in passed {
                terms = granted(terms, score(found), LEVELS);
            }
            let verdict = judge(terms.map(score), score(now), LEVELS, 20);
            prop_assert_eq!(verdict, Verdict::Ends);
        }

        #[test]
        fn who_was_let_in_at_80_goes_on_after_a_step_up(
            opened in 80..=100_u8, passed in 0..=100_u8, now in 80..=100_u8,
        ) {
            let held = granted(Some(opened), score(passed), LEVELS);
            prop_assume!(now <= opened);
            prop_assert_eq!(judge(held.map(score), score(now), LEVELS, 20), Verdict::GoesOn);
        }
    }
}
