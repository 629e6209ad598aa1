//! Token exchange (RFC 8693, X3 to X7): a service that was handed somebody's token gets one of its
//! own for the next service, which is never more than the first.

use domain::value::Attributes;
use domain::{DeviceClaim, EntityRef, Name, RequestContext, Value};
use token::Claims;
use token::claims::{Actor, parse_subject, subject};

use super::asked::{Asked, Issued, names, written};
use super::error::OAuthError;
use super::foreign;
use crate::minting::derive::{derive, narrowed};
use crate::minting::weigh::{NotGranted, Wish, weigh};
use crate::minting::{Holder, assurance_of, draft, end_of, sign};
use crate::presented;

/// `grant_type`.
pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The action that an actor must be allowed (X5).
const DELEGATE: &str = "token.delegate";
/// What ids of the engine's own sessions begin with; other words are a caller's own.
const SESSION_PREFIX: &str = "ses_";

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

pub(super) async fn grant(asked: &Asked<'_>) -> Result<Issued, OAuthError> {
    let Asked { app, now, .. } = *asked;
    let caller = asked.caller;
    let form = asked.form;
    let text = form.required("subject_token")?;
    check_type(form.required("subject_token_type")?, "subject_token_type")?;
    let kind = match form.get("requested_token_type") {
        None | Some(ACCESS_TOKEN) => ACCESS_TOKEN,
        Some(JWT) => JWT,
        Some(_) => {
            return Err(OAuthError::invalid_request(format!(
                "`requested_token_type` is {ACCESS_TOKEN} or {JWT}: nothing else comes out of an \
                 exchange"
            )));
        }
    };
    let audience = asked.target()?;
    let requested = asked.scopes()?.map(|scopes| written(&scopes));
    check_actor(asked).await?;
    let original = if app.issuers.know(text) {
        foreign::translated(asked, text, requested.as_deref()).await?
    } else {
        original(asked, text).await?
    };
    check_proof(asked, &original)?;
    // Before anything is decided: a session that is about to end hands nothing on.
    end_of(app, original.sid.as_ref(), original.exp, now).await?;
    let who = parse_subject(&original.sub).ok_or_else(|| not_valid("its subject is none"))?;
    let scopes = names(narrowed(&original.scope, requested.as_deref()).into_iter())?;
    if scopes.is_empty() {
        return Err(OAuthError::invalid_scope(
            "the subject token has none of these scopes",
        ));
    }
    let actor = Actor {
        sub: subject(caller.subject.kind.as_str(), caller.subject.id.as_str()),
        client_id: Some(caller.client_id.clone()),
        act: None,
    };
    let derived = derive(
        &original,
        Some(actor),
        asked.proven.confirmation(),
        now.seconds(),
    )
    .map_err(|why| OAuthError::invalid_request(format!("the subject token: {why}")))?;

    may_delegate(asked, &who, audience).await?;
    let wish = Wish {
        subject: &who,
        audience,
        properties: Attributes::new(),
        context: context_of(asked, &original),
        // What its session proved later was not proven when this token was issued.
        is_of_session: false,
    };
    let granted = weigh(app, caller, &wish, &scopes, asked.request_id, now).await?;
    // Last, so that a proof is good for what is granted, and the memory of proofs for those whom
    // the policies let through.
    asked.proven.spend(app, now)?;

    let holder = Holder {
        subject: &who,
        client_id: &caller.client_id,
        audience,
        assurance: granted.assurance,
    };
    let scope = written(&granted.scopes);
    let mut claims = draft(app, granted.token_id, &holder, scope, 0, now);
    derived.hand_down(original, &mut claims);
    claims.risk = Some(granted.risk.as_str().to_owned());
    Ok(Issued {
        minted: sign(app, claims).await?,
        audience: audience.to_owned(),
        kind: Some(kind),
        refresh_token: None,
    })
}

/// RFC 8693 §2.2.2: whatever is wrong with a token that is to be exchanged.
fn not_valid(why: impl std::fmt::Display) -> OAuthError {
    tracing::debug!(%why, "a token was not exchanged");
    OAuthError::invalid_request("the subject token is not valid, or not this client's to exchange")
}

fn check_type(kind: &str, parameter: &str) -> Result<(), OAuthError> {
    if [ACCESS_TOKEN, JWT].contains(&kind) {
        return Ok(());
    }
    Err(OAuthError::invalid_request(format!(
        "`{parameter}` is {ACCESS_TOKEN} or {JWT}"
    )))
}

