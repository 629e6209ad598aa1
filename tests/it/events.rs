//! What is told after the fact: observed events, and a person's word on a decision.

use serde_json::{Value, json};

use crate::harness::{Client, Engine, Site, alice_reads, eventually, now};

/// One line: something that happened to alice just now.
fn fact(action: &str, result: &str, number: u32) -> Value {
    json!({
        "time": now(),
        "subject": { "type": "User", "id": "alice" },
        "action": { "name": action },
        "resource": { "type": "Application", "id": "mail" },
        "context": { "ip": "192.0.2.7", "number": number },
        "result": result,
    })
}

fn report(client: &mut Client, lines: &[Value]) -> (u16, Value) {
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    let response = client.send("POST", "/v1/events", &[], text.join("\n").as_bytes());
    (response.status, response.json())
}

fn score(client: &mut Client) -> i64 {
    client.ask(&alice_reads())["context"]["risk"]["score"]
        .as_i64()
        .unwrap()
}

fn started(site: &Site, role: &str) -> (Engine, Client) {
    let key = site.key(role);
    let engine = site.start();
    let client = engine.client(&key);
    (engine, client)
}

#[test]
fn failures_seen_elsewhere_raise_the_score_and_count_once() {
    let site = Site::new();
    let (_engine, mut client) = started(&site, "gateway");
    let before = score(&mut client);
    let failures: Vec<Value> = (0..6).map(|n| fact("login", "failure", n)).collect();
    let (status, answer) = report(&mut client, &failures);
    assert_eq!((status, &answer["taken"]), (200, &json!(6)), "{answer}");
    let answer = client.ask(&alice_reads());
    let rules = answer["context"]["risk"]["rules"].to_string();
    assert!(rules.contains("failures"), "{answer}");
    let after = answer["context"]["risk"]["score"].as_i64().unwrap();
    assert!(after > before, "{before} to {after}");
    // Delivered again, as feeds do.
    assert_eq!(report(&mut client, &failures).0, 200);
    let again = score(&mut client);
    assert!((again - after).abs() <= 2, "{after} to {again}");
}

/// The subject's failures of the last quarter of an hour, as the record of a new question has it.
fn recent_failures(client: &mut Client) -> i64 {
    let mut question = alice_reads();
    question["context"]["dry_run"] = json!(true);
    let answer = client.ask(&question);
    let id = answer["context"]["decision_id"].as_str().unwrap();
    let record = eventually("the decision is drained", || {
        let response = client.get(&format!("/v1/decisions/{id}"));
        (response.status == 200).then(|| response.json())
    });
    let failures = &record["facts"]["signals"]["recent_failures"];
    failures.as_i64().unwrap_or_else(|| panic!("{record}"))
}

#[test]
fn a_large_batch_of_facts_that_comes_again_counts_once() {
    let site = Site::new();
    let (_engine, mut client) = started(&site, "admin");
    let failures: Vec<Value> = (0..40).map(|n| fact("login", "failure", n)).collect();
    let (status, answer) = report(&mut client, &failures);
    assert_eq!((status, &answer["taken"]), (200, &json!(40)), "{answer}");
    let once = recent_failures(&mut client);
    assert!((38..=40).contains(&once), "{once}");
    let (status, answer) = report(&mut client, &failures);
    assert_eq!((status, &answer["taken"]), (200, &json!(40)), "{answer}");
    assert!(recent_failures(&mut client) <= once);
    // One line twice in one body is one fact as well.
    let one = fact("login", "failure", 99);
    assert_eq!(report(&mut client, &[one.clone(), one]).0, 200);
    assert!(recent_failures(&mut client) <= once + 1);
}

#[test]
fn mfa_passed_elsewhere_lifts_its_session() {
    let site = Site::new();
    let (_engine, mut client) = started(&site, "gateway");
    let mut question = alice_reads();
    question["subject"]["id"] = json!("dave");
    question["action"]["name"] = json!("administer");
    question["context"]["session_id"] = json!("cookie-9");
    assert_eq!(client.ask(&question)["context"]["outcome"], "mfa");
    let mut passed = fact("mfa", "success", 0);
    passed["subject"]["id"] = json!("dave");
    passed["context"]["session_id"] = json!("cookie-9");
    let mut denied = passed.clone();
    denied["result"] = json!("failure");
    assert_eq!(report(&mut client, &[denied]).0, 200);
    assert_eq!(client.ask(&question)["context"]["outcome"], "mfa");
    assert_eq!(report(&mut client, &[passed]).0, 200);
    assert_eq!(client.ask(&question)["context"]["outcome"], "allow");
}

