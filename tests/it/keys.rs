//! API keys: made, narrowed, rotated, revoked (X8, X13 to X18), and what is said of them.

use serde_json::{Value, json};

use crate::harness::{Client, Engine, Ran, Response, Site, alice_reads, eventually, run};

/// Runs `portreeve keys …`.
fn keys(site: &Site, args: &[&str]) -> Ran {
    run(site.command().arg("keys").args(args))
}

/// The same where it must work; its JSON.
fn done(site: &Site, args: &[&str]) -> Value {
    let ran = run(site.command().args(["keys", "--json"]).args(args));
    assert_eq!(ran.status, Some(0), "{args:?}: {ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn delete(client: &mut Client, path: &str) -> Response {
    client.send("DELETE", path, &[], b"")
}

/// The status of a question asked with this key.
fn asked(engine: &Engine, key: &Value) -> u16 {
    let mut client = engine.client(key.as_str().unwrap());
    client.post("/access/v1/evaluation", &alice_reads()).status
}

#[test]
fn x18_a_rotated_key_goes_on_for_a_while_and_its_client_stays_who_it_is() {
    let site = Site::new();
    let engine = site.start();
    let old = done(&site, &["create", "--name", "shop", "--role", "gateway"]);
    let old_id = text(&old["key_id"]);
    // A session that the old key has begun, and a step-up that it was asked for.
    let mut question = alice_reads();
    question["subject"]["id"] = json!("dave");
    question["action"]["name"] = json!("administer");
    question["context"]["session_id"] = json!("s-1");
    let mut client = engine.client(&text(&old["key"]));
    let waits = client.ask(&question);
    assert_eq!(waits["context"]["outcome"], "mfa");

    let new = done(&site, &["rotate", &old_id]);
    assert_eq!(
        (&new["action"], &new["old_key_id"], &new["new_key_id"]),
        (&json!("rotated"), &old["key_id"], &new["key_id"])
    );
    assert_eq!(new["client_id"], old["client_id"]);
    assert_ne!(new["key"], old["key"]);
    assert_eq!(
        (&new["role"], &new["subject"]),
        (&old["role"], &old["subject"])
    );
    assert_eq!(
        (asked(&engine, &old["key"]), asked(&engine, &new["key"])),
        (200, 200)
    );

    let id = text(&waits["context"]["decision_id"]);
    let mut client = engine.client(&text(&new["key"]));
    let passed = client.post(
        &format!("/v1/decisions/{id}/step-up"),
        &json!({ "level": 3 }),
    );
    assert_eq!(
        passed.status, 200,
        "the step-up is the client's, not the key's"
    );
    assert_eq!(
        passed.json()["session_lifted"],
        true,
        "and so is the session"
    );

    // It is listed with what should be seen to, and there is one successor.
    let list = done(&site, &["list"]);
    let listed = list.as_array().unwrap();
    let listed = listed
        .iter()
        .find(|key| key["key_id"] == old["key_id"])
        .unwrap();
    assert_eq!(
        (&listed["state"], &listed["is_active"]),
        (&json!("rotated"), &json!(true))
    );
    assert_eq!(listed["overlap_end"], new["overlap_end"]);
    assert!(
        listed["warning"]
            .as_str()
            .unwrap()
            .contains(&text(&new["key_id"]))
    );
    let again = keys(&site, &["rotate", &old_id]);
    assert_eq!(again.status, Some(1), "{again:?}");
    assert!(again.err.contains(&text(&new["key_id"])), "{again:?}");

    // Without an overlap the old one ends at once.
    let last = done(&site, &["rotate", &text(&new["key_id"]), "--overlap", "0"]);
    eventually("the old key is over", || {
        (asked(&engine, &new["key"]) == 401).then_some(())
    });
    assert_eq!(asked(&engine, &last["key"]), 200);
    // If the successor is lost, the old one may be rotated anew.
    done(&site, &["revoke", &text(&last["key_id"])]);
    assert_eq!(
        done(&site, &["rotate", &old_id])["client_id"],
        old["client_id"]
    );

    for (args, told) in [
        (&["rotate", &old_id, "--overlap", "8"][..], "--overlap"),
        (
            &[
                "create", "--name", "x", "--role", "gateway", "--days", "366",
            ],
            "--days",
        ),
    ] {
        let refused = keys(&site, args);
        assert_eq!(refused.status, Some(2), "{refused:?}");
        assert!(refused.err.contains(told), "{refused:?}");
    }
    assert_eq!(keys(&site, &["rotate", "sk_nothing0"]).status, Some(1));
}

#[test]
fn x13_x18_keys_over_http_live_from_their_making_to_their_end() {
    let site = Site::new();
    let admin_key = site.key("admin");
    let engine = site.start();
    let mut admin = engine.client(&admin_key);
    let admin_id = admin_key.split('.').next().unwrap();

    let made = admin.post(
        "/v1/keys",
        &json!({
            "name": "reports", "role": "gateway", "days": 30,
            "permissions": ["evaluate"],
            "subject": { "type": "Service", "id": "reporting" },
            "audience": "https://reports.example",
        }),
    );
    assert_eq!(made.status, 201);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let made_at = made.header("location").unwrap().to_owned();
    let made = made.json();
    let key = text(&made["key"]);
    let secret = key.split_once('.').unwrap().1.to_owned();
    assert_eq!(asked(&engine, &made["key"]), 200, "it counts at once");

    // It is narrowed: what its role may do and it was not given is refused.
    let fact = engine.client(&key).post("/v1/events", &json!({}));
    assert_eq!(fact.status, 403);

    // Nobody is shown the secret or its hash again.
    let one = admin.get(&made_at);
    assert_eq!(one.status, 200);
    let list = admin.get("/v1/keys");
    for shown in [&one, &list] {
        let shown = String::from_utf8_lossy(&shown.body).into_owned();
        assert!(
            !shown.contains(&secret) && !shown.contains("sha256"),
            "{shown}"
        );
    }
    let one = one.json();
    assert_eq!(one["created_by"], admin_id);
    assert_eq!(
        one["subject"],
        json!({ "type": "Service", "id": "reporting" })
    );
    assert_eq!(one["permissions"], json!(["evaluate"]));
    assert!(
        one["last_used_at"].is_string(),
        "x15, x17: its last use shows: {one}"
    );
    let first = admin.get("/v1/keys?limit=1").json();
    assert_eq!(first["keys"][0]["key_id"], admin_id);
    let next = text(&first["next"]);
    let second = admin.get(&format!("/v1/keys?limit=1&after={next}")).json();
    assert_eq!(
        (&second["keys"][0]["name"], &second["next"]),
        (&json!("reports"), &json!(null))
    );

    let rotated = admin.post(&format!("{made_at}/rotate"), &json!({ "overlap_days": 0 }));
    assert_eq!(rotated.status, 201);
    let rotated = rotated.json();
    assert_eq!(
        (
            asked(&engine, &made["key"]),
            asked(&engine, &rotated["key"])
        ),
        (401, 200)
    );
    assert_eq!(rotated["permissions"], made["permissions"]);

    let path = format!("/v1/keys/{}", text(&rotated["key_id"]));
    assert_eq!(delete(&mut admin, &path).status, 204);
    assert_eq!(
        asked(&engine, &rotated["key"]),
        401,
        "revoked is refused at once"
    );
    assert_eq!(delete(&mut admin, &path).status, 204, "again does nothing");
    assert_eq!(
        admin.post(&format!("{path}/rotate"), &json!({})).status,
        409
    );

    // All of it is on record, with who did it.
    let ran = run(site.command().args(["audit", "tail", "-n", "50", "--json"]));
    let acts: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|record: &Value| record["kind"] == "key" && record["caller"] == admin_id)
        .collect();
    let told: Vec<(String, String)> = acts
        .iter()
        .map(|act| (text(&act["act"]), text(&act["key_id"])))
        .collect();
    assert_eq!(
        told,
        [
            ("created".to_owned(), text(&made["key_id"])),
            ("rotated".to_owned(), text(&made["key_id"])),
            ("revoked".to_owned(), text(&rotated["key_id"])),
        ],
        "{}",
        ran.out
    );
    assert_eq!(acts[1]["new_key_id"], rotated["key_id"]);
    assert_eq!(acts[1]["overlap_end"], rotated["overlap_end"]);
    assert!(!ran.out.contains(&secret), "no secret is on record");
}

