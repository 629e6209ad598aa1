//! How a test is written.
//!
//! A file is an array of tests, in JSON or YAML. Every key is known or refused, and every word of
//! the vocabulary is held against [`GROUPS`](domain::facts::GROUPS) while it is read, so that
//! what is wrong has a line and a column.

use std::fmt;
use std::marker::PhantomData;

use domain::facts::{self, Fact, Facts, Kind, Word};
use domain::signal::Source;
use domain::{Rung, Timestamp};
use policy::{Problem, SourceFile};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

/// One test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// What it shows.
    pub(super) name: Option<String>,
    pub(super) request: RawRequest,
    /// Entities in Cedar's form, or the name of a file with them beside the tests; the set's own
    /// by default.
    pub(super) entities: Option<Value>,
    /// Entities over those: one of the same uid takes the other's place.
    #[serde(default)]
    pub(super) more_entities: Vec<Value>,

    /// What Cedar must say, as in `cedar run-tests`.
    pub(super) decision: Option<RawDecision>,
    /// Policies that must be among those that determine it.
    #[serde(default)]
    pub(super) reason: Vec<String>,
    /// How many policies fail.
    pub(super) num_errors: Option<usize>,

    // What is given beyond Cedar's form.
    /// Short for `risk: {score: …}`.
    pub(super) score: Option<Score>,
    #[serde(default)]
    pub(super) risk: Given<Risk>,
    #[serde(default)]
    pub(super) signals: Given<Signals>,
    #[serde(default)]
    pub(super) assurance: Given<Assurance>,
    #[serde(default)]
    pub(super) device: Given<Device>,
    #[serde(default)]
    pub(super) network: Given<Network>,
    #[serde(default)]
    pub(super) session: Given<Session>,
    #[serde(default)]
    pub(super) actor: Given<Actor>,
    /// The moment, RFC 3339.
    pub(super) time: Option<Moment>,
    /// Sources that failed.
    #[serde(default)]
    pub(super) unavailable: Vec<Failed>,

    // What is wanted beyond Cedar's form.
    /// The rung of the ladder.
    pub(super) outcome: Option<Outcome>,
    /// What settles it, for example `unknown_subject`.
    pub(super) cause: Option<String>,
    /// Policies that must be among those that the answer names.
    pub(super) policies: Option<Vec<String>>,
}

/// The request in Cedar's words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRequest {
    pub(super) principal: String,
    pub(super) action: String,
    pub(super) resource: String,
    #[serde(default)]
    pub(super) context: serde_json::Map<String, Value>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawDecision {
    Allow,
    Deny,
}

impl Case {
    /// Whether it is a test of `cedar run-tests` and nothing more.
    pub(super) fn is_plain(&self) -> bool {
        let gives = self.score.is_some()
            || self.risk.is_given()
            || self.signals.is_given()
            || self.assurance.is_given()
            || self.device.is_given()
            || self.network.is_given()
            || self.session.is_given()
            || self.actor.is_given()
            || self.time.is_some()
            || !self.unavailable.is_empty();
        let wants = self.outcome.is_some() || self.cause.is_some() || self.policies.is_some();
        !gives && !wants
    }
}

/// A group of the vocabulary, by its name.
pub(super) trait Named {
    const GROUP: &'static str;
}

macro_rules! groups {
    ($($type:ident = $name:literal),+) => {$(
        #[derive(Debug)]
        pub(super) struct $type;
        impl Named for $type {
            const GROUP: &'static str = $name;
        }
    )+};
}
groups!(
    Risk = "risk",
    Signals = "signals",
    Assurance = "assurance",
    Device = "device",
    Network = "network",
    Session = "session",
    Actor = "actor"
);

/// The given words of one group; the rest of it is unknown.
#[derive(Debug)]
pub(super) struct Given<G> {
    pub(super) facts: Option<Box<Facts>>,
    group: PhantomData<G>,
}

impl<G> Default for Given<G> {
    fn default() -> Self {
        Self {
            facts: None,
            group: PhantomData,
        }
    }
}

impl<G> Given<G> {
    const fn is_given(&self) -> bool {
        self.facts.is_some()
    }

    /// The facts with these words known; everything is unknown when none is given.
    pub(super) fn known(&self) -> Facts {
        self.facts.as_deref().cloned().unwrap_or_default()
    }
}

impl<'de, G: Named> Deserialize<'de> for Given<G> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(GivenVisitor::<G>(PhantomData))
    }
}

struct GivenVisitor<G>(PhantomData<G>);

