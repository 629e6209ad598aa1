//! TLS at the engine's own listeners (F17).

use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ProtocolVersion};
use serde_json::Value;

use super::secure::{Dialler, site};
use crate::harness::{Client, alice_reads, run};

const EVALUATION: (&str, &str) = ("POST", "/access/v1/evaluation");
const HEALTH: (&str, &str) = ("GET", "/healthz");

#[test]
fn f17_decisions_are_answered_over_tls_1_2_and_1_3_and_never_in_clear() {
    let site = site("", "");
    let config = std::fs::read_to_string(site.config()).unwrap();
    let more = "admin_listen = \"127.0.0.1:0\"\ngrpc_listen = \"127.0.0.1:0\"\n";
    std::fs::write(site.config(), format!("{more}{config}")).unwrap();
    let key = site.key("admin");
    let engine = site.start();
    for (version, named) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let dialler = Dialler::speaking(None, &[version]).offering(&["h2", "http/1.1"]);
        let mut connection = dialler.dial(engine.address).unwrap();
        assert_eq!(connection.session().protocol_version(), Some(named));
        assert_eq!(connection.session().alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = connection.ask(EVALUATION, &key, &alice_reads()).unwrap();
        assert_eq!(answer.json()["decision"], true);
    }
    let dialler = Dialler::speaking(None, ALL_VERSIONS);
    let path = ("GET", "/.well-known/authzen-configuration");
    let told = dialler.ask(engine.address, path, "", &Value::Null).unwrap();
    let url = format!("https://{}", engine.address);
    assert_eq!(told.json()["policy_decision_point"], url);
    // The other listeners too.
    let keys = ("GET", "/v1/keys");
    let told = dialler.ask(engine.admin(), keys, &key, &Value::Null);
    assert_eq!(told.unwrap().status, 200);
    let grpc = engine.grpc.unwrap();
    let h2 = dialler.clone().offering(&["h2"]);
    let session = h2.dial(grpc).unwrap();
    assert_eq!(session.session().alpn_protocol(), Some(&b"h2"[..]));
    assert!(h2.dial(engine.address).is_err(), "HTTP/1.1 alone there");
    let http1 = dialler.clone().offering(&["http/1.1"]);
    assert!(http1.dial(grpc).is_err(), "HTTP/2 alone there");
    // In clear nothing is answered, to anybody.
    for address in [engine.address, engine.admin(), grpc] {
        let mut client = Client::of(address, &key);
        assert!(client.try_send("GET", "/healthz", &[], b"").is_none());
    }
    assert_eq!(
        dialler
            .ask(engine.address, HEALTH, "", &Value::Null)
            .unwrap()
            .status,
        200
    );
}

#[test]
fn what_cannot_be_shown_is_said_before_anything_listens() {
    let site = site("", "");
    let folder = site.folder.path();
    let start = |wanted: &str| {
        let ran = run(site.command().arg("serve"));
        assert_ne!(ran.status, Some(0));
        assert!(ran.err.contains(wanted), "{wanted}: {}", ran.err);
        assert!(!ran.err.contains("listening on"), "{}", ran.err);
    };
    let read = |name: &str| std::fs::read(super::secure::file(name)).unwrap();
    std::fs::write(folder.join("door.key"), read("https-new.key")).unwrap();
    start("`tls.key`");
    std::fs::write(folder.join("door.key"), b"no key").unwrap();
    start("`tls.key`");
    std::fs::write(folder.join("door.pem"), b"").unwrap();
    start("`tls.certificate`");
}
