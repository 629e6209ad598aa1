//! The HTTP surface: the only place that knows paths, headers and status codes.

pub(crate) mod authn;
mod authzen;
mod bearer;
pub(crate) mod body;
mod client_certificate;
mod decisions;
mod devices;
mod entities;
mod events;
mod gateway;
mod guard;
mod hearing;
mod jwks;
mod keys;
mod models;
pub(crate) mod oauth;
mod operations;
mod path;
mod policies;
mod problem;
mod query;
mod replays;
mod rest;
mod revisions;
mod revocations;
mod search;
mod sessions;
mod ssf;
pub(crate) mod to_the_end;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, delete, get, post};

use crate::app::App;

pub use authn::UnderWay;
pub(crate) use client_certificate::{NotBelieved, pass_or_tell};
pub(crate) use guard::{fresh_id, is_request_id};
pub(crate) use operations::is_ready;
pub use problem::Problem;
pub(crate) use sessions::stored_view as session_view;

/// What a listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// Every path.
    Everything,
    /// What gateways, apps and those who sign in need, and no administration.
    Decisions,
    /// Every path, for those who run the engine: they have places of their own.
    Administration,
}

/// The paths of a listener. What is not built, or not answered there, is 404.
pub(crate) fn router(app: &Arc<App>, surface: Surface) -> Router {
    let mut router = decisions().merge(gateways()).merge(probes());
    if surface != Surface::Decisions {
        router = router.merge(administration());
    }
    let router = router
        .fallback(async || Problem::not_found("there is nothing at this path"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .with_state(Arc::clone(app));
    // Behind what every request passes, whatever is asked: its limits, its id, its count, and whose
    // certificate came with it.
    let at = guard::At {
        app: Arc::clone(app),
        has_own_places: surface == Surface::Administration,
    };
    router
        .layer(from_fn_with_state(
            Arc::clone(app),
            client_certificate::pass,
        ))
        .layer(from_fn_with_state(at, guard::pass))
}

/// What gateways, apps, receivers and holders of sessions ask.
fn decisions() -> Router<Arc<App>> {
    Router::new()
        .route("/access/v1/evaluation", post(authzen::evaluation))
        .route("/access/v1/evaluations", post(authzen::evaluations))
        .route("/access/v1/search/subject", post(search::subject))
        .route("/access/v1/search/resource", post(search::resource))
        .route("/access/v1/search/action", post(search::action))
        .route(
            "/.well-known/authzen-configuration",
            get(authzen::configuration),
        )
        .route(oauth::metadata::WELL_KNOWN, get(oauth::metadata::metadata))
        .route(
            "/.well-known/oauth-authorization-server/{*path}",
            get(oauth::metadata::metadata),
        )
        .route("/oauth2/token", post(oauth::token::token))
        .route("/oauth2/introspect", post(oauth::introspect::introspect))
        .route("/.well-known/jwks.json", get(jwks::jwks))
        .route("/v1/decisions/{id}/step-up", post(decisions::step_up))
        .route("/v1/decisions/{id}/feedback", post(decisions::feedback))
        .route("/oauth2/status-lists/{id}", get(oauth::status_list::read))
        .route("/oauth2/revoke", post(oauth::revoke::revoke))
        .route(
            "/.well-known/ssf-configuration",
            get(ssf::metadata::metadata),
        )
        .route(
            "/.well-known/ssf-configuration/{*path}",
            get(ssf::metadata::metadata),
        )
        .route(
            "/ssf/streams",
            get(ssf::streams::read)
                .post(ssf::streams::create)
                .patch(ssf::streams::update)
                .put(ssf::streams::replace)
                .delete(ssf::streams::delete),
        )
        .route(
            "/ssf/status",
            get(ssf::status::read).post(ssf::status::update),
        )
        .route("/ssf/subjects/add", post(ssf::subjects::add))
        .route("/ssf/subjects/remove", post(ssf::subjects::remove))
        .route("/ssf/verify", post(ssf::verify::verify))
        .route("/ssf/poll/{stream}", post(ssf::poll::poll))
        .route("/v1/events", post(events::report))
        .route("/ssf/receive", post(hearing::receive))
        .route("/v1/sessions", get(sessions::list).post(sessions::open))
        .route(
            "/v1/sessions/{id}",
            get(sessions::read).delete(sessions::end),
        )
        .route("/v1/sessions/{id}/step-up", post(sessions::step_up))
        .route(
            "/v1/subjects/{subject}/sessions/end",
            post(sessions::end_all),
        )
        .route(
            "/v1/subjects/{subject}/{id}/sessions/end",
            post(sessions::end_all),
        )
}

/// What those ask who run the engine; with `admin_listen` it is answered there alone.
fn administration() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/decisions/{id}", get(decisions::read))
        .route(
            "/v1/revocations",
            get(revocations::list).post(revocations::revoke),
        )
        .route("/v1/devices", get(devices::list))
        .route(
            "/v1/devices/{id}",
            get(devices::read)
                .put(devices::write)
                .delete(devices::delete),
        )
        .route("/v1/subjects/{subject}/heard", delete(hearing::clear))
        .route("/v1/subjects/{subject}/{id}/heard", delete(hearing::clear))
        .route("/v1/entities", get(entities::list).post(entities::load))
        .route(
            "/v1/entities/{type}/{id}",
            get(entities::read)
                .put(entities::write)
                .delete(entities::delete),
        )
        .route("/v1/policies", get(revisions::list).put(policies::publish))
        .route("/v1/policies/acts", get(policies::acts))
        .route(
            "/v1/policies/shadow",
            axum::routing::put(policies::shadow).delete(policies::drop_shadow),
        )
        .route("/v1/policies/promote", post(policies::promote))
        .route("/v1/policies/rollback", post(policies::rollback))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/{id}", get(keys::read).delete(keys::revoke))
        .route("/v1/keys/{id}/rotate", post(keys::rotate))
        .route("/v1/models", get(models::list))
        .route("/v1/models/promote", post(models::promote))
        .route("/v1/models/rollback", post(models::rollback))
        .route("/v1/models/shadow", post(models::shadow))
        .route("/v1/policies/replay", post(replays::replay))
        .route("/v1/policies/{revision}", get(revisions::read))
        .route("/metrics", get(operations::metrics))
}

/// What is asked at every listener: whether anybody is there.
fn probes() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
}

/// What gateways ask, by whatever method their clients use.
fn gateways() -> Router<Arc<App>> {
    let envoy = |path: &str| format!("{}{path}", gateway::ENVOY);
    Router::new()
        .route("/gateway/forward-auth", any(gateway::forward_auth))
        .route(&envoy("/"), any(gateway::envoy))
        .route(&envoy("/{*path}"), any(gateway::envoy))
}
