//! Listening, and stopping without losing what was accepted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::app::App;
use crate::http;

/// Time until the headers of the next request are whole; a client that takes longer is cut off.
/// Longer than gateways keep a connection idle (nginx: 60 s), so that they close it and not the
/// engine, just when a question is on its way.
const HEADERS_WITHIN: Duration = Duration::from_secs(75);
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
    Ok((listener, address))
}

/// Serves until it is told to stop, then finishes what was accepted.
pub async fn serve(app: Arc<App>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let router = http::router(&app);
    let open = Arc::new(Semaphore::new(app.settings.limits.connections));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            // Past the limit a connection is closed at once: quicker than to let it wait.
            Ok((stream, _)) => {
                if let Ok(permit) = Arc::clone(&open).try_acquire_owned() {
                    connection(stream, router.clone(), &graceful, permit);
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
    if tokio::time::timeout(FINISH_WITHIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests were still under way and are cut off");
    }
}

fn connection(
    stream: TcpStream,
    router: Router,
    graceful: &GracefulShutdown,
    permit: OwnedSemaphorePermit,
) {
    // Answers are small and whole; to wait for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        // A client that breaks off is no fault of the engine.
        let _ = watched.await;
        drop(permit);
    });
}
