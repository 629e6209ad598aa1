//! How long a token is still accepted after `POST /oauth2/revoke` was answered (V21):
//!
//! `cargo bench -p pdp --bench revocation_lag`, or `-- --revocations N`.
//!
//! The real binary, over real sockets, with the disk's own flush. For each revocation two
//! connections use the token without a pause (introspection, as a resource server does) while a
//! third revokes it. A use that *began* after the answer and was accepted would be a lag; how
//! many there were is the first figure. The second is the time from the answer to the end of the
//! first use that was refused: at most the round trip of a use, and less than nothing where one
//! was refused before the answer came.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on must stop, and prints what it finds"
)]

mod kept;
mod real;

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;

use kept::Client;
use real::{BINARY, Engine};
use serde_json::{Value, json};

/// Revocations at work at once, each with a connection that revokes and two that use.
const AT_ONCE: usize = 2;
const USERS: usize = 2;

fn portreeve(config: &Path) -> Command {
    let mut command = Command::new(BINARY);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    command.arg("--config").arg(config).current_dir(root);
    command
}

/// The body of an answer that has to be 200.
fn post(client: &mut Client, path: &str, kind: &str, body: &str) -> Vec<u8> {
    let (status, answer) = client.send("POST", path, kind, body);
    assert_eq!(status, 200, "{path}");
    answer
}

fn form(client: &mut Client, path: &str, form: &str) -> Vec<u8> {
    post(client, path, "application/x-www-form-urlencoded", form)
}

fn token(client: &mut Client) -> String {
    let question = json!({
        "subject": { "type": "User", "id": "alice" },
        "action": { "name": "read" },
        "resource": { "type": "Document", "id": "handbook" },
        "context": {
            "ip": "10.10.4.7",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "device": { "id": "alice-laptop" },
            "token": { "audience": "https://docs.example" },
        },
    });
    let path = "/access/v1/evaluation";
    let answer = post(client, path, "application/json", &question.to_string());
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let token = answer["context"]["token"]["access_token"].as_str();
    token.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn is_accepted(client: &mut Client, token: &str) -> bool {
    let answer = form(client, "/oauth2/introspect", &format!("token={token}"));
    !answer.starts_with(br#"{"active":false"#)
}

/// What one connection saw of one token.
struct Seen {
    last_accepted_began: Option<Instant>,
    refused: Instant,
    uses: u32,
}

/// Uses each token that it is sent until it is refused.
fn user(mut client: Client, tokens: &mpsc::Receiver<String>, seen: &mpsc::Sender<Seen>) {
    while let Ok(token) = tokens.recv() {
        let (mut last_accepted_began, mut uses) = (None, 0);
        loop {
            let began = Instant::now();
            uses += 1;
            if !is_accepted(&mut client, &token) {
                break;
            }
            last_accepted_began = Some(began);
        }
        let refused = Instant::now();
        seen.send(Seen {
            last_accepted_began,
            refused,
            uses,
        })
        .unwrap();
    }
}

/// What was found, microseconds.
#[derive(Default)]
struct Found {
    accepted_after: usize,
    lags: Vec<f64>,
    answers: Vec<f64>,
    uses: u64,
}

fn revoke(address: &str, key: &str, revocations: usize) -> Found {
    let mut found = Found::default();
    let (seen, all_seen) = mpsc::channel();
    let mut tokens = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..USERS {
            let (send, receive) = mpsc::channel();
            tokens.push(send);
            let (client, seen) = (Client::new(address, key), seen.clone());
            scope.spawn(move || user(client, &receive, &seen));
        }
        let mut client = Client::new(address, key);
        for _ in 0..revocations {
            let token = token(&mut client);
            assert!(is_accepted(&mut client, &token));
            for user in &tokens {
                user.send(token.clone()).unwrap();
            }
            // Under way by now, mostly.
            std::thread::sleep(std::time::Duration::from_micros(500));
            let asked = Instant::now();
            form(&mut client, "/oauth2/revoke", &format!("token={token}"));
            let answered = Instant::now();
            let seen: Vec<Seen> = (0..USERS).map(|_| all_seen.recv().unwrap()).collect();
            let accepted = seen.iter().filter_map(|seen| seen.last_accepted_began);
            found.accepted_after += accepted.filter(|began| *began > answered).count();
            let refused = seen.iter().map(|seen| seen.refused).min().unwrap();
            let lag = if refused >= answered {
                (refused - answered).as_secs_f64()
            } else {
                -(answered - refused).as_secs_f64()
            };
            found.lags.push(lag * 1e6);
            found.answers.push((answered - asked).as_secs_f64() * 1e6);
            found.uses += seen.iter().map(|seen| u64::from(seen.uses)).sum::<u64>();
        }
        tokens.clear();
    });
    found
}

fn told(name: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    println!(
        "{name}, µs: p50 {:.0}, p90 {:.0}, p99 {:.0}, max {:.0}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

fn histogram(values: &[f64]) {
    let bounds = [
        0.0,
        100.0,
        200.0,
        500.0,
        1000.0,
        2000.0,
        5000.0,
        10_000.0,
        f64::INFINITY,
    ];
    let mut below = f64::NEG_INFINITY;
    for bound in bounds {
        let count = values
            .iter()
            .filter(|v| **v > below && **v <= bound)
            .count();
        let bar = "#".repeat(count * 60 / values.len().max(1));
        println!("  <= {bound:>6} µs {count:>6} {bar}");
        below = bound;
    }
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--revocations");
    let revocations = arguments
        .nth(1)
        .map_or(4000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("portreeve.toml");
    let data = folder.path().join("var");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndata_dir = {data:?}\n[geo]\ncity = \"data/geo/demo.mmdb\"\n\
         asn = \"data/geo/demo.mmdb\"\nanonymous = \"data/geo/demo.mmdb\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let arguments = [
        "keys", "create", "--name", "bench", "--role", "gateway", "--json",
    ];
    let made = portreeve(&config).args(arguments).output().unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["key"].as_str().unwrap().to_owned();
    let engine = Engine::start(portreeve(&config));
    let each = revocations / AT_ONCE;
    let found: Vec<Found> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..AT_ONCE)
            .map(|_| scope.spawn(|| revoke(&engine.address, &key, each)))
            .collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let accepted: usize = found.iter().map(|found| found.accepted_after).sum();
    let uses: u64 = found.iter().map(|found| found.uses).sum();
    let lags: Vec<f64> = found.iter().flat_map(|found| found.lags.clone()).collect();
    let answers = found
        .iter()
        .flat_map(|found| found.answers.clone())
        .collect();
    let before = lags.iter().filter(|lag| **lag <= 0.0).count();
    println!(
        "{} revocations, {uses} uses; accepted though begun after the answer: {accepted}; refused \
         before the answer came: {:.1} %",
        lags.len(),
        before as f64 * 100.0 / lags.len() as f64
    );
    histogram(&lags);
    told("from the answer to the end of the first refused use", lags);
    told("from the question to the answer", answers);
}
