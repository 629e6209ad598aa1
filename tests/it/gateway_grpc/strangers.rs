//! Whoever is not known, or not trusted with what it says, and what anybody may take.

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::door::{callers, secure};

/// Far more than an answer takes, and less than a call may.
const SOON: Duration = Duration::from_secs(15);

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// A connection of somebody who takes so many bytes of each answer beyond its head.
async fn dial(engine: &Engine, window: u32) -> SendRequest<Body> {
    let stream = TcpStream::connect(engine.grpc.unwrap()).await.unwrap();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let shaken = builder.handshake(TokioIo::new(stream));
    let (send, connection) = shaken.await.unwrap();
    tokio::spawn(connection);
    send
}

type Answer = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

fn call(send: &mut SendRequest<Body>, path: &str, key: Option<&str>, body: Body) -> Answer {
    let mut request = Request::post(format!("http://engine{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    Box::pin(send.send_request(request.body(body).unwrap()))
}

/// The beginning of a long message whose end never comes.
fn endless() -> Body {
    let begun = Bytes::from_static(&[0, 0, 6, 0, 0, 1, 2, 3]);
    Body::from_stream(stream::iter([Ok::<_, axum::Error>(begun)]).chain(stream::pending()))
}

/// What was answered so soon.
async fn soon(
    answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
) -> Response<Incoming> {
    timeout(SOON, answer).await.unwrap().unwrap()
}

/// Whether a call was refused: its answer is a head alone, which says why.
fn is_refused(answer: &Response<Incoming>) -> bool {
    let status = answer.headers().get("grpc-status");
    status.inspect(|status| assert_eq!(*status, "8")).is_some()
}

/// What a check was answered, as far as it is text.
async fn text(answer: Response<Incoming>) -> String {
    let data = answer.into_body().frame().await.unwrap().unwrap();
    String::from_utf8_lossy(&data.into_data().unwrap()).into_owned()
}

#[test]
fn what_strangers_send_is_not_waited_for() {
    let site = Site::with(&format!("{ROUTES}\n[limits]\nrequest_timeout = \"60s\""));
    // Known, and no gateway.
    let author = site.key("author");
    let engine = site.start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut send = dial(&engine, 1 << 16).await;
        for key in [None, Some(&*author)] {
            let answer = soon(call(&mut send, CHECK, key, endless())).await;
            let text = text(answer).await;
            assert!(text.contains("no gateway here"), "{text}");
        }
    });
}

#[test]
fn what_a_gateway_sends_slowly_takes_no_place_of_others() {
    let limits = "concurrency = 2\nconcurrency_per_caller = 3\nrequest_timeout = \"60s\"";
    let site = Site::with(&format!("{ROUTES}\n[limits]\n{limits}"));
    let (slow, other) = (site.key("gateway"), site.key("gateway"));
    let engine = site.start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut send = dial(&engine, 0).await;
        let begun = (0..4).map(|_| call(&mut send, CHECK, Some(&slow), endless()));
        let mut begun: FuturesUnordered<_> = begun.collect();
        // One is too many, and the rest is waited for.
        let first = timeout(SOON, begun.next()).await.unwrap();
        first.unwrap().unwrap();
        assert_eq!(begun.len(), 3);
        let grpc = engine.grpc.unwrap();
        tokio::task::spawn_blocking(move || {
            let asked = request("GET", "/documents/handbook", &[]);
            let checked = Grpc::new(grpc, Some(&other)).check(asked);
            assert_eq!(checked.status, 401, "it is looked at: {checked:?}");
        })
        .await
        .unwrap();
        let next = timeout(Duration::from_millis(1), begun.next()).await;
        assert!(next.is_err(), "{next:?}");
    });
}

