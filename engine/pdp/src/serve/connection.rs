//! One connection: what is spoken on it, who is at its other end, and how long it may say nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::{HEAD_MAX, Protocol};
use crate::tls::{Door, PeerCertificate};

/// Time until the headers of the next request are whole; a client that takes longer is cut off.
/// Longer than gateways keep a connection idle (nginx: 60 s), so that they close it and not the
/// engine, just when a question is on its way.
const HEADERS_WITHIN: Duration = Duration::from_secs(75);
/// The same for the first request of a connection: nobody opens one to say nothing.
const FIRST_HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How often the other end of an HTTP/2 connection is asked whether it is still there, and how
/// long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WITHIN: Duration = Duration::from_secs(20);
/// Requests that one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 256;

/// The other end of the connection that a request came over.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What a connection has to do with its listener.
pub(super) struct Accepted {
    pub(super) peer: Peer,
    /// None: it is in clear.
    pub(super) door: Option<Arc<Door>>,
    pub(super) protocol: Protocol,
    pub(super) router: Router,
    /// Tells when the engine stops, and is held until the connection is done.
    pub(super) watcher: Watcher,
    pub(super) since: Instant,
}

/// Answers what is asked over a connection, until its end. A client that breaks off is no fault of
/// the engine.
///
/// # Errors
/// When no TLS session comes about.
pub(super) async fn answer(stream: TcpStream, accepted: Accepted) -> io::Result<()> {
    let Some(door) = &accepted.door else {
        spoken(stream, None, accepted).await;
        return Ok(());
    };
    let config = match accepted.protocol {
        Protocol::Http1 => &door.http1,
        Protocol::Http2 => &door.http2,
    };
    let shaken = TlsAcceptor::from(Arc::clone(config)).accept(stream);
    let stream = timeout_at(accepted.since + FIRST_HEADERS_WITHIN, shaken).await??;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = PeerCertificate::new(chain).map(Arc::new);
    spoken(stream, certificate, accepted).await;
    Ok(())
}

/// The same over what is there once it is decided how.
async fn spoken<S>(stream: S, certificate: Option<Arc<PeerCertificate>>, accepted: Accepted)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Accepted {
        peer,
        protocol,
        router,
        watcher,
        since,
        ..
    } = accepted;
    let asked = Arc::new(AtomicBool::new(false));
    let service = Asked {
        service: TowerToHyperService::new(router),
        asked: Arc::clone(&asked),
        peer,
        certificate,
    };
    let stream = TokioIo::new(stream);
    let patience = sleep_until(since + FIRST_HEADERS_WITHIN);
    match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .max_buf_size(HEAD_MAX)
                .serve_connection(stream, service);
            unless_silent(watcher.watch(connection), &asked, patience).await;
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_WITHIN)
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
                .serve_connection(stream, service);
            unless_silent(watcher.watch(connection), &asked, patience).await;
        }
    }
}

/// Goes on with a connection, unless nothing was asked by the end of `patience`.
async fn unless_silent<T>(
    connection: impl Future<Output = T>,
    asked: &AtomicBool,
    patience: impl Future<Output = ()>,
) {
    tokio::pin!(connection);
    tokio::select! {
        biased;
        _ = &mut connection => return,
        () = patience => {}
    }
    if asked.load(Ordering::Relaxed) {
        connection.await;
    }
}

/// A service that notes whether it was asked anything, and tells who asks.
#[derive(Debug)]
struct Asked<S> {
    service: S,
    asked: Arc<AtomicBool>,
    peer: Peer,
    certificate: Option<Arc<PeerCertificate>>,
}

impl<B, S: Service<Request<B>>> Service<Request<B>> for Asked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<B>) -> S::Future {
        self.asked.store(true, Ordering::Relaxed);
        let extensions = request.extensions_mut();
        extensions.insert(self.peer);
        if let Some(certificate) = &self.certificate {
            extensions.insert(Arc::clone(certificate));
        }
        self.service.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_connection_that_asks_nothing_is_closed_and_one_that_has_asked_is_not() {
        let closed = |asked, patience_is_over| {
            let asked = AtomicBool::new(asked);
            let connection = pending::<()>();
            if patience_is_over {
                unless_silent(connection, &asked, ready(())).now_or_never()
            } else {
                unless_silent(connection, &asked, pending()).now_or_never()
            }
        };
        assert_eq!(closed(false, false), None);
        assert_eq!(closed(false, true), Some(()));
        assert_eq!(closed(true, true), None);
    }
}
