//! Envoy's external authorization over gRPC: B21, B23, F17, F22, G4, X22 and the gateway's side of
//! A1, asked by a real client over a real socket.

mod client;
mod served;
mod strangers;

use serde_json::{Value, json};

use crate::harness::{Engine, Site, eventually, root};
use client::{Checked, Grpc, header, http, request, source};

/// Documents for whoever may, an administrator's page, and a page for services.
const ROUTES: &str = r#"
grpc_listen = "127.0.0.1:0"

[gateway.identity]
X-User-Id = "subject.id"

[[gateway.routes]]
hosts = ["docs.example"]
path = "/documents/{id}"
action = { GET = "read", DELETE = "delete" }
resource = { type = "Document", id = "{id}" }

[[gateway.routes]]
hosts = ["docs.example"]
path = "/admin"
action = "administer"
resource = { type = "Application", id = "wiki" }
"#;

fn site() -> Site {
    Site::with(ROUTES)
}

fn connect(engine: &Engine, key: &str) -> Grpc {
    Grpc::new(engine.grpc.unwrap(), Some(key))
}

/// Opens a session; its id, and the header that a browser sends in it.
fn browser(engine: &Engine, key: &str, subject: &str) -> (String, String) {
    let body = json!({
        "subject": { "type": "User", "id": subject },
        "context": { "ip": "10.10.4.7", "assurance": { "level": 1 } },
    });
    let opened = engine.client(key).post("/v1/sessions", &body).json();
    let cookie = format!(
        "a=1; __Host-portreeve={}",
        opened["handle"].as_str().unwrap()
    );
    (opened["id"].as_str().unwrap().to_owned(), cookie)
}

fn problem(checked: &Checked) -> Value {
    let body: Value = serde_json::from_str(&checked.body).unwrap();
    assert_eq!(body["status"], checked.status, "{body}");
    assert_eq!(checked.headers["content-type"], "application/problem+json");
    assert_eq!(checked.headers["cache-control"], "no-store");
    body
}

#[test]
fn b23_an_allow_names_the_subject_and_takes_away_what_the_client_made_up() {
    let site = site();
    let (key, keeper) = (site.key("gateway"), site.key("keeper"));
    let engine = site.start();
    let (session, cookie) = browser(&engine, &key, "alice");
    let grpc = connect(&engine, &key);
    let checked = grpc.check(request(
        "GET",
        "/documents/handbook?tab=1",
        &[
            ("cookie", &cookie),
            ("x-request-id", "of-envoy"),
            ("x-portreeve-subject", "admin"),
            ("x-portreeve-new", "1"),
            ("x-user-id", "admin"),
            ("x-forwarded-user", "admin"),
            ("portreeve-key", "sk_stolen"),
            ("accept", "text/html"),
        ],
    ));
    assert_eq!(checked.status, 200, "{checked:?}");
    let header = |name: &str| checked.headers[name].as_str();
    assert_eq!(header("x-portreeve-subject"), "alice");
    assert_eq!(header("x-portreeve-subject-type"), "User");
    assert_eq!(header("x-portreeve-session"), session);
    assert_eq!(header("x-portreeve-outcome"), "allow");
    assert_eq!(header("x-user-id"), "alice");
    assert_eq!(header("cookie"), "a=1", "the session is not the app's");
    assert!(!checked.headers.contains_key("accept"));
    assert_eq!(
        checked.removed,
        ["portreeve-key", "x-forwarded-user", "x-portreeve-new"]
    );
    assert!(checked.added.is_empty(), "the handle stays: {checked:?}");

    // The gateway's log and the journal name one decision.
    let told = |name: &str| checked.told[name].as_str();
    assert_eq!(told("outcome"), "allow");
    assert_eq!(told("subject"), "User::alice");
    assert_eq!(told("session"), session);
    assert_eq!(told("risk.level"), header("x-portreeve-risk-level"));
    assert!(told("risk.score").parse::<u8>().is_ok());
    let id = header("x-portreeve-decision-id").to_owned();
    assert_eq!(told("decision_id"), id);
    let mut keeper = engine.client(&keeper);
    let record = eventually("the record is drained", || {
        let response = keeper.get(&format!("/v1/decisions/{id}"));
        (response.status == 200).then(|| response.json())
    });
    assert_eq!(record["outcome"], "allow", "{record}");
    assert_eq!(record["request_id"], "of-envoy", "{record}");
    assert_eq!(record["request"]["context"]["ip"], "10.10.4.7", "{record}");
}

