//! What is nobody's fault, or not that of whoever asks: told apart from what is refused.

use serde_json::{Map, json};

use super::stories::always;
use super::world::{Asked, Form, World, changes};

const READ: &str = "GET https://shop.example/orders/7";

fn with_token(line: &str, token: &str) -> Asked {
    Asked::read(line).with("Authorization", &format!("Bearer {token}"))
}

#[test]
fn l6_right_after_a_start_a_proof_is_neither_good_nor_bad() {
    let mut world = World::new();
    world.restart("SELECT 1");
    let bound = json!({ "cnf": { "jkt": world.device.id() } });
    let token = world.own(Form::Forwarded, &changes(bound));
    let asked = Asked::read(READ).with("Authorization", &format!("DPoP {token}"));
    let proof = world.proof(&asked, &token, &Map::new());
    let response = world.ask(Form::Forwarded, &asked.with("DPoP", &proof));
    always("after a start", &response);
    assert_eq!(response.status, 503, "{}", response.json());
    assert!(response.header("retry-after").is_some());
}

#[test]
fn l6_a_proof_is_spent_only_where_a_decision_is_made() {
    let world = World::new();
    let bound = json!({ "cnf": { "jkt": world.device.id() }, "scope": "orders.change" });
    let token = world.own(Form::Forwarded, &changes(bound));
    let asked = Asked::read(READ).with("Authorization", &format!("DPoP {token}"));
    let proof = world.proof(&asked, &token, &Map::new());
    let asked = asked.with("DPoP", &proof);
    for time in ["first", "again"] {
        let response = world.ask(Form::Forwarded, &asked);
        assert_eq!(response.status, 403, "{time}: {}", response.json());
    }
}

#[test]
fn g4_guessed_keys_do_not_make_the_gateways_look_wrong() {
    let world = World::new();
    let asked = with_token(READ, &world.own(Form::Forwarded, &Map::new()));
    let statuses = (0..2000).map(|number| {
        let key = format!("sk_{number:08x}.AAAAAAAA");
        let response = world.ask_with(Form::Forwarded, &asked, Some(&key));
        always("a made-up key", &response);
        response
    });
    let mut refused = statuses.skip_while(|response| response.status == 403);
    let one = refused.next().expect("they are limited");
    assert_eq!(one.status, 503, "{}", one.json());
    assert!(one.header("retry-after").is_some());
    assert_eq!(world.ask(Form::Forwarded, &asked).status, 200);
}

#[test]
fn g3_who_comes_without_a_name_is_in_nobody_elses_way() {
    let limits = "[limits]\nsubject_per_second = 0.02\nsubject_burst = 2\n";
    let world = World::with(limits, "");
    let from = |ip: &str| {
        let asked = Asked::read("GET https://shop.example/pages/about");
        world.ask(Form::Forwarded, &asked.with("X-Forwarded-For", ip))
    };
    for (ip, wanted) in [
        ("198.51.100.7", 200),
        ("198.51.100.7", 200),
        ("198.51.100.7", 429),
        ("198.51.100.8", 200),
    ] {
        assert_eq!(from(ip).status, wanted, "{ip}");
    }
}

#[test]
fn an_operator_is_told_why() {
    let mut world = World::with("[gateway.callers.nobodys]\ntrusted = ['10.0.0.0/8']\n", "");
    let else_for = json!({ "aud": "https://else.example" });
    let token = world.own(Form::Forwarded, &changes(else_for));
    assert_eq!(
        world.ask(Form::Forwarded, &with_token(READ, &token)).status,
        401
    );
    let token = world.own(Form::Forwarded, &Map::new());
    let asked = with_token("GET https://shop.example/wrong/7", &token);
    let response = world.ask(Form::Forwarded, &asked);
    assert_eq!(
        (response.status, response.header("authorization")),
        (200, Some(""))
    );
    world.engine.signal("TERM");
    let log = world.engine.wait().1;
    for said in [
        "`gateway.callers.nobodys` holds for nobody",
        "add the audience to `gateway.audiences`",
        "belongs to another service than `https://else.example`",
    ] {
        assert!(log.contains(said), "{said}\n{log}");
    }
}

#[test]
fn what_a_client_calls_its_request_fills_no_record() {
    let world = World::new();
    let asked = with_token(READ, &world.own(Form::Forwarded, &Map::new()));
    let long = "a".repeat(129);
    for (id, is_kept) in [
        ("0af7651916cd43dd8448eb211c80319c", true),
        (&long, false),
        ("two words", false),
    ] {
        let asked = asked.clone().with("X-Request-Id", id);
        let response = world.ask(Form::Envoy, &asked);
        let told = response.header("x-request-id").unwrap();
        assert_eq!(told == id, is_kept, "{told}");
        assert!(told == id || told.starts_with("req_"), "{told}");
    }
}
