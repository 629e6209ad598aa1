//! Token exchange (RFC 8693, X3 to X7), and what may come of it.

use serde_json::{Value, json};

use super::{
    ACCESS_TOKEN, DOCS, EXCHANGE, Holder, LEDGER, Speaker, WIKI, alices_token, claims, journal,
};
use crate::harness::{Engine, Response, Site};
use crate::reload::own_policies;

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The shop's gateway, the intranet that may act for people at the documents, and somebody else.
struct World {
    site: Site,
    gateway: Holder,
    intranet: Holder,
    stranger: Holder,
}

impl World {
    fn new() -> Self {
        let site = Site::new();
        Self {
            gateway: Holder::new(&site, "gateway", "shop", &[]),
            intranet: Holder::new(&site, "service", "intranet", &["--audience", DOCS]),
            stranger: Holder::new(&site, "service", "nightly-report", &[]),
            site,
        }
    }
}

fn exchange(speaker: &mut Speaker, token: &Value, more: &[(&str, &str)]) -> Response {
    let mut parameters = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", token["access_token"].as_str().unwrap()),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    parameters.extend(more);
    speaker.post("/oauth2/token", &parameters)
}

fn granted(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.json());
    response.json()
}

fn error(response: &Response) -> (u16, String) {
    let error = response.json()["error"].as_str().unwrap().to_owned();
    (response.status, error)
}

#[test]
fn x3_x4_x5_a_service_gets_a_derived_token_for_each_of_its_targets() {
    let world = World::new();
    let engine = world.site.start();
    let original = alices_token(&engine, &world.gateway, &json!({}));
    let first = claims(&original);
    let mut intranet = Speaker::new(&engine, &world.intranet);
    for (target, parameter) in [(WIKI, "audience"), (LEDGER, "resource")] {
        let token = granted(&exchange(
            &mut intranet,
            &original,
            &[
                (parameter, target),
                ("scope", "read write"),
                ("requested_token_type", JWT),
            ],
        ));
        assert_eq!(token["issued_token_type"], JWT);
        assert_eq!(token["token_type"], "Bearer");
        assert_eq!(token["scope"], "read", "X6: the original has no `write`");
        assert!(token["expires_in"].as_i64().unwrap() <= 300);
        assert!(token.get("refresh_token").is_none());
        let derived = claims(&token);
        assert_eq!(derived["sub"], "User/alice", "X4: the subject stays");
        assert_eq!(derived["aud"], target);
        assert_eq!(derived["client_id"], world.intranet.id.as_str());
        assert_eq!(derived["original_jti"], first["jti"]);
        assert_eq!(
            derived["act"],
            json!({"sub": "Service/intranet", "client_id": world.intranet.id})
        );
        assert!(derived["exp"].as_i64() <= first["exp"].as_i64());
        for kept in ["acr", "sid", "context"] {
            assert_eq!(derived[kept], first[kept], "{kept}");
        }
        assert_ne!(derived["jti"], first["jti"]);
    }
    // T29, and RFC 8693 §2.1: without a scope, all of the original's.
    let token = granted(&exchange(&mut intranet, &original, &[("audience", WIKI)]));
    assert_eq!(token["scope"], "read list");
    drop(engine);
    // X5: that it may delegate, and each scope, is on record; policies saw who acts.
    let records = journal(&world.site);
    let of = |action: &str| -> Vec<&Value> {
        let asked = |record: &&Value| record["request"]["action"]["name"] == action;
        let records = records.iter().filter(|record| record["manner"] == "token");
        records.filter(asked).collect()
    };
    let delegations = of("token.delegate");
    assert_eq!(delegations.len(), 3);
    assert_eq!(delegations[0]["request"]["subject"]["id"], "intranet");
    for record in of("read") {
        assert_eq!(
            record["facts"]["actor"],
            json!({"kind": "Service", "id": "intranet"})
        );
    }
}

