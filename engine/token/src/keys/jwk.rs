//! The public half of a key as a JSON Web Key (RFC 7517), and its name.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;

use super::Algorithm;

/// A public key as the world is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicJwk {
    kty: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<&'static str>,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
}

impl PublicJwk {
    /// A point on P-256, each coordinate 32 bytes.
    pub(super) fn es256(x: &[u8], y: &[u8]) -> Self {
        let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
        // RFC 7638 §3.2: the required members in the order of their names.
        let named = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        Self {
            crv: Some("P-256"),
            x: Some(x),
            y: Some(y),
            ..Self::bare("EC", Algorithm::Es256, &named)
        }
    }

    /// A point on Edwards25519, 32 bytes.
    pub(super) fn eddsa(x: &[u8]) -> Self {
        let x = BASE64URL_NOPAD.encode(x);
        let named = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Self {
            crv: Some("Ed25519"),
            x: Some(x),
            ..Self::bare("OKP", Algorithm::EdDsa, &named)
        }
    }

    /// Modulus and exponent, big-endian, without leading zeros.
    pub(super) fn rs256(n: &[u8], e: &[u8]) -> Self {
        let (n, e) = (BASE64URL_NOPAD.encode(n), BASE64URL_NOPAD.encode(e));
        let named = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
        Self {
            n: Some(n),
            e: Some(e),
            ..Self::bare("RSA", Algorithm::Rs256, &named)
        }
    }

    fn bare(kty: &'static str, algorithm: Algorithm, named: &str) -> Self {
        Self {
            kty,
            crv: None,
            alg: algorithm.as_str(),
            usage: "sig",
            kid: BASE64URL_NOPAD.encode(digest(&SHA256, named.as_bytes()).as_ref()),
            x: None,
            y: None,
            n: None,
            e: None,
        }
    }

    /// SHA-256 of the key's required members (RFC 7638), base64url: `kid` of our own keys, `jkt`
    /// of a DPoP key.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.kid
    }
}
