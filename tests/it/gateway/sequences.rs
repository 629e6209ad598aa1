//! What comes after what: step-ups, revocations, handles that are replaced, proofs that come again.

use serde_json::{Map, Value, json};

use super::stories::always;
use super::world::{Asked, Form, World, changes, forwarded_cert};
use crate::harness::Response;

const APPROVE: &str = "POST https://shop.example/orders/7";
const READ: &str = "GET https://shop.example/orders/7";

fn with_cookie(line: &str, handle: &str) -> Asked {
    Asked::read(line).with("Cookie", &format!("__Host-portreeve={handle}"))
}

fn with_token(line: &str, token: &str) -> Asked {
    Asked::read(line).with("Authorization", &format!("Bearer {token}"))
}

/// Asks, and holds the answer against what is always so.
fn ask(world: &World, asked: &Asked) -> Response {
    let response = world.ask(Form::Forwarded, asked);
    always("a sequence", &response);
    response
}

fn status(world: &World, asked: &Asked) -> u16 {
    ask(world, asked).status
}

/// The step-up that a decision asked for is passed; the answer of the engine.
fn pass(world: &World, response: &Response, level: u8) -> Value {
    let id = response.header("x-portreeve-decision-id").unwrap();
    let path = format!("/v1/decisions/{id}/step-up");
    let mut app = world.engine.client(world.key(Form::Forwarded));
    let passed = app.post(&path, &json!({ "level": level }));
    assert_eq!(passed.status, 200, "{}", passed.json());
    passed.json()
}

#[test]
fn m7_a_session_is_stepped_up_and_gets_another_cookie() {
    let world = World::new();
    let (id, handle) = world.session(Form::Forwarded, &json!({}));
    let refused = ask(&world, &with_cookie(APPROVE, &handle));
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["outcome"], "mfa");
    let passed = pass(&world, &refused, 3);
    let next = passed["session"]["handle"].as_str().unwrap();
    let allowed = ask(&world, &with_cookie(APPROVE, next));
    assert_eq!(allowed.status, 200, "{passed}");
    assert_eq!(allowed.header("x-portreeve-session"), Some(id.as_str()));
    // Whoever has the one before, perhaps a thief, has what was proven before.
    assert_eq!(status(&world, &with_cookie(APPROVE, &handle)), 401);
    // By the session's own call, too.
    let (id, handle) = world.session(Form::Forwarded, &json!({}));
    let mut app = world.engine.client(world.key(Form::Forwarded));
    let path = format!("/v1/sessions/{id}/step-up");
    let passed = app.post(&path, &json!({ "level": 2 })).json();
    let next = passed["handle"].as_str().unwrap();
    let change = "PUT https://shop.example/orders/7";
    assert_eq!(status(&world, &with_cookie(change, next)), 200);
    assert_eq!(status(&world, &with_cookie(change, &handle)), 401);
}

#[test]
fn m7_who_has_a_token_is_stepped_up_by_the_issuer_or_by_a_token_made_later() {
    let world = World::new();
    // The session of the issuer is what the step-up lifts; another one of hers is not lifted.
    let first = world.foreign(&changes(json!({ "sid": "idp-session-1" })));
    let other = world.foreign(&changes(json!({ "sid": "idp-session-2" })));
    let refused = ask(&world, &with_token(APPROVE, &first));
    assert_eq!(refused.status, 401);
    pass(&world, &refused, 3);
    assert_eq!(status(&world, &with_token(APPROVE, &first)), 200);
    assert_eq!(status(&world, &with_token(APPROVE, &other)), 401);
    let fresh = json!({ "acr": "urn:portreeve:acr:mfa", "auth_time": "now" });
    let fresh = world.foreign(&changes(fresh));
    assert_eq!(status(&world, &with_token(APPROVE, &fresh)), 200);
    // One of ours says what was proven when it was made, whatever is proven in its session later.
    let (id, _) = world.session(Form::Forwarded, &json!({}));
    let early = world.own(Form::Forwarded, &changes(json!({ "sid": id })));
    let refused = ask(&world, &with_token(APPROVE, &early));
    assert_eq!(refused.status, 401);
    assert_eq!(status(&world, &with_token(READ, &early)), 200);
    pass(&world, &refused, 3);
    assert_eq!(status(&world, &with_token(APPROVE, &early)), 401);
    let late = json!({ "sid": id, "acr": "urn:portreeve:acr:mfa", "auth_time": "now" });
    let late = world.own(Form::Forwarded, &changes(late));
    let allowed = ask(&world, &with_token(APPROVE, &late));
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("x-portreeve-session"), Some(id.as_str()));
}

