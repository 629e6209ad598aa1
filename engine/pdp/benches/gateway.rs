//! What the engine costs behind real gateways: nginx, Envoy over HTTP and Envoy over gRPC, each
//! with the engine and with a stub that says yes to everything, by turns. Both answer at the end of
//! the same configuration (`tests/gateways`), with the same app behind it; the difference is the
//! engine. Its journal is on and synced. The last column is the processor time of all the engine's
//! threads for each request.
//!
//! `cargo bench -p pdp --bench gateway -- --seconds 10 --rounds 3 --connections 16`, with nginx,
//! wrk and Envoy where they can be found (Envoy also in `target/gateways`, where
//! `tests/gateways/run` puts it). `--only gRPC` leaves out what has another name.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench that cannot go on must stop"
)]

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{
    Authorization, AuthorizationServer,
};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use envoy_types::pb::google::rpc;
use pdp::access::Role;
use pdp::app;
use pdp::background::Background;
use pdp::inputs::Inputs;
use pdp::settings::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::service::Routes;

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The threads of stub and app.
const STUB: &str = "stub";
/// Customers of the shop, each in a session of their own.
const CUSTOMERS: usize = 64;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap()
}

fn main() {
    let number = |name: &str, default: u64| {
        let args: Vec<String> = std::env::args().collect();
        let at = args.iter().position(|arg| arg == name);
        at.map_or(default, |at| args[at + 1].parse().unwrap())
    };
    let (seconds, rounds) = (number("--seconds", 10), number("--rounds", 3));
    let connections = number("--connections", 16);
    let mut args = std::env::args().skip_while(|arg| arg != "--only");
    let only = args.nth(1).unwrap_or_default();
    std::env::set_current_dir(root()).unwrap();
    let Some([nginx, envoy, wrk]) = programs(["nginx", "envoy", "wrk"]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    println!(
        "{connections} connections, {rounds} rounds of {seconds} s, {CUSTOMERS} customers\n\n\
         | gateway | stub, requests/s | p50, p99 ms | engine, requests/s | p50, p99 ms | ratio \
         | of the engine, µs |\n\
         |---|---|---|---|---|---|---|"
    );
    for (name, folder, program, arguments) in [
        (
            "nginx",
            "nginx",
            &nginx,
            &["-p", ".", "-c", "nginx.conf"][..],
        ),
        (
            "Envoy, HTTP",
            "envoy",
            &envoy,
            &[
                "--disable-hot-restart",
                "--concurrency",
                "2",
                "-c",
                "http.yaml",
            ],
        ),
        (
            "Envoy, gRPC",
            "envoy",
            &envoy,
            &[
                "--disable-hot-restart",
                "--concurrency",
                "2",
                "-c",
                "grpc.yaml",
            ],
        ),
    ]
    .into_iter()
    .filter(|(name, ..)| name.contains(&only))
    {
        let sides = [&world.stub, &world.engine].map(|side| {
            let gateway = Gateway::start(&world, side, folder, program, arguments);
            gateway.load(&wrk, &world.script, connections, 3);
            gateway
        });
        let mut seen = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (gateway, seen) in sides.iter().zip(&mut seen) {
                seen.push(gateway.load(&wrk, &world.script, connections, seconds));
            }
        }
        let [stub, engine] = seen.map(middle);
        println!(
            "| {name} | {:.0} | {:.2}, {:.2} | {:.0} | {:.2}, {:.2} | {:.2} | {:.0} |",
            stub.rate,
            stub.p50,
            stub.p99,
            engine.rate,
            engine.p50,
            engine.p99,
            engine.rate / stub.rate,
            engine.spent,
        );
    }
}

/// Where programs are. None, with a word, where one is not.
fn programs<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend([
        "/usr/sbin".into(),
        root().join("target/gateways/python/bin"),
    ]);
    let mut found = Vec::new();
    for name in names {
        let program = folders.iter().map(|folder| folder.join(name));
        match program.clone().find(|program| program.is_file()) {
            Some(program) => found.push(program),
            None => println!("SKIPPED: {name} is not installed"),
        }
    }
    found.try_into().ok()
}

/// Who answers gateways: over HTTP, over gRPC, and the keys that they need.
struct Side {
    name: &'static str,
    http: SocketAddr,
    grpc: SocketAddr,
    nginx_key: String,
    envoy_key: String,
}

