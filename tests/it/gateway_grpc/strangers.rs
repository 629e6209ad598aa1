//! Whoever is not known, or not trusted with what it says.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::door::{callers, secure};

/// Far more than an answer takes, and less than a call may.
const SOON: Duration = Duration::from_secs(15);

/// Somebody who speaks HTTP/2.
async fn shake(address: SocketAddr) -> SendRequest<Body> {
    let stream = TcpStream::connect(address).await.unwrap();
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (send, connection) = shaken.await.unwrap();
    tokio::spawn(connection);
    send
}

/// A call with the beginning of a long message whose end never comes.
fn begun(path: &str) -> axum::http::Request<Body> {
    let begun = Bytes::from_static(&[0, 0, 6, 0, 0, 1, 2, 3]);
    let begun = stream::iter([Ok::<_, axum::Error>(begun)]).chain(stream::pending());
    axum::http::Request::post(format!("http://engine{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::from_stream(begun))
        .unwrap()
}

#[test]
fn what_strangers_send_is_not_waited_for() {
    let site = Site::with(&format!("{ROUTES}\n[limits]\nrequest_timeout = \"60s\""));
    let engine = site.start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut send = shake(engine.grpc.unwrap()).await;
        let request = begun("/envoy.service.auth.v3.Authorization/Check");
        let answer = timeout(SOON, send.send_request(request))
            .await
            .unwrap()
            .unwrap();
        let data = answer.into_body().frame().await.unwrap().unwrap();
        let data = data.into_data().unwrap();
        let text = String::from_utf8_lossy(&data);
        assert!(text.contains("no gateway here"), "{text}");
    });
}

#[test]
fn strangers_keep_no_engine_from_stopping() {
    let mut engine = site().start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = engine.grpc.unwrap();
    let strangers = runtime.block_on(async {
        // One hears nothing of what it is told, and so does not say that it did.
        let mut deaf = TcpStream::connect(address).await.unwrap();
        deaf.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await
            .unwrap();
        deaf.read_exact(&mut [0; 9]).await.unwrap();
        // Another asks, and never ends.
        let mut slow = shake(address).await;
        let asked = slow.send_request(begun("/grpc.health.v1.Health/Check"));
        let asked = tokio::spawn(asked);
        let mut open = slow.clone();
        open.ready().await.unwrap();
        (deaf, slow, asked)
    });
    let began = Instant::now();
    engine.signal("TERM");
    let (status, log) = engine.wait();
    assert!(status.success() && !log.contains("cut off"), "{log}");
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    drop(strangers);
}

#[test]
fn certificates_and_requests_are_taken_from_those_alone_who_are_trusted_with_them() {
    let roots = root().join("tests/certificates/root.pem");
    let tokens = format!(
        "[tokens]\nclient_cert_roots = {roots:?}\nspiffe_trust_domains = [\"example.org\"]\n\
         client_cert_from = [\"192.0.2.1/32\"]"
    );
    let site = Site::with(&format!("{ROUTES}\n{tokens}"));
    let key = site.key("gateway");
    let engine = site.start();
    let mut message = request("GET", "/documents/handbook", &[]);
    source(&mut message).certificate = encoded("orders") + &encoded("issuing");
    let checked = connect(&engine, &key).check(message);
    assert_eq!(checked.status, 401, "nobody showed one: {checked:?}");

    let site = Site::with(&format!(
        "{ROUTES}\n[gateway]\ntrusted = [\"192.0.2.0/24\"]"
    ));
    let key = site.key("gateway");
    let engine = site.start();
    let checked = connect(&engine, &key).check(request("GET", "/documents/handbook", &[]));
    assert_eq!(checked.status, 403, "{checked:?}");
    assert!(checked.body.contains("no gateway here"), "{checked:?}");
}

#[test]
fn x22_a_certificate_that_is_believed_no_more_is_a_denial_and_no_error() {
    let listen = "grpc_listen = \"127.0.0.1:0\"\n";
    let more = format!(
        "[tokens]\nspiffe_trust_domains = [\"example.org\"]\n{}",
        ROUTES.replace(listen, "")
    );
    let site = secure::site("", &more);
    let roots = site.folder.path().join("roots.pem");
    std::fs::copy(secure::file("root.pem"), &roots).unwrap();
    let text = std::fs::read_to_string(site.config()).unwrap();
    let text = text.replace("[tls]", &format!("[tls]\nclient_roots = {roots:?}"));
    std::fs::write(site.config(), format!("{listen}{text}")).unwrap();
    callers::key_for(&site, callers::ORDERS, "gateway");
    let engine = site.start();
    let grpc = Grpc::certified(engine.grpc.unwrap(), "orders");
    let ask = || grpc.check(request("GET", "/documents/handbook", &[]));
    assert_eq!(ask().status, 401, "the gateway is known, its client is not");
    std::fs::copy(secure::file("stranger.pem"), &roots).unwrap();
    let refused = eventually("the authority is gone", || {
        Some(ask()).filter(|checked| checked.status == 403)
    });
    assert!(refused.body.contains("no gateway here"), "{refused:?}");
    let log = engine.stop();
    assert!(log.contains("a certificate that is not believed"), "{log}");
}

#[test]
fn a_check_that_cannot_be_read_is_denied_and_no_error() {
    let site = site();
    let key = site.key("gateway");
    let engine = site.start();
    let grpc = connect(&engine, &key);
    let ask = |headers: &[(&'static str, &'static str)], message| {
        let mut request = tonic::Request::new(message);
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let bearer = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        grpc.send(request).unwrap()
    };
    let mut large = request("GET", "/documents/handbook", &[]);
    http(&mut large).body = "x".repeat(8 << 20);
    let small = request("GET", "/documents/handbook", &[]);
    for (headers, message) in [
        (&[][..], large),
        (&[("grpc-encoding", "gzip")], small.clone()),
    ] {
        let refused = ask(headers, message);
        assert_eq!(refused.status, 400, "{headers:?}: {refused:?}");
        problem(&refused);
    }
    assert_eq!(ask(&[], small).status, 401, "others are looked at");
    let log = engine.stop();
    assert!(
        log.contains("what a gateway asks over gRPC cannot be read"),
        "{log}"
    );
}
