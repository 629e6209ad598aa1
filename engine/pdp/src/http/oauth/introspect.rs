//! `POST /oauth2/introspect` (RFC 7662, T32).
//!
//! What is not valid for this caller is `{"active":false}` and nothing else: unknown, over,
//! revoked, made up and somebody else's are the same answer, after a signature was verified for
//! each. What is no token by its form costs less, and whoever sends that learns nothing by it.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use domain::Timestamp;
use serde_json::{Map, Value, json};
use token::Claims;
use token::claims::subject;

use super::client;
use super::error::{OAuthError, answer};
use super::form::Form;
use crate::access::{Caller, Permission};
use crate::app::App;
use crate::families;
use crate::http::bearer::Came;
use crate::presented::{self, NotValid};
use crate::sessions::uses;

/// Its path, as metadata names it.
pub(super) const PATH: &str = "/oauth2/introspect";

pub(crate) async fn introspect(State(app): State<Arc<App>>, request: Request) -> Response {
    match serve(&app, request).await {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(error) => error.into_response(),
    }
}

async fn serve(app: &Arc<App>, request: Request) -> Result<Value, OAuthError> {
    let (parts, body) = request.into_parts();
    let form = Form::read(app, Request::from_parts(parts.clone(), body)).await?;
    let asker = client::authenticate_or_token(app, Came::of(&parts), &form).await?;
    let may_see_all = asker.require(Permission::IntrospectAnyTokens).is_ok();
    if !may_see_all {
        client::require(&asker, Permission::IntrospectTokens)?;
    }
    let text = form.required("token")?;
    let started = Instant::now();
    let now = app.inputs.clock.now();
    // The hint is not looked at: a token says itself what it is (RFC 7662 §2.1).
    let mut of_session = (None, None);
    let found = if text.starts_with(families::form::PREFIX) {
        let found = refresh_token(app, &asker.caller, may_see_all, text, now).await?;
        found.map(|(session, body)| {
            of_session.0 = session;
            body
        })
    } else {
        let valid = presented::own(app, text, None, now).await;
        if valid == Err(NotValid::SessionUnknown) {
            return Err(OAuthError::unavailable(
                "the token cannot be looked at now; ask again in a moment",
            ));
        }
        valid
            .ok()
            .filter(|claims| may_see_all || is_for(&asker.caller, claims))
            .map(|claims| {
                of_session = (claims.sid.clone(), Some(claims.jti.clone()));
                access_token(&claims)
            })
    };
    let result = if found.is_some() {
        "active"
    } else {
        "inactive"
    };
    let took = started.elapsed();
    if found.is_some() {
        let (session, token_id) = (of_session.0.as_ref(), of_session.1.as_deref());
        uses::note(app, &asker.caller, session, "introspection", token_id, now)
            .await
            .map_err(|cause| {
                tracing::error!(%cause, "the use of a strict session could not be recorded");
                OAuthError::unavailable("the token cannot be looked at now; ask again in a moment")
            })?;
    }
    app.metrics.tokens.validated("introspection", result, took);
    Ok(found.unwrap_or_else(|| json!({"active": false})))
}

/// Issued to this client, or for the service that it is.
fn is_for(caller: &Caller, claims: &Claims) -> bool {
    claims.client_id == caller.client_id || caller.audience.as_deref() == Some(&claims.aud)
}

/// RFC 7662 §2.2, RFC 8705 §3.2, RFC 9449 §6.2, RFC 9470 §6.2: the token's own claims, and that
/// it is active.
fn access_token(claims: &Claims) -> Value {
    let is_dpop = claims.cnf.as_ref().is_some_and(|cnf| cnf.jkt.is_some());
    let mut body = match serde_json::to_value(claims) {
        Ok(Value::Object(members)) => members,
        // Claims are an object.
        _ => Map::new(),
    };
    // For the engine alone.
    for own in ["context", "lineage", "issued_to", "family_id", "status"] {
        body.remove(own);
    }
    body.insert("active".to_owned(), true.into());
    let token_type = if is_dpop { "DPoP" } else { "Bearer" };
    body.insert("token_type".to_owned(), token_type.into());
    Value::Object(body)
}

/// A refresh token that would be exchanged for its successor now, if its client asked.
async fn refresh_token(
    app: &App,
    caller: &Caller,
    may_see_all: bool,
    text: &str,
    now: Timestamp,
) -> Result<Option<(Option<String>, Value)>, OAuthError> {
    let Some(family) = families::current(app, text, now).await? else {
        return Ok(None);
    };
    if !may_see_all && family.client_id != caller.client_id {
        return Ok(None);
    }
    let who = &family.subject;
    let mut body = json!({
        "active": true,
        "iss": app.public_url(),
        "client_id": family.client_id,
        "sub": subject(who.kind.as_str(), who.id.as_str()),
        "aud": family.audience,
        "scope": family.scope,
        "iat": family.created_at.seconds(),
        "exp": family.idle_expires_at.min(family.expires_at).seconds(),
        "token_type": "refresh_token",
    });
    if let Some(members) = body.as_object_mut() {
        if let Some(session) = &family.session {
            members.insert("sid".to_owned(), session.as_str().into());
        }
        let mut cnf = Map::new();
        for (name, key) in [("jkt", &family.jkt), ("x5t#S256", &family.x5t_s256)] {
            if let Some(key) = key {
                cnf.insert(name.to_owned(), key.as_str().into());
            }
        }
        if !cnf.is_empty() {
            members.insert("cnf".to_owned(), cnf.into());
        }
    }
    Ok(Some((family.session, body)))
}