#[test]
fn f22_what_is_over_or_was_taken_back_lets_nobody_in_from_then_on() {
    let world = World::new();
    let (id, handle) = world.session(Form::Forwarded, &json!({}));
    let of_session = world.own(Form::Forwarded, &changes(json!({ "sid": id })));
    let alone = world.own(Form::Forwarded, &Map::new());
    let foreign = world.foreign(&Map::new());
    let cookie = with_cookie(READ, &handle);
    let tokens = [&of_session, &alone, &foreign].map(|token| with_token(READ, token));
    for one in tokens.iter().chain([&cookie]) {
        assert_eq!(status(&world, one), 200);
    }
    let mut app = world.engine.client(world.key(Form::Forwarded));
    let ended = app.send("DELETE", &format!("/v1/sessions/{id}"), &[], b"");
    assert_eq!(ended.status, 204);
    let over = ask(&world, &cookie);
    assert_eq!(over.status, 401);
    let cleared = over.header("set-cookie").unwrap();
    assert!(
        cleared.starts_with("__Host-portreeve=; Path=/; Max-Age=0;"),
        "{cleared}"
    );
    assert_eq!(status(&world, &tokens[0]), 401, "its session is over");
    assert_eq!(status(&world, &tokens[1]), 200);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!("token={alone}");
    assert_eq!(
        app.send("POST", "/oauth2/revoke", &form, body.as_bytes())
            .status,
        200
    );
    assert_eq!(status(&world, &tokens[1]), 401, "revoked");
    // All of hers, of whatever issuer.
    let mut operator = world.engine.client(&world.site.key("operator"));
    let all = json!({ "subject": { "type": "User", "id": "alice" } });
    let revoked = operator.post("/v1/revocations", &all);
    assert!(revoked.status < 300, "{}", revoked.json());
    assert_eq!(status(&world, &tokens[2]), 401, "all of hers");
}

#[test]
fn l6_a_proof_counts_once_for_its_request() {
    let world = World::new();
    let bound = json!({ "cnf": { "jkt": world.device.id() } });
    let token = world.own(Form::Forwarded, &changes(bound));
    let asked = Asked::read(READ).with("Authorization", &format!("DPoP {token}"));
    let proof = world.proof(&asked, &token, &Map::new());
    let proven = asked.clone().with("DPoP", &proof);
    assert_eq!(status(&world, &proven), 200);
    let again = ask(&world, &proven);
    assert_eq!(again.status, 401);
    let how = again.header("www-authenticate").unwrap();
    assert!(how.starts_with("DPoP error=\"invalid_token\""), "{how}");
    let another = world.proof(&asked, &token, &Map::new());
    assert_eq!(status(&world, &asked.clone().with("DPoP", &another)), 200);
    assert_eq!(status(&world, &asked), 401, "without one");
    let twice = asked
        .clone()
        .with("DPoP", &world.proof(&asked, &token, &Map::new()))
        .with("DPoP", &world.proof(&asked, &token, &Map::new()));
    assert_eq!(status(&world, &twice), 401);
}

