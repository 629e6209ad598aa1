//! Issuers of the test's own, on this machine: what they publish is changed under way, and every
//! fetch is counted.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use token::keys::{Algorithm, SigningKey};

use super::*;
use crate::inputs::SystemClock;
use crate::outbound::{Allowed, OutboundSettings};
use crate::settings::Settings;

const NOW: i64 = 1_795_215_660;

/// A place where keys are published.
#[derive(Clone)]
struct Publisher {
    address: SocketAddr,
    keys: Arc<std::sync::Mutex<Vec<Value>>>,
    fetches: Arc<AtomicUsize>,
    is_down: Arc<AtomicBool>,
}

impl Publisher {
    fn new(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Self {
            address: listener.local_addr().unwrap(),
            keys: Arc::default(),
            fetches: Arc::default(),
            is_down: Arc::default(),
        };
        this.publish(keys);
        let server = this.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                lines.map_while(Result::ok).find(String::is_empty);
                server.fetches.fetch_add(1, Ordering::Relaxed);
                let keys = server.keys.lock().unwrap().clone();
                let (status, body) = if server.is_down.load(Ordering::Relaxed) {
                    ("503 Down", "{}".to_owned())
                } else {
                    ("200 OK", json!({ "keys": keys }).to_string())
                };
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"
                );
            }
        });
        this
    }

    fn publish(&self, keys: &[&SigningKey]) {
        let keys = keys
            .iter()
            .map(|key| serde_json::to_value(key.public()).unwrap());
        *self.keys.lock().unwrap() = keys.collect();
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }
}

struct World {
    publisher: Publisher,
    issuers: Issuers,
    outbound: Arc<Outbound>,
    sessions: SessionSettings,
    issuer: String,
}

impl World {
    fn new(keys: &[&SigningKey]) -> Self {
        let publisher = Publisher::new(keys);
        let issuer = format!("http://{}", publisher.address);
        let allow = vec![Allowed::parse(&publisher.address.to_string()).unwrap()];
        #[derive(serde::Deserialize)]
        struct Form {
            issuers: Vec<RawIssuer>,
        }
        let text = format!(
            "[[issuers]]\nissuer = '{issuer}'\njwks_uri = '{issuer}/jwks'\naudience = 'portreeve'\n"
        );
        let form: Form = toml::from_str(&text).unwrap();
        let mut faults = Vec::new();
        let settings = RawIssuer::check_all(form.issuers, &allow, &mut faults);
        assert_eq!(faults, Vec::<String>::new());
        let outbound = OutboundSettings {
            allow,
            authorities: None,
        };
        Self {
            publisher,
            issuers: Issuers::new(&settings),
            outbound: Arc::new(Outbound::new(outbound, Arc::new(SystemClock))),
            sessions: Settings::default().sessions,
            issuer,
        }
    }

    fn claims(&self, at: i64) -> Value {
        json!({
            "iss": self.issuer, "sub": "alice", "aud": ["portreeve"], "iat": at, "exp": at + 300,
            "acr": "urn:portreeve:acr:mfa", "amr": ["pwd", "otp"], "auth_time": at - 60,
        })
    }

    async fn verify(&self, text: &str, at: i64) -> Result<External, NotBelieved> {
        let now = Timestamp::from_seconds(at);
        self.issuers
            .verify(text, &self.outbound, &self.sessions, now)
            .await
    }

    /// A token of a key, at a time, held against the issuer then.
    async fn try_key(&self, key: &SigningKey, at: i64) -> Result<External, NotBelieved> {
        let text = token::mint(key, "at+jwt", &self.claims(at)).unwrap();
        self.verify(&text, at).await
    }
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256).unwrap()
}

#[tokio::test]
async fn x10_a_foreign_token_speaks_of_a_subject_and_its_assurance() {
    let key = key();
    let world = World::new(&[&key]);
    let external = world.try_key(&key, NOW).await.unwrap();
    assert_eq!(external.subject, EntityRef::new("User", "alice").unwrap());
    let at = Timestamp::from_seconds(NOW - 60);
    assert_eq!(external.assurance, Assurance::of(Level::Mfa, Some(at)));
    assert_eq!(external.exp, NOW + 300);
    // Its clock may have been ahead, by as much as is let through.
    assert_eq!(external.issued_at, Timestamp::from_seconds(NOW - 5));

    // Without a time it was long ago; without a word that means something it was nothing.
    for (name, level) in [("auth_time", Level::Mfa), ("acr", Level::Challenge)] {
        let mut claims = world.claims(NOW);
        claims.as_object_mut().unwrap().remove(name);
        let text = token::mint(&key, "JWT", &claims).unwrap();
        let external = world.verify(&text, NOW).await.unwrap();
        assert_eq!(external.assurance.level, level, "{name}");
        assert_eq!(
            external.assurance.at.is_some(),
            name != "auth_time",
            "{name}"
        );
    }
    assert_eq!(world.publisher.fetches(), 1, "k5: keys are fetched once");
}