#[test]
fn what_is_done_at_the_command_line_is_on_record_too() {
    let site = Site::new();
    let before = done(&site, &["create", "--name", "early", "--role", "service"]);
    let engine = site.start();
    let beside = done(&site, &["create", "--name", "late", "--role", "service"]);
    let acts = eventually("both are on record", || {
        let ran = run(site.command().args(["audit", "tail", "-n", "50", "--json"]));
        let acts: Vec<Value> = ran
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|record: &Value| record["kind"] == "key")
            .collect();
        (acts.len() >= 2).then_some(acts)
    });
    for (act, key) in acts.iter().zip([&before, &beside]) {
        assert_eq!(
            (&act["act"], &act["key_id"], &act["caller"]),
            (&json!("created"), &key["key_id"], &json!("command line"))
        );
    }
    engine.stop();
}

#[test]
fn nobody_makes_a_key_that_may_do_more_than_theirs() {
    let site = Site::new();
    let admin = site.key("admin");
    let narrowed = done(
        &site,
        &[
            "create",
            "--name",
            "clerk",
            "--role",
            "admin",
            "--permission",
            "keys.write",
            "--permission",
            "keys.read",
            "--permission",
            "evaluate",
        ],
    );
    let operator = site.key("operator");
    let engine = site.start();
    let mut clerk = engine.client(&text(&narrowed["key"]));
    let admin_id = admin.split('.').next().unwrap();

    let own = json!({ "type": "Service", "id": "clerk" });
    let cases = [
        (json!({ "name": "x", "role": "admin" }), 403),
        (json!({ "name": "x", "role": "gateway" }), 403),
        (
            json!({ "name": "x", "role": "gateway", "permissions": ["evaluate", "access"] }),
            403,
        ),
        // Another's name is a power too.
        (
            json!({ "name": "x", "role": "gateway", "permissions": ["evaluate"] }),
            403,
        ),
        (
            json!({ "name": "x", "role": "gateway", "permissions": ["evaluate"], "subject": own,
                    "audience": "https://docs.example" }),
            403,
        ),
        (
            json!({ "name": "x", "role": "gateway", "permissions": ["evaluate"], "subject": own }),
            201,
        ),
        // A role has nothing of it: the key may do nothing, and may be made.
        (
            json!({ "name": "x", "role": "service", "permissions": ["evaluate"], "subject": own }),
            201,
        ),
    ];
    for (wish, wanted) in cases {
        let made = clerk.post("/v1/keys", &wish);
        assert_eq!(made.status, wanted, "{wish}: {}", made.json());
    }
    let taken = clerk.post(&format!("/v1/keys/{admin_id}/rotate"), &json!({}));
    assert_eq!(taken.status, 403, "a rotated key is a key in hand");

    let mut operator = engine.client(&operator);
    assert_eq!(operator.get("/v1/keys").status, 200);
    let wish = json!({ "name": "x", "role": "service" });
    assert_eq!(operator.post("/v1/keys", &wish).status, 403);
    assert_eq!(
        delete(&mut operator, &format!("/v1/keys/{admin_id}")).status,
        403
    );
}

