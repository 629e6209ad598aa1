//! Taking back what was issued: `POST /oauth2/revoke` (RFC 7009) and `/v1/revocations`.

use std::time::{Duration, SystemTime};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use domain::Timestamp;
use serde_json::{Value, json};
use store::Store;
use store::sqlite::NewRevocation;

use crate::harness::{Client, Engine, Response, Site, alice_reads, eventually};
use crate::refreshing::sign_in;

/// In the form of an id that the engine gives.
const SESSION: &str = "ses_AAAAAAAAAAAAAAAAAAAAAA";

const DOCS: &str = "https://docs.example";

/// An access token of alice's, as a gateway gets one with an answer.
pub(crate) fn token(gateway: &mut Client, session: &str) -> String {
    let mut question = alice_reads();
    question["context"]["token"] = json!({ "audience": DOCS });
    question["context"]["session_id"] = json!(session);
    let answer = gateway.ask(&question);
    let token = &answer["context"]["token"]["access_token"];
    token
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned()
}

pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
}

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

pub(crate) fn revoke(client: &mut Client, form: &str) -> Response {
    client.send("POST", "/oauth2/revoke", &[FORM], form.as_bytes())
}

fn listed(admin: &mut Client, query: &str) -> Vec<Value> {
    let response = admin.get(&format!("/v1/revocations{query}"));
    assert_eq!(response.status, 200);
    response.json()["revocations"].as_array().unwrap().clone()
}

#[test]
fn a_client_revokes_its_own_tokens_and_no_others() {
    let site = Site::new();
    let (ours, theirs) = (site.key("gateway"), site.key("gateway"));
    let (author, admin) = (site.key("author"), site.key("admin"));
    let engine = site.start();
    let (mut gateway, mut admin) = (engine.client(&ours), engine.client(&admin));
    let token = token(&mut gateway, "cookie-1");
    let form = format!("token={token}");

    let other = revoke(&mut engine.client(&theirs), &form);
    assert_eq!(other.status, 400);
    assert_eq!(other.json()["error"], "unauthorized_client");
    let unpermitted = revoke(&mut engine.client(&author), &form);
    assert_eq!(unpermitted.status, 400);
    let nobody = revoke(&mut engine.client("sk_00000000.x"), &form);
    assert_eq!(nobody.status, 401);
    assert!(listed(&mut admin, "").is_empty());

    for (form, wanted) in [
        // What is no token of ours is not valid, which is what was asked for.
        ("token=nonsense".to_owned(), 200),
        (
            "token=rt_a.0.b.c&token_type_hint=refresh_token".to_owned(),
            200,
        ),
        (format!("token={token}x"), 200),
        ("token_type_hint=access_token".to_owned(), 400),
        (format!("token={token}&token={token}"), 400),
        // A wrong hint, or one that nobody knows, changes nothing.
        (format!("{form}&token_type_hint=refresh_token"), 200),
        (format!("{form}&token_type_hint=cookie"), 200),
    ] {
        let response = revoke(&mut gateway, &form);
        assert_eq!(response.status, wanted, "{form}");
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(wanted == 200, response.body.is_empty());
    }
    let revoked = listed(&mut admin, "");
    let (claims, key_id) = (claims(&token), ours.split('.').next().unwrap());
    assert_eq!(revoked.len(), 1, "twice is once: {revoked:?}");
    assert_eq!(revoked[0]["jti"], claims["jti"]);
    assert_eq!(
        (&revoked[0]["of"], &revoked[0]["by"]),
        (&json!("User/alice"), &json!(key_id))
    );
    assert_eq!(gateway.get("/oauth2/revoke").status, 405);
}

#[test]
fn a_client_may_authenticate_as_rfc_6749_says() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let token = token(&mut engine.client(&key), "cookie-1");
    let (id, secret) = key.split_once('.').unwrap();
    let basic = format!(
        "Basic {}",
        BASE64.encode(format!("{id}:{secret}").as_bytes())
    );
    let mut nobody = engine.client("");
    let by_header = [FORM, ("Authorization", basic.as_str())];
    let form = format!("token={token}");
    let response = nobody.send("POST", "/oauth2/revoke", &by_header, form.as_bytes());
    assert_eq!(response.status, 200);
    let form = format!("{form}&client_id={id}&client_secret={secret}");
    assert_eq!(revoke(&mut nobody, &form).status, 200);
    let twice = nobody.send("POST", "/oauth2/revoke", &by_header, form.as_bytes());
    assert_eq!(twice.status, 400);
}

