//! An access token of ours that somebody presents: verified, and held against what was revoked and
//! what is over.
//!
//! All, always, in this order: a token whose signature was not looked at must not be asked
//! about, and one that holds is good for nothing before the revocations were asked.

use domain::Timestamp;
use token::Claims;
use token::refusal::Refusal;
use token::revocation::{Lineage, RevokedBy};
use token::verify::{Expected, verify};

use crate::app::App;
use crate::sessions::life::{Life, life};

/// Why a token is not valid. For logs: whoever presented it is told one sentence for all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotValid {
    /// It is none of ours, not for this, or over.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// It was taken back.
    #[error("revoked by {}", .0.as_str())]
    Revoked(RevokedBy),
    /// Its session is over.
    #[error("its session is over")]
    SessionOver,
    /// Whether its session is over cannot be told at the moment.
    #[error("its session cannot be looked up")]
    SessionUnknown,
}

impl NotValid {
    /// A word for metrics.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Revoked(_) => "revoked",
            Self::SessionOver => "session_over",
            Self::SessionUnknown => "session_unknown",
        }
    }
}

/// The claims of a token of ours that is valid now. `audience` is whom it must be for; none only
/// where whoever asks is told of tokens for others as well.
///
/// # Errors
/// When it is not valid, with the reason.
pub(crate) async fn own(
    app: &App,
    text: &str,
    audience: Option<&str>,
    now: Timestamp,
) -> Result<Claims, NotValid> {
    let expected = Expected::access_token(app.public_url(), audience);
    let claims = verify(text, &*app.signing.current(), &expected, now)?;
    if let Some(by) = app.revocations.check(&Lineage::of(&claims), now) {
        return Err(NotValid::Revoked(by));
    }
    // One that expired, or that ends sooner than when the token was made, is revoked by nobody.
    match life(app, claims.sid.as_ref(), now).await {
        Life::Own | Life::Until(_) => Ok(claims),
        Life::Over => Err(NotValid::SessionOver),
        Life::Unknown => Err(NotValid::SessionUnknown),
    }
}
