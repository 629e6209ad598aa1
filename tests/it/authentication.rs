//! Who may ask: API keys (X13 to X17) and roles.

use serde_json::json;

use crate::harness::{Client, Engine, Site, alice_reads, eventually, run};

fn status(engine: &Engine, header: Option<&str>) -> (u16, Option<String>) {
    let mut client: Client = engine.client("");
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(header.map(|value| ("Authorization", value)));
    let body = alice_reads().to_string();
    let response = client.send("POST", "/access/v1/evaluation", &headers, body.as_bytes());
    (
        response.status,
        response.header("www-authenticate").map(str::to_owned),
    )
}

#[test]
fn x13_x17_only_a_whole_valid_key_gets_in() {
    let site = Site::new();
    let key = site.key("gateway");
    let (id, secret) = key.split_once('.').unwrap();
    assert!(
        id.starts_with("sk_") && id.len() == 3 + 8 && secret.len() == 32,
        "{key}"
    );
    let engine = site.start();
    assert_eq!(status(&engine, Some(&format!("Bearer {key}"))).0, 200);
    assert_eq!(
        status(&engine, Some(&format!("bearer {key}"))).0,
        200,
        "RFC 9110: any case"
    );
    let mut other_secret = secret.to_owned();
    other_secret.replace_range(0..1, if secret.starts_with('x') { "y" } else { "x" });
    for refused in [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {key}")),
        Some(format!("Bearer {id}")),
        Some(format!("Bearer {id}.")),
        Some(format!("Bearer .{secret}")),
        Some(format!("Bearer {id}.{other_secret}")),
        Some(format!("Bearer {id}.{secret}x")),
        Some(format!("Bearer sk_00000000.{secret}")),
        Some(format!("Bearer {}", "x".repeat(4000))),
        Some(key.clone()),
    ] {
        let (status, challenge) = status(&engine, refused.as_deref());
        assert_eq!(status, 401, "{refused:?}");
        assert!(challenge.unwrap().starts_with("Bearer"), "{refused:?}");
    }
}

#[test]
fn x14_the_secret_is_nowhere_on_disk_and_nowhere_in_the_log() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    engine.client(&key).ask(&alice_reads());
    let wrong = format!("{}wrong", &key[..key.len() - 5]);
    assert_eq!(status(&engine, Some(&format!("Bearer {wrong}"))).0, 401);
    let log = engine.stop();
    let secret = key.split_once('.').unwrap().1;
    assert!(
        !log.contains(secret) && !log.contains(&secret[..16]),
        "{log}"
    );
    let mut waiting = vec![site.data()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "the secret stands in {}", path.display());
        }
    }
}

#[test]
fn keys_made_beside_a_running_engine_count_at_once_and_revoked_ones_within_a_second() {
    let site = Site::new();
    let engine = site.start();
    let key = site.key("gateway");
    assert_eq!(
        status(&engine, Some(&format!("Bearer {key}"))).0,
        200,
        "a new key counts at once"
    );
    let id = key.split_once('.').unwrap().0;
    let ran = run(site.command().args(["keys", "revoke", id]));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    eventually("a revoked key is refused", || {
        (status(&engine, Some(&format!("Bearer {key}"))).0 == 401).then_some(())
    });
    let again = run(site.command().args(["keys", "revoke", id]));
    assert_eq!(again.status, Some(1), "{again:?}");
    let list = run(site.command().args(["keys", "list", "--json"]));
    assert!(
        list.out.contains(id) && list.out.contains("\"is_active\":false"),
        "{list:?}"
    );
}

#[test]
fn a_first_start_without_keys_leaves_one_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    let engine = site.start();
    let path = site.data().join("first-key");
    let key = std::fs::read_to_string(&path).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path) & 0o777, 0o600);
    assert_eq!(
        mode(&site.data()) & 0o777,
        0o700,
        "nobody else looks into the data"
    );
    assert_eq!(mode(&site.data().join("signing-keys")) & 0o777, 0o700);
    engine.client(key.trim()).ask(&alice_reads());
    let log = engine.stop();
    assert!(log.contains("first-key"), "the log names the file: {log}");
    assert!(!log.contains(key.trim()), "and does not show the key");
    let again = site.start();
    assert_eq!(
        status(&again, Some(&format!("Bearer {}", key.trim()))).0,
        200,
        "no second one"
    );
}

