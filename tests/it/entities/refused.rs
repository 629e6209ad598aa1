//! What is not taken: what does not fit, what another has changed, whoever may not.

use super::*;

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
