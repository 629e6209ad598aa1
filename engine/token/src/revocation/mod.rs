//! What was taken back before its time (RFC 7009): the list that every use of a token is held
//! against.
//!
//! Six things can be revoked, from the widest blow to the narrowest cut: what an issuer, a client
//! or a subject was given up to a moment, a session, a family of refresh tokens, a single token.
//! A [`Lineage`] is what a token, a family or a session is held against them by; one entry at a
//! session ends everything that ever came out of it, however often it was exchanged.
//!
//! [`Live`] is the list itself: exact, in memory, bounded. [`Filtered`] stands before a list that
//! is elsewhere. Neither reads a clock or makes randomness; nothing is ever taken off a list but
//! what is over by itself (B5), so that what was revoked never comes back.

mod breaker;
mod entry;
mod filtered;
mod live;
mod table;

#[cfg(test)]
mod tests;

use domain::Timestamp;

use crate::claims::{Claims, IssuedTo};

pub use breaker::{Breaker, BreakerState};
pub use entry::{Entry, Kind, Lives};
pub use filtered::{FilterSettings, Filtered, Layers, RemoteError, RemoteList};
pub use live::{Hashed, Live};
pub use table::{Mark, Seed};

/// What something that was issued is held against the list by: a token (all members that it has),
/// or a grant that tokens come out of, such as a family or a session (no `jti`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage<'a> {
    /// The token's own id; empty for a grant.
    pub jti: &'a str,
    /// The id of its first ancestor, for what came out of an exchange (`original_jti`).
    pub original_jti: Option<&'a str>,
    /// The ids of the ancestors after the first (`lineage`).
    pub ancestors: &'a [String],
    /// The family of refresh tokens that it belongs to.
    pub family: Option<&'a str>,
    /// The session.
    pub sid: Option<&'a str>,
    /// The subject, as `token::claims::subject` writes it.
    pub sub: &'a str,
    /// The client that it was issued to.
    pub client_id: &'a str,
    /// When it was issued, for a token by [`issued_at`]; for a grant, when it began.
    pub issued_at: Timestamp,
    /// To whom its ancestors were issued, and when.
    pub issued_to: &'a [IssuedTo],
}

impl<'a> Lineage<'a> {
    /// What a token of ours says of itself.
    #[must_use]
    pub fn of(claims: &'a Claims) -> Self {
        Self {
            jti: &claims.jti,
            original_jti: claims.original_jti.as_deref(),
            ancestors: &claims.lineage,
            family: claims.family_id.as_deref(),
            sid: claims.sid.as_deref(),
            sub: &claims.sub,
            client_id: &claims.client_id,
            issued_at: issued_at(&claims.jti, claims.iat),
            issued_to: &claims.issued_to,
        }
    }

    /// When the first of its line was issued: what came out of that is no younger.
    fn began_at(&self) -> Timestamp {
        let ancestors = self.issued_to.iter();
        let ancestors = ancestors.map(|to| Timestamp::from_millis(to.at));
        ancestors.fold(self.issued_at, Timestamp::min)
    }
}

/// When a token of ours was issued, to the millisecond.
///
/// `iat` counts whole seconds. Held against that alone, a token that is asked for right after a
/// revocation would be refused for the rest of the second, or one from right before it let
/// through. Our `jti` is a UUIDv7 (RFC 9562 §5.7), which begins with the millisecond; it counts
/// where it agrees with `iat`. Otherwise the second's beginning does: such a token is refused
/// when its second is the one of the revocation, whichever came first.
#[must_use]
pub fn issued_at(jti: &str, iat: i64) -> Timestamp {
    uuid_millis(jti)
        .map(Timestamp::from_millis)
        .filter(|issued| issued.seconds() == iat)
        .unwrap_or_else(|| Timestamp::from_seconds(iat))
}

/// The time in a UUIDv7, `xxxxxxxx-xxxx-7…`.
fn uuid_millis(jti: &str) -> Option<i64> {
    let (time, rest) = jti.as_bytes().split_at_checked(14)?;
    if !rest.starts_with(b"7") {
        return None;
    }
    let mut millis = 0;
    for (place, byte) in time.iter().enumerate() {
        if place == 8 || place == 13 {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        millis = millis << 4 | i64::from(char::from(*byte).to_digit(16)?);
    }
    Some(millis)
}

/// What a token was revoked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevokedBy {
    /// Its session was ended.
    Session,
    /// Everything that its subject had been given was taken back.
    Subject,
    /// Its family of refresh tokens was.
    Family,
    /// Everything that its client had been given was.
    Client,
    /// Everything that this issuer had issued was.
    Issuer,
    /// It was.
    Token,
    /// A token that it was exchanged from was, or the client that had got that.
    Ancestor,
    /// It may be: who knows could not be asked.
    Unsure,
}

impl RevokedBy {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Session,
        Self::Subject,
        Self::Family,
        Self::Client,
        Self::Issuer,
        Self::Token,
        Self::Ancestor,
        Self::Unsure,
    ];

    /// The word in logs and metrics. Callers are never told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Subject => "subject",
            Self::Family => "family",
            Self::Client => "client",
            Self::Issuer => "issuer",
            Self::Token => "jti",
            Self::Ancestor => "ancestor",
            Self::Unsure => "unsure",
        }
    }
}

/// A list of what was revoked.
pub trait RevocationList: std::fmt::Debug + Send + Sync {
    /// What revokes this, if anything does. A list that cannot tell says [`RevokedBy::Unsure`],
    /// never none.
    fn check(&self, lineage: &Lineage<'_>, now: Timestamp) -> Option<RevokedBy>;
}

/// Asks a list of one kind after the other, in the order that is usual: what ends most comes
/// first, so that most revoked tokens cost one look, and what is not revoked costs all in any
/// order.
fn walk<E>(
    lineage: &Lineage<'_>,
    mut mark: impl FnMut(Kind, &str) -> Result<Option<Mark>, E>,
) -> Result<Option<RevokedBy>, E> {
    let began = lineage.began_at();
    let mut hit = |kind, id: &str, issued| {
        mark(kind, id).map(|mark| mark.is_some_and(|mark| mark.covers(issued)))
    };
    if let Some(sid) = lineage.sid
        && hit(Kind::Session, sid, began)?
    {
        return Ok(Some(RevokedBy::Session));
    }
    if hit(Kind::Subject, lineage.sub, began)? {
        return Ok(Some(RevokedBy::Subject));
    }
    if let Some(family) = lineage.family
        && hit(Kind::Family, family, began)?
    {
        return Ok(Some(RevokedBy::Family));
    }
    if hit(Kind::Client, lineage.client_id, lineage.issued_at)? {
        return Ok(Some(RevokedBy::Client));
    }
    for to in lineage.issued_to {
        if hit(Kind::Client, &to.client_id, Timestamp::from_millis(to.at))? {
            return Ok(Some(RevokedBy::Ancestor));
        }
    }
    if hit(Kind::Issuer, "", began)? {
        return Ok(Some(RevokedBy::Issuer));
    }
    if !lineage.jti.is_empty() && hit(Kind::Jti, lineage.jti, began)? {
        return Ok(Some(RevokedBy::Token));
    }
    if let Some(original) = lineage.original_jti
        && hit(Kind::Jti, original, began)?
    {
        return Ok(Some(RevokedBy::Ancestor));
    }
    for ancestor in lineage.ancestors {
        if hit(Kind::Jti, ancestor, began)? {
            return Ok(Some(RevokedBy::Ancestor));
        }
    }
    Ok(None)
}
