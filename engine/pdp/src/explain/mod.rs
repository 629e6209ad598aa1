//! The whole story of one decision, from its record and from what decided it.
//!
//! Nothing is looked up anew: what was known then is on record, what decided is in the archive,
//! and sentences and rungs come from judging the record again.

mod origins;
mod what_if;
mod words;

use std::path::Path;
use std::sync::Arc;

use domain::{Decision, Rung, RungTried};
use policy::places::{PolicyPlace, places};
use serde_json::{Value, json};
use store::Store;
use store::journal;
use wire::record::replay::{Recorded, RecordedRung};

pub use origins::{KnownWord, Origin, Silence};
pub use what_if::Way;

use crate::recorder::{self, DrainError};
use crate::replay::sources::Sources;
use crate::replay::{NotComparable, difference, judge_again, settle_again};
use domain::signal::Source;

/// Records that are looked at behind what is drained.
const BEHIND: usize = 100_000;

/// The story of one decision.
#[derive(Debug)]
pub struct Story {
    /// What is on record.
    pub recorded: Recorded,
    /// The same, judged again by what decided it; why not, where that is gone.
    pub again: Result<Decision, NotComparable>,
    /// What differs between the two, which nothing should.
    pub difference: Option<String>,
    /// What was known, and who said so.
    pub known: Vec<KnownWord>,
    /// The sources that said nothing.
    pub silent: Vec<(Source, Silence)>,
    /// The rungs that were tried.
    pub rungs: Vec<RecordedRung>,
    /// The policies that settled it, where they stood then.
    pub policies: Vec<(String, Option<PolicyPlace>)>,
    /// What would have led to less friction. None where what decided is gone.
    pub ways: Option<Vec<Way>>,
}

/// Finds the record of a decision: by the store's index, or at the journal's end.
///
/// # Errors
/// When store or journal cannot be read.
pub async fn find(
    store: &Store,
    folder: &Path,
    decision_id: &str,
) -> Result<Option<Vec<u8>>, DrainError> {
    if let Some(text) = recorder::find_in(store, folder.to_owned(), decision_id).await? {
        return Ok(Some(text));
    }
    let drained = store.drained().await?;
    let (folder, wanted) = (folder.to_owned(), decision_id.to_owned());
    let found = tokio::task::spawn_blocking(move || {
        let read = journal::read_from(&folder, drained.as_ref(), u64::MAX, BEHIND)?;
        let is_it = |text: &Vec<u8>| {
            wire::record::RecordHead::read(text).is_some_and(|head| head.decision_id == wanted)
        };
        Ok(read
            .records
            .into_iter()
            .map(|record| record.body)
            .find(is_it))
    });
    found.await.map_err(std::io::Error::other)?
}

