//! Shared signals: the rules of the standards as a list (`rules.yaml`), and what survives.

mod delivered;
mod sink;
mod survives;

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};
use token::keys::admit_jwk;

use crate::harness::{Client, Engine, Response, Site, eventually};
pub(crate) use sink::{Came, Sink};

/// One rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    rule: String,
    steps: Vec<Step>,
}

/// One step of a story; exactly one of its acts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Step {
    /// Who asks: `receiver` where nothing is said.
    #[serde(rename = "as")]
    who: Option<String>,
    get: Option<String>,
    post: Option<String>,
    put: Option<String>,
    patch: Option<String>,
    delete: Option<String>,
    body: Option<Value>,
    status: Option<u16>,
    want: Option<Value>,
    /// What the receiver of pushes answers next.
    sink: Option<Vec<Value>>,
    /// Opens a session, and keeps its id under this name.
    open: Option<String>,
    /// Whose; alice's where nothing is said.
    subject: Option<String>,
    /// Ends one.
    end: Option<String>,
    reason: Option<String>,
    /// The next token that is pushed.
    pushed: Option<Pushed>,
    /// What a poll comes to have, sooner or later.
    polled: Option<Polled>,
    /// A poll that waits, `while` a session ends.
    waiting_poll: Option<String>,
    #[serde(rename = "while")]
    meanwhile: Option<String>,
    /// Gets a token of this scope; it asks from then on under this name.
    token: Option<String>,
    scope: Option<String>,
    /// Asks with the token that was pushed, from then on under this name.
    as_key: Option<String>,
    /// Names for what is at these places.
    keep: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pushed {
    #[serde(deserialize_with = "said")]
    authorization: Option<Option<String>>,
    content_type: Option<String>,
    header: Option<Value>,
    claims: Value,
}

/// Null is something that was said, too.
fn said<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Polled {
    most: Option<u32>,
    ack: Vec<String>,
    sessions: Vec<String>,
    more: Option<bool>,
    /// What the first token says, where it is about no session.
    first: Option<Value>,
}

/// Puts what was kept in the place of its names, in members' names too.
fn fill(value: &Value, names: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => Value::String(filled(text, names)),
        Value::Array(all) => all.iter().map(|one| fill(one, names)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (filled(name, names), fill(value, names)))
            .collect(),
        other => other.clone(),
    }
}

fn filled(text: &str, names: &BTreeMap<String, String>) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value)
    })
}

/// Whether it has everything that is wanted. Of an array each wanted one must be there.
fn has(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (found, Value::String(any)) if any == "*" => !found.is_null(),
        (Value::Object(_), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| match found.get(name) {
                Some(found) => has(found, wanted),
                None => wanted.is_null(),
            })
        }
        (Value::Array(found), Value::Array(wanted)) => {
            wanted
                .iter()
                .all(|one| found.iter().any(|found| has(found, one)))
                && (!wanted.is_empty() || found.is_empty())
        }
        (found, wanted) => found == wanted,
    }
}

/// The header and the claims of a token, its signature verified by the keys that the engine
/// publishes.
pub(crate) fn open(engine: &Engine, token: &str) -> (Value, Value) {
    let keys = engine.client("").get("/.well-known/jwks.json").json();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("no token: {token}");
    };
    let decoded = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap();
    let read = |part: &str| -> Value { serde_json::from_slice(&decoded(part)).unwrap() };
    let kid = &read(header)["kid"];
    let key = keys["keys"].as_array().unwrap().iter();
    let key = key.clone().find(|key| key["kid"] == *kid).unwrap();
    let key = admit_jwk(&key.to_string()).unwrap();
    let signed = format!("{header}.{claims}");
    assert!(key.verify(signed.as_bytes(), &decoded(signature)));
    (read(header), read(claims))
}

/// Makes a key over HTTP; its id comes with it.
pub(crate) fn key(admin: &mut Client, role: &str) -> (String, String) {
    let made = admin.post("/v1/keys", &json!({"name": role, "role": role}));
    assert_eq!(made.status, 201, "{}", made.json());
    let made = made.json();
    let word = |name: &str| made[name].as_str().unwrap().to_owned();
    (word("key_id"), word("key"))
}

/// A session of somebody's.
pub(crate) fn open_session(gateway: &mut Client, subject: &str) -> String {
    let body = json!({
        "subject": {"type": "User", "id": subject},
        "context": {"ip": "10.10.4.7", "device": {"id": "alice-laptop"}},
    });
    let opened = gateway.post("/v1/sessions", &body);
    assert_eq!(opened.status, 201, "{}", opened.json());
    opened.json()["id"].as_str().unwrap().to_owned()
}

pub(crate) fn end_session(gateway: &mut Client, id: &str, reason: &str) {
    let reason = reason.replace(' ', "%20");
    let path = format!("/v1/sessions/{id}?reason={reason}");
    assert_eq!(gateway.send("DELETE", &path, &[], b"").status, 204);
}

