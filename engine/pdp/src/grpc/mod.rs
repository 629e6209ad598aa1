//! Envoy's external authorization over gRPC, and what its operators expect of such a server:
//! health and reflection.

mod health;
mod reflection;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;
use tonic::Status;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use crate::app::App;

/// Every method that the engine answers.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let health = HealthServer::new(health::Readiness::new(app));
    let routes = Routes::new(health);
    reflection::add(routes)
        .into_axum_router()
        .layer(from_fn_with_state(Arc::clone(app), in_time))
}

/// No call takes longer than a request may until it begins to be answered, so that nobody holds
/// one open by sending it slowly.
async fn in_time(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let patience = app.settings.limits.request_timeout;
    match timeout(patience, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Status::deadline_exceeded("the call took too long")
            .into_http::<axum::body::Body>()
            .into_response(),
    }
}
