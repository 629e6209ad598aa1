//! Step-ups in a session by a token of the issuer before whom they were passed (X10, F15, F21).

use serde_json::{Value, json};
use tempfile::TempDir;
use token::SigningKey;
use token::keys::Algorithm;

use super::world::{World, ordinary};

/// An issuer whose keys lie in a file, and an engine that believes it.
struct Believed {
    world: World,
    key: SigningKey,
    _folder: TempDir,
}

impl Believed {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let keys = folder.path().join("issuer.json");
        let jwks = json!({ "keys": [key.public()] }).to_string();
        std::fs::write(&keys, jwks).unwrap();
        let settings = format!(
            "issuers = [{{ issuer = 'https://idp.example', jwks_file = {keys:?}, \
             audience = 'portreeve', life_max_seconds = 86400 }}]\n[risk]\nmodel_weight = 0.0\n\
             rule_weight = 1.0\nrules = {{ device-not-compliant = 45 }}\n"
        );
        Self {
            world: World::with(&settings),
            key,
            _folder: folder,
        }
    }

    /// A token about alice, who authenticated so many seconds ago.
    fn token(&self, name: &str, ago: i64, changes: &Value) -> String {
        let now = self.world.now();
        let mut claims = json!({
            "iss": "https://idp.example", "sub": "alice", "aud": "portreeve", "iat": now,
            "exp": now + 3600, "jti": name, "acr": "urn:portreeve:acr:mfa", "auth_time": now - ago,
        });
        for (name, value) in changes.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        let members = claims.as_object_mut().unwrap();
        members.retain(|_, value| !value.is_null());
        token::mint(&self.key, "at+jwt", &claims).unwrap()
    }

    fn open(&mut self, token: &str) -> String {
        let context = ordinary(&Value::Null)["context"].clone();
        let body = json!({ "subject_token": token, "context": context });
        let response = self.world.gateway.post("/v1/sessions", &body);
        assert_eq!(response.status, 201, "{}", response.json());
        response.json()["id"].as_str().unwrap().to_owned()
    }

    fn step_up(&mut self, session: &str, token: &str) -> (u16, Value) {
        let path = format!("/v1/sessions/{session}/step-up");
        let body = json!({ "subject_token": token });
        let response = self.world.gateway.post(&path, &body);
        (response.status, response.json())
    }

    /// Something is read in the session; the tier that it has then.
    fn read(&mut self, session: &str, complies: bool) -> Value {
        let change = json!({
            "context": { "session_id": session, "device": { "compliant": complies } },
        });
        let answer = self.world.gateway.ask(&ordinary(&change));
        assert_eq!(answer["context"]["outcome"], "allow", "{answer}");
        answer["context"]["session"]["tier"].clone()
    }
}

#[test]
fn x10_f21_a_token_of_an_issuer_is_one_step_up_and_only_a_fresh_one() {
    let mut idp = Believed::new();
    let first = idp.token("first", 0, &Value::Null);
    let session = idp.open(&first);
    let beside = idp.open(&first);
    // What opened it proves nothing more.
    assert_eq!(idp.step_up(&session, &first).0, 403);
    idp.world.pass(10);
    let early = idp.token("early", 1, &Value::Null);
    assert_eq!(idp.read(&session, false), "restricted");
    idp.world.pass(10);
    // Authenticated before it was tightened.
    let (status, told) = idp.step_up(&session, &early);
    assert_eq!(status, 403, "{told}");
    for (changes, wanted) in [
        (json!({ "sub": "bob" }), 403),
        (json!({ "acr": "urn:example:unknown" }), 403),
        (json!({ "auth_time": null }), 403),
        (json!({ "aud": "somebody" }), 400),
        (json!({ "iss": "https://evil.example" }), 400),
    ] {
        let mut changes = changes;
        changes["jti"] = json!("bad");
        let bad = idp.token("bad", 1, &changes);
        let (status, told) = idp.step_up(&session, &bad);
        assert_eq!(status, wanted, "{changes}: {told}");
    }
    let fresh = idp.token("fresh", 1, &Value::Null);
    let (status, told) = idp.step_up(&session, &fresh);
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["assurance"]["level"], 3, "{told}");
    assert!(told["handle"].is_string(), "{told}");
    // A2: the score that had it tightened is over, and a step-up was passed since.
    assert_eq!(idp.read(&session, true), "standard");
    // It is spent: here, and where it would be fresh.
    assert_eq!(idp.step_up(&session, &fresh).0, 403);
    let (status, told) = idp.step_up(&beside, &fresh);
    assert_eq!(status, 403, "{told}");
    assert!(told.to_string().contains("before"), "{told}");
    // After it tightened again, nothing of it comes back.
    idp.world.pass(10);
    assert_eq!(idp.read(&session, false), "restricted");
    for _ in 0..3 {
        let (status, told) = idp.step_up(&session, &fresh);
        assert_eq!(status, 403, "{told}");
        assert!(told.get("handle").is_none(), "{told}");
    }
    assert_eq!(idp.read(&session, true), "restricted");
    idp.world.pass(10);
    let (status, told) = {
        let again = idp.token("again", 1, &Value::Null);
        idp.step_up(&session, &again)
    };
    assert_eq!(status, 200, "{told}");
    assert_eq!(idp.read(&session, true), "standard");
}
