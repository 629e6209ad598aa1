//! What a decision costs: alone, in its parts, and over HTTP beside a handler that only parses
//! and answers the same JSON. One run, so that the ratios mean something on any machine.
//!
//! `cargo bench -p pdp --bench decision`; the HTTP groups run a minute each, with journal, flush and drain on.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench that cannot go on must stop"
)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domain::{AccessRequest, Signal, Timestamp};
use geo::GeoPaths;
use pdp::App;
use pdp::access::Role;
use pdp::app;
use pdp::background::Background;
use pdp::engine::decide;
use pdp::inputs::Inputs;
use pdp::models::shadow::Shadow;
use pdp::settings::Settings;
use policy::Question;
use risk::agent::Agent;
use risk::{Key, Lesson, Profile, Signals};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUESTION: &str = r#"{"subject":{"type":"User","id":"alice"},"action":{"name":"read"},"resource":{"type":"Document","id":"handbook"},"context":{"ip":"192.0.2.7","user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0","session_id":"s-1","device":{"id":"laptop-1","managed":true,"compliant":true}}}"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn settings(data: &Path) -> Settings {
    let database = Some(root().join("data/geo/demo.mmdb"));
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: data.to_owned(),
        store: data.join("portreeve.db"),
        policies: root().join("policies"),
        entities: Some(root().join("policies/entities.json")),
        models: root().join("models"),
        geo: GeoPaths {
            city: database.clone(),
            asn: database.clone(),
            anonymous: database,
            threats: Vec::new(),
        },
        ..Settings::default()
    }
}

/// A request and the signals of somebody with a month of history.
fn known_person(app: &App) -> (AccessRequest, Signals, Timestamp) {
    let request = wire::request::parse(QUESTION.as_bytes()).unwrap().request;
    let located = app.geo.load().locate(request.context.ip.unwrap());
    let mut signals = Signals {
        place: located.place,
        network: located.network,
        anonymity: located.anonymity,
        sensitivity: Signal::Known(0),
        agent: request
            .context
            .user_agent
            .as_deref()
            .and_then(Agent::parse)
            .map(Arc::new),
        ..Signals::default()
    };
    let settings = risk::Settings::default();
    let mut profile = Profile::default();
    let mut now = Timestamp::from_seconds(1_772_442_000);
    for number in 0..200 {
        now = now.plus_seconds(if number % 10 == 9 { 70_000 } else { 900 });
        let evidence = risk::extract(&request, &signals, &settings, now);
        profile.apply(&evidence.delta(Key::number(number), Lesson::Baselines));
    }
    signals.profile = Signal::Known(Arc::new(profile));
    (request, signals, now.plus_seconds(600))
}

fn engine_in(folder: &Path, runtime: &Runtime) -> Arc<App> {
    let built = app::build(settings(&folder.join("var")), Inputs::system());
    runtime.block_on(built).unwrap().app
}

fn alone(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let app = engine_in(folder.path(), &runtime);
    let (request, signals, now) = known_person(&app);
    let snapshot = Arc::clone(&app.live.current());
    let outcome = decide(&request, &signals, &snapshot, now);
    let evidence = risk::extract(&request, &signals, &snapshot.settings, now);
    let question = Question {
        request: &request,
        facts: &outcome.evidence.facts,
        assurance: outcome.evidence.assurance,
        now,
        interactive: true,
    };
    let mut group = criterion.benchmark_group("alone");
    group.bench_function("decide", |bench| {
        bench.iter(|| decide(black_box(&request), &signals, &snapshot, now));
    });
    group.bench_function("extract", |bench| {
        bench.iter(|| risk::extract(black_box(&request), &signals, &snapshot.settings, now));
    });
    group.bench_function("score_and_factors", |bench| {
        bench.iter(|| {
            risk::assess(
                black_box(&request),
                &evidence,
                &snapshot.model,
                &snapshot.settings,
            )
        });
    });
    group.bench_function("cedar_ladder", |bench| {
        bench.iter(|| {
            snapshot
                .policies
                .climb(&snapshot.directory, black_box(&question))
        });
    });
    group.bench_function("challenger", |bench| {
        let champion = app.models.champion();
        let meters = app.metrics.begin_shadow(Some("behaviour@2"));
        let shadow = Shadow::new(
            Arc::clone(&champion.model),
            champion.choice.clone(),
            now,
            meters,
        );
        bench.iter(|| shadow.look(black_box(&outcome), &snapshot.settings));
    });
    group.bench_function("note_for_drift", |bench| {
        let features = &outcome.evidence.features;
        bench.iter(|| app.models.recent.note(black_box(features), now));
    });
    group.bench_function("profile_update", |bench| {
        let mut profile = signals
            .profile
            .known()
            .map(|profile| (**profile).clone())
            .unwrap();
        let mut number = 1_000_000;
        bench.iter(|| {
            number += 1;
            profile.apply(&evidence.delta(Key::number(number), Lesson::Baselines))
        });
    });
    let bytes = signals
        .profile
        .known()
        .map(|profile| postcard::to_stdvec(&**profile).unwrap());
    group.finish();
    println!(
        "a profile with 200 accesses: {} bytes",
        bytes.unwrap().len()
    );
}

/// A server, and connections to it that stay open.
struct Bench {
    runtime: Runtime,
    connections: Vec<TcpStream>,
    message: Arc<Vec<u8>>,
}