#[test]
fn what_needs_no_key_is_bounded_though_nobody_takes_it() {
    let site = site();
    let engine = site.start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // What is to be listed is what is served.
        let (watch, list) = (&[0; 5][..], &[0, 0, 0, 0, 2, 0x3a, 0][..]);
        // A quarter is what one address may have.
        for (path, message, most) in [(WATCH, watch, 1000 / 4), (REFLECT, list, 64 / 4)] {
            let ask =
                |send: &mut SendRequest<Body>| soon(call(send, path, None, Body::from(message)));
            let (mut connections, mut held) = (Vec::new(), Vec::new());
            let mut send = dial(&engine, 0).await;
            for _ in 0..most {
                // No connection may have more than 256 under way.
                if held.len() % 200 == 199 {
                    connections.push(send);
                    send = dial(&engine, 0).await;
                }
                let answer = ask(&mut send).await;
                assert!(!is_refused(&answer), "{path}: {}", held.len());
                held.push(answer);
            }
            let refused = ask(&mut send).await;
            assert!(is_refused(&refused), "{path}: {refused:?}");
            drop((connections, send, held));
            let others = async { while is_refused(&ask(&mut dial(&engine, 0).await).await) {} };
            timeout(SOON, others).await.unwrap();
        }
    });
}

#[test]
fn who_leaves_short_answers_lying_has_to_leave_and_a_gateway_has_not() {
    let site = site();
    let key = site.key("gateway");
    let engine = site.start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut gateway = dial(&engine, 0).await;
        let empty = || Body::from(&[0; 5][..]);
        let decided = soon(call(&mut gateway, CHECK, Some(&key), empty())).await;
        for path in [HEALTH, CHECK] {
            let mut send = dial(&engine, 0).await;
            let untaken = soon(call(&mut send, path, None, empty())).await;
            assert!(!is_refused(&untaken), "{path}");
            let gone = async {
                while send.ready().await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            timeout(SOON, gone).await.unwrap();
        }
        assert!(gateway.ready().await.is_ok());
        drop(decided);
    });
}

#[test]
fn more_headers_than_over_http_1_are_refused_before_anything_is_waited_for() {
    let site = site();
    let engine = site.start();
    let grpc = Grpc::new(engine.grpc.unwrap(), None);
    let ask = |many: usize| {
        let mut client = HealthClient::new(grpc.channel.clone());
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        for _ in 0..many {
            request.metadata_mut().append("z", "v".parse().unwrap());
        }
        let answer = grpc.runtime.block_on(client.check(request));
        answer.map(|_| ()).map_err(|status| status.code())
    };
    assert_eq!(ask(90), Ok(()));
    assert_eq!(ask(101), Err(tonic::Code::ResourceExhausted));
}

#[test]
fn strangers_keep_no_engine_from_stopping() {
    let engine = site().start();
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
        let mut slow = dial(&engine, 1 << 16).await;
        let asked = call(&mut slow, HEALTH, None, endless());
        let asked = tokio::spawn(asked);
        let mut open = slow.clone();
        open.ready().await.unwrap();
        (deaf, slow, asked)
    });
    engine.stop_within(Duration::from_secs(6));
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
    let key = site.key("gateway");
    let engine = site.start();
    let grpc = Grpc::certified(engine.grpc.unwrap(), "orders");
    let ask = || grpc.check(request("GET", "/documents/handbook", &[]));
    assert_eq!(ask().status, 401, "the gateway is known, its client is not");
    std::fs::copy(secure::file("stranger.pem"), &roots).unwrap();
    let refused = eventually("the authority is gone", || {
        Some(ask()).filter(|checked| checked.status == 403)
    });
    assert!(refused.body.contains("no gateway here"), "{refused:?}");
    // Over a new connection too; the health is for anybody.
    let grpc = Grpc::certified(engine.grpc.unwrap(), "orders");
    let refused = grpc.check(request("GET", "/documents/handbook", &[]));
    assert_eq!(refused.status, 403, "{refused:?}");
    let keyed = grpc.check_with(Some(&key), request("GET", "/documents/handbook", &[]));
    assert_eq!(keyed.unwrap().status, 403, "a key does not mend it");
    assert!(served::health(&grpc, "").is_ok());
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