#[test]
fn e3_f17_a_handle_that_is_old_is_replaced_by_set_cookie() {
    let mut world = World::new();
    let (id, first) = world.session(Form::Forwarded, &json!({}));
    let allowed = ask(&world, &with_cookie(READ, &first));
    assert_eq!((allowed.status, allowed.header("set-cookie")), (200, None));
    world.restart("UPDATE sessions SET handle_at = handle_at - 600000");
    let allowed = ask(&world, &with_cookie(READ, &first));
    assert_eq!(allowed.status, 200);
    let set = allowed.header("set-cookie").unwrap().to_owned();
    let (pair, attributes) = set.split_once("; ").unwrap();
    let next = pair.strip_prefix("__Host-portreeve=").unwrap();
    assert!(next.starts_with("sh_") && next != first, "{set}");
    let (path, rest) = attributes.split_once("; Max-Age=").unwrap();
    let (age, rest) = rest.split_once("; ").unwrap();
    assert_eq!((path, rest), ("Path=/", "Secure; HttpOnly; SameSite=Lax"));
    let age: i64 = age.parse().unwrap();
    assert!(
        (1..=8 * 3600).contains(&age),
        "as long as the session: {age}"
    );
    // A gateway that does not pass it on loses nothing: it is handed out until it comes.
    let again = ask(&world, &with_cookie(READ, &first));
    assert_eq!(
        (again.status, again.header("set-cookie")),
        (200, Some(set.as_str()))
    );
    let with_next = ask(&world, &with_cookie(READ, next));
    assert_eq!(
        (with_next.status, with_next.header("set-cookie")),
        (200, None)
    );
    // Refusals hand it out as well.
    world.restart("UPDATE sessions SET handle_at = handle_at - 600000");
    let refused = ask(&world, &with_cookie(APPROVE, next));
    assert_eq!(refused.status, 401);
    assert!(
        refused
            .header("set-cookie")
            .is_some_and(|set| set.starts_with("__Host-portreeve=sh_"))
    );
    // Secrets are in no record; the session is, by its public id.
    let journal = world.journal();
    for secret in [first.as_str(), next, &world.gateways[0].key] {
        assert!(!journal.contains(secret));
    }
    assert!(journal.contains(&id));
}

#[test]
fn x22_envoys_certificates_count_at_a_gateway_that_is_said_to_write_them() {
    let world = World::new();
    let cert = forwarded_cert("orders.pem", &["issuing.pem"]);
    let key = Some(world.certificates.key.as_str());
    let asked = Asked::read(READ).with("X-Forwarded-Client-Cert", &cert);
    let allowed = world.ask_with(Form::Envoy, &asked, key);
    assert_eq!(allowed.status, 200);
    let who = allowed.header("x-portreeve-subject");
    assert_eq!(who, Some("spiffe://example.org/ns/shop/sa/orders"));
    // The client's own words before it are none of Envoy's, and its `Client-Cert` is nothing there.
    let first = forwarded_cert("plain.pem", &["issuing.pem"]);
    let two = format!("{first},{cert}");
    let asked = Asked::read(READ).with("X-Forwarded-Client-Cert", &two);
    assert_eq!(world.ask_with(Form::Envoy, &asked, key).status, 400);
    let alone = Asked::read(READ).with("Client-Cert", &super::world::client_cert("orders.pem"));
    assert_eq!(world.ask_with(Form::Envoy, &alone, key).status, 401);
    let stranger = forwarded_cert("by-stranger.pem", &[]);
    let asked = Asked::read(READ).with("X-Forwarded-Client-Cert", &stranger);
    assert_eq!(world.ask_with(Form::Envoy, &asked, key).status, 400);
    // Where Envoy is not said to write it, it is the client's own word.
    let asked = Asked::read(READ).with("X-Forwarded-Client-Cert", &cert);
    assert_eq!(world.ask(Form::Envoy, &asked).status, 401);
}

#[test]
fn l2_the_token_for_the_app_is_never_more_than_the_clients() {
    let world = World::new();
    let line = "GET https://shop.example/api/orders/7";
    let scope = |asked: &Asked| {
        let response = ask(&world, asked);
        assert_eq!(response.status, 200);
        let token = response.header("authorization").unwrap();
        let token = token.strip_prefix("Bearer ").unwrap();
        let claims = crate::oauth::claims(&json!({ "access_token": token }));
        assert_eq!(claims["aud"], "https://orders.internal");
        assert_eq!(claims["sub"], "User/alice");
        claims["scope"].clone()
    };
    let client = world.own(Form::Forwarded, &Map::new());
    assert_eq!(scope(&with_token(line, &client)), "orders.read");
    assert_eq!(
        scope(&with_token(line, &world.foreign(&Map::new()))),
        "orders.read"
    );
    // A route without one leaves `Authorization` alone.
    let response = ask(&world, &with_token(READ, &client));
    assert_eq!(response.header("authorization"), None);
}
