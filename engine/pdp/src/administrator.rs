//! What happens around a decision: permissions before it; token, record and lesson after it.
//!
//! NIST SP 800-207 calls this the policy administrator. A decision is answered only when its
//! record is durable; a token that was minted for one that is not is thrown away.

use std::sync::Arc;

use domain::record::{Manner, Shadowed};
use domain::{
    AccessRequest, Assurance, Decision, DecisionRecord, Level, Rung, SessionRecord, Signal,
    Timestamp,
};
use futures_util::future::join;
use risk::Key;
use store::journal::AppendError;
use token::dpop::Replayed;
use tokio::sync::Mutex;
use wire::answer::{SessionView, TokenErrorView, TokenView};
use wire::{AnswerView, AssuranceClaim, Incoming, Malformed, Sight};

use crate::access::{Caller, Permission};
use crate::app::App;
use crate::behaviour;
use crate::client::Client;
use crate::engine::{Outcome, Snapshot, decide};
use crate::load::Overloaded;
use crate::minting::Minted;
use crate::minting::with_answer::{NoToken, mint};
use crate::pip;
use crate::publishing::shadow::is_on_record;
use crate::rates::TooOften;
use crate::sessions::handle::Handle;
use crate::sessions::name::is_id;
use crate::sessions::{self, Named};
use crate::settings::SessionSettings;
use crate::step_up::{StepUpTarget, needed};

/// What a caller says may lie this far in the future before it is refused, seconds: clocks differ.
pub(crate) const CLOCK_SKEW_SECONDS: i64 = 60;

