//! A corpus of forged and malformed tokens, each sent to the running engine wherever it takes tokens,
//! and each refused (J1 to J7, T7, T12, T30, X24, B6). What is refused there is held against the
//! verifier itself first.

mod forge;

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

use domain::Timestamp;
use serde_json::{Value, json};
use token::keys::Algorithm;
use token::{Expected, KeySet, SigningKey, verify};

use crate::harness::{Engine, Response, Site, alice_reads, run};
use forge::{Forge, Row};

/// Bits to turn and places to cut at, spread over the token.
const SPREAD: usize = 40;

fn corpus() -> Vec<Row> {
    let rows: Vec<Row> = serde_yaml_ng::from_str(include_str!("corpus.yaml")).unwrap();
    let names: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), rows.len(), "each has a name of its own");
    assert!(rows.len() >= 150, "{}", rows.len());
    rows
}

/// All forged tokens, with their names and what the form of a header does to them.
fn forged(forge: &Forge<'_>) -> Vec<(String, String, Option<String>)> {
    let good = forge.make(&Row::default());
    let mut all: Vec<_> = corpus()
        .into_iter()
        .map(|row| (row.name.clone(), forge.make(&row), row.only))
        .collect();
    for step in 0..SPREAD {
        let position = step * good.len() / SPREAD;
        let mut turned = good.clone().into_bytes();
        turned[position] = if turned[position] == b'A' { b'B' } else { b'A' };
        // Two dots instead of one are no token, but might be a key.
        let turned = String::from_utf8(turned).unwrap();
        if turned != good {
            all.push((format!("byte {position} turned"), turned, None));
        }
        let cut = good[..position].to_owned();
        if cut.matches('.').count() == 2 {
            all.push((format!("cut at {position}"), cut, None));
        }
    }
    all
}

#[expect(
    clippy::disallowed_methods,
    reason = "the engine under test runs by the same clock"
)]
fn seconds_now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[test]
fn the_verifier_refuses_each_and_takes_the_one_that_holds() {
    let engine = SigningKey::generate(Algorithm::Es256).unwrap();
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let url = "https://pdp.example";
    let forge = Forge {
        engine: &engine,
        stranger: &stranger,
        url,
        client_id: "sk_12345678",
        now: 1_795_215_660,
    };
    let all = forged(&forge);
    let good = forge.make(&Row::default());
    let now = Timestamp::from_seconds(forge.now);
    let keys = KeySet::new(std::sync::Arc::new(engine), []);
    let expected = Expected::access_token(url, Some(url));
    let holds = |text: &str| verify(text, &keys, &expected, now);
    assert!(holds(&good).is_ok());
    for (name, text, _) in all {
        assert!(holds(&text).is_err(), "{name}");
    }
}

/// A site whose engine signs with a key that the test has, and who calls it.
struct World {
    engine: Engine,
    signer: SigningKey,
    url: String,
    key: String,
    client_id: String,
    /// Kept as long as the engine runs in it.
    _site: Site,
}

impl World {
    fn new() -> Self {
        let site = Site::new();
        let signer = SigningKey::generate(Algorithm::Es256).unwrap();
        let mut folder = std::fs::DirBuilder::new();
        folder.mode(0o700).create(site.data()).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let path = site.data().join("signing-key.p8");
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .unwrap();
        std::io::Write::write_all(&mut file, &signer.to_der().unwrap()).unwrap();
        let mut command = site.command();
        command.args([
            "keys", "create", "--name", "gateway", "--role", "gateway", "--json",
        ]);
        let ran = run(&mut command);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let made: Value = serde_json::from_str(&ran.out).unwrap();
        let engine = site.start();
        Self {
            url: format!("http://{}", engine.address),
            engine,
            signer,
            key: made["key"].as_str().unwrap().to_owned(),
            client_id: made["key_id"].as_str().unwrap().to_owned(),
            _site: site,
        }
    }

