//! Opening a session with the engine: a decision like any other, then an id, a handle, a row.

use std::net::IpAddr;
use std::sync::Arc;

use domain::{
    AccessRequest, RiskScore, Rung, SecurityEventKind, SessionBirth, SessionRecord, SessionTerms,
    Timestamp,
};
use risk::binding;
use serde_json::json;
use store::journal::AppendError;
use store::sqlite::{SessionFilter, StoreError};

use super::ending::{self, By};
use super::handle::Handle;
use super::{Named, sight, tells, tier};
use crate::access::{Caller, signed};
use crate::administrator::{Admitted, Answered, Unanswered, answer_admitted};
use crate::app::App;
use crate::client::Client;
use crate::engine;
use crate::minting::acr_of;
use crate::monitor::rules::tier_of;
use crate::pip;

/// The action that is asked for, where the schema has it.
pub(crate) const ACTION: &str = "session.create";
/// The type of the resource that it is asked for on; its id is the session's.
pub(crate) const RESOURCE_TYPE: &str = "Session";

/// A session that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: SessionRecord,
    /// Secret: for the caller alone, and only now.
    pub(crate) handle: Handle,
    /// What was decided; none where the policies have no word for it.
    pub(crate) decision: Option<Box<Answered>>,
}

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    /// The question makes no sense, or could not be recorded.
    #[error("{0}")]
    Unanswered(#[from] Unanswered),
    /// The decision is another than allow: a step-up would help, or nothing does.
    #[error("the session was not allowed")]
    NotAllowed(Box<Answered>),
    /// The subject is not stored.
    #[error("the subject is not known here")]
    UnknownSubject,
    /// Its id is none of the engine's.
    #[error("the session has no id of the engine's")]
    NoHandle,
    /// It could not be made durable.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It could not be recorded.
    #[error("{0}")]
    Journal(#[from] AppendError),
}

/// Opens a session for the subject of a request, in the request's circumstances and with its
/// assurance. `request` asks for [`ACTION`] on the session's own [`super::name::new_id`].
pub(crate) async fn open(
    app: &App,
    caller: &Caller,
    request: AccessRequest,
    request_id: &str,
) -> Result<Opened, NotOpened> {
    let now = app.inputs.clock.now();
    let id = request.resource.entity.id.as_str().to_owned();
    let assurance = request.context.assurance.unwrap_or_default();
    let birth = birth(app, &request, now);
    let sight = sight::first(app, &request, now).await;
    let subject = request.subject.entity.clone();
    let (score, decision) = decide(app, caller, request, now, request_id).await?;
    let settings = &app.settings.sessions;
    let levels = app.live.current().settings.levels;
    let tier = tier_of(score, levels);
    // Only what the policies let in at a score at which sessions end goes on at it.
    let [_, _, ends] = levels;
    let granted = match &decision {
        Some(_) => score.points(),
        None => score.points().min(ends.saturating_sub(1)),
    };
    let session = SessionRecord {
        id,
        subject,
        birth,
        last_seen: now,
        sight: Some(Arc::new(sight)),
        assurance,
        ended: false,
        terms: Some(SessionTerms {
            client_id: caller.client_id.clone(),
            expires_at: tier::end(tier, now, settings),
            idle_seconds: i64::try_from(settings.idle.as_secs()).unwrap_or(i64::MAX),
            tier,
            granted_score: Some(granted),
            score: Some(score.points()),
            ..SessionTerms::default()
        }),
    };
    let randomness = &*app.inputs.randomness;
    let handle =
        Handle::random(&session.id, 0, &app.refresh_key, randomness).ok_or(NotOpened::NoHandle)?;
    let hash = handle.sha256();
    let store = app.state.store();
    let most = settings.tier(tier).most;
    if is_full(app, &session, most).await? {
        // Or sessions in use would look idle, and the wrong one make room.
        app.state.flush(now).await?;
    }
    let name = caller.by();
    let by = By::client(caller, &name);
    let displaced = By {
        name: &name,
        ..By::POLICY
    };
    let displaced = ending::now(app, now, displaced, ending::DISPLACED);
    let established = established(app, &session, by, now);
    // From the commit on it may be ended, by the next one that opens or by name: what ends
    // between here and the memory is not held as live.
    let begun = app.state.begin_session();
    let ended = store
        .open_session(&session, &hash, most, &displaced, &[established])
        .await?;
    app.state.session_opened(session.clone(), begun);
    ending::follow(app, &ended, &name, ending::DISPLACED).await;
    record(app, caller, &session, decision.as_deref(), now).await?;
    app.metrics.session_opened(&caller.client_id);
    Ok(Opened {
        session,
        handle,
        decision,
    })
}

/// Whether the subject of a new session has as many live ones with its client as it may have.
async fn is_full(app: &App, new: &SessionRecord, most: u32) -> Result<bool, StoreError> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let filter = SessionFilter {
        client_id: new.terms.as_ref().map(|terms| terms.client_id.as_str()),
        subject: Some(&new.subject),
        live_at: Some(new.birth.at),
        ..SessionFilter::default()
    };
    let live = app.state.store().sessions_page(filter, most).await?;
    Ok(live.len() >= most)
}

