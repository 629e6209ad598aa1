//! Tokens of other issuers as subject tokens: translated into what one of ours would say (X10).

use token::Claims;

use super::asked::Asked;
use super::error::OAuthError;
use crate::issuers::{self, NotBelieved};

/// What a token of ours would say of the subject of a foreign one; nothing of it is sent to anybody
/// as it is. Where it says nothing of scopes, what is asked for stands in for them: the policies
/// decide each of them for the subject, as always.
///
/// # Errors
/// When it is not believed.
pub(super) async fn translated(
    asked: &Asked<'_>,
    text: &str,
    requested: Option<&str>,
) -> Result<Claims, OAuthError> {
    let Asked { app, now, .. } = *asked;
    let external = issuers::verify(app, asked.caller, text, now)
        .await
        .map_err(|why| match why {
            NotBelieved::NoKeys => OAuthError::unavailable(
                "the keys of the subject token's issuer are not at hand; try again in a moment",
            ),
            _ => OAuthError::invalid_request("the subject token is not valid"),
        })?;
    let scope = external
        .scope
        .clone()
        .or_else(|| requested.map(str::to_owned));
    let scope = scope.ok_or_else(|| {
        OAuthError::invalid_scope(
            "say in `scope` what is wanted: the subject token says nothing of it",
        )
    })?;
    Ok(external.as_ours(app, &asked.caller.client_id, scope))
}
