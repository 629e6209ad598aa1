//! Records of the journal, read back: decisions as events, and what was told about them.

use std::collections::BTreeMap;

use domain::{Timestamp, Value};
use serde::Deserialize;

use crate::event::{Event, RawEvent};
use crate::record::RECORD_VERSION;
use crate::request::{Incoming, Malformed, RawQuestion, read};
use crate::time;

/// The member of an event's context that says what was decided then: `outcome`, `score`,
/// `decision_id`, and `step_up`, the level of a step-up that was passed for it.
pub const DECIDED: &str = "decided";

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A question, and what was decided.
    Decision(Box<Decided>),
    /// A step-up was passed for a decision.
    StepUp {
        /// Which decision.
        decision_id: String,
        /// 2 a challenge, 3 MFA.
        level: u8,
    },
    /// A person's word on a decision.
    Feedback {
        /// Which decision.
        decision_id: String,
        /// "This was me."
        legitimate: bool,
    },
    /// Something observed elsewhere.
    Event(Box<Event>),
}

/// A decision, as far as an event says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Its id.
    pub decision_id: String,
    /// `access`, `dry_run` or `batch`.
    pub manner: String,
    /// The rung.
    pub outcome: String,
    /// 0 to 100.
    pub score: u8,
    /// The question, at the moment that it was decided for.
    pub event: Event,
}

impl Decided {
    /// The event, which says under [`DECIDED`] what was decided and whether a step-up was passed.
    #[must_use]
    pub fn into_event(self, step_up: Option<u8>) -> Event {
        let mut decided = BTreeMap::from([
            ("decision_id".to_owned(), Value::Text(self.decision_id)),
            ("outcome".to_owned(), Value::Text(self.outcome)),
            ("score".to_owned(), Value::Long(self.score.into())),
        ]);
        if let Some(level) = step_up {
            decided.insert("step_up".to_owned(), Value::Long(level.into()));
        }
        let mut event = self.event;
        let extra = &mut event.request.context.extra;
        extra.insert(DECIDED.to_owned(), Value::Record(decided));
        event
    }
}

