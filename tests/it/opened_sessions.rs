//! Sessions opened with the engine: E1 to E6, E11, E12, E14, E23, E28, F21, T21, T25, O8, O9.

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::harness::{Client, Response, Site, alice_reads, now};
use crate::refreshing::{is_active, refresh, sign_in, text};

fn open(client: &mut Client, subject: &str) -> Response {
    let body = json!({
        "subject": { "type": "User", "id": subject },
        "context": { "ip": "10.10.4.7", "device": { "id": format!("{subject}-laptop") } },
    });
    client.post("/v1/sessions", &body)
}

fn opened(client: &mut Client, subject: &str) -> Value {
    let response = open(client, subject);
    assert_eq!(response.status, 201, "{}", text(&response));
    response.json()
}

fn word<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap()
}

/// What is answered in a session, by id or handle.
fn ask_in(client: &mut Client, name: &str) -> Value {
    let mut question = alice_reads();
    question["context"]["session_id"] = json!(name);
    client.ask(&question)["context"].clone()
}

fn end(client: &mut Client, id: &str) -> u16 {
    let path = format!("/v1/sessions/{id}");
    client.send("DELETE", &path, &[], b"").status
}

#[test]
fn e5_e6_e14_e28_f21_a_session_has_an_id_a_handle_and_an_end() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let first = sign_in(&mut client);
    let (id, handle) = (word(&first, "id"), word(&first, "handle"));
    assert!(
        id.starts_with("ses_") && handle.starts_with("sh_"),
        "{first}"
    );
    assert_eq!(
        handle.len(),
        3 + 86,
        "its session, its number, 256 bits, a tag"
    );
    assert_eq!(first["subject"], json!({ "type": "User", "id": "alice" }));
    for member in ["created_at", "expires_at", "idle_expires_at"] {
        assert!(first[member].is_string(), "{member}: {first}");
    }
    let token = &first["token"];
    assert_eq!(
        (
            &token["token_type"],
            &token["expires_in"],
            &token["refresh_in"]
        ),
        (&json!("Bearer"), &json!(300), &json!(150)),
        "T6, T13"
    );
    // Never past its session, which began a moment ago.
    let expires_in = token["refresh_expires_in"].as_i64().unwrap();
    assert!((1..=8 * 3600).contains(&expires_in), "{expires_in}");
    assert!(is_active(&mut client, word(token, "access_token")));

    // Whatever it was called before, it gets a name that nobody chose (F21).
    let fixed = json!({
        "subject": { "type": "User", "id": "alice" },
        "context": { "session_id": id },
    });
    let second = client.post("/v1/sessions", &fixed).json();
    assert_ne!(second["id"], first["id"]);
    assert_ne!(second["handle"], first["handle"]);

    // Either name means it; the answer and the record have the public one.
    for name in [id, handle] {
        let context = ask_in(&mut client, name);
        assert_eq!(context["outcome"], "allow", "{context}");
        assert_eq!(context["session"]["id"], id);
        assert_eq!(context["session"]["expires_at"], first["expires_at"]);
    }
    let read = client.get(&format!("/v1/sessions/{id}")).json();
    assert_eq!(read["active"], true);
    assert_eq!(read["accesses"], 2, "E14");
    assert_eq!(read["elevated"], true);
    assert_eq!(read["birth"]["device_id"], "alice-laptop");
    assert!(read["handle_since"].is_string());
    assert!(read.get("handle").is_none());
    // A handle is secret: not in a path.
    let in_path = client.get(&format!("/v1/sessions/{handle}"));
    assert_eq!(in_path.status, 400);
}

