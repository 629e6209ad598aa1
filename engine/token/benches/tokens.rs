//! What a token costs: minted and verified, beside the bare signature and its verification with
//! the same held key, and beside what jsonwebtoken's `encode` and `decode` take.
//!
//! `cargo bench -p token --bench tokens`. The aim is 1.3 times the bare cost. What is counted is
//! the time that the thread had a processor, so that a busy machine changes little.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on must fail"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair, VerificationAlgorithm,
};
use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use domain::Timestamp;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use rustix::time::{ClockId, clock_gettime};
use token::claims::{ACCESS_TOKEN_TYP, Claims, Confirmation, ContextClaim};
use token::keys::Algorithm;
use token::{Expected, KeySet, SigningKey};

const NOW: i64 = 1_795_000_000;

/// The claims of a token as an evaluation mints it, some 620 bytes of JSON.
fn claims() -> Claims {
    Claims {
        iss: "https://pdp.example".to_owned(),
        sub: "User/alice@example.com".to_owned(),
        aud: "https://docs.example".to_owned(),
        client_id: "sk_12345678".to_owned(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + 300,
        jti: "0199f3f0-5c5e-7cc4-8d1e-0b6a7f0d2a11".to_owned(),
        scope: "read write documents.share".to_owned(),
        acr: "urn:portreeve:acr:mfa".to_owned(),
        sid: Some("ses_0199f3f05c5e7cc48d1e0b6a7f0d2a12".to_owned()),
        auth_time: Some(NOW - 1200),
        cnf: Some(Confirmation {
            jkt: Some("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".to_owned()),
            x5t_s256: None,
        }),
        act: None,
        original_jti: None,
        lineage: Vec::new(),
        issued_to: Vec::new(),
        family_id: Some("fam_0199f3f05c5e7cc48d1e0b6a7f0d2a13".to_owned()),
        status: None,
        context: ContextClaim {
            ip: Some("203.0.113.7".parse().unwrap()),
            device_id: Some("alice-laptop".to_owned()),
        },
        risk: Some("LOW".to_owned()),
    }
}

/// PKCS #1 within a PKCS #8 document, which is what jsonwebtoken wants of an RSA key.
fn pkcs1(pkcs8: &[u8]) -> &[u8] {
    // SEQUENCE, version, algorithm (rsaEncryption, NULL: 15 bytes), OCTET STRING: 26 bytes ahead.
    pkcs8.get(26..).unwrap()
}

/// Signs a text, and forgets the signature.
type Sign = Box<dyn Fn(&[u8])>;

/// The library's own signature, with a key pair that is held.
fn bare_signer(algorithm: Algorithm, der: &[u8]) -> Sign {
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::Es256 => {
            let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pair = EcdsaKeyPair::from_pkcs8(how, der).unwrap();
            Box::new(move |text| {
                black_box(pair.sign(&random, text).unwrap());
            })
        }
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8(der).unwrap();
            Box::new(move |text| {
                black_box(pair.sign(text));
            })
        }
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::from_pkcs8(der).unwrap();
            Box::new(move |text| {
                let mut signature = [0; 256];
                pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
                    .unwrap();
                black_box(signature);
            })
        }
    }
}

/// The library's own public key, parsed and held.
fn bare_verifier(algorithm: Algorithm, der: &[u8]) -> ParsedPublicKey {
    let public = |key: &[u8], how: &'static dyn VerificationAlgorithm| {
        ParsedPublicKey::new(how, key).unwrap()
    };
    match algorithm {
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).unwrap();
            public(pair.public_key().as_ref(), &ECDSA_P256_SHA256_FIXED)
        }
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8(der).unwrap();
            public(pair.public_key().as_ref(), &ED25519)
        }
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::from_pkcs8(der).unwrap();
            public(pair.public_key().as_ref(), &RSA_PKCS1_2048_8192_SHA256)
        }
    }
}

/// Time of this thread on a processor.
fn on_processor() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.try_into().unwrap())
}

fn measure<T>(bencher: &mut Bencher<'_>, mut work: impl FnMut() -> T) {
    bencher.iter_custom(|times| {
        let before = on_processor();
        for _ in 0..times {
            black_box(work());
        }
        on_processor() - before
    });
}

fn bench(criterion: &mut Criterion) {
    for algorithm in Algorithm::ALL {
        let key = Arc::new(SigningKey::generate(algorithm).unwrap());
        let keys = KeySet::new(Arc::clone(&key), []);
        let claims = claims();
        let token = token::mint(&key, ACCESS_TOKEN_TYP, &claims).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = data_encoding::BASE64URL_NOPAD
            .decode(signature.as_bytes())
            .unwrap();
        let expected = Expected::access_token("https://pdp.example", Some("https://docs.example"));
        let now = Timestamp::from_seconds(NOW + 1);
        assert_eq!(
            token::verify(&token, &keys, &expected, now).unwrap(),
            claims
        );

        let theirs = match algorithm {
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        };
        let der = key.to_der().unwrap();
        let encoding = match algorithm {
            Algorithm::Es256 => EncodingKey::from_ec_der(&der),
            Algorithm::EdDsa => EncodingKey::from_ed_der(&der),
            Algorithm::Rs256 => EncodingKey::from_rsa_der(pkcs1(&der)),
        };
        let jwk = serde_json::from_value(serde_json::to_value(key.public()).unwrap()).unwrap();
        let decoding = DecodingKey::from_jwk(&jwk).unwrap();
        let header = Header {
            typ: Some(ACCESS_TOKEN_TYP.to_owned()),
            kid: Some(key.id().to_owned()),
            ..Header::new(theirs)
        };
        let mut validation = Validation::new(theirs);
        validation.set_audience(&["https://docs.example"]);
        validation.set_issuer(&["https://pdp.example"]);
        // It would read the system's clock.
        validation.validate_exp = false;

        let mut group = criterion.benchmark_group(algorithm.as_str());
        group.throughput(Throughput::Elements(1));
        group.bench_function("sign, bare", |bencher| {
            let sign = bare_signer(algorithm, &der);
            measure(bencher, || sign(black_box(signed.as_bytes())));
        });
        group.bench_function("mint", |bencher| {
            measure(bencher, || {
                token::mint(&key, ACCESS_TOKEN_TYP, black_box(&claims)).unwrap()
            });
        });
        group.bench_function("jsonwebtoken encode", |bencher| {
            measure(bencher, || {
                jsonwebtoken::encode(&header, black_box(&claims), &encoding).unwrap()
            });
        });
        group.bench_function("verify signature, bare", |bencher| {
            let key = bare_verifier(algorithm, &der);
            let text = signed.as_bytes();
            measure(bencher, || {
                key.verify_sig(black_box(text), &signature).unwrap()
            });
        });
        group.bench_function("verify", |bencher| {
            measure(bencher, || {
                token::verify(black_box(&token), &keys, &expected, now).unwrap()
            });
        });
        group.bench_function("jsonwebtoken decode", |bencher| {
            measure(bencher, || {
                jsonwebtoken::decode::<Claims>(black_box(&token), &decoding, &validation).unwrap()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
