//! Metadata (RFC 8414).

use serde_json::Value;

use crate::harness::Site;

const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";

fn check(metadata: &Value, issuer: &str) {
    assert_eq!(metadata["issuer"], issuer, "byte for byte");
    for (member, path) in [
        ("token_endpoint", "/oauth2/token"),
        ("introspection_endpoint", "/oauth2/introspect"),
        ("jwks_uri", "/.well-known/jwks.json"),
    ] {
        assert_eq!(metadata[member], format!("{issuer}{path}"), "{member}");
    }
}

#[test]
fn the_issuer_is_what_the_engine_is_called() {
    let engine = Site::new().start();
    let issuer = format!("http://{}", engine.address);
    let mut client = engine.client("");
    let response = client.get(WELL_KNOWN);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let metadata = response.json();
    check(&metadata, &issuer);
    // What is listed is there; what is not served is not listed (RFC 8414 §2).
    for (member, url) in metadata.as_object().unwrap() {
        let Some(path) = url.as_str().and_then(|url| url.strip_prefix(&issuer)) else {
            continue;
        };
        if !path.is_empty() {
            assert_ne!(client.get(path).status, 404, "{member}");
        }
    }
    assert!(metadata.get("authorization_endpoint").is_none());
    assert_eq!(metadata["response_types_supported"], serde_json::json!([]));
    let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    let none = metadata.as_object().unwrap().iter();
    let empty: Vec<&String> = none
        .filter(|(_, value)| empty(value))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        empty,
        ["response_types_supported"],
        "§3.2: others are left out"
    );
    assert_eq!(client.get(&format!("{WELL_KNOWN}/tenant")).status, 404);
}

#[test]
fn a_path_of_the_issuer_is_inserted() {
    let site = Site::new();
    let url = "https://pdp.example/tenant/1";
    let mut command = site.command();
    command.env("PORTREEVE_PUBLIC_URL", url);
    let engine = crate::harness::Engine::start(&mut command);
    let mut client = engine.client("");
    check(&client.get(&format!("{WELL_KNOWN}/tenant/1")).json(), url);
    for path in ["", "/", "/tenant", "/tenant/1/", "/tenant/2"] {
        assert_eq!(
            client.get(&format!("{WELL_KNOWN}{path}")).status,
            404,
            "{path}"
        );
    }
}
