//! One connection: what is spoken on it, who is at its other end, and how long it may say nothing.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::patient::Patient;
use super::{FINISH_WITHIN, HEAD_MAX, Place, Protocol};
use crate::tls::{Door, PeerCertificate};

/// Time until the headers of the next request are whole; a client that takes longer is cut off.
/// Longer than gateways keep a connection idle (nginx: 60 s), so that they close it and not the
/// engine, just when a question is on its way.
pub(super) const HEADERS_WITHIN: Duration = Duration::from_secs(75);
/// The same for the first request of a connection: nobody opens one to say nothing.
const FIRST_HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How often the other end of an HTTP/2 connection is asked whether it is still there, and how
/// long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WITHIN: Duration = Duration::from_secs(20);
/// How long the other end may take nothing of what it is sent.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// What may come of a request, and over a connection, before it is looked at, bytes: strangers send
/// it as well.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// How long an HTTP/2 connection over which nothing is under way may take to finish.
const LINGER_FOR: Duration = Duration::from_secs(1);
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
    pub(super) closing: watch::Receiver<bool>,
    pub(super) place: Arc<Place>,
    pub(super) since: Instant,
}

/// Answers what is asked over a connection, until its end. A client that breaks off is no fault of
/// the engine.
///
/// # Errors
/// When no TLS session comes about.
pub(super) async fn answer(stream: TcpStream, mut accepted: Accepted) -> io::Result<()> {
    let Some(door) = &accepted.door else {
        spoken(stream, None, accepted).await;
        return Ok(());
    };
    let config = match accepted.protocol {
        Protocol::Http1 => &door.http1,
        Protocol::Http2 => &door.http2,
    };
    let shaken = TlsAcceptor::from(Arc::clone(config)).accept(stream);
    let shaken = timeout_at(accepted.since + FIRST_HEADERS_WITHIN, shaken);
    let stream = tokio::select! {
        // What came before the stop is answered: its first request may be there already.
        biased;
        shaken = shaken => shaken??,
        () = accepted.place.left() => return Ok(()),
        () = stopped(&mut accepted.closing) => return Ok(()),
    };
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
        mut closing,
        place,
        since,
        ..
    } = accepted;
    let asking = Arc::new(Asking::default());
    let service = Asked {
        service: TowerToHyperService::new(router),
        asking: Arc::clone(&asking),
        peer,
        place: Arc::clone(&place),
        certificate,
    };
    let stream = TokioIo::new(Patient::new(stream, TAKEN_WITHIN));
    let over = async {
        tokio::select! {
            () = place.left() => Over::AtOnce,
            () = silent(&asking.asked, sleep_until(since + FIRST_HEADERS_WITHIN)) => Over::AtOnce,
            () = idle(&asking.asked, || sleep(HEADERS_WITHIN)), if protocol == Protocol::Http2 => {
                Over::Finished
            }
            () = stopped(&mut closing) => Over::Finished,
        }
    };
    let own = GracefulShutdown::new();
    match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .max_buf_size(HEAD_MAX)
                .serve_connection(stream, service);
            let connection = own.watch(connection);
            until(connection, over, pending(), own).await;
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_WITHIN)
                .max_concurrent_streams(STREAMS_MAX)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
                .serve_connection(stream, service);
            let connection = own.watch(connection);
            let lingered = lingered(&asking, || place.is_known(), || sleep(LINGER_FOR));
            until(connection, over, lingered, own).await;
        }
    }
}

/// Ends when an HTTP/2 connection that was told to finish has had its time: its other end need not
/// say that it has heard so, and to wait for that is to wait for anybody. Nor is anything worth
/// waiting for that strangers can ask there.
async fn lingered<W: Future<Output = ()>>(
    asking: &Asking,
    is_known: impl Fn() -> bool,
    mut wait: impl FnMut() -> W,
) {
    loop {
        let before = asking.nothing_since();
        wait().await;
        if !is_known() || (before.is_some() && asking.nothing_since() == before) {
            return;
        }
    }
}

/// How a connection ends that does not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// Cut off.
    AtOnce,
    /// Once what was asked is answered; HTTP/2 is told which request was the last (GOAWAY).
    Finished,
}

/// Goes on with a connection until it ends, or is over, and then until it has finished or lingered.
async fn until(
    connection: impl Future,
    over: impl Future<Output = Over>,
    lingered: impl Future<Output = ()>,
    own: GracefulShutdown,
) {
    tokio::pin!(connection);
    let over = tokio::select! {
        biased;
        _ = &mut connection => return,
        over = over => over,
    };
    if over == Over::Finished {
        // `shutdown` by itself would wait until the connection is dropped, which is below.
        let finished = async {
            tokio::select! {
                _ = connection => {}
                () = own.shutdown() => {}
                () = lingered => {}
            }
        };
        let _ = timeout(FINISH_WITHIN, finished).await;
    }
}

