//! Routes that ask about another than whose session it is: the session holds all the same.

use serde_json::json;

use super::world::{Asked, Form, World};
use crate::harness::Response;

const SERVICE: &str = "GET https://shop.example/as-a-service/7";
const SESSION: &str = "GET https://shop.example/of-a-session/7";
const READ: &str = "GET https://shop.example/orders/7";

fn ask(world: &World, line: &str, handle: &str) -> Response {
    let cookie = format!("__Host-portreeve={handle}");
    world.ask(Form::Forwarded, &Asked::read(line).with("Cookie", &cookie))
}

#[test]
fn e11_a_handle_that_is_old_is_good_for_nothing_there_either() {
    let mut world = World::new();
    let (id, first) = world.session(Form::Forwarded, &json!({}));
    for line in [SERVICE, SESSION] {
        let allowed = ask(&world, line, &first);
        assert_eq!(allowed.status, 200, "{line}: {}", allowed.json());
        assert_eq!(allowed.header("x-portreeve-session"), Some(id.as_str()));
    }
    world.restart("UPDATE sessions SET handle_at = handle_at - 600000");
    let allowed = ask(&world, SERVICE, &first);
    let set = allowed.header("set-cookie").expect("the next handle");
    let next = set.split([';', '=']).nth(1).unwrap().to_owned();
    assert_eq!(ask(&world, SERVICE, &next).status, 200);
    world.restart(
        "UPDATE sessions SET handle_at = handle_at - 100000, \
         previous_until = previous_until - 100000",
    );
    // Of a program nobody asks a second factor.
    for (line, outcome) in [(SERVICE, "deny"), (SESSION, "mfa"), (READ, "mfa")] {
        let refused = ask(&world, line, &first);
        assert_eq!(refused.json()["outcome"], outcome, "{line}");
    }
    // Somebody has a copy of one of the two: whoever has the other has to prove who they are.
    for line in [SESSION, READ] {
        assert_eq!(ask(&world, line, &next).json()["outcome"], "mfa", "{line}");
    }
    assert_eq!(ask(&world, SERVICE, &next).json()["outcome"], "deny");
}

#[test]
fn m7_what_is_proven_in_the_session_counts_there() {
    let world = World::new();
    let line = "POST https://shop.example/of-a-session/7";
    let (id, handle) = world.session(Form::Forwarded, &json!({}));
    let refused = ask(&world, line, &handle);
    assert_eq!(refused.json()["outcome"], "mfa", "{}", refused.json());
    let decision = refused.header("x-portreeve-decision-id").unwrap();
    let path = format!("/v1/decisions/{decision}/step-up");
    let mut app = world.engine.client(world.key(Form::Forwarded));
    let passed = app.post(&path, &json!({ "level": 3 })).json();
    let next = passed["session"]["handle"].as_str().expect("the session's");
    let allowed = ask(&world, line, next);
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("x-portreeve-subject"), Some(id.as_str()));
    let ended = app.send("DELETE", &format!("/v1/sessions/{id}"), &[], b"");
    assert_eq!(ended.status, 204);
    assert_eq!(ask(&world, line, next).status, 401);
}