impl Story {
    /// Tells the story of a record. For threads that may block: it reads what decided.
    #[must_use]
    pub fn of(recorded: Recorded, sources: &Sources) -> Self {
        let set = sources.set_for(&recorded.revisions);
        // The score of a model that is gone stands on record; everything else can be told.
        let basis = match &set {
            Ok(set) => Ok(set.clone()),
            Err(why) => sources
                .unscored(&recorded.revisions)
                .map_err(|_| why.clone()),
        };
        let again = set.and_then(|set| match &set.model {
            Some(model) => judge_again(&recorded, model, set.basis()),
            None => settle_again(&recorded, set.basis()),
        });
        let rungs = rungs(&recorded, again.as_ref().ok());
        let stand = basis.as_ref().map(|set| places(set.policies().files()));
        let stand = stand.unwrap_or_default();
        let policies = recorded.policies.iter().map(|id| {
            let place = stand.iter().find(|place| place.id == *id).cloned();
            (id.clone(), place)
        });
        let known = origins::known_words(&recorded);
        Self {
            difference: again
                .as_ref()
                .ok()
                .and_then(|again| difference(&recorded, again)),
            silent: origins::silent(&recorded.facts, &known),
            policies: policies.collect(),
            ways: basis
                .as_ref()
                .ok()
                .map(|set| what_if::ways(&recorded, set.basis())),
            known,
            rungs,
            again,
            recorded,
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        words::text(self)
    }

    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let recorded = &self.recorded;
        let request = &recorded.request;
        let again = self.again.as_ref().ok();
        let factors: Vec<Value> = match again {
            Some(again) => again
                .risk
                .factors
                .iter()
                .map(|factor| {
                    json!({
                        "feature": factor.feature,
                        "value": factor.value,
                        "contribution": factor.contribution,
                        "reason": factor.reason,
                    })
                })
                .collect(),
            None => recorded
                .risk
                .contributions
                .iter()
                .map(|(feature, points)| json!({ "feature": feature, "contribution": points }))
                .collect(),
        };
        let revisions = &recorded.revisions;
        json!({
            "decision_id": recorded.decision_id,
            "at": wire::time::format(recorded.at),
            "time": wire::time::format(recorded.time),
            "caller": recorded.caller,
            "request_id": recorded.request_id,
            "manner": recorded.manner,
            "subject": request.subject.entity.to_string(),
            "action": request.action.name.as_str(),
            "resource": request.resource.entity.to_string(),
            "outcome": recorded.outcome.as_str(),
            "cause": recorded.cause.code(),
            "detail": recorded.detail,
            "reason_user": again.map(|again| again.reason.user.as_str()),
            "reason_admin": again.map(|again| again.reason.admin.as_str()),
            "revisions": {
                "policies": &*revisions.policies,
                "entities": &*revisions.entities,
                "model": &*revisions.model,
                "settings": &*revisions.settings,
            },
            "comparable": self.again.is_ok(),
            "not_comparable_because": self.again.as_ref().err().map(ToString::to_string),
            "difference": self.difference,
            "facts": self.known.iter().map(|word| json!({
                "name": word.name,
                "value": word.json,
                "from": word.origin.as_str(),
            })).collect::<Vec<_>>(),
            "silent": self.silent.iter().map(|(source, silence)| json!({
                "source": source.name(),
                "why": silence.as_str(),
            })).collect::<Vec<_>>(),
            "risk": {
                "score": recorded.risk.score.points(),
                "model_score": recorded.risk.model_score.points(),
                "rule_score": recorded.risk.rule_score.points(),
                "baseline": recorded.risk.baseline,
                "other": recorded.risk.other,
                "rules": recorded.risk.fired,
                "factors": factors,
            },
            "rungs": self.rungs.iter().map(|rung| json!({
                "rung": rung.rung.as_str(),
                "allowed": rung.allowed,
                "policies": rung.policies,
                "errors": rung.errors,
            })).collect::<Vec<_>>(),
            "policies": self.policies.iter().map(|(id, place)| json!({
                "policy": id,
                "file": place.as_ref().map(|place| place.file.as_str()),
                "line": place.as_ref().map(|place| place.line),
                "effect": place.as_ref().map(|place| effect(place)),
                "reason": place.as_ref().and_then(|place| place.reason.as_deref()),
                "severity": place.as_ref().and_then(|place| place.severity.as_deref()),
            })).collect::<Vec<_>>(),
            "ways": self.ways.as_ref().map(|ways| ways.iter().map(|way| json!({
                "change": way.change,
                "becomes": way.becomes.as_str(),
            })).collect::<Vec<_>>()),
        })
    }
}

const fn effect(place: &PolicyPlace) -> &'static str {
    if place.forbids { "forbid" } else { "permit" }
}

/// The rungs that were tried. A record holds them where there was more than one.
fn rungs(recorded: &Recorded, again: Option<&Decision>) -> Vec<RecordedRung> {
    if !recorded.tried.is_empty() {
        return recorded.tried.clone();
    }
    let of = |tried: &RungTried| RecordedRung {
        rung: tried.rung,
        allowed: tried.allowed,
        policies: ids(&tried.determining),
        errors: tried.errors.clone(),
    };
    match again {
        Some(again) => again.tried.iter().map(of).collect(),
        None if recorded.outcome == Rung::Allow || !recorded.policies.is_empty() => {
            vec![RecordedRung {
                rung: Rung::Allow,
                allowed: recorded.outcome == Rung::Allow,
                policies: recorded.policies.clone(),
                errors: Vec::new(),
            }]
        }
        None => Vec::new(),
    }
}

fn ids(policies: &[Arc<domain::DecidingPolicy>]) -> Vec<String> {
    policies
        .iter()
        .map(|policy| policy.id.to_string())
        .collect()
}
