//! Proofs of possession: DPoP at the token endpoint and with evaluations (RFC 9449, L6).

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use token::SigningKey;
use token::keys::Algorithm;

use super::{ACCESS_TOKEN, DOCS, EXCHANGE, Holder, Speaker, WIKI, alices_token, claims};
use crate::harness::{Engine, Site, alice_reads};

/// A client's own key.
struct ClientKey {
    key: SigningKey,
    made: std::cell::Cell<u32>,
}

impl ClientKey {
    fn new() -> Self {
        Self {
            key: SigningKey::generate(Algorithm::Es256).unwrap(),
            made: std::cell::Cell::new(0),
        }
    }

    fn jkt(&self) -> &str {
        self.key.id()
    }

    /// A proof with some claims changed.
    fn proof_with(&self, engine: &Engine, path: &str, changed: &Value) -> String {
        self.made.set(self.made.get() + 1);
        let now: jiff::Timestamp = crate::harness::now().parse().unwrap();
        let mut jwk = serde_json::to_value(self.key.public()).unwrap();
        for member in ["kid", "use", "alg"] {
            jwk.as_object_mut().unwrap().remove(member);
        }
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk});
        let mut claims = json!({
            "jti": format!("{}-{}", self.jkt(), self.made.get()),
            "htm": "POST",
            "htu": format!("http://{}{path}", engine.address),
            "iat": now.as_second(),
        });
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    fn proof(&self, engine: &Engine, path: &str) -> String {
        self.proof_with(engine, path, &json!({}))
    }
}

const TOKEN: &str = "/oauth2/token";

#[test]
fn l6_a_token_is_bound_to_the_key_that_was_proven() {
    let site = Site::new();
    let service = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &service);
    let key = ClientKey::new();
    speaker.proof = Some(key.proof(&engine, TOKEN));
    let token = speaker.own_token(DOCS, "read");
    assert_eq!(token["token_type"], "DPoP", "RFC 9449 §5");
    assert_eq!(claims(&token)["cnf"], json!({"jkt": key.jkt()}));
    let said = speaker.introspect(token["access_token"].as_str().unwrap());
    assert_eq!(said["cnf"], json!({"jkt": key.jkt()}), "RFC 9449 §6.2");
    assert_eq!(said["token_type"], "DPoP");
}

#[test]
fn a_proof_that_does_not_hold_is_worse_than_none() {
    let site = Site::new();
    let service = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &service);
    let key = ClientKey::new();
    let once = key.proof(&engine, TOKEN);
    speaker.proof = Some(once.clone());
    speaker.own_token(DOCS, "read");
    let good = key.proof(&engine, TOKEN);
    let old = crate::harness::from_now(-120)
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_second();
    for (case, proof) in [
        ("taken before", once),
        ("no token at all", "x".to_owned()),
        (
            "a signature that is cut short",
            good[..good.len() - 2].to_owned(),
        ),
        ("of another path", key.proof(&engine, "/oauth2/revoke")),
        (
            "of another method",
            key.proof_with(&engine, TOKEN, &json!({"htm": "GET"})),
        ),
        (
            "of another host",
            key.proof_with(
                &engine,
                TOKEN,
                &json!({"htu": "https://evil.example/oauth2/token"}),
            ),
        ),
        (
            "made long ago",
            key.proof_with(&engine, TOKEN, &json!({"iat": old})),
        ),
        (
            "without an id",
            key.proof_with(&engine, TOKEN, &json!({"jti": null})),
        ),
    ] {
        speaker.proof = Some(proof);
        let wish = [
            ("grant_type", "client_credentials"),
            ("audience", DOCS),
            ("scope", "read"),
        ];
        let response = speaker.post(TOKEN, &wish);
        assert_eq!(response.status, 400, "{case}");
        assert_eq!(response.json()["error"], "invalid_dpop_proof", "{case}");
    }
}

#[test]
fn x4_a_bound_token_is_exchanged_with_a_proof_of_its_key_alone() {
    let site = Site::new();
    let gateway = Holder::new(&site, "gateway", "shop", &[]);
    let intranet = Holder::new(&site, "service", "intranet", &["--audience", DOCS]);
    let engine = site.start();
    let (key, other) = (ClientKey::new(), ClientKey::new());
    let bound = alices_token(&engine, &gateway, &json!({"cnf": {"jkt": key.jkt()}}));
    assert_eq!(bound["token_type"], "DPoP");
    let wish = [
        ("grant_type", EXCHANGE),
        ("subject_token", bound["access_token"].as_str().unwrap()),
        ("subject_token_type", ACCESS_TOKEN),
        ("audience", WIKI),
    ];
    let mut speaker = Speaker::new(&engine, &intranet);
    for proof in [None, Some(other.proof(&engine, TOKEN))] {
        speaker.proof = proof;
        let response = speaker.post(TOKEN, &wish);
        assert_eq!(response.status, 400);
        assert_eq!(response.json()["error"], "invalid_dpop_proof");
    }
    speaker.proof = Some(key.proof(&engine, TOKEN));
    let derived = speaker.token(&wish);
    assert_eq!(
        claims(&derived)["cnf"],
        json!({"jkt": key.jkt()}),
        "never unbound"
    );
}

