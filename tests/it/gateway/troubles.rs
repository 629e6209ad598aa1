//! Who is no gateway, and what a gateway gets when the engine cannot answer: never 2xx.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Map, json};

use super::stories::always;
use super::world::{Asked, Form, World};
use crate::harness::{BINARY, Engine, Response, eventually, root, run};
use crate::oauth::Holder;

const READ: &str = "GET https://shop.example/orders/7";

fn allowed(world: &World) -> Asked {
    let token = world.own(Form::Forwarded, &Map::new());
    Asked::read(READ).with("Authorization", &format!("Bearer {token}"))
}

/// Refused so that the client learns nothing that it could mend.
fn is_no_gateway(what: &str, response: &Response) {
    assert_eq!(response.status, 403, "{what}");
    assert_eq!(response.header("www-authenticate"), None, "{what}");
    assert_eq!(
        response.json()["detail"],
        "whoever asks is no gateway here",
        "{what}"
    );
    always(what, response);
}

#[test]
fn b23_who_is_no_gateway_is_told_nothing_and_lets_nobody_in() {
    let world = World::new();
    let asked = allowed(&world);
    let receiver = world.site.key("receiver");
    let narrowed = world.site.key_that_may("gateway", &["evaluate"]);
    let revoked = Holder::new(&world.site, "gateway", "gone", &[]);
    let mut admin = world.engine.client(&world.site.key("admin"));
    let gone = admin.send("DELETE", &format!("/v1/keys/{}", revoked.id), &[], b"");
    assert!(gone.status < 300);
    for form in Form::ALL {
        let good = world.key(form).to_owned();
        let own_token = world.own(form, &Map::new());
        for (what, key) in [
            ("no key", None),
            ("nonsense", Some("nonsense")),
            ("an empty one", Some("")),
            ("a made-up one", Some("sk_00000000.AAAAAAAA")),
            ("half of one", good.split_once('.').map(|(id, _)| id)),
            ("another secret", Some("sk_00000000.x")),
            ("a token in its place", Some(own_token.as_str())),
            ("of another role", Some(receiver.as_str())),
            ("narrowed", Some(narrowed.as_str())),
            ("revoked", Some(revoked.key.as_str())),
        ] {
            is_no_gateway(what, &world.ask_with(form, &asked, key));
        }
        // A client that sends one beside the gateway's: the gateway adds where it has to set.
        let two = asked.clone().with("Portreeve-Key", &good);
        is_no_gateway("two of them", &world.ask_with(form, &two, Some(&good)));
        // The gateway's key is no credential of a client, nor the other way round.
        let swapped = Asked::read(READ).with("Authorization", &format!("Bearer {good}"));
        is_no_gateway(
            "in the client's place",
            &world.ask_with(form, &swapped, None),
        );
        assert_eq!(world.ask_with(form, &swapped, Some(&good)).status, 401);
        assert_eq!(world.ask_with(form, &asked, Some(&good)).status, 200);
    }
    let log = {
        let mut world = world;
        world.engine.signal("TERM");
        world.engine.wait().1
    };
    for said in [
        "have it set `Portreeve-Key`",
        "keys create --role gateway",
        "gateway_fault",
    ] {
        assert!(log.contains(said), "{said}\n{log}");
    }
    assert!(
        log.matches("a gateway asks without its key").count() == 1,
        "{log}"
    );
}

