//! `/.well-known/ssf-configuration` (SSF 1.0 §7): what receivers find first.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::app::App;
use crate::http::Problem;
use crate::http::oauth::metadata::path_of;

/// What stands between host and path of the issuer (SSF 1.0 §7.2).
const WELL_KNOWN: &str = "/.well-known/ssf-configuration";

/// For everybody. The keys are there from now on at the latest: who reads this reads them next.
pub(in crate::http) async fn metadata(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let url = app.public_url();
    if uri.path().strip_prefix(WELL_KNOWN) != Some(path_of(url)) {
        return Problem::not_found("this is another transmitter's place for metadata")
            .into_response();
    }
    if let Err(error) = app.set_keys().await {
        tracing::error!(%error, "there are no keys for security event tokens");
        return Problem::unavailable("there are no keys to sign with; ask again in a moment")
            .into_response();
    }
    let default_subjects = if app.settings.ssf.hears_all {
        "ALL"
    } else {
        "NONE"
    };
    let body = json!({
        "spec_version": "1_0",
        "issuer": url,
        "jwks_uri": format!("{url}/.well-known/jwks.json"),
        "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
        "configuration_endpoint": format!("{url}/ssf/streams"),
        "status_endpoint": format!("{url}/ssf/status"),
        "add_subject_endpoint": format!("{url}/ssf/subjects/add"),
        "remove_subject_endpoint": format!("{url}/ssf/subjects/remove"),
        "verification_endpoint": format!("{url}/ssf/verify"),
        // Who passes over the session ends all of a user's for the sake of one.
        "critical_subject_members": ["user", "session", "device"],
        "authorization_schemes": [
            {"spec_urn": "urn:ietf:rfc:6749"},
            {"spec_urn": "urn:ietf:rfc:6750"}
        ],
        "default_subjects": default_subjects,
    });
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, body.to_string()).into_response()
}