#[test]
fn l6_the_token_of_an_answer_is_bound_to_the_callers_or_to_its_clients_key() {
    let site = Site::new();
    let gateway = Holder::new(&site, "gateway", "shop", &[]);
    let engine = site.start();
    let mut client = engine.client(&gateway.key);
    let key = ClientKey::new();
    let path = "/access/v1/evaluation";
    let mut question = alice_reads();
    question["context"]["token"] = json!({"audience": DOCS});
    let proof = key.proof(&engine, path);
    let mut ask = |question: &Value, proof: Option<&str>| {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(proof.map(|proof| ("DPoP", proof)));
        client.send("POST", path, &headers, question.to_string().as_bytes())
    };
    let answer = ask(&question, Some(&proof)).json();
    let token = &answer["context"]["token"];
    assert_eq!(token["token_type"], "DPoP", "{answer}");
    assert_eq!(claims(token)["cnf"], json!({"jkt": key.jkt()}));
    assert_eq!(ask(&question, Some(&proof)).status, 400, "taken before");

    let thumbprint = "A".repeat(43);
    question["context"]["token"]["cnf"] = json!({"x5t#S256": thumbprint});
    let answer = ask(&question, None).json();
    let token = &answer["context"]["token"];
    assert_eq!(token["token_type"], "Bearer", "RFC 8705 knows no other");
    assert_eq!(claims(token)["cnf"], json!({"x5t#S256": thumbprint}));
    let two_keys = ask(&question, Some(&key.proof(&engine, path)));
    assert_eq!(two_keys.status, 400, "two keys");
    for bad in [
        json!({}),
        json!("x"),
        json!({"jkt": "short"}),
        json!({"jkt": 7}),
        json!({"jkt": thumbprint, "x5t#S256": thumbprint}),
        json!({"jwk": thumbprint}),
        json!({"jkt": format!("{}B", "A".repeat(42))}),
    ] {
        question["context"]["token"]["cnf"] = bad.clone();
        assert_eq!(ask(&question, None).status, 400, "{bad}");
    }
}

#[test]
fn l6_the_tokens_of_a_session_and_of_a_batch_of_one_are_bound_as_well() {
    let site = Site::new();
    let gateway = Holder::new(&site, "gateway", "shop", &[]);
    let engine = site.start();
    let key = ClientKey::new();
    let bound_to = json!({"jkt": key.jkt()});
    let mut client = engine.client(&gateway.key);
    let mut post = |path: &str, body: &Value, proof: Option<&str>| {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(proof.map(|proof| ("DPoP", proof)));
        client.send("POST", path, &headers, body.to_string().as_bytes())
    };

    let path = "/v1/sessions";
    let mut context = alice_reads()["context"].clone();
    context["token"] = json!({"audience": DOCS, "scope": "read"});
    let wish = json!({"subject": {"type": "User", "id": "alice"}, "context": context});
    let proof = key.proof(&engine, path);
    let opened = post(path, &wish, Some(&proof));
    assert_eq!(opened.status, 201, "{}", opened.json());
    let token = &opened.json()["token"];
    assert_eq!(token["token_type"], "DPoP");
    assert_eq!(claims(token)["cnf"], bound_to);
    for (case, proof) in [
        ("taken before", proof),
        ("of another path", key.proof(&engine, TOKEN)),
        ("no proof at all", "x".to_owned()),
    ] {
        assert_eq!(post(path, &wish, Some(&proof)).status, 400, "{case}");
    }
    let mut two_keys = wish.clone();
    two_keys["context"]["token"]["cnf"] = json!({"jkt": ClientKey::new().jkt()});
    let refused = post(path, &two_keys, Some(&key.proof(&engine, path)));
    assert_eq!(refused.status, 400, "two keys");

    // The refresh token is bound too: it needs a proof of the same key.
    let mut speaker = Speaker::new(&engine, &gateway);
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token["refresh_token"].as_str().unwrap()),
    ];
    assert_eq!(speaker.post(TOKEN, &refresh).status, 400);
    speaker.proof = Some(key.proof(&engine, TOKEN));
    assert_eq!(claims(&speaker.token(&refresh))["cnf"], bound_to);

    let path = "/access/v1/evaluations";
    let mut question = alice_reads();
    question["context"]["token"] = json!({"audience": DOCS});
    let answer = post(path, &question, Some(&key.proof(&engine, path))).json();
    assert_eq!(claims(&answer["context"]["token"])["cnf"], bound_to);
}

#[test]
fn a_proof_is_spent_for_what_is_granted_alone() {
    let site = Site::new();
    let service = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &service);
    let proof = ClientKey::new().proof(&engine, TOKEN);
    let wish = |scope| {
        [
            ("grant_type", "client_credentials"),
            ("audience", DOCS),
            ("scope", scope),
        ]
    };
    speaker.proof = Some(proof.clone());
    let refused = speaker.post(TOKEN, &wish("write"));
    assert_eq!(refused.json()["error"], "invalid_scope");
    speaker.proof = Some(proof.clone());
    assert_eq!(speaker.token(&wish("read"))["token_type"], "DPoP");
    speaker.proof = Some(proof);
    let again = speaker.post(TOKEN, &wish("read"));
    assert_eq!(again.json()["error"], "invalid_dpop_proof");
}

#[test]
fn a_proof_that_was_used_is_used_after_a_restart_too() {
    let site = Site::with("public_url = \"https://pdp.example\"\n");
    let service = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let made: jiff::Timestamp = crate::harness::now().parse().unwrap();
    let htu = format!("https://pdp.example{TOKEN}");
    // By a clock that is a little ahead.
    let changed = json!({"htu": htu, "iat": made.as_second() + 4});
    let proof = ClientKey::new().proof_with(&engine, TOKEN, &changed);
    let wish = [
        ("grant_type", "client_credentials"),
        ("audience", DOCS),
        ("scope", "read"),
    ];
    let mut speaker = Speaker::new(&engine, &service);
    speaker.proof = Some(proof.clone());
    assert_eq!(speaker.token(&wish)["token_type"], "DPoP");
    drop(engine);
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &service);
    speaker.proof = Some(proof);
    let again = speaker.post(TOKEN, &wish);
    assert_eq!(again.json()["error"], "invalid_dpop_proof");
}
