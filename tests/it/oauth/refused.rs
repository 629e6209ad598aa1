//! What the endpoints refuse: case, request, status, error (RFC 6749 §5.2, RFC 7662 §2.3,
//! RFC 8693 §2.2.2, RFC 8707 §2, RFC 9449 §5). T12: each case has its own error.

use super::{ACCESS_TOKEN, DOCS, EXCHANGE, Holder, Speaker, journal};
use crate::harness::Site;

struct Case {
    name: &'static str,
    path: &'static str,
    body: String,
    status: u16,
    error: &'static str,
}

const TOKEN: &str = "/oauth2/token";
const INTROSPECT: &str = "/oauth2/introspect";

fn cases() -> Vec<Case> {
    let grant = |more: &str| format!("grant_type=client_credentials&{more}");
    let exchange = |more: &str| format!("grant_type={EXCHANGE}&{more}");
    let with_token = |more: &str| exchange(&format!("subject_token_type={ACCESS_TOKEN}&{more}"));
    let rows: Vec<(&str, &str, String, u16, &str)> = vec![
        ("nothing", TOKEN, String::new(), 400, "invalid_request"),
        (
            "no grant",
            TOKEN,
            "scope=read".into(),
            400,
            "invalid_request",
        ),
        (
            "an empty grant",
            TOKEN,
            "grant_type=".into(),
            400,
            "invalid_request",
        ),
        (
            "a grant that is not served",
            TOKEN,
            "grant_type=password".into(),
            400,
            "unsupported_grant_type",
        ),
        (
            "the grant in other letters",
            TOKEN,
            "grant_type=Client_Credentials".into(),
            400,
            "unsupported_grant_type",
        ),
        (
            "the grant twice",
            TOKEN,
            grant("grant_type=client_credentials"),
            400,
            "invalid_request",
        ),
        (
            "bad encoding",
            TOKEN,
            grant("scope=%zz"),
            400,
            "invalid_request",
        ),
        (
            "no UTF-8",
            TOKEN,
            grant("scope=%ff"),
            400,
            "invalid_request",
        ),
        (
            "no audience",
            TOKEN,
            grant("scope=read"),
            400,
            "invalid_target",
        ),
        (
            "an empty audience",
            TOKEN,
            grant("scope=read&audience="),
            400,
            "invalid_target",
        ),
        (
            "audience and resource",
            TOKEN,
            grant(&format!("scope=read&audience={DOCS}&resource={DOCS}")),
            400,
            "invalid_target",
        ),
        (
            "two audiences",
            TOKEN,
            grant(&format!("scope=read&audience={DOCS}&audience=x")),
            400,
            "invalid_request",
        ),
        (
            "a relative resource",
            TOKEN,
            grant("scope=read&resource=docs"),
            400,
            "invalid_target",
        ),
        (
            "a resource with a fragment",
            TOKEN,
            grant(&format!("scope=read&resource={DOCS}%23x")),
            400,
            "invalid_target",
        ),
        (
            "a service that nobody knows",
            TOKEN,
            grant("scope=read&audience=https://evil.example"),
            400,
            "invalid_target",
        ),
        (
            "everybody",
            TOKEN,
            grant("scope=read&audience=*"),
            400,
            "invalid_target",
        ),
        (
            "no scope",
            TOKEN,
            grant(&format!("audience={DOCS}")),
            400,
            "invalid_scope",
        ),
        (
            "a scope with quotes",
            TOKEN,
            grant(&format!("audience={DOCS}&scope=%22")),
            400,
            "invalid_scope",
        ),
        (
            "two spaces",
            TOKEN,
            grant(&format!("audience={DOCS}&scope=read++list")),
            400,
            "invalid_scope",
        ),
        (
            "too many scopes",
            TOKEN,
            grant(&format!(
                "audience={DOCS}&scope=a+b+c+d+e+f+g+h+i+j+k+l+m+n+o+p+q"
            )),
            400,
            "invalid_scope",
        ),
        (
            "a scope that nobody knows",
            TOKEN,
            grant(&format!("audience={DOCS}&scope=fly")),
            400,
            "invalid_scope",
        ),
        (
            "a scope that it may not have",
            TOKEN,
            grant(&format!("audience={DOCS}&scope=delete")),
            400,
            "invalid_scope",
        ),
        (
            "no refresh token",
            TOKEN,
            "grant_type=refresh_token".into(),
            400,
            "invalid_request",
        ),
        (
            "a refresh token of nobody",
            TOKEN,
            "grant_type=refresh_token&refresh_token=rt_x".into(),
            400,
            "invalid_grant",
        ),
        (
            "an access token for a refresh token",
            TOKEN,
            "grant_type=refresh_token&refresh_token=a.b.c".into(),
            400,
            "invalid_grant",
        ),
        (
            "no subject token",
            TOKEN,
            exchange(&format!("audience={DOCS}")),
            400,
            "invalid_request",
        ),
        (
            "no type of it",
            TOKEN,
            exchange(&format!("audience={DOCS}&subject_token=x")),
            400,
            "invalid_request",
        ),
        (
            "a type that is not taken",
            TOKEN,
            exchange(&format!(
                "audience={DOCS}&subject_token=x&subject_token_type=urn:ietf:params:oauth:token-type:saml2"
            )),
            400,
            "invalid_request",
        ),
        (
            "a token that is none",
            TOKEN,
            with_token(&format!("audience={DOCS}&subject_token=x")),
            400,
            "invalid_request",
        ),
        (
            "a refresh token is wanted",
            TOKEN,
            with_token(&format!(
                "audience={DOCS}&subject_token=x&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token"
            )),
            400,
            "invalid_request",
        ),
        (
            "for nobody in particular",
            TOKEN,
            with_token("subject_token=x"),
            400,
            "invalid_target",
        ),
        (
            "an actor's type without its token",
            TOKEN,
            with_token(&format!(
                "audience={DOCS}&subject_token=x&actor_token_type={ACCESS_TOKEN}"
            )),
            400,
            "invalid_request",
        ),
        (
            "an actor's token without its type",
            TOKEN,
            with_token(&format!("audience={DOCS}&subject_token=x&actor_token=y")),
            400,
            "invalid_request",
        ),
        (
            "an actor's token that is none",
            TOKEN,
            with_token(&format!(
                "audience={DOCS}&subject_token=x&actor_token=y&actor_token_type={ACCESS_TOKEN}"
            )),
            400,
            "invalid_request",
        ),
        (
            "parameters in the URL",
            "/oauth2/token?grant_type=client_credentials",
            "scope=x".into(),
            400,
            "invalid_request",
        ),
        (
            "an assertion",
            TOKEN,
            grant("client_assertion=x"),
            401,
            "invalid_client",
        ),
        (
            "another client's id",
            TOKEN,
            grant("client_id=sk_00000000"),
            401,
            "invalid_client",
        ),
        (
            "two credentials",
            TOKEN,
            grant("client_secret=x"),
            400,
            "invalid_request",
        ),
        (
            "nothing to look at",
            INTROSPECT,
            String::new(),
            400,
            "invalid_request",
        ),
        (
            "two things to look at",
            INTROSPECT,
            "token=x&token=y".into(),
            400,
            "invalid_request",
        ),
        (
            "the token in the URL",
            "/oauth2/introspect?token=x",
            "x=y".into(),
            400,
            "invalid_request",
        ),
    ];
    rows.into_iter()
        .map(|(name, path, body, status, error)| Case {
            name,
            path,
            body,
            status,
            error,
        })
        .collect()
}