/// Whether an access that was decided before ended trusted then: it was allowed, or the step-up
/// that it needed was passed. Only that is learnt as usual. None when the event was not decided.
#[must_use]
pub fn ended_trusted(event: &Event) -> Option<bool> {
    let Some(Value::Record(decided)) = event.request.context.extra.get(DECIDED) else {
        return None;
    };
    let passed = match decided.get("step_up") {
        Some(Value::Long(level)) => *level,
        _ => 0,
    };
    match decided.get("outcome") {
        Some(Value::Text(outcome)) => Some(match outcome.as_str() {
            "allow" => true,
            "challenge" => passed >= 2,
            "mfa" => passed >= 3,
            _ => false,
        }),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Head {
    v: u32,
    #[serde(default)]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct RawDecision {
    decision_id: String,
    time: String,
    manner: String,
    outcome: String,
    score: u8,
    request: RawQuestion,
}

#[derive(Deserialize)]
struct RawStepUp {
    decision_id: String,
    level: u8,
}

#[derive(Deserialize)]
struct RawFeedback {
    decision_id: String,
    legitimate: bool,
}

#[derive(Deserialize)]
struct Observed {
    event: RawEvent,
}

/// Reads what was told about decisions, and passes over the decisions themselves, which are far
/// more. None for them and for everything else.
///
/// # Errors
/// When it is no record, or one of a version that this engine does not know.
pub fn read_word(text: &[u8]) -> Result<Option<Told>, Malformed> {
    Ok(match kind(text)?.as_deref() {
        Some("step_up") => {
            let RawStepUp { decision_id, level } = read(text)?;
            Some(Told::StepUp { decision_id, level })
        }
        Some("feedback") => {
            let raw: RawFeedback = read(text)?;
            Some(Told::Feedback {
                decision_id: raw.decision_id,
                legitimate: raw.legitimate,
            })
        }
        _ => None,
    })
}

/// Reads a record. None for a kind that says nothing about an access.
///
/// # Errors
/// When it is no record, or one of a version that this engine does not know.
pub fn read_record(text: &[u8]) -> Result<Option<Told>, Malformed> {
    Ok(match kind(text)?.as_deref() {
        None => {
            let raw: RawDecision = read(text)?;
            let Incoming {
                request, assurance, ..
            } = raw.request.into_incoming()?;
            Some(Told::Decision(Box::new(Decided {
                decision_id: raw.decision_id,
                manner: raw.manner,
                outcome: raw.outcome,
                score: raw.score,
                event: Event {
                    request,
                    time: moment(&raw.time)?,
                    assurance,
                    label: None,
                },
            })))
        }
        Some("event") => {
            let Observed { event } = read(text)?;
            Some(Told::Event(Box::new(event.into_event()?)))
        }
        Some(_) => read_word(text)?,
    })
}

fn kind(text: &[u8]) -> Result<Option<String>, Malformed> {
    let head: Head = read(text)?;
    if head.v > RECORD_VERSION {
        return Err(Malformed(format!(
            "the record is of version {}, and this engine knows {RECORD_VERSION}",
            head.v
        )));
    }
    Ok(head.kind)
}

fn moment(text: &str) -> Result<Timestamp, Malformed> {
    time::parse(text).ok_or_else(|| Malformed("`time` is not a time as in RFC 3339".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECISION: &str = r#"{"v":1,"decision_id":"d","at":"2026-03-02T09:00:01.000Z","time":"2026-03-02T09:00:00.000Z","replayed":true,"manner":"access","outcome":"mfa","cause":"x","score":67,"caller":"k","request_id":"r","request":{"subject":{"type":"User","id":"alice"},"action":{"name":"read"},"resource":{"type":"Document","id":"handbook"},"context":{"time":"2026-03-02T09:00:00.000Z","ip":"192.0.2.7","assurance":{"level":1,"auth_time":"2026-03-02T08:00:00.000Z","challenge_time":"2026-03-02T08:00:00.000Z"},"shift":"early"}},"facts":{},"features":[null,0.5]}"#;

    #[test]
    fn a_decision_becomes_an_event_that_says_what_was_decided() {
        let Some(Told::Decision(decided)) = read_record(DECISION.as_bytes()).unwrap() else {
            panic!("no decision")
        };
        assert_eq!((decided.manner.as_str(), decided.score), ("access", 67));
        assert_eq!(time::format(decided.event.time), "2026-03-02T09:00:00.000Z");
        assert_eq!(decided.event.assurance.as_ref().unwrap().level, Some(1));
        assert_eq!(ended_trusted(&decided.event), None);
        for (step_up, trusted) in [(None, false), (Some(2), false), (Some(3), true)] {
            let event = decided.clone().into_event(step_up);
            assert_eq!(ended_trusted(&event), Some(trusted), "{step_up:?}");
            assert!(event.request.context.extra.contains_key("shift"));
        }
        assert_eq!(read_word(DECISION.as_bytes()).unwrap(), None);
    }

    #[test]
    fn words_and_events_are_read_and_newer_versions_are_not_guessed() {
        let feedback = br#"{"v":1,"kind":"feedback","decision_id":"d","at":"2026-03-02T09:00:00Z","legitimate":false}"#;
        let told = Told::Feedback {
            decision_id: "d".to_owned(),
            legitimate: false,
        };
        assert_eq!(read_word(feedback).unwrap(), Some(told.clone()));
        assert_eq!(read_record(feedback).unwrap(), Some(told));
        let event = br#"{"v":1,"kind":"event","event":{"time":"2026-03-02T09:00:00Z","subject":{"type":"User","id":"a"},"action":{"name":"login"},"resource":{"type":"Application","id":"sso"},"result":"failure"}}"#;
        assert!(matches!(
            read_record(event).unwrap(),
            Some(Told::Event(event)) if event.request.result.is_some()
        ));
        assert_eq!(read_word(event).unwrap(), None);
        assert_eq!(read_record(br#"{"v":1,"kind":"other"}"#).unwrap(), None);
        let newer = read_record(br#"{"v":2,"kind":"feedback"}"#).unwrap_err();
        assert!(newer.0.contains("version 2"), "{newer}");
        assert!(read_record(b"nonsense").is_err());
    }
}
