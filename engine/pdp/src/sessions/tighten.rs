//! What becomes of a session when its risk is found to be another.

use domain::{SessionRecord, Tier, Timestamp, Wanted};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::sqlite::{Lift, NewSecurityEvent, StoreError};

use super::tier;
use crate::app::App;
use crate::settings::SessionSettings;

/// What is new about a session. It only ever makes it tighter; what loosens is a step-up,
/// or what is found after one ([`relax`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// The score that was found, 0 to 100.
    pub(crate) score: Option<u8>,
    /// The tier that it has from now on, at least.
    pub(crate) tier: Option<Tier>,
    /// What has to be proven before anything else.
    pub(crate) wanted: Option<Wanted>,
}

/// Changes a live session that was opened with the engine, and tells of it in the same
/// transaction. The session as it is then; none when there is no such session that lives. A score
/// alone is written behind; anything else is durable and in effect when this returns.
///
/// # Errors
/// When it could not be made durable. Then it is not in effect, and nothing is told: whoever has
/// something to tell comes again.
pub(crate) async fn tighten(
    app: &App,
    id: &str,
    change: &Change,
    tells: &[NewSecurityEvent],
) -> Result<Option<Arc<SessionRecord>>, StoreError> {
    let now = app.inputs.clock.now();
    let settings = &app.settings.sessions;
    let id = id.to_owned();
    if change.tier.is_none() && change.wanted.is_none() && tells.is_empty() {
        return Ok(note_score(app, &id, change.score, now));
    }
    app.state
        .change_session_durably(&id, tells, None, |session| {
            apply(session, change, settings, now)
        })
        .await
}

/// Relaxes a live session to a tier, by a score that was found after a step-up passed in it, and
/// tells of it in the same transaction. False when it may not. Durable when it returns; in effect
/// only then.
///
/// # Errors
/// When it could not be made durable.
pub(crate) async fn relax(
    app: &App,
    id: &str,
    to: (Tier, u8),
    tells: &[NewSecurityEvent],
) -> Result<bool, StoreError> {
    let now = app.inputs.clock.now();
    let settings = &app.settings.sessions;
    let has_relaxed = AtomicBool::new(false);
    let change = |session: &mut SessionRecord| {
        if session.is_over(now) {
            return false;
        }
        let (born, assurance) = (session.birth.at, session.assurance);
        let done = session
            .terms
            .as_mut()
            .is_some_and(|terms| tier::relax(terms, &assurance, to, born, settings));
        has_relaxed.fetch_or(done, Ordering::Relaxed);
        done
    };
    app.state
        .change_session_durably(&id.to_owned(), tells, Some(&Lift::default()), change)
        .await?;
    Ok(has_relaxed.into_inner())
}

/// Notes a score alone, in memory.
fn note_score(
    app: &App,
    id: &String,
    score: Option<u8>,
    now: Timestamp,
) -> Option<Arc<SessionRecord>> {
    let mut noted = None;
    app.state.change_session(id, |known| {
        let Some(session) = known.as_mut().filter(|known| !known.is_over(now)) else {
            return false;
        };
        let is_new = match (&session.terms, score) {
            (Some(terms), Some(_)) => terms.score != score,
            _ => false,
        };
        if is_new && let Some(terms) = &mut Arc::make_mut(session).terms {
            terms.score = score;
        }
        noted = session.terms.is_some().then(|| Arc::clone(session));
        is_new
    });
    noted
}

/// Applies a change. False when there is nothing that it could change.
fn apply(
    session: &mut SessionRecord,
    change: &Change,
    settings: &SessionSettings,
    now: Timestamp,
) -> bool {
    if session.is_over(now) {
        return false;
    }
    let assurance = session.assurance;
    let Some(terms) = &mut session.terms else {
        return false;
    };
    if change.score.is_some() {
        terms.score = change.score;
    }
    if let Some(to) = change.tier {
        tier::tighten(terms, to, settings, now);
    }
    // What was proven meanwhile need not be again: nothing would ever take it away.
    if let Some(wanted) = change.wanted.filter(|wanted| !wanted.is_met_by(&assurance)) {
        let waiting = terms
            .wanted
            .filter(|waiting| !waiting.is_met_by(&assurance));
        terms.wanted = Some(waiting.map_or(wanted, |waiting| waiting.joined_with(wanted)));
    }
    true
}
