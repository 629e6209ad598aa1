//! The one function.
//!
//! [`decide`] is synchronous, pure and total: no I/O, no clock, no panic. HTTP, tests and the demo
//! call it. What could go wrong becomes a deny with its cause. Its second half is [`judge`], which
//! replay calls with the evidence that a record holds, and the monitor with that of a live session.

use std::sync::Arc;

use domain::facts::TimeFacts;
use domain::record::Revisions;
use domain::{
    AccessRequest, ActionResult, Cause, DecidingPolicy, Decision, Facts, Reason, RiskAssessment,
    RiskLevel, RiskScore, Rung, Signal, Timestamp,
};
use policy::clock::Zones;
use policy::{Climb, Directory, Policies, Question};
use risk::{Evidence, Lesson, Model, Signals};

/// Everything that is swapped: policies, entities, model, settings of the score. Immutable; a
/// decision sees one from start to end.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Schema and policies.
    pub policies: Arc<Policies>,
    /// Stored entities.
    pub directory: Arc<Directory>,
    /// The model that scores.
    pub model: Arc<Model>,
    /// How the score is put together.
    pub settings: Arc<risk::Settings>,
    /// What all of these are called in records.
    pub revisions: Arc<Revisions>,
    /// From when on it is too old to decide by: the first reload that failed, and
    /// `policies.stale_deny_after` on top. None while the last reload succeeded.
    pub deny_from: Option<Timestamp>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The answer.
    pub decision: Decision,
    /// What it rests on, the score among the facts.
    pub evidence: Evidence,
    /// What the subject's profile may learn from it.
    pub lesson: Lesson,
    /// The moment it was decided for.
    pub time: Timestamp,
}

/// What settles an answer once the score is there: a snapshot without its model.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// Schema and policies.
    pub policies: &'a Policies,
    /// Stored entities.
    pub directory: &'a Directory,
    /// How the score is put together, and who can be asked for a step-up.
    pub settings: &'a risk::Settings,
    /// No step-up is tried: what is not an allow is a deny.
    pub only_allow: bool,
}

impl Snapshot {
    /// All of it but the model.
    #[must_use]
    pub fn basis(&self) -> Basis<'_> {
        Basis {
            policies: &self.policies,
            directory: &self.directory,
            settings: &self.settings,
            only_allow: false,
        }
    }
}

/// Decides one request: gathers the evidence, and judges it.
///
/// `now` is the engine's clock. A request that carries a time of its own (a replay) is decided
/// for that moment; only the age of the snapshot is held against the clock.
#[must_use]
pub fn decide(
    request: &AccessRequest,
    signals: &Signals,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Outcome {
    decide_at(request, signals, snapshot, now, Ask::EVERYTHING)
}

/// What is asked for, besides the plain answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The score is 0, whatever the signals say.
    pub riskless: bool,
    /// Whether it is an allow: no step-up is tried, and what is not an allow is a deny.
    pub only_allow: bool,
}

impl Ask {
    /// The real score, the whole ladder.
    pub const EVERYTHING: Self = Self {
        riskless: false,
        only_allow: false,
    };
}

/// Decides one request as [`decide`] does, under a supposition.
#[must_use]
pub fn decide_at(
    request: &AccessRequest,
    signals: &Signals,
    snapshot: &Snapshot,
    now: Timestamp,
    ask: Ask,
) -> Outcome {
    let time = request.context.time.unwrap_or(now);
    let mut evidence = risk::extract(request, signals, &snapshot.settings, time);
    let refused = refuse(request, signals, snapshot, now);
    let model = &snapshot.model;
    let basis = Basis {
        only_allow: ask.only_allow,
        ..snapshot.basis()
    };
    let decision = if ask.riskless {
        settle(request, &mut evidence, none(model), refused, basis, time)
    } else {
        judge(request, &mut evidence, refused, model, basis, time)
    };
    Outcome {
        lesson: match decision.cause {
            // Whoever has it: what a thief does must not become usual by the holder's proof.
            Cause::HandleSuperseded => Lesson::Counters,
            _ => lesson(decision.rung, decision.risk.level, request.result),
        },
        decision,
        evidence,
        time,
    }
}

