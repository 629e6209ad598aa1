//! Others that the engine is told to believe: issuers (X10), and certificates of clients (X9, X22).

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use token::SigningKey;
use token::keys::Algorithm;

use crate::harness::{Engine, Response, Site, root, run};

const DOCS: &str = "https://docs.example";

fn key_of(site: &Site, args: &[&str]) -> String {
    let mut command = site.command();
    command.args(["keys", "create", "--role", "service", "--json"]);
    let ran = run(command.args(args));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let made: Value = serde_json::from_str(&ran.out).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

/// Posts a form to the token endpoint.
fn ask(engine: &Engine, key: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Response {
    let encoded =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let body: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    let mut all = vec![("Content-Type", "application/x-www-form-urlencoded")];
    all.extend(headers);
    let mut client = engine.client(key);
    client.send("POST", "/oauth2/token", &all, body.join("&").as_bytes())
}

fn claims(answer: &Response) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.json());
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

#[test]
fn x10_a_token_of_another_issuer_is_translated() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let jwks = json!({ "keys": [key.public()] }).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let fetches = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetches);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.map_while(Result::ok).find(String::is_empty);
            counted.fetch_add(1, Ordering::Relaxed);
            let length = jwks.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{jwks}"
            );
        }
    });
    let site = Site::with(&format!(
        "issuers = [{{ issuer = 'https://idp.example', jwks_uri = 'http://{address}/jwks', \
         audience = 'portreeve' }}]\n[limits]\noutbound_allow = ['{address}']\n"
    ));
    let caller = key_of(&site, &["--name", "intranet"]);
    let engine = site.start();
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine under test runs by the same clock"
    )]
    let now = jiff::Timestamp::now().as_second();
    let good = json!({
        "iss": "https://idp.example", "sub": "alice", "aud": "portreeve", "iat": now,
        "exp": now + 120, "jti": "7", "acr": "urn:portreeve:acr:mfa", "auth_time": now - 5,
    });
    let exchange = |key: &SigningKey, claims: &Value| {
        let text = token::mint(key, "at+jwt", claims).unwrap();
        let fields = [
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token", text.as_str()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("audience", "https://wiki.example"),
            ("scope", "read"),
        ];
        ask(&engine, &caller, &[], &fields)
    };
    let ours = claims(&exchange(&key, &good));
    assert_eq!(ours["iss"], format!("http://{}", engine.address));
    assert_eq!(
        (&ours["sub"], &ours["scope"]),
        (&json!("User/alice"), &json!("read"))
    );
    assert_eq!(ours["aud"], "https://wiki.example");
    assert_eq!(ours["act"]["sub"], "Service/intranet");
    assert_eq!(ours["acr"], "urn:portreeve:acr:mfa");
    assert_eq!(ours["exp"], now + 120, "X4: the original's end");
    assert!(ours["original_jti"].as_str().unwrap().starts_with("ext_"));

    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    assert_eq!(exchange(&stranger, &good).status, 400);
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("somebody")),
        ("exp", json!(now - 1)),
        ("exp", json!(now + 86_400)),
        ("sub", json!("")),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        assert_eq!(exchange(&key, &bad).status, 400, "{name}");
    }
    assert_eq!(fetches.load(Ordering::Relaxed), 1, "T31, K5");
}

/// An issuer whose keys lie in a file, and an engine that believes it.
struct Believed {
    site: Site,
    key: SigningKey,
}

impl Believed {
    fn new(more: &str) -> Self {
        let (site, key) = (Site::new(), SigningKey::generate(Algorithm::Es256).unwrap());
        let keys = site.folder.path().join("issuer.json");
        let jwks = json!({ "keys": [key.public()] }).to_string();
        std::fs::write(&keys, jwks).unwrap();
        let settings = std::fs::read_to_string(site.config()).unwrap();
        let issuer = format!(
            "issuers = [{{ issuer = 'https://idp.example', jwks_file = {keys:?}, \
             audience = 'portreeve', life_max_seconds = 86400, {more} }}]\n{settings}"
        );
        std::fs::write(site.config(), issuer).unwrap();
        Self { site, key }
    }

