//! The token that comes with the answer to an evaluation (L1 to L6).

use domain::{AccessRequest, Name, RiskLevel, Rung, Timestamp};
use policy::Question;
use token::Claims;
use token::claims::ContextClaim;
use token::revocation::Lineage;

use super::derive::derive;
use super::{Holder, Minted, SignError, confirmation, draft, sign};
use crate::access::Caller;
use crate::administrator::uuid_v7;
use crate::app::App;
use crate::engine::{Outcome, Snapshot};

/// Why there is no token although one was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoToken {
    pub(crate) error: &'static str,
    pub(crate) why: String,
}

/// Mints the token that was asked for, for the service that the resource belongs to, with the
/// scopes that the policies allow (L1 to L5). None when none was asked for. Where the subject came
/// with a token, as `original` says, this one is derived from it, as in an exchange (X4).
pub(crate) async fn mint(
    app: &App,
    caller: &Caller,
    request: &AccessRequest,
    original: Option<&Claims>,
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
    let mut granted: Vec<&str> = Vec::with_capacity(wanted.len());
    for scope in wanted {
        let is_own = *scope == request.action.name;
        let may = is_own || allows(scope, request, outcome, snapshot);
        // What cannot be written as a scope cannot be granted as one (RFC 6749 §3.3).
        let is_word = token::claims::is_scope_word(scope.as_str());
        if may && is_word && !granted.contains(&scope.as_str()) {
            granted.push(scope.as_str());
        }
    }
    if granted.is_empty() {
        return Some(Err(NoToken {
            error: "invalid_scope",
            why: "the policies allow none of the scopes".to_owned(),
        }));
    }
    let holder = Holder {
        subject: &request.subject.entity,
        client_id: &caller.client_id,
        audience: &wish.audience,
        assurance: outcome.evidence.assurance,
    };
    let life = app.settings.token_ttl_seconds;
    let id = uuid_v7(app, now);
    let mut claims = draft(app, id, &holder, granted.join(" "), life, now);
    claims.sid.clone_from(&outcome.evidence.facts.session.id);
    claims.cnf = wish.confirmation.as_ref().map(confirmation);
    let device = request.context.device.as_ref();
    claims.context = ContextClaim {
        ip: request.context.ip,
        device_id: device.and_then(|device| device.id.clone()),
    };
    claims.risk = Some(RiskLevel::as_str(outcome.decision.risk.level).to_owned());
    if let Some(original) = original
        && let Err(why) = hand_on(app, original, &mut claims, now)
    {
        return Some(Err(why));
    }
    match sign(app, claims).await {
        Ok(minted) => {
            app.metrics.tokens.issued(&wish.audience, "evaluation");
            Some(Ok(minted))
        }
        Err(SignError::SessionOver) => Some(Err(NoToken {
            error: "access_denied",
            why: "the session is over, or about to end".to_owned(),
        })),
        Err(error) => {
            tracing::error!(%error, "a token could not be signed");
            Some(Err(NoToken {
                error: "server_error",
                why: "the token could not be signed or recorded".to_owned(),
            }))
        }
    }
}

/// Makes a token one that was derived: over when the original is, revoked with it, with those who
/// acted. Where the request comes from is what this one says: nobody passed it on.
fn hand_on(
    app: &App,
    original: &Claims,
    claims: &mut Claims,
    now: Timestamp,
) -> Result<(), NoToken> {
    let refused = |error, why: &dyn std::fmt::Display| NoToken {
        error,
        why: format!("the client's token: {why}"),
    };
    let own = claims.clone();
    let derived = derive(original, None, own.cnf, now.seconds());
    let derived = derived.map_err(|why| refused("invalid_request", &why))?;
    derived.hand_down(original.clone(), claims);
    claims.exp = claims.exp.min(own.exp);
    claims.sid = claims.sid.take().or(own.sid);
    claims.context = own.context;
    if claims.exp <= now.seconds() {
        return Err(refused("access_denied", &"it is over"));
    }
    // It may have been revoked since it was looked at.
    match app.revocations.check(&Lineage::of(claims), now) {
        Some(by) => Err(refused(
            "access_denied",
            &format!("revoked by {}", by.as_str()),
        )),
        None => Ok(()),
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
    // A type that is annotated without a name is the engine's own.
    let of_type = policies.audience_of(resource.kind.as_str());
    let of_type = of_type.map(|named| {
        if named.is_empty() {
            app.public_url()
        } else {
            named
        }
    });
    match stored.as_deref().or(of_type) {
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
