//! What delivery must bear: tokens of any length, streams that are paused while they are pushed,
//! receivers that are silent, keys that change, and channels of alerts that are no webhook.

use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Sink, end_session, key, open, open_session};
use crate::harness::{Engine, Site, eventually, run};

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type";

fn site(sink: &Sink, more: &str) -> Site {
    let allowed = sink.address;
    Site::with(&format!(
        "{more}\n[limits]\noutbound_allow = ['{allowed}']\n"
    ))
}

/// A stream of these events that is pushed; its id.
fn pushed(engine: &Engine, receiver: &str, sink: &Sink, events: &[&str]) -> String {
    let events: Vec<String> = events.iter().map(|name| format!("{CAEP}/{name}")).collect();
    let delivery = json!({"method": "urn:ietf:rfc:8935", "endpoint_url": sink.url()});
    let body = json!({"events_requested": events, "delivery": delivery});
    let made = engine.client(receiver).post("/ssf/streams", &body);
    assert_eq!(made.status, 201, "{}", made.json());
    made.json()["stream_id"].as_str().unwrap().to_owned()
}

fn status(engine: &Engine, receiver: &str, stream: &str) -> Value {
    let path = format!("/ssf/status?stream_id={stream}");
    engine.client(receiver).get(&path).json()
}

fn metric(engine: &Engine, name: &str) -> Option<String> {
    let text = String::from_utf8(engine.client("").get("/metrics").body).unwrap();
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next().map(str::to_owned)
}

#[test]
fn g12_a_subject_in_hundreds_of_groups_is_told_of_in_a_token_that_receivers_take() {
    let sink = Sink::open();
    let site = site(&sink, "");
    let admin = site.key("admin");
    let engine = site.start();
    let mut admin = engine.client(&admin);
    let (_, receiver) = key(&mut admin, "receiver");
    pushed(&engine, &receiver, &sink, &["token-claims-change"]);
    let mut put = |many: usize| {
        let group = |number| json!({"type": "Group", "id": format!("group-of-people-{number}")});
        let parents: Vec<Value> = (0..many).map(group).collect();
        let body = json!({"attrs": {"department": "legal"}, "parents": parents}).to_string();
        let headers = [("Content-Type", "application/json")];
        let path = "/v1/entities/User/carol";
        let put = admin.send("PUT", path, &headers, body.as_bytes());
        assert_eq!(put.status, 200, "{}", put.json());
    };
    for many in [700, 2] {
        put(many);
    }
    let event = |token: &str| {
        assert!(token.len() <= 16 << 10, "{}", token.len());
        let (_, claims) = open(&engine, token);
        claims["events"][format!("{CAEP}/token-claims-change")].clone()
    };
    let many = event(&sink.next().body);
    assert_eq!(many["claims"], json!({"groups": null}), "{many}");
    let why = many["reason_admin"]["en"].as_str().unwrap();
    assert!(why.contains("700 groups"), "{why}");
    // And it stops nothing after it.
    let few = event(&sink.next().body);
    assert_eq!(few["claims"]["groups"].as_array().unwrap().len(), 2);
}

/// Ticks of processor time that a process has used.
fn ticks(engine: &Engine) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", engine.id())).unwrap();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_stream_that_is_paused_while_it_is_pushed_waits_and_costs_nothing() {
    let sink = Sink::open();
    let site = site(&sink, "");
    let admin = site.key("admin");
    let engine = site.start();
    let mut admin = engine.client(&admin);
    let (_, gateway) = key(&mut admin, "gateway");
    let (_, receiver) = key(&mut admin, "receiver");
    let stream = pushed(&engine, &receiver, &sink, &["session-revoked"]);
    let mut gateway = engine.client(&gateway);
    let sessions: Vec<String> = (0..5).map(|_| open_session(&mut gateway, "bob")).collect();
    // The first answer is held back until the stream is paused: the push is under way by then.
    let held = sink.hold();
    for session in &sessions {
        end_session(&mut gateway, session, "ended");
    }
    sink.next();
    let set = |status: &str| {
        let body = json!({"stream_id": stream, "status": status});
        let set = engine.client(&receiver).post("/ssf/status", &body);
        assert_eq!(set.status, 200, "{}", set.json());
    };
    set("paused");
    drop(held);
    // What was on its way is acknowledged; from then on the engine has nothing to do.
    eventually("the first is acknowledged", || {
        let told = metric(
            &engine,
            "portreeve_security_events_told_total{how=\"push\"}",
        )?;
        (told == "1").then_some(())
    });
    let before = ticks(&engine);
    for _ in 0..100 {
        assert_eq!(status(&engine, &receiver, &stream)["status"], "paused");
        std::thread::sleep(Duration::from_millis(10));
    }
    // A loop that never waits uses all of the second or more, 100 ticks.
    let used = ticks(&engine) - before;
    assert!(used < 60, "{used} ticks of processor time while paused");
    assert!(sink.is_empty());
    set("enabled");
    for session in &sessions[1..] {
        let (_, claims) = open(&engine, &sink.next().body);
        assert_eq!(claims["sub_id"]["session"]["id"], json!(session));
    }
}

