//! Entities over HTTP: held against the schema, durable, in effect at once, on record.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{Client, Engine, Response, Site, alice_reads, eventually, run};

fn put(client: &mut Client, path: &str, body: &Value) -> Response {
    put_if(client, path, body, &[])
}

fn put_if(client: &mut Client, path: &str, body: &Value, headers: &[(&str, &str)]) -> Response {
    client.send("PUT", path, headers, body.to_string().as_bytes())
}

fn delete(client: &mut Client, path: &str) -> Response {
    client.send("DELETE", path, &[], b"")
}

fn load(client: &mut Client, lines: &str) -> Response {
    client.send("POST", "/v1/entities", &[], lines.as_bytes())
}

fn asked(id: &str, document: &str) -> Value {
    let mut question = alice_reads();
    question["subject"]["id"] = json!(id);
    question["resource"]["id"] = json!(document);
    question["context"]["dry_run"] = json!(true);
    question["context"]["assurance"] = json!({ "level": 3 });
    question
}

fn member(department: &str) -> Value {
    json!({
        "attrs": { "department": department },
        "parents": [{ "type": "Group", "id": "staff" }],
    })
}

fn settled(client: &mut Client, id: &str, document: &str) -> Value {
    client.ask(&asked(id, document))["context"].clone()
}

#[test]
fn what_is_stored_counts_at_once_and_goes_over_the_file() {
    let site = Site::new();
    let engine = site.start();
    let mut client = engine.client(&site.key("admin"));
    let path = "/v1/entities/User/zoe";
    assert_eq!(
        settled(&mut client, "zoe", "handbook")["cause"],
        "unknown_subject"
    );
    assert_eq!(client.get(path).status, 404);

    let made = put(&mut client, path, &member("finance"));
    assert_eq!((made.status, made.header("etag")), (201, Some("\"1\"")));
    assert_ne!(
        settled(&mut client, "zoe", "handbook")["cause"],
        "unknown_subject"
    );
    let told = client.get(path);
    assert_eq!(told.header("etag"), Some("\"1\""));
    let told = told.json();
    assert_eq!(told["source"], "api", "{told}");
    assert_eq!(told["attrs"], json!({ "department": "finance" }));
    assert_eq!(told["parents"], json!([{ "type": "Group", "id": "staff" }]));
    // What says the same again is no change.
    let again = put(&mut client, path, &member("finance"));
    assert_eq!(
        (again.status, &again.json()["changed"]),
        (200, &json!(false))
    );
    assert_eq!(again.header("etag"), Some("\"1\""));

    // One of the file: over it, and back.
    let mallory = "/v1/entities/User/mallory";
    let file = client.get(mallory);
    assert_eq!(file.json()["source"], "file");
    assert!(
        settled(&mut client, "mallory", "handbook")["policies"]
            .to_string()
            .contains("frozen")
    );
    let refused = delete(&mut client, mallory);
    assert_eq!(refused.status, 409);
    let told = refused.json()["detail"].to_string();
    assert!(
        told.contains("file of entities") && told.contains("PUT"),
        "{told}"
    );
    let over = put(&mut client, mallory, &member("sales"));
    assert_eq!(over.status, 200);
    assert_eq!(client.get(mallory).json()["over_file"], true);
    assert!(
        !settled(&mut client, "mallory", "handbook")["policies"]
            .to_string()
            .contains("frozen")
    );
    let back = delete(&mut client, mallory);
    assert_eq!((back.status, &back.json()["source"]), (200, &json!("file")));
    assert_eq!(back.header("etag"), file.header("etag"));
    assert!(
        settled(&mut client, "mallory", "handbook")["policies"]
            .to_string()
            .contains("frozen")
    );

    let gone = delete(&mut client, path);
    assert_eq!((gone.status, &gone.json()["source"]), (200, &Value::Null));
    assert_eq!(delete(&mut client, path).status, 404);
    assert_eq!(
        settled(&mut client, "zoe", "handbook")["cause"],
        "unknown_subject"
    );
}