/// What others are told of it (CAEP 1.0 session-established).
fn established(
    app: &App,
    session: &SessionRecord,
    by: By<'_>,
    now: Timestamp,
) -> store::sqlite::NewSecurityEvent {
    let mut body = json!({
        "acr": acr_of(session.assurance.level, &app.settings.sessions),
    });
    if let (Some(ip), Some(members)) = (session.birth.ip, body.as_object_mut()) {
        members.insert("ip".to_owned(), ip.to_string().into());
    }
    let kind = SecurityEventKind::SessionEstablished;
    tells::event(session, kind, by, "opened", now, Some(&body))
}

/// Asks the policies, if their schema has a word for it. A set that says nothing of sessions works
/// as it is: a session by itself opens nothing, each access in it is decided. The score counts all
/// the same.
async fn decide(
    app: &App,
    caller: &Caller,
    request: AccessRequest,
    now: Timestamp,
    request_id: &str,
) -> Result<(RiskScore, Option<Box<Answered>>), NotOpened> {
    let snapshot = std::sync::Arc::clone(&app.live.current());
    if !snapshot.policies.knows_action(ACTION) {
        let subject = &request.subject.entity;
        if !snapshot.directory.admits(&snapshot.policies, subject) {
            return Err(NotOpened::UnknownSubject);
        }
        let signals = pip::gather(app, &request, &Named::Nothing, &snapshot, false, now).await;
        let scored = engine::decide(&request, &signals, &snapshot, now);
        return Ok((scored.decision.risk.score, None));
    }
    let admitted = Admitted {
        request,
        now,
        moment: now,
        claims_assurance: false,
        client: Client::default(),
    };
    let answered = answer_admitted(app, caller, admitted, false, request_id).await?;
    let answered = Box::new(answered);
    if answered.outcome.decision.rung == Rung::Allow {
        let score = answered.outcome.decision.risk.score;
        Ok((score, Some(answered)))
    } else {
        Err(NotOpened::NotAllowed(answered))
    }
}

fn birth(app: &App, request: &AccessRequest, now: Timestamp) -> SessionBirth {
    let context = &request.context;
    let located = context
        .ip
        .map(|ip: IpAddr| app.geo.load().locate(ip))
        .unwrap_or_default();
    let agent = context.user_agent.as_deref();
    let agent = agent.and_then(|text| pip::agent(app, text));
    binding::birth(
        context,
        &located.place,
        &located.network,
        agent.as_deref(),
        now,
    )
}

/// On record before it is answered. Never the handle.
async fn record(
    app: &App,
    caller: &Caller,
    session: &SessionRecord,
    decision: Option<&Answered>,
    now: Timestamp,
) -> Result<(), AppendError> {
    let subject = &session.subject;
    let terms = session.terms.as_ref();
    let told = signed(
        serde_json::json!({
            "v": wire::record::RECORD_VERSION,
            "kind": "session",
            "event": "created",
            "session": session.id,
            "subject": { "type": subject.kind.as_str(), "id": subject.id.as_str() },
            "at": wire::time::format(now),
            "client_id": caller.client_id,
            "level": session.assurance.level.number(),
            "tier": terms.map(|terms| terms.tier.as_str()),
            "score": terms.and_then(|terms| terms.score),
            "expires_at": terms.map(|terms| wire::time::format(terms.expires_at)),
            "decision_id": decision.map(|decision| decision.decision_id.as_str()),
        }),
        &caller.by(),
    );
    app.journal.append(told.to_string().into_bytes()).await
}
