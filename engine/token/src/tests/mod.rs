//! Tokens minted, bent and verified.

mod bent;
mod minted;
mod second_opinion;

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use domain::Timestamp;
use serde_json::{Value, json};

use crate::keys::{Algorithm, KeySet, SigningKey};
use crate::{Claims, Expected};

pub(crate) const NOW: i64 = 1_795_215_660;
pub(crate) const ISSUER: &str = "https://pdp.example";

pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(NOW)
}

pub(crate) fn key_set(algorithm: Algorithm) -> KeySet {
    KeySet::new(Arc::new(SigningKey::generate(algorithm).unwrap()), [])
}

pub(crate) fn expected() -> Expected<'static> {
    Expected::access_token(ISSUER, Some("ledger"))
}

/// Claims of which nothing is wrong.
pub(crate) fn good() -> Value {
    json!({
        "iss": ISSUER, "sub": "User/alice", "aud": "ledger", "client_id": "sk_12345678",
        "iat": NOW, "nbf": NOW, "exp": NOW + 300, "jti": "0199", "scope": "read write",
        "acr": "urn:portreeve:acr:mfa",
    })
}

pub(crate) fn good_claims() -> Claims {
    serde_json::from_value(good()).unwrap()
}

/// Any header and any payload, signed rightly.
pub(crate) fn signed(key: &SigningKey, header: &str, payload: &[u8]) -> String {
    let mut text = BASE64URL_NOPAD.encode(header.as_bytes());
    text.push('.');
    text.push_str(&BASE64URL_NOPAD.encode(payload));
    let signature = key.sign(text.as_bytes()).unwrap();
    text.push('.');
    text.push_str(&BASE64URL_NOPAD.encode(&signature));
    text
}

pub(crate) fn header_of(key: &SigningKey) -> Value {
    json!({"typ": "at+jwt", "alg": key.algorithm().as_str(), "kid": key.id()})
}