#[test]
fn x5_actors_nest_and_there_is_an_end_to_it() {
    let world = World::new();
    let engine = world.site.start();
    let mut intranet = Speaker::new(&engine, &world.intranet);
    let original = alices_token(&engine, &world.gateway, &json!({}));
    let mut token = original.clone();
    for depth in 1..=4 {
        token = granted(&exchange(&mut intranet, &token, &[("audience", WIKI)]));
        let derived = claims(&token);
        let mut actor = &derived["act"];
        let mut actors = 0;
        while actor.is_object() {
            (actor, actors) = (&actor["act"], actors + 1);
        }
        assert_eq!(actors, depth);
        assert_eq!(derived["original_jti"], claims(&original)["jti"]);
        let lineage = derived["lineage"].as_array().map_or(0, Vec::len);
        assert_eq!(lineage, depth - 1);
    }
    let refused = exchange(&mut intranet, &token, &[("audience", WIKI)]);
    assert_eq!(error(&refused), (400, "invalid_request".to_owned()));
}

/// B5, V9: what is taken back from a client is taken back from those it passed its tokens on to.
#[test]
fn what_a_client_lost_is_lost_to_whoever_derived_from_it() {
    let world = World::new();
    let (watcher, operator) = (world.site.key("gateway"), world.site.key("operator"));
    let engine = world.site.start();
    let original = alices_token(&engine, &world.gateway, &json!({}));
    let mut intranet = Speaker::new(&engine, &world.intranet);
    let once = granted(&exchange(&mut intranet, &original, &[("audience", WIKI)]));
    let twice = granted(&exchange(&mut intranet, &once, &[("audience", LEDGER)]));
    let lives = |token: &Value| {
        let token = token["access_token"].as_str().unwrap();
        crate::refreshing::is_active(&mut engine.client(&watcher), token)
    };
    assert!(
        [&original, &once, &twice]
            .map(lives)
            .iter()
            .all(|lives| *lives)
    );
    // The middle one takes along what came after it, and nothing before.
    let mut operator = engine.client(&operator);
    let mut revoke = |what: &Value| {
        let answer = operator.post("/v1/revocations", what);
        assert!(matches!(answer.status, 200 | 201), "{}", answer.json());
    };
    let again = |intranet: &mut Speaker| exchange(intranet, &original, &[("audience", WIKI)]);
    revoke(&json!({ "client": world.intranet.id }));
    assert_eq!([&original, &once, &twice].map(lives), [true, false, false]);
    let fresh = granted(&again(&mut intranet));
    assert!(lives(&fresh), "given after that");
    revoke(&json!({ "client": world.gateway.id }));
    assert_eq!([&original, &fresh].map(lives), [false, false]);
    assert_eq!(again(&mut intranet).status, 400);
}

/// L1: an old token does not grow with what its session proved later.
#[test]
fn a_step_up_of_a_session_lifts_no_token_from_before() {
    let world = World::new();
    let policies = own_policies(&world.site);
    let policy = r#"@id("wiki-needs-mfa") @reason("A second factor.") @severity("low")
        forbid (principal is User, action == Action::"read", resource == Audience::"https://wiki.example")
        unless { context.assurance has mfa_age_seconds };"#;
    std::fs::write(policies.join("99-wiki.cedar"), policy).unwrap();
    let mut command = world.site.command();
    let engine = Engine::start(command.env("PORTREEVE_POLICIES__DIR", &policies));
    let mut client = engine.client(&world.gateway.key);
    let opened = client.post(
        "/v1/sessions",
        &json!({ "subject": { "type": "User", "id": "dave" } }),
    );
    assert_eq!(opened.status, 201, "{}", opened.json());
    let session = opened.json()["id"].clone();
    let mut token = || {
        let mut question = crate::harness::alice_reads();
        question["subject"]["id"] = json!("dave");
        question["context"]["session_id"] = session.clone();
        question["context"]["token"] = json!({ "audience": DOCS });
        let answer = client.ask(&question);
        let token = answer["context"]["token"].clone();
        assert!(token["access_token"].is_string(), "{answer}");
        token
    };
    let before = token();
    let mut client = engine.client(&world.gateway.key);
    let administer = crate::sessions::dave_administers(session.as_str().unwrap());
    let path = crate::sessions::step_up_path(&client.ask(&administer));
    let lifted = client.post(&path, &json!({ "level": 3 })).json();
    assert_eq!(lifted["session_lifted"], true);
    let mut intranet = Speaker::new(&engine, &world.intranet);
    let wiki = [("audience", WIKI), ("scope", "read")];
    let refused = exchange(&mut intranet, &before, &wiki);
    let wanted = "insufficient_user_authentication".to_owned();
    assert_eq!(error(&refused), (400, wanted));
    granted(&exchange(&mut intranet, &token(), &wiki));
}

