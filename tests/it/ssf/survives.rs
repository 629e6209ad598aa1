//! What is told survives: kill -9 between the end of a session and its receiver, a restart with
//! other keys, an alert that nobody takes at first.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use serde_json::{Value, json};

use super::{Sink, end_session, key, open, open_session};
use crate::harness::{Site, eventually};
use crate::refreshing::{refresh, sign_in};

const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

fn stream(sink: &Sink) -> Value {
    json!({
        "events_requested": [REVOKED],
        "delivery": {
            "method": "urn:ietf:rfc:8935",
            "endpoint_url": sink.url(),
            "authorization_header": "Bearer s3cret",
        },
    })
}

#[test]
fn e30_v20_what_ended_is_told_though_the_engine_was_killed() {
    let sink = Sink::open();
    let site = Site::with(&format!(
        "[limits]\noutbound_allow = ['{}']\n",
        sink.address
    ));
    let admin = site.key("admin");
    let mut engine = site.start();
    let (_, gateway) = key(&mut engine.client(&admin), "gateway");
    let (_, receiver) = key(&mut engine.client(&admin), "receiver");
    let made = engine
        .client(&receiver)
        .post("/ssf/streams", &stream(&sink));
    assert_eq!(made.status, 201, "{}", made.json());
    let mut client = engine.client(&gateway);
    let sessions: Vec<String> = (0..3).map(|_| open_session(&mut client, "alice")).collect();
    // Killed with the answer of the last end: some are told by then, some not, and some are only
    // in the transaction of the end.
    sink.answer(["503".to_owned()]);
    for session in &sessions {
        end_session(&mut client, session, "ended");
    }
    engine.signal("KILL");
    engine.wait();
    let engine = site.start();
    let mut told = Vec::new();
    while told.len() < sessions.len() {
        let came = sink.next();
        assert_eq!(came.header("authorization"), Some("Bearer s3cret"));
        let (_, claims) = open(&engine, &came.body);
        let session = claims["sub_id"]["session"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        // At least once, and never out of order.
        if !told.contains(&session) {
            told.push(session);
        }
    }
    assert_eq!(told, sessions);
    // Acknowledged is over: after another start nothing comes again.
    let metrics = |engine: &crate::harness::Engine| {
        String::from_utf8(engine.client("").get("/metrics").body).unwrap()
    };
    eventually("all are acknowledged", || {
        let text = metrics(&engine);
        let told = text
            .lines()
            .find(|line| line.starts_with("portreeve_security_events_told_total{how=\"push\"}"))?;
        (told.ends_with(" 3") || told.ends_with(" 2")).then_some(())
    });
    engine.stop();
    while !sink.is_empty() {}
    let engine = site.start();
    let read = engine.client(&receiver).get("/ssf/streams");
    assert_eq!(read.json()[0]["events_requested"], json!([REVOKED]));
    engine.stop();
    assert!(sink.is_empty(), "what was taken is told once");
}

#[test]
fn m16_g12_t21_o16_an_alert_is_signed_and_sent_until_it_is_taken() {
    let hook = Sink::open();
    let secret = "0123456789abcdef0123456789abcdef";
    let place = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(place.path(), secret).unwrap();
    let site = Site::with(&format!(
        "alerts = [{{ kind = 'webhook', url = '{}', secret_file = '{}', severity = 'low', \
         events = ['session-revoked', 'alert'] }}]\n[limits]\noutbound_allow = ['{}']\n",
        hook.url(),
        place.path().display(),
        hook.address
    ));
    let admin = site.key("admin");
    let engine = site.start();
    let (_, gateway) = key(&mut engine.client(&admin), "gateway");
    let mut client = engine.client(&gateway);
    let session = open_session(&mut client, "alice");
    hook.answer(["500".to_owned(), "200".to_owned()]);
    end_session(&mut client, &session, "signed out");
    let (first, second) = (hook.next(), hook.next());
    assert_eq!(first.body, second.body);
    let alert: Value = serde_json::from_str(&first.body).unwrap();
    for (name, wanted) in [
        ("version", json!("1.0")),
        ("type", json!("session-revoked")),
        ("severity", json!("low")),
        ("subject", json!({"type": "User", "id": "alice"})),
        ("session_id", json!(session)),
        ("why", json!("signed out")),
        ("initiator", json!("user")),
    ] {
        assert_eq!(alert[name], wanted, "{name}: {alert}");
    }
    let signature = second.header("portreeve-signature").unwrap();
    let (time, tag) = signature.split_once(",v1=").unwrap();
    let time = time.strip_prefix("t=").unwrap();
    let key = hmac::Key::new(HMAC_SHA256, secret.as_bytes());
    let signed = format!("{time}.{}", second.body);
    hmac::verify(&key, signed.as_bytes(), &hex::decode(tag).unwrap()).unwrap();
}

#[test]
fn t9_o16_a_token_that_is_used_twice_is_alerted_with_the_end_of_its_session() {
    let hook = Sink::open();
    let place = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(place.path(), "0123456789abcdef").unwrap();
    let site = Site::with(&format!(
        "alerts = [{{ kind = 'webhook', url = '{}', secret_file = '{}', \
         events = ['session-revoked', 'alert'] }}]\n[limits]\noutbound_allow = ['{}']\n",
        hook.url(),
        place.path().display(),
        hook.address
    ));
    let gateway = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&gateway);
    let opened = sign_in(&mut client);
    let word =
        |value: &Value, place: &str| value.pointer(place).unwrap().as_str().unwrap().to_owned();
    let first = word(&opened, "/token/refresh_token");
    let second = word(&refresh(&mut client, &first).unwrap(), "/refresh_token");
    refresh(&mut client, &second).unwrap();
    assert!(refresh(&mut client, &first).is_err());
    let told: Vec<Value> = (0..2)
        .map(|_| serde_json::from_str(&hook.next().body).unwrap())
        .collect();
    let kinds: Vec<&Value> = told.iter().map(|alert| &alert["type"]).collect();
    assert_eq!(kinds, ["session-revoked", "token-reuse"]);
    assert_eq!(told[1]["severity"], "high");
    assert_eq!(told[1]["session_id"], opened["id"]);
    assert_eq!(told[1]["done"], "refresh tokens revoked, session ended");
}

#[test]
fn a_client_without_a_key_is_told_nothing_more() {
    let sink = Sink::open();
    let site = Site::with(&format!(
        "[limits]\noutbound_allow = ['{}']\n",
        sink.address
    ));
    let admin = site.key("admin");
    let engine = site.start();
    let mut admin = engine.client(&admin);
    let (_, gateway) = key(&mut admin, "gateway");
    let (gone_id, gone) = key(&mut admin, "receiver");
    let (_, stays) = key(&mut admin, "receiver");
    for receiver in [&gone, &stays] {
        let made = engine.client(receiver).post("/ssf/streams", &stream(&sink));
        assert_eq!(made.status, 201, "{}", made.json());
    }
    let path = format!("/v1/keys/{gone_id}");
    assert_eq!(admin.send("DELETE", &path, &[], b"").status, 204);
    let mut client = engine.client(&gateway);
    for _ in 0..2 {
        let session = open_session(&mut client, "alice");
        end_session(&mut client, &session, "ended");
        let (_, claims) = open(&engine, &sink.next().body);
        assert_ne!(claims["aud"], json!([gone_id]));
    }
    assert!(sink.is_empty());
}
