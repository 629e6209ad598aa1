//! One question: AuthZEN 1.0 §6.1 text to [`AccessRequest`].
//!
//! Strict where AuthZEN is (a required member that is missing, a member of the wrong type),
//! lenient where it is (unknown members are ignored, order means nothing).

use std::net::IpAddr;

use domain::name::{MAX_NAME_BYTES, NameError};
use domain::value::Attributes;
use domain::{
    AccessRequest, Action, ActionResult, DeviceClaim, EntityRef, KeyThumbprint, Name, Party,
    RequestContext, Timestamp, TokenWish, Value,
};
use serde::Deserialize;

use crate::json::{Object, object};
use crate::time;

/// Longest `user_agent` that is read, bytes.
pub const USER_AGENT_MAX: usize = 2048;
/// Deepest nesting of a body.
const DEPTH_MAX: usize = 64;
/// Most scopes in a token wish.
const SCOPES_MAX: usize = 64;

/// Why a request could not be taken: HTTP 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// A request as it came in, with what only some callers may say set apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// The question; `context.time` and `context.assurance` are not filled in yet.
    pub request: AccessRequest,
    /// `context.time`: the moment to decide for, from callers that may replay. What is wrong with
    /// it is a fault for them alone: from others it is ignored, whatever it is.
    pub time: Result<Option<Timestamp>, Malformed>,
    /// `context.assurance`, from callers that may assert it.
    pub assurance: Option<AssuranceClaim>,
    /// The key that was proven with the request itself, where one was: never text of the caller's.
    pub proven: Option<KeyThumbprint>,
}

/// What a caller says of the subject's authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssuranceClaim {
    /// 0 to 3.
    pub level: Option<i64>,
    /// Authentication context class reference (RFC 9068 §2.2.1).
    pub acr: Option<String>,
    /// Authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// When it happened.
    pub auth_time: Option<Timestamp>,
}

/// A subject or resource as text holds it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RawParty {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) properties: Option<Object>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RawAction {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) properties: Option<Object>,
}

/// The members of a question; which of them may be missing depends on where it stands.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct RawQuestion {
    #[serde(default, deserialize_with = "object")]
    pub(crate) subject: Option<RawParty>,
    #[serde(default, deserialize_with = "object")]
    pub(crate) action: Option<RawAction>,
    #[serde(default, deserialize_with = "object")]
    pub(crate) resource: Option<RawParty>,
    pub(crate) context: Option<Object>,
    pub(crate) result: Option<RawResult>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawResult {
    Success,
    Failure,
}

/// Reads one question.
///
/// # Errors
/// When the text is not a JSON object of this form; the message names the member.
pub fn parse(text: &[u8]) -> Result<Incoming, Malformed> {
    read::<RawQuestion>(text)?.into_incoming()
}

/// Reads a JSON object of some form; an array is none. The path of what is wrong is worked out
/// only when something is.
///
/// # Errors
/// When the text is not of this form; the message names the member.
pub fn read<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, Malformed> {
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err(Malformed("the body must be a JSON object".to_owned()));
    }
    if is_deep(text) {
        return Err(Malformed(format!(
            "the body is nested more than {DEPTH_MAX} levels deep"
        )));
    }
    serde_json::from_slice(text).map_err(|plain| {
        let mut again = serde_json::Deserializer::from_slice(text);
        match serde_path_to_error::deserialize::<_, T>(&mut again) {
            Err(error) if error.path().iter().next().is_some() => {
                Malformed(format!("`{}`: {}", error.path(), error.inner()))
            }
            _ => Malformed(plain.to_string()),
        }
    })
}

/// Whether arrays and objects are nested deeper than anything that makes sense, in members that
/// are read and in those that are passed over. One pass over the bytes; text in quotes counts
/// for nothing.
fn is_deep(text: &[u8]) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

impl RawQuestion {
    pub(crate) fn into_incoming(self) -> Result<Incoming, Malformed> {
        let missing = |member: &str| Malformed(format!("`{member}` is missing"));
        let subject = self
            .subject
            .ok_or_else(|| missing("subject"))?
            .into_party("subject")?;
        let action = self.action.ok_or_else(|| missing("action"))?;
        let name = named(action.name, "action.name")?;
        let resource = self
            .resource
            .ok_or_else(|| missing("resource"))?
            .into_party("resource")?;
        let mut context = ContextReader(self.context.unwrap_or_default().0);
        let incoming_time = context.moment("time");
        let assurance = context.assurance()?;
        let request = AccessRequest {
            subject,
            action: Action {
                name,
                properties: action.properties.unwrap_or_default().0,
            },
            resource,
            context: context.finish()?,
            result: self.result.map(|result| match result {
                RawResult::Success => ActionResult::Success,
                RawResult::Failure => ActionResult::Failure,
            }),
        };
        Ok(Incoming {
            request,
            time: incoming_time,
            assurance,
            proven: None,
        })
    }
}

