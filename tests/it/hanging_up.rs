//! Who asks and hangs up has asked: what is durable is in effect (V10, V20, T9, T15).

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Engine, Site, alice_reads, eventually};
use crate::refreshing::{is_active, refresh, sign_in};
use crate::revocation::claims;

const FORM: &str = "application/x-www-form-urlencoded";

/// Sends a request and hangs up a while after, without a look at the answer.
fn cut(engine: &Engine, key: &str, path: &str, kind: &str, body: &str, after: Duration) {
    let length = body.len();
    let message = format!(
        "POST {path} HTTP/1.1\r\nHost: engine\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(engine.address).unwrap();
    stream.write_all(message.as_bytes()).unwrap();
    std::thread::sleep(after);
}

#[test]
fn v20_t9_what_is_durable_is_in_effect_although_nobody_waited_for_the_answer() {
    let site = Site::with("[sessions.standard]\nmost = 100\n[tokens]\nrefresh_grace = 0");
    let (key, operator) = (site.key("gateway"), site.key("operator"));
    let engine = site.start();
    let (mut client, mut admin) = (engine.client(&key), engine.client(&operator));
    let mut durable = [0; 3];
    for round in 0..36_u64 {
        let session = sign_in(&mut client);
        let word = |path: &str| session.pointer(path).and_then(Value::as_str).unwrap();
        let access = word("/token/access_token");
        let claims = claims(access);
        let after = Duration::from_micros(250 * round);
        let way = usize::try_from(round % 3).unwrap();
        let name = match way {
            0 => {
                let body = format!("token={access}");
                cut(&engine, &key, "/oauth2/revoke", FORM, &body, after);
                &claims["jti"]
            }
            1 => {
                let body = json!({ "session": claims["sid"] }).to_string();
                let kind = "application/json";
                cut(&engine, &operator, "/v1/revocations", kind, &body, after);
                &claims["sid"]
            }
            _ => {
                let first = word("/token/refresh_token");
                refresh(&mut client, first).unwrap();
                std::thread::sleep(Duration::from_millis(5));
                let body = format!("grant_type=refresh_token&refresh_token={first}");
                cut(&engine, &key, "/oauth2/token", FORM, &body, after);
                &claims["family_id"]
            }
        };
        let path = format!("/v1/revocations?id={}", name.as_str().unwrap());
        let listed = admin.get(&path).json();
        if listed["revocations"] == json!([]) {
            continue;
        }
        durable[way] += 1;
        eventually("the access token is over", || {
            (!is_active(&mut client, access)).then_some(())
        });
        if way == 0 {
            continue;
        }
        let mut question = alice_reads();
        question["context"]["session_id"] = json!(word("/handle"));
        eventually("the session is over", || {
            let cause = client.ask(&question)["context"]["cause"].clone();
            (cause == "session_ended").then_some(())
        });
    }
    assert!(durable.iter().all(|count| *count > 0), "{durable:?}");
}

/// Sends a question, or a step-up, under a name and hangs up a while after.
fn cut_named(engine: &Engine, key: &str, path: &str, name: &str, body: &Value, after: Duration) {
    let body = body.to_string();
    let length = body.len();
    let message = format!(
        "POST {path} HTTP/1.1\r\nHost: engine\r\nAuthorization: Bearer {key}\r\n\
         X-Request-Id: {name}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(engine.address).unwrap();
    stream.write_all(message.as_bytes()).unwrap();
    std::thread::sleep(after);
}

/// How often some words are in the journal.
fn on_record(site: &Site, words: &str) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(site.data().join("journal")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(path).unwrap_or_default();
        count += String::from_utf8_lossy(&bytes).matches(words).count();
    }
    count
}

/// Whether something comes to hold that may as well never.
fn soon(holds: impl Fn() -> bool) -> bool {
    (0..5).any(|_| {
        let is_so = holds();
        if !is_so {
            std::thread::sleep(Duration::from_millis(10));
        }
        is_so
    })
}

#[test]
fn m7_e3_what_a_decision_does_to_its_session_is_done_although_nobody_waited() {
    let site = Site::with(
        "[sessions.standard]\nmost = 100\n[sessions.strict]\nmost = 100\n[risk]\n\
         model_weight = 0.0\nrule_weight = 1.0\n\
         rules = { device-of-another = 85, device-not-compliant = 65 }",
    );
    let (key, operator) = (site.key("gateway"), site.key("admin"));
    let engine = site.start();
    let (mut client, mut admin) = (engine.client(&key), engine.client(&operator));
    let bobs = json!({ "owner": { "type": "User", "id": "bob" } });
    let content = ("Content-Type", "application/json");
    let put = |admin: &mut crate::harness::Client, id: &str, body: &Value| {
        let path = format!("/v1/devices/{id}");
        let body = body.to_string();
        let done = admin.send("PUT", &path, &[content], body.as_bytes());
        assert!(done.status < 300, "{path}: {}", done.status);
    };
    put(&mut admin, "bobs-laptop", &bobs);
    put(&mut admin, "lapsed", &json!({ "compliant": false }));
    let mut durable = [0; 3];
    for round in 0..60_u64 {
        let session = sign_in(&mut client);
        let word = |path: &str| session.pointer(path).and_then(Value::as_str).unwrap();
        let shown = format!("/v1/sessions/{}", word("/id"));
        // Longer each time, so that some get so far on a machine that is busy.
        let after = Duration::from_micros(50 * (round / 3).pow(2));
        let way = usize::try_from(round % 3).unwrap();
        let name = format!("cut-{round}-");
        let mut question = alice_reads();
        question["context"]["session_id"] = json!(word("/handle"));
        let is_durable = if way < 2 {
            // At 85 it ends; at 65 its tier is another.
            let device = ["bobs-laptop", "lapsed"][way];
            question["context"]["device"] = json!({ "id": device });
            let path = "/access/v1/evaluation";
            cut_named(&engine, &key, path, &name, &question, after);
            soon(|| on_record(&site, &name) > 0)
        } else {
            question["context"]["device"] = json!({ "id": "lapsed" });
            client.ask(&question);
            let answer = client.ask(&question);
            assert_eq!(answer["context"]["outcome"], "mfa", "{answer}");
            let id = answer["context"]["decision_id"].as_str().unwrap();
            let before = on_record(&site, id);
            let path = format!("/v1/decisions/{id}/step-up");
            cut_named(&engine, &key, &path, &name, &json!({ "level": 3 }), after);
            soon(|| on_record(&site, id) > before)
        };
        if !is_durable {
            continue;
        }
        durable[way] += 1;
        eventually("what was decided is done", || {
            let session = client.get(&shown).json();
            let is_done = match way {
                0 => session["active"] == false,
                1 => session["tier"] == "strict" && session["required_level"] == 3,
                _ => session["required_level"].is_null(),
            };
            is_done.then_some(())
        });
    }
    assert!(durable.iter().all(|count| *count > 0), "{durable:?}");
}
