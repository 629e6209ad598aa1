//! OAuth over real sockets: tokens, introspection, metadata. Stories as data.

mod exchange;
mod granted;
mod introspection;
mod metadata;
mod proofs;
mod refused;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

use crate::harness::{Client, Engine, Response, Site, alice_reads, run};

/// The service that most tokens here are for.
pub(crate) const DOCS: &str = "https://docs.example";
pub(crate) const LEDGER: &str = "https://ledger.example";
pub(crate) const WIKI: &str = "https://wiki.example";
pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A client as it is configured: its key, and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) key: String,
    pub(crate) id: String,
}

impl Holder {
    /// Makes a key.
    pub(crate) fn new(site: &Site, role: &str, name: &str, more: &[&str]) -> Self {
        let mut command = site.command();
        command.args(["keys", "create", "--name", name, "--role", role, "--json"]);
        let ran = run(command.args(more));
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let made: Value = serde_json::from_str(&ran.out).unwrap();
        Self {
            key: made["key"].as_str().unwrap().to_owned(),
            id: made["key_id"].as_str().unwrap().to_owned(),
        }
    }

    /// `Authorization: Basic` as RFC 6749 §2.3.1 says.
    pub(crate) fn basic(&self) -> String {
        let secret = self.key.split_once('.').unwrap().1;
        let pair = format!("{}:{secret}", self.id);
        format!("Basic {}", BASE64.encode(pair.as_bytes()))
    }
}

/// Somebody who speaks OAuth: a connection and whose credentials go with each request.
#[derive(Debug)]
pub(crate) struct Speaker {
    client: Client,
    pub(crate) authorization: Option<String>,
    /// Sent with the next request.
    pub(crate) proof: Option<String>,
}

impl Speaker {
    pub(crate) fn new(engine: &Engine, holder: &Holder) -> Self {
        Self {
            client: engine.client(""),
            authorization: Some(holder.basic()),
            proof: None,
        }
    }

    /// Posts a form.
    pub(crate) fn post(&mut self, path: &str, parameters: &[(&str, &str)]) -> Response {
        let pairs: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        self.post_text(path, &pairs.join("&"))
    }

    /// Posts a body as it stands.
    pub(crate) fn post_text(&mut self, path: &str, body: &str) -> Response {
        let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded")];
        let (authorization, proof) = (self.authorization.clone(), self.proof.take());
        headers.extend(
            authorization
                .as_deref()
                .map(|value| ("Authorization", value)),
        );
        headers.extend(proof.as_deref().map(|value| ("DPoP", value)));
        let response = self.client.send("POST", path, &headers, body.as_bytes());
        assert_eq!(response.header("cache-control"), Some("no-store"), "{body}");
        response
    }

    /// Asks for a token that is granted.
    pub(crate) fn token(&mut self, parameters: &[(&str, &str)]) -> Value {
        let response = self.post("/oauth2/token", parameters);
        assert_eq!(response.status, 200, "{parameters:?}: {}", response.json());
        response.json()
    }

    /// A token for the client itself.
    pub(crate) fn own_token(&mut self, audience: &str, scope: &str) -> Value {
        self.token(&[
            ("grant_type", "client_credentials"),
            ("audience", audience),
            ("scope", scope),
        ])
    }

    pub(crate) fn introspect(&mut self, token: &str) -> Value {
        let response = self.post("/oauth2/introspect", &[("token", token)]);
        assert_eq!(response.status, 200, "{}", response.json());
        response.json()
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The claims of a token, whoever signed it.
pub(crate) fn claims(token: &Value) -> Value {
    let text = token["access_token"].as_str().unwrap();
    let payload = text.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
}

/// A token for alice and the documents, as a gateway gets it with an answer.
pub(crate) fn alices_token(engine: &Engine, gateway: &Holder, wish: &Value) -> Value {
    let mut question = alice_reads();
    question["context"]["token"] = json!({ "audience": DOCS, "scope": "read list" });
    for (name, value) in wish.as_object().unwrap() {
        question["context"]["token"][name] = value.clone();
    }
    question["context"]["assurance"] = json!({ "level": 1 });
    let answer = engine.client(&gateway.key).ask(&question);
    let token = answer["context"]["token"].clone();
    assert!(token.is_object(), "{answer}");
    token
}

/// The last lines of the journal.
pub(crate) fn journal(site: &Site) -> Vec<Value> {
    let ran = run(site
        .command()
        .args(["audit", "tail", "-n", "200", "--json"]));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    ran.out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
