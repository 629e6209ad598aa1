//! A receiver of pushed tokens: takes what comes over a real socket, and answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Came {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Where it listens, and what came.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    came: Receiver<Came>,
    /// `503`, or `400 invalid_key`: in turn; after the last 202.
    answers: Arc<Mutex<VecDeque<String>>>,
    /// Locked as long as nobody is answered.
    held: Arc<Mutex<()>>,
}

impl Sink {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, came) = channel();
        let answers: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let answering = Arc::clone(&answers);
        let held = Arc::new(Mutex::new(()));
        let waits = Arc::clone(&held);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if serve(stream, &sender, &answering, &waits).is_none() {
                    return;
                }
            }
        });
        Self {
            address,
            came,
            answers,
            held,
        }
    }

    /// Answers nobody until what is returned is dropped.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.held.lock().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    pub(crate) fn answer(&self, all: impl IntoIterator<Item = String>) {
        *self.answers.lock().unwrap() = all.into_iter().collect();
    }

    /// The next that comes.
    pub(crate) fn next(&self) -> Came {
        let came = self.came.recv_timeout(PATIENCE);
        came.expect("something should have been sent")
    }

    /// Whether nothing more has come so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.came.try_recv().is_err()
    }
}

/// None when nobody listens to what came any more.
fn serve(
    stream: TcpStream,
    sender: &Sender<Came>,
    answers: &Mutex<VecDeque<String>>,
    held: &Mutex<()>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return Some(());
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line);
    }
    let headers: Vec<(String, String)> = lines
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut came = Came {
        headers,
        body: String::new(),
    };
    let length = came
        .header("content-length")
        .unwrap_or("0")
        .parse()
        .unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    came.body = String::from_utf8(body).unwrap();
    let answer = answers.lock().unwrap().pop_front();
    let answer = answer.unwrap_or_else(|| "202".to_owned());
    let (status, body) = match answer.split_once(' ') {
        Some((status, err)) => (status, format!(r#"{{"err":"{err}","description":"no"}}"#)),
        None => (answer.as_str(), String::new()),
    };
    // First noted, then answered: what the engine knows to be taken is there.
    sender.send(came).ok()?;
    drop(held.lock());
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n");
    let _ = write!(
        reader.get_mut(),
        "{head}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    Some(())
}
