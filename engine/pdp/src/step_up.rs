//! Step-ups: a challenge or MFA was passed for a decision.

use std::convert::Infallible;
use std::sync::Arc;

use domain::{Assurance, EntityRef, Level, Rung, SessionRecord, Timestamp};
use risk::Key;
use store::journal::AppendError;
use store::sqlite::{SpentProof, StoreError};
use tokio::sync::Mutex;

use crate::access::{Caller, Permission, signed};
use crate::administrator::CLOCK_SKEW_SECONDS;
use crate::app::App;
use crate::recorder::{self, DrainError};
use crate::sessions::ending::By;
use crate::sessions::name::is_opened_by;
use crate::sessions::{self, Answered, Lifted, STEP_UP, lift};

/// A decision that a step-up may follow.
#[derive(Debug)]
pub struct StepUpTarget {
    /// The client that asked.
    pub client_id: String,
    /// Whose request it was.
    pub subject: EntityRef,
    /// In which session.
    pub session_id: Option<String>,
    /// It was named by its handle, or by a token given in it. After a start this is not known any
    /// more.
    pub(crate) is_by_handle: bool,
    /// What it takes to pass.
    pub needs: Level,
    /// The score that was found.
    pub score: u8,
    /// When it was decided, by the engine's clock.
    pub decided_at: Timestamp,
    /// What came of the challenge and of the MFA that were passed for it. Held while one is taken
    /// in.
    pub(crate) passed: Mutex<[Option<SteppedUp>; 2]>,
}

impl StepUpTarget {
    /// Whether a step-up for it lifts a session: whoever asked by nothing but the id of another
    /// client's has no say in it.
    pub(crate) fn lifts(&self, session: &SessionRecord) -> bool {
        self.is_by_handle || is_opened_by(session, &self.client_id)
    }
}

/// What a step-up must reach to satisfy a rung; none for rungs that offer none.
pub(crate) fn needed(rung: Rung) -> Option<Level> {
    match rung {
        Rung::Challenge => Some(Level::Challenge),
        Rung::Mfa => Some(Level::Mfa),
        Rung::Allow | Rung::Deny => None,
    }
}

/// What became of a step-up.
#[derive(Clone, Debug)]
pub struct SteppedUp {
    /// The event that waited has been learnt.
    pub learnt: bool,
    /// The session whose assurance has been lifted, and its handle from now on.
    pub(crate) session: Option<Lifted>,
}

/// A step-up was passed for a decision: the session's assurance rises, and what waited is
/// learnt. None when no such decision is known.
///
/// Each of the two levels once: told again, it answers the same and makes nothing fresh.
///
/// # Errors
/// When it makes no sense, or cannot be made durable.
pub async fn step_up(
    app: &App,
    caller: &Caller,
    decision_id: &str,
    level: Level,
    at: Option<Timestamp>,
) -> Result<Option<SteppedUp>, StepUpError> {
    let Some(target) = waiting(app, decision_id).await? else {
        return Ok(None);
    };
    let at = moment(app, caller, at)?;
    let passed = Passed {
        level,
        at,
        spends: None,
    };
    take_in(app, caller, decision_id, &target, passed)
        .await
        .map(Some)
}

/// A decision that a step-up may still follow.
///
/// # Errors
/// When it cannot be looked up.
pub(crate) async fn waiting(
    app: &App,
    decision_id: &str,
) -> Result<Option<Arc<StepUpTarget>>, ToldError> {
    let now = app.inputs.clock.now();
    let target = find_target(app, decision_id).await?;
    let in_time = |target: &Arc<StepUpTarget>| {
        now.whole_seconds_since(target.decided_at) <= risk::profile::PENDING_SECONDS
    };
    Ok(target.filter(in_time))
}

/// When a step-up was passed, as far as the caller may say so.
///
/// # Errors
/// When it lies in the future.
pub(crate) fn moment(
    app: &App,
    caller: &Caller,
    at: Option<Timestamp>,
) -> Result<Timestamp, StepUpError> {
    let now = app.inputs.clock.now();
    let at = at
        .filter(|_| app.keys.permits(caller, Permission::Replay))
        .unwrap_or(now);
    if at > now.plus_seconds(CLOCK_SKEW_SECONDS) {
        return Err(StepUpError::InTheFuture);
    }
    // Or it would stay fresh until then.
    Ok(at.min(now))
}

