//! Shared signals of others: what is refused, and what becomes of what is taken (T21, E30, V20).

mod served;
mod told_on;
mod two_engines;

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use token::SigningKey;
use token::keys::Algorithm;

use crate::harness::{Engine, Response, Site, alice_reads};
use crate::refreshing::{is_active, refresh, text};

const SECRET: &str = "Bearer the-idp-sends-this";
const TYPE: &str = "application/secevent+jwt";

/// A transmitter under the test's control, and an engine that hears it.
struct Stage {
    site: Site,
    engine: Option<Engine>,
    key: String,
    admin: String,
    idp: SigningKey,
    stranger: SigningKey,
    told: u32,
    /// Keys and secrets, for as long as the engine runs.
    _folder: tempfile::TempDir,
}

fn now() -> i64 {
    crate::harness::now()
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_second()
}

impl Stage {
    fn new() -> Self {
        Self::with(|path| {
            format!(
                "[[ssf.transmitters]]\nissuer = 'https://idp.example'\n\
                 audience = 'https://pdp.example'\njwks_file = '{}'\nauthorization_file = '{}'\n\
                 email_attribute = 'department'\nmay_lift = true\nmay_vouch_for_devices = true\n\
                 [[ssf.transmitters]]\nissuer = 'https://mdm.example'\n\
                 audience = 'https://pdp.example'\njwks_file = '{}'\nauthorization_file = '{}'\n\
                 [[ssf.transmitters]]\nissuer = 'https://services.example'\n\
                 audience = 'https://pdp.example'\njwks_file = '{}'\nauthorization_file = '{}'\n\
                 subject_type = 'Service'\n\
                 [[issuers]]\nissuer = 'https://idp.example'\naudience = 'https://pdp.example'\n\
                 jwks_file = '{}'\ntyp = ['at+jwt']\n",
                path("jwks"),
                path("secret"),
                path("jwks"),
                path("other"),
                path("jwks"),
                path("services"),
                path("jwks"),
            )
        })
    }

    /// With settings, given where files of keys and secrets are.
    fn with(settings: impl FnOnce(&dyn Fn(&str) -> String) -> String) -> Self {
        let idp = SigningKey::generate(Algorithm::Es256).unwrap();
        let folder = tempfile::TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("jwks"), json!({ "keys": [idp.public()] }).to_string()).unwrap();
        std::fs::write(path("secret"), format!("{SECRET}\n")).unwrap();
        std::fs::write(path("other"), "Bearer of-the-mdm").unwrap();
        std::fs::write(path("services"), "Bearer of-the-services").unwrap();
        let site = Site::with(&settings(&path));
        Self {
            key: site.key("gateway"),
            admin: site.key("admin"),
            engine: Some(site.start()),
            site,
            idp,
            stranger: SigningKey::generate(Algorithm::Es256).unwrap(),
            told: 0,
            _folder: folder,
        }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn restart(&mut self) {
        drop(self.engine.take());
        self.engine = Some(self.site.start());
    }

