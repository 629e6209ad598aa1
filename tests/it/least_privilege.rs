//! Which role reaches which path, as the engine's own Cedar policies say (J14). A path that is not
//! in this table fails the test, so that none comes without a thought about who may use it.

use std::collections::BTreeSet;

use pdp::access::{Permission, Permissions, Role};

use crate::harness::{Site, root};

/// Who may use a path.
#[derive(Clone, Copy, Debug)]
enum Needs {
    /// Anybody, with or without a key.
    Nothing,
    /// This permission, or 403.
    Permission(&'static str),
    /// One of these, or `unauthorized_client`, as OAuth has it.
    OAuth(&'static [&'static str]),
    /// All of these, by the key in `Portreeve-Key`, or what is said to whoever is no gateway.
    Gateway(&'static [&'static str]),
}

use Needs::{Gateway, Nothing, OAuth, Permission as May};

const TABLE: &[(&str, &str, Needs)] = &[
    ("POST", "/access/v1/evaluation", May("evaluate")),
    ("POST", "/access/v1/evaluations", May("evaluate")),
    ("POST", "/access/v1/search/subject", May("evaluate")),
    ("POST", "/access/v1/search/resource", May("evaluate")),
    ("POST", "/access/v1/search/action", May("evaluate")),
    ("GET", "/.well-known/authzen-configuration", Nothing),
    ("GET", "/.well-known/jwks.json", Nothing),
    ("GET", "/.well-known/oauth-authorization-server", Nothing),
    (
        "GET",
        "/.well-known/oauth-authorization-server/{*path}",
        Nothing,
    ),
    ("GET", "/oauth2/status-lists/{id}", Nothing),
    ("POST", "/oauth2/token", OAuth(&["tokens.request"])),
    (
        "POST",
        "/oauth2/introspect",
        OAuth(&["tokens.introspect", "tokens.introspect_any"]),
    ),
    ("POST", "/oauth2/revoke", OAuth(&["tokens.revoke"])),
    ("GET", "/v1/revocations", May("tokens.revoke_any")),
    ("POST", "/v1/revocations", May("tokens.revoke_any")),
    ("GET", "/v1/sessions", May("sessions.read")),
    ("POST", "/v1/sessions", May("sessions.create")),
    ("GET", "/v1/sessions/{id}", May("sessions.read")),
    ("DELETE", "/v1/sessions/{id}", May("sessions.end")),
    (
        "POST",
        "/v1/sessions/{id}/step-up",
        May("decisions.confirm"),
    ),
    (
        "POST",
        "/v1/subjects/{subject}/sessions/end",
        May("sessions.end"),
    ),
    (
        "POST",
        "/v1/subjects/{subject}/{id}/sessions/end",
        May("sessions.end"),
    ),
    ("DELETE", "/v1/subjects/{subject}/heard", May("heard.clear")),
    (
        "DELETE",
        "/v1/subjects/{subject}/{id}/heard",
        May("heard.clear"),
    ),
    ("GET", "/v1/decisions/{id}", May("decisions.read")),
    (
        "POST",
        "/v1/decisions/{id}/step-up",
        May("decisions.confirm"),
    ),
    (
        "POST",
        "/v1/decisions/{id}/feedback",
        May("decisions.confirm"),
    ),
    // With the secret of a transmitter, and no key.
    ("POST", "/ssf/receive", Nothing),
    ("POST", "/v1/events", May("events.report")),
    ("GET", "/.well-known/ssf-configuration", Nothing),
    ("GET", "/.well-known/ssf-configuration/{*path}", Nothing),
    ("GET", "/ssf/streams", May("ssf.read")),
    ("POST", "/ssf/streams", May("ssf.manage")),
    ("PATCH", "/ssf/streams", May("ssf.manage")),
    ("PUT", "/ssf/streams", May("ssf.manage")),
    ("DELETE", "/ssf/streams", May("ssf.manage")),
    ("GET", "/ssf/status", May("ssf.read")),
    ("POST", "/ssf/status", May("ssf.manage")),
    ("POST", "/ssf/subjects/add", May("ssf.manage")),
    ("POST", "/ssf/subjects/remove", May("ssf.manage")),
    ("POST", "/ssf/verify", May("ssf.manage")),
    ("POST", "/ssf/poll/{stream}", May("ssf.manage")),
    ("GET", "/v1/devices", May("devices.read")),
    ("GET", "/v1/devices/{id}", May("devices.read")),
    ("PUT", "/v1/devices/{id}", May("devices.write")),
    ("DELETE", "/v1/devices/{id}", May("devices.write")),
    ("GET", "/v1/entities", May("entities.read")),
    ("POST", "/v1/entities", May("entities.write")),
    ("GET", "/v1/entities/{type}/{id}", May("entities.read")),
    ("PUT", "/v1/entities/{type}/{id}", May("entities.write")),
    ("DELETE", "/v1/entities/{type}/{id}", May("entities.write")),
    ("GET", "/v1/policies", May("policies.read")),
    ("PUT", "/v1/policies", May("policies.write")),
    ("GET", "/v1/policies/acts", May("policies.read")),
    ("PUT", "/v1/policies/shadow", May("policies.write")),
    ("DELETE", "/v1/policies/shadow", May("policies.write")),
    ("POST", "/v1/policies/promote", May("policies.write")),
    ("POST", "/v1/policies/rollback", May("policies.write")),
    ("POST", "/v1/policies/replay", May("policies.replay")),
    ("GET", "/v1/policies/{revision}", May("policies.read")),
    ("GET", "/v1/keys", May("keys.read")),
    ("POST", "/v1/keys", May("keys.write")),
    ("GET", "/v1/keys/{id}", May("keys.read")),
    ("DELETE", "/v1/keys/{id}", May("keys.write")),
    ("POST", "/v1/keys/{id}/rotate", May("keys.write")),
    ("GET", "/v1/models", May("models.read")),
    ("POST", "/v1/models/promote", May("models.choose")),
    ("POST", "/v1/models/rollback", May("models.choose")),
    ("POST", "/v1/models/shadow", May("models.choose")),
    (
        "ANY",
        "/gateway/forward-auth",
        Gateway(&["evaluate", "access"]),
    ),
    ("ANY", "/gateway/envoy/", Gateway(&["evaluate", "access"])),
    (
        "ANY",
        "/gateway/envoy/{*path}",
        Gateway(&["evaluate", "access"]),
    ),
    ("GET", "/healthz", Nothing),
    ("GET", "/readyz", Nothing),
    ("GET", "/metrics", Nothing),
];

