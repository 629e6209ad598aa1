//! What happens around a decision: permissions before it; token, record and lesson after it.
//!
//! NIST SP 800-207 calls this the policy administrator. A decision is answered only when its
//! record is durable; a token that was minted for one that is not is thrown away.

use std::sync::Arc;

use domain::record::Manner;
use domain::{
    Assurance, DecisionRecord, EntityRef, Level, Name, RiskLevel, Rung, SessionBirth,
    SessionRecord, Signal, Timestamp,
};
use policy::Question;
use risk::Key;
use store::journal::AppendError;
use token::AccessClaims;
use wire::answer::{SessionView, TokenView};
use wire::{AnswerView, AssuranceClaim, Incoming, Malformed, Sight};

use crate::access::{Caller, Permission};
use crate::app::App;
use crate::engine::{Outcome, Snapshot, decide};
use crate::pip;
use crate::recorder::{self, DrainError};
use crate::settings::SessionSettings;

/// An authentication may be this far in the future before it is refused, seconds: clocks differ.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// A decision that a step-up may follow.
#[derive(Clone, Debug)]
pub struct StepUpTarget {
    /// Whose request it was.
    pub subject: EntityRef,
    /// In which session.
    pub session_id: Option<String>,
    /// What it takes to pass.
    pub needs: Level,
    /// When it was decided, by the engine's clock.
    pub decided_at: Timestamp,
}

/// What a step-up must reach to satisfy a rung; none for rungs that offer none.
fn needed(rung: Rung) -> Option<Level> {
    match rung {
        Rung::Challenge => Some(Level::Challenge),
        Rung::Mfa => Some(Level::Mfa),
        Rung::Allow | Rung::Deny => None,
    }
}

/// Why a question was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The question makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// The record could not be made durable.
    #[error("{0}; ask again in a moment")]
    NotRecorded(#[from] AppendError),
}

/// An answer whose record is durable.
#[derive(Debug)]
pub struct Answered {
    /// The decision and what it rests on.
    pub outcome: Outcome,
    /// Its id.
    pub decision_id: String,
    snapshot: Arc<Snapshot>,
    session: Option<(String, Timestamp)>,
    token: Option<Minted>,
    sight: Sight,
    acr_values: Option<String>,
}

#[derive(Debug)]
struct Minted {
    id: String,
    text: String,
    scope: String,
    life_seconds: u64,
}

impl Answered {
    /// The answer as its caller may see it.
    #[must_use]
    pub fn view(&self) -> AnswerView<'_> {
        AnswerView {
            decision: &self.outcome.decision,
            decision_id: &self.decision_id,
            policy_revision: &self.snapshot.revisions.policies,
            sight: self.sight,
            acr_values: self.acr_values.as_deref(),
            session: self
                .session
                .as_ref()
                .map(|(id, since)| SessionView { id, since: *since }),
            token: self.token.as_ref().map(|token| TokenView {
                access_token: &token.text,
                token_type: "Bearer",
                expires_in: token.life_seconds,
                scope: &token.scope,
            }),
        }
    }
}