#[test]
fn ssf_7_1_default_subjects_none_hears_of_nobody_who_was_not_added() {
    let sink = Sink::open();
    let site = site(&sink, "[ssf]\ndefault_subjects = 'NONE'");
    let admin = site.key("admin");
    let engine = site.start();
    let mut admin = engine.client(&admin);
    let (_, gateway) = key(&mut admin, "gateway");
    let (_, receiver) = key(&mut admin, "receiver");
    let metadata = engine.client("").get("/.well-known/ssf-configuration");
    assert_eq!(metadata.json()["default_subjects"], "NONE");
    let stream = pushed(&engine, &receiver, &sink, &["session-revoked"]);
    let mut gateway = engine.client(&gateway);
    let mut end = |subject: &str| {
        let session = open_session(&mut gateway, subject);
        end_session(&mut gateway, &session, "ended");
        session
    };
    let bob = json!({"format": "iss_sub", "iss": format!("http://{}", engine.address), "sub": "User/bob"});
    let name = |act: &str| {
        let body = json!({"stream_id": stream, "subject": bob});
        let path = format!("/ssf/subjects/{act}");
        let named = engine.client(&receiver).post(&path, &body);
        assert!([200, 204].contains(&named.status), "{}", named.status);
    };
    end("alice");
    // All are handed on before the next: a subject that is added hears from then on.
    eventually("alice's is handed on", || {
        (metric(&engine, "portreeve_security_events_total")? != "0").then_some(())
    });
    name("add");
    end("alice");
    let heard = end("bob");
    let (_, claims) = open(&engine, &sink.next().body);
    assert_eq!(claims["sub_id"]["session"]["id"], json!(heard));
    assert!(sink.is_empty());
}

#[test]
fn k1_keys_of_tokens_are_rotated_under_delivery_and_receivers_find_them_all() {
    let sink = Sink::open();
    let site = site(&sink, "[ssf]\nalgorithm = 'ES256'");
    let admin = site.key("admin");
    let engine = site.start();
    let mut admin = engine.client(&admin);
    let (_, gateway) = key(&mut admin, "gateway");
    let (_, receiver) = key(&mut admin, "receiver");
    pushed(&engine, &receiver, &sink, &["session-revoked"]);
    let mut gateway = engine.client(&gateway);
    let mut kid = || {
        let session = open_session(&mut gateway, "alice");
        end_session(&mut gateway, &session, "ended");
        let token = sink.next().body;
        // By what is published at this moment.
        let (header, claims) = open(&engine, &token);
        assert_eq!(claims["sub_id"]["session"]["id"], json!(session));
        header["kid"].as_str().unwrap().to_owned()
    };
    let first = kid();
    let mut command = site.command();
    let rotate = [
        "signing-keys",
        "rotate",
        "--shared-signals",
        "--now",
        "--json",
    ];
    let ran = run(command.args(rotate));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let second = eventually("the new key signs", || {
        Some(kid()).filter(|kid| *kid != first)
    });
    assert_ne!(first, second);
}

#[test]
fn m16_syslog_has_each_alert_though_one_is_longer_than_a_datagram() {
    let syslog = UdpSocket::bind("127.0.0.1:0").unwrap();
    syslog
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let site = Site::with(&format!(
        "alerts = [{{ kind = 'syslog', address = 'udp://{}', severity = 'low', \
         events = ['session-revoked', 'token-claims-change'] }}]\n",
        syslog.local_addr().unwrap()
    ));
    let admin = site.key("admin");
    let engine = site.start();
    let mut admin = engine.client(&admin);
    let (_, gateway) = key(&mut admin, "gateway");
    let mut gateway = engine.client(&gateway);
    let next = || {
        let mut message = vec![0; 70_000];
        let read = syslog.recv(&mut message).expect("an alert");
        let text = String::from_utf8(message[..read].to_vec()).unwrap();
        let (head, alert) = text.split_once(" - {").unwrap();
        let alert: Value = serde_json::from_str(&format!("{{{alert}")).unwrap();
        (head.to_owned(), alert)
    };
    let session = open_session(&mut gateway, "alice");
    end_session(&mut gateway, &session, "signed out");
    let (head, alert) = next();
    assert!(
        head.starts_with("<85>1 ") && head.contains(" portreeve - session-revoked"),
        "{head}"
    );
    assert_eq!(
        (&alert["session_id"], &alert["cut"]),
        (&json!(session), &Value::Null)
    );
    let session = open_session(&mut gateway, "bob");
    end_session(&mut gateway, &session, "signed out");
    assert_eq!(next().1["session_id"], json!(session));
}

#[test]
fn m16_standard_output_has_each_alert_on_a_line() {
    let site = Site::with(
        "alerts = [{ kind = 'stdout', severity = 'low', events = ['session-revoked'] }]\n",
    );
    let admin = site.key("admin");
    let mut command = site.command();
    let (engine, output) = Engine::start_with_output(&mut command, Stdio::piped());
    let (_, gateway) = key(&mut engine.client(&admin), "gateway");
    let mut gateway = engine.client(&gateway);
    let session = open_session(&mut gateway, "alice");
    end_session(&mut gateway, &session, "signed out");
    let mut line = String::new();
    BufReader::new(output.unwrap())
        .read_line(&mut line)
        .unwrap();
    let alert: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&alert["type"], &alert["session_id"]),
        (&json!("session-revoked"), &json!(session))
    );
}