#[tokio::test]
async fn x10_what_is_wrong_with_a_foreign_token_is_seen() {
    let (key, other) = (key(), key());
    let world = World::new(&[&key]);
    let mint = |typ, name: &str, value: Value| {
        let mut claims = world.claims(NOW);
        claims[name] = value;
        token::mint(&key, typ, &claims).unwrap()
    };
    assert!(world.try_key(&other, NOW).await.is_err(), "another's key");
    assert!(world.try_key(&key, NOW).await.is_ok());
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!(["somebody"])),
        ("aud", json!([])),
        ("sub", json!("")),
        ("sub", json!("a\u{200B}lice")),
        ("exp", json!(NOW)),
        ("exp", json!(NOW + 3601)),
        ("iat", json!(NOW + 60)),
        ("auth_time", json!(NOW + 60)),
        ("auth_time", json!("yesterday")),
        ("amr", json!("mfa")),
        ("cnf", json!({"kid": "x"})),
        ("act", json!({"sub": "somebody"})),
        ("events", json!({})),
        ("aud", json!(["portreeve", "somebody"])),
    ] {
        let text = mint("at+jwt", name, value.clone());
        assert!(world.verify(&text, NOW).await.is_err(), "{name}: {value}");
    }
    for typ in ["dpop+jwt", "secevent+jwt", "logout+jwt", "id_token"] {
        let text = mint(typ, "sub", json!("alice"));
        assert!(world.verify(&text, NOW).await.is_err(), "{typ}");
    }
    for text in ["", "x", "a.b.c", "e30.e30.e30", "...", "é.e30.x"] {
        assert!(world.verify(text, NOW).await.is_err(), "{text}");
    }
}

/// The same signature with the other sign of `s`, which is as good (SEC 1 §4.1.4).
fn with_other_signature(text: &str) -> String {
    // The order of P-256.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let mut signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let mut borrow = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER).rev() {
        let difference = i16::from(order) - i16::from(*byte) - borrow;
        borrow = i16::from(difference < 0);
        *byte = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

#[tokio::test]
async fn one_token_has_one_name_however_its_signature_is_written() {
    let key = key();
    let world = World::new(&[&key]);
    let text = token::mint(&key, "at+jwt", &world.claims(NOW)).unwrap();
    let other = with_other_signature(&text);
    assert_ne!(text, other);
    let name = world.verify(&text, NOW).await.unwrap().id;
    assert_eq!(world.verify(&other, NOW).await.unwrap().id, name);
    assert!(name.starts_with("ext_"), "{name}");
    let later = token::mint(&key, "at+jwt", &world.claims(NOW + 1)).unwrap();
    assert_ne!(world.verify(&later, NOW + 1).await.unwrap().id, name);
}

#[tokio::test]
async fn t31_k5_a_storm_of_unknown_keys_is_one_fetch_in_half_a_minute() {
    let known = key();
    let world = World::new(&[&known]);
    assert!(world.try_key(&known, NOW).await.is_ok());
    let strangers: Vec<SigningKey> = (0..50).map(|_| key()).collect();
    for at in [NOW + 1, NOW + 30, NOW + 59, NOW + 60] {
        for stranger in &strangers {
            let refused = world.try_key(stranger, at).await;
            let unknown = NotBelieved::Refused(Refusal::UnknownKey);
            assert_eq!(refused, Err(unknown), "{at}");
        }
    }
    // At the start, after 30 s and after 60 s.
    assert_eq!(world.publisher.fetches(), 3);
    assert!(world.try_key(&known, NOW + 61).await.is_ok());
}

#[tokio::test]
async fn many_at_once_are_one_fetch() {
    let key = key();
    let world = World::new(&[&key]);
    let all = (0..64).map(|_| world.try_key(&key, NOW));
    let all = futures_util::future::join_all(all).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(world.publisher.fetches(), 1);
}

#[tokio::test]
async fn keys_change_at_the_issuer() {
    let (old, new) = (key(), key());
    let world = World::new(&[&old]);
    assert!(world.try_key(&old, NOW).await.is_ok());
    world.publisher.publish(&[&old, &new]);
    assert!(world.try_key(&new, NOW + 5).await.is_err(), "cooling down");
    assert!(world.try_key(&new, NOW + 30).await.is_ok());
    assert!(world.try_key(&old, NOW + 31).await.is_ok());
    // What is withdrawn is gone ten minutes later at the latest.
    world.publisher.publish(&[&new]);
    assert!(world.try_key(&old, NOW + 631).await.is_err());
    assert!(world.try_key(&new, NOW + 632).await.is_ok());
    assert_eq!(world.publisher.fetches(), 3);
}

#[tokio::test]
async fn k6_f1_keys_outlive_their_source_for_a_while() {
    let key = key();
    let world = World::new(&[&key]);
    assert!(world.try_key(&key, NOW).await.is_ok());
    world.publisher.is_down.store(true, Ordering::Relaxed);
    for at in [601, 1200, 2000, 4000, 4200] {
        assert!(world.try_key(&key, NOW + at).await.is_ok(), "{at}");
    }
    let late = world.try_key(&key, NOW + 4201).await;
    assert_eq!(late, Err(NotBelieved::NoKeys), "an hour past their time");
    world.publisher.is_down.store(false, Ordering::Relaxed);
    assert!(world.try_key(&key, NOW + 9000).await.is_ok(), "it is back");

    let nowhere = World::new(&[]);
    let none = nowhere.try_key(&key, NOW).await;
    assert_eq!(none, Err(NotBelieved::NoKeys), "an empty set is none");
}

#[test]
fn a_file_without_keys_is_told_before_a_start() {
    let text = "issuer = 'https://idp.example'\njwks_file = 'Cargo.toml'\naudience = 'pdp'";
    let raw: RawIssuer = toml::from_str(text).unwrap();
    let checked = RawIssuer::check_all(vec![raw], &[], &mut Vec::new());
    let faults = file_faults(&checked);
    assert!(faults[0].contains("Cargo.toml"), "{faults:?}");
}
