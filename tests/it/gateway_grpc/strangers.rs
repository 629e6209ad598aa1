//! Whoever is not known, or not trusted with what it says.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

/// Far more than an answer takes, and less than a call may.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn what_strangers_send_is_not_waited_for() {
    let site = Site::with(&format!("{ROUTES}\n[limits]\nrequest_timeout = \"60s\""));
    let engine = site.start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(engine.grpc.unwrap()).await.unwrap();
        let shaken =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut send, connection) = shaken.await.unwrap();
        tokio::spawn(connection);
        // The beginning of a long message whose end never comes.
        let begun = Bytes::from_static(&[0, 0, 6, 0, 0, 1, 2, 3]);
        let begun = stream::iter([Ok::<_, axum::Error>(begun)]).chain(stream::pending());
        let request =
            axum::http::Request::post("http://engine/envoy.service.auth.v3.Authorization/Check")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Body::from_stream(begun))
                .unwrap();
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
