//! Sessions, as the callers name them: their birth, their last sight, what was proven in them.
//!
//! What a caller sends in `context.session_id` is its own word for a session. Two applications
//! may use the same word; so a session is kept under the client and that word.

use std::sync::Arc;

use domain::{
    AccessRequest, Assurance, EntityRef, Rung, SessionBirth, SessionRecord, Signal, Timestamp,
};
use risk::Signals;
use store::sqlite::StoreError;

use crate::access::Caller;
use crate::app::App;
use crate::engine::Outcome;

/// Under what a session is kept: the client that named it, and the name. Clients have no slash.
#[must_use]
pub(crate) fn key(caller: &str, name: &str) -> String {
    format!("{caller}/{name}")
}

/// A session as a caller may use it: by its own name, and only one who may assert assurance
/// brings the session's.
#[must_use]
pub(crate) fn seen_by(session: &SessionRecord, name: &str, may_assert: bool) -> SessionRecord {
    let mut session = session.clone();
    name.clone_into(&mut session.id);
    if !may_assert {
        session.assurance = Assurance::default();
    }
    session
}

/// The first sight of a session is its birth. None when there is none to begin; else what is
/// under this name from now on, which is another's if somebody was quicker.
pub(crate) fn begin(
    app: &App,
    caller: &Caller,
    request: &AccessRequest,
    signals: &Signals,
    outcome: &Outcome,
) -> Option<SessionRecord> {
    let name = request.context.session_id.as_ref()?;
    let is_first = matches!(signals.session, Signal::Absent);
    if !is_first || outcome.decision.rung == Rung::Deny {
        return None;
    }
    let key = key(&caller.client_id, name);
    let birth = SessionBirth {
        at: outcome.time,
        ip: request.context.ip,
        country: signals.place.known().and_then(|place| place.country),
        asn: signals.network.known().map(|network| network.asn),
        agent_family: outcome.evidence.agent_family.clone(),
        device_id: outcome.evidence.facts.device.id.clone(),
    };
    let mut there = None;
    app.state.change_session(&key, |known| {
        let begins = known.is_none();
        let session = known.get_or_insert_with(|| {
            Arc::new(SessionRecord {
                id: key.clone(),
                subject: request.subject.entity.clone(),
                birth,
                last_seen: outcome.time,
                assurance: Assurance::default(),
                ended: false,
                terms: None,
            })
        });
        there = Some(Arc::clone(session));
        begins
    });
    // A record that was dropped from memory meanwhile is found with the next question.
    there.map(|session| seen_by(&session, name, false))
}

/// Notes that a session was seen. Its name and birth, if it is the subject's own.
pub(crate) fn note(
    app: &App,
    caller: &Caller,
    request: &AccessRequest,
    session: &SessionRecord,
    now: Timestamp,
) -> Option<(String, Timestamp)> {
    if session.subject != request.subject.entity {
        return None;
    }
    let key = key(&caller.client_id, &session.id);
    app.state.change_session(&key, |known| match known {
        Some(known) if known.last_seen < now => {
            Arc::make_mut(known).last_seen = now;
            true
        }
        _ => false,
    });
    Some((session.id.clone(), session.birth.at))
}

/// Adds to the assurance of a live session of this subject; false when there is none. Durable
/// when it returns.
pub(crate) async fn lift_session(
    app: &App,
    key: &String,
    subject: &EntityRef,
    passed: Assurance,
) -> Result<bool, StoreError> {
    // Loads it, if it is not there.
    let _ = app.state.session(key, app.inputs.clock.now()).await;
    let mut lifted = None;
    app.state.change_session(key, |session| {
        let Some(session) = session else { return false };
        if session.ended || session.subject != *subject {
            return false;
        }
        let session = Arc::make_mut(session);
        session.assurance = session.assurance.merged_with(passed);
        lifted = Some(session.clone());
        true
    });
    match lifted {
        Some(session) => {
            app.state.write_session(session).await?;
            Ok(true)
        }
        None => Ok(false),
    }
}
