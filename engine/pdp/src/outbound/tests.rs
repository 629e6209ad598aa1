//! Calls to a server of the test's own, on this machine.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use domain::Timestamp;

use super::*;

#[derive(Debug)]
struct MovedByHand(AtomicI64);

impl Clock for MovedByHand {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.load(Ordering::Relaxed))
    }
}

/// A server that gives one answer to all, and counts.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn new(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    head.extend(byte);
                }
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(&answer);
                if answer.is_empty() {
                    // Holds the connection and says nothing.
                    std::mem::forget(stream);
                }
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn client(allowed: &[SocketAddr]) -> (Outbound, Arc<MovedByHand>) {
    let clock = Arc::new(MovedByHand(AtomicI64::new(1_795_215_660)));
    let settings = OutboundSettings {
        allow: allowed
            .iter()
            .map(|address| Allowed::parse(&address.to_string()).unwrap())
            .collect(),
        authorities: None,
    };
    (
        Outbound::new(settings, Arc::clone(&clock) as Arc<dyn Clock>),
        clock,
    )
}

const JSON: &str = "application/json";
const KEYS: Purpose<'_> = Purpose::Keys("https://idp.example/keys");

#[tokio::test]
async fn who_is_named_is_called_and_nobody_else_on_this_machine() {
    let server = Server::new(answer("200 OK", "{}"));
    let (outbound, _) = client(&[server.address]);
    let got = outbound.get(KEYS, &server.url(), JSON).await.unwrap();
    assert_eq!(
        (got.status, got.body.as_slice()),
        (StatusCode::OK, b"{}".as_slice())
    );
    let url = server.url();
    let told = outbound.post(KEYS, &url, JSON, HeaderMap::new(), Vec::new());
    assert_eq!(told.await.unwrap().status, StatusCode::OK);
    assert_eq!(server.asked(), 2);

    let (strict, _) = client(&[]);
    let port = server.address.port();
    let plain = strict.get(KEYS, &server.url(), JSON).await;
    assert!(matches!(plain, Err(OutboundError::Plain(_))), "{plain:?}");
    // Whatever this machine is called: the address counts, after it was looked up.
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ] {
        let called = strict
            .get(KEYS, &format!("https://{host}:{port}/keys"), JSON)
            .await;
        let is_refused = matches!(
            called,
            Err(OutboundError::NotPublic(_) | OutboundError::Failed(..) | OutboundError::Url(_))
        );
        assert!(is_refused, "{host}: {called:?}");
    }
    assert_eq!(server.asked(), 2, "no connection was made");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let inner = Server::new(answer("200 OK", "secret"));
    let head = format!("302 Found\r\nlocation: {}", inner.url());
    let server = Server::new(answer(&head, ""));
    let (outbound, _) = client(&[server.address, inner.address]);
    let got = outbound.get(KEYS, &server.url(), JSON).await.unwrap();
    assert_eq!(got.status, StatusCode::FOUND);
    assert_eq!(inner.asked(), 0);
}

#[tokio::test]
async fn time_and_size_are_limited() {
    let silent = Server::new("");
    let (mut outbound, _) = client(&[silent.address]);
    outbound.within = Duration::from_millis(100);
    let late = outbound.get(KEYS, &silent.url(), JSON).await;
    assert!(matches!(late, Err(OutboundError::TooLate(_))), "{late:?}");

    let large = Server::new(answer("200 OK", &"x".repeat(ANSWER_BYTES_MAX + 1)));
    let (outbound, _) = client(&[large.address]);
    let got = outbound.get(KEYS, &large.url(), JSON).await;
    assert!(matches!(got, Err(OutboundError::TooLarge(_))), "{got:?}");

    let nonsense = Server::new("220 mail.example ESMTP\r\n");
    let (outbound, _) = client(&[nonsense.address]);
    let got = outbound.get(KEYS, &nonsense.url(), JSON).await;
    assert!(matches!(got, Err(OutboundError::Failed(..))), "{got:?}");
}

#[tokio::test]
async fn g8_v14_f1_who_fails_five_times_is_left_alone_for_half_a_minute() {
    let server = Server::new(answer("500 Broken", ""));
    let (outbound, clock) = client(&[server.address]);
    for _ in 0..5 {
        let got = outbound.get(KEYS, &server.url(), JSON).await.unwrap();
        assert_eq!(got.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    for later in [0, 29] {
        clock.0.fetch_add(later, Ordering::Relaxed);
        let got = outbound.get(KEYS, &server.url(), JSON).await;
        assert!(matches!(got, Err(OutboundError::LeftAlone(_))), "{got:?}");
    }
    assert_eq!(server.asked(), 5);
    // Who is called for something else does not suffer for it.
    for other in [
        Purpose::Keys("https://other.example/keys"),
        Purpose::Stream("str_1"),
        Purpose::Alerts("webhook"),
        Purpose::Poll("https://idp.example"),
    ] {
        let got = outbound.get(other, &server.url(), JSON).await;
        assert!(got.is_ok(), "{other:?}: {got:?}");
    }
    server.asked.store(5, Ordering::Relaxed);
    // One is sent to see, fails, and all is as before.
    clock.0.fetch_add(1, Ordering::Relaxed);
    assert!(outbound.get(KEYS, &server.url(), JSON).await.is_ok());
    assert!(outbound.get(KEYS, &server.url(), JSON).await.is_err());
    assert_eq!(server.asked(), 6);
}

/// A server with a certificate of an authority that only these tests believe.
async fn secure_server() -> SocketAddr {
    use rustls::pki_types::PrivateKeyDer;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/certificates");
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("https.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate("https.pem"), certificate("issuing.pem")],
            key,
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&answer("200 OK", "secure")).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn https_believes_who_is_named_and_nobody_else() {
    let address = secure_server().await;
    let url = format!("https://{address}/");
    let (unknown, _) = client(&[address]);
    let got = unknown.get(KEYS, &url, JSON).await;
    let refused = got.unwrap_err().to_string();
    assert!(
        refused.contains("UnknownIssuer") || refused.contains("no authority"),
        "{refused}"
    );

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/certificates");
    let (mut known, _) = client(&[address]);
    known.settings.authorities = Some(folder.join("root.pem"));
    let got = known.get(KEYS, &url, JSON).await.unwrap();
    assert_eq!(got.body, b"secure");
    // Another name than the certificate's.
    let other = SocketAddr::from(([127, 0, 0, 2], address.port()));
    let (mut named, _) = client(&[other]);
    named.settings.authorities = known.settings.authorities.clone();
    assert!(
        named
            .get(KEYS, &format!("https://{other}/"), JSON)
            .await
            .is_err()
    );
}
