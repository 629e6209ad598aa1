//! jsonwebtoken beside the verifier: what it signs that is no good here, and what is taken here.

use jsonwebtoken::{DecodingKey, Validation, decode};

use super::bent::{bend, rows, verdicts};
use super::*;
use crate::verify;

/// A secret-key signature with our public key as the secret (CVE-2015-9235): there is no such
/// algorithm here, whatever the header says.
#[test]
fn j1_a_public_key_is_no_secret() {
    use jsonwebtoken::{EncodingKey, Header, encode};
    let keys = key_set(Algorithm::Es256);
    let public = serde_json::to_string(keys.signer().public()).unwrap();
    for secret in [public.as_bytes(), b"", b"secret"] {
        let mut header = Header::new(jsonwebtoken::Algorithm::HS256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(keys.signer().id().to_owned());
        let text = encode(&header, &good(), &EncodingKey::from_secret(secret)).unwrap();
        assert_eq!(verdicts(&text, &keys), ["alg", "alg"]);
    }
}

/// A second opinion: whatever is taken here, the library takes too, with every option that it has
/// turned on. Its one cryptographic provider comes from a feature of the workspace; this would
/// panic if there were none or two.
#[test]
fn what_is_taken_here_another_library_takes_too() {
    for (algorithm, theirs) in [
        (Algorithm::Es256, jsonwebtoken::Algorithm::ES256),
        (Algorithm::EdDsa, jsonwebtoken::Algorithm::EdDSA),
        (Algorithm::Rs256, jsonwebtoken::Algorithm::RS256),
    ] {
        let keys = key_set(algorithm);
        let jwk = serde_json::to_value(keys.signer().public()).unwrap();
        let key = DecodingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap();
        let mut validation = Validation::new(theirs);
        validation.validate_exp = false; // It would read the system's clock.
        validation.set_audience(&["ledger"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        let header = header_of(keys.signer());
        let mut taken = 0;
        let straight = ("straight", vec![], vec![], "");
        for (name, in_header, in_claims, _) in rows().into_iter().chain([straight]) {
            let header = bend(&header, in_header);
            let text = signed(keys.signer(), &header, bend(&good(), in_claims).as_bytes());
            if verify(&text, &keys, &expected(), now()).is_ok() {
                taken += 1;
                let theirs = decode::<Value>(&text, &key, &validation);
                assert!(theirs.is_ok(), "{name}: {theirs:?}");
            }
        }
        assert!(taken >= 1, "{algorithm}");
    }
}