#[test]
fn v10_administrators_revoke_whatever_there_is_and_see_it() {
    let site = Site::new();
    let (gateway, operator) = (site.key("gateway"), site.key("operator"));
    let engine = site.start();
    let (mut gateway, mut operator) = (engine.client(&gateway), engine.client(&operator));
    let path = "/v1/revocations";
    assert_eq!(gateway.post(path, &json!({ "jti": "1" })).status, 403);
    assert_eq!(gateway.get(path).status, 403);
    for wrong in [
        json!({}),
        json!([]),
        json!({ "jti": "1", "session": "ses_1" }),
        json!({ "jti": "" }),
        json!({ "jti": "a\nb" }),
        json!({ "jti": "x".repeat(2000) }),
        json!({ "jti": 1 }),
        json!({ "jti": "1", "reasons": "x" }),
        json!({ "jti": "1", "reason": "x".repeat(2000) }),
        json!({ "jti": "1", "before": "2026-01-01T00:00:00Z" }),
        // A word that clients choose is nobody's alone.
        json!({ "session": "cookie-1" }),
        json!({ "session": "ses_1" }),
        json!({ "session": "sk_1/cookie-1" }),
        json!({ "subject": "alice" }),
        json!({ "subject": { "type": "User" } }),
        json!({ "subject": "User/alice", "before": "yesterday" }),
        json!({ "issuer_before": "now" }),
    ] {
        assert_eq!(operator.post(path, &wrong).status, 400, "{wrong}");
    }
    assert!(listed(&mut operator, "").is_empty());

    let moment = "2026-01-01T00:00:00.000Z";
    let alice = json!({ "type": "User", "id": "alice" });
    for (body, wanted) in [
        (
            json!({ "session": SESSION, "reason": "logout" }),
            json!({ "session": SESSION }),
        ),
        (
            json!({ "subject": alice }),
            json!({ "subject": "User/alice" }),
        ),
        (
            json!({ "subject": "User/bob", "before": moment }),
            json!({ "subject": "User/bob", "before": moment }),
        ),
        (json!({ "family": "f" }), json!({ "family": "f" })),
        (json!({ "client": "sk_1" }), json!({ "client": "sk_1" })),
        (
            json!({ "issuer_before": moment }),
            json!({ "issuer_before": moment }),
        ),
        (json!({ "jti": "j" }), json!({ "jti": "j" })),
    ] {
        let response = operator.post(path, &body);
        let answer = response.json();
        assert_eq!(response.status, 200, "{answer}");
        assert_eq!(answer["already"], false, "{answer}");
        for (member, value) in wanted.as_object().unwrap() {
            assert_eq!(answer[member], *value, "{answer}");
        }
    }
    // Ended once is ended, whatever the clock says by now.
    std::thread::sleep(Duration::from_millis(5));
    for body in [
        json!({ "session": SESSION }),
        json!({ "family": "f" }),
        json!({ "jti": "j" }),
    ] {
        let again = operator.post(path, &body).json();
        assert_eq!(again["already"], true, "{again}");
    }

    let all = listed(&mut operator, "");
    assert_eq!(all.len(), 7);
    assert_eq!(all[6]["reason"], "logout", "the newest first");
    let first = operator.get(&format!("{path}?limit=4")).json();
    let rest = listed(&mut operator, &format!("?limit=4&before={}", first["next"]));
    assert_eq!(
        [first["revocations"].as_array().unwrap().clone(), rest].concat(),
        all
    );
    let found = listed(&mut operator, "?kind=subject&id=User/bob");
    assert_eq!(found, [all[4].clone()]);
    for wrong in ["?kind=user", "?limit=0", "?before=x", "?page=1"] {
        assert_eq!(
            operator.get(&format!("{path}{wrong}")).status,
            400,
            "{wrong}"
        );
    }
}