impl RawParty {
    fn into_party(self, member: &str) -> Result<Party, Malformed> {
        let kind = named(self.kind, &format!("{member}.type"))?;
        let id = named(self.id, &format!("{member}.id"))?;
        Ok(Party {
            entity: EntityRef { kind, id },
            properties: self.properties.unwrap_or_default().0,
        })
    }
}

fn named(text: String, member: &str) -> Result<Name, Malformed> {
    Name::new(text).map_err(|error: NameError| Malformed(format!("`{member}` {error}")))
}

/// Takes the members that the engine knows out of the context; what is left is the caller's.
struct ContextReader(Attributes);

impl ContextReader {
    fn wrong(member: &str, wanted: &str) -> Malformed {
        Malformed(format!("`context.{member}` is not {wanted}"))
    }

    fn text(&mut self, member: &str) -> Result<Option<String>, Malformed> {
        match self.0.remove(member) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Self::wrong(member, "a string")),
        }
    }

    fn object(&mut self, member: &str) -> Result<Option<Attributes>, Malformed> {
        match self.0.remove(member) {
            None => Ok(None),
            Some(Value::Record(attributes)) => Ok(Some(attributes)),
            Some(_) => Err(Self::wrong(member, "an object")),
        }
    }

    fn moment(&mut self, member: &str) -> Result<Option<Timestamp>, Malformed> {
        let Some(text) = self.text(member)? else {
            return Ok(None);
        };
        time::parse(&text).map(Some).ok_or_else(|| {
            Self::wrong(
                member,
                "a time as in RFC 3339, for example 2026-11-20T23:01:00Z",
            )
        })
    }

    fn address(&mut self) -> Result<Option<IpAddr>, Malformed> {
        let Some(text) = self.text("ip")? else {
            return Ok(None);
        };
        // A zone id says which interface of the sender; it means nothing here.
        let bare = text.trim().split('%').next().unwrap_or_default();
        bare.parse::<IpAddr>()
            .map(|address| Some(address.to_canonical()))
            .map_err(|_| Self::wrong("ip", "an IPv4 or IPv6 address without port or brackets"))
    }

    fn assurance(&mut self) -> Result<Option<AssuranceClaim>, Malformed> {
        let Some(mut claim) = self.object("assurance")?.map(Nested) else {
            return Ok(None);
        };
        let auth_time = match claim.0.remove("auth_time") {
            None => None,
            Some(value) => Some(auth_time(&value).ok_or_else(|| {
                Self::wrong(
                    "assurance.auth_time",
                    "seconds since 1970 or a time as in RFC 3339",
                )
            })?),
        };
        let level = match claim.0.remove("level") {
            None => None,
            Some(Value::Long(level @ 0..=3)) => Some(level),
            Some(_) => return Err(Self::wrong("assurance.level", "0, 1, 2 or 3")),
        };
        let amr = match claim.0.remove("amr") {
            None => Vec::new(),
            Some(value) => {
                texts(&value).ok_or_else(|| Self::wrong("assurance.amr", "an array of strings"))?
            }
        };
        Ok(Some(AssuranceClaim {
            level,
            acr: claim.text("assurance", "acr")?,
            amr,
            auth_time,
        }))
    }

    fn device(&mut self) -> Result<Option<DeviceClaim>, Malformed> {
        let Some(mut device) = self.object("device")?.map(Nested) else {
            return Ok(None);
        };
        Ok(Some(DeviceClaim {
            id: device.name("device", "id")?,
            managed: device.flag("device", "managed")?,
            compliant: device.flag("device", "compliant")?,
            os: device.text("device", "os")?,
            os_version: device.text("device", "os_version")?,
            fingerprint: device.text("device", "fingerprint")?,
            proven: Self::confirmation(device.0.remove("cnf"), "device.cnf")?,
        }))
    }

    fn token(&mut self) -> Result<Option<TokenWish>, Malformed> {
        let Some(mut token) = self.object("token")?.map(Nested) else {
            return Ok(None);
        };
        let audience = token
            .name("token", "audience")?
            .ok_or_else(|| Malformed("`context.token.audience` is missing".to_owned()))?;
        let scope = match token.0.remove("scope") {
            None => Vec::new(),
            Some(Value::Text(text)) => text.split_whitespace().map(str::to_owned).collect(),
            Some(value) => texts(&value)
                .ok_or_else(|| Self::wrong("token.scope", "a string or an array of strings"))?,
        };
        if scope.len() > SCOPES_MAX {
            return Err(Malformed(format!(
                "`context.token.scope` asks for more than {SCOPES_MAX} scopes"
            )));
        }
        let scope: Result<Vec<Name>, Malformed> = scope
            .into_iter()
            .map(|scope| named(scope, "context.token.scope"))
            .collect();
        Ok(Some(TokenWish {
            audience,
            scope: scope?,
            confirmation: Self::confirmation(token.0.remove("cnf"), "token.cnf")?,
        }))
    }

    /// `{"jkt": …}` or `{"x5t#S256": …}`: a token for two keys at once could be used with neither,
    /// and a device is enrolled with one.
    fn confirmation(cnf: Option<Value>, member: &str) -> Result<Option<KeyThumbprint>, Malformed> {
        let wrong = || {
            Self::wrong(
                member,
                "{\"jkt\": …} or {\"x5t#S256\": …}, a SHA-256 in base64url without padding",
            )
        };
        let Some(cnf) = cnf else { return Ok(None) };
        let Value::Record(members) = cnf else {
            return Err(wrong());
        };
        let mut members = members.into_iter();
        let (Some((name, Value::Text(thumbprint))), None) = (members.next(), members.next()) else {
            return Err(wrong());
        };
        if !is_sha256(&thumbprint) {
            return Err(wrong());
        }
        KeyThumbprint::from_member(&name, thumbprint)
            .map(Some)
            .ok_or_else(wrong)
    }

    fn finish(mut self) -> Result<RequestContext, Malformed> {
        let user_agent = self.text("user_agent")?;
        if user_agent
            .as_ref()
            .is_some_and(|agent| agent.len() > USER_AGENT_MAX)
        {
            return Err(Malformed(format!(
                "`context.user_agent` is longer than {USER_AGENT_MAX} bytes"
            )));
        }
        let session_id = match self.text("session_id")? {
            None => None,
            Some(id) => Some(named(id, "context.session_id")?.as_str().to_owned()),
        };
        let dry_run = match self.0.remove("dry_run") {
            None => false,
            Some(Value::Bool(dry_run)) => dry_run,
            Some(_) => return Err(Self::wrong("dry_run", "true or false")),
        };
        Ok(RequestContext {
            ip: self.address()?,
            user_agent,
            session_id,
            device: self.device()?,
            assurance: None,
            actor: None,
            token: self.token()?,
            dry_run,
            time: None,
            extra: self.0,
        })
    }
}

