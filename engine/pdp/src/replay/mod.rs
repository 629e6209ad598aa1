//! Deciding again what was decided before, from what the record holds.
//!
//! The same [`judge`] as in [`crate::engine::decide`], fed with the evidence of a record instead of signals:
//! with the policies, entities, settings and model that decided, the answer is the one that was
//! given; with others, it is what they would have made of the same facts. What was learnt from an
//! answer, and what a person would have done after another one, is not in it.
//!
//! What cannot be decided again exactly is counted as [`NotComparable`], and never guessed.

pub mod fail_if;
pub mod report;
pub mod run;
pub mod sources;

use std::sync::Arc;

use domain::{Cause, Decision, RiskAssessment, RiskLevel};
use risk::features::FEATURES;
use risk::{Evidence, Features, Model};
use wire::record::replay::{Recorded, Unreadable};

use crate::archive::Gone;
use crate::engine::{Basis, judge, settle};

/// Why a record cannot be decided again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotComparable {
    /// The record itself.
    #[error("{0}")]
    Record(#[from] Unreadable),
    /// The monitor did it while nobody asked.
    #[error(
        "the monitor did it by itself: its record has the reasons, and not all that was known then"
    )]
    Monitor,
    /// What decided is not kept.
    #[error("{0}")]
    Gone(#[from] Gone),
    /// The model that scored is not the one in its place.
    #[error("model {model} is not there as it scored: {why}")]
    Model {
        /// Which, `name@version`.
        model: String,
        /// What is wrong.
        why: String,
    },
    /// It was scored on other features than this engine's.
    #[error("its record has {0} features, and this engine has {FEATURES}")]
    OtherFeatures(usize),
    /// The entities that decided do not fit the candidate's schema.
    #[error("entities {entities} do not fit the candidate's schema: {why}")]
    OtherSchema {
        /// Which.
        entities: String,
        /// What is wrong.
        why: String,
    },
}

/// Decides a record again, score and all.
///
/// # Errors
/// When its features are not this engine's.
pub fn judge_again(
    recorded: &Recorded,
    model: &Model,
    basis: Basis<'_>,
) -> Result<Decision, NotComparable> {
    let mut evidence = evidence(recorded)?;
    Ok(judge(
        &recorded.request,
        &mut evidence,
        refused(recorded),
        model,
        basis,
        recorded.time,
    ))
}

/// Settles a record's answer again, with the score that it had: the score does not depend on
/// policies.
///
/// # Errors
/// When it is of an engine with other features: words that came with them are not in it, and a
/// policy over them would seem to change nothing.
pub fn settle_again(recorded: &Recorded, basis: Basis<'_>) -> Result<Decision, NotComparable> {
    if recorded.features.len() != FEATURES {
        return Err(NotComparable::OtherFeatures(recorded.features.len()));
    }
    let features = Features::default();
    let mut evidence = Evidence::recorded(recorded.facts.clone(), features, recorded.assurance);
    let undefined = matches!(recorded.cause, Cause::ScoreUndefined).then_some(recorded.cause);
    Ok(settle(
        &recorded.request,
        &mut evidence,
        assessment(recorded, basis.settings),
        refused(recorded).or(undefined),
        basis,
        recorded.time,
    ))
}

/// What was a deny at that moment, whatever policies would have said.
#[must_use]
pub fn refused(recorded: &Recorded) -> Option<Cause> {
    Some(recorded.cause).filter(Cause::is_of_the_moment)
}

/// The evidence that a record holds.
///
/// # Errors
/// When its features are not this engine's.
pub fn evidence(recorded: &Recorded) -> Result<Evidence, NotComparable> {
    let features = recorded.features.as_slice();
    let features: [f64; FEATURES] = features
        .try_into()
        .map_err(|_| NotComparable::OtherFeatures(features.len()))?;
    Ok(Evidence::recorded(
        recorded.facts.clone(),
        Features::new(features),
        recorded.assurance,
    ))
}

/// The score that a record holds, without its sentences.
#[must_use]
pub fn assessment(recorded: &Recorded, settings: &risk::Settings) -> RiskAssessment {
    let risk = &recorded.risk;
    RiskAssessment {
        score: risk.score,
        level: RiskLevel::of(risk.score, settings.levels),
        model_score: risk.model_score,
        rule_score: risk.rule_score,
        baseline: risk.baseline,
        other: risk.other,
        factors: Vec::new(),
        rules: Vec::new(),
        model: Arc::clone(&recorded.revisions.model),
    }
}

/// Whether a decision is the one on record: outcome, cause, score and its parts, the policies
/// that settled it, and what was said on each rung. In words what differs, if something does.
#[must_use]
pub fn difference(recorded: &Recorded, again: &Decision) -> Option<String> {
    let ids = |policies: &[Arc<domain::DecidingPolicy>]| {
        let ids: Vec<&str> = policies.iter().map(|policy| &*policy.id).collect();
        ids.join(", ")
    };
    let risk = &again.risk;
    let differs = |what: &str, was: &dyn std::fmt::Display, is: &dyn std::fmt::Display| {
        Some(format!("{what} was {was} and is {is}"))
    };
    if recorded.outcome != again.rung {
        return differs("the outcome", &recorded.outcome, &again.rung);
    }
    if recorded.cause != again.cause {
        return differs("the cause", &recorded.cause.code(), &again.cause.code());
    }
    for (what, was, is) in [
        ("the score", recorded.risk.score, risk.score),
        (
            "the model's part",
            recorded.risk.model_score,
            risk.model_score,
        ),
        ("the rules' part", recorded.risk.rule_score, risk.rule_score),
    ] {
        if was != is {
            return differs(what, &was, &is);
        }
    }
    if recorded.risk.fired != risk.rules {
        let was = recorded.risk.fired.join(", ");
        return differs("what fired", &was, &risk.rules.join(", "));
    }
    if !recorded
        .policies
        .iter()
        .map(String::as_str)
        .eq(again.policies.iter().map(|policy| &*policy.id))
    {
        let was = recorded.policies.join(", ");
        return differs("what settled it", &was, &ids(&again.policies));
    }
    if recorded.detail != again.detail {
        let text = |detail: &Option<String>| detail.clone().unwrap_or_default();
        return differs("the detail", &text(&recorded.detail), &text(&again.detail));
    }
    // One rung alone is told by everything else.
    let tried = if again.tried.len() > 1 {
        again.tried.as_slice()
    } else {
        &[]
    };
    let same_rung = |(was, is): (&wire::record::replay::RecordedRung, &domain::RungTried)| {
        (was.rung, was.allowed) == (is.rung, is.allowed)
            && was.errors == is.errors
            && was
                .policies
                .iter()
                .map(String::as_str)
                .eq(is.determining.iter().map(|policy| &*policy.id))
    };
    let same =
        recorded.tried.len() == tried.len() && recorded.tried.iter().zip(tried).all(same_rung);
    (!same).then(|| "what was said on the rungs differs".to_owned())
}
