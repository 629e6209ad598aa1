//! What hangs on a session lives no longer than it, whatever its end is by then (T25).

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::world::{World, opening, ordinary};
use crate::refreshing::{is_active, refresh};

const DOCS: &str = "https://docs.example";
/// A device that does not comply is restricted, for two minutes.
const RESTRICTED: &str = "[tokens]\nttl_seconds = 900\n[risk]\nmodel_weight = 0.0\nrule_weight = 1.0\n\
     rules = { device-not-compliant = 45 }\n[sessions]\nidle = \"10m\"\n[sessions.standard]\nabsolute = \"10m\"\n\
     [sessions.restricted]\nabsolute = \"2m\"\n[sessions.strict]\nabsolute = \"1m\"\n";

fn opened(world: &mut World) -> Value {
    let token = json!({ "audience": DOCS, "scope": "read" });
    let request = opening(&json!({ "context": { "token": token } }));
    let response = world.gateway.post("/v1/sessions", &request);
    assert_eq!(response.status, 201, "{}", response.json());
    response.json()
}

/// Whoever opens sessions acts for people, too.
fn delegates(world: &mut World) {
    let entity = json!({ "parents": [{ "type": "Group", "id": "delegates" }] });
    let json = ("Content-Type", "application/json");
    let body = entity.to_string();
    let path = "/v1/entities/Service/gateway";
    let response = world.admin.send("PUT", path, &[json], body.as_bytes());
    assert!(response.status < 300, "{}", response.json());
}

fn word<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// When a token ends, seconds.
fn end_of(token: &str) -> i64 {
    let part = token.split('.').nth(1).unwrap();
    let claims = BASE64URL_NOPAD.decode(part.as_bytes()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["exp"].as_i64().unwrap()
}

/// An access in a session: from a device that complies or does not.
fn ask(world: &mut World, session: &Value, complies: bool, change: &Value) -> Value {
    let mut question = ordinary(change);
    let context = &mut question["context"];
    context["session_id"] = session["id"].clone();
    context["device"]["compliant"] = json!(complies);
    world.gateway.ask(&question)["context"].clone()
}

fn exchange(world: &mut World, token: &str) -> Value {
    delegates(world);
    let body = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={token}\
         &subject_token_type=urn:ietf:params:oauth:token-type:access_token\
         &audience=https://wiki.example&scope=read"
    );
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let response = world
        .gateway
        .send("POST", "/oauth2/token", &[form], body.as_bytes());
    response.json()
}

#[test]
fn t25_no_token_outlives_its_session_wherever_it_is_made() {
    let mut world = World::with(
        "[tokens]\nttl_seconds = 900\n[sessions]\nidle = \"5m\"\n[sessions.standard]\nabsolute = \"5m\"\n[sessions.restricted]\nabsolute = \"2m\"\n[sessions.strict]\nabsolute = \"1m\"\n",
    );
    let session = opened(&mut world);
    let end = world.now() + 300;
    assert_eq!(session["token"]["expires_in"], 300, "{session}");
    let first = word(&session, "/token/access_token").to_owned();
    assert_eq!(end_of(&first), end);
    world.pass(100);
    let next = refresh(&mut world.gateway, word(&session, "/token/refresh_token")).unwrap();
    assert_eq!(end_of(word(&next, "/access_token")), end, "{next}");
    world.pass(150);
    let wish = json!({ "context": { "token": { "audience": DOCS } } });
    let answer = ask(&mut world, &session, true, &wish);
    assert_eq!(answer["outcome"], "allow", "{answer}");
    assert_eq!(
        end_of(word(&answer, "/token/access_token")),
        end,
        "{answer}"
    );
    let derived = exchange(&mut world, &first);
    assert_eq!(end_of(word(&derived, "/access_token")), end, "{derived}");
    world.pass(49);
    assert!(is_active(&mut world.gateway, &first));
    world.pass(1);
    assert!(!is_active(&mut world.gateway, &first));
}

#[test]
fn t25_a_session_that_ends_sooner_takes_its_tokens_with_it() {
    let mut world = World::with(RESTRICTED);
    let session = opened(&mut world);
    let token = word(&session, "/token/access_token").to_owned();
    assert_eq!(end_of(&token), world.now() + 600);
    world.pass(10);
    ask(&mut world, &session, false, &Value::Null);
    let id = word(&session, "/id");
    let shown = world.admin.get(&format!("/v1/sessions/{id}")).json();
    assert_eq!(shown["tier"], "restricted", "{shown}");
    // What is made from now on knows, what was made before is looked up.
    let derived = exchange(&mut world, &token);
    let derived = word(&derived, "/access_token").to_owned();
    assert_eq!(end_of(&derived), world.now() + 120);
    world.pass(119);
    assert!(is_active(&mut world.gateway, &token));
    world.pass(1);
    assert!(!is_active(&mut world.gateway, &token));
    assert!(!is_active(&mut world.gateway, &derived));
    let refused = exchange(&mut world, &token);
    assert_eq!(refused["error"], "invalid_request", "{refused}");
    // The tightened end holds for refreshes, too.
    let refreshed = refresh(&mut world.gateway, word(&session, "/token/refresh_token"));
    assert_eq!(refreshed, Err("invalid_grant".to_owned()));
}

#[test]
fn t25_a_session_that_was_relaxed_is_refreshed_to_its_later_end() {
    let mut world = World::with(RESTRICTED);
    let session = opened(&mut world);
    let id = word(&session, "/id");
    world.pass(10);
    ask(&mut world, &session, false, &Value::Null);
    world.pass(5);
    let path = format!("/v1/sessions/{id}/step-up");
    let done = world.gateway.post(&path, &json!({ "level": 3 })).json();
    // Proven at the score that had it tightened.
    assert_eq!(done["tier"], "restricted", "{done}");
    world.pass(5);
    assert_eq!(
        ask(&mut world, &session, true, &Value::Null)["outcome"],
        "allow"
    );
    let shown = world.admin.get(&format!("/v1/sessions/{id}")).json();
    assert_eq!(shown["tier"], "standard", "{shown}");
    world.pass(400);
    let next = refresh(&mut world.gateway, word(&session, "/token/refresh_token")).unwrap();
    assert_eq!(
        end_of(word(&next, "/access_token")),
        world.now() + 180,
        "{next}"
    );
}
