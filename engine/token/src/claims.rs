//! What a token says, and how it is made.

use std::net::IpAddr;

use data_encoding::BASE64URL_NOPAD;
use domain::Timestamp;
use serde::Serialize;

use crate::keys::{KeyError, SigningKey};

/// Longest life of a token, seconds, whatever the settings say (T20).
pub const LIFE_MAX_SECONDS: u64 = 900;

/// The claims of an access token (RFC 9068 §2.2), by their registered names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccessClaims<'a> {
    /// The engine's `public_url`.
    pub iss: &'a str,
    /// The subject, as [`subject`] writes it: one that is told from all others, whatever its type.
    pub sub: &'a str,
    /// The service that the resource belongs to (L4).
    pub aud: &'a str,
    /// The caller that asked for it.
    pub client_id: &'a str,
    /// Issued at, seconds.
    pub iat: i64,
    /// Not before, seconds.
    pub nbf: i64,
    /// Expiry, seconds.
    pub exp: i64,
    /// Unique.
    pub jti: &'a str,
    /// Scopes that the policies allow, apart by spaces (L1).
    pub scope: &'a str,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<&'a str>,
    /// Authentication context class.
    pub acr: &'a str,
    /// When the subject authenticated, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// What the token was asked for from (L4).
    #[serde(skip_serializing_if = "ContextClaim::is_empty")]
    pub context: ContextClaim<'a>,
    /// `LOW`, `MEDIUM` or `HIGH`. Never the score: that would be an oracle.
    pub risk: &'a str,
}

/// Where the request came from, so that the service can see when its token turns up elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ContextClaim<'a> {
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// The device, by the id that the caller gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<&'a str>,
}

impl ContextClaim<'_> {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A subject as `sub` says it: its type, a slash, its id, for example `User/alice`. A person and a
/// program of the same id are two subjects. What stands for something in it or in a URI (RFC 7519
/// §2: a value with a colon must be one) is written as in URIs, `%3A`.
#[must_use]
pub fn subject(kind: &str, id: &str) -> String {
    let mut text = String::with_capacity(kind.len() + id.len() + 1);
    for (position, part) in [kind, id].into_iter().enumerate() {
        if position > 0 {
            text.push('/');
        }
        for character in part.chars() {
            match character {
                '%' => text.push_str("%25"),
                '/' => text.push_str("%2F"),
                ':' => text.push_str("%3A"),
                _ => text.push(character),
            }
        }
    }
    text
}

/// When a token minted now ends (L5).
#[must_use]
pub fn expiry(now: Timestamp, life_seconds: u64) -> i64 {
    let life = i64::try_from(life_seconds.min(LIFE_MAX_SECONDS)).unwrap_or_default();
    now.seconds() + life
}

/// Signs claims into a compact JWS with `typ: at+jwt` (T7).
///
/// # Errors
/// When the library refuses to sign.
pub fn mint(key: &SigningKey, claims: &AccessClaims<'_>) -> Result<String, KeyError> {
    let header = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#, key.id());
    let claims = serde_json::to_vec(claims).map_err(|_| KeyError::Refused)?;
    let mut text = BASE64URL_NOPAD.encode(header.as_bytes());
    text.push('.');
    BASE64URL_NOPAD.encode_append(&claims, &mut text);
    let signature = key.sign(text.as_bytes())?;
    text.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut text);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

    use super::*;

    #[test]
    fn no_two_subjects_are_the_same() {
        assert_eq!(
            subject("User", "alice@example.com"),
            "User/alice@example.com"
        );
        let all = [
            ("User", "x"),
            ("Service", "x"),
            ("A::B", "c"),
            ("A", "B::c"),
            ("A", "B/c"),
            ("A", "B%2Fc"),
        ];
        let written: std::collections::BTreeSet<String> =
            all.iter().map(|(kind, id)| subject(kind, id)).collect();
        assert_eq!(written.len(), all.len());
        assert!(!written.iter().any(|text| text.contains(':')));
    }

    #[test]
    fn t7_t30_another_library_verifies_what_is_minted() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
        let now = Timestamp::from_seconds(1_795_215_660);
        let claims = AccessClaims {
            iss: "http://127.0.0.1:8181",
            sub: "User/alice",
            aud: "ledger",
            client_id: "sk_12345678",
            iat: now.seconds(),
            nbf: now.seconds(),
            exp: expiry(now, 86_400),
            jti: "1",
            scope: "read",
            sid: None,
            acr: "urn:portreeve:level:1",
            auth_time: None,
            context: ContextClaim::default(),
            risk: "LOW",
        };
        let text = mint(&key, &claims).unwrap();
        let header = decode_header(&text).unwrap();
        assert_eq!(
            (header.typ.as_deref(), header.kid.as_deref()),
            (Some("at+jwt"), Some(key.id()))
        );

        let jwk: Jwk = serde_json::from_value(serde_json::to_value(key.public()).unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false; // The library would read the system's clock.
        validation.set_audience(&["ledger"]);
        validation.set_issuer(&["http://127.0.0.1:8181"]);
        let verifier = DecodingKey::from_jwk(&jwk).unwrap();
        let data = decode::<serde_json::Value>(&text, &verifier, &validation).unwrap();
        assert_eq!(data.claims["exp"], now.seconds() + 900, "t20: capped");
        assert_eq!(data.claims["scope"], "read");
    }
}
