//! The real binary, started for a test and stopped with it.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_portreeve");

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Data beside the project. None, with a word about it, where it is absent.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(path);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: {} is not there", path.display());
    None
}

/// A command of the binary, in the project's folder, with settings of its own.
pub(crate) fn portreeve(config: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("--config").arg(config).current_dir(root());
    command
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        status: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A folder with settings for an engine.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) folder: TempDir,
}

impl Site {
    /// Shipped policies, model and demo addresses; data of its own.
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// The same, with more settings.
    pub(crate) fn with(more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("var");
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = {data:?}\n{more}\n\
             [geo]\ncity = \"data/geo/demo.mmdb\"\nasn = \"data/geo/demo.mmdb\"\n\
             anonymous = \"data/geo/demo.mmdb\"\n"
        );
        std::fs::write(folder.path().join("portreeve.toml"), text).unwrap();
        Self { folder }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("portreeve.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("var")
    }

    pub(crate) fn command(&self) -> Command {
        portreeve(&self.config())
    }

    /// Makes a key of a role.
    pub(crate) fn key(&self, role: &str) -> String {
        self.key_that_may(role, &[])
    }

    /// The same, narrowed to these permissions if there are any.
    pub(crate) fn key_that_may(&self, role: &str, permissions: &[&str]) -> String {
        let mut command = self.command();
        command.args(["keys", "create", "--name", role, "--role", role, "--json"]);
        for permission in permissions {
            command.args(["--permission", permission]);
        }
        let ran = run(&mut command);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let made: Value = serde_json::from_str(&ran.out).unwrap();
        made["key"].as_str().unwrap().to_owned()
    }

    pub(crate) fn start(&self) -> Engine {
        Engine::start(&mut self.command())
    }
}

/// A running engine. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Engine {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where it listens for gRPC.
    pub(crate) grpc: Option<SocketAddr>,
    /// What it logs, as it comes.
    log: Arc<Mutex<String>>,
    logging: Option<std::thread::JoinHandle<()>>,
}