    fn as_bearer(&self, token: &str) -> Response {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", bearer.as_str()),
        ];
        let body = alice_reads().to_string();
        let mut client = self.engine.client("");
        client.send("POST", "/access/v1/evaluation", &headers, body.as_bytes())
    }

    fn form(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let encoded =
            |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
        let body: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let mut client = self.engine.client(&self.key);
        client.send("POST", path, &headers, body.join("&").as_bytes())
    }

    fn exchanged(&self, token: &str) -> Response {
        self.form(
            "/oauth2/token",
            &[
                (
                    "grant_type",
                    "urn:ietf:params:oauth:grant-type:token-exchange",
                ),
                ("subject_token", token),
                (
                    "subject_token_type",
                    "urn:ietf:params:oauth:token-type:access_token",
                ),
                ("audience", "https://ledger.example"),
                ("scope", "evaluate"),
            ],
        )
    }
}

#[test]
fn the_engine_refuses_each_wherever_it_takes_tokens() {
    let world = World::new();
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let forge = Forge {
        engine: &world.signer,
        stranger: &stranger,
        url: &world.url,
        client_id: &world.client_id,
        now: seconds_now(),
    };

    // The same, with nothing wrong, gets through.
    let good = forge.make(&Row::default());
    assert_eq!(world.as_bearer(&good).status, 200);
    let seen = world.form("/oauth2/introspect", &[("token", &good)]);
    assert_eq!(seen.json()["active"], true);
    let exchanged = world.exchanged(&good);
    assert_ne!(
        exchanged.json()["error"],
        "invalid_request",
        "{}",
        exchanged.json()
    );

    let all = forged(&forge);
    assert!(all.len() >= 200, "{}", all.len());
    for (name, token, only) in &all {
        if only.as_deref() != Some("form") {
            let answer = world.as_bearer(token);
            let wanted = only
                .as_deref()
                .map_or(401, |status| status.parse().unwrap());
            assert_eq!(answer.status, wanted, "{name}");
        }
        let seen = world.form("/oauth2/introspect", &[("token", token)]);
        // What no form may hold is no question.
        let is_no_value = token.len() > 16_384 || token.chars().any(char::is_control);
        let wanted = match is_no_value {
            true => (400, json!("invalid_request")),
            false => (200, json!({"active": false})),
        };
        let told = seen.json();
        let told = told.get("error").unwrap_or(&told).clone();
        assert_eq!((seen.status, told), wanted, "{name}");
        let exchanged = world.exchanged(token);
        assert_eq!(exchanged.status, 400, "{name}: {}", exchanged.json());
    }
    // It is well after all that.
    assert_eq!(world.as_bearer(&good).status, 200);
}

/// Unknown and revoked look the same to whoever tries them.
#[test]
fn nobody_is_told_whether_a_token_is_unknown_or_revoked() {
    let world = World::new();
    let forge = Forge {
        engine: &world.signer,
        stranger: &SigningKey::generate(Algorithm::Es256).unwrap(),
        url: &world.url,
        client_id: &world.client_id,
        now: seconds_now(),
    };
    let good = forge.make(&Row::default());
    let unknown: Row = serde_yaml_ng::from_str("{name: x, sign: stranger}").unwrap();
    let unknown = forge.make(&unknown);
    assert_eq!(world.as_bearer(&good).status, 200);
    assert_eq!(
        world.form("/oauth2/revoke", &[("token", &good)]).status,
        200
    );

    let told = |response: Response| {
        let mut headers: Vec<(String, String)> = response
            .headers
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
            .collect();
        headers.sort();
        (response.status, headers, response.body)
    };
    let (revoked, made_up) = (world.as_bearer(&good), world.as_bearer(&unknown));
    assert_eq!(revoked.status, 401);
    let challenge = revoked.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(told(revoked), told(made_up));
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        let [revoked, made_up] =
            [&good, &unknown].map(|token| world.form(path, &[("token", token)]));
        assert_eq!(told(revoked), told(made_up), "{path}");
    }
    assert_eq!(
        told(world.exchanged(&good)),
        told(world.exchanged(&unknown))
    );
}
