//! Going live: what is published or lies in the folder decides, whole or not at all; what is in
//! the shadow is counted and never heard.

mod folder;
mod shadow;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Client, Engine, Response, Site, alice_reads, eventually, run};
use crate::reload::own_policies;

/// A set that lets everybody in, denies everybody, or asks everybody for a second factor.
fn set(rule: &str) -> Value {
    let schema = "entity User; entity Document; type Assurance = { mfa_age_seconds?: Long }; \
                  action read appliesTo { principal: [User], resource: [Document], \
                  context: { assurance: Assurance } };";
    let policies = match rule {
        "allow" => "@id(\"open\") permit (principal, action, resource);",
        "deny" => {
            "@id(\"open\") permit (principal, action, resource);\n\
             @id(\"closed\") forbid (principal, action, resource);"
        }
        _ => {
            "@id(\"open\") permit (principal, action, resource);\n\
             @id(\"second\") forbid (principal, action, resource) unless { \
             context.assurance has mfa_age_seconds && context.assurance.mfa_age_seconds <= 600 };"
        }
    };
    json!({ "own.cedarschema": schema, "own.cedar": policies })
}

fn body(files: &Value, why: &str) -> Value {
    json!({ "files": files, "why": why })
}

fn send(client: &mut Client, method: &str, path: &str, body: &Value) -> Response {
    let headers = [("Content-Type", "application/json")];
    client.send(method, path, &headers, body.to_string().as_bytes())
}

fn publish(client: &mut Client, rule: &str) -> String {
    let done = send(client, "PUT", "/v1/policies", &body(&set(rule), "a test"));
    assert_eq!(done.status, 200, "{}", done.json());
    done.json()["revision"].as_str().unwrap().to_owned()
}

fn because(client: &mut Client, method: &str, path: &str) -> Response {
    send(client, method, path, &json!({ "why": "a test" }))
}

