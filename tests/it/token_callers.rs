//! Tokens of ours as the credential of who calls the engine itself (X1, X2, X8, T30, L6).

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use token::keys::{Algorithm, SigningKey};

use crate::harness::{Client, Engine, Response, Site, alice_reads, now, run};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// What the engine calls itself, and the audience of tokens for it.
fn url(engine: &Engine) -> String {
    format!("http://{}", engine.address)
}

/// A token that the holder of a key got for itself, for the engine.
fn own_token(engine: &Engine, key: &str, scope: &str) -> Value {
    let body = format!(
        "grant_type=client_credentials&audience={}&scope={}",
        url(engine).replace(':', "%3A").replace('/', "%2F"),
        scope.replace(' ', "+")
    );
    let answer = engine
        .client(key)
        .send("POST", "/oauth2/token", &[FORM], body.as_bytes());
    answer.json()
}

/// Asks with whatever stands in `Authorization`.
fn ask_with(engine: &Engine, authorization: &str) -> Response {
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", authorization),
    ];
    let body = alice_reads().to_string();
    let path = "/access/v1/evaluation";
    engine
        .client("")
        .send("POST", path, &headers, body.as_bytes())
}

fn part(token: &str, which: usize) -> Value {
    let text = token.split('.').nth(which).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
}

/// The token with another header or other claims, and its signature as it was.
fn changed(token: &str, which: usize, change: impl FnOnce(&mut Value)) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut value = part(token, which);
    change(&mut value);
    parts[which] = BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    parts.join(".")
}

fn challenge(response: &Response) -> String {
    response.header("www-authenticate").unwrap().to_owned()
}

#[test]
fn x8_a_service_calls_with_its_own_token_and_may_do_what_the_scope_says() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let got = own_token(&engine, &key, "evaluate access keys.write");
    assert_eq!(
        got["scope"], "evaluate access",
        "keys.write is not its role's"
    );
    let token = got["access_token"].as_str().unwrap();
    let claims = part(token, 1);
    assert_eq!(
        (&claims["sub"], &claims["aud"]),
        (&json!("Service/gateway"), &json!(url(&engine)))
    );

    let bearer = format!("Bearer {token}");
    assert_eq!(ask_with(&engine, &bearer).status, 200);
    // The key may report events; this token is not for that.
    let mut client = engine.client("");
    let headers = [
        ("Authorization", &*bearer),
        ("Content-Type", "application/json"),
    ];
    let refused = client.send("POST", "/v1/events", &headers, b"{}");
    assert_eq!(refused.status, 403);
    assert_eq!(
        engine.client(&key).post("/v1/events", &json!({})).status,
        400
    );

    // On record it is told from the key: they may be in different hands.
    let jti = claims["jti"].as_str().unwrap();
    let asked = engine.client(&key).ask(&alice_reads());
    assert_eq!(asked["decision"], true);
    let tail = run(site.command().args(["audit", "tail", "-n", "50", "--json"]));
    let decisions: Vec<Value> = tail
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|record: &Value| record["manner"] == "access")
        .collect();
    let with: Vec<(&Value, &Value)> = decisions
        .iter()
        .map(|record| (&record["caller"], &record["caller_token"]))
        .collect();
    let id = json!(key.split('.').next().unwrap());
    assert_eq!(with, [(&id, &json!(jti)), (&id, &Value::Null)]);

    // The token is the client's, so it outlives the rotation of the key, and not its last key.
    let id = key.split('.').next().unwrap();
    let rotate = ["keys", "rotate", id, "--overlap", "0", "--json"];
    let rotated = run(site.command().args(rotate));
    let rotated: Value = serde_json::from_str(&rotated.out).unwrap();
    assert_eq!(ask_with(&engine, &bearer).status, 200);
    let admin = site.key("admin");
    let path = format!("/v1/keys/{}", rotated["key_id"].as_str().unwrap());
    let revoked = engine.client(&admin).send("DELETE", &path, &[], b"");
    assert_eq!(revoked.status, 204);
    assert_eq!(ask_with(&engine, &bearer).status, 401);
    // At services too: the token itself is revoked.
    let introspected = engine.client(&admin).send(
        "POST",
        "/oauth2/introspect",
        &[FORM],
        format!("token={token}").as_bytes(),
    );
    assert_eq!(introspected.json(), json!({ "active": false }));
}

