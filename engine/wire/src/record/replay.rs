//! Records read back whole, so that they can be decided again: what [`super::WrittenRecord`]
//! writes, this reads.
//!
//! Strict: what cannot be read exactly as it was is an error with its reason, and never guessed.

mod facts;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use domain::facts::Facts;
use domain::record::Revisions;
use domain::{AccessRequest, Assurance, Cause, Level, RiskScore, Rung, Timestamp, Value};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use facts::{ReadFacts, fill_in};

use super::RECORD_VERSION;
use crate::request::RawQuestion;
use crate::time;

/// Why a record cannot be decided again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unreadable {
    /// It is of another version of this form.
    #[error("its record is of version {0}, and this engine knows {RECORD_VERSION}")]
    Version(u32),
    /// Something is missing, or is not what it was written as.
    #[error("its record cannot be read: {0}")]
    Malformed(String),
}

/// One decision, read back: what it was decided from, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its id.
    pub decision_id: String,
    /// When it was decided, by the engine's clock.
    pub at: Timestamp,
    /// The moment it was decided for.
    pub time: Timestamp,
    /// Id of the key of who asked.
    pub caller: String,
    /// The caller's `X-Request-ID`.
    pub request_id: String,
    /// `access`, `dry_run` or `batch`.
    pub manner: String,
    /// The question, with what its caller was permitted to say.
    pub request: AccessRequest,
    /// What was known; the group `risk` is empty.
    pub facts: Facts,
    /// The features in the order of the model's list, NaN where unknown.
    pub features: Vec<f64>,
    /// The assurance that the request really had, to whole seconds.
    pub assurance: Assurance,
    /// The answer.
    pub outcome: Rung,
    /// What settled it.
    pub cause: Cause,
    /// The score and its parts.
    pub risk: RecordedRisk,
    /// Ids of the policies that settled it.
    pub policies: Vec<String>,
    /// Every rung that was tried, where there was more than one.
    pub tried: Vec<RecordedRung>,
    /// For administrators: what was wrong, where something was.
    pub detail: Option<String>,
    /// What decided.
    pub revisions: Revisions,
    /// `jti` of the token that was minted with it.
    pub token_id: Option<String>,
}

/// The score of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRisk {
    /// Blended.
    pub score: RiskScore,
    /// The model's part.
    pub model_score: RiskScore,
    /// The rules' part.
    pub rule_score: RiskScore,
    /// The rules that fired.
    pub fired: Vec<String>,
    /// Where the contributions start.
    pub baseline: i32,
    /// What rounding and small effects left over.
    pub other: i32,
    /// Points by feature, the weightiest first.
    pub contributions: Vec<(String, i32)>,
}

/// One rung that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRung {
    /// Which.
    pub rung: Rung,
    /// Whether the policies allowed it there.
    pub allowed: bool,
    /// The policies that settled it.
    pub policies: Vec<String>,
    /// Policies that could not be evaluated, and why.
    pub errors: Vec<String>,
}

/// What tells whether a record is wanted, without reading all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// A decision, and when it was made.
    Decision(Timestamp),
    /// What the monitor did with a session while nobody asked, and when. It holds what it was done
    /// for, and not what was known.
    Monitor(Timestamp),
    /// Something else: a step-up, a fact, an act.
    Other,
}

impl Glance {
    /// Looks at a record.
    ///
    /// # Errors
    /// When it is no record.
    pub fn at(text: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(default, borrow)]
            kind: Option<Cow<'a, str>>,
            #[serde(default, borrow)]
            at: Option<Cow<'a, str>>,
            #[serde(default, borrow)]
            decision_id: Option<Cow<'a, str>>,
        }
        let head: Head<'_> = serde_json::from_slice(text).map_err(malformed)?;
        let at = || moment("at", head.at.as_deref().unwrap_or_default());
        match head.kind.as_deref() {
            None => at().map(Self::Decision),
            // What follows from an access is decided again with it.
            Some("monitor") if head.decision_id.is_none() => at().map(Self::Monitor),
            Some(_) => Ok(Self::Other),
        }
    }
}

#[derive(Deserialize)]
struct Whole<'a> {
    v: u32,
    decision_id: String,
    #[serde(borrow)]
    at: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    manner: String,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    #[serde(borrow)]
    cause: Cow<'a, str>,
    score: u8,
    caller: String,
    request_id: String,
    request: RawQuestion,
    facts: ReadFacts,
    features: Vec<Option<f32>>,
    risk: Risk,
    policies: Vec<String>,
    #[serde(default, borrow)]
    tried: Vec<Tried<'a>>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(borrow)]
    revisions: Names<'a>,
    #[serde(default)]
    token_id: Option<String>,
}

#[derive(Deserialize)]
struct Risk {
    model: u8,
    rules: u8,
    fired: Vec<String>,
    baseline: i32,
    other: i32,
    contributions: Contributions,
}

#[derive(Deserialize)]
struct Tried<'a> {
    #[serde(borrow)]
    rung: Cow<'a, str>,
    allowed: bool,
    policies: Vec<String>,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Names<'a> {
    #[serde(borrow)]
    policies: Cow<'a, str>,
    #[serde(borrow)]
    entities: Cow<'a, str>,
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    model_hash: Cow<'a, str>,
    #[serde(borrow)]
    settings: Cow<'a, str>,
}

