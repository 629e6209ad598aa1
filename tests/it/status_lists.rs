//! Token Status Lists (draft-ietf-oauth-status-list): what verifiers see that cannot ask.

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use token::keys::admit_jwks;
use token::status_list::StatusList;

use crate::harness::{Client, Engine, Site, eventually};
use crate::revocation::{claims, revoke, token};

fn site() -> Site {
    Site::with("public_url = \"https://pdp.example\"\n[tokens]\nstatus_list = true\n")
}

/// The path of a token's list and its place there.
fn place(token: &str) -> (String, u64) {
    let status = &claims(token)["status"]["status_list"];
    let uri = status["uri"].as_str().unwrap();
    let path = uri.strip_prefix("https://pdp.example").unwrap();
    (path.to_owned(), status["idx"].as_u64().unwrap())
}

/// A list, as a verifier without any key reads it.
fn list(engine: &Engine, path: &str) -> StatusList {
    let mut nobody = engine.client("");
    let response = nobody.get(path);
    assert_eq!(response.status, 200);
    let kind = response.header("content-type");
    assert_eq!(kind, Some("application/statuslist+jwt"));
    let text = String::from_utf8(response.body).unwrap();
    let parts: Vec<&str> = text.split('.').collect();
    let read = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap();
    let header: Value = serde_json::from_slice(&read(parts[0])).unwrap();
    assert_eq!(header["typ"], "statuslist+jwt");

    let jwks = nobody.get("/.well-known/jwks.json");
    let admitted = admit_jwks(&String::from_utf8(jwks.body).unwrap()).unwrap();
    let mut keys = admitted.keys().iter();
    let key = keys.find(|key| header["kid"] == key.kid()).unwrap();
    let signed = format!("{}.{}", parts[0], parts[1]);
    assert!(key.verify(signed.as_bytes(), &read(parts[2])));

    let claims = claims(&text);
    assert_eq!(claims["sub"], format!("https://pdp.example{path}"));
    assert!(claims["exp"].as_i64() > claims["iat"].as_i64());
    assert!(claims["ttl"].as_u64() > Some(0));
    assert_eq!(claims["status_list"]["bits"], 1);
    let lst = claims["status_list"]["lst"].as_str().unwrap();
    StatusList::decode(lst, 1 << 20).unwrap()
}

/// Which of the tokens their lists say are revoked, once they say so of `wanted`.
fn shows(engine: &Engine, tokens: &[String], wanted: &[bool]) {
    eventually("the lists show it", || {
        let seen: Vec<bool> = tokens
            .iter()
            .map(|token| {
                let (path, place) = place(token);
                list(engine, &path).is_revoked(place).unwrap()
            })
            .collect();
        (seen == wanted).then_some(())
    });
}

fn several(client: &mut Client, from: u32) -> Vec<String> {
    let names = (from..from + 4).map(|number| format!("cookie-{number}"));
    names.map(|name| token(client, &name)).collect()
}

#[test]
fn what_is_revoked_shows_in_its_list_also_after_a_kill() {
    let site = site();
    let (gateway, admin) = (site.key("gateway"), site.key("admin"));
    let mut engine = site.start();
    let mut client = engine.client(&gateway);
    let tokens = several(&mut client, 0);
    let places: BTreeSet<_> = tokens.iter().map(|token| place(token)).collect();
    assert_eq!(places.len(), 4, "no place is given out twice");
    shows(&engine, &tokens, &[false; 4]);

    assert_eq!(
        revoke(&mut client, &format!("token={}", tokens[1])).status,
        200
    );
    let by = |engine: &Engine, body: Value| {
        let response = engine.client(&admin).post("/v1/revocations", &body);
        assert_eq!(response.status, 200, "{body}");
    };
    by(&engine, json!({ "jti": claims(&tokens[2])["jti"] }));
    shows(&engine, &tokens, &[false, true, true, false]);

    engine.signal("KILL");
    engine.wait();
    let engine = site.start();
    shows(&engine, &tokens, &[false, true, true, false]);
    let newer = several(&mut engine.client(&gateway), 10);
    assert_ne!(
        place(&newer[0]).0,
        place(&tokens[0]).0,
        "places of old lists are not known"
    );
    by(
        &engine,
        json!({ "subject": { "type": "User", "id": "alice" } }),
    );
    shows(&engine, &tokens, &[true; 4]);
    shows(&engine, &newer, &[true; 4]);
    let after = several(&mut engine.client(&gateway), 20);
    shows(&engine, &after, &[false; 4]);
    by(
        &engine,
        json!({ "client": gateway.split('.').next().unwrap() }),
    );
    shows(&engine, &after, &[true; 4]);

    let mut nobody = engine.client("");
    assert_eq!(nobody.get("/oauth2/status-lists/none").status, 404);
}

#[test]
fn there_are_none_unless_they_are_wanted() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let token = token(&mut engine.client(&key), "cookie-1");
    assert!(claims(&token).get("status").is_none());
}
