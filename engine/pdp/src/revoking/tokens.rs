//! Revoking a token that somebody holds out (RFC 7009): what it is, whose, and what goes with it.

use domain::Timestamp;
use token::revocation::Entry;
use token::verify::{Expected, verify};

use super::{Revocation, RevokeError, revoke_with};
use crate::access::{Caller, Permission};
use crate::app::App;

/// Why a token that holds was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeTokenError {
    /// It was issued to another client.
    #[error("the token was issued to another client")]
    OfAnother,
    /// It could not be made durable.
    #[error("{0}")]
    Revoke(#[from] RevokeError),
}

/// Revokes a token on its holder's behalf: of a refresh token the whole family with its access
/// tokens, of an access token itself and what it was exchanged for. Whether that changed
/// anything: what is no token of ours, is over or was revoked before is none to revoke, and that
/// is no error (RFC 7009 §2.2).
///
/// # Errors
/// When the token is another client's, or the revocation cannot be made durable.
pub async fn revoke_token(
    app: &App,
    caller: &Caller,
    text: &str,
    now: Timestamp,
) -> Result<bool, RevokeTokenError> {
    // What it is called by is in the token; what a client says of it (`token_type_hint`) is not
    // needed, and would be a second opinion.
    let found = match app.refresh_key.read(text) {
        Some(genuine) => family(app, &genuine.family, now).await?,
        None => access_token(app, text, now),
    };
    let Some(found) = found else {
        return Ok(false);
    };
    let may_any = app.keys.permits(caller, Permission::RevokeAnyTokens);
    if !may_any && found.client_id != caller.client_id {
        return Err(RevokeTokenError::OfAnother);
    }
    let revocation = Revocation {
        entry: found.entry,
        by: caller.by(),
        subject: Some(found.subject),
        reason: None,
        ends_at: found.ends_at,
        is_own: !may_any,
    };
    Ok(!revoke_with(app, revocation).await?.already)
}

/// What stands for a token on the list.
struct Found {
    entry: Entry,
    client_id: String,
    subject: String,
    ends_at: Option<Timestamp>,
}

/// Any generation of a family will do: whoever holds an old one may revoke, if nothing else.
async fn family(app: &App, id: &str, now: Timestamp) -> Result<Option<Found>, RevokeError> {
    let family = app.state.store().refresh_family(id).await?;
    Ok(family
        .filter(|family| now < family.expires_at)
        .map(|family| Found {
            entry: Entry::Family(family.id),
            client_id: family.client_id,
            subject: token::claims::subject(
                family.subject.kind.as_str(),
                family.subject.id.as_str(),
            ),
            ends_at: Some(family.expires_at),
        }))
}

fn access_token(app: &App, text: &str, now: Timestamp) -> Option<Found> {
    let expected = Expected::access_token(app.public_url(), None);
    let claims = verify(text, &*app.signing.current(), &expected, now).ok()?;
    Some(Found {
        entry: Entry::Jti(claims.jti),
        client_id: claims.client_id,
        subject: claims.sub,
        ends_at: None,
    })
}
