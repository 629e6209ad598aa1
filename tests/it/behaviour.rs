//! What is done in sessions, and sessions that go on elsewhere, through the real binary: M4, M5,
//! M11 to M15, B14, E8, E9, E11, E16, L6, F18.

use serde_json::{Value, json};

use crate::harness::{Client, Site, alice_reads, eventually};
use crate::refreshing::{sign_in, text};

/// A gateway that may neither see risk nor assert anything.
fn plain(site: &Site) -> String {
    let may = ["evaluate", "access", "sessions.read", "sessions.create"];
    site.key_that_may("gateway", &may)
}

/// What is done in a session to each of some documents. The last answer.
fn does(client: &mut Client, session: &str, action: &str, documents: &[&str]) -> Value {
    let mut last = Value::Null;
    for document in documents {
        let mut question = alice_reads();
        question["action"]["name"] = json!(action);
        question["resource"]["id"] = json!(document);
        question["context"]["session_id"] = json!(session);
        last = client.ask(&question);
    }
    last
}

/// What staff may read, and what alice may neither delete nor share.
const READABLE: [&str; 3] = ["handbook", "roadmap", "price-list"];
const OTHERS: [&str; 5] = [
    "handbook",
    "roadmap",
    "price-list",
    "payroll",
    "contract-001",
];

fn behaviour(client: &mut Client, id: &str) -> Value {
    client.get(&format!("/v1/sessions/{id}")).json()["behaviour"].clone()
}

#[test]
fn m5_m11_m15_a_session_that_probes_is_seen_to() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let session = sign_in(&mut client);
    let (id, handle) = (
        session["id"].as_str().unwrap(),
        session["handle"].as_str().unwrap(),
    );
    let quiet = behaviour(&mut client, id);
    assert_eq!(quiet["window_seconds"], 300, "M2");
    assert_eq!(quiet["features"]["accesses"], 0.0, "{quiet}");
    assert_eq!(quiet["recommendation"], "none");
    assert_eq!(quiet["suspicious_patterns"], json!([]));

    let ordinary = does(&mut client, handle, "read", &READABLE);
    assert_eq!(ordinary["decision"], true, "{ordinary}");
    let ordinary = behaviour(&mut client, id);
    assert_eq!(ordinary["features"]["resources"], 3.0, "{ordinary}");
    assert_eq!(ordinary["recommendation"], "none");
    assert!(ordinary["anomaly_score"].is_u64(), "B18");

    // A slip or two is no pattern.
    does(&mut client, handle, "delete", &OTHERS);
    assert_eq!(behaviour(&mut client, id)["suspicious_patterns"], json!([]));
    does(&mut client, id, "share", &OTHERS);
    let probing = behaviour(&mut client, id);
    let wanted = json!(["privilege-probing"]);
    assert_eq!(probing["suspicious_patterns"], wanted, "{probing}");
    assert_eq!(probing["features"]["refused"], 9.0, "{probing}");
    assert_eq!(probing["recommendation"], "reauthenticate");
    let guessed = ["minutes-1", "minutes-2", "minutes-3"];
    does(&mut client, handle, "read", &guessed);
    let probing = behaviour(&mut client, id);
    let wanted = json!(["enumeration", "privilege-probing"]);
    assert_eq!(probing["suspicious_patterns"], wanted, "{probing}");

    // What comes next is decided with it, in any session but another (M5).
    let next = does(&mut client, handle, "read", &["handbook"]);
    let told = next["context"]["risk"]["factors"].to_string();
    assert!(told.contains("It looks like trying one resource"), "{next}");
    let elsewhere = does(&mut client, "my-own-word", "read", &["handbook"]);
    let told = elsewhere["context"]["risk"]["factors"].to_string();
    assert!(!told.contains("It looks like"), "{elsewhere}");
    let metrics = text(&client.get("/metrics"));
    let line = "portreeve_suspicious_patterns_total{pattern=\"privilege-probing\"} 1";
    assert!(metrics.contains(line), "{metrics}");

    // Who may not see risk is not told how far to go.
    let plain = plain(&site);
    let mut other = engine.client(&plain);
    let body = json!({ "subject": { "type": "User", "id": "alice" } });
    let own = eventually("the new key", || {
        let opened = other.post("/v1/sessions", &body);
        (opened.status == 201).then(|| opened.json())
    });
    let read = other.get(&format!("/v1/sessions/{}", own["id"].as_str().unwrap()));
    assert_eq!(read.status, 200, "{}", text(&read));
    assert!(read.json().get("behaviour").is_none(), "{}", text(&read));
    drop((client, other));
    let log = engine.stop();
    assert!(log.contains("suspicious_behaviour"), "{log}");
}

