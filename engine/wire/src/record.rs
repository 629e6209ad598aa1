//! Decision records as the journal holds them: one JSON object a line.

use std::collections::BTreeMap;

use domain::facts::{Fact, Facts, GROUPS, Group, TimeFacts};
use domain::{DecisionRecord, Factor, Timestamp};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};

use crate::answer::Ids;
use crate::event::WrittenRequest;
use crate::time::{self, Rfc3339};

pub mod replay;

/// Version of this form. A reader that meets a higher one must not guess.
pub const RECORD_VERSION: u32 = 1;

/// What a record is looked up by, read back from its text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the record's own members, by the same names")]
pub struct RecordHead {
    pub decision_id: String,
    pub at: Timestamp,
    pub time: Timestamp,
    pub caller: String,
    pub manner: String,
    pub outcome: String,
    pub score: u8,
    /// Type and id.
    pub subject: (String, String),
    pub action: String,
    /// Type and id.
    pub resource: (String, String),
    pub session_id: Option<String>,
}

impl RecordHead {
    /// Reads the head of a decision's record. None for what is no decision, or none of this
    /// version.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Head {
            v: u32,
            decision_id: String,
            at: String,
            time: String,
            caller: String,
            manner: String,
            outcome: String,
            score: u8,
            request: Request,
        }
        #[derive(Deserialize)]
        struct Request {
            subject: Party,
            action: Action,
            resource: Party,
            #[serde(default)]
            context: Context,
        }
        #[derive(Deserialize)]
        struct Party {
            #[serde(rename = "type")]
            kind: String,
            id: String,
        }
        #[derive(Deserialize)]
        struct Action {
            name: String,
        }
        #[derive(Default, Deserialize)]
        struct Context {
            session_id: Option<String>,
        }
        let head: Head = serde_json::from_slice(text).ok()?;
        let request = head.request;
        (head.v == RECORD_VERSION).then_some(Self {
            decision_id: head.decision_id,
            at: time::parse(&head.at)?,
            time: time::parse(&head.time)?,
            caller: head.caller,
            manner: head.manner,
            outcome: head.outcome,
            score: head.score,
            subject: (request.subject.kind, request.subject.id),
            action: request.action.name,
            resource: (request.resource.kind, request.resource.id),
            session_id: request.context.session_id,
        })
    }
}

/// What a decision was scored on, read back from its record's text.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordFeatures {
    /// `access`, `dry_run`, `batch` or `token`.
    pub manner: String,
    /// The model that scored, `name@version`.
    pub model: String,
    /// Content hash of that model's file and its feature list.
    pub model_hash: String,
    /// The features in the order of that model's list, in their own units; NaN where unknown.
    pub features: Vec<f64>,
}

impl RecordFeatures {
    /// Reads them. None for what is no decision, or none of this version.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Whole {
            v: u32,
            manner: String,
            features: Vec<Option<f64>>,
            revisions: Revisions,
        }
        #[derive(Deserialize)]
        struct Revisions {
            model: String,
            model_hash: String,
        }
        let whole: Whole = serde_json::from_slice(text).ok()?;
        (whole.v == RECORD_VERSION).then(|| Self {
            manner: whole.manner,
            model: whole.revisions.model,
            model_hash: whole.revisions.model_hash,
            features: whole
                .features
                .into_iter()
                .map(|value| value.unwrap_or(f64::NAN))
                .collect(),
        })
    }
}

/// A record, to be written.
#[derive(Clone, Copy, Debug)]
pub struct WrittenRecord<'a>(pub &'a DecisionRecord<'a>);

#[derive(Serialize)]
struct Whole<'a> {
    v: u32,
    decision_id: &'a str,
    at: Rfc3339,
    time: Rfc3339,
    #[serde(skip_serializing_if = "is_false")]
    replayed: bool,
    manner: &'a str,
    outcome: &'a str,
    cause: &'a str,
    score: u8,
    caller: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_token: Option<&'a str>,
    request_id: &'a str,
    request: WrittenRequest<'a>,
    facts: WrittenFacts<'a>,
    features: WrittenFeatures<'a>,
    risk: Risk<'a>,
    policies: Ids<'a>,
    /// What the policies with `@alert` among them say, by their ids.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    alerts: BTreeMap<&'a str, &'a str>,
    /// Only where there was more than one rung to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tried: Vec<Tried<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    revisions: Revisions<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<Shadow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
}

/// The parts of the score. Sentences are not kept: facts and features say the same.
#[derive(Serialize)]
struct Risk<'a> {
    model: u8,
    rules: u8,
    fired: &'a [&'static str],
    baseline: i32,
    other: i32,
    contributions: Contributions<'a>,
}

#[derive(Serialize)]
struct Tried<'a> {
    rung: &'a str,
    allowed: bool,
    policies: Ids<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    errors: &'a [String],
}

#[derive(Serialize)]
pub(crate) struct Revisions<'a> {
    policies: &'a str,
    entities: &'a str,
    model: &'a str,
    model_hash: &'a str,
    settings: &'a str,
}

