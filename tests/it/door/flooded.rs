//! Strangers take what they can get: places, time and memory. Clients do not notice.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::harness::{
    Client, Engine, Response, Site, alice_reads, eventually, message, read_response,
};

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    let patience = Duration::from_secs(20);
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

#[test]
fn strangers_give_way_and_administration_has_places_of_its_own() {
    let site = Site::with("admin_listen = \"127.0.0.1:0\"\n[limits]\nconnections = 3");
    let key = site.key("admin");
    let engine = site.start();
    let admin = engine.admin();
    let strangers = |address| {
        let mut clients: Vec<_> = (0..3).map(|_| Client::of(address, "")).collect();
        for client in &mut clients {
            assert_eq!(client.get("/healthz").status, 200);
        }
        clients
    };
    let first = strangers(engine.address);
    // All places are theirs, and yet a client gets in, and stays.
    let mut client = engine.client(&key);
    client.ask(&alice_reads());
    let more = strangers(engine.address);
    assert!(client.is_connected());
    client.ask(&alice_reads());
    // Clients alone shut out who comes after them, and nobody at the other listener.
    drop((first, more));
    let mut clients = vec![client];
    while clients.len() < 3 {
        let mut client = engine.client(&key);
        client.ask(&alice_reads());
        clients.push(client);
    }
    assert!(
        Client::of(engine.address, "")
            .try_send("GET", "/healthz", &[], b"")
            .is_none()
    );
    assert_eq!(Client::of(admin, "").get("/healthz").status, 200);
    assert_eq!(Client::of(admin, &key).get("/v1/keys").status, 200);
    for client in &mut clients {
        client.ask(&alice_reads());
    }
}

#[test]
fn clients_share_the_places_that_strangers_cannot_take() {
    let site = Site::with("[limits]\nconnections = 16");
    let (service, gateway) = (site.key("service"), site.key("gateway"));
    let engine = site.start();
    // One has all that clients may have.
    let kind = [("Content-Type", FORM)];
    let greedy: Vec<_> = (0..14)
        .map(|_| {
            let mut client = engine.client(&service);
            let asked = client.send("POST", "/oauth2/introspect", &kind, b"token=x");
            assert_eq!(asked.status, 200);
            client
        })
        .collect();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = engine.client(&gateway);
        client.ask(&alice_reads());
        clients.push(client);
    }
    let strangers: Vec<_> = (0..8)
        .map(|_| {
            let mut stranger = engine.client("");
            assert_eq!(stranger.get("/healthz").status, 200);
            stranger
        })
        .collect();
    for client in &mut clients {
        assert!(client.is_connected());
        client.ask(&alice_reads());
    }
    drop((greedy, strangers));
}

const FORM: &str = "application/x-www-form-urlencoded";

