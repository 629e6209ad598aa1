//! What a security event has beside whom, when and why: one struct for each kind, JSON in the
//! store (`NewSecurityEvent.body`).

use domain::SecurityEventKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ssf::event::{Change, Compliance, RiskLevel};

/// The risk of somebody or of a session crossed one of `risk.levels`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RiskLevelChange {
    /// Before; none: it was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous_level: Option<RiskLevel>,
    /// Now.
    pub(crate) current_level: RiskLevel,
    /// 0 to 100. For alerts: streams are told the level alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) score: Option<u8>,
}

/// More or less is proven in a session than before. Levels are the engine's, 0 to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AssuranceLevelChange {
    /// Before.
    pub(crate) previous_level: u8,
    /// Now.
    pub(crate) current_level: u8,
}

/// A device is in line with the organisation's rules, or is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceComplianceChange {
    /// Before.
    pub(crate) previous_status: Compliance,
    /// Now.
    pub(crate) current_status: Compliance,
}

/// A credential is another now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CredentialChange {
    /// `password`, `fido2-platform` and so on.
    pub(crate) credential_type: String,
    /// What was done with it.
    pub(crate) change_type: Change,
}

/// What an account may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AccountStatus {
    /// Nothing any more.
    Disabled,
    /// As before.
    Enabled,
    /// It is gone for good.
    Purged,
}

/// An account can do nothing any more, or can again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountStatusChange {
    /// What it may now.
    pub(crate) status: AccountStatus,
    /// `hijacking` or `bulk-account` (RISC 1.0 §2.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Claims of a live token are not true any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenClaimsChange {
    /// The claims, with what is true now.
    pub(crate) claims: Map<String, Value>,
}

/// A session was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionEstablished {
    /// From which address. For alerts: streams are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ip: Option<String>,
    /// By which methods (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) amr: Vec<String>,
    /// In which class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acr: Option<String>,
}

/// How urgently people should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// When there is time.
    Low,
    /// Today.
    Medium,
    /// Now.
    High,
}

impl Severity {
    /// The word in settings and alerts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The severity of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let mut all = [Self::Low, Self::Medium, Self::High].into_iter();
        all.find(|severity| severity.as_str() == word)
    }
}

/// Something that people should look at (M7, M8, M16, O16).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// What it is, in a word: `risk-threshold`, `unusual-activity`, `token-reuse`,
    /// `handle-reuse`, `health-check`, `policy`.
    pub(crate) alert: String,
    /// How urgent.
    pub(crate) severity: Severity,
    /// Which decision says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) decision_id: Option<String>,
    /// The score, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) score: Option<u8>,
    /// What it rests on, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) factors: Vec<String>,
    /// What the engine did: `session ended`, `re-authentication required`, `notified`.
    pub(crate) done: String,
    /// The policies that said so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) policies: Vec<String>,
}

/// Everything that an event can have beside the rest, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// See [`SessionEstablished`].
    SessionEstablished(SessionEstablished),
    /// Nothing beside.
    SessionRevoked,
    /// See [`RiskLevelChange`].
    RiskLevelChange(RiskLevelChange),
    /// See [`AssuranceLevelChange`].
    AssuranceLevelChange(AssuranceLevelChange),
    /// See [`TokenClaimsChange`].
    TokenClaimsChange(TokenClaimsChange),
    /// See [`CredentialChange`].
    CredentialChange(CredentialChange),
    /// See [`DeviceComplianceChange`].
    DeviceComplianceChange(DeviceComplianceChange),
    /// See [`AccountStatusChange`].
    AccountStatusChange(AccountStatusChange),
    /// See [`Alert`].
    Alert(Alert),
}

impl Body {
    /// Reads what the store holds of an event of this kind.
    ///
    /// # Errors
    /// When it is not what the kind has: written by another version, or damaged.
    pub(crate) fn read(
        kind: SecurityEventKind,
        text: Option<&str>,
    ) -> Result<Self, serde_json::Error> {
        use SecurityEventKind as Kind;
        let text = text.unwrap_or("{}");
        Ok(match kind {
            Kind::SessionEstablished => Self::SessionEstablished(serde_json::from_str(text)?),
            Kind::SessionRevoked => Self::SessionRevoked,
            Kind::RiskLevelChange => Self::RiskLevelChange(serde_json::from_str(text)?),
            Kind::AssuranceLevelChange => Self::AssuranceLevelChange(serde_json::from_str(text)?),
            Kind::TokenClaimsChange => Self::TokenClaimsChange(serde_json::from_str(text)?),
            Kind::CredentialChange => Self::CredentialChange(serde_json::from_str(text)?),
            Kind::DeviceComplianceChange => {
                Self::DeviceComplianceChange(serde_json::from_str(text)?)
            }
            Kind::AccountStatusChange => Self::AccountStatusChange(serde_json::from_str(text)?),
            Kind::Alert => Self::Alert(serde_json::from_str(text)?),
        })
    }

    /// The kind that has it.
    pub(crate) const fn kind(&self) -> SecurityEventKind {
        use SecurityEventKind as Kind;
        match self {
            Self::SessionEstablished(_) => Kind::SessionEstablished,
            Self::SessionRevoked => Kind::SessionRevoked,
            Self::RiskLevelChange(_) => Kind::RiskLevelChange,
            Self::AssuranceLevelChange(_) => Kind::AssuranceLevelChange,
            Self::TokenClaimsChange(_) => Kind::TokenClaimsChange,
            Self::CredentialChange(_) => Kind::CredentialChange,
            Self::DeviceComplianceChange(_) => Kind::DeviceComplianceChange,
            Self::AccountStatusChange(_) => Kind::AccountStatusChange,
            Self::Alert(_) => Kind::Alert,
        }
    }

    /// As the store holds it.
    pub(crate) fn to_text(&self) -> Option<String> {
        // Text and numbers alone: it cannot fail.
        match self {
            Self::SessionEstablished(body) => serde_json::to_string(body).ok(),
            Self::SessionRevoked => None,
            Self::RiskLevelChange(body) => serde_json::to_string(body).ok(),
            Self::AssuranceLevelChange(body) => serde_json::to_string(body).ok(),
            Self::TokenClaimsChange(body) => serde_json::to_string(body).ok(),
            Self::CredentialChange(body) => serde_json::to_string(body).ok(),
            Self::DeviceComplianceChange(body) => serde_json::to_string(body).ok(),
            Self::AccountStatusChange(body) => serde_json::to_string(body).ok(),
            Self::Alert(body) => serde_json::to_string(body).ok(),
        }
    }
}
