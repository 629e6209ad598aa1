//! Proofs of possession (DPoP, RFC 9449): a key that came with a request, for this request alone.

mod replays;
mod target;
#[cfg(test)]
mod tests;

pub use replays::{Replayed, Replays};
pub use target::same_target;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use domain::Timestamp;
use serde_json::Value;

use crate::jws::Jws;
use crate::keys::{KeyRefusal, admit_jwk};
use crate::refusal::Refusal;
use crate::verify::is_id;

/// How old a proof may be, seconds: it is made for one request, and clients' clocks differ.
pub const PROOF_AGE_MAX_SECONDS: i64 = 60;
/// How far ahead of ours a client's clock may be, seconds.
pub const PROOF_AHEAD_MAX_SECONDS: i64 = 5;

/// What a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct ProofExpected<'e> {
    /// The request's method.
    pub method: &'e str,
    /// The request's URL as the client knows it: `public_url` and the path. Never made from
    /// `Host` or what a proxy says.
    pub url: &'e str,
    /// The access token that comes with it. None where one is asked for.
    pub access_token: Option<&'e str>,
}

/// A proof that holds. It counts once: see [`Replays::spend`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// RFC 7638 thumbprint of the key that was proven.
    pub jkt: String,
    /// The proof's id.
    pub jti: String,
    /// When it was made by the client's clock, seconds.
    pub iat: i64,
}

/// Why a proof is refused (`invalid_dpop_proof`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofRefusal {
    /// It is no token, or not signed by the key in it.
    #[error("{0}")]
    Token(#[from] Refusal),
    /// The key in it is none that is taken.
    #[error("`jwk`: {0}")]
    Key(#[from] KeyRefusal),
    /// `htm` or `htu` name another request.
    #[error("`{0}` is that of another request")]
    OtherRequest(&'static str),
    /// `ath` is missing, or that of another token.
    #[error("`ath` is not that of the access token")]
    OtherToken,
    /// Made too long ago, or later than now.
    #[error("made too long ago, or ahead of time")]
    Time,
}

/// Verifies a proof: everything but whether it was seen before.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify_proof(
    proof: &str,
    expected: &ProofExpected<'_>,
    now: Timestamp,
) -> Result<Proof, ProofRefusal> {
    verify_proof_at(proof, expected, |htu| same_target(htu, expected.url), now)
}

/// The same, where somebody else says whether `htu` names the request's URL: a gateway, which reads
/// the paths of its apps in a way of its own.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify_proof_at(
    proof: &str,
    expected: &ProofExpected<'_>,
    is_target: impl FnOnce(&str) -> bool,
    now: Timestamp,
) -> Result<Proof, ProofRefusal> {
    let jws = Jws::parse(proof, &["dpop+jwt"], Some("jwk"))?;
    let jwk = jws.header.get("jwk").filter(|jwk| jwk.is_object());
    let jwk = jwk.ok_or(Refusal::Header("jwk"))?;
    let key = admit_jwk(&jwk.to_string())?;
    let claims = jws.open_with(&key)?;
    let text = |name: &'static str| -> Result<&str, Refusal> {
        let claim = claims.get(name).ok_or(Refusal::Missing(name))?;
        claim.as_str().ok_or(Refusal::Malformed(name))
    };
    let jti = text("jti")?;
    if !is_id(jti) {
        return Err(Refusal::Malformed("jti").into());
    }
    if text("htm")? != expected.method {
        return Err(ProofRefusal::OtherRequest("htm"));
    }
    if !is_target(text("htu")?) {
        return Err(ProofRefusal::OtherRequest("htu"));
    }
    let iat = claims.get("iat").ok_or(Refusal::Missing("iat"))?;
    let iat = iat.as_i64().ok_or(Refusal::Malformed("iat"))?;
    let now = now.seconds();
    let window = (now - PROOF_AGE_MAX_SECONDS)..=(now + PROOF_AHEAD_MAX_SECONDS);
    let others = ["exp", "nbf"].map(|name| claims.get(name).map(Value::as_i64));
    let is_over = others[0].is_some_and(|exp| exp.is_none_or(|exp| now >= exp));
    let is_ahead = others[1].is_some_and(|nbf| nbf.is_none_or(|nbf| *window.end() < nbf));
    if !window.contains(&iat) || is_over || is_ahead {
        return Err(ProofRefusal::Time);
    }
    if let Some(token) = expected.access_token {
        let hash = BASE64URL_NOPAD.encode(digest(&SHA256, token.as_bytes()).as_ref());
        if claims.get("ath").and_then(Value::as_str) != Some(hash.as_str()) {
            return Err(ProofRefusal::OtherToken);
        }
    }
    Ok(Proof {
        jkt: key.thumbprint().to_owned(),
        jti: jti.to_owned(),
        iat,
    })
}
