//! `GET /.well-known/jwks.json`: the keys that tokens are verified with (RFC 7517, K1).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH,
};
use axum::response::{IntoResponse, Response};

use token::KeySet;

use crate::app::App;
use crate::signing::plan::CACHED_SECONDS;

/// For everybody. Verifiers may keep it for as long as a key is published before it signs at
/// least, and are told when nothing has changed (T23, T31).
pub(super) async fn jwks(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let (set, more) = (app.signing.current(), app.set_keys_now());
    let (jwks, etag) = match more {
        None => (set.jwks().to_owned(), set.etag().to_owned()),
        Some(more) => both(&set, &more),
    };
    // Quotes and hex digits.
    let tag = HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\""));
    let cached = HeaderValue::from_str(&format!("public, max-age={CACHED_SECONDS}"));
    let cached = cached.unwrap_or(HeaderValue::from_static("no-cache"));
    let common = [(ETAG, tag), (CACHE_CONTROL, cached)];
    if is_known(&headers, &etag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = [(CONTENT_TYPE, "application/jwk-set+json")];
    (common, kind, jwks).into_response()
}

/// One set of the keys of access tokens and of security event tokens: each kind of token is told
/// by its `typ`.
fn both(tokens: &KeySet, sets: &KeySet) -> (String, String) {
    let inner = |set: &KeySet| {
        let keys = set.jwks().strip_prefix(r#"{"keys":["#);
        let keys = keys.and_then(|keys| keys.strip_suffix("]}"));
        keys.unwrap_or_default().to_owned()
    };
    let etag = format!(
        "\"{}{}\"",
        tokens.etag().trim_matches('"'),
        sets.etag().trim_matches('"')
    );
    (
        format!(r#"{{"keys":[{},{}]}}"#, inner(tokens), inner(sets)),
        etag,
    )
}

/// Whether the asker has it: `If-None-Match` (RFC 9110 §13.1.2), compared weakly.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().any(|value| {
        value.to_str().is_ok_and(|value| {
            value.split(',').any(|one| {
                let one = one.trim();
                one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
            })
        })
    })
}