#[test]
fn only_the_handle_brings_assurance_to_whoever_may_not_assert_it() {
    let site = Site::new();
    let key = site.key("gateway");
    let plain = site.key_that_may("gateway", &["evaluate", "access"]);
    let engine = site.start();
    let body = json!({
        "subject": { "type": "User", "id": "dave" },
        "context": { "assurance": { "level": 3, "auth_time": now() } },
    });
    let session = engine.client(&key).post("/v1/sessions", &body).json();
    let mut client = engine.client(&plain);
    assert_eq!(open(&mut client, "dave").status, 403);
    let mut administer = |name: &str| {
        let mut question = alice_reads();
        question["subject"]["id"] = json!("dave");
        question["action"]["name"] = json!("administer");
        question["context"]["session_id"] = json!(name);
        client.ask(&question)["context"]["outcome"].clone()
    };
    assert_eq!(administer(word(&session, "id")), "mfa");
    assert_eq!(administer(word(&session, "handle")), "allow");
    // Not in somebody else's hands.
    let mut stolen = alice_reads();
    stolen["context"]["session_id"] = session["handle"].clone();
    let context = client.ask(&stolen)["context"].clone();
    assert_eq!(context["cause"], "session_of_another");
}

#[test]
fn e11_o9_what_is_not_known_or_over_is_denied_and_told() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let session = opened(&mut client, "alice");
    let unknown = [
        format!("sh_{}", "A".repeat(86)),
        format!("ses_{}", "A".repeat(22)),
    ];
    for name in &unknown {
        let context = ask_in(&mut client, name);
        assert_eq!(context["cause"], "session_ended", "{name}: {context}");
        // Nor does asking make one of it.
        assert_eq!(ask_in(&mut client, name)["cause"], "session_ended");
    }
    // What is in another form is a caller's own word, as ever.
    assert_eq!(ask_in(&mut client, "ses_mine")["outcome"], "allow");
    assert_eq!(end(&mut client, word(&session, "id")), 204);
    let context = ask_in(&mut client, word(&session, "handle"));
    assert_eq!(context["cause"], "session_ended");
    let metrics = text(&client.get("/metrics"));
    let service = key.split_once('.').unwrap().0;
    let line = format!(
        "portreeve_session_errors_total{{service=\"{service}\",error_type=\"session_ended\"}} 5"
    );
    assert!(metrics.contains(&line), "{line}\n{metrics}");
    drop(client);
    let log = engine.stop();
    assert!(log.contains("suspicious_session_access"), "{log}");
}

#[test]
fn e4_the_one_used_least_recently_makes_room() {
    let site = Site::with("[sessions.standard]\nmost = 2");
    let (key, stranger) = (site.key("gateway"), site.key("gateway"));
    let engine = site.start();
    let mut client = engine.client(&key);
    let [first, second] = [(); 2].map(|()| opened(&mut client, "alice"));
    // In use: the other one goes, although it is newer.
    assert_eq!(
        ask_in(&mut client, word(&first, "handle"))["outcome"],
        "allow"
    );
    let third = opened(&mut client, "alice");
    let other = opened(&mut client, "bob");
    // Each client has its own: without the permission to end anybody's it ends no other's.
    let mut stranger = engine.client(&stranger);
    let theirs = [(); 3].map(|()| opened(&mut stranger, "alice"));
    let are_active = theirs.map(|session| {
        let path = format!("/v1/sessions/{}", word(&session, "id"));
        stranger.get(&path).json()["active"] == true
    });
    assert_eq!(are_active, [false, true, true]);
    let states = [
        (&first, true),
        (&second, false),
        (&third, true),
        (&other, true),
    ];
    for (session, is_active) in states {
        let read = client
            .get(&format!("/v1/sessions/{}", word(session, "id")))
            .json();
        assert_eq!(read["active"], is_active, "{read}");
    }
    assert_eq!(
        ask_in(&mut client, word(&second, "handle"))["cause"],
        "session_ended"
    );
    let service = key.split_once('.').unwrap().0;
    let line = format!("portreeve_active_sessions{{service=\"{service}\"}} 3");
    let metrics = text(&client.get("/metrics"));
    assert!(metrics.contains(&line), "O8: {metrics}");
}

