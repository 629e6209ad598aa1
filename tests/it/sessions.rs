//! Sessions by correlation id, step-ups, tokens, devices.

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::harness::{Client, Site, alice_reads, eventually, now};

#[test]
fn the_first_sight_of_a_session_is_its_birth() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let mut question = alice_reads();
    question["context"]["session_id"] = json!("cookie-1");
    let first = client.ask(&question);
    let since = first["context"]["session"]["since"].clone();
    assert_eq!(first["context"]["session"]["id"], "cookie-1");
    assert_eq!(client.ask(&question)["context"]["session"]["since"], since);
    // Another subject cannot use it.
    let mut stolen = question.clone();
    stolen["subject"]["id"] = json!("bob");
    let answer = client.ask(&stolen);
    assert_eq!(answer["context"]["cause"], "session_of_another");
    assert!(answer["context"].get("session").is_none());
    // It survives the process.
    drop(client);
    engine.stop();
    let engine = site.start();
    assert_eq!(
        engine.client(&key).ask(&question)["context"]["session"]["since"],
        since
    );
}

#[test]
fn of_two_subjects_who_come_first_at_once_one_has_the_session() {
    // A look-up that takes too long on a busy machine begins no session.
    let site = Site::with("[limits]\nsignal_timeout = '1s'\n");
    let key = site.key("gateway");
    let engine = site.start();
    let start = Barrier::new(2);
    // The same sessions, each of them by both at the same moment.
    let accepted = |subject: &str| -> Vec<bool> {
        let mut client = engine.client(&key);
        let ask = |number: u32| {
            let mut question = alice_reads();
            question["subject"]["id"] = json!(subject);
            question["context"]["session_id"] = json!(format!("cookie-{number}"));
            start.wait();
            client.ask(&question)["context"]["outcome"] != "deny"
        };
        (0..200).map(ask).collect()
    };
    let (alice, bob) = std::thread::scope(|scope| {
        let bob = scope.spawn(|| accepted("bob"));
        (accepted("alice"), bob.join().unwrap())
    });
    let both = alice.iter().zip(&bob).filter(|(a, b)| **a && **b).count();
    assert_eq!(both, 0);
    assert!(alice.contains(&true) && bob.contains(&true));
}

#[test]
fn a_step_up_lifts_its_session_and_is_learnt_once() {
    let site = Site::new();
    let key = site.key("admin");
    let engine = site.start();
    let mut client = engine.client(&key);
    let mut question = alice_reads();
    question["subject"]["id"] = json!("dave");
    question["action"]["name"] = json!("administer");
    question["context"]["session_id"] = json!("cookie-2");
    let answer = client.ask(&question);
    assert_eq!(answer["context"]["outcome"], "mfa");
    let id = answer["context"]["decision_id"].as_str().unwrap();
    let path = format!("/v1/decisions/{id}/step-up");
    for (body, wanted) in [
        (json!({}), 400),
        (json!({ "level": 1 }), 400),
        (json!({ "level": "3" }), 400),
        (json!({ "level": 3, "time": "soon" }), 400),
    ] {
        assert_eq!(client.post(&path, &body).status, wanted, "{body}");
    }
    let less = client.post(&path, &json!({ "level": 2 })).json();
    assert_eq!(
        (&less["learnt"], &less["session_lifted"]),
        (&json!(false), &json!(true)),
        "a challenge is not what was asked for"
    );
    assert_eq!(client.ask(&question)["context"]["outcome"], "mfa");
    let done = client.post(&path, &json!({ "level": 3 }));
    assert_eq!(done.status, 200);
    assert_eq!(done.json()["learnt"], true);
    assert_eq!(done.json()["session_lifted"], true);
    assert_eq!(
        client.ask(&question)["context"]["outcome"],
        "allow",
        "the session holds MFA now"
    );
    let again = client.post(&path, &json!({ "level": 3 }));
    assert_eq!(
        (again.status, again.json()),
        (200, done.json()),
        "told again"
    );
    assert_eq!(
        client
            .post("/v1/decisions/no-such/step-up", &json!({ "level": 2 }))
            .status,
        404
    );
    // What was proven survives a kill: it was committed before the answer.
    let mut engine = engine;
    engine.signal("KILL");
    engine.wait();
    let engine = site.start();
    assert_eq!(
        engine.client(&key).ask(&question)["context"]["outcome"],
        "allow"
    );
}