#[test]
fn what_makes_no_key_is_told_and_harms_nothing() {
    let site = Site::with("[limits]\nkeys = 4\n");
    let admin_key = site.key("admin");
    let engine = site.start();
    let mut admin = engine.client(&admin_key);
    for (body, told) in [
        (json!({}), "name"),
        (json!([]), "object"),
        (json!({ "name": "x", "role": "root" }), "role"),
        (json!({ "name": "", "role": "service" }), "name"),
        (json!({ "name": "x", "role": "service", "days": 0 }), "days"),
        (
            json!({ "name": "x", "role": "service", "days": 366 }),
            "365",
        ),
        (
            json!({ "name": "x", "role": "service", "days": -1 }),
            "days",
        ),
        (
            json!({ "name": "x", "role": "service", "permissions": ["fly"] }),
            "fly",
        ),
        (
            json!({ "name": "x", "role": "service", "audience": "" }),
            "audience",
        ),
        (
            json!({ "name": "x", "role": "service", "certificate": "CN=x" }),
            "certificate",
        ),
        (
            json!({ "name": "x", "role": "service", "subject": { "type": "", "id": "x" } }),
            "subject",
        ),
        (
            json!({ "name": "x", "role": "service", "secret": "mine" }),
            "secret",
        ),
    ] {
        let refused = admin.post("/v1/keys", &body);
        assert_eq!(refused.status, 400, "{body}");
        let detail = text(&refused.json()["detail"]);
        assert!(detail.contains(told), "{body}: {detail}");
    }
    for (method, path, body, wanted) in [
        ("GET", "/v1/keys/sk_nothing0", "", 404),
        ("GET", "/v1/keys/..%2F..%2Fetc", "", 404),
        ("GET", "/v1/keys/%FF", "", 400),
        ("GET", "/v1/keys?limit=0", "", 400),
        ("GET", "/v1/keys?after=sk_nothing0", "", 400),
        ("DELETE", "/v1/keys/sk_nothing0", "", 404),
        ("POST", "/v1/keys/sk_nothing0/rotate", "{}", 404),
        (
            "POST",
            "/v1/keys/sk_nothing0/rotate",
            r#"{"overlap_days":8}"#,
            400,
        ),
        ("PUT", "/v1/keys", "{}", 405),
    ] {
        let headers = [("Content-Type", "application/json")];
        let refused = admin.send(method, path, &headers, body.as_bytes());
        assert_eq!(refused.status, wanted, "{method} {path}");
    }

    // One certificate stands for one client.
    let spiffe = "spiffe://example.org/ns/shop/sa/cart";
    let wish = json!({ "name": "cart", "role": "service", "certificate": spiffe });
    let cart = admin.post("/v1/keys", &wish);
    assert_eq!(cart.status, 201);
    assert_eq!(admin.post("/v1/keys", &wish).status, 409);

    // Four keys at most: one that is over makes room, and none that is not.
    let wish = json!({ "name": "more", "role": "service" });
    let more: Vec<u16> = (0..3)
        .map(|_| admin.post("/v1/keys", &wish).status)
        .collect();
    assert_eq!(more, [201, 201, 422]);
    let cart = text(&cart.json()["key_id"]);
    assert_eq!(delete(&mut admin, &format!("/v1/keys/{cart}")).status, 204);
    assert_eq!(admin.post("/v1/keys", &wish).status, 201);
    assert_eq!(admin.get(&format!("/v1/keys/{cart}")).status, 404);
    assert_eq!(admin.post("/v1/keys", &wish).status, 422);
}
