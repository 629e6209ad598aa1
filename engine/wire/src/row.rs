//! An event as a row of a flat table, as Parquet files hold it.
//!
//! What is asked for most has a column of its own; everything else stands in `rest` as JSON, so
//! that a row says exactly what the event's line says.

use domain::{DeviceClaim, Timestamp, Value};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};

use crate::event::{Event, Label, WrittenClaim, WrittenWish, result_word};
use crate::json::{Object, Written, WrittenObject};
use crate::request::{Incoming, Malformed, RawAction, RawParty, RawQuestion, RawResult, read};

/// Columns of text by name, each with whether a row must have it. `attack` and `benign` hold the
/// name of the label, `result` is `success` or `failure`, and `rest` is a JSON object with the
/// members `subject`, `action`, `resource` (their properties) and `context` (what has no column).
pub const TEXTS: [(&str, bool); 16] = [
    ("subject_type", true),
    ("subject_id", true),
    ("action", true),
    ("resource_type", true),
    ("resource_id", true),
    ("ip", false),
    ("user_agent", false),
    ("session_id", false),
    ("device_id", false),
    ("device_os", false),
    ("device_os_version", false),
    ("device_fingerprint", false),
    ("result", false),
    ("attack", false),
    ("benign", false),
    ("rest", false),
];

/// Columns that are true, false or nothing.
pub const FLAGS: [&str; 2] = ["device_managed", "device_compliant"];

/// A row: the time, and the columns in the order of [`TEXTS`] and [`FLAGS`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// When the question was put.
    pub time: Timestamp,
    /// [`TEXTS`].
    pub texts: [Option<String>; TEXTS.len()],
    /// [`FLAGS`].
    pub flags: [Option<bool>; FLAGS.len()],
}

impl Row {
    /// The row of an event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let request = &event.request;
        let context = &request.context;
        let name = |name: &domain::Name| Some(name.as_str().to_owned());
        let device = context.device.clone().unwrap_or_default();
        let (attack, benign) = match event.label.clone() {
            Some(Label::Attack(name)) => (Some(name), None),
            Some(Label::Benign(name)) => (None, Some(name)),
            None => (None, None),
        };
        let rest = Rest(event);
        Self {
            time: event.time,
            texts: [
                name(&request.subject.entity.kind),
                name(&request.subject.entity.id),
                name(&request.action.name),
                name(&request.resource.entity.kind),
                name(&request.resource.entity.id),
                context.ip.map(|ip| ip.to_string()),
                context.user_agent.clone(),
                context.session_id.clone(),
                device.id,
                device.os,
                device.os_version,
                device.fingerprint,
                request.result.map(|result| result_word(result).to_owned()),
                attack,
                benign,
                // Text alone cannot fail to be written.
                rest.says_something()
                    .then(|| serde_json::to_string(&rest).unwrap_or_default()),
            ],
            flags: [device.managed, device.compliant],
        }
    }

    /// The event of a row, under the same checks as a line's.
    ///
    /// # Errors
    /// When it is not an event; the message names the member.
    pub fn into_event(self) -> Result<Event, Malformed> {
        let [
            subject_type,
            subject_id,
            action,
            resource_type,
            resource_id,
            ip,
            user_agent,
            session_id,
            device_id,
            device_os,
            device_os_version,
            device_fingerprint,
            result,
            attack,
            benign,
            rest,
        ] = self.texts;
        let [managed, compliant] = self.flags;
        let missing = |column: &str| Malformed(format!("`{column}` is missing"));
        let rest: RawRest = match rest {
            Some(rest) => {
                read(rest.as_bytes()).map_err(|Malformed(why)| Malformed(format!("rest: {why}")))?
            }
            None => RawRest::default(),
        };
        let mut context = rest.context.unwrap_or_default();
        let mut device = match context.0.remove("device") {
            Some(Value::Record(device)) => Some(device),
            _ => None,
        };
        for (name, value) in [
            ("id", device_id.map(Value::Text)),
            ("os", device_os.map(Value::Text)),
            ("os_version", device_os_version.map(Value::Text)),
            ("fingerprint", device_fingerprint.map(Value::Text)),
            ("managed", managed.map(Value::Bool)),
            ("compliant", compliant.map(Value::Bool)),
        ] {
            if let Some(value) = value {
                device
                    .get_or_insert_default()
                    .insert(name.to_owned(), value);
            }
        }
        for (name, value) in [
            ("ip", ip.map(Value::Text)),
            ("user_agent", user_agent.map(Value::Text)),
            ("session_id", session_id.map(Value::Text)),
            ("device", device.map(Value::Record)),
        ] {
            if let Some(value) = value {
                context.0.insert(name.to_owned(), value);
            }
        }
        let question = RawQuestion {
            subject: Some(RawParty {
                kind: subject_type.ok_or_else(|| missing("subject_type"))?,
                id: subject_id.ok_or_else(|| missing("subject_id"))?,
                properties: rest.subject,
            }),
            action: Some(RawAction {
                name: action.ok_or_else(|| missing("action"))?,
                properties: rest.action,
            }),
            resource: Some(RawParty {
                kind: resource_type.ok_or_else(|| missing("resource_type"))?,
                id: resource_id.ok_or_else(|| missing("resource_id"))?,
                properties: rest.resource,
            }),
            context: Some(context),
            result: match result.as_deref() {
                None => None,
                Some("success") => Some(RawResult::Success),
                Some("failure") => Some(RawResult::Failure),
                Some(_) => {
                    return Err(Malformed(
                        "`result` is neither `success` nor `failure`".to_owned(),
                    ));
                }
            },
        };
        let Incoming {
            request, assurance, ..
        } = question.into_incoming()?;
        Ok(Event {
            request,
            time: self.time,
            assurance,
            label: match (attack, benign) {
                (None, None) => None,
                (Some(name), None) => Some(Label::Attack(name)),
                (None, Some(name)) => Some(Label::Benign(name)),
                (Some(_), Some(_)) => {
                    return Err(Malformed("both `attack` and `benign`".to_owned()));
                }
            },
        })
    }
}