/// Members of an object within the context.
struct Nested(Attributes);

impl Nested {
    fn text(&mut self, of: &str, member: &str) -> Result<Option<String>, Malformed> {
        match self.0.remove(member) {
            None => Ok(None),
            Some(Value::Text(text)) if text.len() <= MAX_NAME_BYTES => Ok(Some(text)),
            Some(Value::Text(_)) => Err(Malformed(format!(
                "`context.{of}.{member}` is longer than {MAX_NAME_BYTES} bytes"
            ))),
            Some(_) => Err(ContextReader::wrong(&format!("{of}.{member}"), "a string")),
        }
    }

    fn name(&mut self, of: &str, member: &str) -> Result<Option<String>, Malformed> {
        match self.text(of, member)? {
            None => Ok(None),
            Some(text) => {
                named(text, &format!("context.{of}.{member}")).map(|name| Some(name.to_string()))
            }
        }
    }

    fn flag(&mut self, of: &str, member: &str) -> Result<Option<bool>, Malformed> {
        match self.0.remove(member) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(ContextReader::wrong(
                &format!("{of}.{member}"),
                "true or false",
            )),
        }
    }
}

/// Whether this is 32 bytes in base64url without padding: 43 characters, the last of which has
/// two bits that are not used and must be 0.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    let is_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.len() == 43
        && text.bytes().all(is_alphabet)
        && text.ends_with(|last| "AEIMQUYcgkosw048".contains(last))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let Value::List(items) = value else {
        return None;
    };
    items
        .iter()
        .map(|item| match item {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}

fn auth_time(value: &Value) -> Option<Timestamp> {
    let exact = |seconds: i64| {
        let at = Timestamp::from_seconds(seconds);
        (at.seconds() == seconds).then_some(at)
    };
    match value {
        Value::Long(seconds) => exact(*seconds),
        Value::Number(seconds) if (0.0..2.6e11).contains(seconds) =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "in range by the guard")]
            exact(*seconds as i64)
        }
        Value::Text(text) => time::parse(text),
        _ => None,
    }
}
