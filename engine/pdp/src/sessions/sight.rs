//! The last sight of a session: in what circumstances somebody was let through in it. The monitor
//! asks by it while nobody does.

use std::sync::Arc;

use domain::{AccessRequest, Rung, SessionRecord, SessionSight, Signal, Timestamp};

use crate::app::App;
use crate::engine::Outcome;

/// What is seen of a session in a request. `is_enrolled`: its device is recorded, and may be used.
fn of(request: &AccessRequest, is_enrolled: bool, at: Timestamp) -> SessionSight {
    let context = &request.context;
    SessionSight {
        at,
        ip: context.ip,
        user_agent: context.user_agent.as_deref().map(Arc::from),
        device: context.device.clone(),
        is_enrolled,
        enrolled_at: None,
    }
}

/// The first sight of a session, as it is opened.
pub(crate) async fn first(app: &App, request: &AccessRequest, at: Timestamp) -> SessionSight {
    let device = request.context.device.as_ref();
    let record = match device.and_then(|device| device.id.as_ref()) {
        Some(id) => match app.state.device(id, at).await {
            Signal::Known(record) if !record.revoked => Some(record),
            _ => None,
        },
        None => None,
    };
    let own = record
        .as_ref()
        .filter(|record| record.owner.as_ref() == Some(&request.subject.entity));
    SessionSight {
        enrolled_at: own.and_then(|record| record.enrolled_at),
        ..of(request, record.is_some(), at)
    }
}

/// Notes in what circumstances somebody was let through. Who was not let through is perhaps not
/// whose session it is: their circumstances would end it.
pub(crate) fn note(app: &App, key: &String, request: &AccessRequest, outcome: &Outcome) {
    if outcome.decision.rung != Rung::Allow {
        return;
    }
    let at = outcome.time;
    let is_enrolled = outcome.evidence.facts.signals.device_revoked == Some(false);
    let mut moved = false;
    app.state.change_session(key, |known| {
        let is_live = |known: &&mut Arc<SessionRecord>| {
            let is_newer = known.sight.as_ref().is_none_or(|sight| sight.at <= at);
            known.terms.is_some() && !known.is_over(at) && is_newer
        };
        let Some(session) = known.as_mut().filter(is_live) else {
            return false;
        };
        let mut sight = of(request, is_enrolled, at);
        if let Some(before) = &session.sight
            && before.user_agent == sight.user_agent
        {
            sight.user_agent.clone_from(&before.user_agent);
        }
        let device = |sight: &SessionSight| sight.device.as_ref().and_then(|it| it.id.clone());
        moved = session.sight.as_deref().and_then(device) != device(&sight);
        if !moved {
            // As it was when the session came to it, or a new enrolment would pass for the old one.
            sight.enrolled_at = session.sight.as_ref().and_then(|before| before.enrolled_at);
        }
        Arc::make_mut(session).sight = Some(Arc::new(sight));
        true
    });
    let device = request.context.device.as_ref();
    if let Some(id) = device.and_then(|device| device.id.as_ref())
        && moved
    {
        app.monitor.moved(key, id, at);
    }
}
