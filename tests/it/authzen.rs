//! AuthZEN Authorization API 1.0, over a real socket.

use serde_json::{Value, json};

use crate::harness::{Client, Engine, Site, alice_reads, history_of_alice, now};

fn start() -> (Site, Engine, Client) {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let client = engine.client(&key);
    (site, engine, client)
}

#[test]
fn an_answer_carries_all_that_product_promises() {
    let (_site, engine, mut client) = start();
    let answer = client.ask(&alice_reads());
    assert_eq!(answer["decision"], true);
    let context = &answer["context"];
    assert_eq!(context["outcome"], "allow");
    let id = context["decision_id"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    let risk = &context["risk"];
    for part in ["score", "model_score", "rule_score"] {
        assert!((0..=100).contains(&risk[part].as_i64().unwrap()), "{risk}");
    }
    assert_eq!(risk["level"], "LOW");
    assert_eq!(risk["model"], "behaviour@1");
    let told: i64 = risk["factors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|factor| factor["contribution"].as_i64().unwrap())
        .sum();
    let rest = risk["baseline"].as_i64().unwrap() + risk["other"].as_i64().unwrap();
    assert_eq!(
        told + rest,
        risk["score"].as_i64().unwrap(),
        "R16: it adds up"
    );
    assert_eq!(context["policies"], json!(["staff-read-and-write"]));
    assert_eq!(context["reason_user"]["en"], "You are a member of staff.");
    assert!(
        context["reason_admin"]["en"]
            .as_str()
            .unwrap()
            .contains("staff-read-and-write")
    );
    assert!(context.get("max_age").is_none() && context.get("acr_values").is_none());
    assert!(context["policy_revision"].is_string());
    drop(engine);
}

#[test]
fn a_step_up_says_what_to_ask_for() {
    let (_site, engine, mut client) = start();
    let mut question = alice_reads();
    question["subject"]["id"] = json!("dave");
    question["action"]["name"] = json!("administer");
    let answer = client.ask(&question);
    assert_eq!(answer["decision"], false, "only allow is true");
    assert_eq!(answer["context"]["outcome"], "mfa");
    assert_eq!(answer["context"]["max_age"], 0, "RFC 9470");
    assert_eq!(answer["context"]["acr_values"], "urn:portreeve:acr:mfa");
    let at = now();
    question["context"]["assurance"] = json!({ "acr": "urn:portreeve:acr:mfa", "auth_time": at });
    assert_eq!(client.ask(&question)["context"]["outcome"], "allow");
    drop(engine);
}

#[test]
fn a_deny_is_an_answer() {
    let (_site, engine, mut client) = start();
    let mut question = alice_reads();
    question["subject"]["id"] = json!("nobody");
    let response = client.post("/access/v1/evaluation", &question);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let answer = response.json();
    assert_eq!(answer["decision"], false);
    assert_eq!(answer["context"]["cause"], "unknown_subject");
    drop(engine);
}

#[test]
fn unknown_members_and_their_order_mean_nothing() {
    let (_site, engine, mut client) = start();
    let text = r#"{"zebra":[1,{"a":null}],"resource":{"colour":"red","id":"handbook","type":"Document"},
        "context":{"ip":"10.10.4.7","unheard":{"of":[true]},"nothing":null},
        "action":{"extra":1,"name":"read"},"subject":{"id":"alice","type":"User","properties":{"shoe_size":43}}}"#;
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    let response = client.send("POST", "/access/v1/evaluation", &headers, text.as_bytes());
    assert_eq!(
        (response.status, &response.json()["decision"]),
        (200, &json!(true))
    );
    drop(engine);
}

#[test]
fn the_request_id_comes_back_unchanged_whatever_happens() {
    let (_site, engine, mut client) = start();
    let good = alice_reads().to_string();
    for (method, path, body, wanted) in [
        ("POST", "/access/v1/evaluation", good.as_str(), 200),
        ("POST", "/access/v1/evaluation", "{", 400),
        ("GET", "/access/v1/evaluation", "", 405),
        ("GET", "/nowhere", "", 404),
    ] {
        let headers = [
            ("Content-Type", "application/json"),
            ("X-Request-ID", "Trace/42 äö"),
        ];
        let response = client.send(method, path, &headers, body.as_bytes());
        assert_eq!(response.status, wanted, "{method} {path}");
        assert_eq!(
            response.header("x-request-id"),
            Some("Trace/42 äö"),
            "{method} {path}"
        );
    }
    let response = client.post("/access/v1/evaluation", &alice_reads());
    assert!(
        response.header("x-request-id").is_some(),
        "made when there is none"
    );
    drop(engine);
}

#[test]
fn what_is_missing_or_of_the_wrong_type_is_400_and_named() {
    let (_site, engine, mut client) = start();
    for (change, named) in [
        (json!({ "subject": null }), "subject"),
        (json!({ "action": null }), "action"),
        (json!({ "resource": null }), "resource"),
        (json!({ "subject": { "type": "User" } }), "id"),
        (json!({ "subject": { "id": "alice" } }), "type"),
        (json!({ "action": {} }), "name"),
        (json!({ "subject": "alice" }), "subject"),
        (
            json!({ "subject": { "type": "User", "id": 7 } }),
            "subject.id",
        ),
        (
            json!({ "subject": { "type": "User", "id": "a", "properties": [] } }),
            "subject.properties",
        ),
        (json!({ "action": { "name": ["read"] } }), "action.name"),
        (json!({ "context": "none" }), "context"),
        (json!({ "context": { "ip": 7 } }), "context.ip"),
        (
            json!({ "context": { "device": "laptop" } }),
            "context.device",
        ),
        (
            json!({ "context": { "device": { "managed": "yes" } } }),
            "context.device.managed",
        ),
        (
            json!({ "context": { "assurance": { "level": 9 } } }),
            "context.assurance.level",
        ),
        (
            json!({ "context": { "token": { "scope": "read" } } }),
            "context.token.audience",
        ),
        (
            json!({ "context": { "dry_run": "yes" } }),
            "context.dry_run",
        ),
    ] {
        let mut question = alice_reads();
        for (name, value) in change.as_object().unwrap() {
            question[name] = value.clone();
        }
        let response = client.post("/access/v1/evaluation", &question);
        assert_eq!(response.status, 400, "{change}");
        assert_eq!(
            response.header("content-type"),
            Some("application/problem+json")
        );
        let detail = response.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(named), "{change}: {detail}");
    }
    drop(engine);
}

