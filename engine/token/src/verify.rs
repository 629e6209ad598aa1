//! Whether a token holds: `verify` for our own, `verify_foreign` for those of other issuers. Both
//! are given the time and read no clock, and both go in one order: size and characters, header,
//! signature, claims that are said once, issuer, audience, times, life, the rest. Whether it was
//! revoked is asked by whoever calls, right after.
//!
//! Signatures are verified by `jsonwebtoken`. Its `decode` leaves half of the rest open (`typ`,
//! `crit`, lifetimes, `iat`, the type of `iss`, members said twice), so the form is read here.
//! Tests hold its `decode` beside this: what it refuses, this refuses.

use domain::Timestamp;
use serde_json::{Map, Value};

use crate::claims::{ACCESS_TOKEN_TYP, Claims, Confirmation, DELEGATIONS_MAX, is_scope};
use crate::claims::{LIFE_MAX_SECONDS, parse_subject};
use crate::jws::Jws;
use crate::keys::FindKey;
use crate::refusal::Refusal;
use crate::strict_json::has_null;

/// How far clocks may be apart at most, seconds, whatever is asked for: a minute of it would
/// double the life of a minute's token.
pub const LEEWAY_MAX_SECONDS: u64 = 5;

/// Longest name in a claim, bytes.
const TEXT_BYTES_MAX: usize = 2048;

/// What one of our tokens must be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'e> {
    /// The engine's `public_url`.
    pub issuer: &'e str,
    /// Whom it must be for. None only where whoever asks is told of tokens for others as well
    /// (introspection, revocation); never where a token lets somebody in.
    pub audience: Option<&'e str>,
    /// The kind, [`ACCESS_TOKEN_TYP`] for access tokens.
    pub typ: &'e str,
    /// How far clocks may be apart, at most [`LEEWAY_MAX_SECONDS`].
    pub leeway_seconds: u64,
    /// Longest life, at most [`LIFE_MAX_SECONDS`] (X24).
    pub life_max_seconds: u64,
}

impl<'e> Expected<'e> {
    /// An access token of this issuer, for this audience. The engine's tokens are verified by the
    /// clock that they were minted by, so there is no leeway.
    #[must_use]
    pub const fn access_token(issuer: &'e str, audience: Option<&'e str>) -> Self {
        Self {
            issuer,
            audience,
            typ: ACCESS_TOKEN_TYP,
            leeway_seconds: 0,
            life_max_seconds: LIFE_MAX_SECONDS,
        }
    }
}

/// Verifies one of our own tokens.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify(
    text: &str,
    keys: &impl FindKey,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Claims, Refusal> {
    let claims = Jws::parse(text, &[expected.typ], None)?.open(keys)?;
    check_types(&claims)?;
    let claims: Claims =
        serde_json::from_value(Value::Object(claims)).map_err(|_| Refusal::Malformed("claims"))?;
    if claims.iss != expected.issuer {
        return Err(Refusal::Issuer);
    }
    if expected.audience.is_some_and(|wanted| claims.aud != wanted) {
        return Err(Refusal::Audience);
    }
    Times {
        exp: claims.exp,
        nbf: Some(claims.nbf),
        iat: claims.iat,
    }
    .check(
        expected.leeway_seconds,
        expected.life_max_seconds.min(LIFE_MAX_SECONDS),
        now,
    )?;
    check_syntax(&claims)?;
    Ok(claims)
}

/// What we sign has these claims as text, and those as whole numbers; what else there is is
/// objects and lists, and nothing is `null`.
fn check_types(claims: &Map<String, Value>) -> Result<(), Refusal> {
    for name in ["iss", "aud", "sub", "client_id", "jti", "scope", "acr"] {
        let claim = claims.get(name).ok_or(Refusal::Missing(name))?;
        let text = claim.as_str().ok_or(Refusal::Malformed(name))?;
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(Refusal::Malformed(name));
        }
    }
    for name in ["iat", "nbf", "exp"] {
        let claim = claims.get(name).ok_or(Refusal::Missing(name))?;
        claim.as_i64().ok_or(Refusal::Malformed(name))?;
    }
    for name in ["sid", "original_jti", "family_id", "risk"] {
        if claims.get(name).is_some_and(|claim| !claim.is_string()) {
            return Err(Refusal::Malformed(name));
        }
    }
    for name in ["cnf", "act", "status", "context"] {
        if claims.get(name).is_some_and(|claim| !claim.is_object()) {
            return Err(Refusal::Malformed(name));
        }
    }
    if claims.values().any(has_null) {
        return Err(Refusal::Malformed("null"));
    }
    Ok(())
}