    /// A token about alice, with these changes; `null` leaves a claim out.
    fn token(&self, changes: &Value) -> String {
        let now = seconds();
        let mut claims = json!({
            "iss": "https://idp.example", "sub": "alice", "aud": "portreeve", "iat": now,
            "exp": now + 3600, "jti": "7", "acr": "urn:portreeve:acr:mfa", "auth_time": now - 5,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        token::mint(&self.key, "at+jwt", &claims).unwrap()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the engine under test runs by the same clock"
)]
fn seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn exchanged(engine: &Engine, key: &str, token: &str, scope: &str) -> Response {
    let mut fields = vec![
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("audience", "https://wiki.example"),
    ];
    fields.extend(Some(("scope", scope)).filter(|_| !scope.is_empty()));
    ask(engine, key, &[], &fields)
}

/// Signs in with a token of the issuer's, and wishes for tokens.
fn session(engine: &Engine, gateway: &str, token: &str, scope: &str) -> Response {
    let body = json!({
        "subject_token": token,
        "context": {
            "ip": "10.10.4.7",
            "device": { "id": "alice-laptop" },
            "token": { "audience": DOCS, "scope": scope },
        },
    });
    engine.client(gateway).post("/v1/sessions", &body)
}

#[test]
fn x6_x10_a_translation_is_no_wider_than_the_token() {
    let words = "scopes = { 'docs.ro' = ['read'], 'docs.rw' = ['read', 'write'] }";
    for (more, scope, asked, wanted) in [
        ("", json!(null), "read write", "read write"),
        ("", json!("read"), "read write", "read"),
        ("", json!("read list"), "", "read list"),
        ("", json!("read"), "write", "invalid_scope"),
        ("", json!("openid profile"), "read", "invalid_scope"),
        ("", json!(""), "read", "invalid_scope"),
        ("", json!(null), "", "invalid_scope"),
        (words, json!("docs.ro openid"), "read write", "read"),
        (words, json!("docs.rw"), "", "read write"),
        // What the settings leave out means nothing, whatever the word.
        (words, json!("write"), "write", "invalid_scope"),
        (words, json!(null), "write", "write"),
    ] {
        let idp = Believed::new(more);
        let service = key_of(&idp.site, &["--name", "intranet"]);
        let engine = idp.site.start();
        let token = idp.token(&json!({ "scope": scope }));
        let answer = exchanged(&engine, &service, &token, asked).json();
        let got = answer.get("scope").or(answer.get("error")).unwrap();
        assert_eq!(got, wanted, "{scope} as {asked:?}: {answer}");
    }
}

#[test]
fn x5_x10_what_another_issuer_signed_for_something_else_opens_nothing() {
    let idp = Believed::new("azp = ['spa']");
    let service = key_of(&idp.site, &["--name", "intranet"]);
    let client_id = service.split('.').next().unwrap();
    let gateway = idp.site.key("gateway");
    let engine = idp.site.start();
    let several = json!(["portreeve", "shop"]);
    for (changes, status) in [
        (json!({}), 200),
        (json!({ "act": { "sub": "somebody" } }), 400),
        (json!({ "events": { "logout": {} } }), 400),
        (json!({ "aud": several }), 400),
        (json!({ "aud": several, "azp": "shop" }), 400),
        (
            json!({ "aud": several, "azp": "spa", "client_id": "shop" }),
            400,
        ),
        (json!({ "aud": several, "azp": "spa" }), 200),
        (json!({ "aud": several, "azp": "portreeve" }), 200),
        (json!({ "may_act": { "sub": "Service/intranet" } }), 200),
        (
            json!({ "may_act": { "sub": client_id, "client_id": client_id } }),
            200,
        ),
        (json!({ "may_act": { "sub": "Service/somebody" } }), 400),
        (
            json!({ "may_act": { "sub": client_id, "client_id": "other" } }),
            400,
        ),
        (
            json!({ "may_act": { "sub": client_id, "iss": "https://idp.example" } }),
            400,
        ),
        (json!({ "may_act": {} }), 400),
        (
            json!({ "may_act": { "sub": client_id, "ip": "10.0.0.0/8" } }),
            400,
        ),
    ] {
        let token = idp.token(&changes);
        let answer = exchanged(&engine, &service, &token, "read");
        assert_eq!(answer.status, status, "{changes}: {}", answer.json());
        if status == 400 {
            let answer = session(&engine, &gateway, &token, "read");
            assert_eq!(answer.status, 400, "{changes}: {}", answer.json());
        }
    }
}

#[test]
fn x10_a_session_is_opened_with_a_token_of_another_issuer_and_is_no_wider() {
    let idp = Believed::new("");
    let gateway = idp.site.key("gateway");
    let engine = idp.site.start();
    let answer = session(&engine, &gateway, &idp.token(&json!({})), "read list");
    let opened = answer.json();
    assert_eq!(answer.status, 201, "{opened}");
    assert_eq!(opened["subject"], json!({ "type": "User", "id": "alice" }));
    assert_eq!(opened["token"]["scope"], "read list");
    let narrow = idp.token(&json!({ "scope": "read" }));
    let opened = session(&engine, &gateway, &narrow, "read list").json();
    assert_eq!(opened["token"]["scope"], "read");
    let opened = session(&engine, &gateway, &narrow, "list").json();
    assert_eq!(opened["token_error"]["error"], "invalid_scope", "{opened}");
    // It is proven, or it is stated, and never both.
    let both = json!({
        "subject": { "type": "User", "id": "bob" }, "subject_token": idp.token(&json!({})),
    });
    assert_eq!(
        engine.client(&gateway).post("/v1/sessions", &both).status,
        400
    );
}

#[test]
fn b5_v10_x10_what_is_revoked_does_not_come_back_by_another_issuers_token() {
    let idp = Believed::new("");
    let service = key_of(&idp.site, &["--name", "intranet"]);
    let gateway = idp.site.key("gateway");
    let operator = idp.site.key("operator");
    let engine = idp.site.start();
    let revoke = |what: &Value| {
        let answer = engine.client(&operator).post("/v1/revocations", what);
        assert!(matches!(answer.status, 200 | 201), "{}", answer.json());
        answer.json()
    };
    let both = |token: &str| {
        let exchanged = exchanged(&engine, &service, token, "read").status;
        (exchanged, session(&engine, &gateway, token, "read").status)
    };
    // One token, by the name that it has here.
    let token = idp.token(&json!({}));
    let ours = exchanged(&engine, &service, &token, "read");
    let name = claims(&ours)["original_jti"].clone();
    assert_eq!(both(&token), (200, 201));
    let opened = session(&engine, &gateway, &token, "read").json();
    let revoked = revoke(&json!({ "jti": name }));
    assert_eq!(both(&token), (400, 400));
    // What it opened goes with it.
    let path = format!("/v1/sessions/{}", opened["id"].as_str().unwrap());
    assert_eq!(engine.client(&gateway).get(&path).json()["active"], false);
    // It is known for as long as an issuer's tokens may live: a day.
    let until: jiff::Timestamp = revoked["kept_until"].as_str().unwrap().parse().unwrap();
    assert!(until.as_second() - seconds() > 86_400, "{revoked}");
    let other = idp.token(&json!({ "jti": "8" }));
    assert_eq!(both(&other), (200, 201));

    // Everything of a subject, whatever the issuer's clock says.
    revoke(&json!({ "subject": { "type": "User", "id": "alice" } }));
    let ahead = idp.token(&json!({ "jti": "9", "iat": seconds() + 3 }));
    for token in [&other, &ahead] {
        assert_eq!(both(token), (400, 400));
    }
    let bob = idp.token(&json!({ "sub": "bob", "jti": "10" }));
    assert_eq!(exchanged(&engine, &service, &bob, "read").status, 200);
}

#[test]
fn x9_x22_a_certificate_from_a_named_proxy_authenticates_its_client_and_binds_the_token() {
    let folder = root().join("tests/certificates");
    let header = |name: &str| {
        let der = CertificateDer::from_pem_file(folder.join(name)).unwrap();
        format!(":{}:", BASE64.encode(&der))
    };
    let chain = header("issuing.pem");
    let asked_with = |engine: &Engine, certificate: Option<&str>| {
        let leaf = certificate.map(&header);
        let mut headers = vec![("Client-Cert-Chain", chain.as_str())];
        headers.extend(leaf.as_deref().map(|leaf| ("Client-Cert", leaf)));
        let fields = [
            ("grant_type", "client_credentials"),
            ("audience", DOCS),
            ("scope", "read"),
        ];
        ask(engine, "", &headers, &fields)
    };
    for (from, statuses) in [
        ("127.0.0.1/32", [200, 401, 400, 400, 401]),
        ("192.0.2.0/24", [401; 5]),
    ] {
        let site = Site::with(&format!(
            "[tokens]\nclient_cert_from = ['{from}']\nclient_cert_roots = {:?}\n\
             spiffe_trust_domains = ['example.org']\n",
            folder.join("root.pem")
        ));
        let spiffe = "spiffe://example.org/ns/shop/sa/orders";
        key_of(
            &site,
            &["--name", "nightly-report", "--certificate", spiffe],
        );
        let engine = site.start();
        let shown = [
            Some("orders.pem"),
            Some("plain.pem"),
            Some("by-stranger.pem"),
            Some("expired.pem"),
            None,
        ];
        for (certificate, status) in shown.into_iter().zip(statuses) {
            let answer = asked_with(&engine, certificate);
            assert_eq!(
                answer.status,
                status,
                "{from} {certificate:?}: {}",
                answer.json()
            );
            if status == 200 {
                let token = claims(&answer);
                assert_eq!(token["sub"], "Service/nightly-report");
                assert_eq!(token["cnf"]["x5t#S256"].as_str().unwrap().len(), 43);
            }
        }
    }
}
