//! Entities over HTTP: held against the schema, durable, in effect at once, on record.

mod kept;
mod refused;

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
