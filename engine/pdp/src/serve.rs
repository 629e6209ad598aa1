//! Listening, and stopping without losing what was accepted.
//!
//! There are as many listeners as the settings ask for; what they accept shares one set of limits,
//! but for that of administration, which has places of its own, and is finished at one stop.

mod connection;
mod patient;
mod places;
mod room;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::App;
use crate::grpc;
use crate::http::{self, Surface};
use crate::settings::GrpcListen;
use connection::Accepted;
use places::Places;

pub use connection::Peer;
pub(crate) use places::Place;

/// Time for requests under way when the engine stops.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// When nothing was asked for so long, it is quiet enough to close what is open.
const QUIET_FOR: Duration = Duration::from_millis(100);
/// So often it is waited for that.
const QUIET_LOOKS: u32 = 20;
/// Largest head of a request, all headers together; more is answered 431.
pub(crate) const HEAD_MAX: usize = 64 << 10;
/// Connections of `admin_listen`, beside those of `limits.connections`.
const ADMIN_CONNECTIONS: usize = 64;

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 from the first byte, as gRPC has it.
    Http2,
}

/// A place where the engine is asked, and what answers there.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    protocol: Protocol,
    router: Router,
    is_for_administration: bool,
}

impl Listener {
    /// Listens. `setting` is what the operator would change.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(crate) async fn bind(
        wanted: SocketAddr,
        setting: &str,
        protocol: Protocol,
        router: Router,
    ) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("{wanted}: {error}; set `{setting}` to another address"),
            )
        };
        let socket = TcpListener::bind(wanted).await.map_err(named)?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            protocol,
            router,
            is_for_administration: false,
        })
    }

    /// The URL that people are told.
    fn url(&self, is_secret: bool) -> String {
        let scheme = match (self.protocol, is_secret) {
            (Protocol::Http1, false) => "http",
            (Protocol::Http1, true) => "https",
            (Protocol::Http2, false) => "grpc",
            (Protocol::Http2, true) => "grpcs",
        };
        format!("{scheme}://{}", self.address)
    }
}

/// All of them; the first is where decisions are asked for over HTTP.
#[derive(Debug)]
pub struct Listeners {
    address: SocketAddr,
    are_secret: bool,
    all: Vec<Listener>,
}

impl Listeners {
    /// Where decisions are asked for over HTTP.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of each, for people. Those for gRPC come before the first over HTTP, that for
    /// decisions: whoever waits for that one has seen them.
    pub fn urls(&self) -> impl Iterator<Item = String> + '_ {
        let spoken = |protocol| move |one: &&Listener| one.protocol == protocol;
        let grpc = self.all.iter().filter(spoken(Protocol::Http2));
        let http = self.all.iter().filter(spoken(Protocol::Http1));
        grpc.chain(http).map(|one| one.url(self.are_secret))
    }
}

/// Opens the listeners, and names the engine after the first.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn listen(app: &Arc<App>) -> io::Result<Listeners> {
    let settings = &app.settings;
    let surface = match settings.admin_listen {
        None => Surface::Everything,
        Some(_) => Surface::Decisions,
    };
    let router = http::router(app, surface);
    let first = Listener::bind(settings.listen, "listen", Protocol::Http1, router).await?;
    let address = first.address;
    let mut all = vec![first];
    if let Some(wanted) = settings.admin_listen {
        let router = http::router(app, Surface::Administration);
        let admin = Listener::bind(wanted, "admin_listen", Protocol::Http1, router).await?;
        all.push(Listener {
            is_for_administration: true,
            ..admin
        });
    }
    if let Some(wanted) = settings.grpc_listen {
        all.extend(listen_grpc(app, wanted).await?);
    }
    app.set_public_url(settings.public_url(address));
    let alone = app.telling.registry.alone().await;
    if let Err(error) = app.take_up_streams(&alone).await {
        tracing::error!(%error, "streams cannot be read; it is tried again");
    }
    drop(alone);
    Ok(Listeners {
        address,
        are_secret: settings.tls.is_some(),
        all,
    })
}

/// Listens for gRPC. None: the address is taken, and nobody said that it must be this one.
async fn listen_grpc(app: &Arc<App>, wanted: GrpcListen) -> io::Result<Option<Listener>> {
    let router = grpc::router(app);
    match Listener::bind(wanted.address, "grpc_listen", Protocol::Http2, router).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if wanted.is_set => Err(error),
        Err(error) => {
            tracing::warn!("Envoy cannot ask over gRPC: {error}, or to `off`");
            Ok(None)
        }
    }
}

