//! Stories of keys: what is admitted, what is refused and why; that each algorithm signs what it
//! and another library verify.

use serde_json::{Value, json};

use super::*;

fn jwk(algorithm: Algorithm) -> Value {
    let key = SigningKey::generate(algorithm).unwrap();
    serde_json::to_value(key.public()).unwrap()
}

#[test]
fn t1_j7_k4_each_algorithm_signs_and_another_library_verifies() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let again = SigningKey::from_der(&key.to_der().unwrap()).unwrap();
        assert_eq!((again.id(), again.algorithm()), (key.id(), algorithm));
        let text = crate::mint(&again, "at+jwt", &json!({"sub": "User/alice"})).unwrap();

        let parsed = serde_json::to_value(key.public()).unwrap();
        let parsed: jsonwebtoken::jwk::Jwk = serde_json::from_value(parsed).unwrap();
        let thumbprint = parsed.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256);
        assert_eq!(thumbprint.unwrap(), key.id(), "RFC 7638");
        let theirs = match algorithm {
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        };
        let mut validation = jsonwebtoken::Validation::new(theirs);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let verifier = jsonwebtoken::DecodingKey::from_jwk(&parsed).unwrap();
        let data = jsonwebtoken::decode::<Value>(&text, &verifier, &validation).unwrap();
        assert_eq!(data.claims["sub"], "User/alice");
        assert_eq!(data.header.kid.as_deref(), Some(key.id()));

        let (message, signature) = text.rsplit_once('.').unwrap();
        let signature = data_encoding::BASE64URL_NOPAD
            .decode(signature.as_bytes())
            .unwrap();
        let admitted = admit_jwk(&serde_json::to_string(key.public()).unwrap()).unwrap();
        assert!(admitted.verify(message.as_bytes(), &signature));
        assert!(!admitted.verify(&message.as_bytes()[1..], &signature));
        assert!(!admitted.verify(message.as_bytes(), &signature[1..]));
        assert!(!format!("{key:?}").contains("pair"));
    }
}