#[test]
fn a_group_that_moves_takes_its_members_along_and_no_circle_is_made() {
    let site = Site::new();
    let engine = site.start();
    let mut client = engine.client(&site.key("author"));
    let group = |parents: &[&str]| {
        let parents: Vec<Value> = parents
            .iter()
            .map(|id| json!({ "type": "Group", "id": id }))
            .collect();
        json!({ "parents": parents })
    };
    // A member of a group that is not there yet, and then is, further up and further down.
    let mut zoe = member("finance");
    zoe["parents"] = json!([{ "type": "Group", "id": "partners" }]);
    assert_eq!(put(&mut client, "/v1/entities/User/zoe", &zoe).status, 201);
    let may_read =
        |client: &mut Client| settled(client, "zoe", "handbook")["cause"] != "nothing_permits";
    assert!(!may_read(&mut client));
    let partners = "/v1/entities/Group/partners";
    assert_eq!(put(&mut client, partners, &group(&["guests"])).status, 201);
    assert!(!may_read(&mut client));
    assert_eq!(
        put(&mut client, "/v1/entities/Group/guests", &group(&["staff"])).status,
        201
    );
    assert!(
        may_read(&mut client),
        "staff, by way of guests and partners"
    );
    for (path, parents) in [
        (partners, "partners"),
        ("/v1/entities/Group/guests", "partners"),
        ("/v1/entities/Group/staff", "partners"),
    ] {
        let refused = put(&mut client, path, &group(&[parents]));
        assert_eq!(refused.status, 422, "{path}");
        let told = refused.json()["detail"].to_string();
        assert!(told.contains("its own ancestor"), "{told}");
    }
    assert_eq!(put(&mut client, partners, &group(&[])).status, 200);
    assert!(!may_read(&mut client));
    assert_eq!(put(&mut client, partners, &group(&["staff"])).status, 200);
    assert!(may_read(&mut client));
    assert_eq!(delete(&mut client, partners).status, 200);
    assert!(!may_read(&mut client));
    // A group of the file, above everybody: the members of staff follow it.
    assert_eq!(
        settled(&mut client, "alice", "handbook")["cause"],
        "policies"
    );
    let staff = "/v1/entities/Group/staff";
    assert_eq!(put(&mut client, staff, &group(&["frozen"])).status, 200);
    let told = settled(&mut client, "alice", "handbook")["policies"].to_string();
    assert!(told.contains("frozen"), "{told}");
    assert_eq!(delete(&mut client, staff).status, 200);
    let told = settled(&mut client, "alice", "handbook")["policies"].to_string();
    assert!(!told.contains("frozen"), "{told}");
}

#[test]
fn what_does_not_fit_the_schema_is_refused_with_the_path_and_what_to_write() {
    let site = Site::new();
    let engine = site.start();
    let mut client = engine.client(&site.key("author"));
    let stories = [
        (
            "User/x",
            json!({ "attrs": { "departmint": "x" } }),
            422,
            "attrs.departmint",
            "`department`",
        ),
        (
            "User/x",
            json!({ "attrs": { "frozen": "yes" } }),
            422,
            "attrs.frozen",
            "Bool",
        ),
        (
            "Document/x",
            json!({ "attrs": { "sensitivity": 1.5 } }),
            422,
            "attrs.sensitivity",
            "Long",
        ),
        (
            "User/x",
            json!({ "attrs": { "frozen": null } }),
            422,
            "attrs.frozen",
            "Bool",
        ),
        (
            "Document/x",
            json!({ "attrs": { "owner": { "type": "Group", "id": "staff" } } }),
            422,
            "attrs.owner",
            "User",
        ),
        (
            "User/x",
            json!({ "parents": [{ "type": "User", "id": "alice" }] }),
            422,
            "parents[0].type",
            "`Group`",
        ),
        (
            "User/x",
            json!({ "parents": [{ "type": "Nobody", "id": "x" }] }),
            422,
            "parents[0].type",
            "`Group`",
        ),
        (
            "Application/x",
            json!({ "parents": [{ "type": "Group", "id": "x" }] }),
            422,
            "parents[0].type",
            "leave `parents` empty",
        ),
        (
            "User/x",
            json!({ "tags": { "a": "b" } }),
            422,
            "tags",
            "leave them out",
        ),
        ("Person/x", json!({}), 422, "type", "`User`"),
        ("Action/read", json!({}), 422, "type", "`User`"),
        ("User/x", json!({ "attributes": {} }), 422, "", "attrs"),
        ("User/x", json!([]), 400, "", ""),
        ("User/x%00", json!({}), 400, "", ""),
    ];
    for (path, body, status, member, told) in stories {
        let refused = put(&mut client, &format!("/v1/entities/{path}"), &body);
        assert_eq!(refused.status, status, "{path} {body}");
        let problem = refused.json();
        if status == 422 {
            let first = &problem["errors"][0];
            assert_eq!(first["path"], member, "{problem}");
            assert!(first["help"].to_string().contains(told), "{problem}");
        }
    }
    // Everything at once, and a name that comes twice at any depth.
    let both = json!({ "attrs": { "a": 1, "b": 2 }, "parents": [{ "type": "User", "id": "x" }] });
    let problem = put(&mut client, "/v1/entities/User/x", &both).json();
    assert_eq!(problem["errors"].as_array().unwrap().len(), 3, "{problem}");
    let twice = br#"{"attrs":{"department":"a","department":"b"}}"#;
    assert_eq!(
        client.send("PUT", "/v1/entities/User/x", &[], twice).status,
        400
    );
    assert_eq!(client.get("/v1/entities/User/x").status, 404);
    assert_eq!(client.get("/v1/entities/User/%ff").status, 400);
    assert_eq!(client.get("/v1/entities?limit=0").status, 400);
    assert_eq!(client.get("/v1/entities?colour=red").status, 400);
}

