//! Tokens that services get for themselves (X1, X2, X8, T4, T6, T7, T20, T22, T29).

use domain::Timestamp;
use serde_json::json;
use token::keys::admit_jwks;
use token::verify::{Expected, verify};

use super::{DOCS, Holder, Speaker, claims, journal};
use crate::harness::{Site, eventually};

#[test]
fn x1_x2_x8_a_service_gets_a_token_for_itself() {
    let site = Site::new();
    let service = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &service);
    // Writing is nothing that the policies allow it: it gets the rest (L1).
    let token = speaker.own_token(DOCS, "read write download");
    assert_eq!(token["token_type"], "Bearer", "T6");
    assert_eq!(token["expires_in"], 60, "X1");
    assert_eq!(token["scope"], "read download");
    assert!(token.get("refresh_token").is_none(), "RFC 6749 §4.4.3");
    let claims = claims(&token);
    assert_eq!(claims["iss"], format!("http://{}", engine.address));
    assert_eq!(claims["sub"], "Service/nightly-report");
    assert_eq!(claims["aud"], DOCS);
    assert_eq!(claims["client_id"], service.id.as_str());
    assert_eq!(claims["scope"], "read download");
    let (iat, exp) = (
        claims["iat"].as_i64().unwrap(),
        claims["exp"].as_i64().unwrap(),
    );
    assert_eq!((exp - iat, claims["nbf"].as_i64()), (60, Some(iat)), "T4");
    assert!(claims["jti"].is_string() && claims["acr"].is_string());
    assert!(claims.get("act").is_none() && claims.get("cnf").is_none());

    // T22: whoever has the published keys needs nobody else to verify it.
    let jwks = engine.client("").get("/.well-known/jwks.json");
    let keys = admit_jwks(std::str::from_utf8(&jwks.body).unwrap()).unwrap();
    let text = token["access_token"].as_str().unwrap();
    let issuer = format!("http://{}", engine.address);
    let expected = Expected::access_token(&issuer, Some(DOCS));
    let verified = verify(text, &keys, &expected, Timestamp::from_seconds(iat)).unwrap();
    assert_eq!(verified.scope, "read download");

    // Each scope is a decision on record, the refused one too.
    drop(engine);
    let records: Vec<_> = journal(&site)
        .into_iter()
        .filter(|record| record["manner"] == "token")
        .collect();
    assert_eq!(records.len(), 3, "{records:?}");
    for record in records {
        let granted = record["request"]["action"]["name"] != "write";
        assert_eq!(record["outcome"] == "allow", granted, "{record}");
        assert_eq!(record["token_id"] == claims["jti"], granted, "{record}");
        assert_eq!(
            record["request"]["resource"],
            json!({"type": "Audience", "id": DOCS})
        );
        assert_eq!(record["request"]["subject"]["id"], "nightly-report");
    }
}

#[test]
fn x8_a_client_may_authenticate_in_any_one_of_three_ways() {
    let site = Site::new();
    let service = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &service);
    let wish = [
        ("grant_type", "client_credentials"),
        ("resource", DOCS),
        ("scope", "read"),
    ];
    speaker.token(&wish);
    speaker.authorization = Some(format!("Bearer {}", service.key));
    speaker.token(&wish);
    speaker.authorization = None;
    let secret = service.key.split_once('.').unwrap().1;
    for secret in [secret, &service.key] {
        let mut in_the_form = wish.to_vec();
        in_the_form.extend([
            ("client_id", service.id.as_str()),
            ("client_secret", secret),
        ]);
        speaker.token(&in_the_form);
    }
}

#[test]
fn a_token_for_the_engine_itself_has_permissions_for_scopes() {
    let site = Site::new();
    let gateway = Holder::new(&site, "gateway", "shop", &[]);
    let engine = site.start();
    let url = format!("http://{}", engine.address);
    let mut speaker = Speaker::new(&engine, &gateway);
    // A gateway may not write keys, so its token cannot either.
    let token = speaker.own_token(&url, "evaluate keys.write sessions.create nonsense");
    assert_eq!(token["scope"], "evaluate sessions.create");
    assert_eq!(claims(&token)["aud"], url.as_str());
    let none = speaker.post(
        "/oauth2/token",
        &[
            ("grant_type", "client_credentials"),
            ("audience", &url),
            ("scope", "keys.write"),
        ],
    );
    assert_eq!(
        (none.status, none.json()["error"].as_str()),
        (400, Some("invalid_scope"))
    );
    // Who may do everything gets no token that makes what lives on after it.
    let admin = Holder::new(&site, "admin", "root", &[]);
    let mut speaker = Speaker::new(&engine, &admin);
    let got = speaker.own_token(&url, "keys.write keys.read tokens.request tokens.exchange");
    assert_eq!(got["scope"], "keys.read");
    let wish = |scope| {
        [
            ("grant_type", "client_credentials"),
            ("audience", url.as_str()),
            ("scope", scope),
        ]
    };
    let never = speaker.post("/oauth2/token", &wish("keys.write")).json();
    assert_eq!(never["error"], "invalid_scope");
    let why = never["error_description"].as_str().unwrap();
    assert!(why.contains("keys.write"), "{why}");
    drop(engine);
    let records = journal(&site);
    let granted = records
        .iter()
        .find(|record| record["kind"] == "token" && record["outcome"] == "granted")
        .unwrap();
    assert_eq!(granted["token_id"], claims(&token)["jti"]);
}

#[test]
fn o1_o3_tokens_and_refused_exchanges_are_counted() {
    let site = Site::new();
    let service = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &service);
    let token = speaker.own_token(DOCS, "read");
    speaker.introspect(token["access_token"].as_str().unwrap());
    speaker.introspect("nonsense");
    speaker.post(
        "/oauth2/token",
        &[
            ("grant_type", super::EXCHANGE),
            ("audience", "https://made.up"),
        ],
    );
    let mut client = engine.client("");
    for line in [
        r#"portreeve_token_issued_total{service="https://docs.example",token_type="client_credentials"} 1"#,
        r#"portreeve_token_propagation_errors_total{source="nightly-report",target="other",error_type="invalid_request"} 1"#,
        r#"portreeve_token_validation_duration_seconds_count{service="introspection",result="active"} 1"#,
        r#"portreeve_token_validation_duration_seconds_count{service="introspection",result="inactive"} 1"#,
    ] {
        eventually(line, || {
            let page = String::from_utf8(client.get("/metrics").body).unwrap();
            page.contains(line).then_some(())
        });
    }
}
