//! Security event tokens (RFC 8417) as SSF 1.0 §4 profiles them: the claims, without the signature.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::{BadEvent, Event};
use crate::subject::{BadSubject, Subject};

/// `typ` of the token (RFC 8417 §2.3; SSF 1.0 §4.1.1 demands it).
pub const TYP: &str = "secevent+jwt";

/// Events in one token at most. One is the rule of the interoperability profile.
const EVENTS_MAX: usize = 8;

/// What one of our own tokens says. It has one event, no `sub` and no `exp` (SSF 1.0 §4.1.2):
/// nobody must take it for something that opens a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityEvent {
    /// The transmitter.
    pub iss: String,
    /// Unique; what is delivered again has the same.
    pub jti: String,
    /// When the token was made, seconds.
    pub iat: i64,
    /// The receivers.
    pub aud: Vec<String>,
    /// What it belongs to: the decision or the act that it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub txn: Option<String>,
    /// Whom it is about.
    pub sub_id: Subject,
    /// What happened.
    pub events: Event,
}

/// A token that was received, its signature verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The transmitter.
    pub iss: String,
    /// Unique for the transmitter.
    pub jti: String,
    /// When the token was made, seconds.
    pub iat: i64,
    /// The receivers.
    pub aud: Vec<String>,
    /// What it belongs to at the transmitter.
    pub txn: Option<String>,
    /// Whom it is about.
    pub sub_id: Subject,
    /// What happened, as far as it is known here.
    pub events: Vec<Event>,
    /// The URIs of what is not.
    pub unknown: Vec<String>,
}

/// Why a token is none that may be acted on (RFC 8935 §2.4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSet {
    /// A claim is missing or of another kind.
    #[error("`{0}` is missing or of the wrong type")]
    Claim(&'static str),
    /// A claim that must not be there, or it could be taken for another kind of token.
    #[error("`{0}` must not be in a security event token")]
    Forbidden(&'static str),
    /// None, or too many.
    #[error("`events` must hold 1 to 8 events")]
    Events,
    /// An event lacks something.
    #[error("{0}")]
    Event(#[from] BadEvent),
    /// The subject makes no sense.
    #[error("`sub_id`: {0}")]
    Subject(#[from] BadSubject),
}

/// `aud` may be one text or several (RFC 7519 §4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Received {
    /// Reads the claims of a token.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(mut claims: Map<String, Value>) -> Result<Self, BadSet> {
        for name in ["sub", "exp"] {
            if claims.contains_key(name) {
                return Err(BadSet::Forbidden(name));
            }
        }
        let text = |value: Option<&Value>, name| match value {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            _ => Err(BadSet::Claim(name)),
        };
        let iss = text(claims.get("iss"), "iss")?;
        let jti = text(claims.get("jti"), "jti")?;
        let iat = claims
            .get("iat")
            .and_then(Value::as_i64)
            .ok_or(BadSet::Claim("iat"))?;
        let txn = claims
            .get("txn")
            .map(|txn| text(Some(txn), "txn"))
            .transpose()?;
        let aud = claims.remove("aud").unwrap_or_default();
        let aud = match serde_json::from_value(aud).map_err(|_| BadSet::Claim("aud"))? {
            Audience::One(one) => vec![one],
            Audience::Several(several) => several,
        };
        let sub_id = claims.remove("sub_id").unwrap_or_default();
        let sub_id: Subject =
            serde_json::from_value(sub_id).map_err(|_| BadSet::Claim("sub_id"))?;
        sub_id.check()?;
        let Some(Value::Object(bodies)) = claims.remove("events") else {
            return Err(BadSet::Claim("events"));
        };
        if !(1..=EVENTS_MAX).contains(&bodies.len()) {
            return Err(BadSet::Events);
        }
        let (mut events, mut unknown) = (Vec::new(), Vec::new());
        for (uri, body) in bodies {
            match Event::read(&uri, body)? {
                Some(event) => events.push(event),
                None => unknown.push(uri),
            }
        }
        Ok(Self {
            iss,
            jti,
            iat,
            aud,
            txn,
            sub_id,
            events,
            unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::Common;

    fn claims(change: impl FnOnce(&mut Map<String, Value>)) -> Map<String, Value> {
        let written = SecurityEvent {
            iss: "https://idp.example".to_owned(),
            jti: "1".to_owned(),
            iat: 1_795_215_660,
            aud: vec!["https://pdp.example".to_owned()],
            txn: None,
            sub_id: Subject::Opaque { id: "a".to_owned() },
            events: Event::SessionRevoked(Common::default()),
        };
        let Value::Object(mut claims) = serde_json::to_value(written).unwrap() else {
            panic!("an object");
        };
        change(&mut claims);
        claims
    }

    #[test]
    fn what_is_written_is_read() {
        let read = Received::read(claims(|_| ())).unwrap();
        assert_eq!(read.events, [Event::SessionRevoked(Common::default())]);
        assert_eq!(
            (read.iss.as_str(), read.iat),
            ("https://idp.example", 1_795_215_660)
        );
        let read = Received::read(claims(|claims| {
            claims.insert("aud".to_owned(), json!("https://pdp.example"));
            claims["events"]["urn:new"] = json!({"x": 1});
            claims.insert("another".to_owned(), json!([]));
        }));
        let read = read.unwrap();
        assert_eq!(read.aud, ["https://pdp.example"]);
        assert_eq!(
            (read.events.len(), &*read.unknown),
            (1, &["urn:new".to_owned()][..])
        );
    }

    #[test]
    fn what_could_be_another_token_or_says_nothing_is_refused() {
        for (name, value) in [
            ("exp", json!(1_795_215_960)),
            ("sub", json!("User/alice")),
            ("iss", json!("")),
            ("iss", json!(["https://idp.example"])),
            ("jti", Value::Null),
            ("iat", json!("now")),
            ("iat", json!(1.5)),
            ("aud", json!({})),
            ("txn", json!(1)),
            ("sub_id", json!("alice")),
            ("sub_id", json!({"format": "email"})),
            ("sub_id", json!({"format": "email", "email": ""})),
            ("events", json!([])),
            ("events", json!({})),
            (
                "events",
                json!({"https://schemas.openid.net/secevent/caep/event-type/risk-level-change": {}}),
            ),
        ] {
            let changed = claims(|claims| {
                claims.insert(name.to_owned(), value.clone());
            });
            assert!(Received::read(changed).is_err(), "{name}: {value}");
            if !matches!(name, "exp" | "sub" | "txn") {
                let without = claims(|claims| {
                    claims.remove(name);
                });
                assert!(Received::read(without).is_err(), "without {name}");
            }
        }
    }
}