/// Serves until it is told to stop, then finishes what was accepted.
///
/// Over HTTP/1.1 a client may send its next request just when an idle connection is closed, and
/// cannot know whether it was heard. So connections are not closed at once: what still comes is
/// answered with `Connection: close`, until nothing more does. HTTP/2 says which request was the
/// last.
pub async fn serve(app: Arc<App>, listeners: Listeners, stop: watch::Receiver<bool>) {
    let wanted = app.settings.limits.connections;
    let has_admin = app.settings.admin_listen.is_some();
    let for_admin = if has_admin { ADMIN_CONNECTIONS } else { 0 };
    let granted = room::room(wanted.saturating_add(for_admin));
    let for_admin = for_admin.min(granted / 4).max(1);
    let rest = if has_admin {
        granted - for_admin
    } else {
        granted
    };
    let (open, admin) = (Places::new(rest.clamp(1, wanted)), Places::new(for_admin));
    let closing = Closing::default();
    let accepting = listeners.all.into_iter().map(|listener| {
        let places = if listener.is_for_administration {
            &admin
        } else {
            &open
        };
        accept(&app, listener, places, &closing, stop.clone())
    });
    join_all(accepting).await;
    app.telling.stopping.send_replace(true);
    let Closing { http1, http2 } = closing;
    let finished = async {
        tokio::join!(close(&http2), async {
            until_quiet(&app, &http1).await;
            close(&http1).await;
        })
    };
    if tokio::time::timeout(FINISH_WITHIN, finished).await.is_err() {
        tracing::warn!("some requests were still under way and are cut off");
    }
}

/// Tells what is open, by what is spoken, to finish; each connection listens until it is done.
#[derive(Debug, Default)]
struct Closing {
    http1: watch::Sender<bool>,
    http2: watch::Sender<bool>,
}

/// Tells connections to finish, and waits until they have.
async fn close(open: &watch::Sender<bool>) {
    open.send_replace(true);
    open.closed().await;
}

/// What is counted as one address: what one customer of a network usually has to itself.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// Waits until no connection is left, or nothing is asked any more over those that are.
async fn until_quiet(app: &App, open: &watch::Sender<bool>) {
    let mut asked = app.asked_since.load(Ordering::Relaxed);
    for _ in 0..QUIET_LOOKS {
        if open.receiver_count() == 0 {
            return;
        }
        tokio::time::sleep(QUIET_FOR).await;
        let by_now = app.asked_since.load(Ordering::Relaxed);
        if by_now == asked {
            return;
        }
        asked = by_now;
    }
}

/// Accepts what comes, until it is told to stop.
async fn accept(
    app: &Arc<App>,
    listener: Listener,
    open: &Arc<Places>,
    closing: &Closing,
    mut stop: watch::Receiver<bool>,
) {
    let Listener {
        socket,
        protocol,
        router,
        ..
    } = listener;
    let take = |(stream, peer): (TcpStream, SocketAddr)| {
        // Past the limit a connection is closed at once: quicker than to let it wait.
        let Some(place) = open.take(peer.ip()) else {
            return;
        };
        let closing = match protocol {
            Protocol::Http1 => &closing.http1,
            Protocol::Http2 => &closing.http2,
        };
        let accepted = Accepted {
            peer: Peer(peer),
            door: app.tls.door(),
            protocol,
            router: router.clone(),
            closing: closing.subscribe(),
            place,
            since: Instant::now(),
        };
        begin(Arc::clone(app), stream, accepted);
    };
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok(accepted) => take(accepted),
            Err(error) => {
                // Out of file descriptors, or gone before it was accepted.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    app.stopping.store(true, Ordering::Relaxed);
    // What the system has accepted for us would be cut off with the listener.
    if let Ok(socket) = socket.into_std() {
        while let Ok((stream, peer)) = socket.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                take((stream, peer));
            }
        }
    }
}

/// Answers what is asked over a connection, in a task of its own.
fn begin(app: Arc<App>, stream: TcpStream, accepted: Accepted) {
    // Answers are small and whole; to wait for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let Peer(peer) = accepted.peer;
    tokio::spawn(async move {
        if let Err(error) = connection::answer(stream, accepted).await {
            app.metrics.door.handshake_failed();
            tracing::debug!(%error, %peer, "no TLS session came about");
        }
    });
}