/// A question of dave's that is answered `mfa`, whatever its score, until MFA was passed.
pub(crate) fn dave_administers(session: &str) -> Value {
    let mut question = alice_reads();
    question["subject"]["id"] = json!("dave");
    question["action"]["name"] = json!("administer");
    question["context"]["session_id"] = json!(session);
    question
}

pub(crate) fn step_up_path(answer: &Value) -> String {
    assert_eq!(answer["context"]["outcome"], "mfa", "{answer}");
    let id = answer["context"]["decision_id"].as_str().unwrap();
    format!("/v1/decisions/{id}/step-up")
}

#[test]
fn callers_are_kept_apart() {
    let site = Site::new();
    let keys = [site.key("gateway"), site.key("gateway"), site.key("admin")];
    let engine = site.start();
    let [mut ours, mut theirs, mut admin] = keys.each_ref().map(|key| engine.client(key));
    let question = dave_administers("1");
    let path = step_up_path(&ours.ask(&question));
    // Both applications count their sessions from 1, and in theirs the first is alice's.
    let mut other = question.clone();
    other["subject"]["id"] = json!("alice");
    let answer = theirs.ask(&other);
    assert_ne!(answer["context"]["cause"], "session_of_another", "{answer}");
    let mut dave_there = dave_administers("2");
    theirs.ask(&dave_there);

    let passed = json!({ "level": 3 });
    let refused = theirs.post(&path, &passed);
    assert_eq!(refused.status, 403, "{}", refused.json());
    assert_eq!(ours.ask(&question)["context"]["outcome"], "mfa");
    let done = ours.post(&path, &passed).json();
    assert_eq!(done["session_lifted"], true, "{done}");
    assert_eq!(ours.ask(&question)["context"]["outcome"], "allow");
    dave_there["context"]["session_id"] = json!("1");
    assert_ne!(theirs.ask(&dave_there)["context"]["outcome"], "allow");

    let question = dave_administers("3");
    let path = step_up_path(&ours.ask(&question));
    assert_eq!(admin.post(&path, &passed).json()["session_lifted"], true);
    assert_eq!(ours.ask(&question)["context"]["outcome"], "allow");
}

#[test]
fn a_step_up_that_is_told_again_makes_nothing_fresh() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let path = step_up_path(&client.ask(&dave_administers("s")));
    let first = client.post(&path, &json!({ "level": 3 }));
    assert_eq!(first.json()["session_lifted"], true);
    for _ in 0..3 {
        let again = client.post(&path, &json!({ "level": 3 }));
        assert_eq!((again.status, again.json()), (200, first.json()));
    }
    drop(client);
    engine.stop();
    let ran = crate::harness::run(site.command().args(["audit", "tail", "-n", "20"]));
    let told = ran.out.lines().filter(|line| line.contains("step-up"));
    assert_eq!(told.count(), 1, "{ran:?}");
}

#[test]
fn only_who_may_assert_brings_the_sessions_assurance() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let mut question = alice_reads();
    question["subject"]["id"] = json!("dave");
    question["action"]["name"] = json!("administer");
    // A level without a time is a level, and never fresh.
    question["context"]["assurance"] = json!({ "level": 3 });
    assert_eq!(client.ask(&question)["context"]["outcome"], "mfa");
    question["context"]["assurance"] = json!({ "amr": ["pwd", "otp", "mfa"], "auth_time": 1 });
    assert_eq!(
        client.ask(&question)["context"]["outcome"],
        "mfa",
        "of 1970"
    );
}

fn decode(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(
        &data_encoding::BASE64URL_NOPAD
            .decode(payload.as_bytes())
            .unwrap(),
    )
    .unwrap()
}

/// The service of documents, by the schema.
const DOCS: &str = "https://docs.example";