#[test]
fn whatever_is_wrong_with_a_token_the_answer_is_the_same() {
    let site = Site::new();
    let (gateway, operator) = (site.key("gateway"), site.key("operator"));
    let engine = site.start();
    let got = own_token(&engine, &gateway, "evaluate");
    let good = got["access_token"].as_str().unwrap().to_owned();
    assert_eq!(ask_with(&engine, &format!("Bearer {good}")).status, 200);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let mut flipped = signature.to_owned();
    flipped.replace_range(3..4, if &flipped[3..4] == "A" { "B" } else { "A" });

    let mut question = alice_reads();
    question["context"]["token"] = json!({ "audience": "https://docs.example" });
    let answer = engine.client(&gateway).ask(&question);
    let for_documents = answer["context"]["token"]["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    // It let in, and was revoked.
    let gone = own_token(&engine, &gateway, "evaluate");
    let gone = gone["access_token"].as_str().unwrap().to_owned();
    assert_eq!(ask_with(&engine, &format!("Bearer {gone}")).status, 200);
    let revoked = engine.client(&operator).send(
        "POST",
        "/oauth2/revoke",
        &[FORM],
        format!("token={gone}").as_bytes(),
    );
    assert_eq!(revoked.status, 200);

    let wrong = [
        "a.b.c".to_owned(),
        "..".to_owned(),
        format!("{head}.{flipped}"),
        format!("{head}."),
        changed(&good, 0, |header| header["alg"] = json!("none")),
        changed(&good, 0, |header| header["alg"] = json!("HS256")),
        changed(&good, 0, |header| header["kid"] = json!("../../etc/passwd")),
        changed(&good, 0, |header| header["typ"] = json!("JWT")),
        changed(&good, 1, |claims| claims["scope"] = json!("keys.write")),
        changed(&good, 1, |claims| claims["exp"] = json!(4_000_000_000_u64)),
        changed(&good, 1, |claims| {
            claims["client_id"] = json!("sk_00000000")
        }),
        for_documents,
        gone,
        format!(
            "{}.{}.{}",
            "A".repeat(30_00),
            "B".repeat(30_00),
            "C".repeat(86)
        ),
    ];
    let first = ask_with(&engine, "Bearer a.b.c");
    for token in &wrong {
        let refused = ask_with(&engine, &format!("Bearer {token}"));
        assert_eq!(refused.status, 401, "{token}");
        assert_eq!(
            challenge(&refused),
            "Bearer realm=\"portreeve\", error=\"invalid_token\""
        );
        assert_eq!(refused.body, first.body, "{token}");
    }
    // Not bound to any key, so there is no proof for it (RFC 9449 §7.2).
    let refused = ask_with(&engine, &format!("DPoP {good}"));
    assert_eq!(refused.status, 401);
    assert_eq!(
        challenge(&refused),
        "DPoP realm=\"portreeve\", error=\"invalid_token\""
    );

    // Made-up tokens cost nothing of what made-up keys may cost.
    for number in 0..250 {
        let made_up = changed(&good, 1, |claims| claims["jti"] = json!(number.to_string()));
        assert_eq!(ask_with(&engine, &format!("Bearer {made_up}")).status, 401);
    }
    let made_up = format!("Bearer sk_00000000.{}", "x".repeat(32));
    assert_eq!(ask_with(&engine, &made_up).status, 401, "and not 429");
}

#[test]
fn t32_a_token_is_taken_where_tokens_are_introspected_and_revoked_and_not_where_they_are_made() {
    let site = Site::new();
    let key = site.key("service");
    let gateway = site.key("gateway");
    let engine = site.start();
    let got = own_token(&engine, &key, "tokens.introspect tokens.revoke");
    assert_eq!(got["scope"], "tokens.introspect tokens.revoke");
    let token = got["access_token"].as_str().unwrap();
    let post = |path: &str, bearer: &str, body: &str| {
        let bearer = format!("Bearer {bearer}");
        let headers = [FORM, ("Authorization", &*bearer)];
        engine
            .client("")
            .send("POST", path, &headers, body.as_bytes())
    };
    let about_itself = format!("token={token}");
    let told = post("/oauth2/introspect", token, &about_itself);
    assert_eq!((told.status, &told.json()["active"]), (200, &json!(true)));
    let twice = format!("{about_itself}&client_secret=x");
    let twice = post("/oauth2/introspect", token, &twice);
    assert_eq!(twice.json()["error"], "invalid_request");
    let of_another = format!("{about_itself}&client_id=sk_00000000");
    assert_eq!(post("/oauth2/introspect", token, &of_another).status, 401);
    // What the scope does not say, it is not for.
    let narrow = own_token(&engine, &gateway, "evaluate");
    let narrow = narrow["access_token"].as_str().unwrap();
    let refused = post("/oauth2/introspect", narrow, &about_itself);
    assert_eq!(refused.json()["error"], "unauthorized_client");
    // No token for another, for ever.
    let wish = format!(
        "grant_type=client_credentials&scope=tokens.introspect&audience={}",
        url(&engine).replace(':', "%3A").replace('/', "%2F")
    );
    let refused = post("/oauth2/token", token, &wish);
    assert_eq!(refused.json()["error"], "invalid_client");

    assert_eq!(post("/oauth2/revoke", token, &about_itself).status, 200);
    let gone = post("/oauth2/introspect", token, &about_itself);
    assert_eq!(
        (gone.status, &gone.json()["error"]),
        (401, &json!("invalid_token"))
    );
    assert_eq!(
        challenge(&gone),
        "Bearer realm=\"portreeve\", error=\"invalid_token\""
    );
}

#[test]
fn who_fails_to_authenticate_leaves_a_trace() {
    let site = Site::new();
    let engine = site.start();
    let key = format!("sk_00000000.{}", "x".repeat(32));
    for _ in 0..3 {
        assert_eq!(ask_with(&engine, &format!("Bearer {key}")).status, 401);
    }
    assert_eq!(ask_with(&engine, "Bearer a.b.c").status, 401);
    let post = |path: &str, credential: &str| {
        let bearer = format!("Bearer {credential}");
        let headers = [FORM, ("Authorization", &*bearer)];
        engine.client("").send("POST", path, &headers, b"token=x")
    };
    assert_eq!(post("/oauth2/token", &key).status, 401);
    assert_eq!(post("/oauth2/introspect", "a.b.c").status, 401);
    let page = engine.client("").get("/metrics").body;
    let page = String::from_utf8(page).unwrap();
    for (credential, count) in [("key", 4), ("token", 2)] {
        let line = format!(
            "portreeve_authentication_failures_total{{credential=\"{credential}\"}} {count}"
        );
        assert!(page.contains(&line), "{line}");
    }
    let log = engine.stop();
    assert_eq!(log.matches("authentication_failed").count(), 1, "{log}");
    assert!(log.contains("127.0.0.1"), "{log}");
}

#[test]
fn a_subjects_token_lets_nobody_administer() {
    let site = Site::new();
    let (gateway, author) = (site.key("gateway"), site.key("author"));
    let engine = site.start();
    // As if the engine itself were an application that alice may read.
    let stored = json!({ "attrs": { "audience": url(&engine), "sensitivity": 0 } });
    let stored = engine.client(&author).send(
        "PUT",
        "/v1/entities/Application/pdp",
        &[],
        stored.to_string().as_bytes(),
    );
    assert_eq!(stored.status, 201);
    let mut question = alice_reads();
    question["resource"] = json!({ "type": "Application", "id": "pdp" });
    question["context"]["token"] = json!({ "audience": url(&engine) });
    let answer = engine.client(&gateway).ask(&question);
    let token = answer["context"]["token"]["access_token"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    assert_eq!(
        ask_with(&engine, &bearer).status,
        403,
        "valid, and not for this"
    );
    let mut client: Client = engine.client("");
    for path in ["/v1/keys", "/v1/models", "/v1/entities", "/v1/policies"] {
        let refused = client.send("GET", path, &[("Authorization", &bearer)], b"");
        assert_eq!(refused.status, 403, "{path}");
    }
}

#[test]
fn a_subject_sees_and_ends_its_own_sessions_and_no_others() {
    let site = Site::new();
    let gateway = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&gateway);
    let mut open = |who: &str| {
        let context = alice_reads()["context"].clone();
        let wish = json!({ "subject": { "type": "User", "id": who }, "context": context });
        let opened = client.post("/v1/sessions", &wish);
        assert_eq!(opened.status, 201, "{}", opened.json());
        opened.json()["id"].as_str().unwrap().to_owned()
    };
    let (hers, his) = (open("alice"), open("bob"));
    let mut question = alice_reads();
    question["action"]["name"] = json!("sessions.read");
    question["resource"] = json!({ "type": "Engine", "id": "portreeve" });
    let scope = json!(["sessions.read", "sessions.end"]);
    question["context"]["token"] = json!({ "audience": url(&engine), "scope": scope });
    let answer = engine.client(&gateway).ask(&question);
    let token = answer["context"]["token"]["access_token"].as_str();
    let bearer = format!("Bearer {}", token.unwrap_or_else(|| panic!("{answer}")));
    let mut alice = engine.client("");
    let mut ask =
        |method: &str, path: &str| alice.send(method, path, &[("Authorization", &*bearer)], b"");
    let listed = ask("GET", "/v1/sessions").json();
    let ids: Vec<&Value> = listed["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, [&json!(hers)]);
    assert_eq!(ask("GET", &format!("/v1/sessions/{hers}")).status, 200);
    assert_eq!(ask("GET", &format!("/v1/sessions/{his}")).status, 404);
    assert_eq!(ask("DELETE", &format!("/v1/sessions/{his}")).status, 404);
    assert_eq!(ask("GET", "/v1/sessions?subject=User%2Fbob").status, 403);
    assert_eq!(ask("POST", "/v1/sessions").status, 403);
    assert_eq!(ask("DELETE", &format!("/v1/sessions/{hers}")).status, 204);
    let state = client.get(&format!("/v1/sessions/{hers}")).json();
    assert_eq!(state["active"], false, "{state}");
    let state = client.get(&format!("/v1/sessions/{his}")).json();
    assert_eq!(state["active"], true, "{state}");
}

/// A client's key, and proofs of it (RFC 9449 §4.2).
struct Proofs {
    key: SigningKey,
    made: u32,
}

impl Proofs {
    fn new() -> Self {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        Self { key, made: 0 }
    }

    fn of(&mut self, method: &str, url: &str, token: Option<&str>) -> String {
        self.made += 1;
        let jwk = serde_json::to_value(self.key.public()).unwrap();
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let iat = now().parse::<jiff::Timestamp>().unwrap().as_second();
        let jti = self.made.to_string();
        let mut claims = json!({ "jti": jti, "htm": method, "htu": url, "iat": iat });
        if let Some(token) = token {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
            claims["ath"] = json!(BASE64URL_NOPAD.encode(hash.as_ref()));
        }
        let encode = |part: &Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

#[test]
fn l6_a_bound_token_counts_with_its_proof_alone() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut own = Proofs::new();
    let proof = own.of("POST", &format!("{}/oauth2/token", url(&engine)), None);
    let body = format!(
        "grant_type=client_credentials&scope=evaluate+access&audience={}",
        url(&engine).replace(':', "%3A").replace('/', "%2F")
    );
    let headers = [FORM, ("DPoP", &*proof)];
    let got = engine
        .client(&key)
        .send("POST", "/oauth2/token", &headers, body.as_bytes())
        .json();
    assert_eq!(got["token_type"], "DPoP", "{got}");
    let token = got["access_token"].as_str().unwrap();
    let place = format!("{}/access/v1/evaluation", url(&engine));
    let ask = |scheme: &str, proofs: &[&str]| {
        let authorization = format!("{scheme} {token}");
        let mut headers = vec![
            ("Content-Type", "application/json"),
            ("Authorization", &*authorization),
        ];
        headers.extend(proofs.iter().map(|proof| ("DPoP", *proof)));
        let body = alice_reads().to_string();
        let path = "/access/v1/evaluation";
        engine
            .client("")
            .send("POST", path, &headers, body.as_bytes())
    };
    let good = own.of("POST", &place, Some(token));
    assert_eq!(ask("DPoP", &[&good]).status, 200);
    let again = own.of("POST", &place, Some(token));
    let cases = [
        ("as if it were not bound", "Bearer", vec![], "invalid_token"),
        (
            "a proof beside it",
            "Bearer",
            vec![again.clone()],
            "invalid_token",
        ),
        ("no proof", "DPoP", vec![], "invalid_dpop_proof"),
        (
            "the proof of before",
            "DPoP",
            vec![good],
            "invalid_dpop_proof",
        ),
        (
            "two proofs",
            "DPoP",
            vec![again.clone(), again],
            "invalid_dpop_proof",
        ),
        (
            "another method",
            "DPoP",
            vec![own.of("GET", &place, Some(token))],
            "invalid_dpop_proof",
        ),
        (
            "another path",
            "DPoP",
            vec![own.of("POST", &format!("{place}s"), Some(token))],
            "invalid_dpop_proof",
        ),
        (
            "no token in it",
            "DPoP",
            vec![own.of("POST", &place, None)],
            "invalid_dpop_proof",
        ),
        (
            "another key",
            "DPoP",
            vec![Proofs::new().of("POST", &place, Some(token))],
            "invalid_dpop_proof",
        ),
    ];
    for (case, scheme, proofs, error) in cases {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        let refused = ask(scheme, &proofs);
        assert_eq!(refused.status, 401, "{case}");
        let wanted = format!("{scheme} realm=\"portreeve\", error=\"{error}\"");
        assert_eq!(challenge(&refused), wanted, "{case}");
    }
}
