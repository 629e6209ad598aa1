//! Examples of what an evaluation got wrong, to be looked at by people.

use std::collections::{BTreeMap, BTreeSet};

use domain::Rung;
use serde::{Deserialize, Serialize};
use wire::Event;

use super::Judged;

/// Examples of each kind and answer.
const EACH_MAX: usize = 3;
/// Reasons that are told.
const REASONS_MAX: usize = 5;

/// A decision that was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mistake {
    /// What it really was.
    pub kind: String,
    /// What was answered.
    pub rung: String,
    /// How many decisions of this kind had this answer.
    pub alike: usize,
    /// When (RFC 3339).
    pub time: String,
    /// Who.
    pub subject: String,
    /// Did what.
    pub action: String,
    /// To what.
    pub resource: String,
    /// The score, 0 to 100.
    pub score: u8,
    /// What settled it: policies, then what moved the score most.
    pub reasons: Vec<String>,
}

/// Mistakes as they come.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    kept: Vec<Mistake>,
    seen: BTreeMap<(String, Rung), (usize, BTreeSet<u32>)>,
}

impl Mistakes {
    /// Keeps one if it is of a new subject and there are few of its kind.
    pub(super) fn note(&mut self, kind: &str, subject: u32, event: &Event, judged: &Judged) {
        let key = (kind.to_owned(), judged.rung);
        let (alike, subjects) = self.seen.entry(key).or_default();
        *alike += 1;
        if subjects.len() < EACH_MAX && subjects.insert(subject) {
            let request = &event.request;
            self.kept.push(Mistake {
                kind: kind.to_owned(),
                rung: judged.rung.to_string(),
                alike: 0,
                time: wire::time::format(event.time),
                subject: request.subject.entity.to_string(),
                action: request.action.name.as_str().to_owned(),
                resource: request.resource.entity.to_string(),
                score: judged.score,
                reasons: reasons(judged),
            });
        }
    }

    /// Those that were kept, with how many there were of each kind; most at stake first.
    pub(super) fn kept(&self) -> Vec<Mistake> {
        let mut kept = self.kept.clone();
        for mistake in &mut kept {
            mistake.alike = self
                .seen
                .iter()
                .find(|((kind, rung), _)| *kind == mistake.kind && rung.to_string() == mistake.rung)
                .map_or(0, |(_, (alike, _))| *alike);
        }
        kept.sort_by(|a, b| (&a.kind, &a.rung).cmp(&(&b.kind, &b.rung)));
        kept
    }
}

fn reasons(judged: &Judged) -> Vec<String> {
    let policies = judged.policies.iter().map(|policy| policy.id.to_string());
    let factors = judged
        .factors
        .iter()
        .map(|factor| format!("{:+} {}", factor.contribution, factor.reason));
    policies.chain(factors).take(REASONS_MAX).collect()
}