#[test]
fn v10_a_full_list_admits_what_ends_much_at_once() {
    let site = Site::with("[limits]\nrevocations = 2");
    let (gateway, operator) = (site.key("gateway"), site.key("operator"));
    let engine = site.start();
    let (mut gateway, mut operator) = (engine.client(&gateway), engine.client(&operator));
    let session = sign_in(&mut gateway);
    let access = session["token"]["access_token"].as_str().unwrap();
    let path = "/v1/revocations";
    for (body, wanted) in [
        (json!({ "jti": "1" }), 200),
        (json!({ "family": "2" }), 200),
        (json!({ "jti": "3" }), 503),
        (json!({ "family": "4" }), 503),
        // What is known is no more.
        (json!({ "jti": "1" }), 200),
        (json!({ "session": SESSION }), 200),
        (json!({ "client": "sk_1" }), 200),
        (json!({ "subject": "User/bob" }), 200),
        (json!({ "issuer_before": "2026-01-01T00:00:00Z" }), 200),
    ] {
        assert_eq!(operator.post(path, &body).status, wanted, "{body}");
    }
    let path = "/v1/subjects/User/alice/sessions/end";
    let ended = operator.send("POST", path, &[], b"");
    assert_eq!((ended.status, ended.json()), (200, json!({ "ended": 1 })));
    assert!(!is_active(&mut gateway, access));
}

#[test]
fn b5_a_family_that_is_revoked_is_so_in_its_row_too() {
    let site = Site::new();
    let (gateway, operator) = (site.key("gateway"), site.key("operator"));
    let engine = site.start();
    let (mut gateway, mut operator) = (engine.client(&gateway), engine.client(&operator));
    let session = sign_in(&mut gateway);
    let claims = claims(session["token"]["access_token"].as_str().unwrap());
    let body = json!({ "family": claims["family_id"], "reason": "stolen" });
    assert_eq!(operator.post("/v1/revocations", &body).status, 200);
    engine.stop();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let family = runtime.block_on(async {
        let path = site.data().join("portreeve.db");
        let store = Store::open(&path).await.unwrap();
        let id = claims["family_id"].as_str().unwrap();
        store.refresh_family(id).await.unwrap().unwrap()
    });
    assert_eq!(
        family.revoked.map(|(_, why)| why).as_deref(),
        Some("stolen")
    );
}

fn metric(engine: &Engine, key: &str, line: &str) -> Option<f64> {
    let page = engine.client(key).get("/metrics").body;
    let page = String::from_utf8(page).unwrap();
    let value = page.lines().find_map(|known| known.strip_prefix(line))?;
    value.trim().parse().ok()
}

/// All that the journal holds.
fn journal(site: &Site) -> String {
    let files = std::fs::read_dir(site.data().join("journal")).unwrap();
    let texts = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    String::from_utf8_lossy(&texts.collect::<Vec<_>>().concat()).into_owned()
}

#[test]
fn j11_what_was_answered_survives_a_kill_and_is_on_record() {
    let site = Site::new();
    let key = site.key("admin");
    let mut engine = site.start();
    let mut admin = engine.client(&key);
    for number in 0..20 {
        let body = json!({ "jti": format!("token-{number}"), "reason": "lost" });
        assert_eq!(admin.post("/v1/revocations", &body).status, 200);
    }
    engine.signal("KILL");
    engine.wait();
    let engine = site.start();
    assert_eq!(listed(&mut engine.client(&key), "").len(), 20);
    let restored = eventually("the entries are counted", || {
        metric(&engine, &key, "portreeve_revocation_entries ").filter(|entries| *entries > 0.0)
    });
    assert_eq!(restored, 20.0);
    engine.stop();
    let journal = journal(&site);
    let count = |what: &str| journal.matches(what).count();
    assert!(count("\"kind\":\"revocation\"") >= 20, "{journal}");
    assert!(count("token-19") >= 1 && count("\"lost\"") >= 20);
}

