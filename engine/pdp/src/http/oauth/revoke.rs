//! `POST /oauth2/revoke` (RFC 7009).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};

use super::client;
use super::error::OAuthError;
use super::form::Form;
use crate::access::Permission;
use crate::app::App;
use crate::http::bearer::Came;
use crate::http::to_the_end::to_the_end;
use crate::revoking::tokens::{RevokeTokenError, revoke_token};

/// Its path, as metadata names it.
pub(super) const PATH: &str = "/oauth2/revoke";

/// Revokes the client's own token; of others with the permission to. 200 also for what is none
/// (§2.2): the token is not valid, which is what was asked for. `token_type_hint` is not looked
/// at, whatever it says (§2.2.1).
pub(in crate::http) async fn revoke(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, OAuthError> {
    let (parts, body) = request.into_parts();
    let form = Form::read(&app, Request::from_parts(parts.clone(), body)).await?;
    let asker = client::authenticate_or_token(&app, Came::of(&parts), &form).await?;
    client::require(&asker, Permission::RevokeTokens)?;
    let token = form.required("token")?.to_owned();
    let now = app.inputs.clock.now();
    // To its end, whether or not the client waits: half of it would be durable and not in effect.
    let work = async move { revoke_token(&app, &asker.caller, &token, now).await };
    match to_the_end("the revocation of a token", work).await? {
        Ok(_) => Ok((StatusCode::OK, [(CACHE_CONTROL, "no-store")]).into_response()),
        // §2.1: the client is told, or it would think that a token was revoked that is not.
        Err(RevokeTokenError::OfAnother) => Err(OAuthError::unauthorized_client(
            "the token was issued to another client, which alone may revoke it",
        )),
        Err(RevokeTokenError::Revoke(error)) => {
            tracing::error!(%error, "a token was not revoked");
            Err(OAuthError::unavailable(
                "the revocation could not be recorded; send it again",
            ))
        }
    }
}
