//! How often a caller and a subject may ask (G1 to G3).

use serde_json::{Value, json};

use crate::harness::{Client, Response, Site, alice_reads};

fn asked_by(client: &mut Client, user: &str) -> Response {
    let mut question = alice_reads();
    question["subject"]["id"] = json!(user);
    client.post("/access/v1/evaluation", &question)
}

/// A 429 that says when to come again, within the time that the settings mean.
fn is_told_when(response: &Response, most_seconds: u64) {
    assert_eq!(response.status, 429);
    let after = response.header("retry-after").unwrap();
    let after: u64 = after.parse().unwrap();
    assert!((1..=most_seconds).contains(&after), "{after}");
    let problem = response.json();
    assert_eq!(problem["status"], 429);
    assert!(problem["detail"].as_str().unwrap().contains("too often"));
}

#[test]
fn g1_g2_a_caller_that_is_too_fast_waits_and_others_do_not() {
    // One in a hundred seconds, so that no machine is slow enough to be let in again.
    let site = Site::with("[limits]\ncaller_per_second = 0.01\ncaller_burst = 5");
    let (fast, other) = (site.key("gateway"), site.key("gateway"));
    let engine = site.start();
    let mut client = engine.client(&fast);
    for _ in 0..5 {
        assert_eq!(asked_by(&mut client, "alice").status, 200);
    }
    is_told_when(&asked_by(&mut client, "alice"), 100);
    is_told_when(&asked_by(&mut engine.client(&fast), "bob"), 100);
    is_told_when(&client.get("/v1/sessions"), 100);
    // At the token endpoint too, in its own words.
    let (id, secret) = fast.split_once('.').unwrap();
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={id}.{secret}");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let mut anonymous = engine.client("");
    let refused = anonymous.send("POST", "/oauth2/token", &form, body.as_bytes());
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["error"], "temporarily_unavailable");
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(after > 1, "{after}");
    // Probes go on, and so does everybody else.
    assert_eq!(client.get("/healthz").status, 200);
    assert_eq!(asked_by(&mut engine.client(&other), "alice").status, 200);
}

#[test]
fn g3_a_subject_that_is_too_fast_waits_and_others_do_not() {
    let site = Site::with("[limits]\nsubject_per_second = 0.02\nsubject_burst = 3");
    let (key, another) = (site.key("gateway"), site.key("gateway"));
    let engine = site.start();
    let mut client = engine.client(&key);
    for _ in 0..3 {
        assert_eq!(asked_by(&mut client, "alice").status, 200);
    }
    is_told_when(&asked_by(&mut client, "alice"), 50);
    let through_another = asked_by(&mut engine.client(&another), "alice");
    is_told_when(&through_another, 50);
    assert_eq!(asked_by(&mut client, "bob").status, 200);
    // What is no access is asked as often as one likes.
    let mut dry = alice_reads();
    dry["context"]["dry_run"] = json!(true);
    let batch = json!({ "evaluations": [alice_reads(), alice_reads()] });
    for _ in 0..5 {
        client.ask(&dry);
        let answers = client.post("/access/v1/evaluations", &batch).json();
        let answers = answers["evaluations"].as_array().unwrap();
        assert!(
            answers
                .iter()
                .all(|one: &Value| one["context"]["outcome"].is_string())
        );
    }
}

#[test]
fn g1_nothing_is_limited_unless_somebody_says_so() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    for _ in 0..300 {
        assert_eq!(asked_by(&mut client, "alice").status, 200);
    }
}
