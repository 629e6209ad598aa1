//! What clients send at a gateway is no identity, no fact and no other request: B21, B23, F22,
//! over HTTP with the real binary. The stories of each rule stand in the crate `gateway`.

use crate::harness::{Engine, Site, run};

const SETTINGS: &str = r#"
[gateway]
headers_set = ["X-Zone"]
origins = ["https://app.example"]

[gateway.identity]
X-User-Id = "subject.id"

[[gateway.routes]]
name = "reads"
methods = ["GET"]
path = "/{path...}"
action = "read"
resource = { type = "Document", id = "{path}" }

[[gateway.routes]]
name = "handbook"
path = "/documents/handbook"
headers = { x-zone = "office" }
action = "delete"
resource = { type = "Document", id = "handbook" }

[[gateway.routes]]
name = "documents"
methods = ["DELETE"]
path = "/documents/{id}"
action = "delete"
resource = { type = "Document", id = "{id}" }
"#;

/// Opens a session of alice's; the header that her browser sends in it.
fn browser(engine: &Engine, key: &str) -> String {
    let body = serde_json::json!({
        "subject": { "type": "User", "id": "alice" },
        "context": { "ip": "10.10.4.7", "assurance": { "level": 1 } },
    });
    let opened = engine.client(key).post("/v1/sessions", &body).json();
    format!("__Host-portreeve={}", opened["handle"].as_str().unwrap())
}

#[test]
fn b23_f22_what_a_client_adds_is_refused_or_taken_off() {
    let site = Site::with(SETTINGS);
    let key = site.key("gateway");
    let engine = site.start();
    let cookie = browser(&engine, &key);
    let mut client = engine.client("");
    let mut ask = |method: &str, path: &str, more: &[(&str, &str)]| {
        let ours = [
            ("Portreeve-Key", key.as_str()),
            ("X-Forwarded-For", "10.10.4.7"),
            ("Cookie", cookie.as_str()),
        ];
        let headers: Vec<_> = ours.iter().chain(more).copied().collect();
        client.send(method, &format!("/gateway/envoy{path}"), &headers, b"")
    };

    // Envoy over HTTP is told what to take off, by what came and by what is known.
    let allowed = ask(
        "GET",
        "/handbook",
        &[("X-User-Boss", "yes"), ("X-User-Id", "root")],
    );
    assert_eq!(allowed.status, 200, "{allowed:?}");
    assert_eq!(allowed.header("x-user-id"), Some("alice"));
    let removed = allowed.header("x-envoy-auth-headers-to-remove").unwrap();
    let removed: Vec<&str> = removed.split(',').collect();
    for (name, wanted) in [
        ("x-user-boss", true),
        ("remote-user", true),
        ("x-user-id", false),
        ("x-portreeve-subject", false),
        ("x-zone", false),
    ] {
        assert_eq!(removed.contains(&name), wanted, "{name}");
    }

    for (what, method, path, more, wanted, why) in [
        (
            "as CGI reads it",
            "GET",
            "/handbook",
            &[("X_User_Id", "root")][..],
            400,
            "another spelling",
        ),
        (
            "a fact, as CGI reads it",
            "GET",
            "/handbook",
            &[("X_Zone", "office")],
            400,
            "another spelling",
        ),
        (
            "another path for the app",
            "GET",
            "/handbook",
            &[("X-Rewrite-URL", "/admin")],
            400,
            "another path",
        ),
        (
            "another method for the app",
            "GET",
            "/handbook?_method=DELETE",
            &[],
            400,
            "another method",
        ),
        (
            "another client",
            "GET",
            "/handbook",
            &[("X-Real-IP", "8.8.8.8")],
            400,
            "gateway.address_from",
        ),
        (
            "an end of the path",
            "GET",
            "/handbook%3Fx",
            &[],
            400,
            "encoded `?`",
        ),
        (
            "another case",
            "DELETE",
            "/Documents/plan",
            &[],
            400,
            "gateway.case",
        ),
        (
            "a method of nobody's",
            "FOO",
            "/documents/handbook",
            &[],
            403,
            "nothing here",
        ),
        (
            "a neighbour's page",
            "DELETE",
            "/documents/plan",
            &[("Origin", "https://evil.docs.example")],
            403,
            "another origin",
        ),
    ] {
        let refused = ask(method, path, more);
        assert_eq!(refused.status, wanted, "{what}: {refused:?}");
        assert_eq!(
            refused.header("x-envoy-auth-headers-to-remove"),
            None,
            "{what}"
        );
        let said = refused.json()["detail"].to_string();
        assert!(said.contains(why), "{what}: {said}");
    }

    // What does not fit into what Envoy is told is not let through without it.
    let long = format!("Ssl-Client-{}", "a".repeat(8_200));
    let fitting = format!("Ssl-Client-{}", "a".repeat(8_185 - 11));
    for name in [long, fitting] {
        let refused = ask(
            "GET",
            "/handbook",
            &[(&name, "x"), ("X-Webauth-User", "root")],
        );
        assert_eq!(refused.status, 431, "{refused:?}");
    }

    // An app on another origin can read what it has to do.
    let origin = ("Origin", "https://app.example");
    let refused = ask(
        "GET",
        "/handbook",
        &[origin, ("Authorization", "Bearer a.b.c")],
    );
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(
        refused.header("access-control-allow-origin"),
        Some(origin.1)
    );
    assert_eq!(refused.header("vary"), Some("origin"));
}

#[test]
fn what_is_hardly_meant_is_said_by_check_and_in_the_log() {
    let site = Site::with(SETTINGS);
    let checked = run(site.command().args(["check", "--json"]));
    assert_eq!(checked.status, Some(0), "{checked:?}");
    let doubt = "GET of `documents` is decided by `reads` before it";
    let other = SETTINGS.replace("methods = [\"DELETE\"]", "methods = [\"GET\", \"DELETE\"]");
    assert!(!checked.out.contains(doubt), "{checked:?}");

    let site = Site::with(&other);
    let checked = run(site.command().args(["check", "--json"]));
    assert_eq!(checked.status, Some(0), "{checked:?}");
    assert!(checked.out.contains(doubt), "{checked:?}");
    let log = site.start().stop();
    assert!(log.contains(doubt), "{log}");
}
