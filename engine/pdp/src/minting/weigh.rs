//! What may be granted at the token endpoint: each scope is a decision of its own, by the same
//! `decide` as everything else, about the service as a whole (`Audience::"<aud>"`).
//!
//! Every one of them is on record before a token leaves, the refused ones too. Nothing is learnt
//! from them: a token is asked for by a program's clock, not by what somebody does.

use std::sync::Arc;
use std::time::Instant;

use domain::record::Manner;
use domain::request::Action;
use domain::value::Attributes;
use domain::{
    AccessRequest, Assurance, Cause, DecisionRecord, EntityRef, Name, Party, RequestContext,
    RiskLevel, Rung, Timestamp,
};
use futures_util::future::try_join_all;
use store::journal::AppendError;

use crate::access::Caller;
use crate::administrator::{alert, uuid_v7};
use crate::app::App;
use crate::engine::{Outcome, Snapshot, decide};
use crate::pip;
use crate::sessions;

/// Most scopes of one token here: each is a decision and a record.
pub(crate) const SCOPES_MAX: usize = 16;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wish<'a> {
    /// Whose token.
    pub(crate) subject: &'a EntityRef,
    /// For which service.
    pub(crate) audience: &'a str,
    /// What the policies see as `context.action`.
    pub(crate) properties: Attributes,
    /// What is known of the circumstances; who acts for the subject among it.
    pub(crate) context: RequestContext,
    /// Whether what the session proved counts, and not only what the context says.
    pub(crate) is_of_session: bool,
}

/// What the policies granted.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    /// The id that the token has in the records.
    pub(crate) token_id: String,
    /// The scopes, at least one.
    pub(crate) scopes: Vec<Name>,
    /// How sure one may be of the subject.
    pub(crate) assurance: Assurance,
    /// The band of the highest score.
    pub(crate) risk: RiskLevel,
}

/// Why nothing was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotGranted {
    /// It would be, once the subject has proven more: the `acr` to ask for.
    StepUp(String),
    /// The policies do not know the audience.
    UnknownAudience,
    /// The policies do not know the subject, or its session is over.
    Subject,
    /// The policies say no.
    Refused,
    /// It cannot be decided at the moment.
    Undecided,
    /// It could not be put on record.
    NotRecorded(AppendError),
}

/// Asks the policies for each of these scopes, and puts every answer on record.
pub(crate) async fn weigh(
    app: &App,
    caller: &Caller,
    wish: &Wish<'_>,
    scopes: &[Name],
    request_id: &str,
    now: Timestamp,
) -> Result<Granted, NotGranted> {
    let snapshot = Arc::clone(&app.live.current());
    let Some(first) = scopes.first() else {
        return Err(NotGranted::Refused);
    };
    let mut request = question(app, wish, first)?;
    let named = sessions::name::find(app, caller, &mut request.context, now).await;
    let signals = pip::gather(app, &request, &named, &snapshot, wish.is_of_session, now).await;
    let mut decided = Vec::with_capacity(scopes.len());
    for scope in scopes {
        request.action.name = scope.clone();
        let started = Instant::now();
        let outcome = decide(&request, &signals, &snapshot, now);
        app.metrics.decided(&outcome, started.elapsed());
        decided.push((uuid_v7(app, now), request.clone(), outcome));
    }
    let token_id = uuid_v7(app, now);
    let lines: Vec<Vec<u8>> = decided
        .iter()
        .map(|(decision_id, request, outcome)| {
            let is_granted = outcome.decision.rung == Rung::Allow;
            let of = Recorded {
                decision_id,
                request,
                outcome,
                token_id: is_granted.then_some(&token_id),
            };
            of.line(caller, &snapshot, request_id, now)
        })
        .collect::<Result<_, _>>()
        .map_err(|_| NotGranted::NotRecorded(AppendError::NotWritten))?;
    try_join_all(lines.into_iter().map(|line| app.journal.append(line)))
        .await
        .map_err(NotGranted::NotRecorded)?;
    for (decision_id, request, outcome) in &decided {
        alert(app, request, &outcome.decision, decision_id);
    }
    let allowed = |outcome: &Outcome| outcome.decision.rung == Rung::Allow;
    let scopes: Vec<Name> = decided
        .iter()
        .filter(|(_, _, outcome)| allowed(outcome))
        .map(|(_, request, _)| request.action.name.clone())
        .collect();
    let outcomes = || decided.iter().map(|(_, _, outcome)| outcome);
    let highest = outcomes()
        .filter(|outcome| allowed(outcome))
        .max_by_key(|outcome| outcome.decision.risk.score);
    match highest {
        Some(outcome) => Ok(Granted {
            token_id,
            scopes,
            assurance: outcome.evidence.assurance,
            risk: outcome.decision.risk.level,
        }),
        None => Err(refusal(app, outcomes())),
    }
}

