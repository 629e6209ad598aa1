//! `GET /oauth2/status-lists/{id}` (draft-ietf-oauth-status-list-21 §8).

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::http::Problem;
use crate::http::path::Id;
use crate::status_lists::{TTL_SECONDS, signed};

/// For everybody: it says of nobody's token what it is for, and a verifier has no key.
pub(in crate::http) async fn read(
    State(app): State<Arc<App>>,
    Id(id): Id,
) -> Result<Response, Problem> {
    let text = signed(&app, &id)
        .await
        .ok_or_else(|| Problem::not_found("there is no such status list; it may be over"))?
        .map_err(|error| {
            tracing::error!(%error, "a status list could not be signed");
            Problem::unavailable("the list cannot be signed at the moment; ask again")
        })?;
    let headers = [
        (CONTENT_TYPE, "application/statuslist+jwt".to_owned()),
        (CACHE_CONTROL, format!("public, max-age={TTL_SECONDS}")),
        // §8.1: verifiers may be pages in a browser.
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
    ];
    Ok((headers, text).into_response())
}