/// A cookie of any page in another script, as browsers send it and as Envoy passes it on: the app
/// gets no session with it.
#[test]
fn the_session_stays_the_engines_whatever_bytes_come_beside_it() {
    let site = site();
    let key = site.key("gateway");
    let engine = site.start();
    let (_, cookie) = browser(&engine, &key, "alice");
    let grpc = connect(&engine, &key);
    for (theme, wanted) in [
        ("theme=\u{e9}".as_bytes(), Some("theme=\u{e9}; a=1")),
        (&b"theme=\xe9"[..], None),
    ] {
        let mut check = request("GET", "/documents/handbook", &[]);
        let mut sent = theme.to_vec();
        sent.extend_from_slice(b"; ");
        sent.extend_from_slice(cookie.as_bytes());
        header(&mut check, "cookie", &sent);
        let checked = grpc.check(check);
        assert_eq!(checked.status, 200, "{checked:?}");
        assert_eq!(checked.headers["x-portreeve-subject"], "alice");
        let others = checked.headers.get("cookie").map(String::as_str);
        assert_eq!(others, wanted, "{checked:?}");
        let is_removed = checked.removed.iter().any(|name| name == "cookie");
        assert_eq!(is_removed, wanted.is_none(), "{checked:?}");
    }
}

#[test]
fn what_is_not_allowed_is_answered_with_what_the_client_can_do() {
    let site = site();
    let (key, author) = (site.key("gateway"), site.key("author"));
    let engine = site.start();
    let (_, alice) = browser(&engine, &key, "alice");
    let (daves, dave) = browser(&engine, &key, "dave");
    let grpc = connect(&engine, &key);
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        grpc.check(request(method, path, headers))
    };

    let nobody = ask("GET", "/documents/handbook", &[]);
    assert_eq!(nobody.status, 401, "{nobody:?}");
    assert_eq!(
        nobody.headers["www-authenticate"],
        "Bearer realm=\"portreeve\""
    );
    assert!(nobody.told.is_empty() && problem(&nobody)["detail"].is_string());

    let denied = ask("DELETE", "/documents/handbook", &[("cookie", &alice)]);
    assert_eq!(denied.status, 403, "{denied:?}");
    assert_eq!(denied.told["outcome"], "deny");
    let body = problem(&denied);
    assert_eq!(body["decision_id"], denied.told["decision_id"]);

    let mfa = ask("GET", "/admin", &[("cookie", &dave)]);
    assert_eq!(mfa.status, 401, "{mfa:?}");
    assert_eq!(mfa.told["outcome"], "mfa");
    let challenge = &mfa.headers["www-authenticate"];
    assert!(
        challenge.starts_with("Bearer error=\"insufficient_user_authentication\"")
            && challenge.ends_with("max_age=\"0\""),
        "{challenge}"
    );
    let path = format!("/v1/sessions/{daves}/step-up");
    let lifted = engine.client(&key).post(&path, &json!({ "level": 3 }));
    assert_eq!(lifted.status, 200, "{:?}", lifted.json());
    // The handle changes with what it is good for.
    let handle = lifted.json()["handle"].as_str().map(str::to_owned);
    let cookie = handle.map_or(dave, |handle| format!("__Host-portreeve={handle}"));
    let allowed = ask("GET", "/admin", &[("cookie", &cookie)]);
    assert_eq!(allowed.status, 200, "{allowed:?}");

    for (what, method, path, headers, wanted) in [
        (
            "no route",
            "GET",
            "/elsewhere",
            &[("cookie", &*alice)][..],
            403,
        ),
        (
            "no route by this method",
            "POST",
            "/documents/handbook",
            &[("cookie", &alice)],
            403,
        ),
        (
            "an encoded slash",
            "GET",
            "/documents/a%2fb",
            &[("cookie", &alice)],
            400,
        ),
        (
            "a dot segment",
            "GET",
            "/documents/%2e%2e/admin",
            &[("cookie", &alice)],
            400,
        ),
        ("NUL", "GET", "/documents/a%00", &[("cookie", &alice)], 400),
        (
            "another method",
            "GET",
            "/documents/handbook",
            &[("cookie", &alice), ("x-http-method-override", "DELETE")],
            400,
        ),
        (
            "another path",
            "GET",
            "/documents/handbook",
            &[("cookie", &alice), ("x-rewrite-url", "/admin")],
            400,
        ),
        (
            "B23: what CGI takes for an identity header",
            "GET",
            "/documents/handbook",
            &[("cookie", &alice), ("x_user_id", "admin")],
            400,
        ),
        (
            "F22: a page of a neighbour that acts with the cookie",
            "DELETE",
            "/documents/handbook",
            &[("cookie", &alice), ("origin", "https://evil.example")],
            403,
        ),
        (
            "F22: two sessions",
            "GET",
            "/documents/handbook",
            &[("cookie", &alice), ("cookie", &alice)],
            400,
        ),
        (
            "a token of nobody",
            "GET",
            "/documents/handbook",
            &[("cookie", &alice), ("authorization", "Bearer a.b.c")],
            401,
        ),
        (
            "the gateway's own key",
            "GET",
            "/documents/handbook",
            &[("authorization", &format!("Bearer {key}"))],
            401,
        ),
        (
            "a session's public id",
            "GET",
            "/admin",
            &[("cookie", &format!("__Host-portreeve={daves}"))],
            401,
        ),
    ] {
        let refused = ask(method, path, headers);
        assert_eq!(refused.status, wanted, "{what}: {refused:?}");
        assert!(refused.told.is_empty(), "{what}: {refused:?}");
        problem(&refused);
    }

    // G4, and what a check must say.
    let long = "x".repeat(8_193);
    let refused = ask("GET", "/documents/handbook", &[("accept", &long)]);
    assert_eq!(refused.status, 431, "{refused:?}");
    problem(&refused);
    let mut nowhere = request("GET", "/documents/handbook", &[("cookie", &alice)]);
    source(&mut nowhere).address = None;
    assert_eq!(grpc.check(nowhere).status, 400);
    let mut other = request("GET", "/documents/handbook", &[("cookie", &alice)]);
    http(&mut other).path = "/documents/payroll".to_owned();
    assert_eq!(grpc.check(other).status, 400);

    // Whoever is no gateway: the client cannot mend it, and Envoy must not let it through.
    for key in [None, Some("sk_00000000.made-up"), Some(&*author)] {
        let message = request("GET", "/documents/handbook", &[("cookie", &alice)]);
        let refused = grpc.check_with(key, message).unwrap();
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(refused.told.is_empty());
    }
    let log = engine.stop();
    assert!(log.contains("keys create --role gateway"), "{log}");
}

