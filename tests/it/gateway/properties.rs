//! Whatever is sent to a gateway's door: nothing is 500, and nothing is 2xx without an allow on
//! record.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Map;

use super::world::{Asked, Form, World};

/// Bytes that a header or a target may have, and some that mean something.
const TEXT: &str =
    "[!-~]{0,12}|[ -~]{0,40}|/orders/7|%2e%2e|%00|sh_[A-Za-z0-9_-]{80,90}|ey[A-Za-z0-9_.-]{5,60}";

fn target() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => Just("/orders/7".to_owned()),
        1 => Just("/pages/about".to_owned()),
        2 => "/[!-~]{0,10}",
        1 => "(/|//|%2f|%2e|%25|\\?|=|&|;|\\\\|\\.\\.){1,6}",
    ];
    prop::collection::vec(piece, 1..4).prop_map(|pieces| {
        let whole: String = pieces.concat();
        if whole.starts_with('/') {
            whole
        } else {
            format!("/{whole}")
        }
    })
}

fn header() -> impl Strategy<Value = (String, String)> {
    let names = [
        "Authorization",
        "Cookie",
        "DPoP",
        "Client-Cert",
        "X-Forwarded-Client-Cert",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Uri",
        "X-Original-URI",
        "X-Original-Method",
        "Origin",
        "X-HTTP-Method-Override",
        "X-Portreeve-Subject",
        "X-User-Id",
        "Portreeve-Key",
        "Accept",
        "X-Forwarded-Proto",
        "User-Agent",
        "X-Request-Id",
    ];
    let prefix = prop::sample::select(vec![
        "",
        "Bearer ",
        "DPoP ",
        "Basic ",
        "__Host-portreeve=",
        "for=",
        "Cert=",
        ":",
    ]);
    (prop::sample::select(names.to_vec()), prefix, TEXT)
        .prop_map(|(name, prefix, text)| (name.to_owned(), format!("{prefix}{text}")))
}

#[test]
fn nothing_is_2xx_without_an_allow_on_record_and_nothing_is_500() {
    let world = World::new();
    let mut let_in = Vec::new();
    // A `HEAD` would leave the length of a body that does not come.
    let methods = ["PUT", "POST", "DELETE", "OPTIONS", "get", "X"];
    let hosts = ["tenants.example", "a b", "shop.example:1", ""];
    let method = prop_oneof![2 => Just("GET"), 1 => prop::sample::select(methods.to_vec())];
    let host = prop_oneof![4 => Just("shop.example"), 1 => prop::sample::select(hosts.to_vec())];
    let target = prop_oneof![1 => Just("/orders/7".to_owned()), 1 => target()];
    let asked = (
        (0..3_usize, method, host, target),
        prop::collection::vec(header(), 0..3),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.9),
    );
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(300)
    });
    let seen = std::cell::RefCell::new(&mut let_in);
    runner
        .run(
            &asked,
            |((form, method, host, target), headers, with_token, with_key)| {
                let form = Form::ALL[form];
                let mut asked = Asked {
                    method: method.to_owned(),
                    host: host.to_owned(),
                    target,
                    headers,
                };
                if with_token {
                    let token = world.own(form, &Map::new());
                    asked = asked.with("Authorization", &format!("Bearer {token}"));
                }
                let key = with_key.then(|| world.key(form));
                let message = world.message(form, &asked, key);
                // What is no HTTP at all gets no answer, or 400 with the end of the connection.
                let Some(response) = world.engine.client("").raw(message.as_bytes()) else {
                    return Ok(());
                };
                prop_assert!(response.status != 500, "{message}");
                prop_assert!(!(201..=299).contains(&response.status), "{message}");
                if response.status == 200 {
                    let id = response
                        .header("x-portreeve-decision-id")
                        .map(str::to_owned);
                    prop_assert!(id.is_some(), "{message}");
                    seen.borrow_mut().extend(id);
                }
                Ok(())
            },
        )
        .unwrap();
    assert!(!let_in.is_empty(), "some are let in");
    let journal = world.journal();
    for id in let_in {
        let line = journal.lines().find(|line| line.contains(&id)).unwrap();
        assert!(line.contains(r#""outcome":"allow""#), "{line}");
    }
}