#[test]
fn roles_may_do_what_they_are_for() {
    let site = Site::new();
    let keys: Vec<(&str, String)> = ["gateway", "author", "keeper", "operator", "admin"]
        .into_iter()
        .map(|role| (role, site.key(role)))
        .collect();
    let engine = site.start();
    for (role, key) in &keys {
        let mut client = engine.client(key);
        let asked = client.post("/access/v1/evaluation", &alice_reads()).status;
        let device = client.send(
            "PUT",
            "/v1/devices/laptop-7",
            &[("Content-Type", "application/json")],
            br#"{"trust":50}"#,
        );
        let record = client.get("/v1/decisions/0").status;
        let step_up = client
            .post("/v1/decisions/0/step-up", &json!({ "level": 3 }))
            .status;
        let word = json!({ "legitimate": true });
        let feedback = client.post("/v1/decisions/0/feedback", &word).status;
        let told = client.post("/v1/events", &json!({})).status;
        let wanted = match *role {
            "gateway" => [200, 403, 403, 404, 404, 400],
            "author" => [200, 403, 404, 403, 403, 403],
            "keeper" => [200, 403, 404, 404, 404, 400],
            "operator" => [403, 204, 404, 403, 403, 403],
            _ => [200, 204, 404, 404, 404, 400],
        };
        assert_eq!(
            [asked, device.status, record, step_up, feedback, told],
            wanted,
            "{role}"
        );
    }
}

#[test]
fn one_request_has_one_authorization() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let good = format!("Bearer {key}");
    let body = alice_reads().to_string();
    for pair in [
        [&*good, "Bearer other"],
        ["Bearer other", &good],
        [&good, &good],
    ] {
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", pair[0]),
            ("Authorization", pair[1]),
        ];
        let mut client = engine.client("");
        let path = "/access/v1/evaluation";
        let response = client.send("POST", path, &headers, body.as_bytes());
        assert_eq!(response.status, 400, "{pair:?}");
    }
}

#[test]
fn g1_made_up_keys_are_limited_and_hold_nobody_up() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut known = engine.client(&key);
    let mut counts = std::collections::BTreeMap::new();
    for number in 0..400 {
        let made_up = format!("sk_{number:08}.{}", "x".repeat(32));
        let (status, _) = status(&engine, Some(&format!("Bearer {made_up}")));
        *counts.entry(status).or_insert(0) += 1;
        if number % 50 == 0 {
            known.ask(&alice_reads());
        }
    }
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [401, 429]);
    assert!(counts[&401] >= 100, "{counts:?}");
    // One that is made meanwhile is known within a second all the same.
    let new = site.key("gateway");
    eventually("the new key counts", || {
        (status(&engine, Some(&format!("Bearer {new}"))).0 == 200).then_some(())
    });
}

#[test]
fn what_only_some_may_say_is_ignored_from_others() {
    let site = Site::new();
    let (gateway, keeper) = (site.key("gateway"), site.key("keeper"));
    let engine = site.start();
    let mut question = alice_reads();
    question["context"]["time"] = json!("2026-03-02T09:00:00Z");
    let recorded = |answer: &serde_json::Value, client: &mut Client| {
        let id = answer["context"]["decision_id"]
            .as_str()
            .unwrap()
            .to_owned();
        eventually("the record is drained", || {
            let response = client.get(&format!("/v1/decisions/{id}"));
            (response.status == 200).then(|| response.json())
        })
    };
    let mut reader = engine.client(&keeper);
    let from_gateway = engine.client(&gateway).ask(&question);
    let record = recorded(&from_gateway, &mut reader);
    assert_eq!(
        record["time"], record["at"],
        "a gateway cannot turn the clock"
    );
    let from_keeper = engine.client(&keeper).ask(&question);
    let record = recorded(&from_keeper, &mut reader);
    assert_eq!(record["time"], "2026-03-02T09:00:00.000Z");
    assert_eq!(record["replayed"], true);
    assert_ne!(record["time"], record["at"]);
}