#[test]
fn e12_t25_an_end_takes_everything_along_and_survives_a_kill() {
    // The same issuer after the start.
    let site = Site::with("public_url = \"http://127.0.0.1:8181\"");
    let (key, other, operator) = (
        site.key("gateway"),
        site.key("gateway"),
        site.key("operator"),
    );
    let mut engine = site.start();
    let mut client = engine.client(&key);
    let session = sign_in(&mut client);
    let (id, token) = (word(&session, "id"), &session["token"]);
    let bystander = sign_in(&mut client);
    // Another client's sessions are not there.
    let mut stranger = engine.client(&other);
    assert_eq!(end(&mut stranger, id), 404);
    assert_eq!(stranger.get(&format!("/v1/sessions/{id}")).status, 404);
    assert_eq!(end(&mut client, "ses_no-such"), 404);
    for _ in 0..2 {
        assert_eq!(end(&mut client, id), 204, "ended again it is as ended");
    }
    engine.signal("KILL");
    engine.wait();
    engine = site.start();
    let mut client = engine.client(&key);
    let refused = refresh(&mut client, word(token, "refresh_token"));
    assert_eq!(refused, Err("invalid_grant".to_owned()));
    assert!(!is_active(&mut client, word(token, "access_token")));
    assert_eq!(
        ask_in(&mut client, word(&session, "handle"))["cause"],
        "session_ended"
    );
    let alive = &bystander["token"];
    assert!(is_active(&mut client, word(alive, "access_token")));
    refresh(&mut client, word(alive, "refresh_token")).unwrap();
    // Whoever may end anybody's ends this one too.
    assert_eq!(
        end(&mut engine.client(&operator), word(&bystander, "id")),
        204
    );
    assert!(!is_active(&mut client, word(alive, "access_token")));
    drop(client);
    let log = engine.stop();
    assert!(log.contains("session_destroyed"), "{log}");
}

#[test]
fn t21_all_sessions_of_a_subject_end_at_once() {
    let site = Site::new();
    let (key, other, operator) = (
        site.key("gateway"),
        site.key("gateway"),
        site.key("operator"),
    );
    let engine = site.start();
    let (mut client, mut stranger) = (engine.client(&key), engine.client(&other));
    let mut admin = engine.client(&operator);
    let empty: &[u8] = b"";
    // One client ends its own and no other's.
    let (mine, theirs) = (sign_in(&mut client), sign_in(&mut stranger));
    let path = "/v1/subjects/User%2Falice/sessions/end";
    let response = client.send("POST", path, &[], empty);
    assert_eq!(
        (response.status, response.json()),
        (200, json!({ "ended": 1 }))
    );
    assert!(!is_active(
        &mut client,
        word(&mine["token"], "access_token")
    ));
    assert!(is_active(
        &mut client,
        word(&theirs["token"], "access_token")
    ));
    // An operator ends all, a caller's own words for sessions too, however the subject is written.
    for path in [
        path,
        "/v1/subjects/User::alice/sessions/end",
        "/v1/subjects/User%3A%3A%22alice%22/sessions/end",
        "/v1/subjects/User/alice/sessions/end",
    ] {
        let session = sign_in(&mut client);
        assert_eq!(
            ask_in(&mut client, &format!("cookie {path}"))["outcome"],
            "allow"
        );
        let response = admin.post(path, &json!({ "reason": "the laptop was stolen" }));
        assert_eq!(response.status, 200, "{}", text(&response));
        assert!(response.json()["ended"].as_u64() >= Some(2), "{path}");
        let own = ask_in(&mut client, &format!("cookie {path}"));
        assert_eq!(own["cause"], "session_ended", "{own}");
        let token = &session["token"];
        assert!(!is_active(&mut client, word(token, "access_token")));
        let refused = refresh(&mut client, word(token, "refresh_token"));
        assert_eq!(refused, Err("invalid_grant".to_owned()));
        let read = client
            .get(&format!("/v1/sessions/{}", word(&session, "id")))
            .json();
        assert_eq!(read["ended_reason"], "the laptop was stolen");
    }
    assert!(!is_active(
        &mut client,
        word(&theirs["token"], "access_token")
    ));
    // Whoever signs in again is in.
    let again = sign_in(&mut client);
    assert!(is_active(
        &mut client,
        word(&again["token"], "access_token")
    ));
    for path in ["alice", "%FF", "User%2F", "x/"] {
        let path = format!("/v1/subjects/{path}/sessions/end");
        let status = admin.send("POST", &path, &[], empty).status;
        assert!(matches!(status, 400 | 404), "{path}: {status}");
    }
}