/// Methods and paths, as the router's own text has them.
fn routes() -> BTreeSet<(String, String)> {
    let text = std::fs::read_to_string(root().join("engine/pdp/src/http/mod.rs")).unwrap();
    let mut routes = BTreeSet::new();
    for route in text.split(".route(").skip(1) {
        let (first, handlers) = route.split_once(',').unwrap();
        let first = first.trim();
        let path = match first
            .strip_prefix('"')
            .and_then(|path| path.strip_suffix('"'))
        {
            Some(path) => path.to_owned(),
            None => match first {
                "oauth::metadata::WELL_KNOWN" => "/.well-known/oauth-authorization-server",
                r#"&envoy("/")"# => "/gateway/envoy/",
                r#"&envoy("/{*path}")"# => "/gateway/envoy/{*path}",
                "ssf::metadata::WELL_KNOWN" => "/.well-known/ssf-configuration",
                other => panic!("write paths as they are, and not {other}"),
            }
            .to_owned(),
        };
        let before = routes.len();
        for method in ["get", "post", "put", "delete", "patch", "any"] {
            let is_start =
                |at: usize| !handlers[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if handlers
                .match_indices(&format!("{method}("))
                .any(|(at, _)| is_start(at))
            {
                routes.insert((method.to_uppercase(), path.clone()));
            }
        }
        assert!(
            routes.len() > before,
            "{path} has a method that this test does not know"
        );
    }
    routes
}

#[test]
fn every_role_reaches_what_cedar_permits_it_and_nothing_else() {
    let known: BTreeSet<(String, String)> = TABLE
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(known, routes(), "the table, and the router's paths");

    let permissions = Permissions::load().unwrap();
    let site = Site::new();
    let keys = Role::ALL.map(|role| (role, site.key(role.as_str())));
    let engine = site.start();
    for (role, key) in &keys {
        let mut client = engine.client(key);
        let may = |name: &str| {
            let permission = Permission::from_action(name).unwrap();
            permissions.allow(*role, permission)
        };
        for (method, path, needs) in TABLE {
            let path = path
                .replace("{*path}", "nobody")
                .replace("{type}", "Nothing")
                .replace("{subject}/{id}", "User/nobody")
                .replace("{subject}", "User%2Fnobody")
                .replace(['{', '}'], "");
            if let Gateway(names) = needs {
                let asked = |key: &str| {
                    let mut client = engine.client("");
                    let answer = client.send("POST", &path, &[("Portreeve-Key", key)], b"");
                    assert!(
                        (400..500).contains(&answer.status),
                        "{path} {}",
                        answer.status
                    );
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    text.contains("no gateway here")
                };
                let may = names.iter().all(|name| may(name));
                assert_eq!(asked(key), !may, "{role:?}: {path}");
                assert!(asked(""), "without a key: {path}");
                continue;
            }
            // Nothing in it holds, so that nobody who may do it does anything.
            let form = matches!(needs, OAuth(_));
            let (kind, body) = if form {
                ("application/x-www-form-urlencoded", &b"nothing=1"[..])
            } else {
                ("application/json", &b"{\"nothing\":1}"[..])
            };
            let body = if *method == "GET" { &b""[..] } else { body };
            let answer = client.send(method, &path, &[("Content-Type", kind)], body);
            let told = format!("{role:?}: {method} {path}: {}", answer.status);
            assert!(answer.status < 500 || path == "/readyz", "{told}");
            match needs {
                Nothing => {
                    assert_ne!(answer.status, 403, "{told}");
                    let alone = engine.client("").send(method, &path, &[], b"");
                    assert_eq!(alone.status, answer.status, "{told}");
                }
                May(name) => {
                    assert_eq!(answer.status == 403, !may(name), "{told}");
                    let alone = engine.client("").send(method, &path, &[], body);
                    assert_eq!(alone.status, 401, "without a key: {told}");
                }
                Gateway(_) => unreachable!("asked above"),
                OAuth(names) => {
                    let refused = answer.json()["error"] == "unauthorized_client";
                    assert_eq!(refused, !names.iter().any(|name| may(name)), "{told}");
                    let headers = [("Content-Type", kind)];
                    let alone = engine.client("").send(method, &path, &headers, body);
                    assert_eq!(alone.status, 401, "without a key: {told}");
                }
            }
        }
    }
}
