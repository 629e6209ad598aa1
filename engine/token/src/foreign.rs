//! Tokens of other issuers, verified as strictly as our own, with what their standards leave open
//! taken into account: `aud` may be a list, `nbf` and `jti` may be missing, times may have
//! fractions, and there are claims that we do not know.

use domain::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::claims::{Confirmation, is_scope, is_scope_word};
use crate::jws::Jws;
use crate::keys::FindKey;
use crate::refusal::Refusal;
use crate::strict_json::has_null;
use crate::verify::{Times, is_confirmation};

/// What the ids begin with that tokens of other issuers have here: no token of ours is called so.
pub const JTI_PREFIX: &str = "ext_";

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
    /// To whom else a token may have been issued (`azp`, `client_id`) that is for several.
    pub parties: &'e [&'e str],
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
    /// What its issuer calls the session that it was given in (`sid`).
    pub sid: Option<String>,
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
    /// Scopes (`scope`, or `scp`), as they stand; empty where it says that it has none. None where
    /// it says nothing of them.
    pub scope: Option<String>,
    /// Who alone may act for the subject (RFC 8693 §4.4).
    pub may_act: Option<MayAct>,
    /// The key that must be proven with it.
    pub cnf: Option<Confirmation>,
    /// All that it says, as it stands: for those whose settings name claims.
    pub claims: Map<String, Value>,
}

/// Who may act for the subject. A member that is not known would narrow it further, so there is
/// none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MayAct {
    /// By its subject.
    #[serde(default)]
    pub sub: Option<String>,
    /// By its client.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Who calls it so.
    #[serde(default)]
    pub iss: Option<String>,
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
    if audiences.iter().any(|other| *other != expected.audience) {
        check_party(&claims, expected)?;
    }
    // A security event (RFC 8417), for example of a logout, whatever its `typ`.
    if claims.contains_key("events") {
        return Err(Refusal::Purpose("events"));
    }
    // Who acts there means nothing here, and may not be forgotten either.
    if claims.contains_key("act") {
        return Err(Refusal::Delegated);
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
    let may_act = match claims.get("may_act") {
        None => None,
        Some(claim) if has_null(claim) => return Err(Refusal::Malformed("may_act")),
        Some(claim) => {
            Some(serde_json::from_value(claim.clone()).map_err(|_| Refusal::Malformed("may_act"))?)
        }
    };
    let amr = match claims.get("amr") {
        None => Vec::new(),
        Some(list) => texts(list).ok_or(Refusal::Malformed("amr"))?,
    };
    Ok(Foreign {
        subject: subject.to_owned(),
        jti: optional(&claims, "jti")?,
        // It names nothing that anybody is let in by: what is no name is none.
        sid: claims.get("sid").and_then(name).map(str::to_owned),
        iat: times.iat,
        exp: times.exp,
        acr: optional(&claims, "acr")?,
        amr: amr.into_iter().map(str::to_owned).collect(),
        auth_time: time(&claims, "auth_time")?,
        scope: scope(&claims)?,
        may_act,
        cnf,
        claims,
    })
}

/// A token for several was handed to one of them. Where that is not us, or somebody who is known
/// to hand them on, it is another's (OpenID Connect Core §3.1.3.7, RFC 9068 §2.2).
fn check_party(claims: &Map<String, Value>, expected: &ForeignExpected<'_>) -> Result<(), Refusal> {
    let parties = [optional(claims, "azp")?, optional(claims, "client_id")?];
    let is_taken =
        |party: &String| party == expected.audience || expected.parties.contains(&party.as_str());
    let mut parties = parties.iter().flatten().peekable();
    if parties.peek().is_some() && parties.all(is_taken) {
        Ok(())
    } else {
        Err(Refusal::Party)
    }
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

/// Scopes grow with what somebody may do, so only the token's own size limits them. `scp` is what
/// some issuers call them, as text or as a list; both would be two opinions.
fn scope(claims: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    let (name, claim) = match (claims.get("scope"), claims.get("scp")) {
        (None, None) => return Ok(None),
        (Some(claim), None) => ("scope", claim),
        (None, Some(claim)) => ("scp", claim),
        (Some(_), Some(_)) => return Err(Refusal::Malformed("scp")),
    };
    let text = match claim {
        Value::String(text) => text.clone(),
        Value::Array(words) if name == "scp" => {
            let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
            let words = words.ok_or(Refusal::Malformed(name))?;
            if !words.iter().all(|word| is_scope_word(word)) {
                return Err(Refusal::Malformed(name));
            }
            words.join(" ")
        }
        _ => return Err(Refusal::Malformed(name)),
    };
    if text.is_empty() || is_scope(&text) {
        Ok(Some(text))
    } else {
        Err(Refusal::Malformed(name))
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
