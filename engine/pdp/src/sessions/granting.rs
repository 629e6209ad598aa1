//! The tokens that a new session may bring along: an access token, and the first of a family of
//! refresh tokens (T6, E28).

use std::collections::BTreeMap;

use domain::{KeyThumbprint, RequestContext, SessionRecord, Tier, Timestamp, TokenWish};

use super::tier;
use crate::access::Caller;
use crate::app::App;
use crate::families::{self, Begun, Birth, Confirmation, NewFamily, OfSession};
use crate::minting::weigh::{NotGranted, SCOPES_MAX, Wish, weigh};
use crate::minting::{Holder, Minted, acr_of, confirmation, draft, sign};
use token::claims::{ContextClaim, is_scope_word};

/// Both tokens of a session.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) access: Minted,
    pub(crate) refresh: Begun,
}

/// Why there is none although one was asked for (RFC 6749 §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoGrant {
    pub(crate) error: &'static str,
    pub(crate) why: String,
    /// What a step-up would have to bring.
    pub(crate) acr_values: Option<String>,
}

impl NoGrant {
    fn new(error: &'static str, why: impl Into<String>) -> Self {
        Self {
            error,
            why: why.into(),
            acr_values: None,
        }
    }
}

/// When a client does well to ask for the next access token, seconds from now: five minutes before
/// the end of this one, or at half of a short life (T13).
#[must_use]
pub(crate) fn refresh_in(life_seconds: u64) -> u64 {
    life_seconds.saturating_sub(300.min(life_seconds / 2))
}

/// Grants what was wished for with a session that was just opened.
pub(crate) async fn grant(
    app: &App,
    caller: &Caller,
    session: &SessionRecord,
    mut context: RequestContext,
    wished: &TokenWish,
    request_id: &str,
) -> Result<Grant, NoGrant> {
    let now = app.inputs.clock.now();
    let scopes = &wished.scope;
    if scopes.is_empty() || scopes.len() > SCOPES_MAX {
        let why = format!("name 1 to {SCOPES_MAX} scopes in `context.token.scope`");
        return Err(NoGrant::new("invalid_scope", why));
    }
    if !scopes.iter().all(|scope| is_scope_word(scope.as_str())) {
        return Err(NoGrant::new("invalid_scope", "a scope is no scope word"));
    }
    context.session_id = Some(session.id.clone());
    context.token = None;
    let wish = Wish {
        subject: &session.subject,
        audience: &wished.audience,
        properties: BTreeMap::new(),
        context: context.clone(),
        is_of_session: true,
    };
    let granted = weigh(app, caller, &wish, scopes, request_id, now)
        .await
        .map_err(refused)?;
    let device_id = context.device.as_ref().and_then(|device| device.id.clone());
    let scope = granted
        .scopes
        .iter()
        .map(domain::Name::as_str)
        .collect::<Vec<_>>()
        .join(" ");
    let assurance = granted.assurance;
    let expires_at = session.terms.as_ref().map(|terms| terms.expires_at);
    let family = NewFamily {
        client_id: caller.client_id.clone(),
        subject: session.subject.clone(),
        session: Some(OfSession {
            id: session.id.clone(),
            ends_at: expires_at.unwrap_or(now),
            ends_at_most: tier::end(Tier::Standard, session.birth.at, &app.settings.sessions),
        }),
        audience: wished.audience.clone(),
        scope: scope.clone(),
        bound_to: bound_to(wished.confirmation.as_ref()),
        birth: Birth {
            ip: context.ip,
            device_id: device_id.clone(),
            acr: Some(acr_of(assurance.level, &app.settings.sessions).to_owned()),
            auth_time: assurance.at.map(Timestamp::seconds),
        },
    };
    let unavailable = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a session has no tokens");
        NoGrant::new(
            "server_error",
            "the tokens could not be made; refresh later",
        )
    };
    let refresh = families::begin(app, family, now)
        .await
        .map_err(|error| unavailable(&error))?;
    let holder = Holder {
        subject: &session.subject,
        client_id: &caller.client_id,
        audience: &wished.audience,
        assurance,
    };
    let life = app.settings.token_ttl_seconds;
    let mut claims = draft(app, granted.token_id, &holder, scope, life, now);
    claims.sid = Some(session.id.clone());
    claims.family_id = Some(refresh.family.clone());
    claims.cnf = wished.confirmation.as_ref().map(confirmation);
    claims.context = ContextClaim {
        ip: context.ip,
        device_id,
    };
    claims.risk = Some(granted.risk.as_str().to_owned());
    let access = sign(app, claims)
        .await
        .map_err(|error| unavailable(&error))?;
    app.metrics.tokens.issued(&wished.audience, "session");
    Ok(Grant { access, refresh })
}

fn bound_to(key: Option<&KeyThumbprint>) -> Confirmation {
    let mut bound = Confirmation::default();
    match key {
        Some(KeyThumbprint::Jkt(jkt)) => bound.jkt = Some(jkt.clone()),
        Some(KeyThumbprint::Certificate(thumbprint)) => bound.x5t_s256 = Some(thumbprint.clone()),
        None => {}
    }
    bound
}

fn refused(why: NotGranted) -> NoGrant {
    match why {
        NotGranted::StepUp(acr_values) => NoGrant {
            acr_values: Some(acr_values),
            ..NoGrant::new(
                "insufficient_user_authentication",
                "the subject has to prove more",
            )
        },
        NotGranted::UnknownAudience => {
            NoGrant::new("invalid_target", "the policies do not know this audience")
        }
        NotGranted::Subject => NoGrant::new("access_denied", "the subject is not known here"),
        NotGranted::Refused => {
            NoGrant::new("invalid_scope", "the policies allow none of the scopes")
        }
        NotGranted::Undecided | NotGranted::NotRecorded(_) => NoGrant::new(
            "temporarily_unavailable",
            "it cannot be decided at the moment; ask again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::refresh_in;

    #[test]
    fn t13_a_client_is_told_when_to_refresh() {
        let told = [(60, 30), (300, 150), (599, 300), (600, 300), (900, 600)];
        for (life, wanted) in told {
            assert_eq!(refresh_in(life), wanted, "{life}");
        }
    }
}