struct World {
    folder: PathBuf,
    engine: Side,
    stub: Side,
    app: SocketAddr,
    script: PathBuf,
    _runtimes: [Runtime; 2],
}

impl World {
    fn new(folder: &Path) -> Self {
        let stubs = tokio::runtime::Builder::new_multi_thread()
            .thread_name(STUB)
            .enable_all()
            .build()
            .unwrap();
        let (stub, app) = stubs.block_on(async {
            let yes = Router::new().fallback(async || ());
            let checks = Routes::new(AuthorizationServer::new(Yes)).into_axum_router();
            let stub = Side {
                name: "stub",
                http: serve(yes).await,
                grpc: serve(checks).await,
                nginx_key: "none".to_owned(),
                envoy_key: "none".to_owned(),
            };
            (stub, serve(Router::new().fallback(async || "a page")).await)
        });
        let runtime = Runtime::new().unwrap();
        let (engine, script) = runtime.block_on(engine(folder));
        Self {
            folder: folder.to_owned(),
            engine,
            stub,
            app,
            script,
            _runtimes: [stubs, runtime],
        }
    }
}

/// Serves over HTTP/1.1 and HTTP/2.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Says yes.
struct Yes;

#[tonic::async_trait]
impl Authorization for Yes {
    async fn check(
        &self,
        _: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        Ok(tonic::Response::new(CheckResponse {
            status: Some(rpc::Status::default()),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
            ..CheckResponse::default()
        }))
    }
}

/// The engine with the shop's settings, and a script for wrk by which its customers come.
async fn engine(folder: &Path) -> (Side, PathBuf) {
    let policies = folder.join("policies");
    copy(&root().join("tests/gateways/shop/policies"), &policies);
    let stored = policies.join("entities.json");
    let text = fs::read_to_string(&stored).unwrap();
    let mut entities: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    entities.extend((0..CUSTOMERS).map(|number| {
        serde_json::json!({
            "uid": { "type": "User", "id": format!("customer-{number}") },
            "attrs": {},
            "parents": [{ "type": "Group", "id": "customers" }],
        })
    }));
    fs::write(&stored, serde_json::to_vec(&entities).unwrap()).unwrap();

    let text = |path: PathBuf| path.into_os_string();
    let environment = [
        ("PORTREEVE_LISTEN", "127.0.0.1:0".into()),
        ("PORTREEVE_GRPC_LISTEN", "127.0.0.1:0".into()),
        ("PORTREEVE_DATA_DIR", text(folder.join("var"))),
        ("PORTREEVE_POLICIES__DIR", text(policies)),
    ];
    let environment = environment.map(|(name, value)| (name.into(), value));
    let file = root().join("tests/gateways/shop/shop.toml");
    let settings = Settings::load(Some(&file), environment.into_iter()).unwrap();
    let app = app::build(settings, Inputs::system()).await.unwrap().app;
    let listeners = pdp::serve::listen(&app).await.unwrap();
    let http = listeners.address();
    let grpc = listeners.urls().find_map(|url| {
        let address = url.strip_prefix("grpc://")?;
        Some(address.parse().unwrap())
    });
    let nginx_key = app.create_key("nginx", Role::Gateway).await.unwrap().key;
    let envoy_key = app.create_key("envoy", Role::Gateway).await.unwrap().key;
    let (stop, stopped) = watch::channel(false);
    let background = Background::start(&app);
    tokio::spawn(async move {
        pdp::serve::serve(app, listeners, stopped).await;
        drop((stop, background));
    });
    let side = Side {
        name: "engine",
        http,
        grpc: grpc.unwrap(),
        nginx_key,
        envoy_key,
    };

    let mut requests = String::new();
    for number in 0..CUSTOMERS {
        let handle = sign_in(&side, &format!("customer-{number}")).await;
        let _ = writeln!(
            requests,
            "requests[{}] = wrk.format('GET', '/orders/{number}?tab=items', {{Host = \
             'shop.example', ['User-Agent'] = 'Mozilla/5.0', Cookie = \
             'theme=dark; __Host-portreeve={handle}'}})",
            number + 1
        );
    }
    let script = folder.join("customers.lua");
    let text = format!(
        "local requests = {{}}\nlocal at = 0\nfunction init()\n{requests}end\n\
         function request()\n  at = at % #requests + 1\n  return requests[at]\nend\n"
    );
    fs::write(&script, text).unwrap();
    (side, script)
}

