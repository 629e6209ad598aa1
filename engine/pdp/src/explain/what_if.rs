//! What would have made it an allow: the same record settled once more with one thing changed.

use std::sync::Arc;

use domain::facts::{Fact, group};
use domain::{Cause, Decision, RiskAssessment, RiskLevel, RiskScore, Rung};
use risk::{Evidence, Features};
use wire::record::replay::Recorded;

use crate::engine::{Basis, settle};
use crate::replay::{assessment, refused};

/// One change, and what it would have led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// In words: `signals.tor = false`.
    pub change: String,
    /// The answer then.
    pub becomes: Rung,
}

/// The words of a harmless request. Some are tried even where nothing was known, because a
/// policy may ask for them.
const HARMLESS: &[(&str, &str, Fact<'static>, bool)] = &[
    ("signals", "known_device", Fact::Bool(true), true),
    ("signals", "device_trust", Fact::Long(100), true),
    ("signals", "device_age_days", Fact::Long(365), false),
    (
        "signals",
        "device_fingerprint_changed",
        Fact::Bool(false),
        false,
    ),
    ("signals", "device_revoked", Fact::Bool(false), false),
    ("signals", "device_of_another", Fact::Bool(false), false),
    ("signals", "new_country", Fact::Bool(false), false),
    ("signals", "new_network", Fact::Bool(false), false),
    ("signals", "new_agent", Fact::Bool(false), false),
    ("signals", "distance_km", Fact::Long(0), false),
    ("signals", "implied_speed_kmh", Fact::Long(0), false),
    ("signals", "impossible_travel", Fact::Bool(false), false),
    ("signals", "anonymiser", Fact::Bool(false), false),
    ("signals", "tor", Fact::Bool(false), false),
    ("signals", "relay", Fact::Bool(false), false),
    ("signals", "hosting", Fact::Bool(false), false),
    ("signals", "corporate_exit", Fact::Bool(true), true),
    ("signals", "threat_address", Fact::Bool(false), false),
    ("signals", "unusual_hour", Fact::Bool(false), false),
    ("signals", "address_abuse", Fact::Long(0), false),
    ("signals", "prefix_abuse", Fact::Long(0), false),
    ("signals", "asn_abuse", Fact::Long(0), false),
    ("signals", "requests_5m", Fact::Long(1), false),
    ("signals", "requests_1h", Fact::Long(1), false),
    ("signals", "requests_1d", Fact::Long(1), false),
    ("signals", "new_objects_1m", Fact::Long(0), false),
    ("signals", "objects_5m", Fact::Long(1), false),
    ("signals", "objects_1h", Fact::Long(1), false),
    ("signals", "objects_1d", Fact::Long(1), false),
    ("signals", "recent_failures", Fact::Long(0), false),
    ("signals", "refused_prompts", Fact::Long(0), false),
    ("signals", "recent_risk", Fact::Long(0), false),
    ("signals", "resource_sensitivity", Fact::Long(0), false),
    ("signals", "new_resource", Fact::Bool(false), false),
    ("signals", "new_action", Fact::Bool(false), false),
    (
        "signals",
        "session_network_changed",
        Fact::Bool(false),
        false,
    ),
    (
        "signals",
        "session_country_changed",
        Fact::Bool(false),
        false,
    ),
    (
        "signals",
        "session_device_changed",
        Fact::Bool(false),
        false,
    ),
    ("signals", "session_agent_changed", Fact::Bool(false), false),
    ("signals", "session_moved", Fact::Bool(false), false),
    (
        "signals",
        "session_prefix_changed",
        Fact::Bool(false),
        false,
    ),
    (
        "signals",
        "session_agent_downgraded",
        Fact::Bool(false),
        false,
    ),
    (
        "signals",
        "session_device_similarity",
        Fact::Long(100),
        false,
    ),
    ("signals", "session_anomaly", Fact::Long(0), false),
    ("signals", "dormant_days", Fact::Long(0), false),
    ("device", "managed", Fact::Bool(true), true),
    ("device", "compliant", Fact::Bool(true), true),
    ("device", "trust", Fact::Long(100), true),
];

/// Every single change that would have led to less friction, those that lead to an allow first.
/// Changes are to facts alone: the score stays what it was, but where it is what is changed.
#[must_use]
pub(super) fn ways(recorded: &Recorded, basis: Basis<'_>) -> Vec<Way> {
    if recorded.outcome == Rung::Allow {
        return Vec::new();
    }
    if refused(recorded).is_some() {
        return another_moment(recorded, basis).into_iter().collect();
    }
    let trial = Trial { recorded, basis };
    let mut ways = Vec::new();
    ways.extend(trial.lower_score());
    // Who cannot be asked has no step-up to pass.
    let kind = recorded.request.subject.entity.kind.as_str();
    let steps = STEPS.iter().filter(|_| basis.settings.is_interactive(kind));
    for (text, lift) in steps {
        let mut evidence = trial.evidence();
        evidence.assurance = lift(evidence.assurance, recorded.time);
        // What the session waits for would have come with it.
        let wanted = &mut evidence.facts.session.required_level;
        *wanted = wanted.filter(|level| *level > evidence.assurance.level.number());
        ways.extend(trial.way((*text).to_owned(), evidence, None));
    }
    for (group_name, name, value, even_if_unknown) in HARMLESS {
        let words = group(group_name).map_or(&[][..], |group| group.words);
        let Some(word) = words.iter().find(|word| word.name == *name) else {
            continue;
        };
        let was = (word.get)(&recorded.facts);
        if was == Some(*value) || was.is_none() && !even_if_unknown {
            continue;
        }
        let mut evidence = trial.evidence();
        if !(word.set)(&mut evidence.facts, *value) {
            continue;
        }
        let value = match value {
            Fact::Bool(value) => value.to_string(),
            Fact::Long(value) => value.to_string(),
            _ => continue,
        };
        ways.extend(trial.way(format!("{group_name}.{name} = {value}"), evidence, None));
    }
    ways.sort_by_key(|way| way.becomes);
    ways
}

type Lift = fn(domain::Assurance, domain::Timestamp) -> domain::Assurance;

const STEPS: [(&str, Lift); 2] = [
    (
        "a challenge just passed",
        domain::Assurance::with_challenge_passed,
    ),
    ("MFA just passed", domain::Assurance::with_mfa_passed),
];

/// What the policies would have said, had the deny not been one of the moment.
fn another_moment(recorded: &Recorded, basis: Basis<'_>) -> Option<Way> {
    let cause = refused(recorded)?;
    let change = match cause {
        Cause::SessionEnded => "a session that has not ended",
        Cause::SessionOfAnother => "a session of the subject's own",
        Cause::HandleSuperseded => "the handle that the session has now",
        Cause::SnapshotStale => "policies and model that could be reloaded",
        _ => "a store that answers",
    };
    let mut evidence = bare_evidence(recorded);
    let risk = assessment(recorded, basis.settings);
    let request = &recorded.request;
    let again = settle(request, &mut evidence, risk, None, basis, recorded.time);
    (again.rung < recorded.outcome).then(|| Way {
        change: change.to_owned(),
        becomes: again.rung,
    })
}

fn bare_evidence(recorded: &Recorded) -> Evidence {
    let features = Features::default();
    Evidence::recorded(recorded.facts.clone(), features, recorded.assurance)
}

struct Trial<'a> {
    recorded: &'a Recorded,
    basis: Basis<'a>,
}

