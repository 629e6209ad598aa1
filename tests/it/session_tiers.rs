//! Tiers, step-ups and the command line of sessions, with the real binary: A1 to A3, E3, E14, E23,
//! F18, F19, O17, T25.

use serde_json::{Value, json};

use crate::harness::{Client, Site, alice_reads, eventually, run};
use crate::refreshing::{refresh, text};

/// Points for a device that does not comply, so that a story says how risky a sign-in is.
fn site(points: u8, more: &str) -> Site {
    Site::with(&format!(
        "public_url = \"http://127.0.0.1:8181\"\n{more}\n[risk]\nmodel_weight = 0.0\n\
         rule_weight = 1.0\nrules = {{ device-not-compliant = {points} }}"
    ))
}

/// A sign-in with MFA from a device that does not comply, as risky as the site says.
fn opened(client: &mut Client) -> Value {
    let body = json!({
        "subject": { "type": "User", "id": "alice" },
        "context": {
            "ip": "10.10.4.7",
            "user_agent": alice_reads()["context"]["user_agent"],
            "device": { "id": "alice-laptop", "compliant": false },
            "assurance": { "level": 3, "auth_time": crate::harness::now() },
            "token": { "audience": "https://docs.example", "scope": "read" },
        },
    });
    let response = client.post("/v1/sessions", &body);
    assert_eq!(response.status, 201, "{}", text(&response));
    response.json()
}

fn word<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

fn lasts(session: &Value) -> i64 {
    let time = |member: &str| wire::time::parse(word(session, member)).unwrap();
    time("/expires_at").whole_seconds_since(time("/created_at"))
}

#[test]
fn a1_a2_a3_e4_f18_a_session_is_opened_in_the_tier_of_its_risk() {
    // Points, tier, seconds, how many live beside one another.
    for (points, tier, seconds, most) in [
        (29, "standard", 28_800, 5),
        (30, "restricted", 7200, 2),
        (59, "restricted", 7200, 2),
        (60, "strict", 1800, 1),
    ] {
        let site = site(points, "");
        let key = site.key("gateway");
        let engine = site.start();
        let mut client = engine.client(&key);
        let mut last = Value::Null;
        for _ in 0..=most {
            last = opened(&mut client);
        }
        assert_eq!(word(&last, "/tier"), tier, "{last}");
        assert_eq!(lasts(&last), seconds, "{last}");
        // A refresh token never outlives its session.
        let refresh = &last["token"]["refresh_expires_in"];
        assert!(refresh.as_i64().unwrap() <= seconds, "{last}");
        let live = client
            .get("/v1/sessions?active=true&subject=User/alice")
            .json();
        assert_eq!(live["sessions"].as_array().unwrap().len(), most, "{live}");
        drop(client);
        engine.stop();
    }
}