#[derive(Default, Deserialize)]
struct RawRest {
    #[serde(default)]
    subject: Option<Object>,
    #[serde(default)]
    action: Option<Object>,
    #[serde(default)]
    resource: Option<Object>,
    #[serde(default)]
    context: Option<Object>,
}

/// What has no column.
struct Rest<'a>(&'a Event);

impl Rest<'_> {
    fn says_something(&self) -> bool {
        let request = &self.0.request;
        !request.subject.properties.is_empty()
            || !request.action.properties.is_empty()
            || !request.resource.properties.is_empty()
            || self.context().says_something()
    }

    const fn context(&self) -> RestOfContext<'_> {
        RestOfContext(self.0)
    }
}

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let request = &self.0.request;
        let mut map = to.serialize_map(None)?;
        for (name, properties) in [
            ("subject", &request.subject.properties),
            ("action", &request.action.properties),
            ("resource", &request.resource.properties),
        ] {
            if !properties.is_empty() {
                map.serialize_entry(name, &WrittenObject(properties))?;
            }
        }
        let context = self.context();
        if context.says_something() {
            map.serialize_entry("context", &context)?;
        }
        map.end()
    }
}

struct RestOfContext<'a>(&'a Event);

impl RestOfContext<'_> {
    /// A device of which nothing is said, which is not the same as none.
    fn has_blank_device(&self) -> bool {
        self.0.request.context.device == Some(DeviceClaim::default())
    }

    fn says_something(&self) -> bool {
        let context = &self.0.request.context;
        self.0.assurance.is_some()
            || context.token.is_some()
            || context.dry_run
            || !context.extra.is_empty()
            || self.has_blank_device()
    }
}

impl Serialize for RestOfContext<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let context = &self.0.request.context;
        let mut map = to.serialize_map(None)?;
        if self.has_blank_device() {
            map.serialize_entry("device", &WrittenObject(&domain::value::Attributes::new()))?;
        }
        if let Some(claim) = &self.0.assurance {
            map.serialize_entry("assurance", &WrittenClaim(claim))?;
        }
        if let Some(token) = &context.token {
            map.serialize_entry("token", &WrittenWish(token))?;
        }
        if context.dry_run {
            map.serialize_entry("dry_run", &true)?;
        }
        for (name, value) in &context.extra {
            map.serialize_entry(name, &Written(value))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{WrittenEvent, parse};

    fn line(event: &Event) -> String {
        serde_json::to_string(&WrittenEvent {
            event,
            as_question: false,
        })
        .unwrap()
    }

    #[test]
    fn a_row_says_what_its_line_says() {
        for text in [
            r#"{"time":"2026-03-02T09:00:00.000Z","subject":{"type":"User","id":"alice"},"action":{"name":"read"},"resource":{"type":"Document","id":"handbook"},"context":{}}"#,
            r#"{"time":"2026-03-02T09:00:00.001Z","subject":{"type":"User","id":"alice","properties":{"department":"r&d"}},"action":{"name":"read","properties":{"bytes":1.5}},"resource":{"type":"Document","id":"handbook","properties":{"tags":["a",[],{}]}},"context":{"ip":"2001:db8::1","user_agent":"","session_id":"s","device":{"id":"d1","os":"macOS","os_version":"15","fingerprint":"f","managed":true,"compliant":false},"assurance":{"level":2,"acr":"x","amr":["pwd","otp"],"auth_time":"2026-03-02T08:00:00.000Z"},"token":{"audience":"https://a.example","scope":"read write"},"dry_run":true,"shift":"early"},"result":"failure","label":{"attack":"stuffing"}}"#,
            r#"{"time":"2026-03-02T09:00:00.000Z","subject":{"type":"User","id":"alice"},"action":{"name":"read"},"resource":{"type":"Document","id":"handbook"},"context":{"device":{},"assurance":{}},"result":"success","label":{"benign":"trip"}}"#,
        ] {
            let event = parse(text.as_bytes()).unwrap();
            assert_eq!(line(&event), text);
            let row = Row::of(&event);
            assert_eq!(line(&row.into_event().unwrap()), text);
        }
    }

    #[test]
    fn a_row_is_checked_as_a_line_is() {
        let event = parse(br#"{"time":"2026-03-02T09:00:00Z","subject":{"type":"User","id":"a"},"action":{"name":"read"},"resource":{"type":"Document","id":"b"},"context":{"ip":"192.0.2.1"}}"#).unwrap();
        let set = |column: &str, value: Option<&str>| {
            let mut row = Row::of(&event);
            let place = TEXTS.iter().position(|(name, _)| *name == column).unwrap();
            row.texts[place] = value.map(str::to_owned);
            row.into_event().map(|_| ()).unwrap_err().0
        };
        assert_eq!(set("subject_id", None), "`subject_id` is missing");
        assert_eq!(set("subject_id", Some("")), "`subject.id` is empty");
        assert!(set("ip", Some("home")).starts_with("`context.ip` is not"));
        assert!(set("result", Some("maybe")).starts_with("`result` is neither"));
        assert!(set("rest", Some("[]")).starts_with("rest: "));
        assert!(
            set("rest", Some(r#"{"context":{"assurance":{"level":9}}}"#)).contains("assurance")
        );
        assert!(set("rest", Some(&"[".repeat(9000))).starts_with("rest: "));
    }
}
