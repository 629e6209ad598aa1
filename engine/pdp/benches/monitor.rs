//! The monitor beside decisions, with a million live sessions:
//!
//! `cargo bench -p pdp --bench monitor`, or `-- --sessions N --rate N --events N --seconds N
//! --rounds N`.
//!
//! One process: the engine with the shipped policies and model, SQLite and journal on the disk,
//! 100,000 subjects with a profile of 200 accesses each, their sessions in memory, and HTTP clients
//! that ask at a fixed rate. A question counts from the moment at which it was due, so that a
//! stall is paid for by all that waited. Told are: memory, sweeps alone, decisions alone, both
//! together, and the time from a device that is told to be not compliant any more to the first use
//! of its session's token that is refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench that cannot go on must stop, and prints what it finds"
)]

mod kept;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::{
    AccessRequest, Action, Assurance, DeviceClaim, EntityRef, Name, Party, RequestContext,
    SessionBirth, SessionRecord, SessionSight, SessionTerms, Signal, Timestamp,
};
use kept::Client;
use pdp::access::Role;
use pdp::app::{self, App};
use pdp::background::Background;
use pdp::inputs::Inputs;
use pdp::settings::Settings;
use risk::{Key, Lesson, Profile, Signals};
use serde_json::{Value, json};
use store::sqlite::ProfileRow;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SUBJECTS: usize = 100_000;
const CLIENTS: usize = 8;
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A device that is told to be not compliant ends what is done on it.
const POLICY: &str = r#"@id("sessions-on-compliant-devices") @reason("Your device does not meet our rules.")
forbid (principal, action == Action::"session.continue", resource)
when { context.device has compliant && !context.device.compliant };
"#;

fn argument(name: &str, otherwise: usize) -> usize {
    let mut all = std::env::args();
    all.find(|argument| argument == name)
        .and_then(|_| all.next())
        .map_or(otherwise, |number| number.parse().unwrap())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Memory of this process that is in use, bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

fn subject(number: usize) -> EntityRef {
    EntityRef::new("User", format!("u{}", number % SUBJECTS)).unwrap()
}

fn settings(folder: &Path, sessions: usize) -> Settings {
    let policies = folder.join("policies");
    std::fs::create_dir(&policies).unwrap();
    for entry in std::fs::read_dir(root().join("policies")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, policies.join(path.file_name().unwrap())).unwrap();
        }
    }
    std::fs::write(policies.join("99-bench.cedar"), POLICY).unwrap();
    let file = policies.join("entities.json");
    let mut entities: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    entities.extend((0..SUBJECTS + 100_000).map(|number| {
        json!({
            "uid": { "type": "User", "id": format!("u{number}") },
            "attrs": { "department": "sales" },
            "parents": [{ "type": "Group", "id": "staff" }],
        })
    }));
    std::fs::write(&file, serde_json::to_string(&entities).unwrap()).unwrap();
    let geo = root().join("data/geo/demo.mmdb");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndata_dir = {:?}\n[policies]\ndir = {policies:?}\nwatch = false\n\
         [models]\ndir = {:?}\n[geo]\ncity = {geo:?}\nasn = {geo:?}\nanonymous = {geo:?}\n\
         [monitor]\nsweep_every = \"24h\"\n\
         [limits]\nsessions_in_memory = {}\nprofiles_in_memory = {}\nrequest_timeout = \"30s\"\n",
        folder.join("var"),
        root().join("models"),
        sessions * 5 / 4,
        SUBJECTS * 2,
    );
    let config = folder.join("portreeve.toml");
    std::fs::write(&config, text).unwrap();
    Settings::load(Some(&config), std::iter::empty()).unwrap()
}

/// A profile with 200 ordinary accesses behind it.
fn profile(app: &App, now: Timestamp) -> Profile {
    let mut profile = Profile::default();
    let settings = &app.live.current().settings;
    for number in 0..200_i64 {
        let at = now.plus_seconds(-86_400 * (200 - number) / 6);
        let party = |kind: &str, id: String| Party {
            entity: EntityRef::new(kind, id).unwrap(),
            properties: Default::default(),
        };
        let request = AccessRequest {
            subject: party("User", "u0".to_owned()),
            action: Action {
                name: Name::new("read").unwrap(),
                properties: Default::default(),
            },
            resource: party("Document", format!("d{}", number % 12)),
            context: RequestContext {
                ip: Some("10.10.4.7".parse().unwrap()),
                user_agent: Some(FIREFOX.to_owned()),
                device: Some(device(0)),
                ..RequestContext::default()
            },
            result: None,
        };
        let located = app.geo.load().locate("10.10.4.7".parse().unwrap());
        let signals = Signals {
            place: located.place,
            network: located.network,
            anonymity: located.anonymity,
            agent: risk::agent::Agent::parse(FIREFOX).map(Arc::new),
            profile: Signal::Known(Arc::new(profile.clone())),
            ..Signals::default()
        };
        let evidence = risk::extract(&request, &signals, settings, at);
        let event = Key::number(u64::try_from(number).unwrap() + 1);
        let delta = evidence.delta(event, Lesson::Baselines);
        drop(signals);
        profile.apply(&delta);
    }
    profile
}

