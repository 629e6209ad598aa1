//! `refresh_token` (RFC 6749 §6, RFC 9700 §4.14, T8 to T12).
//!
//! Proof, scope and policies come first, the rotation last: who is refused still has a token.

use domain::value::Attributes;
use domain::{DeviceClaim, RequestContext};
use token::claims::{Confirmation, ContextClaim};

use super::asked::{Asked, Issued, names, written};
use super::error::OAuthError;
use crate::families::{self, RefreshRefused};
use crate::minting::derive::narrowed;
use crate::minting::weigh::{Wish, weigh};
use crate::minting::{Holder, assurance_of, draft, end_of, sign};
use crate::sessions::uses;

pub(super) async fn grant(asked: &Asked<'_>) -> Result<Issued, OAuthError> {
    let Asked { app, now, .. } = *asked;
    let caller = asked.caller;
    let presented = asked.form.required("refresh_token")?;
    let proven = asked.proven.confirmation().unwrap_or_default();
    let proven = families::Confirmation {
        jkt: proven.jkt,
        x5t_s256: proven.x5t_s256,
    };
    let look = families::look(app, &caller.client_id, presented, proven, now).await?;
    let (family, birth) = (look.family.clone(), look.birth.clone());
    if asked.form.get("audience").is_some() || asked.form.get("resource").is_some() {
        let wished = asked.target()?;
        if wished != family.audience {
            return Err(OAuthError::invalid_target(
                "the refresh token is for another service; exchange an access token for that one",
            ));
        }
    }
    let requested = asked.scopes()?.map(|scopes| written(&scopes));
    let words = narrowed(&family.scope, requested.as_deref());
    let wanted = requested.as_deref().unwrap_or(&family.scope);
    if wanted.split(' ').any(|word| !words.contains(&word)) {
        return Err(OAuthError::invalid_scope(
            "more than was granted with the refresh token",
        ));
    }
    let scopes = names(words.into_iter())?;

    let sessions = &app.settings.sessions;
    let wish = Wish {
        subject: &family.subject,
        audience: &family.audience,
        properties: Attributes::new(),
        context: RequestContext {
            ip: birth.ip,
            device: birth.device_id.clone().map(|id| DeviceClaim {
                id: Some(id),
                ..DeviceClaim::default()
            }),
            session_id: family.session.clone(),
            assurance: birth
                .acr
                .as_deref()
                .map(|acr| assurance_of(acr, birth.auth_time, sessions)),
            ..RequestContext::default()
        },
        is_of_session: true,
    };
    let granted = weigh(app, caller, &wish, &scopes, asked.request_id, now).await?;
    uses::note(app, caller, family.session.as_ref(), "refresh", None, now)
        .await
        .map_err(|cause| {
            tracing::error!(%cause, "the use of a strict session could not be recorded");
            OAuthError::unavailable("the refresh token is as good as before; ask again in a moment")
        })?;
    // Before the rotation: whoever is refused still has a token.
    end_of(
        app,
        family.session.as_ref(),
        family.expires_at.seconds(),
        now,
    )
    .await?;
    asked.proven.spend(app, now)?;
    let refreshed = families::rotate(app, look, now).await?;

    let holder = Holder {
        subject: &family.subject,
        client_id: &caller.client_id,
        audience: &family.audience,
        assurance: granted.assurance,
    };
    let life = app.settings.token_ttl_seconds;
    let scope = written(&granted.scopes);
    let mut claims = draft(app, granted.token_id, &holder, scope, life, now);
    // No access token outlives what it was refreshed with.
    claims.exp = claims.exp.min(family.expires_at.seconds());
    claims.sid.clone_from(&family.session);
    claims.family_id = Some(family.id.clone());
    let bound_to = Confirmation {
        jkt: family.jkt.clone(),
        x5t_s256: family.x5t_s256.clone(),
    };
    // What was not bound before is bound now, where a key was proven.
    claims.cnf = Some(bound_to)
        .filter(|bound_to| *bound_to != Confirmation::default())
        .or_else(|| asked.proven.confirmation());
    claims.context = ContextClaim {
        ip: birth.ip,
        device_id: birth.device_id,
    };
    claims.risk = Some(granted.risk.as_str().to_owned());
    Ok(Issued {
        minted: sign(app, claims).await?,
        audience: family.audience,
        kind: None,
        refresh_token: Some(refreshed.refresh_token),
    })
}

impl From<RefreshRefused> for OAuthError {
    fn from(why: RefreshRefused) -> Self {
        match why {
            // One sentence for all: which it was would help those who guess.
            RefreshRefused::Refused(why) => {
                tracing::debug!(%why, "a refresh token was refused");
                Self::invalid_grant("the refresh token is not valid, or not this client's")
            }
            RefreshRefused::Reused => {
                Self::invalid_grant("the refresh token is not valid, or not this client's")
            }
            RefreshRefused::Store(cause) => {
                tracing::error!(%cause, "a refresh token could not be rotated");
                Self::unavailable("the refresh token is as good as before; ask again in a moment")
            }
            RefreshRefused::Unavailable => {
                Self::unavailable("the refresh token is as good as before; ask again in a moment")
            }
        }
    }
}
