//! The edge: what a request may look like before anything is asked of it.

use serde_json::{Value, json};

use crate::harness::{Client, Site, alice_reads, from_now, run};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The one question whose answer is `mfa` whatever the score: dave is an administrator, and
/// administration wants a second factor.
fn dave_administers(session: &str) -> Value {
    let mut question = alice_reads();
    question["subject"]["id"] = json!("dave");
    question["action"]["name"] = json!("administer");
    question["context"]["session_id"] = json!(session);
    question
}

fn decision_id(answer: &Value) -> &str {
    answer["context"]["decision_id"].as_str().unwrap()
}

fn refused(client: &mut Client, path: &str, body: &str, named: &str) {
    let response = client.send("POST", path, &[JSON], body.as_bytes());
    let text = String::from_utf8_lossy(&response.body).into_owned();
    assert_eq!(response.status, 400, "{path} {body}: {text}");
    let detail = response.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(named), "{path} {body}: {detail}");
}

#[test]
fn an_array_is_no_object_and_a_name_comes_once() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let with = |member: &str, value: Value| {
        let mut question = alice_reads();
        question[member] = value;
        question.to_string()
    };
    // The values of a struct in their order: serde alone would take them for the struct.
    for (body, named) in [
        (with("subject", json!(["User", "alice"])), "subject"),
        (with("subject", json!(["User", "alice", {}])), "subject"),
        (with("action", json!(["read"])), "action"),
        (
            with("resource", json!(["Document", "handbook"])),
            "resource",
        ),
        (with("context", json!([])), "context"),
    ] {
        refused(&mut client, "/access/v1/evaluation", &body, named);
        refused(&mut client, "/access/v1/evaluations", &body, named);
    }
    let mut batch = alice_reads();
    batch["evaluations"] = json!([{}, {}]);
    batch["options"] = json!(["deny_on_first_deny"]);
    let body = batch.to_string();
    refused(&mut client, "/access/v1/evaluations", &body, "options");
    refused(&mut client, "/v1/decisions/0/step-up", "[3]", "object");
    refused(&mut client, "/v1/decisions/0/feedback", "[true]", "object");
    let operator = site.key("operator");
    let mut operator = engine.client(&operator);
    for (body, named) in [
        ("[null, 90, true, true, null, null, false]", "object"),
        (r#"{"owner":["User","alice"]}"#, "owner"),
    ] {
        let response = operator.send("PUT", "/v1/devices/d", &[JSON], body.as_bytes());
        let problem = response.json();
        assert_eq!(response.status, 400, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains(named),
            "{problem}"
        );
    }

    // Which of the two would a policy see, and which somebody who reads the record?
    let raw = alice_reads().to_string();
    for (from, to) in [
        ("\"ip\":", "\"ip\":\"192.0.2.1\",\"ip\":"),
        ("\"ip\":", "\"x\":1,\"x\":2,\"ip\":"),
        (
            "\"ip\":",
            "\"assurance\":{\"level\":0},\"assurance\":{\"level\":3},\"ip\":",
        ),
        ("\"ip\":", "\"assurance\":{\"level\":0,\"level\":3},\"ip\":"),
        (
            "\"id\":\"handbook\"",
            "\"id\":\"handbook\",\"properties\":{\"sensitivity\":3,\"sensitivity\":0}",
        ),
    ] {
        assert!(raw.contains(from), "{from}");
        let body = raw.replacen(from, to, 1);
        let path = "/access/v1/evaluation";
        refused(&mut client, path, &body, "duplicate member");
    }
    assert_eq!(client.ask(&alice_reads())["decision"], true);
}

#[test]
fn a_time_is_a_fault_only_of_those_who_may_replay() {
    let site = Site::new();
    let (gateway, keeper) = (site.key("gateway"), site.key("keeper"));
    let engine = site.start();
    let (mut gateway, mut keeper) = (engine.client(&gateway), engine.client(&keeper));
    for time in [
        json!("yesterday"),
        json!("1901-01-01T00:00:00Z"),
        json!(7),
        json!({}),
    ] {
        let mut question = alice_reads();
        question["context"]["time"] = time.clone();
        assert_eq!(gateway.ask(&question)["decision"], true, "{time}");
        let body = question.to_string();
        let path = "/access/v1/evaluation";
        refused(&mut keeper, path, &body, "context.time");
    }
}

#[test]
fn nothing_is_told_of_the_future() {
    let site = Site::new();
    let admin = site.key("admin");
    let engine = site.start();
    let mut admin = engine.client(&admin);
    let mut question = dave_administers("cookie-7");
    let path = "/access/v1/evaluation";
    for time in ["2099-01-01T00:00:00Z", &from_now(90)] {
        question["context"]["time"] = json!(time);
        refused(&mut admin, path, &question.to_string(), "future");
    }
    // Clocks differ by some seconds.
    question["context"]["time"] = json!(from_now(20));
    admin.ask(&question);

    let question = dave_administers("cookie-7");
    let answer = admin.ask(&question);
    assert_eq!(answer["context"]["outcome"], "mfa", "{answer}");
    let path = format!("/v1/decisions/{}/step-up", decision_id(&answer));
    let body = json!({ "level": 3, "time": "2099-01-01T00:00:00Z" });
    refused(&mut admin, &path, &body.to_string(), "future");
    assert_eq!(admin.ask(&question)["context"]["outcome"], "mfa");
}

#[test]
fn an_id_that_cannot_be_decoded_is_a_problem_like_any_other() {
    let site = Site::new();
    let key = site.key("admin");
    let engine = site.start();
    let mut client = engine.client(&key);
    for path in ["/v1/decisions/%ff", "/v1/devices/%ff"] {
        let response = client.get(path);
        assert_eq!(response.status, 400, "{path}");
        let kind = response.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{path}");
        assert_eq!(response.json()["status"], 400);
    }
}

#[test]
fn a_key_has_a_name_that_can_be_seen() {
    let site = Site::new();
    let create = |name: &str| {
        let mut command = site.command();
        run(command.args(["keys", "create", "--role", "gateway", "--name", name]))
    };
    for bad in ["", " ", "\u{1b}[2Jshop", "shop\nadmin", "\u{202e}pohs"] {
        let ran = create(bad);
        assert_eq!(ran.status, Some(2), "{bad:?}: {ran:?}");
        assert!(ran.err.contains("the name"), "{ran:?}");
    }
    assert_eq!(create("L\u{e4}den & S\u{f6}hne").status, Some(0));
    let list = run(site.command().args(["keys", "list"]));
    assert!(list.out.contains("L\u{e4}den & S\u{f6}hne"), "{list:?}");
}

#[test]
fn a_head_past_the_limit_is_431_however_it_is_made_up() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let part = "x".repeat(8000);
    let names: Vec<String> = (0..10).map(|number| format!("X-Part-{number}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (&**name, &*part)).collect();
    // 80 KB of headers, each of them within its own limit.
    assert_eq!(client.send("GET", "/healthz", &headers, b"").status, 431);
    assert_eq!(
        client.send("GET", "/healthz", &headers[..7], b"").status,
        200
    );
    let path = format!("/{}", "x".repeat(60_000));
    let response = engine.client(&key).send("GET", &path, &headers[..2], b"");
    assert_eq!(response.status, 431);
}