impl Trial<'_> {
    fn evidence(&self) -> Evidence {
        bare_evidence(self.recorded)
    }

    fn settle(&self, mut evidence: Evidence, risk: Option<RiskAssessment>) -> Decision {
        let recorded = self.recorded;
        let scored = risk.is_some() || recorded.cause != Cause::ScoreUndefined;
        settle(
            &recorded.request,
            &mut evidence,
            risk.unwrap_or_else(|| assessment(recorded, self.basis.settings)),
            (!scored).then_some(Cause::ScoreUndefined),
            self.basis,
            recorded.time,
        )
    }

    fn way(&self, change: String, evidence: Evidence, risk: Option<RiskAssessment>) -> Option<Way> {
        let becomes = self.settle(evidence, risk).rung;
        (becomes < self.recorded.outcome).then_some(Way { change, becomes })
    }

    /// The highest score that would have led to less friction than any score above it: for an
    /// allow, or for the least friction that a score alone leads to.
    fn lower_score(&self) -> Option<Way> {
        let best = self.at_score(0)?;
        if best >= self.recorded.outcome {
            return None;
        }
        let was = self.recorded.risk.score.points();
        // What holds at a lower score need not hold at every one below.
        let highest = (0..was)
            .take_while(|points| self.at_score(*points) == Some(best))
            .last()?;
        Some(Way {
            change: format!("a score of {highest} or less instead of {was}"),
            becomes: best,
        })
    }

    fn at_score(&self, points: u8) -> Option<Rung> {
        let score = RiskScore::from_points(f64::from(points))?;
        let risk = &self.recorded.risk;
        let risk = RiskAssessment {
            score,
            level: RiskLevel::of(score, self.basis.settings.levels),
            model_score: risk.model_score.min(score),
            rule_score: risk.rule_score.min(score),
            baseline: 0,
            other: 0,
            factors: Vec::new(),
            rules: Vec::new(),
            model: Arc::clone(&self.recorded.revisions.model),
        };
        Some(self.settle(self.evidence(), Some(risk)).rung)
    }
}