impl Bench {
    fn new(runtime: Runtime, address: SocketAddr, key: &str, connections: usize) -> Self {
        let message = format!(
            "POST /access/v1/evaluation HTTP/1.1\r\nHost: engine\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{QUESTION}",
            QUESTION.len()
        );
        let connections = (0..connections)
            .map(|_| {
                runtime.block_on(async {
                    let stream = TcpStream::connect(address).await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    stream
                })
            })
            .collect();
        Self {
            runtime,
            connections,
            message: Arc::new(message.into_bytes()),
        }
    }

    /// Sends so many requests over all connections, one after the other on each.
    fn send(&mut self, requests: u64) -> Duration {
        let each = requests.div_ceil(self.connections.len() as u64);
        let connections = std::mem::take(&mut self.connections);
        let message = Arc::clone(&self.message);
        let started = Instant::now();
        self.connections = self.runtime.block_on(async move {
            let tasks: Vec<_> = connections
                .into_iter()
                .map(|mut stream| {
                    let message = Arc::clone(&message);
                    tokio::spawn(async move {
                        let mut answer = vec![0; 16 << 10];
                        for _ in 0..each {
                            stream.write_all(&message).await.unwrap();
                            let mut read = 0;
                            while !is_whole(&answer[..read]) {
                                read += stream.read(&mut answer[read..]).await.unwrap();
                            }
                            assert!(answer.starts_with(b"HTTP/1.1 200"));
                        }
                        stream
                    })
                })
                .collect();
            let mut streams = Vec::new();
            for task in tasks {
                streams.push(task.await.unwrap());
            }
            streams
        });
        let sent = each * self.connections.len() as u64;
        started.elapsed().mul_f64(requests as f64 / sent as f64)
    }
}

/// Whether a response is there to its last byte.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    length.is_some_and(|length: usize| body.len() >= length)
}

/// The floor: the same server, the same parse, an answer of the same form and size, and nothing
/// in between.
fn floor(connections: usize) -> Bench {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let app = engine_in(folder.path(), &runtime);
    let (request, signals, now) = known_person(&app);
    let outcome = Arc::new(decide(&request, &signals, &app.live.current(), now));
    let handler = move |body: Bytes| {
        let outcome = Arc::clone(&outcome);
        async move {
            let incoming = wire::request::parse(&body).unwrap();
            assert!(incoming.request.context.ip.is_some());
            let view = wire::AnswerView {
                decision: &outcome.decision,
                decision_id: "019c0000-0000-7000-8000-000000000000",
                policy_revision: "0123456789abcdef",
                sight: wire::Sight {
                    risk: true,
                    admin_reason: true,
                },
                acr_values: None,
                session: None,
                token: None,
                token_error: None,
            };
            let headers = [("content-type", "application/json")];
            (headers, serde_json::to_vec(&view).unwrap())
        }
    };
    let router = Router::new().route("/access/v1/evaluation", post(handler));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, router).await });
    Bench::new(runtime, address, "none", connections)
}

/// The shipped model, and once more as the next version.
fn two_models(folder: &Path) -> PathBuf {
    let shipped = root().join("models/behaviour/1");
    let text = std::fs::read_to_string(shipped.join("manifest.json")).unwrap();
    for version in [1, 2] {
        let to = folder.join("models/behaviour").join(version.to_string());
        std::fs::create_dir_all(&to).unwrap();
        std::fs::copy(shipped.join("forest.bin"), to.join("forest.bin")).unwrap();
        let text = text.replace("\"version\": 1,", &format!("\"version\": {version},"));
        std::fs::write(to.join("manifest.json"), text).unwrap();
    }
    folder.join("models")
}

fn engine(connections: usize, folder: &Path, challenged: bool) -> Bench {
    let runtime = Runtime::new().unwrap();
    let (address, key) = runtime.block_on(async {
        let settings = Settings {
            models: two_models(folder),
            champion: "behaviour@1".to_owned(),
            ..settings(&folder.join("var"))
        };
        let app = app::build(settings, Inputs::system()).await.unwrap().app;
        if challenged {
            let challenger = Some("behaviour@2".to_owned());
            let now = app.inputs.clock.now();
            let registry = &app.models.registry;
            registry.shadow(challenger, "bench", now).await.unwrap();
            app.take_up_models().await.unwrap();
            assert!(app.models.shadow().is_some());
        }
        let key = app.create_key("bench", Role::Gateway).await.unwrap().key;
        let listeners = pdp::serve::listen(&app).await.unwrap();
        let address = listeners.address();
        let (stop, stopped) = watch::channel(false);
        let background = Background::start(&app);
        tokio::spawn(async move {
            pdp::serve::serve(app, listeners, stopped).await;
            drop((stop, background));
        });
        (address, key)
    });
    Bench::new(runtime, address, &key, connections)
}

fn over_http(criterion: &mut Criterion) {
    for connections in [16, 64] {
        let mut group = criterion.benchmark_group(format!("http_{connections}_connections"));
        group.throughput(Throughput::Elements(1));
        group.sample_size(20).warm_up_time(Duration::from_secs(5));
        group.measurement_time(Duration::from_secs(60));
        let mut bare = floor(connections);
        group.bench_function("bare_handler", |bench| bench.iter_custom(|n| bare.send(n)));
        drop(bare);
        for (name, challenged) in [("engine", false), ("engine_and_challenger", true)] {
            let folder = tempfile::tempdir().unwrap();
            let mut whole = engine(connections, folder.path(), challenged);
            group.bench_function(name, |bench| bench.iter_custom(|n| whole.send(n)));
        }
        group.finish();
    }
}

criterion_group!(benches, alone, over_http);
criterion_main!(benches);