#[test]
fn what_cannot_be_taken_in_is_named_with_its_line() {
    let site = Site::new();
    let (_engine, mut client) = started(&site, "gateway");
    let with = |path: &str, value: Value| {
        let mut event = fact("login", "failure", 1);
        *event.pointer_mut(path).unwrap() = value;
        event
    };
    let lines = [
        fact("login", "failure", 0),
        with("/subject/id", json!("nobody")),
        {
            // That a name that does not exist was tried counts for where it came from; that it
            // got in cannot be.
            let mut event = with("/subject/id", json!("nobody"));
            event["result"] = json!("success");
            event
        },
        with("/action/name", json!("read")),
        with("/result", json!("perhaps")),
        with("/time", json!("2099-01-01T00:00:00Z")),
        with("/time", json!("2020-01-01T00:00:00Z")),
        json!([1]),
    ];
    let (status, answer) = report(&mut client, &lines);
    assert_eq!((status, &answer["taken"]), (200, &json!(2)), "{answer}");
    let named: Vec<i64> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rejected| rejected["line"].as_i64().unwrap())
        .collect();
    assert_eq!(named, [3, 4, 5, 6, 7, 8], "{answer}");
    let (status, answer) = report(&mut client, &lines[2..3]);
    assert_eq!(status, 400, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("line 1"));
    assert_eq!(report(&mut client, &[]).0, 400);
    let keeper = site.key("keeper");
    let mut keeper = _engine.client(&keeper);
    let history = [with("/time", json!("2020-01-01T00:00:00Z"))];
    assert_eq!(report(&mut keeper, &history).0, 200, "may replay");
}

#[test]
fn a_word_on_a_decision_counts_once() {
    let site = Site::new();
    let (_engine, mut client) = started(&site, "admin");
    let answer = client.ask(&alice_reads());
    let id = answer["context"]["decision_id"].as_str().unwrap();
    let path = format!("/v1/decisions/{id}/feedback");
    let not_me = json!({ "legitimate": false });
    eventually("the decision is drained", || {
        (client.post(&path, &not_me).status == 200).then_some(())
    });
    let once = recent_failures(&mut client);
    assert_eq!(once, 1);
    // Told again, then taken back, then not: on record, and never counted a second time.
    for legitimate in [false, true, true, false, true, false] {
        let answer = client.post(&path, &json!({ "legitimate": legitimate }));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["learnt"], false);
    }
    assert!(recent_failures(&mut client) <= once);
}

#[test]
fn a_persons_word_is_learnt_or_held_against_the_account() {
    let site = Site::new();
    let (engine, mut client) = started(&site, "gateway");
    let mut question = alice_reads();
    question["subject"]["id"] = json!("dave");
    question["action"]["name"] = json!("administer");
    let ask = |client: &mut Client| {
        let answer = client.ask(&question);
        assert_eq!(answer["context"]["outcome"], "mfa");
        answer["context"]["decision_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mine = ask(&mut client);
    let say = |client: &mut Client, id: &str, legitimate: bool| {
        let path = format!("/v1/decisions/{id}/feedback");
        eventually("the decision is drained", || {
            let response = client.post(&path, &json!({ "legitimate": legitimate }));
            (response.status == 200).then(|| response.json())
        })
    };
    assert_eq!(say(&mut client, &mine, true)["learnt"], true);
    assert_eq!(say(&mut client, &mine, true)["learnt"], true, "said before");
    let other = ask(&mut client);
    assert_eq!(say(&mut client, &other, false)["learnt"], false);
    assert_eq!(
        say(&mut client, &other, true)["learnt"],
        false,
        "it waits no more"
    );
    assert_eq!(
        client
            .post(
                "/v1/decisions/no-such/feedback",
                &json!({ "legitimate": true })
            )
            .status,
        404
    );
    let path = format!("/v1/decisions/{mine}/feedback");
    assert_eq!(
        client.post(&path, &json!({ "legitimate": "yes" })).status,
        400
    );
    drop(client);
    engine.stop();
    let ran = crate::harness::run(site.command().args(["audit", "tail", "-n", "20"]));
    let told = ran.out.lines().filter(|line| line.contains("feedback"));
    assert_eq!(
        told.count(),
        3,
        "what changed nothing is not recorded: {ran:?}"
    );
    let ran = crate::harness::run(site.command().args(["audit", "verify"]));
    assert_eq!(ran.status, Some(0), "{ran:?}");
}
