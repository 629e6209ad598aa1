//! The engine is stopped while it is asked.

use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::secure::Dialler;
use crate::harness::{Site, alice_reads};

/// What became of one client's requests.
#[derive(Debug, Default)]
struct Told {
    answered: Vec<String>,
    /// Sent over a connection that was good for more, and never answered.
    lost: usize,
    /// Said that it is the last answer of its connection.
    last: usize,
}

#[test]
fn what_was_accepted_is_answered_although_the_engine_stops() {
    let site = Site::new();
    let key = site.key("gateway");
    let mut engine = site.start();
    let begun = Barrier::new(17);
    let answered = AtomicUsize::new(0);
    let stopping = AtomicBool::new(false);
    let told: Vec<Told> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let mut client = engine.client(&key);
                let (begun, answered, stopping) = (&begun, &answered, &stopping);
                scope.spawn(move || {
                    let mut told = Told::default();
                    let body = alice_reads().to_string();
                    let kind = [("Content-Type", "application/json")];
                    assert_eq!(client.get("/healthz").status, 200);
                    begun.wait();
                    loop {
                        let was_open = client.is_connected();
                        let sent = client.try_send(
                            "POST",
                            "/access/v1/evaluation",
                            &kind,
                            body.as_bytes(),
                        );
                        let Some(response) = sent else {
                            // A connection that nobody took in was not accepted.
                            let early = !stopping.load(Ordering::SeqCst);
                            told.lost += usize::from(was_open || early);
                            return told;
                        };
                        assert_eq!(response.status, 200);
                        let id = response.json()["context"]["decision_id"].clone();
                        told.answered.push(id.as_str().unwrap().to_owned());
                        told.last += usize::from(response.header("connection") == Some("close"));
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        begun.wait();
        while answered.load(Ordering::Relaxed) < 100 {
            std::thread::yield_now();
        }
        stopping.store(true, Ordering::SeqCst);
        engine.signal("TERM");
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    let (status, log) = engine.wait();
    assert!(status.success(), "{log}");
    assert!(!log.contains("cut off"), "{log}");
    for one in &told {
        assert_eq!(one.lost, 0, "{} answered", one.answered.len());
        assert!(one.last <= 1, "{} last ones", one.last);
    }
    assert!(told.iter().any(|one| one.last > 0), "nobody was told");

    // Every answer is on record.
    let mut on_record = std::collections::HashSet::new();
    for entry in std::fs::read_dir(site.data().join("journal")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        for line in text.lines() {
            let json = line.find('{').map(|at| &line[at..]);
            let record: Value = serde_json::from_str(json.unwrap_or("null")).unwrap_or_default();
            let id = record["decision_id"].as_str();
            on_record.extend(id.map(str::to_owned));
        }
    }
    for id in told.iter().flat_map(|one| &one.answered) {
        assert!(on_record.contains(id), "{id}");
    }
}

#[test]
fn a_connection_that_is_kept_open_ends_with_the_engine() {
    let site = Site::new();
    let engine = site.start();
    let mut kept = engine.client("");
    assert_eq!(kept.get("/healthz").status, 200);
    engine.stop_within(Duration::from_secs(5));
    drop(kept);
}

#[test]
fn who_never_shakes_hands_keeps_no_engine_from_stopping() {
    let engine = super::secure::site("", "").start();
    let silent: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(engine.address).unwrap())
        .collect();
    // Whoever comes after them is answered: they were taken in.
    let asked = ("GET", "/healthz");
    let answer = Dialler::new(None).ask(engine.address, asked, "", &Value::Null);
    assert_eq!(answer.unwrap().status, 200);
    engine.stop_within(Duration::from_secs(5));
    drop(silent);
}