#[test]
fn f17_a_session_that_is_over_is_taken_out_of_the_browser() {
    let site = site();
    let key = site.key("gateway");
    let engine = site.start();
    let (session, cookie) = browser(&engine, &key, "alice");
    let path = format!("/v1/sessions/{session}");
    let ended = engine.client(&key).send("DELETE", &path, &[], b"");
    assert!(matches!(ended.status, 200 | 204), "{ended:?}");
    let grpc = connect(&engine, &key);
    let message = request("GET", "/documents/handbook", &[("cookie", &cookie)]);
    let checked = grpc.check(message);
    assert_eq!(checked.status, 401, "{checked:?}");
    assert_eq!(
        checked.headers["set-cookie"],
        "__Host-portreeve=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
    );
}

#[test]
fn x22_a_certificate_that_the_gateway_passes_on_names_a_service() {
    let roots = root().join("tests/certificates/root.pem");
    let tokens = format!(
        "[tokens]\nclient_cert_roots = {roots:?}\nspiffe_trust_domains = [\"example.org\"]\n\
         client_cert_from = [\"127.0.0.1/32\"]"
    );
    let site = Site::with(&format!("{ROUTES}\n{tokens}"));
    let key = site.key("gateway");
    let engine = site.start();
    let grpc = connect(&engine, &key);
    let ask = |files: &[&str], headers: &[(&str, &str)]| {
        let mut message = request("GET", "/documents/handbook", headers);
        source(&mut message).certificate = files.iter().map(|name| encoded(name)).collect();
        grpc.check(message)
    };
    let known = ask(&["orders", "issuing"], &[]);
    assert_eq!(
        known.told["subject"],
        "Service::spiffe://example.org/ns/shop/sa/orders",
    );
    for strangers in [
        &["orders"][..],
        &["by-stranger", "issuing"],
        &["expired", "issuing"],
    ] {
        let refused = ask(strangers, &[]);
        assert_eq!(refused.status, 400, "{strangers:?}: {refused:?}");
    }
    // Envoy never writes this header: it is the client's own.
    let own = [("client-cert", ":AAAA:")];
    assert_eq!(ask(&[], &own).status, 401);
}

/// A file of certificates as Envoy passes it on: PEM, percent-encoded.
fn encoded(name: &str) -> String {
    let path = root()
        .join("tests/certificates")
        .join(format!("{name}.pem"));
    let pem = std::fs::read(path).unwrap();
    pem.iter().map(|byte| format!("%{byte:02X}")).collect()
}
