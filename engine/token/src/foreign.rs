//! Tokens of other issuers, verified as strictly as our own, with what their standards leave open
//! taken into account: `aud` may be a list, `nbf` and `jti` may be missing, times may have
//! fractions, and there are claims that we do not know.

use domain::Timestamp;
use serde_json::{Map, Value};

use crate::claims::Confirmation;
use crate::jws::Jws;
use crate::keys::FindKey;
use crate::refusal::Refusal;
use crate::verify::{Times, is_confirmation};

/// Longest subject, or other name, bytes.
const TEXT_BYTES_MAX: usize = 512;
/// Entries of `aud` and `amr` at most.
const LIST_MAX: usize = 32;

/// What a token of another issuer must be.
#[derive(Clone, Copy, Debug)]
pub struct ForeignExpected<'e> {
    /// The issuer, letter for letter.
    pub issuer: &'e str,
    /// What it calls us: one of `aud`.
    pub audience: &'e str,
    /// Kinds that are taken (`typ`), for example `at+jwt` and `JWT`.
    pub kinds: &'e [&'e str],
    /// The claim that names the subject, for example `sub`.
    pub subject_claim: &'e str,
    /// How far clocks may be apart, at most [`crate::verify::LEEWAY_MAX_SECONDS`].
    pub leeway_seconds: u64,
    /// Longest life, seconds.
    pub life_max_seconds: u64,
}

/// What a token of another issuer says, as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The subject's name with that issuer.
    pub subject: String,
    /// The token's id, if it has one.
    pub jti: Option<String>,
    /// Issued at, seconds.
    pub iat: i64,
    /// Expiry, seconds.
    pub exp: i64,
    /// Authentication context class.
    pub acr: Option<String>,
    /// Authentication methods.
    pub amr: Vec<String>,
    /// When the subject authenticated, seconds.
    pub auth_time: Option<i64>,
    /// Scopes, as they stand.
    pub scope: Option<String>,
    /// The key that must be proven with it.
    pub cnf: Option<Confirmation>,
}

/// Verifies a token of another issuer.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify_foreign(
    text: &str,
    keys: &impl FindKey,
    expected: &ForeignExpected<'_>,
    now: Timestamp,
) -> Result<Foreign, Refusal> {
    let claims = Jws::parse(text, expected.kinds, None)?.open(keys)?;
    if required(&claims, "iss")? != expected.issuer {
        return Err(Refusal::Issuer);
    }
    let audiences = match claims.get("aud").ok_or(Refusal::Missing("aud"))? {
        Value::String(one) => vec![one.as_str()],
        list => texts(list).ok_or(Refusal::Malformed("aud"))?,
    };
    if !audiences.contains(&expected.audience) {
        return Err(Refusal::Audience);
    }
    let times = Times {
        exp: time(&claims, "exp")?.ok_or(Refusal::Missing("exp"))?,
        nbf: time(&claims, "nbf")?,
        iat: time(&claims, "iat")?.ok_or(Refusal::Missing("iat"))?,
    };
    times.check(expected.leeway_seconds, expected.life_max_seconds, now)?;
    let subject = claims
        .get(expected.subject_claim)
        .ok_or(Refusal::Missing("subject"))?;
    let subject = name(subject).ok_or(Refusal::Malformed("subject"))?;
    let cnf = match claims.get("cnf") {
        None => None,
        // A way of binding that we do not know is not to be passed over.
        Some(cnf) => Some(
            serde_json::from_value(cnf.clone())
                .ok()
                .filter(is_confirmation)
                .ok_or(Refusal::Malformed("cnf"))?,
        ),
    };
    let amr = match claims.get("amr") {
        None => Vec::new(),
        Some(list) => texts(list).ok_or(Refusal::Malformed("amr"))?,
    };
    Ok(Foreign {
        subject: subject.to_owned(),
        jti: optional(&claims, "jti")?,
        iat: times.iat,
        exp: times.exp,
        acr: optional(&claims, "acr")?,
        amr: amr.into_iter().map(str::to_owned).collect(),
        auth_time: time(&claims, "auth_time")?,
        scope: scope(&claims)?,
        cnf,
    })
}

fn name(claim: &Value) -> Option<&str> {
    let text = claim.as_str()?;
    (1..=TEXT_BYTES_MAX).contains(&text.len()).then_some(text)
}

fn texts(claim: &Value) -> Option<Vec<&str>> {
    let list = claim.as_array()?;
    if list.len() > LIST_MAX {
        return None;
    }
    list.iter().map(name).collect()
}

fn required<'c>(claims: &'c Map<String, Value>, of: &'static str) -> Result<&'c str, Refusal> {
    let claim = claims.get(of).ok_or(Refusal::Missing(of))?;
    name(claim).ok_or(Refusal::Malformed(of))
}

fn optional(claims: &Map<String, Value>, of: &'static str) -> Result<Option<String>, Refusal> {
    let Some(claim) = claims.get(of) else {
        return Ok(None);
    };
    let text = name(claim).ok_or(Refusal::Malformed(of))?;
    Ok(Some(text.to_owned()))
}

/// Scopes grow with what somebody may do, so only the token's own size limits them. An empty one
/// is none.
fn scope(claims: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    match claims.get("scope") {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if crate::claims::is_scope(text) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::Malformed("scope")),
    }
}

/// A NumericDate (RFC 7519 §2): seconds, perhaps with a fraction, which is cut off.
fn time(claims: &Map<String, Value>, of: &'static str) -> Result<Option<i64>, Refusal> {
    let Some(claim) = claims.get(of) else {
        return Ok(None);
    };
    let latest = Timestamp::MAX.seconds();
    let seconds = match (claim.as_i64(), claim.as_f64()) {
        (Some(seconds), _) => seconds,
        // In range, so that the conversion means something.
        (None, Some(seconds)) if (0.0..=latest as f64).contains(&seconds) => seconds as i64,
        _ => return Err(Refusal::Malformed(of)),
    };
    if !(0..=latest).contains(&seconds) {
        return Err(Refusal::Malformed(of));
    }
    Ok(Some(seconds))
}
