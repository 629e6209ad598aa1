//! Limits on everything that grows: past one the answer is quick and clear.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{BINARY, Engine, Site, alice_reads, eventually, root};

#[test]
fn a_body_past_the_limit_is_413_at_once() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let started = Instant::now();
    let mut question = alice_reads();
    question["context"]["padding"] = json!("x".repeat(10 << 20));
    let response = client.post("/access/v1/evaluation", &question);
    assert_eq!(response.status, 413);
    // Announced and never sent: nobody waits for it.
    let headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", "999999999"),
    ];
    let response = engine
        .client(&key)
        .send("POST", "/access/v1/evaluation", &headers, b"{");
    assert_eq!(response.status, 413);
    assert!(started.elapsed() < Duration::from_secs(5));
    // Without a length, in pieces.
    let mut stream = TcpStream::connect(engine.address).unwrap();
    let head = format!(
        "POST /access/v1/evaluation HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..40 {
        if stream.write_all(piece.as_bytes()).is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let read = stream.read(&mut answer).unwrap_or_default();
    assert_eq!(&answer[..read], b"HTTP/1.1 413");
    assert_eq!(engine.client(&key).ask(&alice_reads())["decision"], true);
}

#[test]
fn a_batch_that_grows_past_the_limit_when_it_is_spread_out_is_413() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    // 250 KB as it comes; 25 MB of records, if each item were taken with the defaults.
    let mut batch = alice_reads();
    batch["action"]["properties"] = json!({ "note": "y".repeat(250_000) });
    batch["evaluations"] = json!(vec![json!({}); 100]);
    let response = client.post("/access/v1/evaluations", &batch);
    assert_eq!(response.status, 413, "{}", response.json());
    let journal: u64 = std::fs::read_dir(site.data().join("journal"))
        .unwrap()
        .map(|file| file.unwrap())
        .filter(|file| file.path().extension().is_some_and(|kind| kind == "log"))
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert!(journal < 100_000, "{journal} bytes");
    batch["evaluations"] = json!([{}, {}]);
    let response = client.post("/access/v1/evaluations", &batch);
    assert_eq!(response.status, 200, "two of them are no burden");
}

#[test]
fn a_batch_past_the_limit_is_413() {
    let site = Site::with("[limits]\nbatch_items = 5");
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let mut batch = alice_reads();
    batch["evaluations"] = json!(vec![json!({}); 6]);
    let response = client.post("/access/v1/evaluations", &batch);
    assert_eq!(response.status, 413);
    assert!(
        response.json()["detail"]
            .as_str()
            .unwrap()
            .contains("at most 5")
    );
    batch["evaluations"] = json!(vec![json!({}); 5]);
    assert_eq!(client.post("/access/v1/evaluations", &batch).status, 200);
}

#[test]
fn g4_a_header_past_the_limit_is_431() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let body = alice_reads().to_string();
    for (length, wanted) in [(8192, 200), (8193, 431), (60_000, 431), (200_000, 431)] {
        let long = "x".repeat(length);
        let headers = [
            ("Content-Type", "application/json"),
            ("X-Padding", long.as_str()),
        ];
        let response =
            engine
                .client(&key)
                .send("POST", "/access/v1/evaluation", &headers, body.as_bytes());
        assert_eq!(response.status, wanted, "{length}");
        // As a name is what its value is: both are read, kept and passed on.
        let headers = [("Content-Type", "application/json"), (&long, "x")];
        let path = "/access/v1/evaluation";
        let response = engine
            .client(&key)
            .send("POST", path, &headers, body.as_bytes());
        assert_eq!(response.status, wanted, "a name of {length}");
    }
    let many = "X-A: b\r\n".repeat(5000);
    let message = format!("GET /healthz HTTP/1.1\r\nHost: e\r\n{many}\r\n");
    let response = engine.client(&key).raw(message.as_bytes()).unwrap();
    assert_eq!(response.status, 431);
}

/// Opens a request and never sends its body. Returns when the engine has asked for the body:
/// only then does the request count.
fn hang(engine: &Engine, key: &str) -> TcpStream {
    let mut stream = TcpStream::connect(engine.address).unwrap();
    let message = format!(
        "POST /access/v1/evaluation HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(message.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[test]
fn too_many_at_once_of_a_caller_are_429_and_quick() {
    let site = Site::with(
        "[limits]\nconcurrency = 4\nconcurrency_per_caller = 2\nrequest_timeout = \"5s\"",
    );
    let (first, second, third) = (
        site.key("gateway"),
        site.key("gateway"),
        site.key("gateway"),
    );
    let engine = site.start();
    let _two: Vec<TcpStream> = (0..2).map(|_| hang(&engine, &first)).collect();
    let status = |key: &str| {
        let started = Instant::now();
        let response = engine
            .client(key)
            .post("/access/v1/evaluation", &alice_reads());
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "refused at once, not after waiting for a place: {:?}",
            started.elapsed()
        );
        (
            response.status,
            response.header("retry-after").map(str::to_owned),
        )
    };
    assert_eq!(status(&first), (429, Some("1".to_owned())));
    assert_eq!(status(&second).0, 200, "others are not hindered");
    let _more: Vec<TcpStream> = (0..2).map(|_| hang(&engine, &second)).collect();
    assert_eq!(
        status(&third).0,
        200,
        "nor do they hold each other's places"
    );
    // Those who do not finish are cut off, and there is room again.
    eventually("there is room again", || {
        (status(&first).0 == 200).then_some(())
    });
}

#[test]
fn a_request_that_takes_too_long_is_503() {
    let site = Site::with("[limits]\nrequest_timeout = \"300ms\"");
    let key = site.key("gateway");
    let engine = site.start();
    let mut stream = hang(&engine, &key);
    let started = Instant::now();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn connections_past_the_limit_are_closed() {
    let site = Site::with("[limits]\nconnections = 3");
    let key = site.key("gateway");
    let engine = site.start();
    let mut clients: Vec<_> = (0..3).map(|_| engine.client(&key)).collect();
    for client in &mut clients {
        client.ask(&alice_reads());
    }
    let mut fourth = engine.client(&key);
    assert!(
        fourth.try_send("GET", "/healthz", &[], b"").is_none(),
        "closed without an answer"
    );
    clients.pop();
    eventually("a place is free", || {
        fourth
            .try_send("GET", "/healthz", &[], b"")
            .filter(|response| response.status == 200)
    });
}

#[test]
fn idle_connections_leave_room_for_the_journal() {
    // Each record fills a good part of a segment, so that segments are begun all the time.
    let site = Site::with("[audit]\nsegment_bytes = 65536");
    let key = site.key("gateway");
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -n 90; exec \"$@\"", "sh", BINARY, "--config"])
        .arg(site.config())
        .current_dir(root());
    let engine = Engine::start(&mut command);
    let mut client = engine.client(&key);
    let mut question = alice_reads();
    question["action"]["properties"] = json!({ "padding": "x".repeat(30_000) });
    client.ask(&question);
    let idle: Vec<TcpStream> = (0..120)
        .filter_map(|_| TcpStream::connect(engine.address).ok())
        .collect();
    for _ in 0..12 {
        client.ask(&question);
    }
    drop(idle);
    eventually("there is room for others again", || {
        engine
            .client(&key)
            .try_send("GET", "/healthz", &[], b"")
            .filter(|response| response.status == 200)
    });
    client.ask(&question);
}