/// Answers one question, whole.
///
/// # Errors
/// When the question makes no sense, or its record cannot be made durable.
pub async fn answer(
    app: &App,
    caller: &Caller,
    incoming: Incoming,
    in_batch: bool,
    request_id: &str,
) -> Result<Answered, Unanswered> {
    let now = app.inputs.clock.now();
    let snapshot = Arc::clone(&app.live.current());
    let permits = |permission| app.keys.permits(caller, permission);
    let may_assert = permits(Permission::AssertAssurance);

    let Incoming {
        mut request,
        time,
        assurance,
    } = incoming;
    if permits(Permission::Replay) {
        request.context.time = time.map_err(|Malformed(why)| Unanswered::Malformed(why))?;
    }
    let moment = request.context.time.unwrap_or(now);
    if let Some(claim) = assurance.filter(|_| may_assert) {
        request.context.assurance = Some(believe(&claim, &app.settings.sessions, moment)?);
    }
    let manner = match (in_batch, request.context.dry_run) {
        (true, _) => Manner::Batch,
        (false, true) => Manner::DryRun,
        (false, false) => Manner::Access,
    };

    let signals = pip::gather(app, &request, &snapshot, may_assert, now).await;
    let started = std::time::Instant::now();
    let outcome = decide(&request, &signals, &snapshot, now);
    app.metrics.decided(&outcome, started.elapsed());

    let decision_id = uuid_v7(app, now);
    let is_access = manner == Manner::Access;
    let token =
        if is_access && outcome.decision.rung == Rung::Allow && request.context.time.is_none() {
            mint(app, caller, &request, &outcome, &snapshot, now)
        } else {
            None
        };

    let record = DecisionRecord {
        decision_id: &decision_id,
        at: now,
        time: moment,
        caller: &caller.key_id,
        request_id,
        manner,
        request: &request,
        facts: &outcome.evidence.facts,
        features: outcome.evidence.features.values(),
        decision: &outcome.decision,
        revisions: &snapshot.revisions,
        token_id: token.as_ref().map(|token| token.id.as_str()),
    };
    let line = serde_json::to_vec(&wire::record::WrittenRecord(&record))
        .map_err(|_| AppendError::NotWritten)?;
    app.journal.append(line).await?;

    let mut session = None;
    if is_access {
        session = note_session(app, &request, &signals, &outcome);
        let mut delta = outcome
            .evidence
            .delta(Key::of(&decision_id), outcome.lesson);
        // The profile that was read goes now, so that the one to be changed need not be copied.
        drop(signals);
        // Whoever does not exist gets no profile, or names made up would fill the store; but
        // where such names come from is worth remembering.
        let subject = &request.subject.entity;
        if snapshot.directory.admits(&snapshot.policies, subject) {
            let crowds = pip::crowds(app, &request, &snapshot);
            app.state.learn(subject, crowds, &delta);
        } else {
            delta.attempt.failed = true;
        }
        app.state.count_attempt(&delta.attempt);
        if let Some(needs) = needed(outcome.decision.rung) {
            let target = StepUpTarget {
                subject: request.subject.entity.clone(),
                session_id: request.context.session_id.clone(),
                needs,
                decided_at: now,
            };
            app.step_ups.insert(decision_id.clone(), Arc::new(target));
        }
    }
    let sessions = &app.settings.sessions;
    let acr_values = match outcome.decision.rung {
        Rung::Challenge => Some(sessions.challenge_acr.clone()),
        Rung::Mfa => Some(sessions.mfa_acr.clone()),
        Rung::Allow | Rung::Deny => None,
    };
    let sight = Sight {
        risk: permits(Permission::SeeRisk),
        admin_reason: permits(Permission::SeeAdminReason),
    };
    Ok(Answered {
        outcome,
        decision_id,
        snapshot,
        session,
        token,
        sight,
        acr_values,
    })
}

/// What a caller who may assert assurance says of it.
fn believe(
    claim: &AssuranceClaim,
    sessions: &SessionSettings,
    now: Timestamp,
) -> Result<Assurance, Unanswered> {
    if let Some(at) = claim.auth_time
        && at > now.plus_seconds(CLOCK_SKEW_SECONDS)
    {
        return Err(Unanswered::Malformed(
            "`context.assurance.auth_time` lies in the future".to_owned(),
        ));
    }
    let named = claim.acr.iter().chain(&claim.amr);
    let level = named
        .filter_map(|name| sessions.acr_levels.get(name).copied())
        .chain(claim.level.and_then(Level::from_number))
        .max()
        .unwrap_or_default();
    Ok(Assurance::of(level, claim.auth_time.map(|at| at.min(now))))
}