impl Engine {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_with_output(command, Stdio::null()).0
    }

    /// The same, with its standard output where it is piped.
    pub(crate) fn start_with_output(
        command: &mut Command,
        output: Stdio,
    ) -> (Self, Option<ChildStdout>) {
        let mut child = command
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        let mut grpc = None;
        let address = loop {
            let mut line = String::new();
            let read = lines.read_line(&mut line).unwrap();
            assert!(read > 0, "the engine ended before it listened:\n{log}");
            log.push_str(&line);
            let Some(url) = line.trim().strip_prefix("listening on ") else {
                continue;
            };
            let (scheme, address) = url.split_once("://").unwrap();
            if scheme.starts_with("grpc") {
                grpc = Some(address.parse().unwrap());
            } else {
                break address.parse().unwrap();
            }
        };
        let log = Arc::new(Mutex::new(log));
        // Somebody has to read on, or the engine would wait for room in the pipe.
        let rest = Arc::clone(&log);
        let logging = std::thread::spawn(move || {
            let mut line = Vec::new();
            while lines
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                rest.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        let output = child.stdout.take();
        let engine = Self {
            child,
            address,
            grpc,
            log,
            logging: Some(logging),
        };
        (engine, output)
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// Waits for the end of the process; its status and everything that it logged.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        (status, self.whole_log())
    }

    fn whole_log(&mut self) -> String {
        if let Some(logging) = self.logging.take() {
            logging.join().unwrap();
        }
        self.log_so_far()
    }

    /// What it has logged by now.
    pub(crate) fn log_so_far(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Where it listens for administration.
    pub(crate) fn admin(&self) -> SocketAddr {
        eventually("it listens for administration", || {
            let log = self.log_so_far();
            let mut urls = log.lines().filter_map(|line| {
                let url = line.trim().strip_prefix("listening on http")?;
                url.split_once("://")
            });
            urls.nth(1).map(|(_, address)| address.parse().unwrap())
        })
    }

    /// Ends it as an operator would.
    pub(crate) fn stop(mut self) -> String {
        self.signal("TERM");
        let (status, log) = self.wait();
        assert!(status.success(), "{status}\n{log}");
        log
    }

    /// The same, with nothing cut off, in less than so long.
    pub(crate) fn stop_within(self, most: Duration) {
        let began = Instant::now();
        let log = self.stop();
        assert!(!log.contains("cut off"), "{log}");
        let took = began.elapsed();
        assert!(took < most, "{took:?}");
    }

    pub(crate) fn client(&self, key: &str) -> Client {
        Client {
            address: self.address,
            key: key.to_owned(),
            stream: None,
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP/1.1 client that sends exactly what it is told to, over one connection.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    key: String,
    stream: Option<BufReader<TcpStream>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Client {
    /// One who talks to whatever listens there.
    pub(crate) fn of(address: SocketAddr, key: &str) -> Self {
        Self {
            address,
            key: key.to_owned(),
            stream: None,
        }
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Response {
        self.send(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    /// Asks one question.
    pub(crate) fn ask(&mut self, question: &Value) -> Value {
        let response = self.post("/access/v1/evaluation", question);
        assert_eq!(
            response.status,
            200,
            "{}",
            String::from_utf8_lossy(&response.body)
        );
        response.json()
    }

    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.try_send(method, path, headers, body).unwrap()
    }

    /// None when the connection broke.
    pub(crate) fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Response> {
        self.raw(&message(&self.key, method, path, headers, body))
    }

    /// Whether it would send over a connection that is open already.
    pub(crate) const fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Sends bytes as they are and reads one response.
    pub(crate) fn raw(&mut self, message: &[u8]) -> Option<Response> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address).ok()?;
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            stream.set_nodelay(true).unwrap();
            self.stream = Some(BufReader::new(stream));
        }
        let stream = self.stream.as_mut().unwrap();
        // An engine that refuses early may close before it has read everything.
        let _ = stream.get_mut().write_all(message);
        let response = read_response(stream);
        let closes = response
            .as_ref()
            .is_none_or(|response| response.header("connection") == Some("close"));
        if closes {
            self.stream = None;
        }
        response
    }
}

/// A request as it is sent. Without a key, nobody asks.
pub(crate) fn message(
    key: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: engine\r\n");
    let named = |name: &str| {
        headers
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    if !key.is_empty() && !named("authorization") {
        text.push_str(&format!("Authorization: Bearer {key}\r\n"));
    }
    if !named("content-length") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut message = text.into_bytes();
    message.extend_from_slice(body);
    message
}

/// Reads one response, to its end.
pub(crate) fn read_response(stream: &mut impl BufRead) -> Option<Response> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut response = Response {
        status,
        headers,
        body: Vec::new(),
    };
    let length = response
        .header("content-length")
        .and_then(|length| length.parse().ok());
    response.body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut response.body).ok()?;
    Some(response)
}

/// The question that most tests ask: may alice read the handbook, from her office and laptop?
pub(crate) fn alice_reads() -> Value {
    json!({
        "subject": { "type": "User", "id": "alice" },
        "action": { "name": "read" },
        "resource": { "type": "Document", "id": "handbook" },
        "context": {
            "ip": "10.10.4.7",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "device": { "id": "alice-laptop" },
        },
    })
}

/// What alice's profile has learnt and counted, as a dry run of her question sees it.
pub(crate) fn history_of_alice(client: &mut Client) -> (Option<i64>, Option<i64>) {
    let mut question = alice_reads();
    question["context"]["dry_run"] = json!(true);
    let answer = client.ask(&question);
    let id = answer["context"]["decision_id"].as_str().unwrap();
    let record = eventually("the record is drained", || {
        let response = client.get(&format!("/v1/decisions/{id}"));
        (response.status == 200).then(|| response.json())
    });
    assert_eq!(record["manner"], "dry_run");
    let signals = &record["facts"]["signals"];
    (signals["history"].as_i64(), signals["requests_5m"].as_i64())
}

/// Waits until something holds; fails when it does not within ten seconds.
pub(crate) fn eventually<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = holds() {
            return value;
        }
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "not within ten seconds: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The time by the clock that the engine under test goes by, as RFC 3339.
pub(crate) fn now() -> String {
    from_now(0)
}

/// A time so many seconds after now.
#[expect(
    clippy::disallowed_methods,
    reason = "the engine under test runs by the same clock"
)]
pub(crate) fn from_now(seconds: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    at.to_string()
}