fn question(app: &App, wish: &Wish<'_>, scope: &Name) -> Result<AccessRequest, NotGranted> {
    let kind = app.settings.audience_type.clone();
    let id = Name::new(wish.audience).map_err(|_| NotGranted::UnknownAudience)?;
    let party = |entity: EntityRef| Party {
        entity,
        properties: Attributes::new(),
    };
    Ok(AccessRequest {
        subject: party(wish.subject.clone()),
        action: Action {
            name: scope.clone(),
            properties: wish.properties.clone(),
        },
        resource: party(EntityRef { kind, id }),
        context: wish.context.clone(),
        result: None,
    })
}

/// What to say when none of the scopes is granted. A step-up comes first, since it is all that
/// the subject can do about it.
fn refusal<'o>(app: &App, outcomes: impl Iterator<Item = &'o Outcome> + Clone) -> NotGranted {
    let decisions = outcomes.map(|outcome| &outcome.decision);
    let step_up = decisions
        .clone()
        .map(|decision| decision.rung)
        .filter(|rung| matches!(rung, Rung::Challenge | Rung::Mfa))
        .min();
    let sessions = &app.settings.sessions;
    match step_up {
        Some(Rung::Challenge) => return NotGranted::StepUp(sessions.challenge_acr.clone()),
        Some(_) => return NotGranted::StepUp(sessions.mfa_acr.clone()),
        None => {}
    }
    let because = |wanted: &[Cause]| {
        decisions
            .clone()
            .any(|decision| wanted.contains(&decision.cause))
    };
    if because(&[
        Cause::SnapshotStale,
        Cause::ScoreUndefined,
        Cause::SourceFailed,
    ]) {
        NotGranted::Undecided
    } else if because(&[
        Cause::SessionEnded,
        Cause::SessionOfAnother,
        Cause::HandleSuperseded,
        Cause::UnknownSubject,
    ]) {
        NotGranted::Subject
    } else if because(&[Cause::UnknownResource]) {
        NotGranted::UnknownAudience
    } else {
        NotGranted::Refused
    }
}

/// One decision, to be put on record.
struct Recorded<'a> {
    decision_id: &'a str,
    request: &'a AccessRequest,
    outcome: &'a Outcome,
    token_id: Option<&'a String>,
}

impl Recorded<'_> {
    fn line(
        &self,
        caller: &Caller,
        snapshot: &Snapshot,
        request_id: &str,
        now: Timestamp,
    ) -> serde_json::Result<Vec<u8>> {
        let record = DecisionRecord {
            decision_id: self.decision_id,
            at: now,
            time: now,
            caller: &caller.key_id,
            caller_token: caller.token_id.as_deref(),
            request_id,
            manner: Manner::Token,
            request: self.request,
            facts: &self.outcome.evidence.facts,
            features: self.outcome.evidence.features.values(),
            decision: &self.outcome.decision,
            revisions: &snapshot.revisions,
            shadow: None,
            token_id: self.token_id.map(String::as_str),
        };
        serde_json::to_vec(&wire::record::WrittenRecord(&record))
    }
}
