//! Tokens of other issuers as subject tokens: translated into what one of ours would say (X10).

use domain::Timestamp;
use token::Claims;
use token::claims::ContextClaim;

use super::asked::Asked;
use super::error::OAuthError;
use crate::issuers::{self, NotBelieved};
use crate::minting::acr_of;

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
    let sub = external.sub();
    let scope = external.scope.or_else(|| requested.map(str::to_owned));
    let scope = scope.ok_or_else(|| {
        OAuthError::invalid_scope(
            "say in `scope` what is wanted: the subject token says nothing of it",
        )
    })?;
    let issued_at = external.issued_at.seconds();
    Ok(Claims {
        iss: external.issuer,
        sub,
        aud: app.public_url().to_owned(),
        client_id: asked.caller.client_id.clone(),
        iat: issued_at,
        nbf: issued_at,
        exp: external.exp,
        jti: external.id,
        scope,
        acr: acr_of(external.assurance.level, &app.settings.sessions).to_owned(),
        auth_time: external.assurance.at.map(Timestamp::seconds),
        sid: None,
        cnf: external.cnf,
        act: None,
        original_jti: None,
        lineage: Vec::new(),
        issued_to: Vec::new(),
        family_id: None,
        status: None,
        context: ContextClaim::default(),
        risk: None,
    })
}
