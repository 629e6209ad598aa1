//! Families of refresh tokens against the real engine: T5, T8 to T12, T15, F8, F9, B1 to B4.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Engine, Response, Site, run};

const FORM: &str = "application/x-www-form-urlencoded";

/// Opens a session of alice that brings tokens along.
pub(crate) fn sign_in(client: &mut Client) -> Value {
    let response = client.post(
        "/v1/sessions",
        &json!({
            "subject": { "type": "User", "id": "alice" },
            "context": {
                "ip": "10.10.4.7",
                "device": { "id": "alice-laptop" },
                "assurance": { "level": 3, "auth_time": crate::harness::now() },
                "token": { "audience": "https://docs.example", "scope": "read" },
            },
        }),
    );
    assert_eq!(response.status, 201, "{}", text(&response));
    let opened = response.json();
    assert!(opened["token"]["refresh_token"].is_string(), "{opened}");
    opened
}

pub(crate) fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

fn word<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap()
}

fn try_refresh(client: &mut Client, token: &str) -> Option<Response> {
    let body = format!("grant_type=refresh_token&refresh_token={token}");
    let headers = [("Content-Type", FORM)];
    client.try_send("POST", "/oauth2/token", &headers, body.as_bytes())
}

/// The answer to a refresh: the tokens, or the error's code.
pub(crate) fn refresh(client: &mut Client, token: &str) -> Result<Value, String> {
    let response = try_refresh(client, token).unwrap();
    let body = response.json();
    match response.status {
        200 => Ok(body),
        400 => Err(body["error"].as_str().unwrap().to_owned()),
        status => panic!("{status}: {body}"),
    }
}

/// Whether an access token is good, by RFC 7662.
pub(crate) fn is_active(client: &mut Client, access_token: &str) -> bool {
    let body = format!("token={access_token}");
    let headers = [("Content-Type", FORM)];
    let response = client.send("POST", "/oauth2/introspect", &headers, body.as_bytes());
    assert_eq!(response.status, 200, "{}", text(&response));
    response.json()["active"] == json!(true)
}

fn records(site: &Site, kind: &str) -> Vec<Value> {
    let ran = run(site
        .command()
        .args(["audit", "tail", "-n", "100000", "--json"]));
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    ran.out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["kind"] == kind)
        .collect()
}

#[test]
fn t9_t15_f8_b2_of_64_refreshes_at_once_comes_one_pair_and_reuse_ends_all_of_it() {
    // A long grace, so that a slow machine is within it; the same issuer after the start.
    let site =
        Site::with("public_url = \"http://127.0.0.1:8181\"\n[tokens]\nrefresh_grace = \"60s\"");
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let opened = sign_in(&mut client);
    let first = word(&opened, "/token/refresh_token");
    let start = Barrier::new(64);
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = engine.client(&key);
                    start.wait();
                    refresh(&mut client, first).unwrap()
                })
            })
            .collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let next: BTreeSet<&str> = answers
        .iter()
        .map(|one| word(one, "/refresh_token"))
        .collect();
    assert_eq!(next.len(), 1, "one successor, whoever asks: {next:?}");
    let second = *next.first().unwrap();
    assert_ne!(second, first);

    // T5, T10: the family goes on.
    let third = refresh(&mut client, second).unwrap();
    let access = word(&third, "/access_token");
    assert!(is_active(&mut client, access));
    assert!(is_active(&mut client, word(&answers[0], "/access_token")));

    // The first is used up for good: whoever has it has a copy.
    assert_eq!(refresh(&mut client, first), Err("invalid_grant".to_owned()));
    let newest = word(&third, "/refresh_token");
    assert_eq!(
        refresh(&mut client, newest),
        Err("invalid_grant".to_owned())
    );
    for answer in answers.iter().chain([&third]) {
        let access = word(answer, "/access_token");
        assert!(!is_active(&mut client, access), "B4: at once");
    }
    let id = word(&opened, "/id");
    let session = client.get(&format!("/v1/sessions/{id}")).json();
    assert_eq!(
        (&session["active"], &session["ended_reason"]),
        (&json!(false), &json!("refresh_reuse"))
    );
    let metrics = text(&client.get("/metrics"));
    assert!(metrics.contains("portreeve_refresh_token_reuses_total 1"));
    drop(client);
    let log = engine.stop();
    assert!(log.contains("Token reuse detected"), "O16: {log}");
    assert!(!log.contains(first) && !log.contains(newest));
    let alerts = records(&site, "alert");
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["message"], "Token reuse detected");
    assert_eq!(alerts[0]["generation"], 2);
    assert_eq!(alerts[0]["presented_generation"], 0);

    // And it stays so.
    let engine = site.start();
    let mut client = engine.client(&key);
    assert_eq!(
        refresh(&mut client, newest),
        Err("invalid_grant".to_owned())
    );
    assert!(!is_active(&mut client, access));
}

#[test]
fn t8_after_its_grace_the_token_before_is_reuse_too() {
    let site = Site::with("[tokens]\nrefresh_grace = 0");
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let opened = sign_in(&mut client);
    let first = word(&opened, "/token/refresh_token");
    let second = refresh(&mut client, first).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(refresh(&mut client, first), Err("invalid_grant".to_owned()));
    let second = word(&second, "/refresh_token");
    assert_eq!(
        refresh(&mut client, second),
        Err("invalid_grant".to_owned())
    );
}

