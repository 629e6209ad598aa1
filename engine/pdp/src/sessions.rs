//! Sessions, as the callers name them: their birth, their last sight, what was proven in them.

use std::sync::Arc;

use domain::{
    AccessRequest, Assurance, EntityRef, Rung, SessionBirth, SessionRecord, Signal, Timestamp,
};
use store::sqlite::StoreError;

use crate::app::App;
use crate::engine::Outcome;

/// The first sight of a session is its birth; each later one is noted.
pub(crate) fn note_session(
    app: &App,
    request: &AccessRequest,
    signals: &risk::Signals,
    outcome: &Outcome,
) -> Option<(String, Timestamp)> {
    let id = request.context.session_id.as_ref()?;
    let now = outcome.time;
    match &signals.session {
        Signal::Known(session) => {
            app.state.change_session(id, |known| match known {
                Some(known) if known.last_seen < now => {
                    Arc::make_mut(known).last_seen = now;
                    true
                }
                _ => false,
            });
            (session.subject == request.subject.entity).then(|| (id.clone(), session.birth.at))
        }
        Signal::Absent if outcome.decision.rung != Rung::Deny => {
            let facts = &outcome.evidence.facts;
            let birth = SessionBirth {
                at: now,
                ip: request.context.ip,
                country: signals.place.known().and_then(|place| place.country),
                asn: signals.network.known().map(|network| network.asn),
                agent_family: outcome.evidence.agent_family.clone(),
                device_id: facts.device.id.clone(),
            };
            app.state.change_session(id, |known| {
                let is_first = known.is_none();
                known.get_or_insert_with(|| {
                    Arc::new(SessionRecord {
                        id: id.clone(),
                        subject: request.subject.entity.clone(),
                        birth,
                        last_seen: now,
                        assurance: Assurance::default(),
                        ended: false,
                    })
                });
                is_first
            });
            Some((id.clone(), now))
        }
        Signal::Absent | Signal::Unavailable => None,
    }
}

/// Adds to the assurance of a live session of this subject; false when there is none. Durable
/// when it returns.
pub(crate) async fn lift_session(
    app: &App,
    id: &String,
    subject: &EntityRef,
    passed: Assurance,
) -> Result<bool, StoreError> {
    // Loads it, if it is not there.
    let _ = app.state.session(id, app.inputs.clock.now()).await;
    let mut lifted = None;
    app.state.change_session(id, |session| {
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
            app.state.store().put_sessions(&[session]).await?;
            Ok(true)
        }
        None => Ok(false),
    }
}
