//! What a proof makes of a session: more assurance, and another handle for it.

use domain::{
    Assurance, EntityRef, Level, RiskScore, SecurityEventKind, SessionRecord, Signal, Tier,
    Timestamp,
};
use store::sqlite::{NewSecurityEvent, StoreError};

use super::ending::By;
use super::handle::Handle;
use super::{handing, tells, tier};
use crate::app::App;
use crate::monitor::rules::tier_of;
use crate::settings::SessionSettings;
use crate::telling::body::AssuranceLevelChange;

/// What a step-up was passed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The score of the decision that asked for it; none: no decision did, and what was last found
    /// of the session counts.
    pub(crate) score: Option<u8>,
    /// What that decision asked for.
    pub(crate) needs: Option<Level>,
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
/// (`answered`) gives it another handle, and may relax its tier. Durable when it returns.
///
/// # Errors
/// When it could not be made durable.
pub(crate) async fn lift(
    app: &App,
    key: &String,
    subject: &EntityRef,
    passed: Assurance,
    answered: Option<Answered>,
    by: By<'_>,
) -> Result<Option<Lifted>, StoreError> {
    let now = app.inputs.clock.now();
    let Signal::Known(session) = app.state.session(key, now).await else {
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
        apply(session, passed, answered, levels, settings, now);
        true
    };
    let tells = tells_of(&session, passed, by, now);
    let anew = match answered {
        Some(_) => handing::anew(app, key, now).await?,
        None => None,
    };
    let (handle, kept) = anew.unzip();
    let lifted = app
        .state
        .change_session_durably(key, &tells, kept.as_ref(), change)
        .await?;
    Ok(lifted
        .filter(|session| !session.is_over(now))
        .map(|session| Lifted {
            session: SessionRecord::clone(&session),
            handle,
        }))
}

/// What others are told, where the level is another than it was.
fn tells_of(
    session: &SessionRecord,
    passed: Assurance,
    by: By<'_>,
    now: Timestamp,
) -> Vec<NewSecurityEvent> {
    let number = |level: Level| u8::try_from(level.number()).unwrap_or_default();
    let before = session.assurance.level;
    let after = session.assurance.merged_with(passed).level;
    if before == after {
        return Vec::new();
    }
    let body = serde_json::to_value(AssuranceLevelChange {
        previous_level: number(before),
        current_level: number(after),
    });
    let kind = SecurityEventKind::AssuranceLevelChange;
    vec![tells::event(
        session,
        kind,
        by,
        "step-up",
        now,
        body.ok().as_ref(),
    )]
}

/// Takes a proof into a session. A function of its arguments alone.
fn apply(
    session: &mut SessionRecord,
    passed: Assurance,
    answered: Option<Answered>,
    levels: [u8; 3],
    settings: &SessionSettings,
    now: Timestamp,
) {
    session.assurance = session.assurance.merged_with(passed);
    let (born, assurance) = (session.birth.at, session.assurance);
    let Some(terms) = &mut session.terms else {
        return;
    };
    terms.wanted = terms.wanted.filter(|wanted| !wanted.is_met_by(&assurance));
    let Some(answered) = answered else { return };
    let wanted = terms.wanted.map(|wanted| wanted.level);
    let is_enough = passed.level >= needs(terms.tier)
        && answered.needs.is_none_or(|needs| passed.level >= needs)
        && wanted.is_none();
    let score = answered.score.or(terms.score).or(terms.granted_score);
    let score = score.filter(|_| is_enough);
    if let Some(found) = score.and_then(|score| RiskScore::from_points(f64::from(score))) {
        // What the monitor compares with from now on (B20).
        terms.granted_score = score;
        tier::step_up(terms, tier_of(found, levels), born, settings, now);
    }
}

/// What it takes to leave a tier: what it takes to be let through in it.
const fn needs(tier: Tier) -> Level {
    match tier {
        Tier::Standard | Tier::Restricted => Level::Challenge,
        Tier::Strict => Level::Mfa,
    }
}

/// The same for a caller's own word for a session, which has no tier and no handle.
async fn lift_own_word(
    app: &App,
    key: &String,
    subject: &EntityRef,
    passed: Assurance,
    now: Timestamp,
) -> Result<Option<Lifted>, StoreError> {
    let mut lifted = None;
    app.state.change_session(key, |session| {
        let Some(session) = session else { return false };
        if session.is_over(now) || session.subject != *subject {
            return false;
        }
        let session = std::sync::Arc::make_mut(session);
        session.assurance = session.assurance.merged_with(passed);
        lifted = Some(session.clone());
        true
    });
    if let Some(session) = &lifted {
        app.state.write_session(session.clone()).await?;
    }
    Ok(lifted.map(|session| Lifted {
        session,
        handle: None,
    }))
}