/// Why a question was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The question makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// There is too much to decide.
    #[error("{0}")]
    Overloaded(#[from] Overloaded),
    /// The subject asks too often.
    #[error("{0}")]
    TooOften(#[from] TooOften),
    /// The proof of possession does not count, or that cannot be told.
    #[error("{0}")]
    Proof(#[from] Replayed),
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
    session: Option<SessionRecord>,
    /// The handle to be sent from now on, where it is another.
    handle: Option<Handle>,
    token: Option<Minted>,
    no_token: Option<NoToken>,
    sight: Sight,
    acr_values: Option<String>,
}

impl Answered {
    /// `acr_values` to ask for, when a step-up would help.
    pub(crate) fn acr_values(&self) -> Option<&str> {
        self.acr_values.as_deref()
    }

    /// The handle to be sent from now on, where it is another.
    pub(crate) const fn handle(&self) -> Option<&Handle> {
        self.handle.as_ref()
    }

    /// The session that it was decided in, if it is the subject's own.
    pub(crate) const fn session(&self) -> Option<&SessionRecord> {
        self.session.as_ref()
    }

    /// The token that was minted, or why there is none although one was asked for.
    pub(crate) fn token(&self) -> Option<Result<&Minted, &NoToken>> {
        let minted = self.token.as_ref().map(Ok);
        minted.or_else(|| self.no_token.as_ref().map(Err))
    }

    /// What its caller may see of it.
    pub(crate) const fn sight(&self) -> Sight {
        self.sight
    }

    /// The answer as its caller may see it.
    #[must_use]
    pub fn view(&self) -> AnswerView<'_> {
        AnswerView {
            decision: &self.outcome.decision,
            decision_id: &self.decision_id,
            policy_revision: &self.snapshot.revisions.policies,
            sight: self.sight,
            acr_values: self.acr_values.as_deref(),
            session: self.session.as_ref().map(|session| SessionView {
                id: &session.id,
                since: session.birth.at,
                expires_at: session.terms.as_ref().map(|terms| terms.expires_at),
                tier: session.terms.as_ref().map(|terms| terms.tier.as_str()),
                handle: self.handle.as_ref().map(Handle::as_str),
            }),
            token: self.token.as_ref().map(|token| TokenView {
                access_token: &token.text,
                token_type: token.token_type,
                expires_in: token.life_seconds,
                scope: &token.scope,
            }),
            token_error: self.no_token.as_ref().map(|no_token| TokenErrorView {
                error: no_token.error,
                error_description: &no_token.why,
            }),
        }
    }
}

/// Answers one question, whole.
///
/// # Errors
/// When the question makes no sense, its subject asks too often, or its record cannot be made durable.
pub async fn answer(
    app: &App,
    caller: &Caller,
    incoming: Incoming,
    in_batch: bool,
    request_id: &str,
) -> Result<Answered, Unanswered> {
    let now = app.inputs.clock.now();
    let admitted = admit(app, caller, incoming, now)?;
    answer_admitted(app, caller, admitted, in_batch, request_id).await
}

/// Answers a question from which is gone what its caller may not say.
///
/// # Errors
/// When its subject asks too often, or its record cannot be made durable.
pub(crate) async fn answer_admitted(
    app: &App,
    caller: &Caller,
    admitted: Admitted,
    in_batch: bool,
    request_id: &str,
) -> Result<Answered, Unanswered> {
    let deciding = app.load.begin(&caller.client_id, in_batch);
    let _deciding = deciding.inspect_err(|_| app.metrics.door.shed())?;
    let coming = app.journal.announce();
    let snapshot = Arc::clone(&app.live.current());
    let permits = |permission| app.keys.permits(caller, permission);
    let may_assert = permits(Permission::AssertAssurance);
    let Admitted {
        mut request,
        now,
        moment,
        claims_assurance,
        client,
    } = admitted;
    let mut named = sessions::name::find(app, caller, &mut request.context, now).await;
    if client.names_session_by_token {
        named = named.by_token();
    }
    // An assurance that somebody only supposes must neither teach nor open anything.
    let supposes = claims_assurance && !permits(Permission::MintTokens);
    let counts = permits(Permission::Access) && (!supposes || request.context.time.is_some());
    let manner = match (in_batch, request.context.dry_run || !counts) {
        (true, _) => Manner::Batch,
        (false, true) => Manner::DryRun,
        (false, false) => Manner::Access,
    };

    let is_access = manner == Manner::Access;
    // Before anything is gathered, counted or learnt: it was never asked.
    if is_access && request.context.time.is_none() {
        app.rates
            .subject(&request.subject.entity, client.comes_from)?;
    }
    // After the limits, so that nobody fills the memory of proofs faster than they let through.
    if let Some(proof) = &client.proof {
        app.proofs.spend(proof, now)?;
    }
    let mut signals = pip::gather(app, &request, &named, &snapshot, may_assert, now).await;
    if let (Some(holder), Signal::Known(session)) = (&client.holder, &mut signals.session)
        && session.subject == *holder
    {
        session.subject.clone_from(&request.subject.entity);
    }
    let started = std::time::Instant::now();
    let mut outcome = decide(&request, &signals, &snapshot, now);
    let begun = is_access.then(|| sessions::begin(app, caller, &request, &signals, &outcome));
    if let Some(session) = begun.flatten() {
        let is_own = session.subject == request.subject.entity;
        signals.session = Signal::Known(session);
        if !is_own {
            // Another subject began it at the same time: it is decided as if they had come first.
            outcome = decide(&request, &signals, &snapshot, now);
        }
    }
    app.metrics.decided(&outcome, started.elapsed());

    let decision_id = uuid_v7(app, now);
    let may_mint = is_access
        && outcome.decision.rung == Rung::Allow
        && request.context.time.is_none()
        && permits(Permission::MintTokens);
    let token = if may_mint {
        let original = client.original.as_deref();
        mint(app, caller, &request, original, &outcome, &snapshot, now).await
    } else {
        None
    };
    let (token, no_token) = match token {
        Some(Ok(token)) => (Some(token), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };

    // Some have on record what a candidate makes of them, and are asked before it is written.
    let shadow = app.publishing.shadow().filter(|_| is_access);
    let chance = decision_id.bytes().last().unwrap_or_default();
    let on_record = shadow.as_ref().filter(|_| is_on_record(chance));
    let shadowed = on_record.and_then(|shadow| {
        let rung = shadow.look(&request, &outcome, &snapshot, &decision_id)?;
        let revision = &*shadow.revision;
        Some(Shadowed { revision, rung })
    });
    let record = DecisionRecord {
        decision_id: &decision_id,
        at: now,
        time: moment,
        caller: &caller.key_id,
        caller_token: caller.token_id.as_deref(),
        request_id,
        manner,
        request: &request,
        facts: &outcome.evidence.facts,
        features: outcome.evidence.features.values(),
        decision: &outcome.decision,
        revisions: &snapshot.revisions,
        shadow: shadowed,
        token_id: token.as_ref().map(|token| token.id.as_str()),
    };
    let line = serde_json::to_vec(&wire::record::WrittenRecord(&record))
        .map_err(|_| AppendError::NotWritten)?;
    // While the disk writes: what challenger and candidate make of it costs the answer nothing.
    let compared = async {
        if is_access {
            app.models.look(&outcome, &snapshot.settings, now);
        }
        if let Some(shadow) = shadow.as_ref().filter(|_| on_record.is_none()) {
            shadow.look(&request, &outcome, &snapshot, &decision_id);
        }
    };
    let (written, ()) = join(coming.append(line), compared).await;
    written?;

    let mut session = None;
    let mut handle = None;
    if is_access {
        if let Named::Kept {
            handle: Some(presented),
            ..
        } = &named
        {
            let told = sessions::handing::alarm(app, presented, &decision_id, now).await;
            if let Err(error) = told {
                tracing::error!(%error, "an old handle could not be told of");
            }
            if !outcome.decision.cause.is_of_the_moment() {
                handle = sessions::handing::follow(app, presented, now).await;
            }
        }
        sessions::note_refused(app, caller, &request, &outcome);
        alert(app, &request, &outcome.decision, &decision_id);
        let known = signals.session.known();
        let is_used =
            known.is_some_and(|known| sessions::is_used(caller, &request, &named, known, &outcome));
        session = match known {
            Some(known) => {
                sessions::note(
                    app,
                    caller,
                    &request,
                    known,
                    is_used,
                    &outcome,
                    &decision_id,
                )
                .await
            }
            None => None,
        };
        let mut delta = outcome
            .evidence
            .delta(Key::of(&decision_id), outcome.lesson);
        if is_used {
            behaviour::note(app, caller, &request, &outcome, &signals.profile, &snapshot);
        }
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
        if let (Rung::Allow, Some(session)) = (outcome.decision.rung, &request.context.session_id)
            && is_used
        {
            // What waited there, if anything did, was asked again.
            app.session_waits.remove(session);
        }
        if let Some(needs) = needed(outcome.decision.rung) {
            let target = StepUpTarget {
                client_id: caller.client_id.clone(),
                // Nobody proves anything for another than themselves.
                subject: client
                    .holder
                    .filter(|_| request.context.session_id.is_some())
                    .unwrap_or_else(|| request.subject.entity.clone()),
                session_id: request.context.session_id.clone(),
                is_by_handle: named.is_by_holder(),
                needs,
                score: outcome.decision.risk.score.points(),
                decided_at: now,
                passed: Mutex::default(),
            };
            let waits_in = target.session_id.as_ref().filter(|name| is_id(name));
            if let Some(session) = waits_in.filter(|_| is_used) {
                app.session_waits
                    .insert(session.clone(), decision_id.clone());
            }
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
        handle,
        token,
        no_token,
        sight,
        acr_values,
    })
}

/// Tells those who watch of an access that rests on a policy with an `@alert`, as soon as it is on
/// record.
pub(crate) fn alert(app: &App, request: &AccessRequest, decision: &Decision, decision_id: &str) {
    for (policy, alert) in decision.alerts() {
        app.metrics.alerted(&policy.id);
        tracing::warn!(
            decision_id,
            policy = &*policy.id,
            outcome = decision.rung.as_str(),
            subject = %request.subject.entity,
            action = %request.action.name,
            resource = %request.resource.entity,
            "{alert}"
        );
    }
}

/// A question without what its caller may not say.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The question, with the moment and the assurance that the caller may give it.
    pub(crate) request: AccessRequest,
    /// When it was asked. The clock is read once: an access is on record as decided for the moment
    /// it was made at, and only what is replayed for another.
    pub(crate) now: Timestamp,
    /// The moment to decide for.
    pub(crate) moment: Timestamp,
    /// Whether an assurance was claimed, believed or not.
    pub(crate) claims_assurance: bool,
    /// What a gateway's client showed.
    pub(crate) client: Client,
}

/// Takes a question over, and leaves out what its caller may not say.
pub(crate) fn admit(
    app: &App,
    caller: &Caller,
    incoming: Incoming,
    now: Timestamp,
) -> Result<Admitted, Unanswered> {
    let permits = |permission| app.keys.permits(caller, permission);
    let Incoming {
        mut request,
        time,
        assurance,
        proven,
    } = incoming;
    if permits(Permission::Replay) {
        request.context.time = time.map_err(|Malformed(why)| Unanswered::Malformed(why))?;
    }
    let moment = request.context.time.unwrap_or(now);
    // What is learnt there would be newer than everything that really happens for years.
    if moment > now.plus_seconds(CLOCK_SKEW_SECONDS) {
        return Err(Unanswered::Malformed(
            "`context.time` lies in the future; what has not happened cannot be replayed"
                .to_owned(),
        ));
    }
    let claims_assurance = assurance.is_some();
    if let Some(claim) = assurance.filter(|_| permits(Permission::AssertAssurance)) {
        request.context.assurance = Some(believe(&claim, &app.settings.sessions, moment)?);
    }
    if let Some(device) = &mut request.context.device {
        // A gateway says which key its own client proved to it; anybody else proves their own.
        let said = device.proven.take();
        device.proven = said
            .filter(|_| permits(Permission::AssertAssurance))
            .or(proven);
    }
    Ok(Admitted {
        request,
        now,
        moment,
        claims_assurance,
        client: Client::default(),
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

/// A UUIDv7 (RFC 9562 §5.7): ordered by time, so that indexes grow at their end.
pub(crate) fn uuid_v7(app: &App, now: Timestamp) -> String {
    let mut random = [0; 10];
    app.inputs.randomness.fill(&mut random);
    let millis = u64::try_from(now.millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &random)
        .into_uuid()
        .to_string()
}