#[test]
fn t12_f8_what_is_forged_or_anothers_touches_nothing() {
    let site = Site::new();
    let (key, other) = (site.key("gateway"), site.key("gateway"));
    let engine = site.start();
    let mut client = engine.client(&key);
    let opened = sign_in(&mut client);
    let first = word(&opened, "/token/refresh_token");
    let tag = first.rfind('.').unwrap();
    let flipped = |place: usize| {
        let mut bytes = first.as_bytes().to_vec();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let forged = [
        flipped(first.len() - 5),
        flipped(tag - 3),
        first[..tag].to_owned(),
        first.replacen(".0.", ".1.", 1),
        first.replacen(".0.", ".-1.", 1),
        format!("{first}."),
        "rt_".to_owned(),
        "rt_x.0.y.z".to_owned(),
        "x".repeat(10_000),
    ];
    for forged in &forged {
        assert_eq!(
            refresh(&mut client, forged),
            Err("invalid_grant".to_owned())
        );
    }
    let mut stranger = engine.client(&other);
    assert_eq!(
        refresh(&mut stranger, first),
        Err("invalid_grant".to_owned())
    );
    // A scope that was not granted is refused before anything is spent.
    let body = format!("grant_type=refresh_token&refresh_token={first}&scope=administer");
    let headers = [("Content-Type", FORM)];
    let wider = client.send("POST", "/oauth2/token", &headers, body.as_bytes());
    assert_eq!(
        (wider.status, &wider.json()["error"]),
        (400, &json!("invalid_scope"))
    );
    // All of that spent nothing.
    let second = refresh(&mut client, first).unwrap();
    assert_ne!(word(&second, "/refresh_token"), first);
    assert_eq!(records(&site, "alert"), Vec::<Value>::new());
    // A genuine one that is used up, in the wrong hands, is reuse all the same.
    assert_eq!(
        refresh(&mut stranger, first),
        Err("invalid_grant".to_owned())
    );
    let second = word(&second, "/refresh_token");
    assert_eq!(
        refresh(&mut client, second),
        Err("invalid_grant".to_owned())
    );
}

#[test]
fn t11_nothing_that_is_kept_is_a_secret() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let opened = sign_in(&mut client);
    let first = word(&opened, "/token/refresh_token");
    let second = refresh(&mut client, first).unwrap();
    // The handle in a question, and one that nobody knows.
    let handle = word(&opened, "/handle");
    let unknown = format!("sh_{}", "x".repeat(43));
    for name in [handle, &unknown] {
        let mut question = crate::harness::alice_reads();
        question["context"]["session_id"] = json!(name);
        client.ask(&question);
    }
    drop(client);
    let log = engine.stop();
    let secrets = [first, word(&second, "/refresh_token"), handle, &unknown];
    let mut files = vec![site.data()];
    let mut read = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        read += bytes.len();
        for secret in secrets {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds a secret", path.display());
        }
    }
    assert!(read > 10_000, "the files were read");
    assert!(secrets.iter().all(|secret| !log.contains(secret)));
}

#[test]
fn b1_t11_kill_9_amid_rotations_loses_nothing_that_was_answered() {
    let site = Site::with("[tokens]\nrefresh_grace = \"60s\"");
    let key = site.key("gateway");
    let mut engine = site.start();
    let mut client = engine.client(&key);
    let mut tokens: Vec<String> = (0..4)
        .map(|_| word(&sign_in(&mut client), "/token/refresh_token").to_owned())
        .collect();
    drop(client);
    let mut rotations = 0;
    for _ in 0..3 {
        let stop = AtomicBool::new(false);
        let rotate = |engine: &Engine, token: &str| {
            let mut client = engine.client(&key);
            let (mut token, mut count) = (token.to_owned(), 0);
            while !stop.load(Ordering::Relaxed) {
                // Lost: asked for, and no answer came. An honest client asks again with what it has.
                let Some(response) = try_refresh(&mut client, &token) else {
                    break;
                };
                assert_eq!(response.status, 200, "{}", text(&response));
                token = word(&response.json(), "/refresh_token").to_owned();
                count += 1;
            }
            (token, count)
        };
        tokens = std::thread::scope(|scope| {
            let rotate = &rotate;
            let engine = &engine;
            let asking: Vec<_> = tokens
                .iter()
                .map(|token| scope.spawn(move || rotate(engine, token)))
                .collect();
            std::thread::sleep(Duration::from_millis(150));
            engine.signal("KILL");
            asking
                .into_iter()
                .map(|one| {
                    let (token, count) = one.join().unwrap();
                    rotations += count;
                    token
                })
                .collect()
        });
        engine.wait();
        engine = site.start();
        let mut client = engine.client(&key);
        for token in &mut tokens {
            let next = refresh(&mut client, token).unwrap();
            *token = word(&next, "/refresh_token").to_owned();
        }
    }
    assert!(rotations > 0);
    assert_eq!(
        records(&site, "alert"),
        Vec::<Value>::new(),
        "nobody was taken for a thief"
    );
}
