//! `client_credentials`: a service gets a token for itself (RFC 6749 §4.4, X1, X2, X8).

use domain::Name;
use domain::value::Attributes;
use serde_json::json;

use super::asked::{Asked, Issued, written};
use super::error::OAuthError;
use super::token::record;
use crate::access::Permission;
use crate::administrator::uuid_v7;
use crate::minting::weigh::{Granted, NotGranted, Wish, weigh};
use crate::minting::{Holder, draft, sign};

pub(super) async fn grant(asked: &Asked<'_>) -> Result<Issued, OAuthError> {
    let Asked { app, now, .. } = *asked;
    let caller = asked.caller;
    let audience = asked.target()?;
    let scopes = asked.scopes()?.filter(|scopes| !scopes.is_empty());
    let scopes = scopes.ok_or_else(|| {
        OAuthError::invalid_scope("say what the token is to be good for, as `scope`")
    })?;
    let granted = if audience == app.public_url() {
        at_the_engine(asked, scopes).await?
    } else {
        let wish = Wish {
            subject: &caller.subject,
            audience,
            properties: Attributes::new(),
            context: asked.own_context(),
            is_of_session: false,
        };
        let weighed = weigh(app, caller, &wish, &scopes, asked.request_id, now).await;
        let granted = weighed.map_err(|why| match why {
            NotGranted::Subject => OAuthError::unauthorized_client(format!(
                "the policies know no {}, as which the client acts",
                caller.subject
            )),
            why => why.into(),
        })?;
        asked.proven.spend(app, now)?;
        Decided {
            id: granted.token_id.clone(),
            scopes: granted.scopes.clone(),
            granted: Some(granted),
        }
    };
    let holder = Holder {
        subject: &caller.subject,
        client_id: &caller.client_id,
        audience,
        assurance: granted
            .granted
            .as_ref()
            .map(|granted| granted.assurance)
            .unwrap_or_default(),
    };
    let life = app.settings.service_token_ttl_seconds;
    let scope = written(&granted.scopes);
    let mut claims = draft(app, granted.id, &holder, scope, life, now);
    claims.cnf = asked.proven.confirmation();
    claims.risk = granted
        .granted
        .map(|granted| granted.risk.as_str().to_owned());
    Ok(Issued {
        minted: sign(app, claims).await?,
        audience: audience.to_owned(),
        kind: None,
        refresh_token: None,
    })
}

/// What may be granted, by the organisation's policies or by the engine's own.
struct Decided {
    id: String,
    scopes: Vec<Name>,
    granted: Option<Granted>,
}

/// A token for the engine itself: its scopes are permissions, and the client gets those that its
/// key has. Nothing is scored there, as nothing is when the key itself is sent.
async fn at_the_engine(asked: &Asked<'_>, scopes: Vec<Name>) -> Result<Decided, OAuthError> {
    let Asked { app, caller, .. } = *asked;
    let may = |scope: &Name| {
        Permission::from_action(scope.as_str()).is_some_and(|permission| {
            permission.is_for_tokens() && app.keys.permits(caller, permission)
        })
    };
    let scopes: Vec<Name> = scopes.into_iter().filter(may).collect();
    if scopes.is_empty() {
        let never = Permission::ALL
            .into_iter()
            .filter(|permission| !permission.is_for_tokens())
            .map(Permission::action);
        return Err(OAuthError::invalid_scope(format!(
            "the key has none of the permissions that are asked for as `scope`, of those that a \
             token may have: {} need the key itself",
            never.collect::<Vec<_>>().join(", ")
        )));
    }
    asked.proven.spend(app, asked.now)?;
    let id = uuid_v7(app, asked.now);
    let told = json!({
        "v": wire::record::RECORD_VERSION,
        "kind": "token",
        "outcome": "granted",
        "at": wire::time::format(asked.now),
        "caller": caller.key_id,
        "client_id": caller.client_id,
        "request_id": asked.request_id,
        "grant": "client_credentials",
        "audience": app.public_url(),
        "scope": written(&scopes),
        "token_id": id,
    });
    record(app, &told).await?;
    Ok(Decided {
        id,
        scopes,
        granted: None,
    })
}
