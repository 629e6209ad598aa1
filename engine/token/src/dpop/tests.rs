//! RFC 9449: a proof is for one request, by one key, now.

use serde_json::{Value, json};

use super::*;
use crate::keys::{Algorithm, SigningKey};
use crate::tests::{NOW, now, signed};

const URL: &str = "https://pdp.example/oauth2/token";

fn expected(access_token: Option<&str>) -> ProofExpected<'_> {
    ProofExpected {
        method: "POST",
        url: URL,
        access_token,
    }
}

fn header(key: &SigningKey) -> Value {
    let jwk = serde_json::to_value(key.public()).unwrap();
    json!({"typ": "dpop+jwt", "alg": key.algorithm().as_str(), "jwk": jwk})
}

fn claims() -> Value {
    json!({"jti": "1", "htm": "POST", "htu": URL, "iat": NOW})
}

fn with(mut of: Value, name: &str, value: Value) -> Value {
    of[name] = value;
    of
}

fn without(mut of: Value, name: &str) -> Value {
    of.as_object_mut().unwrap().remove(name);
    of
}

#[test]
fn l6_a_proof_names_its_key_by_thumbprint() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let text = signed(
            &key,
            &header(&key).to_string(),
            claims().to_string().as_bytes(),
        );
        let proof = verify_proof(&text, &expected(None), now()).unwrap();
        assert_eq!(proof.jkt, key.id());
        assert_eq!((proof.jti.as_str(), proof.iat), ("1", NOW));
    }
}

#[test]
fn l6_a_proof_for_something_else_is_refused() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let other = SigningKey::generate(Algorithm::Es256).unwrap();
    let (h, c) = (header(&key), claims());
    let secret = json!({"kty": "oct", "k": "AAAA"});
    let private = with(h["jwk"].clone(), "d", json!("AAAA"));
    for (name, header, claims) in [
        (
            "typ of a token",
            with(h.clone(), "typ", json!("at+jwt")),
            c.clone(),
        ),
        ("typ JWT", with(h.clone(), "typ", json!("JWT")), c.clone()),
        ("no typ", without(h.clone(), "typ"), c.clone()),
        ("alg none", with(h.clone(), "alg", json!("none")), c.clone()),
        (
            "alg HS256",
            with(h.clone(), "alg", json!("HS256")),
            c.clone(),
        ),
        (
            "alg of another kind",
            with(h.clone(), "alg", json!("EdDSA")),
            c.clone(),
        ),
        ("no jwk", without(h.clone(), "jwk"), c.clone()),
        ("jwk as text", with(h.clone(), "jwk", json!("x")), c.clone()),
        ("jwk a secret", with(h.clone(), "jwk", secret), c.clone()),
        (
            "jwk with its private half",
            with(h.clone(), "jwk", private),
            c.clone(),
        ),
        (
            "jwk of another",
            with(h.clone(), "jwk", header(&other)["jwk"].clone()),
            c.clone(),
        ),
        (
            "jku",
            with(h.clone(), "jku", json!("https://evil.example")),
            c.clone(),
        ),
        ("crit", with(h.clone(), "crit", json!(["x"])), c.clone()),
        ("no jti", h.clone(), without(c.clone(), "jti")),
        ("jti, empty", h.clone(), with(c.clone(), "jti", json!(""))),
        ("jti a number", h.clone(), with(c.clone(), "jti", json!(1))),
        ("no htm", h.clone(), without(c.clone(), "htm")),
        (
            "htm of another",
            h.clone(),
            with(c.clone(), "htm", json!("GET")),
        ),
        (
            "htm in small letters",
            h.clone(),
            with(c.clone(), "htm", json!("post")),
        ),
        ("no htu", h.clone(), without(c.clone(), "htu")),
        (
            "htu of another",
            h.clone(),
            with(c.clone(), "htu", json!("https://pdp.example/")),
        ),
        ("no iat", h.clone(), without(c.clone(), "iat")),
        (
            "iat as text",
            h.clone(),
            with(c.clone(), "iat", json!(NOW.to_string())),
        ),
        (
            "61 s old",
            h.clone(),
            with(c.clone(), "iat", json!(NOW - 61)),
        ),
        (
            "6 s ahead",
            h.clone(),
            with(c.clone(), "iat", json!(NOW + 6)),
        ),
        ("over", h.clone(), with(c.clone(), "exp", json!(NOW))),
        (
            "not yet",
            h.clone(),
            with(c.clone(), "nbf", json!(NOW + 60)),
        ),
    ] {
        let text = signed(&key, &header.to_string(), claims.to_string().as_bytes());
        let verified = verify_proof(&text, &expected(None), now());
        assert!(verified.is_err(), "{name}: {verified:?}");
    }
    for iat in [NOW - 60, NOW + 5] {
        let claims = with(claims(), "iat", json!(iat)).to_string();
        let text = signed(&key, &h.to_string(), claims.as_bytes());
        assert!(verify_proof(&text, &expected(None), now()).is_ok(), "{iat}");
    }
}

#[test]
fn l6_a_proof_at_a_resource_is_for_one_token() {
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let token = "a.b.c";
    let hash = BASE64URL_NOPAD.encode(digest(&SHA256, token.as_bytes()).as_ref());
    let verified = |claims: Value| {
        let text = signed(
            &key,
            &header(&key).to_string(),
            claims.to_string().as_bytes(),
        );
        verify_proof(&text, &expected(Some(token)), now()).map(|_| ())
    };
    assert_eq!(verified(with(claims(), "ath", json!(hash))), Ok(()));
    let padded = format!("{hash}=");
    for ath in [json!(padded), json!("x"), json!(null), json!([hash])] {
        let claims = with(claims(), "ath", ath);
        assert_eq!(verified(claims), Err(ProofRefusal::OtherToken));
    }
    assert_eq!(verified(claims()), Err(ProofRefusal::OtherToken));
}
