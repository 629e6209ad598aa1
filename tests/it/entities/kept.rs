//! What is kept: many at once, on record, over a kill.

use super::*;

#[test]
fn many_are_loaded_whole_or_not_at_all_and_paged() {
    let site = Site::with("[limits]\nupload_bytes = 200000\nentities = 1100");
    let key = site.key("author");
    let engine = site.start();
    let mut client = engine.client(&key);
    let mut lines = String::new();
    for number in 0..1000 {
        let line = json!({
            "uid": { "type": "User", "id": format!("u{number:04}") },
            "attrs": { "department": "sales" },
            "parents": [{ "type": "Group", "id": format!("g{}", number % 10) }],
        });
        writeln!(lines, "{line}").unwrap();
    }
    for number in 0..10 {
        let parents = json!([{ "type": "Group", "id": "staff" }]);
        let uid = json!({ "type": "Group", "id": format!("g{number}") });
        writeln!(lines, "{}", json!({ "uid": uid, "parents": parents })).unwrap();
    }
    let broken = lines.replacen("\"department\":\"sales\"", "\"department\":7", 1);
    let refused = load(&mut client, &format!("\n{broken}"));
    assert_eq!(refused.status, 422);
    let problem = refused.json();
    assert_eq!(problem["errors"][0]["line"], 2, "{problem}");
    assert_eq!(client.get("/v1/entities/User/u0999").status, 404);
    for (body, told) in [
        ("", "empty"),
        ("{}", "line 1"),
        (
            "{\"uid\":{\"type\":\"User\",\"id\":\"x\"}}\n{\"uid\":{\"type\":\"User\",\"id\":\"x\"}}",
            "line 2",
        ),
        ("[1]", "line 1"),
    ] {
        let refused = load(&mut client, body);
        assert_eq!(refused.status, 400, "{body}");
        let detail = refused.json()["detail"].to_string();
        assert!(detail.contains(told), "{detail}");
    }
    let done = load(&mut client, &lines);
    assert_eq!(done.status, 200, "{}", done.json());
    assert_eq!(done.json()["changed"], 1010);
    assert_ne!(
        settled(&mut client, "u0999", "handbook")["cause"],
        "nothing_permits"
    );
    assert_eq!(load(&mut client, &lines).json()["changed"], 0);
    let announced = [("Content-Length", "200001")];
    // The engine closes a connection whose body it does not read.
    let refused = engine
        .client(&key)
        .send("POST", "/v1/entities", &announced, b"");
    assert_eq!(refused.status, 413);
    let more: String = (0..100)
        .map(|number| format!("{{\"uid\":{{\"type\":\"User\",\"id\":\"v{number}\"}}}}\n"))
        .collect();
    let refused = load(&mut client, &more);
    assert_eq!(refused.status, 422);
    assert!(
        refused.json()["detail"]
            .to_string()
            .contains("limits.entities")
    );

    let mut seen: Vec<String> = Vec::new();
    let mut after = String::new();
    loop {
        let page = client
            .get(&format!("/v1/entities?type=User&limit=300{after}"))
            .json();
        let page_of = page["entities"].as_array().unwrap();
        seen.extend(
            page_of
                .iter()
                .map(|one| one["uid"]["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 1008);
    assert!(seen.is_sorted() && seen.contains(&"alice".to_owned()));
}

#[test]
fn changes_are_on_record_and_their_number_is_in_the_records_of_decisions() {
    let site = Site::new();
    let engine = site.start();
    let key = site.key("author");
    let mut client = engine.client(&key);
    let path = "/v1/entities/User/zoe?why=a%20new%20hire";
    assert_eq!(put(&mut client, path, &member("finance")).status, 201);
    assert_eq!(delete(&mut client, "/v1/entities/User/zoe").status, 200);
    let id = settled(&mut client, "alice", "handbook")["decision_id"].clone();
    let ran = run(site.command().args(["audit", "tail", "-n", "10", "--json"]));
    let records: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let changes: Vec<&Value> = records
        .iter()
        .filter(|record| record["kind"] == "entities")
        .collect();
    assert_eq!(changes.len(), 2, "{}", ran.out);
    assert_eq!(changes[0]["why"], "a new hire");
    let key_id = key.split('.').next().unwrap();
    assert_eq!(changes[0]["caller"], key_id);
    assert_eq!(
        changes[1]["entities"],
        json!([{ "type": "User", "id": "zoe", "act": "deleted" }])
    );
    assert_eq!(
        (&changes[0]["first"], &changes[1]["first"]),
        (&json!(1), &json!(2))
    );
    let decision = records.iter().find(|record| record["decision_id"] == id);
    let revision = decision.unwrap()["revisions"]["entities"].as_str().unwrap();
    assert!(revision.ends_with("+2"), "{revision}");
}

#[test]
fn kill_9_right_after_the_answer_loses_no_entity() {
    let site = Site::new();
    let key = site.key("author");
    for round in 0..3 {
        let mut engine = site.start();
        let mut client = engine.client(&key);
        for before in 0..round {
            let path = format!("/v1/entities/User/u{before}");
            assert_eq!(client.get(&path).json()["source"], "api");
        }
        let path = format!("/v1/entities/User/u{round}");
        assert_eq!(put(&mut client, &path, &member("sales")).status, 201);
        engine.signal("KILL");
        engine.wait();
    }
    let engine = site.start();
    let mut client = engine.client(&key);
    for id in ["u0", "u1", "u2"] {
        assert_ne!(
            settled(&mut client, id, "handbook")["cause"],
            "unknown_subject",
            "{id}"
        );
    }
    let ran = run(site.command().args(["audit", "verify", "--json"]));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let ran = run(site
        .command()
        .args(["audit", "tail", "-n", "100", "--json"]));
    let of = |number: u64| format!("\"first\":{number},");
    for number in 1..=3 {
        assert!(ran.out.contains(&of(number)), "{number}: {}", ran.out);
    }
}