#[test]
fn a3_o17_everything_in_a_strict_session_is_on_record() {
    let site = site(60, "");
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let session = opened(&mut client);
    let introspect = |client: &mut Client, token: &str| {
        let body = format!("token={token}");
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        client
            .send("POST", "/oauth2/introspect", &[form], body.as_bytes())
            .json()
    };
    let told = introspect(&mut client, word(&session, "/token/access_token"));
    assert_eq!(told["active"], true, "{told}");
    let next = refresh(&mut client, word(&session, "/token/refresh_token")).unwrap();
    assert_eq!(introspect(&mut client, "made-up")["active"], false);
    assert!(next["access_token"].is_string());
    // Without a second factor in it, nothing goes on.
    let mut question = alice_reads();
    question["context"]["session_id"] = session["handle"].clone();
    assert_eq!(client.ask(&question)["context"]["outcome"], "allow");
    drop(client);
    engine.stop();
    let journal = site.data().join("journal");
    let uses: Vec<String> = std::fs::read_dir(journal)
        .unwrap()
        .flat_map(|file| {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap_or_default();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|line| line.contains("\"session_use\""))
        .collect();
    let id = word(&session, "/id");
    assert_eq!(uses.len(), 2, "{uses:?}");
    assert!(uses.iter().all(|line| line.contains(id)), "{uses:?}");
    for what in ["introspection", "refresh"] {
        let is = |line: &&String| line.contains(&format!("\"use\":\"{what}\""));
        assert_eq!(uses.iter().filter(is).count(), 1, "{what}: {uses:?}");
    }
}

#[test]
fn e3_e14_a_step_up_lifts_the_session_and_replaces_its_handle() {
    let site = Site::new();
    let (key, other) = (site.key("gateway"), site.key("gateway"));
    let reader = site.key("author");
    let engine = site.start();
    let mut client = engine.client(&key);
    let body = json!({
        "subject": { "type": "User", "id": "dave" },
        "context": { "ip": "10.10.4.7", "device": { "id": "dave-laptop" } },
    });
    let session = client.post("/v1/sessions", &body).json();
    let (id, first) = (word(&session, "/id"), word(&session, "/handle"));
    let path = format!("/v1/sessions/{id}/step-up");
    let administer = |client: &mut Client, name: &str| {
        let mut question = alice_reads();
        question["subject"]["id"] = json!("dave");
        question["context"]["device"]["id"] = json!("dave-laptop");
        question["action"]["name"] = json!("administer");
        question["context"]["session_id"] = json!(name);
        client.ask(&question)["context"].clone()
    };
    let asked = administer(&mut client, first);
    assert_eq!(asked["outcome"], "mfa", "{asked}");
    // Who may not, and what makes no sense: what is sent, by whom, the answer.
    let level = json!({ "level": 3 });
    for (body, key, status) in [
        (&level, &other, 404),
        (&level, &reader, 403),
        (&json!({ "level": 1 }), &key, 400),
        (&json!({}), &key, 400),
        (&json!({ "level": 3, "subject_token": "x" }), &key, 400),
        (&json!({ "subject_token": "x" }), &key, 400),
        (&json!({ "level": 3, "decision_id": "x" }), &key, 404),
    ] {
        let response = engine.client(key).post(&path, body);
        assert_eq!(response.status, status, "{body}: {}", text(&response));
    }
    let done = client.post(&path, &level);
    assert_eq!(done.status, 200, "{}", text(&done));
    let done = done.json();
    // The decision that waited was found, and its lesson learnt.
    assert_eq!(done["decision_id"], asked["decision_id"], "{done}");
    assert_eq!(
        (
            &done["learnt"],
            &done["elevated"],
            &done["assurance"]["level"]
        ),
        (&json!(true), &json!(true), &json!(3)),
        "{done}"
    );
    let second = word(&done, "/handle");
    assert_ne!(second, first);
    assert_eq!(administer(&mut client, second)["outcome"], "allow");
    assert_eq!(administer(&mut client, first)["outcome"], "mfa", "fixation");
    let read = client.get(&format!("/v1/sessions/{id}")).json();
    assert!(read.get("handle").is_none() && read["handle_since"].is_string());
    // It survives the engine.
    drop(client);
    let mut engine = engine;
    engine.signal("KILL");
    engine.wait();
    let engine = site.start();
    let mut client = engine.client(&key);
    assert_eq!(administer(&mut client, second)["outcome"], "allow");
    assert_eq!(
        client
            .send("DELETE", &format!("/v1/sessions/{id}"), &[], b"")
            .status,
        204
    );
    let over = client.post(&path, &level);
    assert_eq!(over.status, 404, "{}", text(&over));
}

#[test]
fn e23_f19_t25_sessions_are_listed_and_ended_by_command_with_the_engine_up_or_down() {
    let site = site(0, "");
    let key = site.key("gateway");
    let sessions = |args: &[&str]| {
        let mut command = site.command();
        let ran = run(command.arg("sessions").args(args).arg("--json"));
        let out: Value = serde_json::from_str(&ran.out).unwrap_or_default();
        (ran.status, out, ran.err)
    };
    let none = sessions(&["list"]);
    assert_eq!((none.0, none.1), (Some(0), json!([])));
    let engine = site.start();
    let mut client = engine.client(&key);
    let (one, two) = (opened(&mut client), opened(&mut client));
    let (_, listed, _) = sessions(&["list", "--subject", "User/alice"]);
    let ids: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, [&two["id"], &one["id"]], "{listed}");
    assert_eq!(listed[0]["tier"], "standard");
    assert_eq!(sessions(&["list", "--subject", "User/bob"]).1, json!([]));

    let id = word(&one, "/id");
    let (status, told, err) = sessions(&["revoke", id, "--reason", "lost laptop"]);
    assert_eq!((status, told), (Some(0), json!({ "ended": [id] })), "{err}");
    // The running engine hears of it: session, refresh token, access token.
    let mut question = alice_reads();
    question["context"]["session_id"] = one["handle"].clone();
    eventually("the session is over", || {
        let context = client.ask(&question)["context"].clone();
        (context["cause"] == "session_ended").then_some(())
    });
    let refused = refresh(&mut client, word(&one, "/token/refresh_token"));
    assert_eq!(refused, Err("invalid_grant".to_owned()));
    let read = client.get(&format!("/v1/sessions/{id}")).json();
    assert_eq!(read["ended_reason"], "lost laptop", "{read}");
    question["context"]["session_id"] = two["handle"].clone();
    assert_eq!(client.ask(&question)["context"]["outcome"], "allow");
    drop(client);
    engine.stop();
    // With nobody there.
    assert_eq!(sessions(&["revoke", id]).0, Some(1), "it has ended before");
    let (status, told, _) = sessions(&["revoke", "--subject", "User/alice"]);
    assert_eq!((status, told), (Some(0), json!({ "ended": [two["id"]] })));
    for wrong in [
        &["revoke"][..],
        &["revoke", id, "--subject", "User/alice"],
        &["list", "--subject", "alice"],
    ] {
        assert_eq!(sessions(wrong).0, Some(2), "{wrong:?}");
    }
    let engine = site.start();
    let over = engine.client(&key).ask(&question)["context"]["cause"].clone();
    assert_eq!(over, "session_ended");
    let text = run(site.command().args(["sessions", "list", "--all"])).out;
    assert!(text.contains("ended: lost laptop"), "{text}");
}
