//! Why a token is refused.

/// Why a token is refused, precisely, for logs and tests (T12). Whoever presented it is told one
/// sentence, the same for all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than any token has to be.
    #[error("{0} bytes are too long for a token")]
    TooLong(usize),
    /// Not three parts of base64url characters: padding, white space, another serialisation.
    #[error("not a compact JWS")]
    NotCompact,
    /// Five parts, or `enc` in the header: encrypted, and nothing here decrypts.
    #[error("encrypted")]
    Encrypted,
    /// A part is not base64url as RFC 4648 §5 writes it, bits left over included.
    #[error("the {0} is not base64url")]
    Encoding(&'static str),
    /// A part is not JSON with one meaning: malformed, a member twice, nested too deep.
    #[error("the {part}: {why}")]
    Json {
        /// `header` or `payload`.
        part: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The header has a member that would change how the token is read, or where keys come from.
    #[error("the header has `{0}`")]
    HeaderMember(&'static str),
    /// A member of the header is missing or of another type.
    #[error("the header's `{0}` is missing or no text")]
    Header(&'static str),
    /// Another kind of token (T7).
    #[error("`typ` is that of another kind of token")]
    Type,
    /// No algorithm that is taken here (J1, J7), or another than the key's.
    #[error("`alg` is not that of the key")]
    Algorithm,
    /// No key of that name (J6).
    #[error("`kid` names no key")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the signature is not the key's")]
    Signature,
    /// A claim that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A claim is of another JSON type, or not of its syntax.
    #[error("`{0}` is malformed")]
    Malformed(&'static str),
    /// Issued by somebody else.
    #[error("`iss` is another issuer")]
    Issuer,
    /// For another service (L4, T30).
    #[error("`aud` does not name this service")]
    Audience,
    /// For several services, and issued to none that is known: it may be another's login.
    #[error("`aud` names several, and neither `azp` nor `client_id` one that is taken")]
    Party,
    /// Signed by the right key, and no access token: it says something else than who somebody is.
    #[error("`{0}` makes it another kind of token")]
    Purpose(&'static str),
    /// Its time is over (J3).
    #[error("expired")]
    Expired,
    /// Its time has not come: `nbf` or `iat` lie ahead.
    #[error("`{0}` lies ahead")]
    NotYet(&'static str),
    /// It would live longer than a token may, or ends before it begins (X24).
    #[error("its life is longer than allowed, or none")]
    Life,
    /// Passed on too often.
    #[error("passed on more often than allowed")]
    Delegated,
}

impl Refusal {
    /// A word for logs and counters.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::NotCompact => "not_compact",
            Self::Encrypted => "encrypted",
            Self::Encoding(_) => "encoding",
            Self::Json { .. } => "json",
            Self::HeaderMember(_) | Self::Header(_) => "header",
            Self::Type => "typ",
            Self::Algorithm => "alg",
            Self::UnknownKey => "kid",
            Self::Signature => "signature",
            Self::Missing(_) => "missing_claim",
            Self::Malformed(_) => "malformed_claim",
            Self::Issuer => "iss",
            Self::Audience => "aud",
            Self::Party => "azp",
            Self::Purpose(_) => "purpose",
            Self::Expired => "expired",
            Self::NotYet(_) => "not_yet",
            Self::Life => "life",
            Self::Delegated => "delegated",
        }
    }
}