/// Case, who asks, with which token, what else, status and error.
type Row<'w> = (
    &'w str,
    &'w Holder,
    Value,
    &'w [(&'w str, &'w str)],
    u16,
    &'w str,
);

#[test]
fn x5_x6_what_is_not_to_be_exchanged_is_refused() {
    let world = World::new();
    let engine = world.site.start();
    let original = alices_token(&engine, &world.gateway, &json!({}));
    let cut = |token: &Value| {
        let text = token["access_token"].as_str().unwrap();
        json!({ "access_token": &text[..text.len() - 2] })
    };
    let of_the_stranger = Speaker::new(&engine, &world.stranger).own_token(DOCS, "read");
    let rows: &[Row<'_>] = &[
        (
            "not for it and not issued to it",
            &world.stranger,
            original.clone(),
            &[("audience", WIKI)],
            400,
            "invalid_request",
        ),
        (
            "its client, which may not delegate",
            &world.gateway,
            original.clone(),
            &[("audience", WIKI)],
            403,
            "access_denied",
        ),
        (
            "its own token, and it may not delegate",
            &world.stranger,
            of_the_stranger.clone(),
            &[("audience", DOCS)],
            403,
            "access_denied",
        ),
        (
            "a signature that is cut short",
            &world.intranet,
            cut(&original),
            &[("audience", WIKI)],
            400,
            "invalid_request",
        ),
        (
            "a scope beyond the original's",
            &world.intranet,
            original.clone(),
            &[("audience", WIKI), ("scope", "write")],
            400,
            "invalid_scope",
        ),
        (
            "a service that nobody knows",
            &world.intranet,
            original.clone(),
            &[("audience", "https://evil.example")],
            400,
            "invalid_target",
        ),
        (
            "no service",
            &world.intranet,
            original.clone(),
            &[],
            400,
            "invalid_target",
        ),
        (
            "for a subject that gets none there",
            &world.intranet,
            of_the_stranger.clone(),
            &[("audience", LEDGER)],
            400,
            "invalid_scope",
        ),
    ];
    for (case, holder, token, more, status, wanted) in rows {
        let response = exchange(&mut Speaker::new(&engine, holder), token, more);
        assert_eq!(
            error(&response),
            (*status, (*wanted).to_owned()),
            "{case}: {}",
            response.json()
        );
    }
}

#[test]
fn x7_an_actors_token_is_the_clients_own_or_none() {
    let world = World::new();
    let engine = world.site.start();
    let url = format!("http://{}", engine.address);
    let original = alices_token(&engine, &world.gateway, &json!({}));
    let mut intranet = Speaker::new(&engine, &world.intranet);
    let own = intranet.own_token(&url, "tokens.introspect");
    let others = Speaker::new(&engine, &world.stranger).own_token(DOCS, "read");
    for (actor, status) in [(&own, 200), (&others, 400), (&original, 400)] {
        let actor = actor["access_token"].as_str().unwrap();
        let more = [
            ("audience", WIKI),
            ("actor_token", actor),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        let response = exchange(&mut intranet, &original, &more);
        assert_eq!(response.status, status, "{}", response.json());
    }
}

#[test]
fn a_subject_that_lost_its_rights_gets_nothing_more() {
    let world = World::new();
    let engine = world.site.start();
    let original = alices_token(&engine, &world.gateway, &json!({}));
    let admin = Holder::new(&world.site, "admin", "root", &[]);
    freeze_alice(&engine, &admin);
    let mut intranet = Speaker::new(&engine, &world.intranet);
    let response = exchange(&mut intranet, &original, &[("audience", WIKI)]);
    assert_eq!(error(&response), (400, "invalid_scope".to_owned()));
}

fn freeze_alice(engine: &Engine, admin: &Holder) {
    let frozen = json!({
        "attrs": {"department": "finance", "frozen": true},
        "parents": [{"type": "Group", "id": "staff"}],
    });
    let headers = [("Content-Type", "application/json")];
    let body = frozen.to_string();
    let mut client = engine.client(&admin.key);
    let response = client.send("PUT", "/v1/entities/User/alice", &headers, body.as_bytes());
    assert!(
        response.status < 300,
        "{}",
        String::from_utf8_lossy(&response.body)
    );
}