/// Judges what is known of a request: scores it, and [`settle`]s the answer. `refused` is what
/// settled it at that moment before any policy was asked; `time` is the moment decided for.
///
/// A decision that is replayed starts here, with the evidence that its record holds.
#[must_use]
pub fn judge(
    request: &AccessRequest,
    evidence: &mut Evidence,
    refused: Option<Cause>,
    model: &Model,
    basis: Basis<'_>,
    time: Timestamp,
) -> Decision {
    let assessed = risk::assess(request, evidence, model, basis.settings);
    let undefined = assessed.is_none().then_some(Cause::ScoreUndefined);
    let risk = assessed.unwrap_or_else(|| worst(model));
    settle(request, evidence, risk, refused.or(undefined), basis, time)
}

/// Settles the answer to a request whose score is known: puts it to the policies, or refuses it.
#[must_use]
pub fn settle(
    request: &AccessRequest,
    evidence: &mut Evidence,
    risk: RiskAssessment,
    refused: Option<Cause>,
    basis: Basis<'_>,
    time: Timestamp,
) -> Decision {
    evidence.facts.time = clock(request, basis, time);
    evidence.facts.risk = risk::score::risk_facts(&risk);
    evidence.facts.assurance = domain::facts::AssuranceFacts::of(&evidence.assurance, time);
    let interactive = !basis.only_allow
        && basis
            .settings
            .is_interactive(request.subject.entity.kind.as_str());
    let climb = match refused {
        Some(cause) => Climb {
            rung: rung_of(cause, interactive),
            cause,
            policies: Vec::new(),
            tried: Vec::new(),
            detail: None,
        },
        None => basis.policies.climb(
            basis.directory,
            &Question {
                request,
                facts: &evidence.facts,
                assurance: evidence.assurance,
                now: time,
                interactive,
            },
        ),
    };
    let reason = explain(&climb, &risk, &evidence.facts);
    Decision {
        rung: climb.rung,
        cause: climb.cause,
        policies: climb.policies,
        reason,
        detail: climb.detail,
        tried: climb.tried,
        risk,
    }
}

/// What is answered where policies are not asked. Who comes with a handle that the session had
/// before may be its holder, whom a thief was quicker than: a second factor, passed in the session,
/// gives them the handle that takes the place of the thief's. It is never an allow, whatever is said
/// to have been proven.
const fn rung_of(refused: Cause, interactive: bool) -> Rung {
    match refused {
        Cause::HandleSuperseded if interactive => Rung::Mfa,
        _ => Rung::Deny,
    }
}

/// The moment, by the clock of the subject's stored time zone too.
pub(crate) fn clock(request: &AccessRequest, basis: Basis<'_>, time: Timestamp) -> TimeFacts {
    let zones = Zones {
        attribute: &basis.settings.time_zone_attribute,
        otherwise: basis.settings.time_zone.as_deref(),
    };
    let subject = &request.subject.entity;
    basis.directory.clock(basis.policies, subject, zones, time)
}

