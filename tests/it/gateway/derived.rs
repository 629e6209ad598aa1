//! The token for the app: never longer, less bound or harder to take back than what the client has.

use serde_json::{Map, Value, json};

use super::world::{Asked, Form, World, changes, seconds};
use crate::harness::Response;
use crate::oauth;

const WITH_A_TOKEN: &str = "GET https://shop.example/api/orders/7";
const FOR_THE_GATEWAY: &str = "GET https://shop.example/receipts/7";

fn with_token(line: &str, token: &str) -> Asked {
    Asked::read(line).with("Authorization", &format!("Bearer {token}"))
}

/// How the token for the app is presented, the token, and what it says.
fn of_app(response: &Response) -> (String, String, Value) {
    assert_eq!(response.status, 200, "{:?}", response.headers);
    let sent = response.header("authorization").unwrap();
    let (scheme, token) = sent.split_once(' ').unwrap();
    let claims = oauth::claims(&json!({ "access_token": token }));
    (scheme.to_owned(), token.to_owned(), claims)
}

#[test]
fn x4_it_ends_with_the_clients_and_says_from_which_one_it_comes() {
    let world = World::new();
    let ends = seconds() + 60;
    let act = json!({ "sub": "Service/login", "client_id": "sk_00000001" });
    let own = json!({
        "exp": ends, "jti": "the-first", "original_jti": "before", "lineage": ["between"],
        "act": act, "acr": "urn:portreeve:acr:mfa", "auth_time": "now-10",
    });
    let foreign = json!({ "exp": ends });
    for (what, token) in [
        ("ours", world.own(Form::Forwarded, &changes(own))),
        ("an issuer's", world.foreign(&changes(foreign))),
    ] {
        let response = world.ask(Form::Forwarded, &with_token(WITH_A_TOKEN, &token));
        let (scheme, _, claims) = of_app(&response);
        assert_eq!(scheme, "Bearer", "{what}");
        assert!(claims["exp"].as_i64().unwrap() <= ends, "{what}: {claims}");
        assert!(claims["original_jti"].is_string(), "{what}: {claims}");
        assert_eq!(claims["context"]["ip"], "198.51.100.7", "{what}");
        if what == "ours" {
            assert_eq!(claims["original_jti"], "before");
            assert_eq!(claims["lineage"], json!(["between", "the-first"]));
            assert_eq!(claims["act"], act, "who acts, and nobody besides");
            assert_eq!(claims["acr"], "urn:portreeve:acr:mfa");
        }
    }
}

#[test]
fn b5_what_is_taken_back_from_the_client_is_taken_back_from_the_app() {
    let world = World::new();
    let client = world.own(Form::Forwarded, &Map::new());
    let asked = with_token(WITH_A_TOKEN, &client);
    let (_, token, _) = of_app(&world.ask(Form::Forwarded, &asked));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let mut app = world.engine.client(world.key(Form::Forwarded));
    let mut is_active = || {
        let body = format!("token={token}");
        let said = app.send("POST", "/oauth2/introspect", &form, body.as_bytes());
        said.json()["active"].as_bool().unwrap()
    };
    assert!(is_active());
    let body = format!("token={client}");
    let mut gateway = world.engine.client(world.key(Form::Forwarded));
    let revoked = gateway.send("POST", "/oauth2/revoke", &form, body.as_bytes());
    assert_eq!(revoked.status, 200);
    assert!(!is_active());
}

#[test]
fn l6_what_opens_a_gateway_again_stays_bound() {
    let world = World::new();
    let bound = json!({
        "cnf": { "jkt": world.device.id() }, "scope": "orders.read receipts.read",
    });
    let token = world.own(Form::Forwarded, &changes(bound));
    let ask = |line: &str| {
        let asked = Asked::read(line).with("Authorization", &format!("DPoP {token}"));
        let proof = world.proof(&asked, &token, &Map::new());
        of_app(&world.ask(Form::Forwarded, &asked.with("DPoP", &proof)))
    };
    // The app has no proof for its own token: the gateway saw the client's.
    let (scheme, _, claims) = ask(WITH_A_TOKEN);
    assert_eq!((scheme.as_str(), &claims["cnf"]), ("Bearer", &Value::Null));
    let (scheme, for_gateway, claims) = ask(FOR_THE_GATEWAY);
    assert_eq!(scheme, "DPoP");
    assert_eq!(claims["cnf"]["jkt"], world.device.id());
    let stolen = with_token(FOR_THE_GATEWAY, &for_gateway);
    assert_eq!(world.ask(Form::Forwarded, &stolen).status, 401);
}
