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