/// A question in the session, with some members of its context changed.
fn goes_on(client: &mut Client, session: &str, changed: &Value) -> Value {
    let mut question = alice_reads();
    question["context"]["session_id"] = json!(session);
    for (name, value) in changed.as_object().unwrap() {
        question["context"][name] = value.clone();
    }
    client.ask(&question)["context"].clone()
}

const FIREFOX_128: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const FIREFOX_155: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:155.0) Gecko/20100101 Firefox/155.0";

#[test]
fn e16_a_session_is_created_and_validated_and_a_hijack_from_10_0_0_1_is_caught() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let laptop = json!({
        "id": "alice-laptop", "os": "Ubuntu", "os_version": "24.04", "fingerprint": "f1",
    });
    let firefox = alice_reads()["context"]["user_agent"].clone();
    let body = json!({
        "subject": { "type": "User", "id": "alice" },
        "context": { "ip": "10.10.4.7", "user_agent": firefox, "device": laptop },
    });
    // Create.
    let opened = client.post("/v1/sessions", &body);
    assert_eq!(opened.status, 201, "{}", text(&opened));
    let opened = opened.json();
    let handle = opened["handle"].as_str().unwrap();
    let birth = &client
        .get(&format!("/v1/sessions/{}", opened["id"].as_str().unwrap()))
        .json()["birth"];
    for (member, wanted) in [
        ("agent_version", json!(140)),
        ("os", json!("Ubuntu")),
        ("os_version", json!("24.04")),
        ("fingerprint", json!("f1")),
    ] {
        assert_eq!(birth[member], wanted, "{member}: {birth}");
    }
    // Validate: where it began, and where an honest person takes it.
    for (about, changed) in [
        (
            "as it began",
            json!({ "ip": "10.10.4.7", "device": laptop }),
        ),
        (
            "the next address",
            json!({ "ip": "10.10.4.99", "device": laptop }),
        ),
        (
            "mapped",
            json!({ "ip": "::ffff:10.10.4.7", "device": laptop }),
        ),
        (
            "dual stack",
            json!({ "ip": "2001:db8:c000::7", "device": laptop }),
        ),
        (
            "updated, with a new fingerprint",
            json!({
                "ip": "10.10.4.7",
                "user_agent": FIREFOX_155,
                "device": { "id": "alice-laptop", "os": "Ubuntu", "os_version": "24.10", "fingerprint": "f2" },
            }),
        ),
        (
            "another exit of the same network",
            json!({ "ip": "10.10.200.9", "device": laptop }),
        ),
    ] {
        let context = goes_on(&mut client, handle, &changed);
        assert_eq!(context["outcome"], "allow", "{about}: {context}");
    }
    // Hijack: the same handle, from somewhere else.
    for (about, changed) in [
        (
            "another program on another device",
            json!({ "ip": "10.0.0.1", "user_agent": "curl/8.5", "device": { "os": "Windows" } }),
        ),
        (
            "the same names, in an older program",
            json!({ "ip": "10.0.0.1", "user_agent": FIREFOX_128, "device": laptop }),
        ),
        (
            "the same program, on a device without a name",
            json!({ "ip": "10.0.0.1", "device": { "os": "Windows", "fingerprint": "f9" } }),
        ),
    ] {
        let context = goes_on(&mut client, handle, &changed);
        assert_eq!(context["outcome"], "mfa", "{about}: {context}");
    }
    // Its owner goes on.
    let mine = json!({ "ip": "10.10.4.7", "device": laptop });
    assert_eq!(goes_on(&mut client, handle, &mine)["outcome"], "allow");
}

/// E16: nothing that a browser sends by itself opens, reads or ends a session.
#[test]
fn e16_a_cookie_is_no_credential() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let session = sign_in(&mut client);
    let (id, handle) = (
        session["id"].as_str().unwrap(),
        session["handle"].as_str().unwrap(),
    );
    let mut browser = engine.client("");
    let cookie = format!("session={handle}; portreeve={key}; Authorization=Bearer {key}");
    let body = json!({ "subject": { "type": "User", "id": "alice" } }).to_string();
    for (method, path) in [
        ("POST", "/v1/sessions".to_owned()),
        ("GET", format!("/v1/sessions/{id}")),
        ("DELETE", format!("/v1/sessions/{id}")),
    ] {
        let headers = [
            ("Cookie", cookie.as_str()),
            ("Origin", "https://evil.example"),
            ("Content-Type", "application/json"),
        ];
        let response = browser.send(method, &path, &headers, body.as_bytes());
        assert_eq!(response.status, 401, "{method} {path}");
    }
    assert_eq!(
        client.get(&format!("/v1/sessions/{id}")).json()["active"],
        true
    );
}
