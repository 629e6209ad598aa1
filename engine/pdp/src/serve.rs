//! Listening, and stopping without losing what was accepted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::app::App;
use crate::http;

/// Time until the headers of the next request are whole; a client that takes longer is cut off.
/// Longer than gateways keep a connection idle (nginx: 60 s), so that they close it and not the
/// engine, just when a question is on its way.
const HEADERS_WITHIN: Duration = Duration::from_secs(75);
/// The same for the first request of a connection: nobody opens one to say nothing.
const FIRST_HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// File descriptors that connections must leave: for the journal, the store, and what a reload
/// reads. Half of them where there are fewer than twice as many.
const DESCRIPTORS_KEPT: u64 = 128;
/// Time for requests under way when the engine stops.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// Largest head of a request, all headers together; more is answered 431.
pub(crate) const HEAD_MAX: usize = 64 << 10;

/// Opens the listener, and names the engine after it.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn listen(app: &App) -> io::Result<(TcpListener, SocketAddr)> {
    let wanted = app.settings.listen;
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("{wanted}: {error}; set `listen` to another address"),
        )
    })?;
    let address = listener.local_addr()?;
    app.set_public_url(app.settings.public_url(address));
    let alone = app.telling.registry.alone().await;
    if let Err(error) = app.take_up_streams(&alone).await {
        tracing::error!(%error, "streams cannot be read; it is tried again");
    }
    drop(alone);
    Ok((listener, address))
}

/// Serves until it is told to stop, then finishes what was accepted.
pub async fn serve(app: Arc<App>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let router = http::router(&app);
    let open = Arc::new(Semaphore::new(room(app.settings.limits.connections)));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            // Past the limit a connection is closed at once: quicker than to let it wait.
            Ok((stream, peer)) => {
                if let Ok(permit) = Arc::clone(&open).try_acquire_owned() {
                    connection((stream, Peer(peer)), router.clone(), &graceful, permit);
                }
            }
            Err(error) => {
                // Out of file descriptors, or gone before it was accepted.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    drop(listener);
    app.telling.stopping.send_replace(true);
    if tokio::time::timeout(FINISH_WITHIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests were still under way and are cut off");
    }
}

/// How many connections may be open: as many as are set, if there are file descriptors for them.
/// Takes what the system grants for that.
fn room(wanted: usize) -> usize {
    let wanted = wanted.min(Semaphore::MAX_PERMITS);
    let limit = getrlimit(Resource::Nofile);
    let (mut now, most) = (
        limit.current.unwrap_or(u64::MAX),
        limit.maximum.unwrap_or(u64::MAX),
    );
    let needed = (wanted as u64).saturating_add(DESCRIPTORS_KEPT).min(most);
    if needed > now {
        let raised = Rlimit {
            current: Some(needed),
            maximum: limit.maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => now = needed,
            Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
        }
    }
    let granted = wanted.min(left_for_connections(now));
    if granted < wanted {
        tracing::warn!(
            granted,
            wanted,
            open_files = now,
            "fewer connections than `limits.connections`: raise the limit of open files (ulimit -n)"
        );
    }
    granted
}

/// What connections may take of so many file descriptors.
fn left_for_connections(descriptors: u64) -> usize {
    let left = descriptors - DESCRIPTORS_KEPT.min(descriptors / 2);
    usize::try_from(left).unwrap_or(usize::MAX).max(1)
}

/// The other end of the connection that a request came over.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

fn connection(
    (stream, peer): (TcpStream, Peer),
    router: Router,
    graceful: &GracefulShutdown,
    permit: OwnedSemaphorePermit,
) {
    // Answers are small and whole; to wait for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let asked = Arc::new(AtomicBool::new(false));
    let service = Asked {
        service: TowerToHyperService::new(router),
        asked: Arc::clone(&asked),
        peer,
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        // A client that breaks off is no fault of the engine.
        unless_silent(watched, &asked, tokio::time::sleep(FIRST_HEADERS_WITHIN)).await;
        drop(permit);
    });
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
}

impl<B, S: Service<Request<B>>> Service<Request<B>> for Asked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<B>) -> S::Future {
        self.asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(self.peer);
        self.service.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_engine() {
        for (descriptors, left) in [
            (0, 1),
            (1, 1),
            (100, 50),
            (256, 128),
            (1024, 896),
            (20_000, 19_872),
        ] {
            assert_eq!(left_for_connections(descriptors), left, "{descriptors}");
        }
    }

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
