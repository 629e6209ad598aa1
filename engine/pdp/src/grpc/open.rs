//! What is asked over gRPC without a key: whether the engine is fit to decide, and what it serves.
//!
//! Anybody may ask, so each of these has room of its own, by where they come from, and what is asked
//! of one is nothing that another lacks. A call holds its room until its answer is taken or its
//! connection is gone: who opens no window for answers holds no more than that.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::body::Body as _;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::{failed, let_go};
use crate::pool::{Holding, Pool};
use crate::serve::{Peer, Place, neighbourhood};

/// How many may ask for the health at once.
const ASKING_MAX: usize = 4096;
/// How many may watch it.
const WATCHING_MAX: usize = 1_000;
/// How many may have reflection told. It is for people.
const REFLECTING_MAX: usize = 64;
/// How many answers may be left lying by those who are not known.
const LEFT_MAX: usize = 4096;
/// How long a message may take that is so short, with the beginning of its answer.
const WITHIN: Duration = Duration::from_secs(2);
/// How long a short answer may lie untaken.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);
/// How long one stream of reflection may last, where it is taken.
const REFLECT_WITHIN: Duration = Duration::from_secs(60);

/// A method that needs no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// The health, once.
    Ask,
    /// The health, whenever it changes.
    Watch,
    /// What is served.
    Reflect,
}

impl Method {
    /// Whether it tells whether the engine is fit, which is for anybody, whatever certificate
    /// they come with.
    pub(super) const fn is_of_health(self) -> bool {
        matches!(self, Self::Ask | Self::Watch)
    }
}

/// The check of a gateway that showed who it is: an extension of its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided;

const METHODS: [(&str, Method); 4] = [
    ("/grpc.health.v1.Health/Check", Method::Ask),
    ("/grpc.health.v1.Health/Watch", Method::Watch),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Method::Reflect,
    ),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        Method::Reflect,
    ),
];

/// The method of a path, and the path.
pub(super) fn find(path: &str) -> Option<(&'static str, Method)> {
    METHODS.into_iter().find(|(name, _)| *name == path)
}

/// The room that there is, in calls.
#[derive(Debug)]
pub(super) struct Open {
    asking: Arc<Pool>,
    watching: Arc<Pool>,
    reflecting: Arc<Pool>,
    left: Arc<Pool>,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            asking: Pool::new(ASKING_MAX),
            watching: Pool::new(WATCHING_MAX),
            reflecting: Pool::new(REFLECTING_MAX),
            left: Pool::new(LEFT_MAX),
        }
    }
}

impl Open {
    /// Answers a call, if there is room for it.
    pub(super) async fn answer(
        &self,
        (path, method): (&'static str, Method),
        mut request: Request,
        next: Next,
    ) -> Response {
        let pool = match method {
            Method::Ask => &self.asking,
            Method::Watch => &self.watching,
            Method::Reflect => &self.reflecting,
        };
        let Some(holding) = one_of(pool, peer_of(&request)) else {
            return too_much();
        };
        let place = request.extensions().get().cloned();
        let_go(&mut request, path);
        let Ok(response) = timeout(WITHIN, next.run(request)).await else {
            return failed(Status::deadline_exceeded("the call took too long"));
        };
        match method {
            Method::Ask => is_taken_soon(response, holding, place),
            Method::Watch => holds(response, holding),
            Method::Reflect => {
                let response = response.map(|body| {
                    let frames = BodyStream::new(body).take_until(sleep(REFLECT_WITHIN));
                    Body::new(StreamBody::new(frames))
                });
                holds(response, holding)
            }
        }
    }

    /// What every call passes, for what is answered to those who are not known. A denial is little,
    /// and many that nobody takes are much: who leaves so many lying gets an error.
    pub(super) async fn pass(
        State(open): State<Arc<Self>>,
        request: Request,
        next: Next,
    ) -> Response {
        if find(request.uri().path()).is_some() {
            return next.run(request).await;
        }
        let peer = peer_of(&request);
        let place = request.extensions().get::<Arc<Place>>().cloned();
        let response = next.run(request).await;
        let is_decided = response.extensions().get::<Decided>().is_some();
        let is_known = place.as_ref().is_none_or(|place| place.is_known());
        if response.body().is_end_stream() || is_decided || is_known {
            return response;
        }
        match one_of(&open.left, peer) {
            Some(holding) => is_taken_soon(response, holding, place),
            None => too_much(),
        }
    }
}

/// Room for one more of whoever asks.
fn one_of(pool: &Arc<Pool>, peer: Option<Peer>) -> Option<Holding> {
    let Peer(peer) = peer?;
    pool.hold(neighbourhood(peer.ip()).to_string(), 1)
}

fn peer_of(request: &Request) -> Option<Peer> {
    request.extensions().get().copied()
}

/// An answer that holds room until it is taken.
fn holds<H: Send + 'static>(response: Response, holding: H) -> Response {
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &holding;
            frame
        }))
    })
}

/// The same for a short answer: a stranger that leaves it lying leaves itself, and its room to
/// others.
fn is_taken_soon(response: Response, holding: Holding, place: Option<Arc<Place>>) -> Response {
    // Ended with the answer, so that no more wait than there is room for.
    let mut watching = JoinSet::new();
    if let Some(place) = place.as_ref().map(Arc::downgrade) {
        watching.spawn(async move {
            sleep(TAKEN_WITHIN).await;
            if let Some(place) = place.upgrade() {
                place.give_up();
            }
        });
    }
    holds(response, (holding, watching))
}

fn too_much() -> Response {
    let why = "too much is asked by clients that are not known";
    failed(Status::resource_exhausted(why))
}