#[test]
fn the_thumbprint_is_that_of_the_standard() {
    // RFC 8037 appendix A.3.
    let text = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let key = admit_jwk(text).unwrap();
    assert_eq!(
        key.thumbprint(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    assert_eq!(key.kid(), key.thumbprint());
}

#[test]
fn what_is_no_key_does_not_sign() {
    let p384 = aws_lc_rs::signature::EcdsaKeyPair::generate(
        &aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING,
    )
    .unwrap();
    for bytes in [
        b"".as_slice(),
        b"nonsense",
        p384.to_pkcs8v1().unwrap().as_ref(),
    ] {
        assert_eq!(SigningKey::from_der(bytes).unwrap_err(), KeyError::NotAKey);
    }
}

/// One change of a sound key, and what becomes of it.
fn check(algorithm: Algorithm, change: Value, wanted: Result<(), KeyRefusal>) {
    let mut key = jwk(algorithm);
    for (name, value) in change.as_object().unwrap() {
        if value == "(absent)" {
            key.as_object_mut().unwrap().remove(name);
        } else {
            key[name] = value.clone();
        }
    }
    let found = admit_jwk(&key.to_string()).map(|_| ());
    // What a parser says is its own words.
    let found = found.map_err(|refusal| match refusal {
        KeyRefusal::NotJson(_) => KeyRefusal::NotJson(String::new()),
        other => other,
    });
    assert_eq!(found, wanted, "{algorithm} with {change}");
}

#[test]
fn b1_foreign_keys_are_admitted_strictly() {
    use Algorithm::{EdDsa, Es256, Rs256};
    let short = data_encoding::BASE64URL_NOPAD.encode(&[7; 31]);
    let off_curve = data_encoding::BASE64URL_NOPAD.encode(&[7; 32]);
    let neutral = data_encoding::BASE64URL_NOPAD.encode(&[[1].as_slice(), &[0; 31]].concat());
    let modulus = |bytes: usize, last: u8| {
        let mut n = vec![0xd3; bytes];
        n[bytes - 1] = last;
        data_encoding::BASE64URL_NOPAD.encode(&n)
    };
    let not_json = || KeyRefusal::NotJson(String::new());
    for (algorithm, change, wanted) in [
        (Es256, json!({}), Ok(())),
        (
            Es256,
            json!({"alg": "(absent)", "use": "(absent)", "kid": "(absent)"}),
            Ok(()),
        ),
        (
            Es256,
            json!({"x5c": ["passed over"], "x5u": "https://evil.example"}),
            Ok(()),
        ),
        (Es256, json!({"key_ops": ["verify"]}), Ok(())),
        (EdDsa, json!({"alg": "Ed25519"}), Ok(())),
        (EdDsa, json!({"alg": "EdDSA"}), Ok(())),
        // Marked as something else.
        (
            EdDsa,
            json!({"alg": "ES256"}),
            Err(KeyRefusal::Algorithm(EdDsa)),
        ),
        (
            EdDsa,
            json!({"alg": "eddsa"}),
            Err(KeyRefusal::Algorithm(EdDsa)),
        ),
        (
            Es256,
            json!({"alg": "none"}),
            Err(KeyRefusal::Algorithm(Es256)),
        ),
        (
            Es256,
            json!({"alg": "HS256"}),
            Err(KeyRefusal::Algorithm(Es256)),
        ),
        (
            Rs256,
            json!({"alg": "PS256"}),
            Err(KeyRefusal::Algorithm(Rs256)),
        ),
        (
            Rs256,
            json!({"alg": "RSA-OAEP"}),
            Err(KeyRefusal::Algorithm(Rs256)),
        ),
        (Es256, json!({"use": "enc"}), Err(KeyRefusal::Usage)),
        (Es256, json!({"use": ""}), Err(KeyRefusal::Usage)),
        (Es256, json!({"key_ops": ["sign"]}), Err(KeyRefusal::Usage)),
        (Es256, json!({"key_ops": []}), Err(KeyRefusal::Usage)),
        (Es256, json!({"kty": "oct"}), Err(KeyRefusal::Kind)),
        (
            Es256,
            json!({"kty": "(absent)"}),
            Err(KeyRefusal::Missing("kty")),
        ),
        (Es256, json!({"crv": "P-384"}), Err(KeyRefusal::Kind)),
        (Es256, json!({"crv": "(absent)"}), Err(KeyRefusal::Kind)),
        (EdDsa, json!({"crv": "X25519"}), Err(KeyRefusal::Kind)),
        (EdDsa, json!({"crv": "P-256"}), Err(KeyRefusal::Kind)),
        (Rs256, json!({"crv": "P-256"}), Err(KeyRefusal::Kind)),
        // Not the key that it seems to be.
        (Es256, json!({"x": short}), Err(KeyRefusal::Malformed("x"))),
        (Es256, json!({"y": "AQAB"}), Err(KeyRefusal::Malformed("y"))),
        (
            Es256,
            json!({"y": "(absent)"}),
            Err(KeyRefusal::Missing("y")),
        ),
        (Es256, json!({"x": off_curve}), Err(KeyRefusal::Point)),
        (Es256, json!({"x": "ü"}), Err(KeyRefusal::Malformed("x"))),
        (
            EdDsa,
            json!({"x": format!("{off_curve}=")}),
            Err(KeyRefusal::Malformed("x")),
        ),
        (
            EdDsa,
            json!({"x": format!(" {off_curve}")}),
            Err(KeyRefusal::Malformed("x")),
        ),
        (EdDsa, json!({"x": neutral}), Err(KeyRefusal::Point)),
        (
            Rs256,
            json!({"n": modulus(128, 1)}),
            Err(KeyRefusal::RsaBits(1024)),
        ),
        (
            Rs256,
            json!({"n": modulus(2048, 1)}),
            Err(KeyRefusal::RsaBits(16384)),
        ),
        (
            Rs256,
            json!({"n": modulus(256, 2)}),
            Err(KeyRefusal::Malformed("n (even)")),
        ),
        (Rs256, json!({"n": ""}), Err(KeyRefusal::Missing("n"))),
        (Rs256, json!({"e": "AQ"}), Err(KeyRefusal::RsaExponent)),
        (Rs256, json!({"e": "BA"}), Err(KeyRefusal::RsaExponent)),
        (
            Rs256,
            json!({"e": "AAEAAQ"}),
            Err(KeyRefusal::Malformed("n or e (leading zeros)")),
        ),
        (
            Rs256,
            json!({"e": "AQAAAAAAAAE"}),
            Err(KeyRefusal::RsaExponent),
        ),
        // Nobody's secret any more.
        (Es256, json!({"d": "AQAB"}), Err(KeyRefusal::Private("d"))),
        (Es256, json!({"d": null}), Err(KeyRefusal::Private("d"))),
        (Rs256, json!({"p": "AQAB"}), Err(KeyRefusal::Private("p"))),
        (EdDsa, json!({"k": "AQAB"}), Err(KeyRefusal::Private("k"))),
        // Not the JSON that it should be.
        (Es256, json!({"alg": null}), Err(not_json())),
        (Es256, json!({"alg": ["ES256"]}), Err(not_json())),
        (Es256, json!({"key_ops": "verify"}), Err(not_json())),
        (Es256, json!({"kid": 7}), Err(not_json())),
        (Es256, json!({"kid": ""}), Err(KeyRefusal::Malformed("kid"))),
        (
            Es256,
            json!({"kid": "k".repeat(300)}),
            Err(KeyRefusal::Malformed("kid")),
        ),
    ] {
        check(algorithm, change, wanted);
    }
    let sound = jwk(EdDsa).to_string();
    let twice = sound.replacen('{', r#"{"kty":"OKP","#, 1);
    assert!(matches!(admit_jwk(&twice), Err(KeyRefusal::NotJson(_))));
    assert!(matches!(admit_jwk("[]"), Err(KeyRefusal::NotJson(_))));
    let long = sound.replacen('{', &format!(r#"{{"x5c":"{}","#, "A".repeat(40_000)), 1);
    assert!(matches!(admit_jwk(&long), Err(KeyRefusal::TooLong(_))));
}

#[test]
fn b1_a_modulus_that_can_be_factored_is_known_by_its_fingerprint() {
    // A power of 65537 is one modulo each of the small primes, too.
    let n = power_of_65537(128);
    let change = json!({"n": data_encoding::BASE64URL_NOPAD.encode(&n)});
    check(Algorithm::Rs256, change, Err(KeyRefusal::Roca));
}

/// 65537 to a power, big-endian.
fn power_of_65537(power: u32) -> Vec<u8> {
    let mut little = vec![1_u8];
    for _ in 0..power {
        let mut sum = vec![0_u16; little.len() + 2];
        for (place, byte) in little.iter().enumerate() {
            sum[place] += u16::from(*byte);
            sum[place + 2] += u16::from(*byte);
        }
        let mut carry = 0;
        little = sum
            .iter()
            .map(|digit| {
                let digit = digit + carry;
                carry = digit >> 8;
                (digit & 0xff) as u8
            })
            .collect();
        if carry > 0 {
            little.push(u8::try_from(carry).unwrap());
        }
        while little.last() == Some(&0) {
            little.pop();
        }
    }
    little.reverse();
    little
}

#[test]
fn b1_sets_are_admitted_whole_or_not_at_all() {
    let (es, ed, rs) = (
        jwk(Algorithm::Es256),
        jwk(Algorithm::EdDsa),
        jwk(Algorithm::Rs256),
    );
    let with = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        key
    };
    let encrypts = with(with(rs.clone(), "use", json!("enc")), "kid", json!("e"));
    let other = json!({"kty": "EC", "crv": "P-521", "kid": "p", "x": "AQ", "y": "AQ"});
    let secret = json!({"kty": "oct", "kid": "s", "k": "AQAB"});
    let mut nameless = ed.clone();
    nameless.as_object_mut().unwrap().remove("kid");
    for (keys, wanted) in [
        (json!([es, ed, rs]), Ok((3, 0))),
        (json!([es, encrypts, other]), Ok((1, 2))),
        (json!([es, nameless]), Ok((1, 1))),
        (json!([]), Err("no key of the set can be used")),
        (json!([other]), Err("no key of the set can be used")),
        (json!([es, es]), Err("two keys are called")),
        (
            json!([with(es.clone(), "kid", json!("e")), encrypts]),
            Err("two keys are called"),
        ),
        (
            json!([encrypts, with(es.clone(), "kid", json!("e"))]),
            Err("two keys are called"),
        ),
        (json!([es, secret]), Err("private member `k`")),
        (
            json!([es, with(ed.clone(), "d", json!("AQAB"))]),
            Err("private member `d`"),
        ),
        (json!([es, "nonsense"]), Err("not an object")),
        (json!({}), Err("invalid type")),
        (json!(vec![es.clone(); 101]), Err("101 keys")),
    ] {
        let found = admit_jwks(&json!({"keys": keys}).to_string());
        match (found, wanted) {
            (Ok(found), Ok((admitted, passed_over))) => {
                assert_eq!(
                    (found.keys().len(), found.passed_over.len()),
                    (admitted, passed_over),
                    "{keys}"
                );
                assert!(
                    found
                        .keys()
                        .iter()
                        .all(|key| found.find(key.kid()).is_some())
                );
            }
            (Err(found), Err(wanted)) => {
                assert!(found.to_string().contains(wanted), "{keys}: {found}");
            }
            (found, wanted) => panic!("{keys}: {found:?}, not {wanted:?}"),
        }
    }
    assert!(matches!(admit_jwks("[]"), Err(KeyRefusal::NotJson(_))));
    let long = " ".repeat(JWKS_BYTES_MAX + 1);
    assert!(matches!(admit_jwks(&long), Err(KeyRefusal::TooLong(_))));
}

#[test]
fn k3_j6_a_set_publishes_public_halves_and_finds_by_name_alone() {
    let signer = std::sync::Arc::new(SigningKey::generate(Algorithm::Es256).unwrap());
    let next = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let others = [next.verifying().clone(), signer.verifying().clone()];
    let set = KeySet::new(std::sync::Arc::clone(&signer), others);
    let published: Value = serde_json::from_str(set.jwks()).unwrap();
    let names: Vec<&str> = published["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap())
        .collect();
    assert_eq!(names, [signer.id(), next.id()]);
    assert_eq!(admit_jwks(set.jwks()).unwrap().keys().len(), 2);
    assert!(set.find(next.id()).is_some());
    for injected in [
        "",
        "../../etc/passwd",
        "' OR 1=1 --",
        "http://evil.example/jwks",
    ] {
        assert!(set.find(injected).is_none());
    }
    let alone = KeySet::new(signer, []);
    assert_ne!(alone.etag(), set.etag());
    assert!(set.etag().starts_with('"') && set.etag().ends_with('"'));
}
