//! `/access/v1/search/…`, over a real socket.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Client, Engine, Site, alice_reads, eventually, history_of_alice, root, run};

fn start(settings: &str) -> (Site, Engine, Client) {
    let site = Site::with(settings);
    let key = site.key("admin");
    let engine = site.start();
    let client = engine.client(&key);
    (site, engine, client)
}

/// The question that most tests ask, as a search.
fn search(sought: &str) -> Value {
    let mut search = alice_reads();
    match sought {
        "action" => {
            search.as_object_mut().unwrap().remove("action");
        }
        party => {
            search[party].as_object_mut().unwrap().remove("id");
        }
    }
    search
}

fn ask(client: &mut Client, sought: &str, search: &Value) -> Value {
    let response = client.post(&format!("/access/v1/search/{sought}"), search);
    let text = String::from_utf8_lossy(&response.body).into_owned();
    assert_eq!(response.status, 200, "{text}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let answer = response.json();
    assert_eq!(
        answer["page"]["count"],
        answer["results"].as_array().unwrap().len(),
        "{text}"
    );
    assert!(
        text.starts_with("{\"page\":"),
        "the page comes first: {text}"
    );
    answer
}

/// Ids or names of the results.
fn found(answer: &Value) -> Vec<String> {
    let results = answer["results"].as_array().unwrap();
    let name = |result: &Value| {
        let id = result.get("id").or_else(|| result.get("name")).unwrap();
        id.as_str().unwrap().to_owned()
    };
    results.iter().map(name).collect()
}

fn stored(kind: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("policies/entities.json")).unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    let ids = all.iter().filter(|one| one["uid"]["type"] == kind);
    ids.map(|one| one["uid"]["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Those for which the single question, as a dry run, is allowed.
fn one_by_one(client: &mut Client, sought: &str, ids: &[String]) -> BTreeSet<String> {
    let allowed = ids.iter().filter(|id| {
        let mut question = alice_reads();
        question["context"]["dry_run"] = json!(true);
        match sought {
            "action" => question["action"]["name"] = json!(id),
            party => question[party]["id"] = json!(id),
        }
        client.ask(&question)["context"]["outcome"] == "allow"
    });
    allowed.cloned().collect()
}

#[test]
fn a_search_finds_what_single_questions_allow() {
    let (_site, engine, mut client) = start("");
    for (sought, all) in [
        ("resource", stored("Document")),
        ("subject", stored("User")),
        (
            "action",
            [
                "list",
                "read",
                "write",
                "download",
                "share",
                "delete",
                "administer",
                "login",
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
    ] {
        let answer = ask(&mut client, sought, &search(sought));
        let results: BTreeSet<String> = found(&answer).into_iter().collect();
        assert_eq!(results, one_by_one(&mut client, sought, &all), "{sought}");
        assert!(results.len() >= 3 && results.len() < all.len(), "{answer}");
        assert_eq!(answer["page"]["next_token"], "");
        for result in answer["results"].as_array().unwrap() {
            let members: Vec<&String> = result.as_object().unwrap().keys().collect();
            match sought {
                "action" => assert_eq!(members, ["name"]),
                _ => assert_eq!(members, ["type", "id"]),
            }
        }
    }
    drop(engine);
}

#[test]
fn a_search_for_subjects_says_what_it_supposes_and_the_others_do_not() {
    let (_site, engine, mut client) = start("");
    for sought in ["subject", "resource", "action"] {
        let context = &ask(&mut client, sought, &search(sought))["context"];
        assert!(context["search_id"].is_string() && context["policy_revision"].is_string());
        if sought == "subject" {
            assert_eq!(context["assumed"]["risk"], 0, "{context}");
            assert!(context["note"]["en"].as_str().unwrap().contains("risk 0"));
        } else {
            assert!(context.get("assumed").is_none(), "{context}");
        }
    }
    drop(engine);
}

#[test]
fn pages_follow_one_another_and_their_tokens_are_of_one_search() {
    let (site, engine, mut client) = start("");
    let mut all = found(&ask(&mut client, "resource", &search("resource")));
    let mut pages = Vec::new();
    let mut asked = search("resource");
    asked["page"] = json!({ "limit": 2, "properties": { "sort": "any" } });
    let first = ask(&mut client, "resource", &asked)["page"]["next_token"].clone();
    for _ in 0..20 {
        let answer = ask(&mut client, "resource", &asked);
        pages.push(found(&answer));
        asked["page"]["token"] = answer["page"]["next_token"].clone();
        if asked["page"]["token"] == "" {
            break;
        }
    }
    assert!(
        pages.len() > 1 && pages.iter().all(|page| page.len() <= 2),
        "{pages:?}"
    );
    assert_eq!(pages.concat(), all, "in the same order");
    all.sort();
    assert_eq!(pages.concat(), all, "by id");

    let other_key = site.key("gateway");
    let mut other = engine.client(&other_key);
    let with = |change: Value| {
        let mut asked = search("resource");
        asked["page"] = json!({ "token": first });
        for (name, value) in change.as_object().unwrap() {
            asked[name] = value.clone();
        }
        asked
    };
    assert_eq!(
        client
            .post("/access/v1/search/resource", &with(json!({})))
            .status,
        200
    );
    let refused = |client: &mut Client, path: &str, asked: &Value| {
        let response = client.post(path, asked);
        assert_eq!(response.status, 400, "{asked}");
        let detail = response.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("begin without it"), "{detail}");
    };
    for change in [
        json!({ "subject": { "type": "User", "id": "bob" } }),
        json!({ "action": { "name": "write" } }),
        json!({ "context": {} }),
        json!({ "page": { "token": "0000" } }),
        json!({ "page": { "token": format!("{}0", first.as_str().unwrap()) } }),
    ] {
        refused(&mut client, "/access/v1/search/resource", &with(change));
    }
    refused(
        &mut client,
        "/access/v1/search/subject",
        &with(json!({ "resource": { "type": "Document", "id": "handbook" } })),
    );
    refused(&mut other, "/access/v1/search/resource", &with(json!({})));
    drop(engine);
}

#[test]
fn a_token_of_before_a_reload_that_changed_something_is_400() {
    let folder = tempfile::tempdir().unwrap();
    let entities = folder.path().join("entities.json");
    std::fs::copy(root().join("policies/entities.json"), &entities).unwrap();
    let (_site, engine, mut client) = start(&format!("[policies]\nentities = {entities:?}"));
    let mut asked = search("resource");
    asked["page"] = json!({ "limit": 1 });
    let first = ask(&mut client, "resource", &asked);
    asked["page"]["token"] = first["page"]["next_token"].clone();
    let again = |client: &mut Client| client.post("/access/v1/search/resource", &asked);
    assert_eq!(again(&mut client).status, 200, "as often as it is asked");

    let text = std::fs::read_to_string(&entities).unwrap();
    std::fs::write(&entities, text.replace("\"mallory\"", "\"malory\"")).unwrap();
    engine.signal("HUP");
    let response = eventually("the entities are reloaded", || {
        let response = again(&mut client);
        (response.status != 200).then_some(response)
    });
    assert_eq!(response.status, 400);
    let detail = response.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("have changed") && detail.contains("begin again"),
        "{detail}"
    );
    drop(engine);
}

#[test]
fn limits_are_held_and_a_page_that_cost_enough_goes_on_with_the_next() {
    let (_site, engine, mut client) = start("[limits]\nsearch_results = 3\nsearch_evaluations = 1");
    let mut asked = search("resource");
    asked["page"] = json!({ "limit": 1_000_000 });
    let (mut results, mut pages) = (Vec::new(), 0);
    loop {
        let answer = ask(&mut client, "resource", &asked);
        assert!(
            answer["context"]["evaluated"].as_u64().unwrap() <= 2,
            "{answer}"
        );
        results.extend(found(&answer));
        pages += 1;
        asked["page"]["token"] = answer["page"]["next_token"].clone();
        if asked["page"]["token"] == "" {
            break;
        }
    }
    assert!(pages >= 3, "{pages}");
    let wanted = one_by_one(&mut client, "resource", &stored("Document"));
    assert_eq!(results.into_iter().collect::<BTreeSet<_>>(), wanted);

    asked["page"] = json!({ "limit": 0 });
    let none = ask(&mut client, "resource", &asked);
    assert!(found(&none).is_empty());
    assert_ne!(none["page"]["next_token"], "", "there may be more");
    drop(engine);
}

#[test]
fn what_nobody_knows_is_found_nowhere_and_what_is_malformed_is_400() {
    let (_site, engine, mut client) = start("");
    let changed = |sought: &str, change: &Value| {
        let mut asked = search(sought);
        for (name, value) in change.as_object().unwrap() {
            asked[name] = value.clone();
        }
        asked
    };
    for (sought, change) in [
        (
            "resource",
            json!({ "subject": { "type": "User", "id": "nobody" } }),
        ),
        (
            "resource",
            json!({ "subject": { "type": "Stranger", "id": "alice" } }),
        ),
        ("resource", json!({ "resource": { "type": "Nothing" } })),
        ("resource", json!({ "resource": { "type": "not a type!" } })),
        ("resource", json!({ "resource": { "type": "Group" } })),
        ("resource", json!({ "action": { "name": "fly" } })),
        (
            "subject",
            json!({ "resource": { "type": "Document", "id": "no-such" } }),
        ),
        ("subject", json!({ "subject": { "type": "Document" } })),
        ("subject", json!({ "action": { "name": "fly" } })),
        (
            "action",
            json!({ "subject": { "type": "User", "id": "nobody" } }),
        ),
        (
            "action",
            json!({ "resource": { "type": "Nothing", "id": "x" } }),
        ),
    ] {
        let answer = ask(&mut client, sought, &changed(sought, &change));
        assert!(found(&answer).is_empty(), "{sought} {change}: {answer}");
        assert_eq!(answer["page"]["next_token"], "");
    }
    for (sought, change, named) in [
        ("resource", json!({ "subject": null }), "subject"),
        ("resource", json!({ "subject": { "type": "User" } }), "id"),
        ("resource", json!({ "resource": null }), "resource"),
        ("resource", json!({ "resource": { "id": "x" } }), "type"),
        ("resource", json!({ "action": null }), "action"),
        ("subject", json!({ "subject": null }), "subject"),
        (
            "subject",
            json!({ "resource": { "type": "Document" } }),
            "id",
        ),
        (
            "action",
            json!({ "resource": { "type": "Document" } }),
            "id",
        ),
        ("action", json!({ "subject": "alice" }), "subject"),
        ("action", json!({ "context": [] }), "context"),
        (
            "resource",
            json!({ "resource": { "type": "Doc\u{200b}ument" } }),
            "resource.type",
        ),
        (
            "resource",
            json!({ "resource": { "type": 7 } }),
            "resource.type",
        ),
        ("resource", json!({ "page": 7 }), "page"),
        ("resource", json!({ "page": { "limit": -1 } }), "page.limit"),
        (
            "resource",
            json!({ "page": { "limit": "many" } }),
            "page.limit",
        ),
        ("resource", json!({ "page": { "token": 7 } }), "page.token"),
        (
            "resource",
            json!({ "page": { "properties": [] } }),
            "page.properties",
        ),
    ] {
        let asked = changed(sought, &change);
        let response = client.post(&format!("/access/v1/search/{sought}"), &asked);
        assert_eq!(response.status, 400, "{sought} {change}");
        let detail = response.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(named), "{change}: {detail}");
    }
    // An id of what is sought means nothing, and neither does an action where actions are sought.
    for (sought, change) in [
        (
            "resource",
            json!({ "resource": { "type": "Document", "id": "payroll" } }),
        ),
        (
            "resource",
            json!({ "resource": { "type": "Document", "id": { "no": "id" } } }),
        ),
        ("action", json!({ "action": 7, "unheard": true })),
    ] {
        let plain = ask(&mut client, sought, &search(sought));
        let other = ask(&mut client, sought, &changed(sought, &change));
        assert_eq!(other["results"], plain["results"], "{change}");
    }
    for (kind, body) in [
        ("text/plain", "{}"),
        ("application/json", ""),
        ("application/json", "[]"),
    ] {
        let headers = [("Content-Type", kind)];
        let path = "/access/v1/search/subject";
        assert_eq!(
            client.send("POST", path, &headers, body.as_bytes()).status,
            400
        );
    }
    drop(engine);
}

#[test]
fn roles_that_may_not_ask_may_not_search() {
    let (site, engine, _) = start("");
    let asked = search("subject");
    let path = "/access/v1/search/subject";
    for (role, status) in [
        ("gateway", 200),
        ("author", 200),
        ("keeper", 200),
        ("operator", 403),
    ] {
        let key = site.key(role);
        assert_eq!(
            engine.client(&key).post(path, &asked).status,
            status,
            "{role}"
        );
    }
    assert_eq!(engine.client("").post(path, &asked).status, 401);
    assert_eq!(engine.client("").get(path).status, 405);
    drop(engine);
}

#[test]
fn a_search_is_recorded_once_and_leaves_no_other_trace() {
    let (site, engine, mut client) = start("");
    assert_eq!(history_of_alice(&mut client), (Some(0), Some(1)));
    let mut asked = search("resource");
    asked["context"]["token"] = json!({ "audience": "https://wiki.example" });
    asked["context"]["session_id"] = json!("s-1");
    for sought in ["resource", "subject", "action"] {
        let mut asked = search(sought);
        asked["context"]["session_id"] = json!("s-1");
        let answer = ask(&mut client, sought, &asked);
        assert!(
            answer["context"].get("token").is_none() && answer["context"].get("session").is_none()
        );
    }
    assert_eq!(
        history_of_alice(&mut client),
        (Some(0), Some(1)),
        "nothing was counted or learnt"
    );
    engine.stop();

    let journal = site.data().join("journal");
    let mut records = Vec::new();
    for file in std::fs::read_dir(journal).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap_or_default();
        let lines = text
            .lines()
            .filter(|line| line.contains("\"kind\":\"search\""));
        records.extend(
            lines.map(|line| {
                serde_json::from_str::<Value>(&line[line.find('{').unwrap()..]).unwrap()
            }),
        );
    }
    assert_eq!(records.len(), 3, "{records:?}");
    let record = &records[0];
    assert_eq!(record["sought"], "resource");
    assert!(
        record["request"]["resource"].get("id").is_none(),
        "{record}"
    );
    assert_eq!(record["request"]["subject"]["id"], "alice");
    assert_eq!(record["page"]["from"], 0);
    assert_eq!(record["page"]["limit"], 1000);
    assert_eq!(record["page"]["complete"], true);
    assert!(record["page"]["count"].as_u64().unwrap() >= 3);
    for revision in ["policies", "entities", "model", "settings"] {
        assert!(record["revisions"][revision].is_string(), "{record}");
    }
    let shown = run(site.command().args(["audit", "tail"]));
    assert!(shown.out.contains("search for subjects"), "{}", shown.out);
}