/// What policies that were not live made of it.
#[derive(Serialize)]
struct Shadow<'a> {
    revision: &'a str,
    outcome: &'a str,
}

impl<'a> Revisions<'a> {
    pub(crate) fn of(revisions: &'a domain::record::Revisions) -> Self {
        Self {
            policies: &revisions.policies,
            entities: &revisions.entities,
            model: &revisions.model,
            model_hash: &revisions.model_hash,
            settings: &revisions.settings,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Serialize for WrittenRecord<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let decision = record.decision;
        let risk = &decision.risk;
        let tried = if decision.tried.len() > 1 {
            decision.tried.as_slice()
        } else {
            &[]
        };
        Whole {
            v: RECORD_VERSION,
            decision_id: record.decision_id,
            at: Rfc3339(record.at),
            time: Rfc3339(record.time),
            replayed: record.at != record.time,
            manner: record.manner.as_str(),
            outcome: decision.rung.as_str(),
            cause: decision.cause.code(),
            score: risk.score.points(),
            caller: record.caller,
            caller_token: record.caller_token,
            request_id: record.request_id,
            request: WrittenRequest(record.request),
            facts: WrittenFacts::new(record.facts, record.time),
            features: WrittenFeatures(record.features),
            risk: Risk {
                model: risk.model_score.points(),
                rules: risk.rule_score.points(),
                fired: &risk.rules,
                baseline: risk.baseline,
                other: risk.other,
                contributions: Contributions(&risk.factors),
            },
            policies: Ids(&decision.policies),
            alerts: decision
                .alerts()
                .map(|(policy, alert)| (&*policy.id, alert))
                .collect(),
            tried: tried
                .iter()
                .map(|tried| Tried {
                    rung: tried.rung.as_str(),
                    allowed: tried.allowed,
                    policies: Ids(&tried.determining),
                    errors: &tried.errors,
                })
                .collect(),
            detail: decision.detail.as_deref(),
            revisions: Revisions::of(record.revisions),
            shadow: record.shadow.map(|shadow| Shadow {
                revision: shadow.revision,
                outcome: shadow.rung.as_str(),
            }),
            token_id: record.token_id,
        }
        .serialize(to)
    }
}

/// Points by feature.
struct Contributions<'a>(&'a [Factor]);

impl Serialize for Contributions<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let moved = self.0.iter().filter(|factor| factor.contribution != 0);
        to.collect_map(moved.map(|factor| (factor.feature, factor.contribution)))
    }
}

/// Features in single precision, as they are computed; `null` where unknown.
struct WrittenFeatures<'a>(&'a [f64]);

impl Serialize for WrittenFeatures<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_possible_truncation, reason = "they have no more digits")]
        let single = |value: &f64| value.is_finite().then_some(*value as f32);
        to.collect_seq(self.0.iter().map(single))
    }
}

/// The group whose words follow from the score and the settings.
pub(crate) const RISK: &str = "risk";

/// Facts by group; what is not known is left out, and so is what follows from the moment.
struct WrittenFacts<'a> {
    facts: &'a Facts,
    follows: Facts,
}

impl<'a> WrittenFacts<'a> {
    fn new(facts: &'a Facts, time: Timestamp) -> Self {
        let follows = Facts {
            time: TimeFacts::at(time),
            ..Facts::default()
        };
        Self { facts, follows }
    }
}

impl Serialize for WrittenFacts<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for group in GROUPS.iter().filter(|group| group.name != RISK) {
            let words = WrittenGroup {
                group,
                facts: self.facts,
                follows: &self.follows,
            };
            if words.is_known() {
                map.serialize_entry(group.name, &words)?;
            }
        }
        if !self.facts.unavailable.is_empty() {
            let names: Vec<&str> = self
                .facts
                .unavailable
                .iter()
                .map(|source| source.name())
                .collect();
            map.serialize_entry("unavailable", &names)?;
        }
        map.end()
    }
}

struct WrittenGroup<'a> {
    group: &'static Group,
    facts: &'a Facts,
    follows: &'a Facts,
}

impl WrittenGroup<'_> {
    fn is_known(&self) -> bool {
        self.words().next().is_some()
    }

    fn words(&self) -> impl Iterator<Item = (&'static str, Fact<'_>)> {
        self.group.words.iter().filter_map(|word| {
            let fact = (word.get)(self.facts)?;
            ((word.get)(self.follows) != Some(fact)).then_some((word.name, fact))
        })
    }
}

impl Serialize for WrittenGroup<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (name, fact) in self.words() {
            match fact {
                Fact::Bool(value) => map.serialize_entry(name, &value)?,
                Fact::Long(value) => map.serialize_entry(name, &value)?,
                Fact::Text(value) => map.serialize_entry(name, value)?,
                Fact::Address(value) => map.serialize_entry(name, &value)?,
                Fact::Moment(value) => map.serialize_entry(name, &Rfc3339(value))?,
            }
        }
        map.end()
    }
}