/// Begins a body of so many bytes. Returns when the engine reads it.
fn begin(engine: &Engine, key: &str, path: &str, kind: &str, length: usize) -> TcpStream {
    let mut stream = dial(engine.address);
    let length = length.to_string();
    let headers = [
        ("Content-Type", kind),
        ("Content-Length", &length),
        ("Expect", "100-continue"),
    ];
    let message = message(key, "POST", path, &headers, b"");
    stream.write_all(&message).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Begins a body that says who asks, and never ends it.
fn begin_a_form(engine: &Engine) -> TcpStream {
    begin(engine, "", "/oauth2/token", FORM, 500)
}

/// Begins to poll, and never says for what.
fn begin_a_poll(engine: &Engine, key: &str) -> TcpStream {
    begin(engine, key, "/ssf/poll/x", "application/json", 9)
}

#[test]
fn slow_bodies_of_strangers_keep_no_decision_waiting() {
    let site = Site::with("[limits]\nconcurrency = 4\nrequest_timeout = \"10s\"");
    let key = site.key("gateway");
    let engine = site.start();
    let _slow: Vec<_> = (0..12).map(|_| begin_a_form(&engine)).collect();
    let mut client = engine.client(&key);
    for _ in 0..8 {
        client.ask(&alice_reads());
    }
    // Others who say who they are get their answers meanwhile.
    let kind = [("Content-Type", FORM)];
    let form = b"grant_type=client_credentials";
    let asked = engine
        .client(&key)
        .send("POST", "/oauth2/token", &kind, form);
    assert_ne!(asked.status, 503, "{}", asked.json());
}

#[test]
fn slow_bodies_of_clients_keep_no_decision_waiting_and_nobody_waits_long_for_them() {
    let site = Site::with(
        "[limits]\nconcurrency = 4\nconcurrency_per_caller = 6\nrequest_timeout = \"10s\"",
    );
    let (key, receiver) = (site.key("gateway"), site.key("receiver"));
    let engine = site.start();
    let _slow: Vec<_> = (0..6).map(|_| begin_a_poll(&engine, &receiver)).collect();
    let mut client = engine.client(&key);
    for _ in 0..8 {
        client.ask(&alice_reads());
    }
    // Each holds but what is its own.
    let more = engine.client(&receiver).post("/ssf/poll/x", &json!({}));
    assert_eq!(more.status, 429, "{}", more.json());
    drop(engine);

    let site = Site::with("[limits]\nrequest_timeout = \"1s\"");
    let receiver = site.key("receiver");
    let engine = site.start();
    let mut slow = BufReader::new(begin_a_poll(&engine, &receiver));
    // Though a poll may wait for news far longer than anybody here would.
    let response = read_response(&mut slow).unwrap();
    assert_eq!(response.status, 503, "{}", response.json());
}

#[test]
fn what_strangers_send_takes_no_room_of_what_clients_do() {
    let site = Site::with("[limits]\nrequest_timeout = \"60s\"");
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    client.ask(&alice_reads());
    let form = format!("grant_type=client_credentials&more={}", "x".repeat(200_000));
    let asked = |client: &mut Client| {
        let kind = [("Content-Type", FORM)];
        let response = client.send("POST", "/oauth2/token", &kind, form.as_bytes());
        response.status
    };
    // All but the end of each, until there is no room for one more.
    let mut slow = Vec::new();
    eventually("strangers have all that they may", || {
        let mut stream = begin(&engine, "", "/oauth2/token", FORM, form.len());
        let _ = stream.write_all(&form.as_bytes()[1..]);
        slow.push(stream);
        (asked(&mut engine.client("")) == 503).then_some(())
    });
    assert_eq!(asked(&mut client), 400, "the parameter is too long");
}

#[test]
fn administration_is_answered_while_everything_is_at_work() {
    let site = Site::with("admin_listen = \"127.0.0.1:0\"\n[limits]\nconcurrency = 3");
    let (key, receiver, admin) = (site.key("gateway"), site.key("receiver"), site.key("admin"));
    let engine = site.start();
    let mut admin = Client::of(engine.admin(), &admin);
    let wish = json!({"delivery": {"method": "urn:ietf:rfc:8936"}});
    let made = engine.client(&receiver).post("/ssf/streams", &wish);
    assert_eq!(made.status, 201, "{}", made.json());
    let stream = made.json()["stream_id"].as_str().unwrap().to_owned();
    // Each waits for something to tell.
    let kind = [("Content-Type", "application/json")];
    let path = format!("/ssf/poll/{stream}");
    let poll = message(&receiver, "POST", &path, &kind, b"{}");
    let mut waiting = Vec::new();
    eventually("all places are taken", || {
        let mut stream = dial(engine.address);
        stream.write_all(&poll).unwrap();
        waiting.push(stream);
        let asked = engine
            .client(&key)
            .post("/access/v1/evaluation", &alice_reads());
        let is_told = asked.header("retry-after") == Some("1");
        (asked.status == 503 && is_told).then_some(())
    });
    for path in ["/v1/keys", "/metrics"] {
        let response = admin.get(path);
        assert_eq!(response.status, 200, "{path}: {response:?}");
    }
}

/// Sends a head, the body after the answer, and then another request.
fn answered_early(
    stream: &mut BufReader<TcpStream>,
    head: &[u8],
    body: usize,
) -> (Response, Response) {
    stream.get_mut().write_all(head).unwrap();
    let early = read_response(stream).unwrap();
    stream.get_mut().write_all(&vec![b'x'; body]).unwrap();
    let health = message("", "GET", "/healthz", &[], b"");
    stream.get_mut().write_all(&health).unwrap();
    let next = read_response(stream).unwrap();
    (early, next)
}

#[test]
fn an_answer_that_does_not_wait_for_the_body_is_not_the_last() {
    let engine = Site::new().start();
    for (path, body) in [
        ("/gateway/forward-auth", 1),
        ("/gateway/forward-auth", 3 << 20),
        ("/gateway/envoy/orders", 100_000),
        ("/access/v1/evaluation", 100_000),
        ("/nowhere", 100),
    ] {
        let mut stream = BufReader::new(dial(engine.address));
        let length = body.to_string();
        let headers = [("Content-Length", length.as_str())];
        let head = message("", "POST", path, &headers, b"");
        for _ in 0..2 {
            let (early, next) = answered_early(&mut stream, &head, body);
            assert!(early.status >= 400, "{path}");
            assert_eq!(early.header("connection"), None, "{path}");
            assert_eq!(next.status, 200, "{path}");
        }
    }
    // More than anybody waits for.
    let mut client = engine.client("");
    let headers = [("Content-Length", "999999999")];
    let long = client.send("POST", "/gateway/forward-auth", &headers, b"x");
    assert_eq!(long.header("connection"), Some("close"));
    eventually("others are answered", || {
        (engine.client("").get("/healthz").status == 200).then_some(())
    });
}
