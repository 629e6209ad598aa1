//! Callers by their certificate (X22): the exact SPIFFE id, or the certificate itself.

use serde_json::{Value, json};

use super::secure::{Dialler, file, site};
use crate::harness::{Site, alice_reads, eventually, message, run};

const EVALUATION: (&str, &str) = ("POST", "/access/v1/evaluation");
pub(crate) const ORDERS: &str = "spiffe://example.org/ns/shop/sa/orders";

fn believing(tls: &str, tokens: &str) -> Site {
    let (roots, revoked) = (file("root.pem"), file("crls.pem"));
    site(
        &format!("client_roots = {roots:?}\nclient_crls = {revoked:?}\n{tls}"),
        &format!("[tokens]\nspiffe_trust_domains = [\"example.org\"]\n{tokens}"),
    )
}

/// Makes a key that a certificate stands for; its id.
pub(crate) fn key_for(site: &Site, certificate: &str, role: &str) -> String {
    let mut command = site.command();
    command.args(["keys", "create", "--name", "by-certificate", "--role", role]);
    command.args(["--certificate", certificate, "--json"]);
    let ran = run(&mut command);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let made: Value = serde_json::from_str(&ran.out).unwrap();
    made["key_id"].as_str().unwrap().to_owned()
}

#[test]
fn x22_a_caller_is_known_by_its_exact_spiffe_id() {
    let site = believing("", "");
    // What is nearly its id is another's.
    for near in [
        "spiffe://example.org/ns/shop/sa/order",
        "spiffe://example.org/ns/shop/sa",
        "spiffe://example.org/ns/shop/sa/orders/eu",
        "spiffe://example.org/ns/shop/sa/Orders",
        "spiffe://example.com/ns/shop/sa/orders",
    ] {
        key_for(&site, near, "gateway");
    }
    let admin = site.key("admin");
    let engine = site.start();
    let status = |certificate: Option<&str>| {
        let dialler = Dialler::new(certificate);
        let answer = dialler.ask(engine.address, EVALUATION, "", &alice_reads());
        answer.map(|answer| answer.status)
    };
    assert_eq!(status(Some("orders")), Some(401), "no key names it");
    let key_id = key_for(&site, ORDERS, "gateway");
    eventually("the key is noticed", || {
        (status(Some("orders")) == Some(200)).then_some(())
    });
    // Whoever is not believed comes to no session at all.
    for refused in [
        "other-domain",
        "two-names",
        "expired",
        "server",
        "by-stranger",
        "revoked",
    ] {
        assert_eq!(status(Some(refused)), None, "{refused}");
    }
    assert_eq!(status(None), Some(401));
    // Without a SPIFFE id, the certificate itself.
    assert_eq!(status(Some("plain")), Some(401));
    let plain = token::certificate::describe(&std::fs::read(file("plain.pem")).unwrap());
    key_for(&site, &plain.unwrap().thumbprint, "gateway");
    eventually("the key is noticed", || {
        (status(Some("plain")) == Some(200)).then_some(())
    });

    // On record under its key, and with its role.
    let orders = Dialler::new(Some("orders"));
    let mut connection = orders.dial(engine.address).unwrap();
    let answer = connection.ask(EVALUATION, "", &alice_reads()).unwrap();
    let id = answer.json()["context"]["decision_id"].clone();
    let path = format!("/v1/decisions/{}", id.as_str().unwrap());
    let record = eventually("the record is drained", || {
        let nobody = Dialler::new(None);
        let answer = nobody.ask(engine.address, ("GET", &path), &admin, &Value::Null)?;
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(record["caller"], json!(key_id));
    let keys = connection.ask(("GET", "/v1/keys"), "", &Value::Null);
    assert_eq!(keys.unwrap().status, 403, "a gateway is no administrator");
    // With a key as well, the key says who asks.
    let by_key = connection.ask(("GET", "/v1/keys"), &admin, &Value::Null);
    assert_eq!(by_key.unwrap().status, 200);
    let made_up = connection.ask(EVALUATION, "sk_00000000.nothing", &alice_reads());
    assert_eq!(made_up.unwrap().status, 401, "never passed over");
    // Gone with its key, on connections that are open too.
    let ran = run(site.command().args(["keys", "revoke", &key_id]));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    eventually("the revocation is noticed", || {
        let answer = connection.ask(EVALUATION, "", &alice_reads()).unwrap();
        (answer.status == 401).then_some(())
    });
}

#[test]
fn x22_where_one_is_required_nobody_is_answered_without() {
    let site = believing("client_required = true", "");
    let key = site.key("gateway");
    key_for(&site, ORDERS, "gateway");
    let engine = site.start();
    let health = ("GET", "/healthz");
    let nobody = Dialler::new(None);
    let stranger = Dialler::new(Some("by-stranger"));
    for dialler in [nobody, stranger] {
        assert!(
            dialler
                .ask(engine.address, health, &key, &Value::Null)
                .is_none()
        );
    }
    let orders = Dialler::new(Some("orders"));
    let answer = orders.ask(engine.address, EVALUATION, "", &alice_reads());
    assert_eq!(answer.unwrap().status, 200);
    assert!(engine.stop().contains("listening on https://"));
}

#[test]
fn x22_a_proxy_that_passes_certificates_on_is_nobody_by_its_own_but_a_gateway() {
    let roots = file("root.pem");
    let passes_on = format!(
        "client_cert_from = [\"127.0.0.1/32\"]\nclient_cert_roots = {roots:?}\nservice_type = \"Service\""
    );
    let site = believing("", &passes_on);
    key_for(&site, ORDERS, "gateway");
    let engine = site.start();
    let orders = Dialler::new(Some("orders"));
    let mut connection = orders.dial(engine.address).unwrap();
    // Clients come through it who are not the proxy.
    let answer = connection.ask(EVALUATION, "", &alice_reads());
    assert_eq!(answer.unwrap().status, 401);
    // What gateways ask is their own question.
    let forward = ("GET", "/gateway/forward-auth");
    let known = connection.ask(forward, "", &Value::Null).unwrap();
    let unknown = Dialler::new(None).ask(engine.address, forward, "", &Value::Null);
    let detail = |body: Value| body["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail(unknown.unwrap().json()).contains("no gateway"));
    assert!(!detail(known.json()).contains("no gateway"));
}

#[test]
fn x22_what_a_client_sends_does_not_take_the_place_of_the_gateways_certificate() {
    let site = believing("", "");
    key_for(&site, ORDERS, "gateway");
    let of_another = site.key("gateway");
    let engine = site.start();
    let mut connection = Dialler::new(Some("orders")).dial(engine.address).unwrap();
    let mut detail = |key: Option<&str>| {
        let key = key.map(|key| ("Portreeve-Key", key));
        let headers: Vec<_> = key.into_iter().collect();
        let message = message("", "GET", "/gateway/forward-auth", &headers, b"");
        let answer = connection.send(&message).unwrap().json();
        answer["detail"].as_str().unwrap_or_default().to_owned()
    };
    assert!(!detail(None).contains("no gateway"));
    for refused in [&of_another, "sk_00000000.nothing"] {
        assert!(detail(Some(refused)).contains("no gateway"), "{refused}");
    }
    // Without a certificate the key says who it is.
    let headers = [("Portreeve-Key", of_another.as_str())];
    let message = message("", "GET", "/gateway/forward-auth", &headers, b"");
    let mut connection = Dialler::new(None).dial(engine.address).unwrap();
    let answer = connection.send(&message).unwrap().json();
    assert!(!answer.to_string().contains("no gateway"), "{answer}");
    assert!(engine.stop().contains("the key of another"));
}