    /// Claims that hold, of somebody who is not here.
    fn claims(&mut self) -> Map<String, Value> {
        self.told += 1;
        let claims = json!({
            "iss": "https://idp.example", "aud": "https://pdp.example", "iat": now(),
            "jti": format!("heard-{}", self.told),
            "sub_id": { "format": "iss_sub", "iss": "https://idp.example", "sub": "nobody" },
            "events": { "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {} },
        });
        match claims {
            Value::Object(claims) => claims,
            _ => unreachable!(),
        }
    }

    fn sign(&self, header: &Map<String, Value>, claims: &Map<String, Value>, by: &str) -> String {
        let part = |members: &Map<String, Value>| {
            let text = Value::Object(members.clone()).to_string();
            BASE64URL_NOPAD.encode(text.as_bytes())
        };
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = match by {
            "idp" => self.idp.sign(signed.as_bytes()).unwrap(),
            "stranger" => self.stranger.sign(signed.as_bytes()).unwrap(),
            _ => Vec::new(),
        };
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    /// What the identity provider gives somebody in a session of its own.
    fn subject_token(&mut self, subject: &str, sid: &str) -> String {
        let mut header = self.header();
        header.insert("typ".to_owned(), json!("at+jwt"));
        let mut claims = self.claims();
        claims.remove("sub_id");
        claims.remove("events");
        claims.insert("sub".to_owned(), json!(subject));
        claims.insert("sid".to_owned(), json!(sid));
        claims.insert("exp".to_owned(), json!(now() + 300));
        self.sign(&header, &claims, "idp")
    }

    /// Opens a session that a second factor was given for, with tokens.
    fn open_session(&mut self, subject: &str, upstream: Option<&str>) -> Value {
        let response = self.try_open(subject, upstream);
        assert_eq!(response.status, 201, "{subject}: {}", text(&response));
        response.json()
    }

    fn try_open(&mut self, subject: &str, upstream: Option<&str>) -> Response {
        let mut wish = json!({
            "subject": { "type": "User", "id": subject },
            "context": {
                "ip": "10.10.4.7",
                "device": { "id": format!("{subject}-laptop") },
                "assurance": { "level": 3, "auth_time": crate::harness::now() },
                "token": { "audience": "https://docs.example", "scope": "read" },
            },
        });
        if let Some(sid) = upstream {
            wish["subject_token"] = json!(self.subject_token(subject, sid));
            let members = wish.as_object_mut().unwrap();
            members.remove("subject");
            let context = members["context"].as_object_mut().unwrap();
            context.remove("assurance");
        }
        let mut client = self.engine().client(&self.key);
        client.post("/v1/sessions", &wish)
    }

    fn header(&self) -> Map<String, Value> {
        let header = json!({ "typ": "secevent+jwt", "alg": "ES256", "kid": self.idp.id() });
        header.as_object().unwrap().clone()
    }

    fn push(&self, text: &str, authorization: Option<&str>, kind: &str) -> Response {
        let mut headers = Vec::new();
        if !kind.is_empty() {
            headers.push(("Content-Type", kind));
        }
        if let Some(authorization) = authorization {
            headers.push(("Authorization", authorization));
        }
        let mut client = self.engine().client("");
        client.send("POST", "/ssf/receive", &headers, text.as_bytes())
    }
}

/// A token, and what becomes of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Row {
    name: String,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    without: Vec<String>,
    sign: Option<String>,
    text: Option<String>,
    #[serde(deserialize_with = "given")]
    authorization: Option<Option<String>>,
    content_type: Option<String>,
    want: Value,
}

/// Told apart from what is not there.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

fn over(good: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, value) in changes {
        let seconds = value.as_str().and_then(|text| text.strip_prefix("$now"));
        match (value, seconds) {
            (Value::Null, _) => {
                good.remove(name);
            }
            (_, Some(seconds)) => {
                let at = now() + seconds.parse::<i64>().unwrap();
                good.insert(name.clone(), json!(at));
            }
            (value, None) => {
                good.insert(name.clone(), value.clone());
            }
        }
    }
}

#[test]
fn e30_v20_what_does_not_hold_is_refused_and_says_nothing_of_what_would() {
    let rows: Vec<Row> = serde_yaml_ng::from_str(include_str!("refused.yaml")).unwrap();
    let mut stage = Stage::new();
    let bearer = format!("Bearer {}", stage.key);
    for row in rows {
        let (mut header, mut claims) = (stage.header(), stage.claims());
        over(&mut header, &row.header);
        over(&mut claims, &row.claims);
        for name in &row.without {
            assert!(claims.remove(name).is_some(), "{name}");
        }
        let made = stage.sign(&header, &claims, row.sign.as_deref().unwrap_or("idp"));
        let body = row.text.as_deref().unwrap_or(&made);
        let authorization = match &row.authorization {
            None => Some(SECRET),
            Some(sent) => sent
                .as_deref()
                .map(|sent| sent.replace("$key", &bearer))
                .map(|s| &*s.leak()),
        };
        let kind = row.content_type.as_deref().unwrap_or(TYPE);
        let response = stage.push(body, authorization, kind);
        if row.want == json!(202) {
            assert_eq!(response.status, 202, "{}: {}", row.name, text(&response));
            assert!(response.body.is_empty(), "{}", row.name);
            continue;
        }
        if row.want == json!(503) {
            // Sent again later it may hold.
            assert_eq!(response.status, 503, "{}: {}", row.name, text(&response));
            continue;
        }
        assert_eq!(response.status, 400, "{}: {}", row.name, text(&response));
        let error = response.json();
        assert_eq!(error["err"], row.want, "{}: {error}", row.name);
        assert!(error["description"].is_string(), "{}: {error}", row.name);
        for secret in ["idp.example", "pdp.example", "the-idp", stage.idp.id()] {
            let told = error.to_string();
            assert!(!told.contains(secret), "{}: {told}", row.name);
        }
    }
    // Neither is a token for anything else.
    let claims = stage.claims();
    let text = stage.sign(&stage.header(), &claims, "idp");
    let mut client = stage.engine().client("");
    let headers = [("Authorization", &*format!("Bearer {text}"))];
    assert_eq!(
        client.send("GET", "/v1/sessions", &headers, b"").status,
        401
    );
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    about: String,
    steps: Vec<Step>,
}

