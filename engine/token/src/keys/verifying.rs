//! A public key that verifies signatures.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::DecodingKey;

use super::{Algorithm, PublicJwk};

/// A key that verifies. Whether it is one of ours or was admitted from elsewhere, it is a good
/// one: nothing else makes this type.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: String,
    algorithm: Algorithm,
    key: DecodingKey,
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
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?;
        let encoded = [x, y].map(|half| BASE64URL_NOPAD.encode(half));
        let [x_text, y_text] = &encoded;
        let key = DecodingKey::from_ec_components(x_text, y_text).ok()?;
        Some(Self::of(Algorithm::Es256, key, PublicJwk::es256(x, y)))
    }

    /// A point on Edwards25519.
    pub(super) fn eddsa(x: &[u8]) -> Option<Self> {
        ParsedPublicKey::new(&ED25519, x).ok()?;
        let key = DecodingKey::from_ed_der(x);
        Some(Self::of(Algorithm::EdDsa, key, PublicJwk::eddsa(x)))
    }

    /// An RSA key; its sizes are checked by whoever calls.
    pub(super) fn rs256(n: &[u8], e: &[u8]) -> Option<Self> {
        RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .ok()?;
        let key = DecodingKey::from_rsa_raw_components(n, e);
        Some(Self::of(Algorithm::Rs256, key, PublicJwk::rs256(n, e)))
    }

    fn of(algorithm: Algorithm, key: DecodingKey, jwk: PublicJwk) -> Self {
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

    /// Whether this is the key's signature of the message, in the form of JWS (RFC 7518). The
    /// algorithm is the key's own, whatever the token says.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = BASE64URL_NOPAD.encode(signature);
        let algorithm = self.algorithm.of_jsonwebtoken();
        jsonwebtoken::crypto::verify(&signature, message, &self.key, algorithm).unwrap_or(false)
    }
}