fn device(number: usize) -> DeviceClaim {
    DeviceClaim {
        id: Some(format!("laptop-{number}")),
        managed: Some(true),
        compliant: Some(true),
        os: Some("Linux".to_owned()),
        ..DeviceClaim::default()
    }
}

fn session(number: usize, client_id: &str, now: Timestamp) -> SessionRecord {
    let ip = Some("10.10.4.7".parse().unwrap());
    let agent = risk::agent::Agent::parse(FIREFOX).unwrap();
    SessionRecord {
        id: format!("ses_{number:022}"),
        subject: subject(number),
        birth: SessionBirth {
            at: now,
            ip,
            agent_family: Some(agent.family),
            device_id: device(0).id,
            ..SessionBirth::default()
        },
        last_seen: now,
        sight: Some(Arc::new(SessionSight {
            at: now,
            ip,
            user_agent: Some(Arc::from(FIREFOX)),
            device: Some(device(0)),
            is_enrolled: false,
            enrolled_at: None,
        })),
        assurance: Assurance::default(),
        ended: false,
        terms: Some(SessionTerms {
            client_id: client_id.to_owned(),
            expires_at: now.plus_seconds(8 * 3600),
            idle_seconds: 4 * 3600,
            granted_score: Some(10),
            score: Some(10),
            ..SessionTerms::default()
        }),
    }
}

/// Fills store and memory.
async fn fill(app: &App, sessions: usize, client_id: &str) {
    let now = app.inputs.clock.now();
    let body = profile(app, now).to_bytes();
    println!("a stored profile: {} bytes", body.len());
    let store = app.state.store();
    for first in (0..SUBJECTS).step_by(10_000) {
        let rows: Vec<ProfileRow> = (first..first + 10_000)
            .map(|number| ProfileRow {
                subject: subject(number),
                form: risk::profile::FORM,
                body: body.clone(),
                updated_at: now,
            })
            .collect();
        store.put_profiles(&rows).await.unwrap();
        for row in &rows {
            let _ = app.state.profile(&row.subject, now).await;
        }
    }
    let before = resident();
    println!(
        "memory with {SUBJECTS} profiles, without sessions: {} MiB",
        before >> 20
    );
    let started = Instant::now();
    for first in (0..sessions).step_by(10_000) {
        let some: Vec<SessionRecord> = (first..(first + 10_000).min(sessions))
            .map(|number| session(number, client_id, now))
            .collect();
        store.put_sessions(&some).await.unwrap();
        let begun = app.state.begin_session();
        for session in some {
            app.state.session_opened(session, begun);
        }
    }
    let after = resident();
    println!(
        "{sessions} sessions kept in {:.0} s; memory {} MiB, {} bytes a session",
        started.elapsed().as_secs_f64(),
        after >> 20,
        after.saturating_sub(before) / sessions,
    );
}

async fn swept(app: &App, what: &str) {
    let (started, cpu) = (Instant::now(), cpu());
    let looked = pdp::monitor::sweep(app, "bench").await.unwrap();
    let (took, cpu) = (started.elapsed().as_secs_f64(), self::cpu() - cpu);
    println!(
        "{what}: {looked} sessions in {took:.1} s; {cpu:.1} s of processor time of the whole process, \
         {:.0} sessions a second and core; memory {} MiB",
        looked as f64 / cpu,
        resident() >> 20,
    );
}

/// Processor time of this process, seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let rest = stat.rsplit(')').next().unwrap().to_owned();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

/// The status and the JSON of an answer.
fn post(client: &mut Client, path: &str, body: &Value) -> (u16, Value) {
    let (status, body) = client.send("POST", path, "application/json", &body.to_string());
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn question(number: usize) -> Value {
    json!({
        "subject": { "type": "User", "id": format!("u{}", number % SUBJECTS) },
        "action": { "name": "read" },
        "resource": { "type": "Document", "id": "handbook" },
        "context": {
            "ip": "10.10.4.7", "user_agent": FIREFOX,
            "device": { "id": "laptop-0", "managed": true, "compliant": true, "os": "Linux" },
            "session_id": format!("ses_{number:022}"),
        },
    })
}

/// Asks at a fixed rate until it is told to stop. Milliseconds from when each was due.
fn ask(
    address: SocketAddr,
    key: &str,
    rate: usize,
    sessions: usize,
    stop: &AtomicBool,
) -> Vec<f64> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mut connection = Client::new(address, key);
                    let pause = Duration::from_secs_f64(CLIENTS as f64 / rate as f64);
                    let started = Instant::now() + pause * u32::try_from(client).unwrap() / 8;
                    let mut took = Vec::new();
                    for round in 0_u32.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let due = started + pause * round;
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        let number = (client + CLIENTS * round as usize) * 7919 % sessions;
                        let (status, _) =
                            post(&mut connection, "/access/v1/evaluation", &question(number));
                        assert_eq!(status, 200);
                        took.push(due.elapsed().as_secs_f64() * 1e3);
                    }
                    took
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    })
}

