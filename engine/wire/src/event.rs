//! Events: one JSON object a line, a question with its time, what became of it, and a label.

use std::collections::BTreeMap;

use domain::{
    AccessRequest, ActionResult, Assurance, DeviceClaim, Party, RequestContext, Timestamp,
    TokenWish,
};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};

use crate::json::WrittenObject;
use crate::request::{AssuranceClaim, Incoming, Malformed, RawQuestion, read};
use crate::time::{self, Rfc3339};

/// One event, as imports write and training reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The question.
    pub request: AccessRequest,
    /// When it was put.
    pub time: Timestamp,
    /// What the source says of the authentication.
    pub assurance: Option<AssuranceClaim>,
    /// What it really was, where that is known.
    pub label: Option<Label>,
}

impl Event {
    /// Whether it asks for an access. The rest are facts that were observed, which count, and
    /// about which nothing is decided: failures, and how a prompt ended.
    #[must_use]
    pub fn is_question(&self) -> bool {
        self.request.result != Some(ActionResult::Failure) && !self.is_of_a_prompt()
    }

    /// Whether it can be told as a fact: it is about a sign-in or a prompt, and says how it
    /// ended.
    #[must_use]
    pub fn is_tellable(&self) -> bool {
        let login = self.request.action.name.as_str() == "login";
        self.request.result.is_some() && (login || self.is_of_a_prompt())
    }

    fn is_of_a_prompt(&self) -> bool {
        matches!(self.request.action.name.as_str(), "challenge" | "mfa")
    }
}

/// What an event really was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// An attack of this name.
    Attack(String),
    /// Something honest that looks like an attack.
    Benign(String),
}

#[derive(Deserialize)]
pub(crate) struct RawEvent {
    time: String,
    #[serde(default)]
    label: Option<Label>,
    #[serde(flatten)]
    question: RawQuestion,
}

/// Reads one line.
///
/// # Errors
/// When it is not an event; the message names the member.
pub fn parse(line: &[u8]) -> Result<Event, Malformed> {
    read::<RawEvent>(line)?.into_event()
}

impl RawEvent {
    pub(crate) fn into_event(self) -> Result<Event, Malformed> {
        let time = time::parse(&self.time)
            .ok_or_else(|| Malformed("`time` is not a time as in RFC 3339".to_owned()))?;
        let Incoming {
            request, assurance, ..
        } = self.question.into_incoming()?;
        Ok(Event {
            request,
            time,
            assurance,
            label: self.label,
        })
    }
}

/// An event, to be written.
#[derive(Clone, Copy, Debug)]
pub struct WrittenEvent<'a> {
    /// The event.
    pub event: &'a Event,
    /// Whether the time goes into `context`, as the engine takes it, instead of beside it, as
    /// files hold it.
    pub as_question: bool,
}

impl Serialize for WrittenEvent<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let mut map = to.serialize_map(None)?;
        if !self.as_question {
            map.serialize_entry("time", &Rfc3339(event.time))?;
        }
        map.serialize_entry("subject", &WrittenParty(&event.request.subject))?;
        map.serialize_entry("action", &WrittenAction(&event.request))?;
        map.serialize_entry("resource", &WrittenParty(&event.request.resource))?;
        map.serialize_entry(
            "context",
            &WrittenContext {
                context: &event.request.context,
                assurance: event.assurance.as_ref(),
                time: self.as_question.then_some(event.time),
            },
        )?;
        if let Some(result) = event.request.result {
            map.serialize_entry("result", result_word(result))?;
        }
        if let Some(label) = event.label.as_ref().filter(|_| !self.as_question) {
            map.serialize_entry("label", label)?;
        }
        map.end()
    }
}

pub(crate) const fn result_word(result: ActionResult) -> &'static str {
    match result {
        ActionResult::Success => "success",
        ActionResult::Failure => "failure",
    }
}

/// A question without its time, as records hold it.
pub(crate) struct WrittenRequest<'a>(pub(crate) &'a AccessRequest);

impl Serialize for WrittenRequest<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("subject", &WrittenParty(&self.0.subject))?;
        map.serialize_entry("action", &WrittenAction(self.0))?;
        map.serialize_entry("resource", &WrittenParty(&self.0.resource))?;
        let context = &self.0.context;
        map.serialize_entry(
            "context",
            &WrittenContext {
                context,
                assurance: None,
                time: context.time,
            },
        )?;
        if let Some(result) = self.0.result {
            map.serialize_entry("result", result_word(result))?;
        }
        map.end()
    }
}

struct WrittenParty<'a>(&'a Party);

impl Serialize for WrittenParty<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("type", self.0.entity.kind.as_str())?;
        map.serialize_entry("id", self.0.entity.id.as_str())?;
        if !self.0.properties.is_empty() {
            map.serialize_entry("properties", &WrittenObject(&self.0.properties))?;
        }
        map.end()
    }
}

pub(crate) struct WrittenAction<'a>(pub(crate) &'a AccessRequest);

impl Serialize for WrittenAction<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let action = &self.0.action;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("name", action.name.as_str())?;
        if !action.properties.is_empty() {
            map.serialize_entry("properties", &WrittenObject(&action.properties))?;
        }
        map.end()
    }
}