#[test]
fn every_refusal_has_its_error() {
    let site = Site::new();
    let service = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &service);
    let mut refused_after_authentication = 0;
    for case in cases() {
        let response = speaker.post_text(case.path, &case.body);
        let body = response.json();
        assert_eq!(response.status, case.status, "{}: {body}", case.name);
        assert_eq!(body["error"], case.error, "{}: {body}", case.name);
        let description = body["error_description"].as_str().unwrap();
        assert!(
            !description.is_empty()
                && description.bytes().all(|byte| matches!(byte, b' '..=b'~'))
                && !description.contains(['"', '\\']),
            "{}: {description}",
            case.name
        );
        let challenge = response.header("www-authenticate");
        assert_eq!(challenge.is_some(), case.status == 401, "{}", case.name);
        let read = ![
            "the grant twice",
            "bad encoding",
            "no UTF-8",
            "two audiences",
            "two credentials",
        ]
        .contains(&case.name);
        if case.path == TOKEN && case.status == 400 && read {
            refused_after_authentication += 1;
        }
    }
    drop(engine);
    // B7: refusals are on record, with what the client heard.
    let records = journal(&site);
    let told = records
        .iter()
        .filter(|record| record["kind"] == "token" && record["outcome"] == "refused");
    assert_eq!(told.count(), refused_after_authentication);
}