#[test]
fn names_with_namespaces_and_slashes_are_names() {
    let site = Site::new();
    let policies = site.folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(
        policies.join("app.cedarschema"),
        "namespace App { @stored entity User tags String; entity File; action open appliesTo { \
         principal: [User], resource: [File], context: {} }; }",
    )
    .unwrap();
    std::fs::write(
        policies.join("a.cedar"),
        "@id(\"a\") permit (principal == App::User::\"a/b c\", action, resource);",
    )
    .unwrap();
    let engine = Engine::start(site.command().env("PORTREEVE_POLICIES__DIR", &policies));
    let mut client = engine.client(&site.key("admin"));
    let path = "/v1/entities/App%3A%3AUser/a%2Fb%20c";
    let body = json!({ "tags": { "team": "red" } });
    assert_eq!(put(&mut client, path, &body).status, 201);
    let told = client.get(path).json();
    assert_eq!(told["uid"], json!({ "type": "App::User", "id": "a/b c" }));
    assert_eq!(told["tags"], json!({ "team": "red" }));
    assert_eq!(
        put(&mut client, "/v1/entities/App::User/d", &json!({})).status,
        201
    );
    let answer = client.ask(&json!({
        "subject": { "type": "App::User", "id": "a/b c" },
        "action": { "name": "open" },
        "resource": { "type": "App::File", "id": "x" },
    }));
    assert_eq!(answer["context"]["outcome"], "allow", "{answer}");
    let page = client.get("/v1/entities?type=App::User&limit=1").json();
    assert_eq!(page["next"], "App::User/a/b c", "{page}");
    let page = client.get("/v1/entities?after=App::User/a/b%20c").json();
    assert_eq!(page["entities"][0]["uid"]["id"], "d", "{page}");
    assert_eq!(page["next"], Value::Null);
}