pub(crate) struct WrittenContext<'a> {
    pub(crate) context: &'a RequestContext,
    pub(crate) assurance: Option<&'a AssuranceClaim>,
    pub(crate) time: Option<Timestamp>,
}

impl Serialize for WrittenContext<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let context = self.context;
        let mut map = to.serialize_map(None)?;
        if let Some(time) = self.time {
            map.serialize_entry("time", &Rfc3339(time))?;
        }
        if let Some(ip) = &context.ip {
            map.serialize_entry("ip", ip)?;
        }
        if let Some(agent) = &context.user_agent {
            map.serialize_entry("user_agent", agent)?;
        }
        if let Some(session) = &context.session_id {
            map.serialize_entry("session_id", session)?;
        }
        if let Some(device) = &context.device {
            map.serialize_entry("device", &WrittenDevice(device))?;
        }
        if let Some(claim) = self.assurance {
            map.serialize_entry("assurance", &WrittenClaim(claim))?;
        } else if let Some(assurance) = &context.assurance {
            map.serialize_entry("assurance", &WrittenAssurance(assurance))?;
        }
        if let Some(token) = &context.token {
            map.serialize_entry("token", &WrittenWish(token))?;
        }
        if context.dry_run {
            map.serialize_entry("dry_run", &true)?;
        }
        for (name, value) in &context.extra {
            map.serialize_entry(name, &crate::json::Written(value))?;
        }
        map.end()
    }
}

struct WrittenDevice<'a>(&'a DeviceClaim);

impl Serialize for WrittenDevice<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let device = self.0;
        let mut map = to.serialize_map(None)?;
        for (name, text) in [
            ("id", &device.id),
            ("os", &device.os),
            ("os_version", &device.os_version),
            ("fingerprint", &device.fingerprint),
        ] {
            if let Some(text) = text {
                map.serialize_entry(name, text)?;
            }
        }
        for (name, flag) in [("managed", device.managed), ("compliant", device.compliant)] {
            if let Some(flag) = flag {
                map.serialize_entry(name, &flag)?;
            }
        }
        if let Some(key) = &device.proven {
            map.serialize_entry("cnf", &BTreeMap::from([key.member()]))?;
        }
        map.end()
    }
}

pub(crate) struct WrittenWish<'a>(pub(crate) &'a TokenWish);

impl Serialize for WrittenWish<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let token = self.0;
        let scope: Vec<&str> = token.scope.iter().map(domain::Name::as_str).collect();
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("audience", &token.audience)?;
        map.serialize_entry("scope", &scope.join(" "))?;
        if let Some(key) = &token.confirmation {
            map.serialize_entry("cnf", &BTreeMap::from([key.member()]))?;
        }
        map.end()
    }
}

pub(crate) struct WrittenClaim<'a>(pub(crate) &'a AssuranceClaim);

impl Serialize for WrittenClaim<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let claim = self.0;
        let mut map = to.serialize_map(None)?;
        if let Some(level) = claim.level {
            map.serialize_entry("level", &level)?;
        }
        if let Some(acr) = &claim.acr {
            map.serialize_entry("acr", acr)?;
        }
        if !claim.amr.is_empty() {
            map.serialize_entry("amr", &claim.amr)?;
        }
        if let Some(at) = claim.auth_time {
            map.serialize_entry("auth_time", &Rfc3339(at))?;
        }
        map.end()
    }
}

struct WrittenAssurance<'a>(&'a Assurance);

impl Serialize for WrittenAssurance<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let assurance = self.0;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("level", &assurance.level.number())?;
        for (name, at) in [
            ("auth_time", assurance.at),
            ("challenge_time", assurance.challenge_at),
            ("mfa_time", assurance.mfa_at),
        ] {
            if let Some(at) = at {
                map.serialize_entry(name, &Rfc3339(at))?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_a_round_trip() {
        let line = br#"{"time":"2026-03-02T09:00:00.000Z","subject":{"type":"User","id":"alice"},"action":{"name":"read"},"resource":{"type":"Document","id":"handbook"},"context":{"ip":"::ffff:192.0.2.7","device":{"id":"d1","managed":true},"assurance":{"level":1,"auth_time":1772442000},"shift":"early"},"result":"failure","label":{"attack":"stuffing"}}"#;
        let event = parse(line).unwrap();
        assert_eq!(event.request.context.ip, Some([192, 0, 2, 7].into()));
        assert_eq!(event.label, Some(Label::Attack("stuffing".to_owned())));
        let written = WrittenEvent {
            event: &event,
            as_question: false,
        };
        let text = serde_json::to_vec(&written).unwrap();
        assert_eq!(parse(&text).unwrap(), event);

        let question = WrittenEvent {
            event: &event,
            as_question: true,
        };
        let text = serde_json::to_vec(&question).unwrap();
        let incoming = crate::request::parse(&text).unwrap();
        assert_eq!(incoming.time, Ok(Some(event.time)));
        assert_eq!(incoming.request.result, Some(ActionResult::Failure));
    }
}
