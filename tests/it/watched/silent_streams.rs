//! A stream whose receiver does not show itself is paused, which needs a clock that is moved.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::world::World;
use crate::ssf::{Sink, key};

#[test]
fn ssf_8_1_5_a_stream_is_paused_when_its_receiver_is_silent_for_too_long() {
    let sink = Sink::open();
    let allowed = sink.address;
    let settings =
        format!("ssf = {{ inactivity = '2h' }}\nlimits = {{ outbound_allow = ['{allowed}'] }}");
    let mut world = World::with(&settings);
    let (_, receiver) = key(&mut world.admin, "receiver");
    let mut client = world.client(&receiver);
    let caep = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
    let mut make = |delivery: Value| {
        let body = json!({"events_requested": [caep], "delivery": delivery});
        let made = client.post("/ssf/streams", &body);
        assert_eq!(made.status, 201, "{}", made.json());
        made.json()["stream_id"].as_str().unwrap().to_owned()
    };
    let pushed = make(json!({"method": "urn:ietf:rfc:8935", "endpoint_url": sink.url()}));
    let polled = make(json!({"method": "urn:ietf:rfc:8936"}));
    let mut client = world.client(&receiver);
    let mut status = |stream: &str| {
        let path = format!("/ssf/status?stream_id={stream}");
        client.get(&path).json()
    };
    // One that polls shows itself, and one that takes nothing does not.
    for (seconds, wanted) in [
        (7000, ["enabled", "enabled"]),
        (300, ["paused", "enabled"]),
        (6800, ["paused", "enabled"]),
        (7300, ["paused", "paused"]),
    ] {
        world.pass(seconds);
        world.look_after_streams();
        let is = [&pushed, &polled].map(|stream| status(stream)["status"].clone());
        assert_eq!(is, wanted, "after {seconds} s more");
        if seconds == 7000 {
            let mut client = world.client(&receiver);
            let path = format!("/ssf/poll/{polled}");
            let answer = client.post(&path, &json!({"returnImmediately": true}));
            assert_eq!(answer.status, 200);
        }
    }
    let reason = "the receiver has not shown itself for 7200 seconds";
    assert_eq!(status(&pushed)["reason"], reason);
    // It is told before it is paused.
    let token = sink.next().body;
    let claims = token.split('.').nth(1).unwrap();
    let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let told =
        &claims["events"]["https://schemas.openid.net/secevent/ssf/event-type/stream-updated"];
    assert_eq!(told, &json!({"status": "paused", "reason": reason}));
    assert!(sink.is_empty());
}
