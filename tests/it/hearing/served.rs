//! A transmitter that is asked over HTTP, for its keys and for its tokens: K5, E30, V20.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{SECRET, Stage, TYPE, now, question, uri};
use crate::harness::eventually;
use crate::oauth::journal;
use crate::refreshing::text;

/// What it has, and what it was told.
#[derive(Debug, Default)]
struct Has {
    /// None: its keys cannot be fetched.
    keys: Option<String>,
    sets: BTreeMap<String, String>,
    /// It offers its tokens again, whatever is said of them.
    is_deaf: bool,
    polls: Vec<Value>,
}

/// Where it listens.
struct Served {
    address: SocketAddr,
    has: Arc<Mutex<Has>>,
}

impl Served {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let has: Arc<Mutex<Has>> = Arc::default();
        let answers = Arc::clone(&has);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &answers);
            }
        });
        Self { address, has }
    }

    /// An engine that hears it: pushed to, or polling it each `every` seconds.
    fn stage(&self, every: Option<u32>) -> Stage {
        let at = self.address;
        let polls = every.map_or_else(String::new, |every| {
            format!("poll_url = 'http://{at}/poll'\npoll_every_seconds = {every}\n")
        });
        Stage::with(|path| {
            format!(
                "limits = {{ outbound_allow = ['{at}'] }}\n\
                 [[ssf.transmitters]]\nissuer = 'https://idp.example'\n\
                 audience = 'https://pdp.example'\njwks_uri = 'http://{at}/jwks'\n\
                 authorization_file = '{}'\n{polls}",
                path("secret")
            )
        })
    }
}

/// Answers one request.
fn answer(stream: TcpStream, has: &Mutex<Has>) {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.to_ascii_lowercase());
    }
    let length = lines
        .iter()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let mut has = has.lock().unwrap();
    let is_poll = lines.first().is_some_and(|line| line.contains("/poll"));
    let (status, text) = if is_poll {
        let poll: Value = serde_json::from_slice(&body).unwrap();
        let acks: Vec<String> =
            serde_json::from_value(poll.get("ack").cloned().unwrap_or(json!([]))).unwrap();
        if !has.is_deaf {
            has.sets.retain(|jti, _| !acks.contains(jti));
        }
        has.polls.push(poll);
        let more = has.is_deaf;
        let answer = json!({ "sets": has.sets, "moreAvailable": more });
        (200, answer.to_string())
    } else {
        has.keys
            .clone()
            .map_or((500, String::new()), |keys| (200, keys))
    };
    drop(has);
    let length = text.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n");
    let _ = write!(
        reader.get_mut(),
        "{head}content-length: {length}\r\nconnection: close\r\n\r\n{text}"
    );
}

/// A token of an event that is about alice.
fn token(stage: &mut Stage, event: &str, body: Value, jti: &str, issued: i64) -> String {
    let mut claims = stage.claims();
    claims.insert("jti".to_owned(), json!(jti));
    claims.insert("iat".to_owned(), json!(issued));
    claims.insert(
        "sub_id".to_owned(),
        json!({ "format": "iss_sub", "iss": "https://idp.example", "sub": "alice" }),
    );
    claims.insert("events".to_owned(), json!({ uri(event): body }));
    stage.sign(&stage.header(), &claims, "idp")
}

#[test]
fn k5_v20_what_cannot_be_verified_for_now_is_to_be_sent_again() {
    let served = Served::open();
    let mut stage = served.stage(None);
    let session = stage.open_session("alice", None);
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let signed = token(&mut stage, "session-revoked", json!({}), "once", now());
    for _ in 0..2 {
        let response = stage.push(&signed, Some(SECRET), TYPE);
        assert_eq!(response.status, 503, "{}", text(&response));
        let mut client = stage.engine().client(&stage.key);
        assert_eq!(client.get(&path).json()["active"], true);
    }
    // Its name is not spent. A start asks for the keys at once, as half a minute would.
    served.has.lock().unwrap().keys = Some(json!({ "keys": [stage.idp.public()] }).to_string());
    stage.restart();
    let response = stage.push(&signed, Some(SECRET), TYPE);
    assert_eq!(response.status, 202, "{}", text(&response));
    let mut client = stage.engine().client(&stage.key);
    assert_eq!(client.get(&path).json()["active"], false);
}

