//! A token of ours in `Authorization`, as the credential of who calls the engine itself.
//!
//! Its audience is the engine. One that a client got for the service that it is, acts with the
//! role of the client's key, narrowed to the scopes. One of any other subject reaches what is that
//! subject's own and nothing else. A token that is bound to a key counts with its proof alone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use domain::{EntityRef, Timestamp};
use token::Claims;
use token::dpop::{Proof, ProofExpected, verify_proof};

use super::Problem;
use super::client_certificate::Shown;
use crate::access::{Caller, Permission, PermissionSet};
use crate::app::App;
use crate::presented;
use crate::serve::{Peer, Place};

/// How the token was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Whoever holds it may use it (RFC 6750).
    Bearer,
    /// With a proof of the key that it is bound to (RFC 9449 §7.1).
    DPoP,
}

impl Scheme {
    pub(super) fn read(word: &str) -> Option<Self> {
        [(Self::Bearer, "bearer"), (Self::DPoP, "dpop")]
            .into_iter()
            .find_map(|(scheme, name)| word.eq_ignore_ascii_case(name).then_some(scheme))
    }

    fn challenge(self, error: &str) -> String {
        match self {
            Self::Bearer => format!("Bearer realm=\"portreeve\", error=\"{error}\""),
            Self::DPoP => format!("DPoP realm=\"portreeve\", error=\"{error}\""),
        }
    }
}

/// What came with a token, and what a proof must be for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came<'r> {
    pub(super) method: &'r Method,
    pub(super) path: &'r str,
    pub(super) headers: &'r HeaderMap,
    /// The client's certificate, where one was shown.
    pub(super) shown: Option<&'r Shown>,
    /// Where it comes from.
    pub(super) peer: Option<IpAddr>,
    /// The place of its connection.
    pub(super) place: Option<&'r Arc<Place>>,
}

impl<'r> Came<'r> {
    pub(super) fn of(parts: &'r Parts) -> Self {
        Self {
            method: &parts.method,
            path: parts.uri.path(),
            headers: &parts.headers,
            shown: parts.extensions.get::<Shown>(),
            peer: parts.extensions.get::<Peer>().map(|Peer(at)| at.ip()),
            place: parts.extensions.get::<Arc<Place>>(),
        }
    }
}

/// The token does not let in: the challenge to answer with (RFC 6750 §3, RFC 9449 §7.1). The same
/// whatever is wrong with it: that it was made up, is over, or was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotLetIn(pub(super) String);

impl From<NotLetIn> for Problem {
    fn from(why: NotLetIn) -> Self {
        Self::invalid_token(why.0)
    }
}

/// Whom a token lets in.
#[derive(Clone, Debug)]
pub(crate) enum Presented {
    /// The client itself.
    Client(Caller),
    /// A subject, at what is its own.
    Holder(Box<Holder>),
}

/// A subject with a token of ours.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    /// Who.
    pub(crate) subject: EntityRef,
    /// What the token says.
    pub(crate) claims: Claims,
}

impl Holder {
    /// Goes on only if the token is good for this.
    ///
    /// # Errors
    /// 403 when it is not.
    pub(crate) fn require(&self, permission: Permission) -> Result<(), Problem> {
        let scopes = PermissionSet::of_scope(&self.claims.scope);
        if scopes.contains(permission) {
            Ok(())
        } else {
            Err(Problem::refused(format!(
                "the token's scope lacks `{}`",
                permission.action()
            )))
        }
    }
}

/// Whether this could be a token: three parts. Keys have two.
pub(super) fn is_like_a_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Recognises who presents a token.
///
/// # Errors
/// 401, the same whatever is wrong with the token.
pub(super) async fn recognise(
    app: &App,
    came: Came<'_>,
    scheme: Scheme,
    text: &str,
    now: Timestamp,
) -> Result<Presented, NotLetIn> {
    let refused = |error: &str, why: &dyn std::fmt::Display| {
        tracing::debug!(%why, "a token was refused");
        NotLetIn(scheme.challenge(error))
    };
    let invalid = |why: &dyn std::fmt::Display| refused("invalid_token", why);
    let started = Instant::now();
    let valid = presented::own(app, text, Some(app.public_url()), now).await;
    let result = valid.as_ref().err().map_or("valid", |why| why.code());
    let took = started.elapsed();
    app.metrics.tokens.validated("caller", result, took);
    let claims = valid.map_err(|why| invalid(&why))?;
    let cnf = claims.cnf.clone().unwrap_or_default();
    let shown = came.shown.map(|Shown(certificate)| &certificate.thumbprint);
    if cnf.x5t_s256.is_some() && cnf.x5t_s256.as_ref() != shown {
        return Err(invalid(&"bound to a certificate that did not come with it"));
    }
    let proof = match (scheme, &cnf.jkt) {
        (Scheme::Bearer, None) => None,
        (Scheme::Bearer, Some(_)) => return Err(invalid(&"bound, and sent without its proof")),
        (Scheme::DPoP, None) => return Err(invalid(&"not bound to the key of the proof")),
        (Scheme::DPoP, Some(jkt)) => {
            let proof = prove(app, came, text, jkt, now);
            Some(proof.map_err(|why| refused("invalid_dpop_proof", &why))?)
        }
    };
    let subject = token::claims::parse_subject(&claims.sub);
    let subject = subject.ok_or_else(|| invalid(&"`sub` is none of ours"))?;
    let client = app.keys.client(&claims.client_id, now);
    let client = client.ok_or_else(|| invalid(&"its client has no key any more"))?;
    if let Some(proof) = proof {
        let spent = app.proofs.spend(&proof, now);
        spent.map_err(|why| refused("invalid_dpop_proof", &why))?;
    }
    // Of its own: nobody acts through it, and it is the service that the client is now.
    if subject == client.subject && claims.act.is_none() {
        let scopes = PermissionSet::of_scope(&claims.scope);
        return Ok(Presented::Client(
            client.narrowed(scopes).with_token(claims.jti),
        ));
    }
    Ok(Presented::Holder(Box::new(Holder { subject, claims })))
}

/// The one proof that came with the request, if it holds for it and for this token.
fn prove(
    app: &App,
    came: Came<'_>,
    token: &str,
    jkt: &str,
    now: Timestamp,
) -> Result<Proof, String> {
    let header = only(came.headers, "dpop").ok_or("there is not exactly one `DPoP` header")?;
    let url = format!("{}{}", app.public_url(), came.path);
    let expected = ProofExpected {
        method: came.method.as_str(),
        url: &url,
        access_token: Some(token),
    };
    let proof = verify_proof(header, &expected, now).map_err(|why| why.to_string())?;
    if proof.jkt == jkt {
        Ok(proof)
    } else {
        Err("the proof is of another key".to_owned())
    }
}

fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut sent = headers.get_all(name).iter();
    let one = sent.next().filter(|_| sent.next().is_none());
    one.and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_are_told_apart() {
        assert!(is_like_a_token("a.b.c"));
        for other in ["sk_12345678.secret", "", "a", "a.b.c.d", "a.b.c.d.e"] {
            assert!(!is_like_a_token(other), "{other}");
        }
        assert_eq!(Scheme::read("BEARER"), Some(Scheme::Bearer));
        assert_eq!(Scheme::read("DPoP"), Some(Scheme::DPoP));
        assert_eq!(Scheme::read("Basic"), None);
    }
}