/// What is settled before any policy is asked, whatever the score.
fn refuse(
    request: &AccessRequest,
    signals: &Signals,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Cause> {
    if snapshot.deny_from.is_some_and(|from| now >= from) {
        return Some(Cause::SnapshotStale);
    }
    if signals.given_up {
        return Some(Cause::SourceFailed);
    }
    if let Signal::Known(session) = &signals.session {
        if session.ended {
            return Some(Cause::SessionEnded);
        }
        if session.subject != request.subject.entity {
            return Some(Cause::SessionOfAnother);
        }
        if signals.handle_superseded {
            return Some(Cause::HandleSuperseded);
        }
    }
    None
}

/// What a profile may learn from an answer.
pub(crate) const fn lesson(rung: Rung, level: RiskLevel, result: Option<ActionResult>) -> Lesson {
    match (rung, level, result) {
        (_, _, Some(ActionResult::Failure)) | (Rung::Deny, ..) => Lesson::Counters,
        (Rung::Allow, RiskLevel::High, _) => Lesson::Reserved,
        (Rung::Allow, ..) => Lesson::Baselines,
        (Rung::Challenge | Rung::Mfa, ..) => Lesson::Wait,
    }
}

/// The assessment that a search for subjects supposes.
fn none(model: &Model) -> RiskAssessment {
    RiskAssessment {
        score: RiskScore::MIN,
        level: RiskLevel::Low,
        model_score: RiskScore::MIN,
        rule_score: RiskScore::MIN,
        baseline: 0,
        other: 0,
        factors: Vec::new(),
        rules: Vec::new(),
        model: model.name().clone(),
    }
}

/// The assessment of a request that could not be scored.
fn worst(model: &Model) -> RiskAssessment {
    RiskAssessment {
        score: RiskScore::MAX,
        level: RiskLevel::High,
        model_score: RiskScore::MAX,
        rule_score: RiskScore::MAX,
        baseline: 0,
        other: i32::from(RiskScore::MAX.points()),
        factors: Vec::new(),
        rules: Vec::new(),
        model: model.name().clone(),
    }
}

fn explain(climb: &Climb, risk: &RiskAssessment, facts: &Facts) -> Reason {
    Reason {
        user: for_user(climb),
        admin: for_admin(climb, risk, facts),
    }
}

/// Fit for the subject: the policies' own words, or a plain sentence; never a threshold.
fn for_user(climb: &Climb) -> String {
    // The gravest of them; to hear of a lesser one would mislead.
    let told = climb
        .policies
        .iter()
        .filter(|policy| policy.reason.is_some())
        .min_by_key(|policy| gravity(policy))
        .and_then(|policy| policy.reason.as_deref());
    match (climb.rung, told) {
        (_, Some(reason)) => reason.to_owned(),
        (Rung::Allow, None) => "Access is granted.".to_owned(),
        (Rung::Challenge, None) => "Please confirm that it is you.".to_owned(),
        (Rung::Mfa, None) => "Please confirm with a second factor.".to_owned(),
        (Rung::Deny, None) => match climb.cause {
            Cause::SessionEnded | Cause::SessionOfAnother | Cause::HandleSuperseded => {
                "Please sign in again."
            }
            Cause::PolicyError
            | Cause::SnapshotStale
            | Cause::ScoreUndefined
            | Cause::SourceFailed => "Access cannot be decided at the moment.",
            _ => "Access is not granted.",
        }
        .to_owned(),
    }
}

/// 0 for the gravest `@severity`.
fn gravity(policy: &DecidingPolicy) -> u8 {
    match policy.severity.as_deref() {
        Some("high") => 0,
        Some("medium") => 1,
        _ => 2,
    }
}

fn for_admin(climb: &Climb, risk: &RiskAssessment, facts: &Facts) -> String {
    let mut text = match &climb.cause {
        Cause::Policies if climb.rung == Rung::Allow => {
            format!("permitted by {}", ids(&climb.policies))
        }
        Cause::Policies => format!("forbidden by {}", ids(&climb.policies)),
        Cause::NothingPermits => "no policy permits it".to_owned(),
        Cause::PolicyError => "a policy could not be evaluated".to_owned(),
        Cause::UnknownSubject => "the subject is not stored".to_owned(),
        Cause::UnknownResource => "the resource is not stored".to_owned(),
        Cause::UnknownAction => "the action is not in the schema".to_owned(),
        Cause::ActionDoesNotApply => "the action is not for these types".to_owned(),
        Cause::BadAttribute => "an attribute does not fit the schema".to_owned(),
        Cause::SessionEnded => "the session has ended".to_owned(),
        Cause::SessionOfAnother => "the session is another subject's".to_owned(),
        Cause::HandleSuperseded => {
            "the handle is one that the session had long before; somebody may have a copy"
                .to_owned()
        }
        Cause::ProofWanted => {
            "something has to be proven anew in the session before anything else".to_owned()
        }
        Cause::SnapshotStale => {
            "policies or model could not be reloaded for too long; see /readyz".to_owned()
        }
        Cause::ScoreUndefined => "the score is not a number".to_owned(),
        Cause::SourceFailed => "the store has been failing for too long; see /readyz".to_owned(),
    };
    if let Some(detail) = &climb.detail {
        text.push_str(": ");
        text.push_str(detail);
    }
    text.push_str(&format!("; score {} ({})", risk.score, risk.level.as_str()));
    if !facts.unavailable.is_empty() {
        let names: Vec<&str> = facts
            .unavailable
            .iter()
            .map(|source| source.name())
            .collect();
        text.push_str(&format!("; no answer from {}", names.join(", ")));
    }
    text
}

fn ids(policies: &[Arc<DecidingPolicy>]) -> String {
    let ids: Vec<&str> = policies.iter().map(|policy| &*policy.id).collect();
    ids.join(", ")
}
