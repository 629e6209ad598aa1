//! Security events: what happened that others may have to know (RFC 8417).

/// What happened. The names are those of the events of CAEP 1.0 and RISC 1.0 that tell of it;
/// the last is for people alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityEventKind {
    /// A session was opened.
    SessionEstablished,
    /// A session was ended before its time.
    SessionRevoked,
    /// The risk of a session crossed a level.
    RiskLevelChange,
    /// More or less was proven in a session than before.
    AssuranceLevelChange,
    /// Claims of a live token are not true any more.
    TokenClaimsChange,
    /// A credential was made, changed or taken back, elsewhere.
    CredentialChange,
    /// A device came to be, or ceased to be, in line with the organisation's rules.
    DeviceComplianceChange,
    /// An account can do nothing any more, or can again.
    AccountStatusChange,
    /// Something that people should look at; told to alert channels alone.
    Alert,
}

impl SecurityEventKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::SessionEstablished,
        Self::SessionRevoked,
        Self::RiskLevelChange,
        Self::AssuranceLevelChange,
        Self::TokenClaimsChange,
        Self::CredentialChange,
        Self::DeviceComplianceChange,
        Self::AccountStatusChange,
        Self::Alert,
    ];

    /// The word in the store and in alerts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionEstablished => "session-established",
            Self::SessionRevoked => "session-revoked",
            Self::RiskLevelChange => "risk-level-change",
            Self::AssuranceLevelChange => "assurance-level-change",
            Self::TokenClaimsChange => "token-claims-change",
            Self::CredentialChange => "credential-change",
            Self::DeviceComplianceChange => "device-compliance-change",
            Self::AccountStatusChange => "account-status-change",
            Self::Alert => "alert",
        }
    }

    /// The kind of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}