impl Recorded {
    /// Reads a decision's record.
    ///
    /// # Errors
    /// When anything of it is not as it was written.
    pub fn read(text: &[u8]) -> Result<Self, Unreadable> {
        let whole: Whole<'_> = match serde_json::from_slice(text) {
            Ok(whole) => whole,
            Err(error) => return Err(other_version(text).unwrap_or_else(|| malformed(error))),
        };
        if whole.v != RECORD_VERSION {
            return Err(Unreadable::Version(whole.v));
        }
        let time = moment("time", &whole.time)?;
        let mut facts = whole.facts.0;
        fill_in(&mut facts, time);
        let risk = whole.risk;
        let names = whole.revisions;
        Ok(Self {
            decision_id: whole.decision_id,
            at: moment("at", &whole.at)?,
            time,
            caller: whole.caller,
            request_id: whole.request_id,
            manner: whole.manner,
            request: read_request(whole.request)?,
            assurance: assurance_of(&facts, time)?,
            facts,
            features: whole
                .features
                .into_iter()
                .map(|value| value.map_or(f64::NAN, f64::from))
                .collect(),
            outcome: rung(&whole.outcome)?,
            cause: Cause::from_code(&whole.cause).ok_or_else(|| unknown("cause", &whole.cause))?,
            risk: RecordedRisk {
                score: points(whole.score)?,
                model_score: points(risk.model)?,
                rule_score: points(risk.rules)?,
                fired: risk.fired,
                baseline: risk.baseline,
                other: risk.other,
                contributions: risk.contributions.0,
            },
            policies: whole.policies,
            tried: whole
                .tried
                .into_iter()
                .map(|tried| {
                    Ok(RecordedRung {
                        rung: rung(&tried.rung)?,
                        allowed: tried.allowed,
                        policies: tried.policies,
                        errors: tried.errors,
                    })
                })
                .collect::<Result<_, Unreadable>>()?,
            detail: whole.detail,
            revisions: Revisions {
                policies: Arc::from(names.policies),
                entities: Arc::from(names.entities),
                model: Arc::from(names.model),
                model_hash: Arc::from(names.model_hash),
                settings: Arc::from(names.settings),
            },
            token_id: whole.token_id,
        })
    }
}

fn malformed(error: impl fmt::Display) -> Unreadable {
    Unreadable::Malformed(error.to_string())
}

fn unknown(what: &str, word: &str) -> Unreadable {
    Unreadable::Malformed(format!("`{word}` is no {what}"))
}

/// A record of another version may well have another form.
fn other_version(text: &[u8]) -> Option<Unreadable> {
    #[derive(Deserialize)]
    struct Head {
        v: u32,
    }
    let head: Head = serde_json::from_slice(text).ok()?;
    (head.v != RECORD_VERSION).then_some(Unreadable::Version(head.v))
}

fn moment(member: &str, text: &str) -> Result<Timestamp, Unreadable> {
    time::parse(text)
        .ok_or_else(|| Unreadable::Malformed(format!("`{member}` is not a time as in RFC 3339")))
}

fn rung(word: &str) -> Result<Rung, Unreadable> {
    Rung::from_word(word).ok_or_else(|| unknown("outcome", word))
}

fn points(points: u8) -> Result<RiskScore, Unreadable> {
    RiskScore::from_points(f64::from(points))
        .filter(|score| score.points() == points)
        .ok_or_else(|| Unreadable::Malformed(format!("{points} is no score")))
}

/// The question; its assurance is what the engine made of it and has all its moments.
fn read_request(mut raw: RawQuestion) -> Result<AccessRequest, Unreadable> {
    let context = raw.context.as_mut().map(|context| &mut context.0);
    let assurance = match context.and_then(|context| context.remove("assurance")) {
        None => None,
        Some(Value::Record(members)) => {
            let at = |name: &str| match members.get(name) {
                None => Ok(None),
                Some(Value::Text(text)) => moment(name, text).map(Some),
                Some(_) => Err(Unreadable::Malformed(format!("`{name}` is no time"))),
            };
            Some(Assurance {
                level: match members.get("level") {
                    Some(Value::Long(number)) => level(*number)?,
                    _ => return Err(Unreadable::Malformed("no level of assurance".to_owned())),
                },
                at: at("auth_time")?,
                challenge_at: at("challenge_time")?,
                mfa_at: at("mfa_time")?,
            })
        }
        Some(_) => return Err(Unreadable::Malformed("no object of assurance".to_owned())),
    };
    let incoming = raw.into_incoming().map_err(malformed)?;
    let mut request = incoming.request;
    request.context.assurance = assurance;
    request.context.time = incoming.time.map_err(malformed)?;
    Ok(request)
}

fn level(number: i64) -> Result<Level, Unreadable> {
    Level::from_number(number)
        .ok_or_else(|| Unreadable::Malformed(format!("{number} is no level of assurance")))
}

/// The assurance behind its ages.
fn assurance_of(facts: &Facts, time: Timestamp) -> Result<Assurance, Unreadable> {
    let words = &facts.assurance;
    let (Some(number), Some(age)) = (words.level, words.age_seconds) else {
        return Err(Unreadable::Malformed("no assurance".to_owned()));
    };
    Ok(Assurance::of_ages(
        level(number)?,
        age,
        words.challenge_age_seconds,
        words.mfa_age_seconds,
        time,
    ))
}

/// Points by feature, in the order in which they stand.
struct Contributions(Vec<(String, i32)>);

impl<'de> Deserialize<'de> for Contributions {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Contributions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("points by feature")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut points = Vec::new();
                while let Some(entry) = members.next_entry()? {
                    points.push(entry);
                }
                Ok(Contributions(points))
            }
        }
        from.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests;