#[test]
fn what_a_gateway_does_not_tell_whole_is_refused() {
    let world = World::with("[gateway.callers.far]\ntrusted = ['10.0.0.0/8']\n", "");
    let far = Holder::new(&world.site, "gateway", "far", &[]);
    let asked = allowed(&world);
    for form in Form::ALL {
        is_no_gateway(
            "from elsewhere",
            &world.ask_with(form, &asked, Some(&far.key)),
        );
    }
    let key = world.key(Form::Forwarded);
    let token = world.own(Form::Forwarded, &Map::new());
    let common = format!("Portreeve-Key: {key}\r\nAuthorization: Bearer {token}\r\n");
    for (lines, wanted) in [
        ("", 400),
        (
            "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /orders/7\r\n",
            400,
        ),
        (
            "X-Forwarded-Uri: /orders/7\r\nX-Forwarded-Host: shop.example\r\n",
            400,
        ),
        (
            "X-Forwarded-Method: GET\r\nX-Forwarded-Host: shop.example\r\n",
            400,
        ),
        (
            "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /orders/7\r\n\
             X-Forwarded-Host: shop.example\r\nX-Original-URI: /orders/8\r\n\
             X-Original-Method: GET\r\nX-Original-Host: shop.example\r\n",
            400,
        ),
        (
            "X-Forwarded-Method: GET\r\nX-Forwarded-Method: GET\r\n\
             X-Forwarded-Uri: /orders/7\r\nX-Forwarded-Host: shop.example\r\n",
            400,
        ),
        (
            "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: https://shop.example/orders/7\r\n\
             X-Forwarded-Host: shop.example\r\n",
            400,
        ),
        (
            "X-Original-Method: GET\r\nX-Original-URL: https://shop.example/orders/7\r\n",
            200,
        ),
    ] {
        let text = format!("GET /gateway/forward-auth HTTP/1.1\r\nHost: e\r\n{common}{lines}\r\n");
        let response = world.engine.client("").raw(text.as_bytes()).unwrap();
        always(lines, &response);
        assert_eq!(response.status, wanted, "{lines}");
    }
    // By any method, with a body that nobody reads.
    let asked = format!(
        "POST /gateway/forward-auth HTTP/1.1\r\nHost: e\r\n{common}X-Forwarded-Method: GET\r\n\
         X-Forwarded-Uri: /orders/7\r\nX-Forwarded-Host: shop.example\r\nContent-Length: 3\r\n\r\nabc"
    );
    assert_eq!(
        world
            .engine
            .client("")
            .raw(asked.as_bytes())
            .unwrap()
            .status,
        200
    );
}

#[test]
fn where_the_store_is_gone_nobody_is_let_in_by_what_only_it_knows() {
    let mut world = World::new();
    let (id, handle) = world.session(Form::Forwarded, &json!({}));
    let cookie = Asked::read(READ).with("Cookie", &format!("__Host-portreeve={handle}"));
    // After a start nothing of it is in memory.
    world.restart("SELECT 1");
    world.sql("ALTER TABLE sessions RENAME TO gone");
    let token = world.own(Form::Forwarded, json!({ "sid": id }).as_object().unwrap());
    let token = Asked::read(READ).with("Authorization", &format!("Bearer {token}"));
    for form in Form::ALL {
        for asked in [&cookie, &token] {
            let response = world.ask(form, asked);
            assert_eq!(response.status, 503, "{}", response.json());
            assert!(response.header("retry-after").is_some());
            always("without a store", &response);
        }
    }
    world.sql("ALTER TABLE gone RENAME TO sessions");
    let back = eventually("the store is back", || {
        Some(world.ask(Form::Forwarded, &cookie)).filter(|response| response.status != 503)
    });
    assert_eq!(back.status, 200);
}

/// How large the engine's files may become from now on.
fn limit_files(world: &World, bytes: Option<u64>) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = Pid::from_raw(i32::try_from(world.engine.id()).unwrap());
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

#[test]
fn what_is_not_on_record_is_not_allowed() {
    let mut world = World::new();
    world.engine.signal("TERM");
    world.engine.wait();
    // One that is told of a full disk instead of being ended by it.
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#, BINARY, "--config"])
        .arg(world.site.config())
        .current_dir(root());
    world.engine = Engine::start(&mut command);
    let asked = allowed(&world);
    assert_eq!(world.ask(Form::Forwarded, &asked).status, 200);
    limit_files(&world, Some(1));
    for form in Form::ALL {
        let response = world.ask(form, &allowed(&world));
        always("while the disk is full", &response);
        assert_eq!(response.status, 503, "{}", response.json());
        assert!(response.header("retry-after").is_some());
        assert_eq!(response.header("x-portreeve-subject"), None);
    }
    limit_files(&world, None);
    eventually("the disk has room again", || {
        let response = world.ask(Form::Forwarded, &asked);
        always("when it has room", &response);
        (response.status == 200).then_some(())
    });
}

/// Holds one request of a client under way, until it is dropped.
fn hang(world: &World, key: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.engine.address).unwrap();
    let message = format!(
        "POST /access/v1/evaluation HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(message.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    stream
}

