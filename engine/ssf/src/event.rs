//! What happened: the events of CAEP 1.0, those of RISC 1.0 that fit, and SSF's own two.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// Texts by language (BCP 47).
pub type Texts = BTreeMap<String, String>;

/// What every CAEP event may say (CAEP 1.0 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Common {
    /// When it happened, seconds since 1970. A SET that comes late tells of something old.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole_seconds"
    )]
    pub event_timestamp: Option<i64>,
    /// Who began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiating_entity: Option<Initiator>,
    /// For administrators.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub reason_admin: Texts,
    /// For the person.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub reason_user: Texts,
}

/// A `NumericDate` may have a fraction (RFC 7519 §2).
fn whole_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "casts of floats to integers saturate"
    )]
    Ok(Option::<f64>::deserialize(from)?.map(|seconds| seconds.floor() as i64))
}

/// Who began what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initiator {
    /// An administrator.
    Admin,
    /// The person.
    User,
    /// A policy.
    Policy,
    /// The system by itself.
    System,
    /// A word that is not known here.
    #[serde(other)]
    Other,
}

/// What was done with a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Create,
    /// It no longer holds.
    Revoke,
    /// It is another now.
    Update,
    /// It is gone.
    Delete,
}

/// Whether a device is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compliance {
    /// It is.
    Compliant,
    /// It is not.
    NotCompliant,
}

/// A level of risk (CAEP 1.0 §3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RiskLevel {
    /// Hardly any.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
}

