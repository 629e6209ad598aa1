//! The token that an allowed request may ask for.

use domain::{AccessRequest, Level, Name, RiskLevel, Rung, Timestamp};
use policy::Question;
use token::Claims;
use token::claims::{ACCESS_TOKEN_TYP, ContextClaim};

use crate::access::Caller;
use crate::administrator::uuid_v7;
use crate::app::App;
use crate::engine::{Outcome, Snapshot};

/// A token, signed.
#[derive(Debug)]
pub(crate) struct Minted {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) scope: String,
    pub(crate) life_seconds: u64,
}

/// Why there is no token although one was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoToken {
    pub(crate) error: &'static str,
    pub(crate) why: String,
}

/// Mints the token that was asked for, for the service that the resource belongs to, with the
/// scopes that the policies allow (L1 to L5). None when none was asked for.
pub(crate) fn mint(
    app: &App,
    caller: &Caller,
    request: &AccessRequest,
    outcome: &Outcome,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Result<Minted, NoToken>> {
    let wish = request.context.token.as_ref()?;
    if let Err(why) = check_audience(app, &wish.audience, request, snapshot) {
        let error = "invalid_target";
        return Some(Err(NoToken { error, why }));
    }
    let own = [request.action.name.clone()];
    let wanted: &[Name] = if wish.scope.is_empty() {
        &own
    } else {
        &wish.scope
    };
    let granted: Vec<&str> = wanted
        .iter()
        .filter(|scope| **scope == request.action.name || allows(scope, request, outcome, snapshot))
        .map(Name::as_str)
        .collect();
    if granted.is_empty() {
        return Some(Err(NoToken {
            error: "invalid_scope",
            why: "the policies allow none of the scopes".to_owned(),
        }));
    }
    let scope = granted.join(" ");
    let id = uuid_v7(app, now);
    let life_seconds = app
        .settings
        .token_ttl_seconds
        .min(token::claims::LIFE_MAX_SECONDS);
    let assurance = &outcome.evidence.assurance;
    let sessions = &app.settings.sessions;
    let acr = match assurance.level {
        Level::None => "urn:portreeve:acr:none",
        Level::SingleFactor => "urn:portreeve:acr:single-factor",
        Level::Challenge => &sessions.challenge_acr,
        Level::Mfa => &sessions.mfa_acr,
    };
    let subject = &request.subject.entity;
    let device = request.context.device.as_ref();
    let claims = Claims {
        iss: app.public_url().to_owned(),
        sub: token::claims::subject(subject.kind.as_str(), subject.id.as_str()),
        aud: wish.audience.to_string(),
        client_id: caller.client_id.to_string(),
        iat: now.seconds(),
        nbf: now.seconds(),
        exp: token::claims::expiry(now, life_seconds),
        jti: id.clone(),
        scope: scope.clone(),
        acr: acr.to_owned(),
        sid: request.context.session_id.as_deref().map(str::to_owned),
        auth_time: assurance.at.map(Timestamp::seconds),
        cnf: None,
        act: None,
        original_jti: None,
        lineage: Vec::new(),
        family_id: None,
        status: None,
        context: ContextClaim {
            ip: request.context.ip,
            device_id: device.and_then(|device| device.id.as_deref().map(str::to_owned)),
        },
        risk: Some(RiskLevel::as_str(outcome.decision.risk.level).to_owned()),
    };
    match token::mint(app.signing.current().signer(), ACCESS_TOKEN_TYP, &claims) {
        Ok(text) => Some(Ok(Minted {
            id,
            text,
            scope,
            life_seconds,
        })),
        Err(error) => {
            tracing::error!(%error, "a token could not be signed");
            None
        }
    }
}

/// Holds the audience that is wished for against the service that the resource belongs to: what
/// is stored of the resource says so, or else its type. What the caller says of it counts for
/// nothing.
fn check_audience(
    app: &App,
    wished: &str,
    request: &AccessRequest,
    snapshot: &Snapshot,
) -> Result<(), String> {
    let resource = &request.resource.entity;
    let policies = &snapshot.policies;
    let attribute = &app.settings.audience_attribute;
    let stored = snapshot
        .directory
        .stored_text(policies, resource, attribute);
    match stored
        .as_deref()
        .or(policies.audience_of(resource.kind.as_str()))
    {
        Some(service) if service == wished => Ok(()),
        Some(_) => Err(format!(
            "{resource} belongs to another service than `{wished}`"
        )),
        None => Err(format!(
            "nothing says which service {resource} belongs to: store it as `{attribute}`, or \
             annotate the type with `@audience` in the schema"
        )),
    }
}

/// Whether the policies allow another action to the same subject on the same resource.
fn allows(scope: &Name, request: &AccessRequest, outcome: &Outcome, snapshot: &Snapshot) -> bool {
    let mut asked = request.clone();
    asked.action.name = scope.clone();
    asked.action.properties.clear();
    let question = Question {
        request: &asked,
        facts: &outcome.evidence.facts,
        assurance: outcome.evidence.assurance,
        now: outcome.time,
        // Only what is allowed as it is.
        interactive: false,
    };
    snapshot.policies.climb(&snapshot.directory, &question).rung == Rung::Allow
}
