//! Tokens of other issuers as subject tokens: translated into what one of ours would say (X10).

use domain::Timestamp;
use token::Claims;
use token::certificate::thumbprint;
use token::claims::{ContextClaim, subject};

use super::asked::Asked;
use super::error::OAuthError;
use crate::issuers::{self, NotBelieved};
use crate::minting::acr_of;

/// What a token of ours would say of the subject of a foreign one; nothing of it is sent to anybody
/// as it is. Its scopes are words of another vocabulary, so what is asked for stands in for them:
/// the policies decide each of them for the subject, as always.
///
/// # Errors
/// When it is not believed.
pub(super) async fn translated(
    asked: &Asked<'_>,
    text: &str,
    requested: Option<&str>,
) -> Result<Claims, OAuthError> {
    let Asked { app, now, .. } = *asked;
    let external = issuers::verify(app, text, now)
        .await
        .map_err(|why| match why {
            NotBelieved::NoKeys => OAuthError::unavailable(
                "the keys of the subject token's issuer are not at hand; try again in a moment",
            ),
            _ => OAuthError::invalid_request("the subject token is not valid"),
        })?;
    let scope = requested.ok_or_else(|| {
        OAuthError::invalid_scope("say in `scope` what is wanted for a token of another issuer")
    })?;
    // Two issuers may give one id, and ours are never theirs.
    let id = external.jti.as_deref().unwrap_or(text);
    let id = thumbprint(format!("{} {id}", external.issuer).as_bytes());
    Ok(Claims {
        iss: external.issuer,
        sub: subject(external.subject.kind.as_str(), external.subject.id.as_str()),
        aud: app.public_url().to_owned(),
        client_id: asked.caller.client_id.clone(),
        iat: external.iat,
        nbf: external.iat,
        exp: external.exp,
        jti: format!("ext_{id}"),
        scope: scope.to_owned(),
        acr: acr_of(external.assurance.level, &app.settings.sessions).to_owned(),
        auth_time: external.assurance.at.map(Timestamp::seconds),
        sid: None,
        cnf: external.cnf,
        act: None,
        original_jti: None,
        lineage: Vec::new(),
        family_id: None,
        issued_to: Vec::new(),
        status: None,
        context: ContextClaim::default(),
        risk: None,
    })
}