/// One event with the members that its standard demands; on the wire an object whose one member is
/// the event's URI. Members that the standard does not know are passed over (SSF 1.0 §4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A session is over (CAEP 1.0 §3.1).
    #[serde(rename = "https://schemas.openid.net/secevent/caep/event-type/session-revoked")]
    SessionRevoked(Common),
    /// Claims of a token are others now (§3.2).
    #[serde(rename = "https://schemas.openid.net/secevent/caep/event-type/token-claims-change")]
    TokenClaimsChange {
        /// The claims that changed, with their new values.
        claims: Map<String, Value>,
        /// The rest.
        #[serde(flatten)]
        common: Common,
    },
    /// A credential was made, changed or taken away (§3.3).
    #[serde(rename = "https://schemas.openid.net/secevent/caep/event-type/credential-change")]
    CredentialChange {
        /// `password`, `fido2-platform` and so on; an open list.
        credential_type: String,
        /// What was done.
        change_type: Change,
        /// What its holder calls it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        friendly_name: Option<String>,
        /// The rest.
        #[serde(flatten)]
        common: Common,
    },
    /// How sure one may be of who somebody is has changed (§3.4).
    #[serde(rename = "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change")]
    AssuranceLevelChange {
        /// Whose words the levels are: `NIST-AAL`, `RFC8176`, a URI.
        namespace: String,
        /// The level now.
        current_level: String,
        /// The level before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous_level: Option<String>,
        /// `increase` or `decrease`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change_direction: Option<String>,
        /// The rest.
        #[serde(flatten)]
        common: Common,
    },
    /// A device became compliant, or ceased to be (§3.5).
    #[serde(
        rename = "https://schemas.openid.net/secevent/caep/event-type/device-compliance-change"
    )]
    DeviceComplianceChange {
        /// Before.
        previous_status: Compliance,
        /// Now.
        current_status: Compliance,
        /// The rest.
        #[serde(flatten)]
        common: Common,
    },
    /// A session began (§3.6).
    #[serde(rename = "https://schemas.openid.net/secevent/caep/event-type/session-established")]
    SessionEstablished {
        /// Authentication context class.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acr: Option<String>,
        /// Authentication methods.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        amr: Vec<String>,
        /// The rest.
        #[serde(flatten)]
        common: Common,
    },
    /// A session was seen (§3.7).
    #[serde(rename = "https://schemas.openid.net/secevent/caep/event-type/session-presented")]
    SessionPresented(Common),
    /// The risk of somebody or something is another (§3.8).
    #[serde(rename = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change")]
    RiskLevelChange {
        /// `USER`, `DEVICE`, `SESSION`, `TENANT`, `ORG_UNIT` or `GROUP`.
        principal: String,
        /// Now.
        current_level: RiskLevel,
        /// Before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous_level: Option<RiskLevel>,
        /// Why, for administrators.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        risk_reason: Option<String>,
        /// The rest.
        #[serde(flatten)]
        common: Common,
    },
    /// The credential of an account must be changed (RISC 1.0 §2.1).
    #[serde(
        rename = "https://schemas.openid.net/secevent/risc/event-type/account-credential-change-required"
    )]
    AccountCredentialChangeRequired(Common),
    /// An account is gone for good (§2.2).
    #[serde(rename = "https://schemas.openid.net/secevent/risc/event-type/account-purged")]
    AccountPurged(Common),
    /// An account may not be used any more (§2.3).
    #[serde(rename = "https://schemas.openid.net/secevent/risc/event-type/account-disabled")]
    AccountDisabled {
        /// `hijacking` or `bulk-account`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The rest.
        #[serde(flatten)]
        common: Common,
    },
    /// It may again (§2.4).
    #[serde(rename = "https://schemas.openid.net/secevent/risc/event-type/account-enabled")]
    AccountEnabled(Common),
    /// A credential is in other hands (§2.7).
    #[serde(rename = "https://schemas.openid.net/secevent/risc/event-type/credential-compromise")]
    CredentialCompromise {
        /// Which kind.
        credential_type: String,
        /// The rest.
        #[serde(flatten)]
        common: Common,
    },
    /// All sessions of somebody are over (§2.11, given up for CAEP's).
    #[serde(rename = "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked")]
    SessionsRevoked(Common),
    /// A stream is tried out (SSF 1.0 §8.1.4).
    #[serde(rename = "https://schemas.openid.net/secevent/ssf/event-type/verification")]
    Verification {
        /// What the receiver gave to be told again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<String>,
    },
    /// The transmitter changed a stream (SSF 1.0 §8.1.5).
    #[serde(rename = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated")]
    StreamUpdated {
        /// `enabled`, `paused` or `disabled`.
        status: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// The URIs of all events that are known here, in the order of [`Event`].
pub const KNOWN: [&str; 16] = [
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked",
    "https://schemas.openid.net/secevent/caep/event-type/token-claims-change",
    "https://schemas.openid.net/secevent/caep/event-type/credential-change",
    "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change",
    "https://schemas.openid.net/secevent/caep/event-type/device-compliance-change",
    "https://schemas.openid.net/secevent/caep/event-type/session-established",
    "https://schemas.openid.net/secevent/caep/event-type/session-presented",
    "https://schemas.openid.net/secevent/caep/event-type/risk-level-change",
    "https://schemas.openid.net/secevent/risc/event-type/account-credential-change-required",
    "https://schemas.openid.net/secevent/risc/event-type/account-purged",
    "https://schemas.openid.net/secevent/risc/event-type/account-disabled",
    "https://schemas.openid.net/secevent/risc/event-type/account-enabled",
    "https://schemas.openid.net/secevent/risc/event-type/credential-compromise",
    "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked",
    "https://schemas.openid.net/secevent/ssf/event-type/verification",
    "https://schemas.openid.net/secevent/ssf/event-type/stream-updated",
];

/// An event lacks what its standard demands, or has it of another kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{event}`: {what}")]
pub struct BadEvent {
    /// The event's name without its prefix.
    pub event: String,
    /// What is wrong.
    pub what: String,
}

impl Event {
    /// Reads the event of a URI; none for one that is not known here, whatever it holds: it is
    /// taken note of, and nothing done (SSF 1.0 §4).
    ///
    /// # Errors
    /// When a member that the standard demands is missing, or one is of another kind.
    pub fn read(uri: &str, body: Value) -> Result<Option<Self>, BadEvent> {
        if !KNOWN.contains(&uri) {
            return Ok(None);
        }
        let bad = |what: String| BadEvent {
            event: uri.rsplit('/').next().unwrap_or_default().to_owned(),
            what,
        };
        // An array would be read as its members in their order.
        if !body.is_object() {
            return Err(bad("not an object".to_owned()));
        }
        let tagged = Map::from_iter([(uri.to_owned(), body)]);
        serde_json::from_value(Value::Object(tagged))
            .map(Some)
            .map_err(|error| bad(error.to_string()))
    }

    /// What every CAEP and RISC event may say. None for SSF's own.
    #[must_use]
    pub const fn common(&self) -> Option<&Common> {
        match self {
            Self::SessionRevoked(common)
            | Self::TokenClaimsChange { common, .. }
            | Self::CredentialChange { common, .. }
            | Self::AssuranceLevelChange { common, .. }
            | Self::DeviceComplianceChange { common, .. }
            | Self::SessionEstablished { common, .. }
            | Self::SessionPresented(common)
            | Self::RiskLevelChange { common, .. }
            | Self::AccountCredentialChangeRequired(common)
            | Self::AccountPurged(common)
            | Self::AccountDisabled { common, .. }
            | Self::AccountEnabled(common)
            | Self::CredentialCompromise { common, .. }
            | Self::SessionsRevoked(common) => Some(common),
            Self::Verification { .. } | Self::StreamUpdated { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn caep(name: &str) -> String {
        format!("https://schemas.openid.net/secevent/caep/event-type/{name}")
    }

    fn risc(name: &str) -> String {
        format!("https://schemas.openid.net/secevent/risc/event-type/{name}")
    }

    #[test]
    fn events_are_read_and_written_as_the_standards_show_them() {
        for (uri, body) in [
            (
                caep("session-revoked"),
                json!({"initiating_entity": "policy", "reason_admin": {"en": "Landspeed Policy Violation: C076E82F"},
                    "reason_user": {"en": "Access attempt from multiple regions."}, "event_timestamp": 1_615_304_991}),
            ),
            (
                caep("token-claims-change"),
                json!({"event_timestamp": 1_615_304_991, "claims": {"role": "ro-admin"}}),
            ),
            (
                caep("credential-change"),
                json!({"credential_type": "fido2-roaming", "change_type": "create", "friendly_name": "Jane's USB authenticator",
                    "initiating_entity": "user", "event_timestamp": 1_615_304_991}),
            ),
            (
                caep("assurance-level-change"),
                json!({"namespace": "NIST-AAL", "current_level": "nist-aal2", "previous_level": "nist-aal1",
                    "change_direction": "increase", "event_timestamp": 1_615_304_991}),
            ),
            (
                caep("device-compliance-change"),
                json!({"current_status": "not-compliant", "previous_status": "compliant", "event_timestamp": 1_615_304_991}),
            ),
            (
                caep("session-established"),
                json!({"acr": "AAL2", "amr": ["otp"], "event_timestamp": 1_615_304_991}),
            ),
            (
                caep("session-presented"),
                json!({"event_timestamp": 1_615_304_991}),
            ),
            (
                caep("risk-level-change"),
                json!({"principal": "USER", "previous_level": "LOW", "current_level": "HIGH", "risk_reason": "PASSWORD_FOUND_IN_DATA_BREACH"}),
            ),
            (risc("account-disabled"), json!({"reason": "hijacking"})),
            (risc("account-enabled"), json!({})),
            (
                risc("credential-compromise"),
                json!({"credential_type": "password"}),
            ),
        ] {
            let read = Event::read(&uri, body.clone()).unwrap().unwrap();
            let written = serde_json::to_value(&read).unwrap();
            assert_eq!(written, json!({uri.as_str(): body}), "{uri}");
        }
    }

    #[test]
    fn what_a_standard_demands_must_be_there_and_what_it_does_not_know_is_passed_over() {
        for (uri, body) in [
            (caep("token-claims-change"), json!({})),
            (
                caep("credential-change"),
                json!({"credential_type": "password"}),
            ),
            (
                caep("credential-change"),
                json!({"credential_type": "password", "change_type": "lost"}),
            ),
            (
                caep("device-compliance-change"),
                json!({"current_status": "compliant"}),
            ),
            (
                caep("risk-level-change"),
                json!({"principal": "USER", "current_level": "high"}),
            ),
            (caep("session-revoked"), json!([])),
            (
                caep("session-revoked"),
                json!({"event_timestamp": "yesterday"}),
            ),
            (risc("credential-compromise"), json!({})),
        ] {
            assert!(Event::read(&uri, body.clone()).is_err(), "{uri} {body}");
        }
        let more =
            json!({"event_timestamp": 1.5, "initiating_entity": "robot", "new": {"member": 1}});
        let read = Event::read(&caep("session-revoked"), more)
            .unwrap()
            .unwrap();
        let common = read.common().unwrap();
        assert_eq!(common.event_timestamp, Some(1));
        assert_eq!(common.initiating_entity, Some(Initiator::Other));
        for unknown in [caep("brand-new"), "urn:x".to_owned(), String::new()] {
            assert_eq!(
                Event::read(&unknown, json!("anything")),
                Ok(None),
                "{unknown}"
            );
        }
    }

    #[test]
    fn every_known_uri_is_one_of_an_event() {
        for uri in KNOWN {
            match Event::read(uri, json!({})) {
                Ok(event) => {
                    let written = serde_json::to_value(event.unwrap()).unwrap();
                    assert!(written.get(uri).is_some(), "{written}");
                }
                Err(error) => assert!(error.what.contains("missing field"), "{error}"),
            }
        }
    }
}