/// A step-up that was passed.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    /// What it proves.
    pub(crate) level: Level,
    /// When.
    pub(crate) at: Timestamp,
    /// What it was passed by, where that counts once.
    pub(crate) spends: Option<SpentProof>,
}

/// Takes in that a step-up was passed for a decision.
///
/// # Errors
/// When it makes no sense, or cannot be made durable.
pub(crate) async fn take_in(
    app: &App,
    caller: &Caller,
    decision_id: &str,
    target: &StepUpTarget,
    passed: Passed,
) -> Result<SteppedUp, StepUpError> {
    let Passed { level, at, spends } = passed;
    let now = app.inputs.clock.now();
    let may_say = target.client_id == caller.client_id
        || app.keys.permits(caller, Permission::ConfirmAnyDecisions);
    if !may_say {
        return Err(StepUpError::OfAnother);
    }
    let mut passed = target.passed.lock().await;
    let [challenge, mfa] = &mut *passed;
    let passed = match level {
        Level::Mfa => mfa,
        _ => challenge,
    };
    if let Some(before) = passed {
        return Ok(before.clone());
    }
    let told = signed(
        serde_json::json!({
            "v": wire::record::RECORD_VERSION,
            "kind": "step_up",
            "decision_id": decision_id,
            "at": wire::time::format(now),
            "time": wire::time::format(at),
            "level": level.number(),
        }),
        &caller.by(),
    );
    app.journal
        .append(told.to_string().into_bytes())
        .await
        .map_err(ToldError::from)?;
    let key = match &target.session_id {
        Some(name) => lifted_by(app, target, sessions::key(&target.client_id, name), now)
            .await
            .map_err(ToldError::from)?,
        None => None,
    };
    let session = match key {
        Some(key) => {
            let answered = Answered {
                score: Some(target.score),
                needs: Some(target.needs),
                spends,
            };
            let by = caller.by();
            lift(
                app,
                &key,
                &target.subject,
                Assurance::of(level, Some(at)),
                Some(answered),
                By::holder(&by),
                STEP_UP,
            )
            .await
            .map_err(ToldError::from)?
        }
        None => None,
    };
    // A challenge lifts the session, but proves too little for a request that wants MFA.
    let learnt = level >= target.needs
        && app
            .state
            .confirm(&target.subject, Key::of(decision_id), at)
            .await;
    Ok(passed.insert(SteppedUp { learnt, session }).clone())
}

/// The key of a decision's session, where a step-up for the decision lifts it.
async fn lifted_by(
    app: &App,
    target: &StepUpTarget,
    key: String,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let session = app.state.session_surely(&key, now).await?;
    Ok(session
        .is_some_and(|session| target.lifts(&session))
        .then_some(key))
}

/// Why a step-up was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum StepUpError {
    /// Nobody has passed it yet.
    #[error("`time` lies in the future")]
    InTheFuture,
    /// Another caller asked for the decision.
    #[error("another client asked for this decision; send the step-up with its key")]
    OfAnother,
    /// It could not be made durable.
    #[error("{0}")]
    Told(#[from] ToldError),
}

/// Why what a caller told was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ToldError {
    /// The journal refused.
    #[error("{0}")]
    Journal(#[from] AppendError),
    /// The store refused.
    #[error("{0}")]
    Store(#[from] store::sqlite::StoreError),
    /// The record could not be found.
    #[error("{0}")]
    Record(#[from] DrainError),
}

async fn find_target(
    app: &App,
    decision_id: &str,
) -> Result<Option<Arc<StepUpTarget>>, DrainError> {
    if let Some(target) = app.step_ups.get(decision_id) {
        return Ok(Some(target));
    }
    let Some(text) = recorder::find(app, decision_id).await? else {
        return Ok(None);
    };
    let target = wire::record::RecordHead::read(&text).and_then(|head| {
        let needs = Rung::from_word(&head.outcome).and_then(needed)?;
        (head.manner == "access").then_some(StepUpTarget {
            client_id: app.keys.client_of(&head.caller),
            subject: EntityRef::new(head.subject.0, head.subject.1).ok()?,
            session_id: head.session_id,
            is_by_handle: false,
            needs,
            score: head.score,
            decided_at: head.at,
            passed: Mutex::default(),
        })
    });
    let Some(target) = target else {
        return Ok(None);
    };
    let found = || Ok::<_, Infallible>(Arc::new(target));
    match app.step_ups.get_or_insert_with(decision_id, found) {
        Ok(target) => Ok(Some(target)),
        Err(never) => match never {},
    }
}