/// The first sight of a session is its birth; each later one is noted.
fn note_session(
    app: &App,
    request: &domain::AccessRequest,
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

/// Mints the token that was asked for: the scopes that the policies allow, none when there is
/// none (L1 to L5).
fn mint(
    app: &App,
    caller: &Caller,
    request: &domain::AccessRequest,
    outcome: &Outcome,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Minted> {
    let wish = request.context.token.as_ref()?;
    let own = [request.action.name.clone()];
    let wanted: &[Name] = if wish.scope.is_empty() {
        &own
    } else {
        &wish.scope
    };
    let granted: Vec<&str> = wanted
        .iter()
        .filter(|scope| **scope == request.action.name || allows(scope, request, outcome, snapshot))
        .map(Name::as_str)
        .collect();
    if granted.is_empty() {
        return None;
    }
    let scope = granted.join(" ");
    let id = uuid_v7(app, now);
    let life_seconds = app
        .settings
        .token_ttl_seconds
        .min(token::claims::LIFE_MAX_SECONDS);
    let assurance = &outcome.evidence.assurance;
    let sessions = &app.settings.sessions;
    let acr = match assurance.level {
        Level::None => "urn:portreeve:acr:none",
        Level::SingleFactor => "urn:portreeve:acr:single-factor",
        Level::Challenge => &sessions.challenge_acr,
        Level::Mfa => &sessions.mfa_acr,
    };
    let claims = AccessClaims {
        iss: app.public_url(),
        sub: request.subject.entity.id.as_str(),
        aud: &wish.audience,
        client_id: &caller.key_id,
        iat: now.seconds(),
        nbf: now.seconds(),
        exp: token::claims::expiry(now, life_seconds),
        jti: &id,
        scope: &scope,
        sid: request.context.session_id.as_deref(),
        acr,
        auth_time: assurance.at.map(Timestamp::seconds),
        risk: RiskLevel::as_str(outcome.decision.risk.level),
    };
    match token::mint(&app.signer, &claims) {
        Ok(text) => Some(Minted {
            id,
            text,
            scope,
            life_seconds,
        }),
        Err(error) => {
            tracing::error!(%error, "a token could not be signed");
            None
        }
    }
}

/// Whether the policies allow another action to the same subject on the same resource.
fn allows(
    scope: &Name,
    request: &domain::AccessRequest,
    outcome: &Outcome,
    snapshot: &Snapshot,
) -> bool {
    let mut asked = request.clone();
    asked.action.name = scope.clone();
    asked.action.properties.clear();
    let question = Question {
        request: &asked,
        facts: &outcome.evidence.facts,
        assurance: outcome.evidence.assurance,
        now: outcome.time,
        // Only what is allowed as it is.
        interactive: false,
    };
    snapshot.policies.climb(&snapshot.directory, &question).rung == Rung::Allow
}

/// What became of a step-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteppedUp {
    /// The event that waited has been learnt.
    pub learnt: bool,
    /// The session's assurance has been lifted.
    pub session_lifted: bool,
}

/// A step-up was passed for a decision: the session's assurance rises, and what waited is
/// learnt. None when no such decision is known.
///
/// # Errors
/// When it cannot be made durable.
pub async fn step_up(
    app: &App,
    caller: &Caller,
    decision_id: &str,
    level: Level,
    at: Option<Timestamp>,
) -> Result<Option<SteppedUp>, ToldError> {
    let now = app.inputs.clock.now();
    let target = find_target(app, decision_id).await?;
    let in_time = |target: &Arc<StepUpTarget>| {
        now.whole_seconds_since(target.decided_at) <= risk::profile::PENDING_SECONDS
    };
    let Some(target) = target.filter(in_time) else {
        return Ok(None);
    };
    let at = at
        .filter(|_| app.keys.permits(caller, Permission::Replay))
        .unwrap_or(now);
    let told = serde_json::json!({
        "v": wire::record::RECORD_VERSION,
        "kind": "step_up",
        "decision_id": decision_id,
        "at": wire::time::format(now),
        "time": wire::time::format(at),
        "caller": caller.key_id,
        "level": level.number(),
    });
    app.journal.append(told.to_string().into_bytes()).await?;
    // A challenge lifts the session, but proves too little for a request that wants MFA.
    let learnt = level >= target.needs
        && app
            .state
            .confirm(&target.subject, Key::of(decision_id), at)
            .await;
    let session_lifted = match &target.session_id {
        Some(id) => lift_session(app, id, &target.subject, Assurance::of(level, Some(at))).await?,
        None => false,
    };
    Ok(Some(SteppedUp {
        learnt,
        session_lifted,
    }))
}

/// Adds to the assurance of a live session of this subject; false when there is none. Durable
/// when it returns.
pub(crate) async fn lift_session(
    app: &App,
    id: &String,
    subject: &EntityRef,
    passed: Assurance,
) -> Result<bool, store::sqlite::StoreError> {
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
            subject: EntityRef::new(head.subject.0, head.subject.1).ok()?,
            session_id: head.session_id,
            needs,
            decided_at: head.at,
        })
    });
    Ok(target.map(Arc::new))
}

/// A UUIDv7 (RFC 9562 §5.7): ordered by time, so that indexes grow at their end.
fn uuid_v7(app: &App, now: Timestamp) -> String {
    let mut random = [0; 10];
    app.inputs.randomness.fill(&mut random);
    let millis = u64::try_from(now.millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &random)
        .into_uuid()
        .to_string()
}