#[test]
fn opening_is_a_decision_like_any_other() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let frozen = open(&mut client, "mallory");
    assert_eq!(frozen.status, 403, "{}", text(&frozen));
    let told = frozen.json();
    assert!(word(&told, "detail").contains("frozen"), "{told}");
    assert!(told["errors"][0]["decision_id"].is_string());
    assert_eq!(open(&mut client, "nobody").status, 403);
    // Through a VPN, from a device that nobody knows: a step-up would help (RFC 9470).
    let mut body = json!({
        "subject": { "type": "User", "id": "alice" },
        "context": { "ip": "198.51.100.100" },
    });
    let asked = client.post("/v1/sessions", &body);
    assert_eq!(asked.status, 401, "{}", text(&asked));
    let how = asked.header("www-authenticate").unwrap();
    for part in [
        "error=\"insufficient_user_authentication\"",
        "acr_values=\"urn:portreeve:acr:",
        "max_age=\"0\"",
    ] {
        assert!(how.contains(part), "{how}");
    }
    body["context"]["assurance"] = json!({ "level": 3, "auth_time": now() });
    assert_eq!(client.post("/v1/sessions", &body).status, 201);
    // A token that is not granted leaves a session without one.
    let mut body = json!({
        "subject": { "type": "User", "id": "alice" },
        "context": { "token": { "audience": "https://docs.example", "scope": "download" } },
    });
    let plain = client.post("/v1/sessions", &body).json();
    assert_eq!(plain["token_error"]["error"], "invalid_scope", "{plain}");
    body["context"]["token"]["audience"] = json!("https://evil.example");
    let plain = client.post("/v1/sessions", &body).json();
    assert_eq!(plain["token_error"]["error"], "invalid_target", "{plain}");
}