#[test]
fn a_body_that_is_no_json_object_is_400() {
    let (_site, engine, mut client) = start();
    for (kind, body) in [
        (Some("application/json"), ""),
        (Some("application/json"), "null"),
        (Some("application/json"), "[]"),
        (Some("application/json"), "\"x\""),
        (Some("application/json"), "{\"subject\":"),
        (Some("application/json"), "{} {}"),
        (Some("text/plain"), "{}"),
        (Some("application/x-www-form-urlencoded"), "a=b"),
        (None, "{}"),
    ] {
        for path in ["/access/v1/evaluation", "/access/v1/evaluations"] {
            let headers: Vec<(&str, &str)> =
                kind.iter().map(|kind| ("Content-Type", *kind)).collect();
            let response = client.send("POST", path, &headers, body.as_bytes());
            assert_eq!(response.status, 400, "{path} {kind:?} {body}");
        }
    }
    drop(engine);
}

fn batch(items: &[Value], semantic: Option<&str>) -> Value {
    let mut batch = alice_reads();
    batch["evaluations"] = json!(items);
    if let Some(semantic) = semantic {
        batch["options"] = json!({ "evaluations_semantic": semantic, "unknown": 1 });
    }
    batch
}

fn decisions(answer: &Value) -> Vec<bool> {
    let items = answer["evaluations"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["decision"].as_bool().unwrap())
        .collect()
}

#[test]
fn batches_take_defaults_keep_their_order_and_stop_where_they_are_told_to() {
    let (_site, engine, mut client) = start();
    let document = |id: &str| json!({ "resource": { "type": "Document", "id": id } });
    let items = [
        document("handbook"),
        document("no-such"),
        json!({}),
        document("payroll"),
        json!({}),
    ];
    let mut ask = |semantic: Option<&str>| {
        let response = client.post("/access/v1/evaluations", &batch(&items, semantic));
        assert_eq!(
            response.status,
            200,
            "{}",
            String::from_utf8_lossy(&response.body)
        );
        response.json()
    };
    let all = ask(None);
    assert_eq!(decisions(&all), [true, false, true, true, true]);
    assert!(
        all.get("decision").is_none(),
        "no decision beside the evaluations"
    );
    assert_eq!(
        decisions(&ask(Some("execute_all"))),
        [true, false, true, true, true]
    );
    assert_eq!(decisions(&ask(Some("deny_on_first_deny"))), [true, false]);
    assert_eq!(decisions(&ask(Some("permit_on_first_permit"))), [true]);
    drop(engine);
}

