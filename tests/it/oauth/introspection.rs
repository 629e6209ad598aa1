//! Introspection (RFC 7662, T32): who sees which token, and what of it.

use serde_json::json;

use super::{DOCS, Holder, LEDGER, Speaker, alices_token};
use crate::harness::Site;

#[test]
fn a_client_sees_what_is_for_it_and_what_it_got_and_nothing_else() {
    let site = Site::new();
    let gateway = Holder::new(&site, "gateway", "shop", &[]);
    let operator = Holder::new(&site, "operator", "ops", &[]);
    let docs = Holder::new(&site, "service", "docs", &["--audience", DOCS]);
    let ledger = Holder::new(&site, "service", "ledger", &["--audience", LEDGER]);
    let report = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let token = alices_token(&engine, &gateway, &json!({}));
    let alices = token["access_token"].as_str().unwrap();
    let own = Speaker::new(&engine, &report).own_token(DOCS, "read");
    let own = own["access_token"].as_str().unwrap();
    for (who, holder, sees_alices, sees_own) in [
        ("a gateway, which may see all", &gateway, true, true),
        ("an operator", &operator, true, true),
        ("the service that they are for", &docs, true, true),
        ("another service", &ledger, false, false),
        ("the client that got one", &report, false, true),
    ] {
        let mut speaker = Speaker::new(&engine, holder);
        for (text, sees) in [(alices, sees_alices), (own, sees_own)] {
            let said = speaker.introspect(text);
            assert_eq!(said["active"], sees, "{who}: {said}");
            if !sees {
                assert_eq!(said, json!({"active": false}), "{who}");
            }
        }
    }

    let said = Speaker::new(&engine, &docs).introspect(alices);
    assert_eq!(said["sub"], "User/alice");
    assert_eq!(said["client_id"], gateway.id.as_str());
    assert_eq!(said["aud"], DOCS);
    assert_eq!(said["scope"], "read list");
    assert_eq!(said["token_type"], "Bearer");
    assert_eq!(
        said["acr"], "urn:portreeve:acr:single-factor",
        "RFC 9470 §6.2"
    );
    for member in ["iss", "iat", "exp", "nbf", "jti"] {
        assert!(!said[member].is_null(), "{member}");
    }
    for own in ["context", "lineage", "family_id"] {
        assert!(said.get(own).is_none(), "{own}");
    }
}

#[test]
fn whatever_is_asked_about_the_answer_is_inactive_and_no_error() {
    let site = Site::new();
    let gateway = Holder::new(&site, "gateway", "shop", &[]);
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &gateway);
    let token = alices_token(&engine, &gateway, &json!({}));
    let good = token["access_token"].as_str().unwrap();
    assert_eq!(speaker.introspect(good)["active"], true);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = head.split_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    for bad in [
        "x",
        "..",
        "a.b.c",
        "rt_",
        "rt_a.0.b.c",
        "ßüñ",
        "' or 1=1 --",
        gateway.key.as_str(),
        head,
        &format!("{head}."),
        &format!("{good}="),
        &format!(" {good}"),
        &format!("{good}.{signature}"),
        &format!("{header}.{payload}.{other}{}", &signature[1..]),
        &format!("eyJhbGciOiJub25lIn0.{payload}."),
        &"a".repeat(16_000),
    ] {
        assert_eq!(speaker.introspect(bad), json!({"active": false}), "{bad}");
    }
    // A wrong hint is no reason to look no further (RFC 7662 §2.1).
    for hint in ["refresh_token", "access_token", "nonsense"] {
        let parameters = [("token", good), ("token_type_hint", hint)];
        let said = speaker.post("/oauth2/introspect", &parameters);
        assert_eq!(said.json()["active"], true, "{hint}");
    }
}