fn outcome(client: &mut Client) -> String {
    client.ask(&alice_reads())["context"]["outcome"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A site with the demo's policies, and no entities to hold others against.
fn site() -> (Site, std::path::PathBuf) {
    let site = Site::new();
    let policies = own_policies(&site);
    fs::remove_file(policies.join("entities.json")).unwrap();
    for entry in fs::read_dir(&policies).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    write(&policies, &set("allow"));
    (site, policies)
}

fn write(folder: &Path, files: &Value) {
    for (name, text) in files.as_object().unwrap() {
        fs::write(folder.join(name), text.as_str().unwrap()).unwrap();
    }
}

fn start(site: &Site, policies: &Path) -> Engine {
    Engine::start(site.command().env("PORTREEVE_POLICIES__DIR", policies))
}

fn acts(client: &mut Client) -> Vec<(String, String)> {
    let acts = client.get("/v1/policies/acts").json();
    let acts = acts["acts"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = acts
        .iter()
        .map(|act| (text(&act["act"]), text(&act["why"])));
    told.collect()
}

#[test]
fn what_is_published_decides_at_once_and_can_be_gone_back_from() {
    let (site, policies) = site();
    let engine = start(&site, &policies);
    let mut client = engine.client(&site.key("admin"));
    assert_eq!(outcome(&mut client), "allow");
    let first = client.get("/v1/policies").json();
    assert_eq!(first["live"]["source"], "folder", "{first}");

    let denying = publish(&mut client, "deny");
    assert_eq!(outcome(&mut client), "deny");
    let told = client.get("/v1/policies").json();
    assert_eq!(told["live"]["revision"], denying.as_str());
    assert_eq!(told["live"]["source"], "published");
    assert_eq!(told["before"], first["live"]["revision"]);
    // The same again changes nothing.
    let again = send(
        &mut client,
        "PUT",
        "/v1/policies",
        &body(&set("deny"), "again"),
    );
    assert_eq!(
        (again.status, &again.json()["changed"]),
        (200, &json!(false))
    );

    // Who thinks of another set is told, and who says nothing of why.
    let mut late = body(&set("mfa"), "late");
    late["expected_revision"] = first["live"]["revision"].clone();
    assert_eq!(send(&mut client, "PUT", "/v1/policies", &late).status, 412);
    let silent = send(&mut client, "PUT", "/v1/policies", &body(&set("mfa"), "  "));
    assert_eq!(silent.status, 400);
    assert_eq!(
        send(&mut client, "POST", "/v1/policies/rollback", &json!({})).status,
        400
    );
    assert_eq!(outcome(&mut client), "deny");

    publish(&mut client, "mfa");
    assert_eq!(outcome(&mut client), "mfa");
    for wanted in ["deny", "allow"] {
        assert_eq!(
            because(&mut client, "POST", "/v1/policies/rollback").status,
            200
        );
        assert_eq!(outcome(&mut client), wanted);
    }
    let refused = because(&mut client, "POST", "/v1/policies/rollback");
    assert_eq!(refused.status, 409, "{}", refused.json());
    let kinds: Vec<String> = acts(&mut client).into_iter().map(|(act, _)| act).collect();
    assert_eq!(
        kinds,
        [
            "folder",
            "published",
            "published",
            "rolled_back",
            "rolled_back"
        ]
    );
    let page = client.get("/v1/policies/acts?after=1&limit=2").json();
    assert_eq!(
        (&page["acts"][0]["number"], &page["next"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(page["acts"][0]["why"], "a test");
    // And they are on the chained record.
    let ran = run(site.command().args(["audit", "tail", "-n", "50", "--json"]));
    assert_eq!(
        ran.out.matches("\"kind\":\"policies\"").count(),
        5,
        "{}",
        ran.out
    );
}

#[test]
fn a_set_that_cannot_be_used_is_refused_with_everything_that_is_wrong() {
    let (site, policies) = site();
    let engine = start(&site, &policies);
    let mut client = engine.client(&site.key("author"));
    let with = |name: &str, text: &str| {
        let mut files = set("deny");
        files[name] = json!(text);
        files
    };
    let failing = r#"[{"name": "nobody gets in", "request": {"principal": "User::\"a\"",
        "action": "Action::\"read\"", "resource": "Document::\"d\"",
        "context": {"assurance": {}}}, "decision": "allow", "reason": ["open"], "num_errors": 0}]"#;
    let stories = [
        (
            with(
                "b.cedar",
                "permit (principal, action, resource) when { context.rsk };\npermit (",
            ),
            2,
            "b.cedar",
        ),
        (with("own.cedarschema", "entity User"), 1, "own.cedarschema"),
        (with("x.txt", ""), 1, "x.txt"),
        (with("../x.cedar", ""), 1, "../x.cedar"),
        (
            json!({ "own.cedar": "permit (principal, action, resource);" }),
            1,
            "no schema",
        ),
        (json!({}), 1, "`files`"),
        (with("tests/own.json", failing), 1, "tests/own.json"),
    ];
    for path in ["/v1/policies", "/v1/policies/shadow"] {
        for (files, least, told) in &stories {
            let refused = send(&mut client, "PUT", path, &body(files, "a slip"));
            let problem = refused.json();
            assert_eq!(refused.status, 422, "{told}: {problem}");
            let errors = problem["errors"].as_array().unwrap();
            assert!(errors.len() >= *least || told == &"b.cedar", "{problem}");
            assert!(problem["errors"].to_string().contains(told), "{problem}");
        }
    }
    let twice = br#"{"why":"x","files":{"a.cedar":"","a.cedar":""}}"#;
    let headers = [("Content-Type", "application/json")];
    assert_eq!(
        client.send("PUT", "/v1/policies", &headers, twice).status,
        400
    );
    assert_eq!(
        client.get("/readyz").status,
        200,
        "a refused set is no fault of the engine"
    );
    assert_eq!(
        client.get("/v1/policies").json()["live"]["source"],
        "folder"
    );
    assert_eq!(acts(&mut client).len(), 1);
    // With a test that it passes it is taken.
    let passing = failing
        .replace("\"allow\"", "\"deny\"")
        .replace("\"open\"", "\"closed\"");
    let done = send(
        &mut client,
        "PUT",
        "/v1/policies",
        &body(&with("tests/own.json", &passing), "ok"),
    );
    assert_eq!(done.status, 200, "{}", done.json());
}

#[test]
fn the_command_line_does_the_same_with_the_engine_up_or_down() {
    let (site, policies) = site();
    let key = site.key("admin");
    let candidate = site.folder.path().join("candidate");
    fs::create_dir_all(candidate.join("tests")).unwrap();
    write(&candidate, &set("deny"));
    let candidate = candidate.to_str().unwrap();
    let policy = |args: &[&str]| {
        let mut command = site.command();
        let command = command.env("PORTREEVE_POLICIES__DIR", &policies);
        run(command.arg("policy").args(args).args(["--json"]))
    };
    let early = policy(&["publish", candidate, "--why", "early"]);
    assert_eq!(early.status, Some(1), "{early:?}");
    let engine = start(&site, &policies);
    let mut client = engine.client(&key);
    assert_eq!(
        policy(&["shadow", candidate, "--why", "try"]).status,
        Some(0)
    );
    eventually("it is in the shadow", || {
        let shown = client.get("/v1/policies").json();
        shown["shadow"]["compared"].is_u64().then_some(())
    });
    assert_eq!(policy(&["promote", "--why", "good"]).status, Some(0));
    eventually("it decides", || {
        (outcome(&mut client) == "deny").then_some(())
    });
    drop(client);
    engine.stop();
    assert_eq!(policy(&["rollback", "--why", "bad"]).status, Some(0));
    let told = policy(&["rollback", "--why", "worse"]);
    assert_eq!(told.status, Some(1), "{told:?}");
    assert_eq!(policy(&["drop", "--why", "nothing there"]).status, Some(1));
    assert_eq!(policy(&["publish", candidate]).status, Some(2));
    fs::write(Path::new(candidate).join("own.cedar"), "permit (").unwrap();
    let refused = policy(&["publish", candidate, "--why", "a slip"]);
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.contains("own.cedar:1:"), "{refused:?}");
    let engine = start(&site, &policies);
    assert_eq!(outcome(&mut engine.client(&key)), "allow");
    let told: Value = serde_json::from_str(&policy(&["acts"]).out).unwrap();
    let kinds: Vec<&str> = told["acts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| act["act"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["folder", "shadowed", "promoted", "rolled_back"]);
    assert!(
        told["acts"][2]["by"].as_str().unwrap().starts_with("os:"),
        "{told}"
    );
}

#[test]
fn only_authors_and_administrators_publish() {
    let (site, policies) = site();
    let engine = start(&site, &policies);
    for (role, reads, writes) in [
        ("gateway", 403, 403),
        ("keeper", 403, 403),
        ("operator", 200, 403),
        ("author", 200, 200),
        ("admin", 200, 200),
    ] {
        let mut client = engine.client(&site.key(role));
        assert_eq!(client.get("/v1/policies").status, reads, "{role}");
        assert_eq!(client.get("/v1/policies/acts").status, reads, "{role}");
        let rule = if role == "author" { "deny" } else { "mfa" };
        let sent = body(&set(rule), "who may");
        let done = send(&mut client, "PUT", "/v1/policies", &sent);
        assert_eq!(done.status, writes, "{role}");
        if writes == 403 {
            for (method, path) in [
                ("PUT", "/v1/policies/shadow"),
                ("DELETE", "/v1/policies/shadow"),
                ("POST", "/v1/policies/promote"),
                ("POST", "/v1/policies/rollback"),
            ] {
                assert_eq!(
                    because(&mut client, method, path).status,
                    403,
                    "{role} {path}"
                );
            }
        }
    }
}