impl<'de, G: Named> Visitor<'de> for GivenVisitor<G> {
    type Value = Given<G>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "words of `{}` with their values", G::GROUP)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Given<G>, A::Error> {
        let words = facts::group(G::GROUP).map_or(&[][..], |group| group.words);
        let mut facts = Box::<Facts>::default();
        while let Some(name) = members.next_key::<String>()? {
            let word = words
                .iter()
                .find(|word| word.name == name)
                .ok_or_else(|| A::Error::custom(unknown(G::GROUP, &name, words)))?;
            if (word.get)(&facts).is_some() {
                return Err(A::Error::custom(format!("`{name}` comes twice")));
            }
            let fits = match word.kind {
                Kind::Bool => (word.set)(&mut facts, Fact::Bool(members.next_value()?)),
                Kind::Long => (word.set)(&mut facts, Fact::Long(members.next_value()?)),
                Kind::Text => {
                    let text: String = members.next_value()?;
                    (word.set)(&mut facts, Fact::Text(&text))
                }
                Kind::Address => {
                    let text: String = members.next_value()?;
                    let address: std::net::IpAddr = text.parse().map_err(|_| {
                        A::Error::custom(format!("`{text}` is no IPv4 or IPv6 address"))
                    })?;
                    (word.set)(&mut facts, Fact::Address(address.to_canonical()))
                }
                Kind::Moment => {
                    let Moment(at) = members.next_value()?;
                    (word.set)(&mut facts, Fact::Moment(at))
                }
            };
            if !fits {
                return Err(A::Error::custom(format!("`{name}` has another type")));
            }
        }
        Ok(Given {
            facts: Some(facts),
            group: PhantomData,
        })
    }
}

fn unknown(group: &str, name: &str, words: &[Word]) -> String {
    let names = || words.iter().map(|word| word.name);
    match nearest(name, names()) {
        Some(near) => format!("`{group}` has no word `{name}`; is `{near}` meant?"),
        None => {
            let names: Vec<&str> = names().collect();
            format!(
                "`{group}` has no word `{name}`; it has {}",
                names.join(", ")
            )
        }
    }
}

/// The name that somebody who wrote another may have meant: at most a third of it is different.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (distance(name, known), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| distance * 3 <= known.chars().count())
        .map(|(_, known)| known)
}

/// How many letters one must add, take away, change or swap with their neighbour to make one word
/// of the other (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (down, letter) in one.iter().enumerate() {
        let mut next = vec![down + 1];
        for (across, wanted) in other.iter().enumerate() {
            let changed = at(&row, across) + usize::from(wanted != letter);
            let added = at(&next, across).min(at(&row, across + 1)) + 1;
            let swaps = across > 0
                && down > 0
                && one.get(down - 1) == Some(wanted)
                && other.get(across - 1) == Some(letter);
            let swapped = if swaps {
                at(&before, across - 1) + 1
            } else {
                changed
            };
            next.push(changed.min(added).min(swapped));
        }
        before = std::mem::replace(&mut row, next);
    }
    at(&row, other.len())
}

/// A score, 0 to 100.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score(pub(super) u8);

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let points = i64::deserialize(from)?;
        u8::try_from(points)
            .ok()
            .filter(|points| *points <= 100)
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("the score is {points}: 0 to 100")))
    }
}

/// A moment, RFC 3339.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        wire::time::parse(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is no time as in RFC 3339, for example 2026-11-20T23:01:00Z"
            ))
        })
    }
}

/// A source that failed, by its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed(pub(super) Source);

impl<'de> Deserialize<'de> for Failed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        Source::from_name(&name).map(Self).ok_or_else(|| {
            let known = Source::ALL.map(Source::name).join(", ");
            D::Error::custom(format!("there is no source `{name}`; there are {known}"))
        })
    }
}

/// A rung of the ladder, by its word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome(pub(super) Rung);

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        Rung::from_word(&word).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "`{word}` is no outcome: allow, challenge, mfa or deny"
            ))
        })
    }
}

/// Whether a file is no test but entities in Cedar's JSON form, for tests to name.
pub(super) fn is_entities(file: &SourceFile) -> bool {
    let Ok(Value::Array(items)) = serde_json::from_str(&file.text) else {
        return false;
    };
    !items.is_empty() && items.iter().all(|item| item.get("uid").is_some())
}

/// Reads the tests of a file.
pub(super) fn read(file: &SourceFile) -> Result<Vec<Case>, Box<Problem>> {
    let found = if file.name.ends_with(".json") {
        serde_json::from_str::<Vec<Case>>(&file.text)
            .map_err(|error| (error.to_string(), Some((error.line(), error.column()))))
    } else {
        serde_yaml_ng::from_str::<Vec<Case>>(&file.text).map_err(|error| {
            let place = error.location().map(|at| (at.line(), at.column()));
            (error.to_string(), place)
        })
    };
    found.map_err(|(message, place)| {
        let place = place.filter(|(line, _)| *line > 0);
        // The place stands before the message, where editors look for it.
        let message = match message.rfind(" at line ") {
            Some(end) if place.is_some() => message.get(..end).unwrap_or(&message).to_owned(),
            _ => message,
        };
        let message = message.trim_start_matches('.');
        let line = place.and_then(|(line, _)| file.text.lines().nth(line - 1));
        let problem = Problem {
            place: place.map(|(line, column)| (line, column.max(1))),
            line: line.map(|line| line.trim_end().to_owned()),
            ..Problem::error(&file.name, message)
        };
        Box::new(
            problem
                .with_help("a file of tests is an array of them; policies/README.md has the form"),
        )
    })
}