/// Whom a signal is about, by the test's names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct About {
    user: Option<String>,
    user_iss: Option<String>,
    email: Option<String>,
    session: Option<String>,
    /// The transmitter's own name for a session.
    sid: Option<String>,
    device: Option<String>,
    /// Facets as they are written.
    facets: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Step {
    open: Option<String>,
    subject: Option<String>,
    /// No session can be opened for this subject.
    opens_none: Option<String>,
    /// It is opened with a token that the identity provider gave in this session of its own.
    upstream: Option<String>,
    /// Who tells it; the identity provider, where it is not said.
    by: Option<String>,
    clear: Option<String>,
    hear: Option<String>,
    of: About,
    body: Map<String, Value>,
    jti: Option<String>,
    sign: Option<String>,
    want: Option<String>,
    at: Option<i64>,
    /// It happened in the very second in which this session began.
    when_began: Option<String>,
    issued: i64,
    lives: BTreeMap<String, bool>,
    refreshes: BTreeMap<String, bool>,
    level: BTreeMap<String, i64>,
    device: Option<String>,
    compliant: Option<bool>,
    ask: Option<String>,
    outcome: Option<String>,
    policies: Option<Vec<String>>,
    facts: Map<String, Value>,
    restart: bool,
}

fn uri(event: &str) -> String {
    let family = match event {
        "account-disabled" | "account-enabled" | "account-purged" | "credential-compromise" => {
            "risc"
        }
        _ => "caep",
    };
    format!("https://schemas.openid.net/secevent/{family}/event-type/{event}")
}

impl About {
    fn written(&self, by: &str, opened: &BTreeMap<String, Value>) -> Value {
        let iss = self.user_iss.as_deref().unwrap_or(by);
        let opaque = |id: &str| json!({ "format": "opaque", "id": id });
        let user = match (&self.user, &self.email) {
            (Some(user), _) => Some(json!({ "format": "iss_sub", "iss": iss, "sub": user })),
            (None, Some(email)) => Some(json!({ "format": "email", "email": email })),
            (None, None) => None,
        };
        let session = self
            .session
            .as_ref()
            .map(|name| opaque(opened[name]["id"].as_str().unwrap()))
            .or_else(|| self.sid.as_deref().map(opaque));
        let device = self.device.as_deref().map(opaque);
        match (user, session, device) {
            (Some(user), None, None) if self.facets.is_empty() => user,
            (user, session, device) => {
                let mut whole = json!({ "format": "complex" });
                for (name, facet) in [("user", user), ("session", session), ("device", device)] {
                    if let Some(facet) = facet {
                        whole[name] = facet;
                    }
                }
                for (name, facet) in &self.facets {
                    whole[name] = facet.clone();
                }
                whole
            }
        }
    }
}

fn question(subject: &str) -> Value {
    let mut question = alice_reads();
    question["subject"]["id"] = json!(subject);
    question["context"]["device"]["id"] = json!(format!("{subject}-laptop"));
    question
}

/// Plays one story on an engine of its own.
fn check(story: &Story) {
    let mut stage = Stage::new();
    let mut opened: BTreeMap<String, Value> = BTreeMap::new();
    for (number, step) in story.steps.iter().enumerate() {
        let place = format!("{}, step {}", story.about, number + 1);
        if step.restart {
            stage.restart();
        }
        if let Some(name) = &step.open {
            let subject = step.subject.as_deref().unwrap();
            let session = stage.open_session(subject, step.upstream.as_deref());
            opened.insert(name.clone(), session);
        }
        if let Some(subject) = &step.opens_none {
            let response = stage.try_open(subject, step.upstream.as_deref());
            assert_eq!(response.status, 400, "{place}: {}", text(&response));
        }
        if let Some(event) = &step.hear {
            let mut claims = stage.claims();
            let mut body = step.body.clone();
            if let Some(at) = step.at {
                body.insert("event_timestamp".to_owned(), json!(now() + at));
            }
            if let Some(name) = &step.when_began {
                let at = opened[name]["created_at"].as_str().unwrap();
                let at = at.parse::<jiff::Timestamp>().unwrap().as_second();
                body.insert("event_timestamp".to_owned(), json!(at));
            }
            claims.insert("iat".to_owned(), json!(now() + step.issued));
            let (iss, secret) = match step.by.as_deref() {
                Some("mdm") => ("https://mdm.example", "Bearer of-the-mdm"),
                Some("services") => ("https://services.example", "Bearer of-the-services"),
                _ => ("https://idp.example", SECRET),
            };
            claims.insert("iss".to_owned(), json!(iss));
            claims.insert("sub_id".to_owned(), step.of.written(iss, &opened));
            claims.insert("events".to_owned(), json!({ uri(event): body }));
            if let Some(jti) = &step.jti {
                claims.insert("jti".to_owned(), json!(jti));
            }
            let by = step.sign.as_deref().unwrap_or("idp");
            let signed = stage.sign(&stage.header(), &claims, by);
            let response = stage.push(&signed, Some(secret), TYPE);
            match &step.want {
                None => assert_eq!(response.status, 202, "{place}: {}", text(&response)),
                Some(err) => assert_eq!(response.json()["err"], **err, "{place}"),
            }
        }
        if let Some(subject) = &step.clear {
            let path = format!("/v1/subjects/User/{subject}/heard");
            for (key, status) in [(&stage.key, 403), (&stage.admin, 204), (&stage.admin, 404)] {
                let mut client = stage.engine().client(key);
                let response = client.send("DELETE", &path, &[], b"");
                assert_eq!(response.status, status, "{place}: {}", text(&response));
            }
        }
        look(&mut stage, step, &opened, &place);
    }
}

