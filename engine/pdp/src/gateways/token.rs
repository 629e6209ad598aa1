//! Tokens of clients: ours, and those of issuers that are configured.

use ::token::Claims;
use ::token::certificate::{ClientCertificate, thumbprint};
use ::token::claims::{Confirmation, parse_subject};
use ::token::dpop::{Proof, ProofExpected, verify_proof_at};
use ::token::foreign::JTI_PREFIX;
use domain::value::Attributes;
use domain::{KeyThumbprint, Timestamp, Value};
use gateway::Original;
use gateway::reply::Scheme;

use super::subject::{NotKnown, Resolved, Session};
use super::{Asked, Complaint};
use crate::app::App;
use crate::issuers::{self, External, NotBelieved};
use crate::minting::assurance_of;
use crate::presented::{self, NotValid};
use crate::sessions::name::is_id;

/// How a token came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) original: &'a Original,
    /// The client's certificate.
    pub(super) shown: Option<&'a ClientCertificate>,
    pub(super) scheme: Scheme,
}

/// Whom a token names.
///
/// # Errors
/// When it does not hold, or that cannot be told.
pub(super) async fn resolve(
    app: &App,
    came: &Came<'_>,
    text: &str,
    now: Timestamp,
) -> Result<Resolved, NotKnown> {
    let started = std::time::Instant::now();
    let (result, resolved) = if app.issuers.know(text) {
        let external = issuers::verify(app, came.asked.caller, text, now).await;
        let result = if external.is_ok() { "valid" } else { "foreign" };
        (result, of_issuer(app, came, text, external, now))
    } else {
        let own = presented::own(app, text, None, now).await;
        let result = own.as_ref().err().map_or("valid", NotValid::code);
        (result, ours(app, came, text, own, now))
    };
    let took = started.elapsed();
    app.metrics.tokens.validated("gateway", result, took);
    resolved
}

fn ours(
    app: &App,
    came: &Came<'_>,
    text: &str,
    own: Result<Claims, NotValid>,
    now: Timestamp,
) -> Result<Resolved, NotKnown> {
    let invalid = |why: &dyn std::fmt::Display| NotKnown::token(came.scheme, why);
    let claims = match own {
        Ok(claims) => claims,
        Err(NotValid::SessionUnknown) => return Err(NotKnown::Unavailable),
        Err(why) => return Err(invalid(&why)),
    };
    let credentials = &came.asked.door.credentials;
    if claims.aud != app.public_url() && !credentials.has_audience(&claims.aud) {
        app.gateway_complaints.note(Complaint::Audience, now);
        return Err(invalid(&"for another audience; see `gateway.audiences`"));
    }
    if app.keys.client(&claims.client_id, now).is_none() {
        return Err(invalid(&"its client has no key any more"));
    }
    let subject = parse_subject(&claims.sub);
    let subject = subject.ok_or_else(|| invalid(&"`sub` is none of ours"))?;
    let actor = match &claims.act {
        None => None,
        Some(act) => {
            let actor = parse_subject(&act.sub);
            Some(actor.ok_or_else(|| invalid(&"`act` is none of ours"))?)
        }
    };
    let (proven, proof) = possession(came, text, claims.cnf.as_ref(), now)?;
    let session = claims.sid.as_ref().and_then(|sid| {
        // Another client's own word is none of this one's, through however many hands it went.
        let is_own = claims.client_id == came.asked.caller.client_id && claims.issued_to.is_empty();
        let is_known = is_id(sid) || is_own;
        is_known.then(|| Session::Token(sid.clone()))
    });
    let assurance = assurance_of(&claims.acr, claims.auth_time, &app.settings.sessions);
    Ok(Resolved {
        claims: said(&claims),
        assurance: Some(assurance),
        actor,
        session,
        proven,
        proof,
        scheme: came.scheme,
        scope: Some(claims.scope.clone()),
        original: Some(Box::new(claims)),
        ..Resolved::named(subject)
    })
}