/// Opens a session; its handle.
async fn sign_in(side: &Side, who: &str) -> String {
    let body = serde_json::json!({
        "subject": { "type": "User", "id": who },
        "context": { "ip": "127.0.0.1", "user_agent": "Mozilla/5.0", "assurance": { "level": 1 } },
    })
    .to_string();
    let mut stream = TcpStream::connect(side.http).await.unwrap();
    let message = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n\
         {body}",
        side.nginx_key,
        body.len()
    );
    stream.write_all(message.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, told) = answer.split_once("\r\n\r\n").unwrap();
    let told: serde_json::Value = serde_json::from_str(told).unwrap();
    told["handle"].as_str().expect(&answer).to_owned()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => fs::write(to, fs::read(entry.path()).unwrap()).unwrap(),
        }
    }
}

/// One gateway before one side. Ended with this.
struct Gateway {
    process: Child,
    port: u16,
}

impl Gateway {
    fn start(world: &World, side: &Side, folder: &str, program: &Path, arguments: &[&str]) -> Self {
        let place = world.folder.join(format!("{folder}-{}", side.name));
        copy(&root().join("tests/gateways").join(folder), &place);
        let key = format!("proxy_set_header Portreeve-Key \"{}\";", side.nginx_key);
        if folder == "nginx" {
            fs::write(place.join("portreeve/key.conf"), &key).unwrap();
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let ours = [
            ("8080", port),
            ("8181", side.http.port()),
            ("8182", side.grpc.port()),
            ("3000", world.app.port()),
        ];
        let config = place.join(arguments.last().unwrap());
        // Where nginx is told of the engine.
        let included = place.join("portreeve/http.conf");
        for config in [config, included].iter().filter(|config| config.exists()) {
            let mut text = fs::read_to_string(config).unwrap();
            for (theirs, ours) in ours {
                for before in ["127.0.0.1:", "port_value: "] {
                    text = text.replace(&format!("{before}{theirs}"), &format!("{before}{ours}"));
                }
            }
            fs::write(config, text).unwrap();
        }
        let log = fs::File::create(place.join("log")).unwrap();
        let process = Command::new(program)
            .args(arguments)
            .current_dir(&place)
            .env("PORTREEVE_KEY", &side.envoy_key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let gateway = Self { process, port };
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return gateway;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{}", fs::read_to_string(place.join("log")).unwrap());
    }

    /// Everything that wrk can send in so many seconds.
    fn load(&self, wrk: &Path, script: &Path, connections: u64, seconds: u64) -> Seen {
        let before = spent();
        let output = Command::new(wrk)
            .args(["--latency", "-t1"])
            .arg(format!("-c{connections}"))
            .arg(format!("-d{seconds}s"))
            .arg("-s")
            .arg(script)
            .arg(format!("http://127.0.0.1:{}/", self.port))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let is_clean = !text.contains("Non-2xx") && !text.contains("Socket errors");
        assert!(output.status.success() && is_clean, "{text}");
        let of = |word: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(word));
            line.unwrap_or_else(|| panic!("{text}")).trim().to_owned()
        };
        let rate = of("Requests/sec:").parse().unwrap();
        let spent = spent().saturating_sub(before);
        Seen {
            rate,
            spent: spent as f64 / 1e3 / (rate * seconds as f64),
            p50: milliseconds(&of("50%")),
            p99: milliseconds(&of("99%")),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // nginx tells its workers.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.process.wait();
    }
}

/// What wrk saw.
struct Seen {
    rate: f64,
    p50: f64,
    p99: f64,
    /// What the engine's threads took for each request, µs.
    spent: f64,
}

/// The processor time that the engine's threads have taken so far, ns.
fn spent() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
    let of_engine = tasks.filter_map(|task| {
        let name = fs::read_to_string(task.join("comm")).ok()?;
        let spent = fs::read_to_string(task.join("schedstat")).ok()?;
        let spent = spent.split(' ').next()?.parse::<u64>().ok()?;
        (name.trim_end() != STUB).then_some(spent)
    });
    of_engine.sum()
}

fn milliseconds(text: &str) -> f64 {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1_000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return number.parse::<f64>().unwrap() * factor;
        }
    }
    panic!("{text}")
}

/// The round with the middle rate.
fn middle(mut seen: Vec<Seen>) -> Seen {
    seen.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    let at = seen.len() / 2;
    seen.swap_remove(at)
}
