//! What becomes of decisions when far more is asked than can be decided, with and without
//! shedding: the real binary, over HTTP, its journal synced, asked by ever more gateways'
//! connections that wait for nothing, not after a 503 either.
//!
//! `cargo bench -p pdp --bench overload -- --seconds 10`

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench that cannot go on must stop"
)]

mod real;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use real::{BINARY, Engine};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Gateways, each with a key and a share of the connections.
const GATEWAYS: usize = 4;
/// As many connections as the engine needs to be busy, and what is too many.
const CONNECTIONS: [usize; 4] = [64, 256, 512, 1024];
const SHED_AFTER: [&str; 3] = ["0s", "200ms", "50ms"];
const WARM: Duration = Duration::from_secs(3);

fn portreeve(folder: &Path, shed_after: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(BINARY);
    command
        .current_dir(root)
        .env("PORTREEVE_LISTEN", "127.0.0.1:0")
        .env("PORTREEVE_DATA_DIR", folder)
        .env("PORTREEVE_LIMITS__SHED_AFTER", shed_after)
        .env("PORTREEVE_LIMITS__REQUEST_TIMEOUT", "30s");
    command
}

/// The secret of a new key.
fn key(folder: &Path, name: &str) -> String {
    let ran = portreeve(folder, "0s")
        .args([
            "keys", "create", "--role", "gateway", "--json", "--name", name,
        ])
        .output()
        .unwrap();
    let made: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

/// What was seen in some seconds.
#[derive(Default)]
struct Seen {
    /// How long each decision took, ms.
    decided: Vec<f64>,
    shed: usize,
}

/// Asks over one connection, without a pause, until the end; what came before `from` is not kept.
async fn ask(address: &str, message: &str, from: Instant, until: Instant) -> Seen {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut seen, mut answer) = (Seen::default(), Vec::new());
    while Instant::now() < until {
        let began = Instant::now();
        stream.write_all(message.as_bytes()).await.unwrap();
        answer.clear();
        while !is_whole(&answer) {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed");
        }
        if began < from {
            continue;
        }
        match &answer[9..12] {
            b"200" => seen.decided.push(began.elapsed().as_secs_f64() * 1e3),
            b"503" => seen.shed += 1,
            _ => panic!("{}", String::from_utf8_lossy(&answer)),
        }
    }
    seen
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.expect("a length").trim().parse().unwrap();
    answer.len() >= head + 4 + length
}

fn message(key: &str, number: usize) -> String {
    let body = serde_json::json!({
        "subject": { "type": "User", "id": format!("customer-{}", number % 64) },
        "action": { "name": "read" },
        "resource": { "type": "Document", "id": "handbook" },
        "context": { "ip": "192.0.2.7", "user_agent": "Mozilla/5.0", "session_id": format!("s-{number}") },
    })
    .to_string();
    format!(
        "POST /access/v1/evaluation HTTP/1.1\r\nHost: engine\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn flood(engine: &Engine, keys: &[String], connections: usize, lasts: Duration) -> Seen {
    let from = Instant::now() + WARM;
    let asking = (0..connections).map(|number| {
        let message = message(&keys[number % keys.len()], number);
        let address = engine.address.clone();
        tokio::spawn(async move { ask(&address, &message, from, from + lasts).await })
    });
    let mut seen = Seen::default();
    for asking in asking.collect::<Vec<_>>() {
        let one = asking.await.unwrap();
        seen.decided.extend(one.decided);
        seen.shed += one.shed;
    }
    seen.decided.sort_by(f64::total_cmp);
    seen
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|arg| arg == "--seconds");
    let seconds: u64 = at.map_or(10, |at| args[at + 1].parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    println!(
        "| shed_after | connections | decided a second | p50, p99 ms | told 503 a second |\n\
         |---|---|---|---|---|"
    );
    for shed_after in SHED_AFTER {
        let folder = tempfile::tempdir().unwrap();
        let folder: PathBuf = folder.path().join("var");
        let keys: Vec<String> = (0..GATEWAYS)
            .map(|number| key(&folder, &format!("gateway-{number}")))
            .collect();
        let engine = Engine::start(portreeve(&folder, shed_after));
        for connections in CONNECTIONS {
            let lasts = Duration::from_secs(seconds);
            let seen = runtime.block_on(flood(&engine, &keys, connections, lasts));
            let of = |part: f64| {
                let at = (seen.decided.len() as f64 * part) as usize;
                seen.decided.get(at).copied().unwrap_or(f64::NAN)
            };
            println!(
                "| {shed_after} | {connections} | {} | {:.1}, {:.1} | {} |",
                seen.decided.len() as u64 / seconds,
                of(0.5),
                of(0.99),
                seen.shed as u64 / seconds,
            );
        }
    }
}
