//! Who asks and hangs up has asked: what is durable is in effect (V10, V20, T9, T15).

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Engine, Site, alice_reads, eventually};
use crate::refreshing::{is_active, refresh, sign_in};
use crate::revocation::claims;

const FORM: &str = "application/x-www-form-urlencoded";

/// Sends a request and hangs up a while after, without a look at the answer.
fn cut(engine: &Engine, key: &str, path: &str, kind: &str, body: &str, after: Duration) {
    let length = body.len();
    let message = format!(
        "POST {path} HTTP/1.1\r\nHost: engine\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(engine.address).unwrap();
    stream.write_all(message.as_bytes()).unwrap();
    std::thread::sleep(after);
}

#[test]
fn v20_t9_what_is_durable_is_in_effect_although_nobody_waited_for_the_answer() {
    let site = Site::with("[sessions.standard]\nmost = 100\n[tokens]\nrefresh_grace = 0");
    let (key, operator) = (site.key("gateway"), site.key("operator"));
    let engine = site.start();
    let (mut client, mut admin) = (engine.client(&key), engine.client(&operator));
    let mut durable = [0; 3];
    for round in 0..36_u64 {
        let session = sign_in(&mut client);
        let word = |path: &str| session.pointer(path).and_then(Value::as_str).unwrap();
        let access = word("/token/access_token");
        let claims = claims(access);
        let after = Duration::from_micros(250 * round);
        let way = usize::try_from(round % 3).unwrap();
        let name = match way {
            0 => {
                let body = format!("token={access}");
                cut(&engine, &key, "/oauth2/revoke", FORM, &body, after);
                &claims["jti"]
            }
            1 => {
                let body = json!({ "session": claims["sid"] }).to_string();
                let kind = "application/json";
                cut(&engine, &operator, "/v1/revocations", kind, &body, after);
                &claims["sid"]
            }
            _ => {
                let first = word("/token/refresh_token");
                refresh(&mut client, first).unwrap();
                std::thread::sleep(Duration::from_millis(5));
                let body = format!("grant_type=refresh_token&refresh_token={first}");
                cut(&engine, &key, "/oauth2/token", FORM, &body, after);
                &claims["family_id"]
            }
        };
        let path = format!("/v1/revocations?id={}", name.as_str().unwrap());
        let listed = admin.get(&path).json();
        if listed["revocations"] == json!([]) {
            continue;
        }
        durable[way] += 1;
        eventually("the access token is over", || {
            (!is_active(&mut client, access)).then_some(())
        });
        if way == 0 {
            continue;
        }
        let mut question = alice_reads();
        question["context"]["session_id"] = json!(word("/handle"));
        eventually("the session is over", || {
            let cause = client.ask(&question)["context"]["cause"].clone();
            (cause == "session_ended").then_some(())
        });
    }
    assert!(durable.iter().all(|count| *count > 0), "{durable:?}");
}