fn check_syntax(claims: &Claims) -> Result<(), Refusal> {
    if parse_subject(&claims.sub).is_none() {
        return Err(Refusal::Malformed("sub"));
    }
    for (name, id) in [
        ("client_id", Some(&claims.client_id)),
        ("jti", Some(&claims.jti)),
        ("original_jti", claims.original_jti.as_ref()),
        ("family_id", claims.family_id.as_ref()),
    ] {
        if id.is_some_and(|id| !is_id(id)) {
            return Err(Refusal::Malformed(name));
        }
    }
    if !is_scope(&claims.scope) {
        return Err(Refusal::Malformed("scope"));
    }
    if claims.auth_time.is_some_and(|time| !is_time(time)) {
        return Err(Refusal::Malformed("auth_time"));
    }
    if claims.cnf.as_ref().is_some_and(|cnf| !is_confirmation(cnf)) {
        return Err(Refusal::Malformed("cnf"));
    }
    if let Some(actor) = &claims.act {
        if actor.depth() > DELEGATIONS_MAX {
            return Err(Refusal::Delegated);
        }
        let mut actors = std::iter::successors(Some(actor), |actor| actor.act.as_deref());
        if !actors.all(|actor| {
            parse_subject(&actor.sub).is_some() && actor.client_id.as_deref().is_none_or(is_id)
        }) {
            return Err(Refusal::Malformed("act"));
        }
    }
    if claims.lineage.len() > DELEGATIONS_MAX {
        return Err(Refusal::Delegated);
    }
    if !claims.lineage.iter().all(|id| is_id(id)) {
        return Err(Refusal::Malformed("lineage"));
    }
    // The first ancestor is `original_jti`, and those after it are in `lineage`.
    if claims.issued_to.len() > DELEGATIONS_MAX + 1 {
        return Err(Refusal::Delegated);
    }
    let is_moment = |at: i64| (0..=Timestamp::MAX.millis()).contains(&at);
    if !(claims.issued_to.iter()).all(|to| is_id(&to.client_id) && is_moment(to.at)) {
        return Err(Refusal::Malformed("issued_to"));
    }
    let risk = claims.risk.as_deref();
    if risk.is_some_and(|risk| !matches!(risk, "LOW" | "MEDIUM" | "HIGH")) {
        return Err(Refusal::Malformed("risk"));
    }
    Ok(())
}

/// An id that can stand in a log, a URL or a key of a map: visible ASCII, at most 256 bytes.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Seconds that are a date.
const fn is_time(seconds: i64) -> bool {
    seconds >= 0 && seconds <= Timestamp::MAX.seconds()
}

/// A SHA-256 as base64url: 43 characters with nothing left over.
pub(crate) fn is_thumbprint(text: &str) -> bool {
    let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes());
    bytes.is_ok_and(|bytes| bytes.len() == 32)
}

pub(crate) fn is_confirmation(cnf: &Confirmation) -> bool {
    let named = [cnf.jkt.as_deref(), cnf.x5t_s256.as_deref()];
    named.iter().any(Option::is_some) && named.into_iter().flatten().all(is_thumbprint)
}

/// The times of a token, seconds.
pub(crate) struct Times {
    pub(crate) exp: i64,
    pub(crate) nbf: Option<i64>,
    pub(crate) iat: i64,
}

impl Times {
    /// Whether it is now, and was not to be for longer than a token may live.
    pub(crate) fn check(&self, leeway: u64, life_max: u64, now: Timestamp) -> Result<(), Refusal> {
        let leeway = leeway.min(LEEWAY_MAX_SECONDS).cast_signed();
        for (name, time) in [
            ("exp", Some(self.exp)),
            ("nbf", self.nbf),
            ("iat", Some(self.iat)),
        ] {
            if time.is_some_and(|time| !is_time(time)) {
                return Err(Refusal::Malformed(name));
            }
        }
        let now = now.seconds();
        if now >= self.exp + leeway {
            return Err(Refusal::Expired);
        }
        if self.nbf.is_some_and(|nbf| now + leeway < nbf) {
            return Err(Refusal::NotYet("nbf"));
        }
        if now + leeway < self.iat {
            return Err(Refusal::NotYet("iat"));
        }
        let life = self.exp - self.iat;
        let life_max = i64::try_from(life_max).unwrap_or(i64::MAX);
        if life < 1 || life > life_max || self.nbf.is_some_and(|nbf| nbf >= self.exp) {
            return Err(Refusal::Life);
        }
        Ok(())
    }
}
