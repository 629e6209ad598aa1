//! Administration at a listener of its own.

use serde_json::json;

use crate::harness::{Client, Site, alice_reads};

/// Paths of administration: one of each kind.
const ADMINISTRATION: [(&str, &str); 16] = [
    ("GET", "/v1/decisions/x"),
    ("GET", "/v1/revocations"),
    ("POST", "/v1/revocations"),
    ("GET", "/v1/devices"),
    ("PUT", "/v1/devices/x"),
    ("GET", "/v1/entities"),
    ("PUT", "/v1/entities/User/x"),
    ("GET", "/v1/policies"),
    ("PUT", "/v1/policies"),
    ("POST", "/v1/policies/replay"),
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("GET", "/v1/models"),
    ("POST", "/v1/models/promote"),
    ("DELETE", "/v1/subjects/alice/heard"),
    ("GET", "/metrics"),
];

/// What gateways, apps, receivers and holders of sessions need.
const DECISIONS: [(&str, &str); 17] = [
    ("POST", "/access/v1/evaluation"),
    ("POST", "/access/v1/evaluations"),
    ("POST", "/access/v1/search/subject"),
    ("GET", "/.well-known/authzen-configuration"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/.well-known/ssf-configuration"),
    ("POST", "/oauth2/token"),
    ("POST", "/oauth2/introspect"),
    ("POST", "/v1/decisions/x/step-up"),
    ("POST", "/v1/events"),
    ("GET", "/v1/sessions"),
    ("POST", "/v1/subjects/alice/sessions/end"),
    ("GET", "/ssf/streams"),
    ("GET", "/healthz"),
    ("GET", "/gateway/forward-auth"),
    ("GET", "/readyz"),
];

#[test]
fn administration_is_answered_at_its_own_listener_alone() {
    let site = Site::with("admin_listen = \"127.0.0.1:0\"");
    let key = site.key("admin");
    let engine = site.start();
    let mut decisions = engine.client(&key);
    let mut admin = Client::of(engine.admin(), &key);
    let nothing = json!("there is nothing at this path");
    let is_there = |client: &mut Client, (method, path): (&str, &str)| {
        let response = client.send(method, path, &[], b"");
        response.status != 404 || response.json()["detail"] != nothing
    };
    for path in ADMINISTRATION {
        assert!(!is_there(&mut decisions, path), "{path:?}");
        assert!(is_there(&mut admin, path), "{path:?}");
    }
    for path in DECISIONS {
        assert!(is_there(&mut decisions, path), "{path:?}");
        assert!(is_there(&mut admin, path), "{path:?}");
    }
    decisions.ask(&alice_reads());
    assert!(engine.stop().contains("listening on http://"));
}

#[test]
fn without_one_everything_is_at_the_one_listener() {
    let site = Site::new();
    let key = site.key("admin");
    let engine = site.start();
    let mut client = engine.client(&key);
    for path in ["/v1/keys", "/v1/policies", "/metrics", "/healthz"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
}
