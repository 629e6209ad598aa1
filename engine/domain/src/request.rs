//! What a gateway asks: may this subject do this action on this resource, here and now?

use std::net::IpAddr;

use crate::assurance::Assurance;
use crate::name::{EntityRef, Name};
use crate::time::Timestamp;
use crate::value::Attributes;

/// One question (AuthZEN 1.0 §6.1), checked and normalised at the edge.
///
/// What the caller was not permitted to say (a time, an assurance) is gone by now.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRequest {
    /// Who asks.
    pub subject: Party,
    /// To do what.
    pub action: Action,
    /// On what.
    pub resource: Party,
    /// Under which circumstances.
    pub context: RequestContext,
    /// What became of the access, when the event is told after the fact.
    pub result: Option<ActionResult>,
}

/// A subject or a resource: its name and what the caller says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Party {
    /// Type and id.
    pub entity: EntityRef,
    /// `properties`: they fill in only what is not stored and the schema knows.
    pub properties: Attributes,
}

/// An action: its name and what the caller says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// `action.name`, the id of the Cedar action.
    pub name: Name,
    /// `action.properties`: `context.action` in Cedar.
    pub properties: Attributes,
}

/// The circumstances. Every member may be missing; a missing one is a known unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestContext {
    /// The client's address, IPv4-mapped IPv6 already turned to IPv4.
    pub ip: Option<IpAddr>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// A session's public id, or the caller's own correlation id.
    pub session_id: Option<String>,
    /// What the caller says of the device.
    pub device: Option<DeviceClaim>,
    /// How sure the caller is of who the subject is; none when the caller may not say so.
    pub assurance: Option<Assurance>,
    /// Who acts for the subject, as the engine found it out: never the caller's word.
    pub actor: Option<EntityRef>,
    /// A token is wanted with the answer.
    pub token: Option<TokenWish>,
    /// Ask, but leave no trace in profiles and mint nothing.
    pub dry_run: bool,
    /// The moment to decide for, in a replay. None: now.
    pub time: Option<Timestamp>,
    /// Everything else the caller sent; passed to Cedar as far as the schema declares it.
    pub extra: Attributes,
}

/// What the caller says of the subject's device. A stored record wins over it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceClaim {
    /// A stable id of the device.
    pub id: Option<String>,
    /// Under management of the organisation.
    pub managed: Option<bool>,
    /// In line with the organisation's rules.
    pub compliant: Option<bool>,
    /// Operating system, for example `macOS`.
    pub os: Option<String>,
    /// Its version.
    pub os_version: Option<String>,
    /// A fingerprint of the caller's own making.
    pub fingerprint: Option<String>,
    /// The key that the device was proven to hold in this very request: the engine's finding, or
    /// the word of a caller who may assert it. Anybody else's is gone by now.
    pub proven: Option<KeyThumbprint>,
}

/// The token that is wanted with an `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenWish {
    /// `aud`: whom the token is for. Never "any".
    pub audience: String,
    /// The scopes asked for, each an action's name.
    pub scope: Vec<Name>,
    /// The key that a gateway's own client holds: the token is bound to it.
    pub confirmation: Option<KeyThumbprint>,
}

/// A key that has to be proven with a token, by its SHA-256 in base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyThumbprint {
    /// `jkt`: of a DPoP key (RFC 7638, RFC 9449 §6).
    Jkt(String),
    /// `x5t#S256`: of a client certificate (RFC 8705 §3.1).
    Certificate(String),
}

impl KeyThumbprint {
    /// The member of a `cnf` claim that holds it (RFC 7800 §3), and the thumbprint.
    #[must_use]
    pub fn member(&self) -> (&'static str, &str) {
        match self {
            Self::Jkt(thumbprint) => ("jkt", thumbprint),
            Self::Certificate(thumbprint) => ("x5t#S256", thumbprint),
        }
    }

    /// The key that such a member names.
    #[must_use]
    pub fn from_member(name: &str, thumbprint: String) -> Option<Self> {
        match name {
            "jkt" => Some(Self::Jkt(thumbprint)),
            "x5t#S256" => Some(Self::Certificate(thumbprint)),
            _ => None,
        }
    }
}

/// How an access that was told after the fact ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionResult {
    /// It went through.
    Success,
    /// It failed: a wrong password, a refused prompt, an error. Never learnt as usual.
    Failure,
}
