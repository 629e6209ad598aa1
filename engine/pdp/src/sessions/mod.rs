//! Sessions: their birth, their last sight, what was proven in them, their end.
//!
//! What a caller sends in `context.session_id` is the id or the handle of a session that was
//! opened with the engine ([`opening`]), or its own word for one. Two applications may use the
//! same word; so such a session is kept under the client and that word ([`name`]).

pub(crate) mod ending;
pub(crate) mod granting;
pub(crate) mod handing;
pub(crate) mod handle;
pub(crate) mod life;
mod lifting;
pub(crate) mod name;
pub(crate) mod opening;
pub(crate) mod sight;
pub(crate) mod stepping_up;
pub(crate) mod tells;
pub(crate) mod tier;
mod tighten;
pub(crate) mod uses;

use std::sync::Arc;

use domain::{
    AccessRequest, Assurance, Cause, EntityRef, Rung, SessionBirth, SessionRecord, Signal,
    Timestamp,
};
use risk::{Signals, binding};

use crate::access::Caller;
use crate::app::App;
use crate::engine::Outcome;
use crate::monitor;

pub(crate) use lifting::{Answered, Lifted, STEP_UP, lift};
pub(crate) use name::{Named, key};
pub(crate) use tighten::{Change, relax, tighten};

/// A session as a caller may use it at a moment: by its own name, and only by its handle, or for
/// one who may assert assurance, with what was proven in it.
#[must_use]
pub(crate) fn seen_by(
    session: &SessionRecord,
    name: &str,
    brings_assurance: bool,
    now: Timestamp,
) -> SessionRecord {
    let mut session = session.clone();
    name.clone_into(&mut session.id);
    session.ended = session.is_over(now);
    if !brings_assurance {
        session.assurance = Assurance::default();
    }
    session
}

/// A session that the engine would know if it were not over.
#[must_use]
pub(crate) fn gone(name: &str, subject: &EntityRef, now: Timestamp) -> SessionRecord {
    SessionRecord {
        id: name.to_owned(),
        subject: subject.clone(),
        birth: SessionBirth {
            at: now,
            ..SessionBirth::default()
        },
        last_seen: now,
        sight: None,
        assurance: Assurance::default(),
        ended: true,
        terms: None,
    }
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
    let agent = signals.agent.as_deref();
    let birth = binding::birth(
        &request.context,
        &signals.place,
        &signals.network,
        agent,
        outcome.time,
    );
    let mut there = None;
    app.state.change_session(&key, |known| {
        let begins = known.is_none();
        let session = known.get_or_insert_with(|| {
            Arc::new(SessionRecord {
                id: key.clone(),
                subject: request.subject.entity.clone(),
                birth,
                last_seen: outcome.time,
                sight: None,
                assurance: Assurance::default(),
                ended: false,
                terms: None,
            })
        });
        there = Some(Arc::clone(session));
        begins
    });
    // A record that was dropped from memory meanwhile is found with the next question.
    there.map(|session| seen_by(&session, name, false, outcome.time))
}

/// Whether an access uses a session, for whatever follows from its use: as its subject, and by
/// its handle or as the client that opened it.
pub(crate) fn is_used(
    caller: &Caller,
    request: &AccessRequest,
    named: &Named,
    session: &SessionRecord,
    outcome: &Outcome,
) -> bool {
    is_own(request, session, outcome) && named.is_holders(caller, session)
}

/// Whoever has an old handle, or another's, has not used the session.
fn is_own(request: &AccessRequest, session: &SessionRecord, outcome: &Outcome) -> bool {
    outcome.decision.cause != Cause::HandleSuperseded && session.subject == request.subject.entity
}

/// Notes that a session was seen, and what the access says of it: a higher score tightens it at
/// once, or ends it ([`monitor::after_access`]). What the session waits for it goes on waiting for,
/// whatever the request brought: that satisfies this one request, and only a step-up in the session
/// all that follow, because that alone gives it another handle ([`lift`]). It, as the caller may
/// see it, if it is the subject's own.
///
/// Whoever only knows its public id is decided with it, and leaves it as it is: ids stand in
/// records and URLs, and nobody's accesses may end another client's session or keep it awake.
pub(crate) async fn note(
    app: &App,
    caller: &Caller,
    request: &AccessRequest,
    session: &SessionRecord,
    is_used: bool,
    outcome: &Outcome,
    decision_id: &str,
) -> Option<SessionRecord> {
    if !is_own(request, session, outcome) {
        return None;
    }
    // The engine's own go by the engine's clock, whatever moment is decided for.
    if !is_used || (session.terms.is_some() && request.context.time.is_some()) {
        return Some(session.clone());
    }
    let key = key(&caller.client_id, &session.id);
    // Or whoever is turned away would keep it from becoming idle.
    if outcome.decision.rung != Rung::Deny {
        touch(app, &key, outcome.time);
    }
    let mut seen = session.clone();
    if session.terms.is_some() && !session.ended {
        sight::note(app, &key, request, outcome).await;
        app.monitor.touched(&key);
        if let Signal::Known(live) = app.state.session(&key, outcome.time).await {
            monitor::after_access(app, &live, outcome, decision_id).await;
        }
        if let Signal::Known(live) = app.state.session(&key, outcome.time).await {
            seen.terms.clone_from(&live.terms);
        }
    }
    Some(seen)
}

/// Says when an access was denied for its session: one that is over, or another subject's. A stolen
/// handle looks like that (E11, O16).
pub(crate) fn note_refused(app: &App, caller: &Caller, request: &AccessRequest, outcome: &Outcome) {
    let cause = outcome.decision.cause;
    if !matches!(
        cause,
        Cause::SessionEnded | Cause::SessionOfAnother | Cause::HandleSuperseded
    ) {
        return;
    }
    app.metrics.session_error(&caller.client_id, cause.code());
    tracing::warn!(
        event = "suspicious_session_access",
        session = request.context.session_id.as_deref(),
        subject = %request.subject.entity,
        client = %caller.client_id,
        ip = request.context.ip.map(|ip| ip.to_string()),
        cause = cause.code(),
        "a session was refused"
    );
}

/// Notes that the session under this key was used.
pub(crate) fn touch(app: &App, key: &String, now: Timestamp) {
    app.state.change_session(key, |known| match known {
        // One that is over is not seen: sight would make an idle one live again.
        Some(known) if !known.is_over(now) && (known.last_seen < now || known.terms.is_some()) => {
            let known = Arc::make_mut(known);
            known.last_seen = known.last_seen.max(now);
            if let Some(terms) = &mut known.terms {
                terms.accesses = terms.accesses.saturating_add(1);
            }
            true
        }
        _ => false,
    });
}