fn of_issuer(
    app: &App,
    came: &Came<'_>,
    text: &str,
    external: Result<External, NotBelieved>,
    now: Timestamp,
) -> Result<Resolved, NotKnown> {
    let external = match external {
        Ok(external) => external,
        Err(NotBelieved::NoKeys) => return Err(NotKnown::Unavailable),
        Err(why) => return Err(NotKnown::token(came.scheme, &why)),
    };
    let (proven, proof) = possession(came, text, external.cnf.as_ref(), now)?;
    let client_id = &came.asked.caller.client_id;
    let scope = external.scope.clone().unwrap_or_default();
    let original = external.as_ours(app, client_id, scope);
    let session = external.sid.as_ref().map(|sid| {
        // Two issuers may use the same word.
        let name = format!("{} {sid}", external.issuer);
        Session::Word(format!("{JTI_PREFIX}{}", thumbprint(name.as_bytes())))
    });
    Ok(Resolved {
        claims: attributes(external.claims),
        assurance: Some(external.assurance),
        session,
        proven,
        proof,
        original: Some(Box::new(original)),
        scheme: came.scheme,
        // What an issuer's scopes mean here is said by the settings, or not at all: `openid` is
        // no action of anybody's.
        scope: external.scope.filter(|_| external.scopes_are_ours),
        ..Resolved::named(external.subject)
    })
}

/// The key that is proven with a token, which is the one that it is bound to, if it is bound to one
/// (L6), and the proof, which is spent with the decision.
fn possession(
    came: &Came<'_>,
    text: &str,
    bound_to: Option<&Confirmation>,
    now: Timestamp,
) -> Result<(Option<KeyThumbprint>, Option<Proof>), NotKnown> {
    let invalid = |why: &dyn std::fmt::Display| NotKnown::token(came.scheme, why);
    let none = Confirmation::default();
    let bound_to = bound_to.unwrap_or(&none);
    let mut proven = None;
    if let Some(wanted) = &bound_to.x5t_s256 {
        let shown = came.shown.map(|shown| &shown.thumbprint);
        if shown != Some(wanted) {
            return Err(invalid(&"bound to a certificate that did not come with it"));
        }
        proven = Some(KeyThumbprint::Certificate(wanted.clone()));
    }
    match (came.scheme, &bound_to.jkt) {
        (Scheme::Bearer, None) => Ok((proven, None)),
        (Scheme::Bearer, Some(_)) => Err(invalid(&"bound, and sent without its proof")),
        (Scheme::Dpop, None) => Err(invalid(&"not bound to the key of the proof")),
        (Scheme::Dpop, Some(jkt)) => {
            let proof = prove(came, text, now).map_err(|why| invalid(&why))?;
            if proof.jkt != *jkt {
                return Err(invalid(&"the proof is of another key"));
            }
            Ok((Some(KeyThumbprint::Jkt(proof.jkt.clone())), Some(proof)))
        }
    }
}

/// The one proof that came, for the request that the client made of the gateway.
fn prove(came: &Came<'_>, text: &str, now: Timestamp) -> Result<Proof, String> {
    let mut sent = came.asked.headers.get_all("dpop").iter();
    let one = sent.next().filter(|_| sent.next().is_none());
    let header = one
        .and_then(|value| value.to_str().ok())
        .ok_or("there is not exactly one `DPoP` header")?;
    let url = came.original.url();
    let expected = ProofExpected {
        method: came.original.method.as_str(),
        url: &url,
        access_token: Some(text),
    };
    let is_target = |htu: &str| came.original.is_at(htu, came.asked.door.reading);
    verify_proof_at(header, &expected, is_target, now).map_err(|why| why.to_string())
}

/// What one of our tokens says, for routes and identity headers.
fn said(claims: &Claims) -> Attributes {
    let mut said = Attributes::new();
    let mut say = |name: &str, text: &str| {
        said.insert(name.to_owned(), Value::Text(text.to_owned()));
    };
    say("iss", &claims.iss);
    say("sub", &claims.sub);
    say("aud", &claims.aud);
    say("client_id", &claims.client_id);
    say("scope", &claims.scope);
    say("acr", &claims.acr);
    if let Some(sid) = &claims.sid {
        say("sid", sid);
    }
    if let Some(act) = &claims.act {
        say("act", &act.sub);
    }
    said
}

/// JSON as attributes; what is `null` is not there.
fn attributes(object: serde_json::Map<String, serde_json::Value>) -> Attributes {
    let members = object.into_iter();
    members
        .filter_map(|(name, value)| Some((name, attribute(value)?)))
        .collect()
}

fn attribute(value: serde_json::Value) -> Option<Value> {
    use serde_json::Value as Json;
    Some(match value {
        Json::Null => return None,
        Json::Bool(yes) => Value::Bool(yes),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Long(whole),
            None => Value::Number(number.as_f64()?),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List(items.into_iter().filter_map(attribute).collect()),
        Json::Object(members) => Value::Record(attributes(members)),
    })
}
