//! A challenge or MFA was passed in a session, whoever asked for it.

use domain::{Assurance, Level, SessionRecord, Timestamp};
use std::sync::Arc;
use store::sqlite::{SpentProof, StoreError};

use super::ending::By;
use super::{Answered, Lifted, STEP_UP, lift};
use crate::access::{Caller, Permission, signed};
use crate::app::App;
use crate::step_up::{self, Passed, StepUpError, StepUpTarget, SteppedUp, ToldError};

/// An issuer's clock may be so far behind ours, seconds.
const ISSUER_BEHIND_SECONDS: i64 = 5;

/// A proof that was given in a session.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    /// What it is.
    pub(crate) level: Level,
    /// When it was given.
    pub(crate) at: Timestamp,
    /// The decision that it answers; none: the last one in the session that waits for one.
    pub(crate) decision_id: Option<String>,
    /// What it was given by, where that counts once.
    pub(crate) spends: Option<SpentProof>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Done {
    /// The session as it is now, and its handle from now on.
    pub(crate) lifted: Lifted,
    /// The decision that it answered.
    pub(crate) decision_id: Option<String>,
    /// What waited has been learnt.
    pub(crate) learnt: bool,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDone {
    /// The session is over.
    #[error("the session is over; open another")]
    Over,
    /// The decision does not wait for it.
    #[error("no decision of that id waits for a step-up in this session; it may be too old")]
    NoDecision,
    /// See there.
    #[error("{0}")]
    StepUp(#[from] StepUpError),
}

impl NotDone {
    /// Whether the proof was used before.
    pub(crate) const fn is_spent(&self) -> bool {
        matches!(
            self,
            Self::StepUp(StepUpError::Told(ToldError::Store(StoreError::Spent)))
        )
    }
}

impl<E: Into<ToldError>> From<E> for NotDone {
    fn from(error: E) -> Self {
        Self::StepUp(StepUpError::Told(error.into()))
    }
}

/// Takes in a proof: the session's assurance rises, its tier may relax, it has another handle, and
/// what waited for the proof is learnt. Durable when it returns.
///
/// # Errors
/// When it makes no sense, or cannot be made durable.
pub(crate) async fn step_up(
    app: &App,
    caller: &Caller,
    session: &SessionRecord,
    proof: Proof,
) -> Result<Done, NotDone> {
    let waiting = waiting(app, caller, session, &proof).await?;
    if let Some((decision_id, target)) = waiting {
        let passed = Passed {
            level: proof.level,
            at: proof.at,
            spends: proof.spends,
        };
        let done = step_up::take_in(app, caller, &decision_id, &target, passed).await?;
        let SteppedUp { learnt, session } = done;
        return Ok(Done {
            lifted: session.ok_or(NotDone::Over)?,
            decision_id: Some(decision_id),
            learnt,
        });
    }
    let now = app.inputs.clock.now();
    if session.is_over(now) {
        return Err(NotDone::Over);
    }
    let told = signed(
        serde_json::json!({
            "v": wire::record::RECORD_VERSION,
            "kind": "step_up",
            "session": session.id,
            "at": wire::time::format(now),
            "time": wire::time::format(proof.at),
            "level": proof.level.number(),
        }),
        &caller.by(),
    );
    app.journal.append(told.to_string().into_bytes()).await?;
    let by = caller.by();
    let passed = Assurance::of(proof.level, Some(proof.at));
    let answered = Some(Answered {
        spends: proof.spends,
        ..Answered::default()
    });
    let subject = &session.subject;
    let by = By::holder(&by);
    let lifted = lift(app, &session.id, subject, passed, answered, by, STEP_UP).await?;
    Ok(Done {
        lifted: lifted.ok_or(NotDone::Over)?,
        decision_id: None,
        learnt: false,
    })
}

/// The decision that a proof answers: the one that it names, or the last one in the session that
/// waits for one, as far as it was made before the proof was given and has not had it yet.
async fn waiting(
    app: &App,
    caller: &Caller,
    session: &SessionRecord,
    proof: &Proof,
) -> Result<Option<(String, Arc<StepUpTarget>)>, NotDone> {
    let named = proof.decision_id.clone();
    let is_named = named.is_some();
    let Some(decision_id) = named.or_else(|| app.session_waits.get(&session.id)) else {
        return Ok(None);
    };
    let target = step_up::waiting(app, &decision_id).await?;
    let is_of_session = |target: &Arc<StepUpTarget>| {
        target.session_id.as_ref() == Some(&session.id)
            && target.subject == session.subject
            && target.lifts(session)
    };
    let Some(target) = target.filter(is_of_session) else {
        return if is_named {
            Err(NotDone::NoDecision)
        } else {
            Ok(None)
        };
    };
    let was_asked = target.decided_at.seconds() <= proof.at.seconds() + ISSUER_BEHIND_SECONDS;
    if is_named {
        return if was_asked {
            Ok(Some((decision_id, target)))
        } else {
            Err(NotDone::NoDecision)
        };
    }
    let may_say = target.client_id == caller.client_id
        || app.keys.permits(caller, Permission::ConfirmAnyDecisions);
    let is_open = {
        let [challenge, mfa] = &*target.passed.lock().await;
        mfa.is_none() && (proof.level == Level::Mfa || challenge.is_none())
    };
    Ok((was_asked && may_say && is_open).then_some((decision_id, target)))
}