/// The token of ours that is to be exchanged: valid, and this client's to use.
async fn original(asked: &Asked<'_>, text: &str) -> Result<Claims, OAuthError> {
    let Asked { app, caller, .. } = *asked;
    let started = std::time::Instant::now();
    let valid = presented::own(app, text, None, asked.now).await;
    let result = valid.as_ref().err().map_or("valid", |why| why.code());
    let took = started.elapsed();
    app.metrics.tokens.validated("exchange", result, took);
    let claims = valid.map_err(not_valid)?;
    // Got as its client, or presented to it as the service that it is for (X5).
    let is_its_own = claims.client_id == caller.client_id;
    if !is_its_own && caller.audience.as_deref() != Some(claims.aud.as_str()) {
        return Err(not_valid(
            "it is neither for this client nor was issued to it",
        ));
    }
    Ok(claims)
}

/// What is bound to a key is exchanged with the proof of that key.
fn check_proof(asked: &Asked<'_>, claims: &Claims) -> Result<(), OAuthError> {
    match &claims.cnf {
        Some(bound_to) if !asked.proven.holds(bound_to) => Err(OAuthError::invalid_dpop_proof(
            "the subject token is bound to a key; send a proof of that key",
        )),
        _ => Ok(()),
    }
}

/// An actor's token says nothing that the client's authentication does not say already, so it may
/// be left out; one that is sent must say the same.
async fn check_actor(asked: &Asked<'_>) -> Result<(), OAuthError> {
    let form = asked.form;
    let text = match (form.get("actor_token"), form.get("actor_token_type")) {
        (None, None) => return Ok(()),
        (None, Some(_)) => {
            return Err(OAuthError::invalid_request(
                "`actor_token_type` is there without `actor_token`",
            ));
        }
        (Some(_), None) => {
            return Err(OAuthError::invalid_request("`actor_token_type` is missing"));
        }
        (Some(text), Some(kind)) => {
            check_type(kind, "actor_token_type")?;
            text
        }
    };
    let refused = |why: &dyn std::fmt::Display| {
        tracing::debug!(%why, "an actor's token was refused");
        OAuthError::invalid_request("the actor token is not valid, or not this client's own")
    };
    let claims = presented::own(asked.app, text, None, asked.now).await;
    let claims = claims.map_err(|why| refused(&why))?;
    let own = &asked.caller.subject;
    let is_own = claims.sub == subject(own.kind.as_str(), own.id.as_str())
        && claims.client_id == asked.caller.client_id
        && claims.act.is_none();
    if !is_own {
        return Err(refused(&"it is somebody else's"));
    }
    match &claims.cnf {
        Some(bound_to) if !asked.proven.holds(bound_to) => Err(OAuthError::invalid_dpop_proof(
            "the actor token is bound to a key; send a proof of that key",
        )),
        _ => Ok(()),
    }
}

/// Whether the policies let the client act for somebody at this service (X5).
async fn may_delegate(
    asked: &Asked<'_>,
    who: &EntityRef,
    audience: &str,
) -> Result<(), OAuthError> {
    let action = Name::new(DELEGATE)
        .map_err(|error| OAuthError::unavailable(format!("`{DELEGATE}` {error}")))?;
    let text = |name: &Name| Value::Text(name.as_str().to_owned());
    let wish = Wish {
        subject: &asked.caller.subject,
        audience,
        properties: Attributes::from([
            ("subject_type".to_owned(), text(&who.kind)),
            ("subject_id".to_owned(), text(&who.id)),
        ]),
        context: asked.own_context(),
        is_of_session: false,
    };
    let Asked { app, caller, .. } = *asked;
    match weigh(app, caller, &wish, &[action], asked.request_id, asked.now).await {
        Ok(_) => Ok(()),
        Err(NotGranted::Refused | NotGranted::Subject | NotGranted::StepUp(_)) => {
            Err(OAuthError::access_denied(format!(
                "the policies do not let {} act for others at that service",
                caller.subject
            )))
        }
        Err(why) => Err(why.into()),
    }
}

/// The circumstances of the subject, as its token tells them, and who acts.
fn context_of(asked: &Asked<'_>, original: &Claims) -> RequestContext {
    let context = &original.context;
    let sid = original.sid.clone();
    RequestContext {
        ip: context.ip,
        device: context.device_id.clone().map(|id| DeviceClaim {
            id: Some(id),
            ..DeviceClaim::default()
        }),
        session_id: sid.filter(|sid| sid.starts_with(SESSION_PREFIX)),
        assurance: Some(assurance_of(
            &original.acr,
            original.auth_time,
            &asked.app.settings.sessions,
        )),
        actor: Some(asked.caller.subject.clone()),
        ..RequestContext::default()
    }
}