#[test]
fn e23_sessions_are_listed_in_pages() {
    let site = Site::with("[sessions.standard]\nmost = 20");
    let (key, other, operator) = (
        site.key("gateway"),
        site.key("gateway"),
        site.key("operator"),
    );
    let engine = site.start();
    let (mut client, mut stranger) = (engine.client(&key), engine.client(&other));
    let mut ids: Vec<String> = (0..7)
        .map(|number| {
            let subject = ["alice", "bob"][number % 2];
            word(&opened(&mut client, subject), "id").to_owned()
        })
        .collect();
    opened(&mut stranger, "alice");
    ids.sort_unstable();
    let pages = |client: &mut Client, query: &str| {
        let mut found: Vec<Value> = Vec::new();
        let mut after = String::new();
        loop {
            let page = client.get(&format!("/v1/sessions?limit=3{query}{after}"));
            assert_eq!(page.status, 200, "{}", text(&page));
            let page = page.json();
            found.extend(page["sessions"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return found,
            }
        }
    };
    let mut own: Vec<String> = pages(&mut client, "")
        .iter()
        .map(|session| word(session, "id").to_owned())
        .collect();
    own.sort_unstable();
    assert_eq!(own, ids);
    assert_eq!(pages(&mut client, "&subject=User%2Fbob").len(), 3);
    assert_eq!(end(&mut client, &ids[0]), 204);
    assert_eq!(pages(&mut client, "&active=true").len(), 6);
    let mut admin = engine.client(&operator);
    assert_eq!(pages(&mut admin, "").len(), 8);
    let stranger_id = other.split_once('.').unwrap().0;
    assert_eq!(
        pages(&mut admin, &format!("&client_id={stranger_id}")).len(),
        1
    );
    for (query, wanted) in [
        ("limit=0", 400),
        ("limit=1001", 400),
        ("after=x", 400),
        ("subject=alice", 400),
        ("what=x", 400),
        (&*format!("client_id={stranger_id}"), 403),
    ] {
        assert_eq!(
            client.get(&format!("/v1/sessions?{query}")).status,
            wanted,
            "{query}"
        );
    }
}

#[test]
fn a_body_that_makes_no_sense_opens_nothing() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let alice = json!({ "type": "User", "id": "alice" });
    for body in [
        json!({}),
        json!([]),
        json!({ "subject": "alice" }),
        json!({ "subject": { "type": "User" } }),
        json!({ "subject": { "type": "User", "id": "" } }),
        json!({ "subject": alice, "context": [] }),
        json!({ "subject": alice, "context": { "ip": "here" } }),
        json!({ "subject": alice, "context": { "dry_run": true } }),
        json!({ "subject": alice, "context": { "token": { "audience": 7 } } }),
        json!({ "subject": alice, "context": { "assurance": { "level": 9 } } }),
        json!({ "subject": alice, "context": {
            "assurance": { "level": 3, "auth_time": crate::harness::from_now(3600) } } }),
        json!({ "subject": alice, "id": "ses_mine" }),
        json!({ "subject": alice, "handle": "sh_mine" }),
    ] {
        let response = client.post("/v1/sessions", &body);
        assert_eq!(response.status, 400, "{body}: {}", text(&response));
    }
    assert_eq!(client.send("POST", "/v1/sessions", &[], b"x").status, 400);
    assert_eq!(client.get("/v1/sessions").json(), json!({ "sessions": [] }));
    for role in ["author", "keeper"] {
        let mut client = engine.client(&site.key(role));
        assert_eq!(open(&mut client, "alice").status, 403, "{role}");
    }
}

#[test]
fn e4_e12_what_ends_while_it_is_opened_is_over_in_memory_too() {
    let site = Site::with("[sessions.standard]\nmost = 3");
    let (key, operator) = (site.key("gateway"), site.key("operator"));
    let engine = site.start();
    let open_at_once = |many: usize| -> Vec<Value> {
        let start = Barrier::new(many);
        std::thread::scope(|scope| {
            let opening: Vec<_> = (0..many)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = engine.client(&key);
                        start.wait();
                        opened(&mut client, "alice")
                    })
                })
                .collect();
            opening.into_iter().map(|one| one.join().unwrap()).collect()
        })
    };
    let mut client = engine.client(&key);
    let mut read = |session: &Value| {
        let told = client.get(&format!("/v1/sessions/{}", word(session, "id")));
        let told = told.json();
        let is_over = told["ended_at"].is_string();
        assert_eq!(told["active"], !is_over, "{told}");
        let handle = word(session, "handle");
        let cause = ask_in(&mut client, handle)["cause"].clone();
        assert_eq!(cause == "session_ended", is_over, "{told}");
        is_over
    };
    // Each makes room for those that come with it.
    let sessions = open_at_once(24);
    let live = sessions.iter().filter(|session| !read(session)).count();
    assert_eq!(live, 3);

    // And all that end with the subject's, amid others that are being opened.
    let sessions = std::thread::scope(|scope| {
        let opening = scope.spawn(|| open_at_once(16));
        let mut admin = engine.client(&operator);
        let path = "/v1/subjects/User/alice/sessions/end";
        for _ in 0..8 {
            assert_eq!(admin.send("POST", path, &[], b"").status, 200);
        }
        opening.join().unwrap()
    });
    for session in &sessions {
        read(session);
    }
    let mut closing = engine.client(&key);
    for session in &sessions {
        assert_eq!(end(&mut closing, word(session, "id")), 204);
        assert!(read(session), "{session}");
    }
}
