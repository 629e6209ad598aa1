//! What to do with a refresh token: a function of the family's row, the token and the moment, and
//! of nothing else.

use std::time::Duration;

use domain::Timestamp;
use store::sqlite::RefreshFamily;

use super::form::Genuine;

/// How often the predecessor is answered within its grace: a client with this many windows open
/// at once is served, one that forks is not.
pub const REPEATS_MAX: u32 = 256;

/// The keys that a client has proven to hold with this request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmation {
    /// SHA-256 thumbprint of its DPoP key (RFC 9449 §6.1).
    pub jkt: Option<String>,
    /// SHA-256 thumbprint of its certificate (RFC 8705 §3.1).
    pub x5t_s256: Option<String>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Exchange it for its successor.
    Rotate,
    /// Its successor was handed out a moment ago and may be lost: hand out the same again.
    Repeat,
    /// It was used up long ago: somebody has a copy (T9).
    Reuse,
    /// Refuse, and change nothing.
    Refuse(Refusal),
}

/// Why a refresh token is refused. For logs; a client hears `invalid_grant`, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The engine never issued it, or does not know its family any more.
    #[error("the refresh token is not known")]
    Unknown,
    /// Its family was revoked.
    #[error("the refresh token was revoked")]
    Revoked,
    /// Its time is over, by either clock (T12).
    #[error("the refresh token has expired")]
    Expired,
    /// Its session is over.
    #[error("the session of the refresh token is over")]
    SessionOver,
    /// It was issued to another client.
    #[error("the refresh token was issued to another client")]
    OtherClient,
    /// It is bound to a key that the client did not prove to hold.
    #[error("the refresh token is bound to another key")]
    OtherKey,
    /// The predecessor came again too often.
    #[error("the refresh token was used too often at once")]
    TooOften,
}

/// Judges a token that the engine issued, for the client that presents it.
#[must_use]
pub fn judge(
    family: &RefreshFamily,
    presented: &Genuine,
    client_id: &str,
    proven: &Confirmation,
    grace: Duration,
    now: Timestamp,
) -> Verdict {
    let refuse = Verdict::Refuse;
    if family.id != presented.family || presented.generation > family.generation {
        // Of a later time than this row: the store was put back to an earlier state.
        return refuse(Refusal::Unknown);
    }
    if family.revoked.is_some() {
        return refuse(Refusal::Revoked);
    }
    if now >= family.expires_at {
        return refuse(Refusal::Expired);
    }
    let hash = presented.token.sha256();
    let other = if family.client_id == client_id {
        (!is_bound_to(family, proven)).then_some(Refusal::OtherKey)
    } else {
        Some(Refusal::OtherClient)
    };
    if presented.generation == family.generation {
        if hash != family.current_sha256 {
            return refuse(Refusal::Unknown);
        }
        return match other {
            Some(why) => refuse(why),
            None if now >= family.idle_expires_at => refuse(Refusal::Expired),
            None => Verdict::Rotate,
        };
    }
    let is_predecessor = family.previous_sha256 == Some(hash);
    let is_in_grace = family
        .rotated_at
        .is_some_and(|at| is_within(at, now, grace));
    match (is_predecessor && is_in_grace, other) {
        (true, None) if family.repeats >= REPEATS_MAX => refuse(Refusal::TooOften),
        (true, None) => Verdict::Repeat,
        _ => Verdict::Reuse,
    }
}

/// Either way round: of two requests at once, the one that comes second may have read the clock
/// first.
fn is_within(at: Timestamp, now: Timestamp, grace: Duration) -> bool {
    let apart = now.millis().abs_diff(at.millis());
    u128::from(apart) <= grace.as_millis()
}

/// Whether the client holds every key that the family is bound to.
fn is_bound_to(family: &RefreshFamily, proven: &Confirmation) -> bool {
    let holds = |bound: &Option<String>, proven: &Option<String>| {
        bound.is_none() || bound.as_ref() == proven.as_ref()
    };
    holds(&family.jkt, &proven.jkt) && holds(&family.x5t_s256, &proven.x5t_s256)
}