#[test]
fn what_was_revoked_by_a_clock_that_was_ahead_is_said() {
    let site = Site::new();
    let key = site.key("admin");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let seconds = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let now = Timestamp::from_seconds(seconds.cast_signed());
    runtime.block_on(async {
        let store = Store::open(&site.data().join("portreeve.db"))
            .await
            .unwrap();
        for (id, ahead) in [("User/alice", 86_400), ("User/bob", 0)] {
            let new = NewRevocation {
                kind: "subject",
                id: id.to_owned(),
                before: Some(now.plus_seconds(ahead)),
                until: now.plus_seconds(ahead + 3600),
                at: now.plus_seconds(ahead),
                by: "sk_test".to_owned(),
                subject: None,
                reason: None,
            };
            store.add_revocation(&new).await.unwrap();
        }
        store.close().await;
    });
    let engine = site.start();
    let all = listed(&mut engine.client(&key), "");
    let ahead: Vec<&Value> = all.iter().filter(|one| one["ahead"] == true).collect();
    assert_eq!(ahead.len(), 1, "{all:?}");
    assert_eq!(ahead[0]["subject"], "User/alice");
    let log = engine.stop();
    assert!(log.contains("revocations_ahead"), "{log}");
}

#[test]
fn v21_what_another_process_writes_is_taken_up_and_put_on_record() {
    let site = Site::new();
    let key = site.key("admin");
    let engine = site.start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let seconds = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let now = Timestamp::from_seconds(seconds.cast_signed());
    runtime.block_on(async {
        let store = Store::open(&site.data().join("portreeve.db"))
            .await
            .unwrap();
        let new = NewRevocation {
            kind: "session",
            id: "ses_1".to_owned(),
            before: None,
            until: now.plus_seconds(3600),
            at: now,
            by: "root".to_owned(),
            subject: None,
            reason: None,
        };
        store.add_revocation(&new).await.unwrap();
        store.close().await;
    });
    let counted = "portreeve_token_revocations_total{kind=\"session\"} ";
    let taken_up = eventually("it is in effect", || metric(&engine, &key, counted));
    assert_eq!(taken_up, 1.0);
    engine.stop();
    assert_eq!(journal(&site).matches("ses_1").count(), 1);
}

/// Whether a resource server is told that a token holds.
fn is_active(client: &mut Client, token: &str) -> bool {
    let form = format!("token={token}");
    let response = client.send("POST", "/oauth2/introspect", &[FORM], form.as_bytes());
    assert_eq!(response.status, 200);
    response.json()["active"].as_bool().unwrap()
}

#[test]
fn v20_v22_f6_what_is_revoked_is_refused_from_the_answer_on_and_what_is_issued_after_is_not() {
    let site = Site::new();
    let (key, admin) = (site.key("gateway"), site.key("admin"));
    let client_id = key.split('.').next().unwrap();
    let engine = site.start();
    let (mut gateway, mut admin) = (engine.client(&key), engine.client(&admin));
    let alice = json!({ "type": "User", "id": "alice" });
    for round in 0..5 {
        let session = format!("cookie-{round}");
        let by_session = |claims: &Value| json!({ "session": claims["sid"] });
        let kinds: [&dyn Fn(&Value) -> Value; 5] = [
            &|claims| json!({ "jti": claims["jti"] }),
            &by_session,
            &|_| json!({ "subject": alice }),
            &|_| json!({ "client": client_id }),
            &|_| json!({ "issuer_before": "2100-01-01T00:00:00Z" }),
        ];
        let kind = kinds[round];
        let old = if round == 1 {
            let opened = sign_in(&mut gateway);
            opened["token"]["access_token"].as_str().unwrap().to_owned()
        } else {
            token(&mut gateway, &session)
        };
        assert!(is_active(&mut gateway, &old));
        let body = kind(&claims(&old));
        assert_eq!(admin.post("/v1/revocations", &body).status, 200, "{body}");
        assert!(!is_active(&mut gateway, &old), "{body}");
        // In the same second, mostly.
        let new = token(&mut gateway, &format!("next-{round}"));
        assert!(is_active(&mut gateway, &new), "{body}");
    }
}

#[test]
fn b5_a_kill_right_after_the_answer_brings_nothing_back() {
    let site = Site::with("public_url = \"https://pdp.example\"\n");
    let key = site.key("gateway");
    let mut engine = site.start();
    let mut gateway = engine.client(&key);
    let (gone, kept) = (
        token(&mut gateway, "cookie-1"),
        token(&mut gateway, "cookie-2"),
    );
    assert_eq!(revoke(&mut gateway, &format!("token={gone}")).status, 200);
    engine.signal("KILL");
    engine.wait();
    let engine = site.start();
    let mut gateway = engine.client(&key);
    assert!(!is_active(&mut gateway, &gone));
    assert!(is_active(&mut gateway, &kept));
}