/// Ends when the engine stops.
async fn stopped(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Ends if nothing was asked by the end of `patience`.
async fn silent(asked: &AtomicU64, patience: impl Future<Output = ()>) {
    patience.await;
    if asked.load(Ordering::Relaxed) > 0 {
        pending::<()>().await;
    }
}

/// Ends once nothing was asked for as long as `wait` takes. Whoever only listens, as those do who
/// watch the health, asks again.
async fn idle<W: Future<Output = ()>>(asked: &AtomicU64, mut wait: impl FnMut() -> W) {
    let mut before = None;
    loop {
        let now = asked.load(Ordering::Relaxed);
        if before.replace(now) == Some(now) {
            return;
        }
        wait().await;
    }
}

/// What is asked over a connection.
#[derive(Debug, Default)]
struct Asking {
    /// How often, until now.
    asked: AtomicU64,
    /// What has no answer yet.
    under_way: AtomicUsize,
}

impl Asking {
    /// How often was asked, if nothing is under way.
    fn nothing_since(&self) -> Option<u64> {
        let is_idle = self.under_way.load(Ordering::Relaxed) == 0;
        is_idle.then(|| self.asked.load(Ordering::Relaxed))
    }
}

/// A service that counts what it is asked, and tells who asks.
#[derive(Debug)]
struct Asked<S> {
    service: S,
    asking: Arc<Asking>,
    peer: Peer,
    place: Arc<Place>,
    certificate: Option<Arc<PeerCertificate>>,
}

impl<B, S> Service<Request<B>> for Asked<S>
where
    S: Service<Request<B>>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = UnderWay<S::Future>;

    fn call(&self, mut request: Request<B>) -> Self::Future {
        self.asking.asked.fetch_add(1, Ordering::Relaxed);
        self.asking.under_way.fetch_add(1, Ordering::Relaxed);
        let extensions = request.extensions_mut();
        extensions.insert(self.peer);
        extensions.insert(Arc::clone(&self.place));
        if let Some(certificate) = &self.certificate {
            extensions.insert(Arc::clone(certificate));
        }
        UnderWay {
            answer: self.service.call(request),
            asking: Arc::clone(&self.asking),
        }
    }
}

/// The answer to come; it counts as under way until this is dropped.
#[derive(Debug)]
struct UnderWay<F> {
    answer: F,
    asking: Arc<Asking>,
}

impl<F: Future + Unpin> Future for UnderWay<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.get_mut().answer).poll(context)
    }
}

impl<F> Drop for UnderWay<F> {
    fn drop(&mut self) {
        self.asking.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_connection_that_asks_nothing_is_closed_and_one_that_has_asked_is_not() {
        let closed = |asked, patience_is_over| {
            let asked = AtomicU64::new(asked);
            if patience_is_over {
                silent(&asked, ready(())).now_or_never()
            } else {
                silent(&asked, pending()).now_or_never()
            }
        };
        assert_eq!(closed(0, false), None);
        assert_eq!(closed(0, true), Some(()));
        assert_eq!(closed(1, true), None);
    }

    #[test]
    fn a_connection_that_asks_nothing_any_more_is_idle() {
        let asked = AtomicU64::new(1);
        let mut waited = 0;
        let wait = || {
            waited += 1;
            // Something is asked in each of the first three.
            asked.fetch_add(u64::from(waited <= 3), Ordering::Relaxed);
            ready(())
        };
        assert_eq!(idle(&asked, wait).now_or_never(), Some(()));
        assert_eq!(waited, 4);
        assert_eq!(idle(&asked, pending::<()>).now_or_never(), None);
    }

    #[test]
    fn only_what_clients_have_under_way_is_waited_for() {
        // How often is waited, when this is under way for so long.
        let waits = |is_known: bool, under_way: usize, answered_after: usize| {
            let asking = Asking::default();
            asking.under_way.store(under_way, Ordering::Relaxed);
            let mut waited = 0;
            let wait = || {
                waited += 1;
                if waited == answered_after {
                    asking.under_way.store(0, Ordering::Relaxed);
                }
                ready(())
            };
            let ended = lingered(&asking, || is_known, wait).now_or_never();
            assert_eq!(ended, Some(()));
            waited
        };
        assert_eq!(waits(true, 0, 0), 1);
        // What was answered last has its time to leave.
        assert_eq!(waits(true, 1, 3), 4);
        assert_eq!(waits(false, 1, 3), 1);
    }
}