/// Looks at what a step left.
fn look(stage: &mut Stage, step: &Step, opened: &BTreeMap<String, Value>, place: &str) {
    let mut client = stage.engine().client(&stage.key);
    let mut admin = stage.engine().client(&stage.admin);
    for (name, lives) in &step.lives {
        let session = &opened[name];
        let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
        assert_eq!(
            client.get(&path).json()["active"],
            *lives,
            "{place}: {name}"
        );
        let token = session["token"]["access_token"].as_str().unwrap();
        assert_eq!(
            is_active(&mut client, token),
            *lives,
            "{place}: {name}'s token"
        );
        if !lives {
            let token = session["token"]["refresh_token"].as_str().unwrap();
            assert!(
                refresh(&mut client, token).is_err(),
                "{place}: {name}'s refresh token"
            );
        }
    }
    for (name, works) in &step.refreshes {
        let session = &opened[name];
        let token = session["token"]["refresh_token"].as_str().unwrap();
        let done = refresh(&mut client, token);
        assert_eq!(done.is_ok(), *works, "{place}: {name}: {done:?}");
        let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
        assert_eq!(client.get(&path).json()["active"], true, "{place}: {name}");
    }
    for (name, level) in &step.level {
        let path = format!("/v1/sessions/{}", opened[name]["id"].as_str().unwrap());
        let session = client.get(&path).json();
        assert_eq!(session["assurance"]["level"], *level, "{place}: {session}");
    }
    if let Some(device) = &step.device {
        let record = admin.get(&format!("/v1/devices/{device}")).json();
        assert_eq!(
            record["compliant"],
            json!(step.compliant),
            "{place}: {record}"
        );
        if step.compliant.is_some() {
            assert_eq!(record["source"], "https://idp.example", "{place}: {record}");
        }
    }
    if let Some(subject) = &step.ask {
        let answer = client.ask(&question(subject));
        let context = &answer["context"];
        if let Some(outcome) = &step.outcome {
            assert_eq!(context["outcome"], **outcome, "{place}: {answer}");
        }
        if let Some(policies) = &step.policies {
            assert_eq!(context["policies"], json!(policies), "{place}");
        }
    }
    if let Some(subject) = step.facts.get("subject").and_then(Value::as_str) {
        let answer = client.ask(&question(subject));
        let id = answer["context"]["decision_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let record = crate::harness::eventually("the record is drained", || {
            let response = admin.get(&format!("/v1/decisions/{id}"));
            (response.status == 200).then(|| response.json())
        });
        for (name, value) in step.facts.iter().filter(|(name, _)| *name != "subject") {
            assert_eq!(record["facts"]["signals"][name], *value, "{place}: {name}");
        }
    }
}

#[test]
fn t21_e30_v20_signals_do_what_they_say() {
    let stories: Vec<Story> = serde_yaml_ng::from_str(include_str!("stories.yaml")).unwrap();
    std::thread::scope(|scope| {
        for story in &stories {
            scope.spawn(move || check(story));
        }
    });
}

#[test]
fn where_nobody_is_heard_there_is_nothing_to_push_to() {
    let site = Site::new();
    let engine = site.start();
    let headers = [("Content-Type", TYPE), ("Authorization", SECRET)];
    let response = engine
        .client("")
        .send("POST", "/ssf/receive", &headers, b"x.y.z");
    assert_eq!(response.status, 404);
}