#[test]
fn an_invalid_item_fails_alone() {
    let (_site, engine, mut client) = start();
    let items = [
        json!({}),
        json!({ "resource": { "type": "Document" } }),
        json!({ "subject": { "type": "User", "id": "ali\u{200b}ce" } }),
        json!(7),
        json!({ "context": { "ip": "999.1.1.1" } }),
        json!({}),
    ];
    let answer = client
        .post("/access/v1/evaluations", &batch(&items, None))
        .json();
    assert_eq!(decisions(&answer), [true, false, false, false, false, true]);
    for position in 1..5 {
        let error = &answer["evaluations"][position]["context"]["error"];
        assert_eq!(error["status"], 400, "{answer}");
        assert!(error["message"].as_str().unwrap().len() > 5);
    }
    // A replaced member is not merged with the default.
    let whole = json!({ "subject": { "type": "User", "id": "bob" } });
    let answer = client
        .post("/access/v1/evaluations", &batch(&[whole], None))
        .json();
    assert_eq!(decisions(&answer), [true]);
    drop(engine);
}

#[test]
fn a_batch_without_items_is_a_single_question() {
    let (_site, engine, mut client) = start();
    for question in [alice_reads(), batch(&[], None)] {
        let answer = client.post("/access/v1/evaluations", &question).json();
        assert_eq!(answer["decision"], true);
        assert!(answer.get("evaluations").is_none());
    }
    for (question, why) in [
        (json!({ "evaluations": "many" }), "of the wrong type"),
        (batch(&[json!({})], Some("whenever")), "an unknown semantic"),
        (
            json!({ "subject": 7, "evaluations": [{}] }),
            "a default of the wrong type",
        ),
    ] {
        assert_eq!(
            client.post("/access/v1/evaluations", &question).status,
            400,
            "{why}"
        );
    }
    drop(engine);
}

#[test]
fn metadata_says_what_is_there_and_nothing_else() {
    let (_site, engine, _) = start();
    let response = engine.client("").get("/.well-known/authzen-configuration");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert!(
        response
            .header("cache-control")
            .unwrap()
            .contains("max-age")
    );
    let metadata = response.json();
    let url = format!("http://{}", engine.address);
    assert_eq!(metadata["policy_decision_point"], url);
    assert_eq!(
        metadata["access_evaluation_endpoint"],
        format!("{url}/access/v1/evaluation")
    );
    assert_eq!(
        metadata["access_evaluations_endpoint"],
        format!("{url}/access/v1/evaluations")
    );
    for sought in ["subject", "resource", "action"] {
        assert_eq!(
            metadata[format!("search_{sought}_endpoint")],
            format!("{url}/access/v1/search/{sought}")
        );
    }
    assert_eq!(metadata.as_object().unwrap().len(), 6, "{metadata}");
    for unbuilt in ["/docs", "/console"] {
        assert_eq!(engine.client("").get(unbuilt).status, 404, "{unbuilt}");
    }
}

#[test]
fn batches_and_dry_runs_leave_no_trace_but_their_record() {
    let site = Site::new();
    let key = site.key("admin");
    let engine = site.start();
    let mut client = engine.client(&key);
    assert_eq!(history_of_alice(&mut client), (Some(0), Some(1)));
    let answer = client
        .post("/access/v1/evaluations", &batch(&vec![json!({}); 30], None))
        .json();
    assert_eq!(decisions(&answer).len(), 30);
    assert_eq!(
        history_of_alice(&mut client),
        (Some(0), Some(1)),
        "thirty items taught nothing"
    );
    client.ask(&alice_reads());
    assert_eq!(
        history_of_alice(&mut client),
        (Some(1), Some(2)),
        "one access did"
    );
}
