//! What is heard of sessions goes on to our own streams, once: E30.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::{SECRET, Stage, TYPE, uri};
use crate::harness::eventually;
use crate::refreshing::text;

/// The events of everything that a receiver has been told, by name, in the order of their moments.
fn told(stage: &Stage, key: &str, stream: &str) -> Vec<(String, Value)> {
    let mut client = stage.engine().client(key);
    let path = format!("/ssf/poll/{stream}");
    let answer = client.post(&path, &json!({ "returnImmediately": true }));
    assert_eq!(answer.status, 200, "{}", text(&answer));
    let mut all: Vec<(i64, String, Value)> = Vec::new();
    for token in answer.json()["sets"].as_object().unwrap().values() {
        let claims = token.as_str().unwrap().split('.').nth(1).unwrap();
        let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        for (uri, event) in claims["events"].as_object().unwrap() {
            let at = event["event_timestamp"].as_i64().unwrap();
            let name = uri.rsplit('/').next().unwrap().to_owned();
            all.push((at, name, event.clone()));
        }
    }
    all.sort_by_key(|(at, ..)| *at);
    all.into_iter()
        .map(|(_, name, event)| (name, event))
        .collect()
}

#[test]
fn e30_a_fall_of_assurance_is_told_on_with_whose_word_it_is_and_once() {
    let mut stage = Stage::new();
    let receiver = stage.site.key("receiver");
    let wish = json!({
        "events_requested": [uri("assurance-level-change"), uri("session-revoked")],
        "delivery": { "method": "urn:ietf:rfc:8936" },
    });
    let made = stage.engine().client(&receiver).post("/ssf/streams", &wish);
    assert_eq!(made.status, 201, "{}", text(&made));
    let stream = made.json()["stream_id"].as_str().unwrap().to_owned();
    let session = stage.open_session("alice", None);
    for level in ["nist-aal1", "nist-aal1", "nist-aal2"] {
        let mut claims = stage.claims();
        let body = json!({
            "namespace": "NIST-AAL", "current_level": level,
            "reason_admin": { "en": "the second factor was taken back" },
        });
        claims.insert(
            "sub_id".to_owned(),
            json!({ "format": "iss_sub", "iss": "https://idp.example", "sub": "alice" }),
        );
        claims.insert(
            "events".to_owned(),
            json!({ uri("assurance-level-change"): body }),
        );
        let signed = stage.sign(&stage.header(), &claims, "idp");
        let response = stage.push(&signed, Some(SECRET), TYPE);
        assert_eq!(response.status, 202, "{}", text(&response));
    }
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let mut client = stage.engine().client(&stage.key);
    assert_eq!(client.send("DELETE", &path, &[], b"").status, 204);
    // With its end, everything that came before it is there.
    let all = eventually("the end is told", || {
        let all = told(&stage, &receiver, &stream);
        let is_there = all.iter().any(|(name, _)| name == "session-revoked");
        is_there.then_some(all)
    });
    let falls: Vec<&Value> = all
        .iter()
        .filter(|(name, _)| name == "assurance-level-change")
        .map(|(_, event)| event)
        .collect();
    let [fall] = falls[..] else {
        panic!("{all:?}");
    };
    assert_eq!(
        (&fall["previous_level"], &fall["current_level"]),
        (&json!("3"), &json!("1")),
        "{fall}"
    );
    assert_eq!(
        fall["reason_admin"]["en"],
        "heard from https://idp.example: the second factor was taken back"
    );
}