#[test]
fn v20_what_is_polled_is_done_in_the_order_in_which_it_was_issued() {
    let served = Served::open();
    let mut stage = served.stage(Some(1));
    let at = now() - 60;
    // By their names they come the other way round, and both are of the same second.
    let body = json!({ "event_timestamp": at });
    let disabled = token(&mut stage, "account-disabled", body.clone(), "z", at);
    let enabled = token(&mut stage, "account-enabled", body, "a", at + 1);
    // It happened before that, and was issued after it.
    let earlier = json!({ "event_timestamp": at - 1, "reason": "hijacking" });
    let late = token(&mut stage, "account-disabled", earlier, "m", at + 2);
    {
        let mut has = served.has.lock().unwrap();
        has.keys = Some(json!({ "keys": [stage.idp.public()] }).to_string());
        let sets = [("z", disabled), ("a", enabled), ("m", late)];
        has.sets = sets.map(|(jti, set)| (jti.to_owned(), set)).into();
    }
    eventually("all are acknowledged", || {
        served.has.lock().unwrap().sets.is_empty().then_some(())
    });
    let answer = stage.engine().client(&stage.key).ask(&question("alice"));
    assert_eq!(answer["context"]["outcome"], "allow", "{answer}");
    let heard: Vec<Value> = journal(&stage.site)
        .into_iter()
        .filter(|record| record["kind"] == "heard")
        .map(|record| record["jti"].clone())
        .collect();
    assert_eq!(heard, ["z", "a", "m"]);
}

#[test]
fn a_transmitter_that_takes_no_notice_is_asked_no_more_often_for_it() {
    let served = Served::open();
    // So long that whatever comes sooner comes at once.
    let mut stage = served.stage(Some(3600));
    {
        let mut has = served.has.lock().unwrap();
        has.keys = Some(json!({ "keys": [stage.idp.public()] }).to_string());
        has.is_deaf = true;
        let good = token(&mut stage, "session-revoked", json!({}), "good", now());
        has.sets = [
            ("good".to_owned(), good),
            ("bad".to_owned(), "none".to_owned()),
        ]
        .into();
    }
    // Asked at the start: from here on there is something.
    stage.restart();
    eventually("both are told", || {
        let has = served.has.lock().unwrap();
        let last = has.polls.last()?;
        (last["ack"] == json!(["good"]) && last["setErrs"]["bad"]["err"] == "invalid_request")
            .then_some(())
    });
    let before = served.has.lock().unwrap().polls.len();
    // Time enough for hundreds of polls.
    for _ in 0..20 {
        let answer = stage.engine().client(&stage.key).ask(&question("bob"));
        assert_eq!(answer["context"]["outcome"], "allow", "{answer}");
    }
    let after = served.has.lock().unwrap().polls.len();
    assert!(after <= before + 1, "{before}, then {after}");
}

#[test]
fn what_was_heard_of_a_session_is_on_record_with_which_it_is_here() {
    let mut stage = Stage::new();
    let one = stage.open_session("alice", Some("there-1"));
    let mut claims = stage.claims();
    let name = |iss: &str, sub: &str| json!({ "format": "iss_sub", "iss": iss, "sub": sub });
    claims.insert(
        "sub_id".to_owned(),
        json!({
            "format": "complex",
            "user": name("https://idp.example", "alice"),
            "session": { "format": "opaque", "id": "there-1" },
        }),
    );
    let change = json!({ "principal": "SESSION", "current_level": "HIGH" });
    claims.insert(
        "events".to_owned(),
        json!({ uri("risk-level-change"): change }),
    );
    let signed = stage.sign(&stage.header(), &claims, "idp");
    let response = stage.push(&signed, Some(SECRET), TYPE);
    assert_eq!(response.status, 202, "{}", text(&response));
    let all = journal(&stage.site);
    let heard = all.iter().find(|record| record["kind"] == "heard").unwrap();
    assert_eq!(
        (&heard["session"], &heard["sessions"]),
        (&json!("there-1"), &json!([one["id"]])),
        "{heard}"
    );
}