#[test]
fn who_changes_what_another_has_changed_is_told() {
    let site = Site::new();
    let engine = site.start();
    let mut client = engine.client(&site.key("author"));
    let path = "/v1/entities/User/zoe";
    let new = [("If-None-Match", "*")];
    assert_eq!(put_if(&mut client, path, &member("a"), &new).status, 201);
    assert_eq!(put_if(&mut client, path, &member("b"), &new).status, 412);
    let first = [("If-Match", "\"1\"")];
    let second = put_if(&mut client, path, &member("b"), &first);
    assert_eq!((second.status, second.header("etag")), (200, Some("\"2\"")));
    assert_eq!(put_if(&mut client, path, &member("c"), &first).status, 412);
    assert_eq!(client.send("DELETE", path, &first, b"").status, 412);
    assert_eq!(client.get(path).json()["attrs"]["department"], "b");
    let of_file = client.get("/v1/entities/User/alice");
    let tag = of_file.header("etag").unwrap().to_owned();
    let alice = "/v1/entities/User/alice";
    assert_eq!(
        put_if(&mut client, alice, &member("x"), &[("If-Match", &tag)]).status,
        200
    );
    assert_eq!(
        put_if(&mut client, alice, &member("y"), &[("If-Match", &tag)]).status,
        412
    );
    assert_eq!(
        put_if(&mut client, alice, &member("y"), &[("If-Match", "2")]).status,
        400
    );
}

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
fn what_a_request_says_never_overrides_what_is_stored_over_http() {
    let site = Site::new();
    let engine = site.start();
    let mut client = engine.client(&site.key("admin"));
    let path = "/v1/entities/Document/minutes";
    let sales = json!({ "attrs": { "department": "sales", "sensitivity": 2 } });
    assert_eq!(put(&mut client, path, &sales).status, 201);
    // Alice is of finance; neither her word on herself nor on the document opens it.
    let mut question = asked("alice", "minutes");
    question["subject"]["properties"] = json!({ "department": "sales" });
    question["resource"]["properties"] = json!({ "department": "finance", "sensitivity": 0 });
    let answer = client.ask(&question);
    assert_eq!(answer["context"]["cause"], "nothing_permits", "{answer}");
    let finance = json!({ "attrs": { "department": "finance", "sensitivity": 2 } });
    assert_eq!(put(&mut client, path, &finance).status, 200);
    let answer = client.ask(&question);
    assert_ne!(answer["context"]["cause"], "nothing_permits", "{answer}");
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
fn only_some_roles_change_entities() {
    let site = Site::new();
    let engine = site.start();
    let path = "/v1/entities/User/alice";
    for (role, reads, writes) in [
        ("gateway", 403, 403),
        ("keeper", 403, 403),
        ("operator", 200, 403),
        ("author", 200, 200),
        ("admin", 200, 200),
    ] {
        let mut client = engine.client(&site.key(role));
        assert_eq!(client.get(path).status, reads, "{role}");
        assert_eq!(client.get("/v1/entities").status, reads, "{role}");
        assert_eq!(
            put(&mut client, path, &member("finance")).status,
            writes,
            "{role}"
        );
        let line = r#"{"uid":{"type":"User","id":"x"}}"#;
        assert_eq!(load(&mut client, line).status, writes, "{role}");
    }
    assert_eq!(engine.client("").get(path).status, 401);
}

#[test]
fn a_schema_that_no_longer_fits_what_is_stored_is_refused_with_the_list() {
    let site = Site::new();
    let policies = crate::reload::own_policies(&site);
    let mut command = site.command();
    let engine = Engine::start(
        command
            .env("PORTREEVE_POLICIES__DIR", &policies)
            .env("PORTREEVE_POLICIES__WATCH", "false"),
    );
    let key = site.key("admin");
    let mut client = engine.client(&key);
    let body = json!({ "attrs": { "credential_leaked": true } });
    for id in ["yves", "zoe"] {
        assert_eq!(
            put(&mut client, &format!("/v1/entities/User/{id}"), &body).status,
            201
        );
    }
    let schema = policies.join("organisation.cedarschema");
    let text = std::fs::read_to_string(&schema).unwrap();
    std::fs::write(
        &schema,
        text.replace("credential_leaked?: Bool", "credential_leaked?: Long"),
    )
    .unwrap();
    let accounts = policies.join("61-leaked-passwords.cedar");
    std::fs::remove_file(accounts).unwrap();
    engine.signal("HUP");
    let told = eventually("the reload fails", || {
        let response = client.get("/readyz");
        (response.status == 503).then(|| response.json())
    });
    let faults = told["policies"]["faults"].to_string();
    for name in [
        "yves",
        "zoe",
        "attrs.credential_leaked",
        "/v1/entities/TYPE/ID",
    ] {
        assert!(faults.contains(name), "{faults}");
    }
    assert_eq!(
        settled(&mut client, "zoe", "handbook")["cause"],
        "nothing_permits"
    );
    for id in ["yves", "zoe"] {
        assert_eq!(
            delete(&mut client, &format!("/v1/entities/User/{id}")).status,
            200
        );
    }
    engine.signal("HUP");
    eventually("it is taken up", || {
        (client.get("/readyz").status == 200).then_some(())
    });
    let body = json!({ "attrs": { "credential_leaked": 1 } });
    assert_eq!(put(&mut client, "/v1/entities/User/zoe", &body).status, 201);
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