#[test]
fn l4_a_token_is_for_the_service_that_the_resource_belongs_to() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let mut ask = |kind: &str, id: &str, audience: &str| {
        let mut question = alice_reads();
        question["resource"] = json!({
            "type": kind, "id": id,
            // The caller's own word for it.
            "properties": { "audience": audience },
        });
        question["context"]["token"] = json!({ "audience": audience });
        let answer = client.ask(&question);
        assert_eq!(answer["decision"], true, "{answer}");
        answer["context"].clone()
    };
    for (kind, id, audience) in [
        ("Document", "handbook", DOCS),
        ("Application", "wiki", "https://wiki.example"),
    ] {
        let context = ask(kind, id, audience);
        let claims = decode(context["token"]["access_token"].as_str().unwrap());
        assert_eq!(claims["aud"], audience);
    }
    for (kind, id, audience, word) in [
        ("Document", "handbook", "https://payroll.example", "another"),
        ("Application", "wiki", DOCS, "another"),
        ("Application", "of-somebody", DOCS, "@audience"),
    ] {
        let context = ask(kind, id, audience);
        assert!(context.get("token").is_none(), "{context}");
        let error = &context["token_error"];
        assert_eq!(error["error"], "invalid_target");
        let why = error["error_description"].as_str().unwrap();
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn who_only_tries_gets_no_token_and_teaches_nothing() {
    let site = Site::new();
    let (author, keeper) = (site.key("author"), site.key("keeper"));
    let engine = site.start();
    let mut question = alice_reads();
    question["context"]["token"] = json!({ "audience": DOCS });
    let mut supposed = question.clone();
    supposed["context"]["assurance"] = json!({ "level": 3, "auth_time": now() });
    let mut past = supposed.clone();
    past["context"]["time"] = json!("2026-03-02T09:00:00Z");
    past["context"]["assurance"]["auth_time"] = json!("2026-03-02T08:59:00Z");
    for (key, question, manner) in [
        (&author, &question, "dry_run"),
        (&author, &supposed, "dry_run"),
        (&keeper, &question, "access"),
        (&keeper, &supposed, "dry_run"),
        // Replays teach: that is what they are for.
        (&keeper, &past, "access"),
    ] {
        let mut client = engine.client(key);
        let context = client.ask(question)["context"].clone();
        assert!(context.get("token").is_none(), "{context}");
        let id = context["decision_id"].as_str().unwrap();
        let record = eventually("the decision is drained", || {
            let response = client.get(&format!("/v1/decisions/{id}"));
            (response.status == 200).then(|| response.json())
        });
        assert_eq!(record["manner"], manner, "{record}");
    }
}

#[test]
fn j5_l1_l5_a_token_holds_the_scopes_that_the_policies_allow() {
    let site = Site::new();
    let (gateway, keeper) = (site.key("gateway"), site.key("keeper"));
    let engine = site.start();
    let mut client = engine.client(&gateway);
    let wanting = |scope: Value| {
        let mut question = alice_reads();
        question["context"]["token"] = json!({ "audience": DOCS, "scope": scope });
        question
    };
    let answer = client.ask(&wanting(json!("read write share administer nonsense")));
    let token = &answer["context"]["token"];
    assert_eq!(
        token["scope"], "read write",
        "alice may neither share nor administer it"
    );
    assert_eq!(
        (&token["token_type"], &token["expires_in"]),
        (&json!("Bearer"), &json!(300))
    );
    let claims = decode(token["access_token"].as_str().unwrap());
    assert_eq!(
        (&claims["aud"], &claims["sub"]),
        (&json!(DOCS), &json!("User/alice"))
    );
    assert_eq!(
        claims["context"],
        json!({ "ip": "10.10.4.7", "device_id": "alice-laptop" })
    );
    assert_eq!(claims["iss"], format!("http://{}", engine.address));
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(life, 300);
    assert_eq!(claims["risk"], "LOW", "a band, never the score");
    let keys = engine.client("").get("/.well-known/jwks.json").json();
    let header = token["access_token"]
        .as_str()
        .unwrap()
        .split('.')
        .next()
        .unwrap();
    let header: Value = serde_json::from_slice(
        &data_encoding::BASE64URL_NOPAD
            .decode(header.as_bytes())
            .unwrap(),
    )
    .unwrap();
    assert_eq!(
        (&header["typ"], &header["kid"]),
        (&json!("at+jwt"), &keys["keys"][0]["kid"])
    );
    assert!(keys["keys"][0].get("d").is_none(), "the private half stays");

    let none = |answer: &Value| answer["context"].get("token").is_none();
    let mut dry = wanting(json!("read"));
    dry["context"]["dry_run"] = json!(true);
    assert!(none(&client.ask(&dry)), "a dry run mints nothing");
    let mut denied = wanting(json!("read"));
    denied["subject"]["id"] = json!("mallory");
    assert!(none(&client.ask(&denied)), "a deny mints nothing");
    let mut batch = wanting(json!("read"));
    batch["evaluations"] = json!([{}]);
    let batch = client.post("/access/v1/evaluations", &batch).json();
    assert!(none(&batch["evaluations"][0]), "a batch mints nothing");
    let mut replay = wanting(json!("read"));
    replay["context"]["time"] = json!("2026-03-02T09:00:00Z");
    assert!(
        none(&engine.client(&keeper).ask(&replay)),
        "a replay mints nothing"
    );
}

#[test]
fn device_records_count_from_the_next_request_on() {
    let site = Site::new();
    let (gateway, operator) = (site.key("gateway"), site.key("operator"));
    let engine = site.start();
    let mut asker = engine.client(&gateway);
    let mut writer = engine.client(&operator);
    assert_eq!(asker.ask(&alice_reads())["decision"], true);
    let put = |writer: &mut Client, body: Value| {
        let headers = [("Content-Type", "application/json")];
        let body = body.to_string();
        writer
            .send("PUT", "/v1/devices/alice-laptop", &headers, body.as_bytes())
            .status
    };
    assert_eq!(put(&mut writer, json!({ "revoked": true })), 204);
    let answer = asker.ask(&alice_reads());
    assert_eq!(answer["context"]["policies"], json!(["revoked-device"]));
    assert_eq!(
        put(
            &mut writer,
            json!({ "trust": 90, "owner": { "type": "User", "id": "alice" } })
        ),
        204
    );
    assert_eq!(asker.ask(&alice_reads())["decision"], true);
    assert_eq!(writer.get("/v1/devices/alice-laptop").json()["trust"], 90);
    for bad in [
        json!({ "trust": 101 }),
        json!({ "trust": -1 }),
        json!({ "owner": "alice" }),
        json!({ "unheard_of": 1 }),
    ] {
        assert_eq!(put(&mut writer, bad.clone()), 400, "{bad}");
    }
    assert_eq!(
        writer
            .send("DELETE", "/v1/devices/alice-laptop", &[], b"")
            .status,
        204
    );
    assert_eq!(
        writer
            .send("DELETE", "/v1/devices/alice-laptop", &[], b"")
            .status,
        404
    );
    assert_eq!(writer.get("/v1/devices/alice-laptop").status, 404);
}

#[test]
fn metrics_count_what_happened() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    for _ in 0..3 {
        client.ask(&alice_reads());
    }
    let mut unknown = alice_reads();
    unknown["subject"]["id"] = json!("nobody");
    client.ask(&unknown);
    client.post("/access/v1/evaluation", &json!({}));
    let page = eventually("the metrics are there", || {
        let response = engine.client("").get("/metrics");
        (response.status == 200).then(|| String::from_utf8(response.body).unwrap())
    });
    for line in [
        "portreeve_decisions_total{outcome=\"allow\"} 3",
        "portreeve_decisions_total{outcome=\"deny\"} 1",
        "portreeve_denials_total{cause=\"unknown_subject\"} 1",
        "portreeve_http_responses_total{status=\"400\"} 1",
        "portreeve_decide_duration_seconds_count 4",
        "portreeve_risk_score_count 4",
        "portreeve_snapshot_age_seconds 0",
    ] {
        assert!(page.contains(line), "{line} in\n{page}");
    }
    assert!(!page.contains("alice"), "nobody is named");
}