#[test]
fn who_is_not_known_is_told_how_to_authenticate_and_nothing_else() {
    let site = Site::new();
    let service = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &service);
    let other = Holder {
        key: format!("{}x", &service.key[..service.key.len() - 1]),
        ..service.clone()
    };
    let nobody = Holder {
        id: "sk_00000000".to_owned(),
        key: service.key.replacen(&service.id, "sk_00000000", 1),
    };
    let mut said = Vec::new();
    for authorization in [
        None,
        Some(other.basic()),
        Some(nobody.basic()),
        Some("Basic".to_owned()),
        Some("Basic !".to_owned()),
        Some("Bearer x".to_owned()),
        Some("Negotiate x".to_owned()),
    ] {
        speaker.authorization = authorization;
        for path in [TOKEN, INTROSPECT] {
            let response = speaker.post(path, &[("token", "x")]);
            assert_eq!(response.status, 401, "{:?}", speaker.authorization);
            let challenge = response.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Basic "), "{challenge}");
            said.push(response.json().to_string());
        }
    }
    said.dedup();
    assert_eq!(said.len(), 1, "the same words for all: {said:?}");
}

#[test]
fn x2_roles_that_are_not_for_it_get_no_tokens() {
    let site = Site::new();
    let author = Holder::new(&site, "author", "ann", &[]);
    let narrow = Holder::new(
        &site,
        "service",
        "intranet",
        &["--permission", "tokens.request"],
    );
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &author);
    for (path, body) in [
        (TOKEN, "grant_type=client_credentials"),
        (INTROSPECT, "token=x"),
    ] {
        let response = speaker.post_text(path, body);
        assert_eq!(response.status, 400);
        assert_eq!(response.json()["error"], "unauthorized_client", "{path}");
    }
    let mut speaker = Speaker::new(&engine, &narrow);
    let response = speaker.post_text(TOKEN, &format!("grant_type={EXCHANGE}"));
    assert_eq!(response.json()["error"], "unauthorized_client");
    let response = speaker.post_text(INTROSPECT, "token=x");
    assert_eq!(response.json()["error"], "unauthorized_client");
}

#[test]
fn a_body_of_another_kind_or_too_large_is_refused() {
    let site = Site::with("[limits]\nbody_bytes = 4096\n");
    let service = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let mut client = engine.client(&service.key);
    let json = client.post(
        TOKEN,
        &serde_json::json!({"grant_type": "client_credentials"}),
    );
    assert_eq!(
        (json.status, json.json()["error"].as_str()),
        (400, Some("invalid_request"))
    );
    let mut speaker = Speaker::new(&engine, &service);
    let response = speaker.post_text(TOKEN, &format!("x={}", "y".repeat(5000)));
    assert_eq!(response.status, 413);
    assert_eq!(response.json()["error"], "invalid_request");
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(client.send(method, TOKEN, &[], b"").status, 405, "{method}");
        assert_eq!(
            client.send(method, INTROSPECT, &[], b"").status,
            405,
            "{method}"
        );
    }
}

#[test]
fn a_policy_set_without_services_grants_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "own.cedarschema",
        "entity User; entity Doc; action read appliesTo { principal: [User], resource: [Doc] };",
    );
    write(
        "own.cedar",
        "@id(\"all\") permit (principal, action, resource);",
    );
    let site = Site::with(&format!("[policies]\ndir = {:?}\n", folder.path()));
    let service = Holder::new(&site, "service", "nightly-report", &[]);
    let engine = site.start();
    let mut speaker = Speaker::new(&engine, &service);
    for scope in ["read", "write", "token.delegate"] {
        let wish = [
            ("grant_type", "client_credentials"),
            ("audience", DOCS),
            ("scope", scope),
        ];
        let response = speaker.post(TOKEN, &wish);
        assert_eq!(response.status, 400, "{scope}");
        assert_eq!(response.json()["error"], "invalid_scope", "{scope}");
    }
}