struct Story<'e> {
    engine: &'e Engine,
    sink: &'e Sink,
    gateway: Client,
    keys: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
}

impl Story<'_> {
    fn client(&self, who: Option<&str>) -> Client {
        let who = who.unwrap_or("receiver");
        let key = self.keys.get(who).map_or("", String::as_str);
        assert!(!key.is_empty() || who == "nobody", "{who} has no key");
        self.engine.client(key)
    }

    fn send(&self, step: &Step) -> Option<Response> {
        let acts = [
            ("GET", &step.get),
            ("POST", &step.post),
            ("PUT", &step.put),
            ("PATCH", &step.patch),
            ("DELETE", &step.delete),
        ];
        let (method, path) = acts
            .into_iter()
            .find_map(|(method, path)| Some((method, path.as_ref()?)))?;
        let path = filled(path, &self.names);
        let mut client = self.client(step.who.as_deref());
        Some(match &step.body {
            None => client.send(method, &path, &[], b""),
            Some(body) => {
                let body = fill(body, &self.names).to_string();
                let headers = [("Content-Type", "application/json")];
                client.send(method, &path, &headers, body.as_bytes())
            }
        })
    }

    fn keep(&mut self, step: &Step, from: &Value) {
        for (name, place) in &step.keep {
            let value = from.pointer(place).and_then(Value::as_str);
            let value = value.unwrap_or_else(|| panic!("nothing at {place}: {from}"));
            self.names.insert(name.clone(), value.to_owned());
        }
    }

    fn act(&mut self, step: &Step) {
        if let Some(answers) = &step.sink {
            let text = |answer: &Value| match answer {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            self.sink.answer(answers.iter().map(text));
        }
        if let Some(name) = &step.open {
            let subject = step.subject.as_deref().unwrap_or("alice");
            let id = open_session(&mut self.gateway, subject);
            self.names.insert(name.clone(), id);
        }
        if let Some(name) = &step.end {
            let reason = step.reason.as_deref().unwrap_or("ended");
            let id = self.names[name].clone();
            end_session(&mut self.gateway, &id, reason);
        }
        if let Some(name) = &step.token {
            let scope = step.scope.as_deref().unwrap_or_default();
            let token = self.token(scope);
            self.keys.insert(name.clone(), token);
        }
        if let Some(wanted) = &step.pushed {
            let came = self.sink.next();
            let claims = self.pushed(wanted, &came);
            if let Some(name) = &step.as_key {
                self.keys.insert(name.clone(), came.body);
            }
            self.keep(step, &claims);
        }
        if let Some(wanted) = &step.polled {
            let first = self.polled(wanted);
            self.keep(step, &first);
        }
        if let (Some(session), Some(name)) = (&step.waiting_poll, &step.meanwhile) {
            let session = filled(session, &self.names);
            let path = format!("/ssf/poll/{}", self.names["stream"]);
            let mut client = self.client(None);
            let waits = std::thread::spawn(move || client.post(&path, &json!({})).json());
            let id = self.names[name].clone();
            end_session(&mut self.gateway, &id, "ended");
            let sets = waits.join().unwrap()["sets"].clone();
            let sets: BTreeMap<String, String> = serde_json::from_value(sets).unwrap();
            let (_, claims) = open(self.engine, sets.values().next().unwrap());
            assert_eq!(claims["sub_id"]["session"]["id"], json!(session));
        }
        if let Some(response) = self.send(step) {
            let body = String::from_utf8_lossy(&response.body).into_owned();
            assert_eq!(Some(response.status), step.status, "{body}");
            if let Some(wanted) = &step.want {
                let wanted = fill(wanted, &self.names);
                assert!(has(&response.json(), &wanted), "{body}\nwanted {wanted}");
            }
            if !step.keep.is_empty() {
                self.keep(step, &response.json());
            }
        }
    }

    fn token(&self, scope: &str) -> String {
        let (id, secret) = self.keys["receiver"].split_once('.').unwrap();
        let basic = data_encoding::BASE64.encode(format!("{id}:{secret}").as_bytes());
        let url = &self.names["url"];
        let body = format!("grant_type=client_credentials&audience={url}&scope={scope}");
        let headers = [
            ("Authorization", format!("Basic {basic}")),
            (
                "Content-Type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
        ];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let mut client = self.engine.client("");
        let answer = client.send("POST", "/oauth2/token", &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    fn pushed(&self, wanted: &Pushed, came: &Came) -> Value {
        let (header, claims) = open(self.engine, &came.body);
        if let Some(authorization) = &wanted.authorization {
            assert_eq!(came.header("authorization"), authorization.as_deref());
        }
        if let Some(content_type) = &wanted.content_type {
            assert_eq!(came.header("content-type"), Some(content_type.as_str()));
        }
        let one = claims["events"].as_object().unwrap();
        assert_eq!(one.len(), 1, "one event to a token: {claims}");
        for (found, wanted) in [
            (&header, wanted.header.as_ref().unwrap_or(&json!({}))),
            (&claims, &wanted.claims),
        ] {
            let wanted = fill(wanted, &self.names);
            assert!(has(found, &wanted), "{found}\nwanted {wanted}");
        }
        claims
    }

    /// The claims of the first token.
    fn polled(&self, wanted: &Polled) -> Value {
        let path = format!("/ssf/poll/{}", self.names["stream"]);
        let sessions: Vec<String> = wanted
            .sessions
            .iter()
            .map(|name| filled(name, &self.names))
            .collect();
        let ack: Vec<String> = wanted
            .ack
            .iter()
            .map(|jti| filled(jti, &self.names))
            .collect();
        let mut body = json!({"returnImmediately": true, "ack": ack});
        if let Some(most) = wanted.most {
            body["maxEvents"] = json!(most);
        }
        let mut client = self.client(None);
        let many = sessions.len() + usize::from(wanted.first.is_some());
        let all = eventually("all are there", || {
            let answer = client.post(&path, &body);
            assert_eq!(answer.status, 200, "{}", answer.json());
            let answer = answer.json();
            let more = answer["moreAvailable"].as_bool();
            let sets: BTreeMap<String, String> =
                serde_json::from_value(answer["sets"].clone()).unwrap();
            let right = sets.len() == many && (wanted.more.is_none() || wanted.more == more);
            right.then_some(sets)
        });
        let all = all.iter().map(|(jti, set)| {
            let (header, claims) = open(self.engine, set);
            assert_eq!(
                (&header["typ"], &claims["jti"]),
                (&json!("secevent+jwt"), &json!(jti))
            );
            claims
        });
        let (about_session, others): (Vec<Value>, Vec<Value>) =
            all.partition(|claims| claims["sub_id"].get("session").is_some());
        // In the order in which it happened.
        let ids: Vec<&str> = about_session
            .iter()
            .map(|claims| claims["sub_id"]["session"]["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, sessions);
        if let Some(first) = &wanted.first {
            let first = fill(first, &self.names);
            assert!(has(&others[0], &first), "{others:?}\nwanted {first}");
        }
        about_session.into_iter().chain(others).next().unwrap()
    }
}

/// Plays every third rule against an engine of its own.
fn check(turn: usize) {
    let rules: Vec<Rule> = serde_yaml_ng::from_str(include_str!("rules.yaml")).unwrap();
    let sink = Sink::open();
    let site = Site::with(&format!(
        "[ssf]\nstreams = 2\nheld = 2\n[limits]\noutbound_allow = ['{}']\n",
        sink.address
    ));
    let admin_key = site.key("admin");
    let engine = site.start();
    let mut admin = engine.client(&admin_key);
    let (_, gateway) = key(&mut admin, "gateway");
    for rule in rules.iter().skip(turn).step_by(3) {
        println!("{}", rule.rule);
        let (client, receiver) = key(&mut admin, "receiver");
        let (_, other) = key(&mut admin, "receiver");
        let url = format!("http://{}", engine.address);
        let standard = "https://schemas.openid.net/secevent";
        let names = [
            ("url", url),
            ("client", client),
            ("sink", sink.url()),
            ("caep", format!("{standard}/caep/event-type")),
            ("ssf", format!("{standard}/ssf/event-type")),
        ];
        let keys = [
            ("receiver", receiver),
            ("other", other),
            ("gateway", gateway.clone()),
            ("admin", admin_key.clone()),
        ];
        let named = |(name, value): (&str, String)| (name.to_owned(), value);
        let mut story = Story {
            engine: &engine,
            sink: &sink,
            gateway: engine.client(&gateway),
            keys: keys.map(named).into(),
            names: names.map(named).into(),
        };
        for (number, step) in rule.steps.iter().enumerate() {
            println!("  step {}", number + 1);
            story.act(step);
        }
        for who in ["receiver", "other"] {
            let mut client = story.client(Some(who));
            for stream in client.get("/ssf/streams").json().as_array().unwrap() {
                let id = stream["stream_id"].as_str().unwrap();
                let path = format!("/ssf/streams?stream_id={id}");
                assert_eq!(client.send("DELETE", &path, &[], b"").status, 204);
            }
        }
        sink.answer([]);
        assert!(sink.is_empty(), "more was pushed than the rule says");
    }
}

#[test]
fn a_transmitter_keeps_the_rules_one() {
    check(0);
}

#[test]
fn a_transmitter_keeps_the_rules_two() {
    check(1);
}

#[test]
fn a_transmitter_keeps_the_rules_three() {
    check(2);
}
