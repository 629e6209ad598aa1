//! A private key that signs.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};

use super::{Algorithm, KeyError, PublicJwk, VerifyingKey, rsa};

/// A key that signs. Parsed once and held: to parse it anew for each signature would cost half as
/// much again as an ECDSA signature, and more than an RSA one. The private half never leaves it
/// but as the document that [`SigningKey::to_der`] makes for its file.
pub struct SigningKey {
    pair: Pair,
    public: VerifyingKey,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A new key. One for RSA takes a tenth of a second, and now and then several.
    ///
    /// # Errors
    /// When the library has no randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let refused = |_| KeyError::Refused;
        let pair = match algorithm {
            Algorithm::Es256 => Pair::Es256(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(refused)?,
            ),
            Algorithm::EdDsa => Pair::EdDsa(Ed25519KeyPair::generate().map_err(refused)?),
            Algorithm::Rs256 => {
                Pair::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).map_err(refused)?)
            }
        };
        Self::of(pair).ok_or(KeyError::Refused)
    }

    /// The key of a PKCS #8 document.
    ///
    /// # Errors
    /// When it is none that signs here.
    pub fn from_der(bytes: &[u8]) -> Result<Self, KeyError> {
        let ec = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes);
        let ed = || Ed25519KeyPair::from_pkcs8(bytes);
        let rsa = || RsaKeyPair::from_pkcs8(bytes);
        ec().map(Pair::Es256)
            .or_else(|_| ed().map(Pair::EdDsa))
            .or_else(|_| rsa().map(Pair::Rs256))
            .ok()
            .and_then(Self::of)
            .ok_or(KeyError::NotAKey)
    }

    /// The key as a PKCS #8 document, private half and all: for the file that keeps it.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn to_der(&self) -> Result<Vec<u8>, KeyError> {
        let document = match &self.pair {
            Pair::Es256(pair) => pair.to_pkcs8v1().map(|text| text.as_ref().to_vec()),
            Pair::EdDsa(pair) => pair.to_pkcs8v1().map(|text| text.as_ref().to_vec()),
            Pair::Rs256(pair) => pair
                .as_der()
                .map(|text: Pkcs8V1Der<'_>| text.as_ref().to_vec()),
        };
        document.map_err(|_| KeyError::Refused)
    }

    fn of(pair: Pair) -> Option<Self> {
        let public = match &pair {
            Pair::Es256(pair) => {
                let point = pair.public_key().as_ref().strip_prefix(&[4])?;
                let (x, y) = point.split_at_checked(32)?;
                VerifyingKey::es256(x, y)?
            }
            Pair::EdDsa(pair) => VerifyingKey::eddsa(pair.public_key().as_ref())?,
            Pair::Rs256(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                let (n, e) = (
                    n.big_endian_without_leading_zero(),
                    e.big_endian_without_leading_zero(),
                );
                rsa::check(n, e).ok()?;
                VerifyingKey::rs256(n, e)?
            }
        };
        Some(Self { pair, public })
    }

    /// `kid`: the RFC 7638 thumbprint.
    #[must_use]
    pub fn id(&self) -> &str {
        self.public.kid()
    }

    /// How it signs.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// The public half, as JSON.
    #[must_use]
    pub const fn public(&self) -> &PublicJwk {
        self.public.jwk()
    }

    /// The public half, to verify with.
    #[must_use]
    pub const fn verifying(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs, in the form of JWS (RFC 7518 §3): 64 bytes for ES256 and EdDSA, as many as the
    /// modulus has for RS256.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        // The library takes the operating system's randomness by itself where it needs any.
        let random = SystemRandom::new();
        let refused = |_| KeyError::Refused;
        match &self.pair {
            Pair::Es256(pair) => {
                let signature = pair.sign(&random, message).map_err(refused)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::EdDsa(pair) => {
                let signature = pair.try_sign(message).map_err(refused)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(refused)?;
                Ok(signature)
            }
        }
    }
}
