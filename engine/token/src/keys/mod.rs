//! The keys of tokens: those that sign, held as parsed key pairs, and those that verify, our own
//! and foreign ones, which are admitted strictly or not at all.
//!
//! Three algorithms (J7): one key has one of them, and a token never has a say in which. A key is
//! named by its RFC 7638 thumbprint, so no two keys have one name and none is ever given again.

mod admit;
mod jwk;
mod rsa;
mod set;
mod signing;
mod verifying;

#[cfg(test)]
mod tests;

pub use admit::{
    Admitted, JWK_BYTES_MAX, JWKS_BYTES_MAX, JWKS_KEYS_MAX, KeyRefusal, admit_jwk, admit_jwks,
};
pub use jwk::PublicJwk;
pub use set::{FindKey, KeySet};
pub use signing::SigningKey;
pub use verifying::VerifyingKey;

/// How a key signs. The words are those of the header `alg` and of the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4): every verifier has it.
    Es256,
    /// Ed25519 (RFC 8037): the fast one. Written `EdDSA`; `Ed25519` (RFC 9864) is understood.
    EdDsa,
    /// RSA PKCS #1 v1.5 with SHA-256 (RFC 7518 §3.3), 2048 bits (T1): for verifiers that have
    /// nothing else. A signature costs some 18 times one of ES256.
    Rs256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// The word in headers, keys and settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// The library's word for it.
    pub(crate) const fn of_jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }

    /// What a header or a key names, letter for letter (`nOnE` is nothing).
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no key, or no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no key of a kind that signs here.
    #[error("no P-256, Ed25519 or RSA key (2048 to 8192 bits) in PKCS #8")]
    NotAKey,
    /// No randomness, no memory, or something that the library does not say.
    #[error("the cryptographic library refused")]
    Refused,
}
