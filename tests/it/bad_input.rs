//! Bad input everywhere: a clear 400 or a deny, never a 500, never an allow.

use serde_json::{Value, json};

use crate::harness::{Site, alice_reads};

#[test]
fn nothing_bad_gets_in_and_nothing_breaks() {
    let site = Site::new();
    let key = site.key("keeper");
    let engine = site.start();
    let mut client = engine.client(&key);
    let with = |path: &str, value: Value| {
        let mut question = alice_reads();
        *question.pointer_mut(path).unwrap() = value;
        question.to_string()
    };
    let context = |value: Value| {
        let mut question = alice_reads();
        for (name, value) in value.as_object().unwrap() {
            question["context"][name] = value.clone();
        }
        question.to_string()
    };
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let question = alice_reads().to_string();
        question.replacen('{', &format!("{{\"deep\":{open}{close},"), 1)
    };
    let raw = alice_reads().to_string();
    let bad: Vec<(&str, String)> = vec![
        ("half of it", raw[..raw.len() / 2].to_owned()),
        ("NaN", raw.replace("\"alice\"", "NaN")),
        (
            "Infinity in the context",
            raw.replace("\"ip\":", "\"x\":Infinity,\"ip\":"),
        ),
        (
            "a number beyond all",
            raw.replace("\"ip\":", "\"x\":1e999,\"ip\":"),
        ),
        ("nested 200 deep", nested(200)),
        ("nested 100,000 deep", nested(100_000)),
        ("a lone surrogate", raw.replace("alice", "\\ud800")),
        ("a quote in the id", with("/subject/id", json!("al\"ice"))),
        (
            "Cedar in the id",
            with("/subject/id", json!("alice\", principal == User::\"dave")),
        ),
        ("a newline in the id", with("/subject/id", json!("alice\n"))),
        (
            "a zero-width space in the id",
            with("/subject/id", json!("ali\u{200b}ce")),
        ),
        (
            "a zero-width joiner in the resource",
            with("/resource/id", json!("hand\u{200d}book")),
        ),
        (
            "a right-to-left override",
            with("/subject/id", json!("\u{202e}ecila")),
        ),
        ("NUL in the action", with("/action/name", json!("read\0"))),
        ("an empty id", with("/subject/id", json!(""))),
        (
            "an endless id",
            with("/subject/id", json!("x".repeat(5000))),
        ),
        ("an unknown type", with("/subject/type", json!("Martian"))),
        (
            "a type that is no name",
            with("/subject/type", json!("User::\"alice\" in Group")),
        ),
        (
            "a reserved type",
            with("/subject/type", json!("__cedar::User")),
        ),
        (
            "an action as a type",
            with("/resource/type", json!("Action")),
        ),
        ("an unknown action", with("/action/name", json!("launch"))),
        (
            "a year of the dinosaurs",
            context(json!({ "time": "-066000000-01-01T00:00:00Z" })),
        ),
        (
            "before 1970",
            context(json!({ "time": "1901-01-01T00:00:00Z" })),
        ),
        (
            "after 9999",
            context(json!({ "time": "+020000-01-01T00:00:00Z" })),
        ),
        (
            "in the future",
            context(json!({ "time": "9999-12-30T00:00:00Z" })),
        ),
        ("no time at all", context(json!({ "time": "tomorrow" }))),
        (
            "the 31st of February",
            context(json!({ "time": "2026-02-31T00:00:00Z" })),
        ),
        (
            "an address that is none",
            context(json!({ "ip": "10.10.4.7.5" })),
        ),
        (
            "an address with a port",
            context(json!({ "ip": "10.10.4.7:443" })),
        ),
        (
            "an address in octal",
            context(json!({ "ip": "010.010.04.07" })),
        ),
        (
            "assurance of tomorrow",
            context(json!({ "assurance": { "level": 3, "auth_time": 99_999_999_999_u64 } })),
        ),
        (
            "assurance of never",
            context(json!({ "assurance": { "level": 3, "auth_time": -5 } })),
        ),
        (
            "a scope list of 1000",
            context(json!({ "token": { "audience": "a", "scope": vec!["read"; 1000] } })),
        ),
        (
            "duplicate members",
            raw.replacen('{', "{\"subject\":{\"type\":\"User\",\"id\":\"dave\"},", 1),
        ),
    ];
    for (what, body) in &bad {
        for path in ["/access/v1/evaluation", "/access/v1/evaluations"] {
            let headers = [("Content-Type", "application/json")];
            let response = client.send("POST", path, &headers, body.as_bytes());
            let text = String::from_utf8_lossy(&response.body).into_owned();
            let harmless = match response.status {
                400 | 413 => response.json()["detail"].as_str().unwrap().len() > 5,
                200 => response.json()["decision"] == false,
                _ => false,
            };
            assert!(harmless, "{what} at {path}: {} {text}", response.status);
        }
    }
    assert_eq!(
        client.ask(&alice_reads())["decision"],
        true,
        "and it still works"
    );
    drop(client);
    let log = engine.stop();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn extreme_values_are_decided_without_a_fault() {
    let site = Site::new();
    let key = site.key("keeper");
    let engine = site.start();
    let mut client = engine.client(&key);
    for context in [
        json!({ "time": "1970-01-01T00:00:00Z" }),
        json!({ "ip": "0.0.0.0" }),
        json!({ "ip": "255.255.255.255" }),
        json!({ "ip": "::" }),
        json!({ "ip": "::ffff:198.51.100.100" }),
        json!({ "ip": "fe80::1%eth0" }),
        json!({ "ip": "64:ff9b::1" }),
        json!({ "user_agent": "" }),
        json!({ "user_agent": "\u{1F600}".repeat(500) }),
        json!({ "device": {} }),
        json!({ "assurance": {} }),
        json!({ "huge": i64::MAX, "tiny": i64::MIN, "small": 5e-324 }),
        json!({ "session_id": "s" }),
        json!(null),
    ] {
        let mut question = alice_reads();
        question["context"] = context.clone();
        let answer = client.ask(&question);
        let score = answer["context"]["risk"]["score"].as_i64().unwrap();
        assert!((0..=100).contains(&score), "{context}");
    }
}
