//! A public key that verifies signatures.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};

use super::{Algorithm, PublicJwk};

/// A key that verifies, parsed once and held. Whether it is one of ours or was admitted from
/// elsewhere, it is a good one: nothing else makes this type.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: String,
    algorithm: Algorithm,
    key: ParsedPublicKey,
    jwk: PublicJwk,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// A point on P-256. None when it is not on the curve.
    pub(super) fn es256(x: &[u8], y: &[u8]) -> Option<Self> {
        // An uncompressed point (SEC 1 §2.3.3): 4, x, y.
        let point = [&[4], x, y].concat();
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?;
        Some(Self::of(Algorithm::Es256, key, PublicJwk::es256(x, y)))
    }

    /// A point on Edwards25519.
    pub(super) fn eddsa(x: &[u8]) -> Option<Self> {
        let key = ParsedPublicKey::new(&ED25519, x).ok()?;
        Some(Self::of(Algorithm::EdDsa, key, PublicJwk::eddsa(x)))
    }

    /// An RSA key; its sizes are checked by whoever calls.
    pub(super) fn rs256(n: &[u8], e: &[u8]) -> Option<Self> {
        let key = RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .ok()?;
        Some(Self::of(Algorithm::Rs256, key, PublicJwk::rs256(n, e)))
    }

    fn of(algorithm: Algorithm, key: ParsedPublicKey, jwk: PublicJwk) -> Self {
        let kid = jwk.thumbprint().to_owned();
        Self {
            kid,
            algorithm,
            key,
            jwk,
        }
    }

    /// The same key under the name that its owner gave it.
    pub(super) fn named(mut self, kid: String) -> Self {
        self.kid = kid;
        self
    }

    /// The key's name: nothing but a key of a map (J6). Of our own keys the thumbprint, of
    /// foreign ones what their owner says, or the thumbprint where he says nothing.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// RFC 7638 thumbprint, SHA-256, base64url.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        self.jwk.thumbprint()
    }

    /// How it signs.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key as JSON, under its thumbprint.
    #[must_use]
    pub const fn jwk(&self) -> &PublicJwk {
        &self.jwk
    }

    /// Whether this is the key's signature of the message, in the form of JWS (RFC 7518).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}
