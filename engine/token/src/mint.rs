//! How a token is made.

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;

use crate::keys::{KeyError, SigningKey};

/// Signs claims into a compact JWS whose header has exactly `typ` (`at+jwt` for access tokens,
/// T7), `alg` and `kid`.
///
/// `typ` is a constant of ours, never a caller's text.
///
/// # Errors
/// When the library refuses to sign.
pub fn mint<C: Serialize>(
    key: &SigningKey,
    typ: &'static str,
    claims: &C,
) -> Result<String, KeyError> {
    let header = format!(
        r#"{{"typ":"{typ}","alg":"{}","kid":"{}"}}"#,
        key.algorithm(),
        key.id()
    );
    let claims = serde_json::to_vec(claims).map_err(|_| KeyError::Refused)?;
    // The longest signature is RSA's, 1,024 bytes at most and 256 of our own keys.
    let mut text = String::with_capacity((header.len() + claims.len()) * 4 / 3 + 360);
    BASE64URL_NOPAD.encode_append(header.as_bytes(), &mut text);
    text.push('.');
    BASE64URL_NOPAD.encode_append(&claims, &mut text);
    let signature = key.sign(text.as_bytes())?;
    text.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut text);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

    use super::*;
    use crate::claims::{ACCESS_TOKEN_TYP, expiry};

    #[test]
    fn t7_t30_another_library_verifies_what_is_minted() {
        let key = SigningKey::generate(crate::keys::Algorithm::Es256).unwrap();
        let now = Timestamp::from_seconds(1_795_215_660);
        let claims = serde_json::json!({
            "iss": "http://127.0.0.1:8181",
            "aud": "ledger",
            "exp": expiry(now, 86_400),
            "scope": "read",
        });
        let text = mint(&key, ACCESS_TOKEN_TYP, &claims).unwrap();
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
