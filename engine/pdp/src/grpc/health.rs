//! `grpc.health.v1`: SERVING when the engine is fit to decide, as `/readyz` says.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::authorization_server;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::app::App;
use crate::http::is_ready;

/// How often readiness is looked at for those who watch it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What health is told of: the whole, and what Envoy asks.
const SERVICES: [&str; 2] = ["", authorization_server::SERVICE_NAME];

/// Whether the engine is fit to decide.
#[derive(Debug)]
pub(super) struct Readiness {
    app: Arc<App>,
}

impl Readiness {
    pub(super) fn new(app: &Arc<App>) -> Self {
        Self {
            app: Arc::clone(app),
        }
    }
}

fn status(app: &App, service: &str) -> ServingStatus {
    if !SERVICES.contains(&service) {
        ServingStatus::ServiceUnknown
    } else if is_ready(app) && !*app.telling.stopping.borrow() {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match status(&self.app, &request.get_ref().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("this service is not here")),
            status => Ok(Response::new(response(status))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watched = Watched {
            app: Arc::clone(&self.app),
            stopping: self.app.telling.stopping.subscribe(),
            service: request.into_inner().service,
            told: None,
        };
        Ok(Response::new(Box::pin(unfold(watched, Watched::next))))
    }
}

/// What somebody who watches was told.
struct Watched {
    app: Arc<App>,
    stopping: watch::Receiver<bool>,
    service: String,
    told: Option<ServingStatus>,
}

impl Watched {
    /// The next change. Ends with the engine, once that was told.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            let is_last = *self.stopping.borrow();
            let now = status(&self.app, &self.service);
            if self.told != Some(now) {
                self.told = Some(now);
                return Some((Ok(response(now)), self));
            }
            if is_last {
                return None;
            }
            tokio::select! {
                _ = self.stopping.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}