fn percentiles(what: &str, mut took: Vec<f64>) {
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: {} in all; ms: median {:.2}, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, most {:.2}",
        took.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0),
    );
}

/// From a device that is told to be not compliant to the first refused use of a token of its
/// session, milliseconds.
fn events(address: SocketAddr, gateway: &str, admin: &str, count: usize) {
    let mut gateway = Client::new(address, gateway);
    let mut admin = Client::new(address, admin);
    let mut took = Vec::new();
    for number in 0..count {
        let id = format!("watched-{number}");
        let path = format!("/v1/devices/{id}");
        let put = |admin: &mut Client, compliant: bool| {
            let body = json!({ "compliant": compliant }).to_string();
            let (status, answer) = admin.send("PUT", &path, "application/json", &body);
            assert!(status < 300, "{}", String::from_utf8_lossy(&answer));
        };
        put(&mut admin, true);
        let (status, opened) = post(
            &mut gateway,
            "/v1/sessions",
            &json!({
                "subject": { "type": "User", "id": format!("u{}", SUBJECTS + number) },
                "context": {
                    "ip": "10.10.4.7", "user_agent": FIREFOX, "device": { "id": id },
                    "token": { "audience": "https://docs.example", "scope": "read" },
                },
            }),
        );
        assert_eq!(status, 201, "{opened}");
        let token = opened["token"]["access_token"].as_str().unwrap().to_owned();
        let form = format!("token={token}");
        let started = Instant::now();
        put(&mut admin, false);
        loop {
            let (_, answer) = gateway.send(
                "POST",
                "/oauth2/introspect",
                "application/x-www-form-urlencoded",
                &form,
            );
            if answer.starts_with(br#"{"active":false"#) {
                break;
            }
            assert!(started.elapsed().as_secs() < 60, "{id} goes on");
        }
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    percentiles(
        "from the event that is sent to the token that is refused",
        took.clone(),
    );
    for (name, most) in [
        ("1", 1.0),
        ("2", 2.0),
        ("5", 5.0),
        ("10", 10.0),
        ("25", 25.0),
        ("50", 50.0),
        ("100", 100.0),
    ] {
        let within = took.iter().filter(|took| **took <= most).count();
        println!(
            "  within {name} ms: {:.1} %",
            100.0 * within as f64 / count as f64
        );
    }
}

fn main() {
    let sessions = argument("--sessions", 1_000_000);
    let rate = argument("--rate", 1000);
    let count = argument("--events", 500);
    let span = Duration::from_secs(argument("--seconds", 60) as u64);
    let rounds = argument("--rounds", 2);
    let folder = tempfile::TempDir::new().unwrap();
    let settings = settings(folder.path(), sessions);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let (app, address, gateway, admin, background) = runtime.block_on(async {
        let built = app::build(settings, Inputs::system()).await.unwrap();
        let app = built.app;
        let listeners = pdp::serve::listen(&app).await.unwrap();
        let address = listeners.address();
        let gateway = app.create_key("gateway", Role::Gateway).await.unwrap();
        let admin = app.create_key("admin", Role::Admin).await.unwrap();
        fill(&app, sessions, &gateway.record.client_id).await;
        // The first: every session is put to the policies. The second: none need be.
        swept(&app, "first sweep, nothing else going on").await;
        swept(&app, "second sweep").await;
        let background = Background::start(&app);
        let (stop, stopped) = tokio::sync::watch::channel(false);
        std::mem::forget(stop);
        tokio::spawn(pdp::serve::serve(Arc::clone(&app), listeners, stopped));
        (app, address, gateway.key, admin.key, background)
    });
    let stop = AtomicBool::new(false);
    for round in 1..=rounds {
        let alone = std::thread::scope(|scope| {
            let asking = scope.spawn(|| ask(address, &gateway, rate, sessions, &stop));
            std::thread::sleep(span);
            stop.store(true, Ordering::Relaxed);
            asking.join().unwrap()
        });
        percentiles(&format!("{round}: decisions alone, {rate} a second"), alone);
        stop.store(false, Ordering::Relaxed);
        let both = std::thread::scope(|scope| {
            let asking = scope.spawn(|| ask(address, &gateway, rate, sessions, &stop));
            let started = Instant::now();
            while started.elapsed() < span {
                runtime.block_on(swept(&app, &format!("{round}: sweep beside them")));
            }
            stop.store(true, Ordering::Relaxed);
            asking.join().unwrap()
        });
        percentiles(&format!("{round}: decisions beside sweeps"), both);
        stop.store(false, Ordering::Relaxed);
    }
    events(address, &gateway, &admin, count);
    runtime.block_on(background.finish());
}