#[test]
fn g2_too_many_at_once_and_what_takes_too_long() {
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = slow.local_addr().unwrap();
    // It takes connections and answers nothing.
    let issuer = format!(
        ", {{ issuer = 'https://slow.example', jwks_uri = 'http://{at}/jwks', \
         audience = 'portreeve' }}"
    );
    let limits = format!(
        "[limits]\nconcurrency_per_caller = 1\nrequest_timeout = '500ms'\noutbound_allow = ['{at}']\n"
    );
    let world = World::with(&limits, &issuer);
    let asked = allowed(&world);
    {
        let _one = hang(&world, world.key(Form::Forwarded));
        let response = world.ask(Form::Forwarded, &asked);
        assert_eq!(response.status, 429);
        assert_eq!(response.header("retry-after"), Some("1"));
        always("too many at once", &response);
    }
    let token = world.foreign(
        json!({ "iss": "https://slow.example" })
            .as_object()
            .unwrap(),
    );
    let waiting = Asked::read(READ).with("Authorization", &format!("Bearer {token}"));
    let response = world.ask(Form::Envoy, &waiting);
    assert_eq!(response.status, 503, "{}", response.json());
    assert!(response.header("retry-after").is_some());
    always("its keys are awaited", &response);
}

#[test]
fn answers_are_counted_by_what_came_of_them() {
    let world = World::new();
    let asked = allowed(&world);
    world.ask(Form::Forwarded, &asked);
    world.ask(Form::Envoy, &Asked::read(READ));
    world.ask(Form::Envoy, &Asked::read("GET https://shop.example/a%2fb"));
    world.ask_with(Form::Nginx, &asked, None);
    let metrics = world.engine.client("").get("/metrics");
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    for outcome in ["allow", "unauthenticated", "malformed", "not_a_gateway"] {
        let line = format!("portreeve_gateway_answers_total{{outcome=\"{outcome}\"}} 1");
        assert!(text.contains(&line), "{line}");
    }
}

#[test]
fn explain_says_what_a_request_becomes_and_check_what_no_policy_knows() {
    let world = World::with(
        "[[gateway.callers.else.routes]]\nname = 'flown'\npath = '/fly/{id}'\n\
         action = 'orders.fly'\nresource = { type = 'Order', id = '{id}' }\n\
         [[gateway.callers.else.routes]]\nname = 'on-pages'\npath = '/on/{id}'\n\
         action = 'orders.read'\nresource = { type = 'Page', id = '{id}' }\n",
        "",
    );
    let explain = |arguments: &[&str]| {
        let mut command = world.site.command();
        run(command.args(["gateway", "explain"]).args(arguments))
    };
    let told = explain(&[READ, "--subject", "User::alice", "--json"]);
    assert_eq!(told.status, Some(0), "{told:?}");
    let report: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(report["route"]["name"], "orders");
    // What it shows can be asked as it is.
    let answer = world
        .engine
        .client(world.key(Form::Forwarded))
        .ask(&report["evaluation"]);
    assert_eq!(answer["decision"], true, "{answer}");
    let asks = |arguments: &[&str], status: i32, said: &str| {
        let told = explain(arguments);
        assert_eq!(told.status, Some(status), "{arguments:?}: {told:?}");
        let all = format!("{}{}", told.out, told.err);
        assert!(all.contains(said), "{arguments:?}: {all}");
    };
    asks(
        &[
            "GET https://shop.example/nothing",
            "--subject",
            "User::alice",
        ],
        1,
        "no route matches",
    );
    asks(&[READ], 1, "credential");
    asks(
        &["GET https://shop.example/orders/7%2f8"],
        1,
        "encoded slash",
    );
    asks(&["GET /orders/7"], 2, "is not a method and a URL");
    asks(&[READ, "--subject", "alice"], 2, "User::alice");
    asks(&[READ, "--claim", "tenant=acme"], 2, "--subject");
    let tenant = "GET https://tenants.example/orders/7";
    asks(
        &[tenant, "--subject", "User::alice", "--claim", "tenant=acme"],
        0,
        "acme/7",
    );
    asks(&[tenant, "--subject", "User::alice"], 1, "claim `tenant`");
    asks(
        &[
            "GET https://x.example/fly/7",
            "--subject",
            "User::\"alice\"",
            "--caller",
            "else",
        ],
        0,
        "orders.fly",
    );
    let checked = run(world.site.command().args(["check", "--json"]));
    assert_eq!(checked.status, Some(0), "{checked:?}");
    let report: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    let warnings = report["warnings"].to_string();
    for said in [
        "no action `orders.fly`",
        "for other types than on `Page`",
        "no `Order` belongs to the service `https://else.example`",
    ] {
        assert!(warnings.contains(said), "{warnings}");
    }
    assert_eq!(
        warnings.matches("the policies' schema has").count(),
        2,
        "{warnings}"
    );
}
