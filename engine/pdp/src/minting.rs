//! The token that an allowed request may ask for.

use domain::{AccessRequest, Level, Name, RiskLevel, Rung, Timestamp};
use policy::Question;
use token::AccessClaims;

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

/// Mints the token that was asked for: the scopes that the policies allow, none when there is
/// none (L1 to L5).
pub(crate) fn mint(
    app: &App,
    caller: &Caller,
    request: &AccessRequest,
    outcome: &Outcome,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Minted> {
    let wish = request.context.token.as_ref()?;
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
        return None;
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
    let claims = AccessClaims {
        iss: app.public_url(),
        sub: request.subject.entity.id.as_str(),
        aud: &wish.audience,
        client_id: &caller.key_id,
        iat: now.seconds(),
        nbf: now.seconds(),
        exp: token::claims::expiry(now, life_seconds),
        jti: &id,
        scope: &scope,
        sid: request.context.session_id.as_deref(),
        acr,
        auth_time: assurance.at.map(Timestamp::seconds),
        risk: RiskLevel::as_str(outcome.decision.risk.level),
    };
    match token::mint(&app.signer, &claims) {
        Ok(text) => Some(Minted {
            id,
            text,
            scope,
            life_seconds,
        }),
        Err(error) => {
            tracing::error!(%error, "a token could not be signed");
            None
        }
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
