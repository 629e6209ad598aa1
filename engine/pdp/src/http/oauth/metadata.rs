//! `/.well-known/oauth-authorization-server` (RFC 8414).

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};

use super::{introspect, revoke, token};
use crate::app::App;
use crate::http::Problem;

/// What stands between host and path of the issuer (RFC 8414 §3).
pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";

/// The path of an issuer's URL: empty for most.
pub(crate) fn path_of(issuer: &str) -> &str {
    let after_scheme = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    match after_scheme.find('/') {
        Some(slash) => after_scheme.get(slash..).unwrap_or_default(),
        None => "",
    }
}

/// What is not built is not listed.
pub(crate) async fn metadata(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let url = app.public_url();
    if uri.path().strip_prefix(WELL_KNOWN) != Some(path_of(url)) {
        return Problem::not_found("this is another issuer's place for metadata").into_response();
    }
    let takes_certificates = !app.settings.certificates.from.is_empty();
    let mut methods = vec!["client_secret_basic", "client_secret_post"];
    if takes_certificates {
        methods.push("tls_client_auth");
    }
    let body = serde_json::json!({
        "issuer": url,
        "token_endpoint": format!("{url}{}", token::PATH),
        "jwks_uri": format!("{url}/.well-known/jwks.json"),
        // There is no authorization endpoint, so there are none; the member is required (§2).
        "response_types_supported": [],
        "grant_types_supported": token::GRANTS,
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint": format!("{url}{}", introspect::PATH),
        "introspection_endpoint_auth_methods_supported": methods,
        "tls_client_certificate_bound_access_tokens": takes_certificates,
        "revocation_endpoint": format!("{url}{}", revoke::PATH),
        "revocation_endpoint_auth_methods_supported": methods,
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
    });
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_issuer_is_what_follows_its_host() {
        for (issuer, path) in [
            ("https://pdp.example", ""),
            ("http://127.0.0.1:8181", ""),
            ("https://pdp.example:8443/tenant/1", "/tenant/1"),
        ] {
            assert_eq!(path_of(issuer), path);
        }
    }
}
