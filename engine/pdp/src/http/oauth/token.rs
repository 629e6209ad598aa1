//! `POST /oauth2/token` (RFC 6749 §3.2).

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::asked::{Asked, Issued};
use super::error::{OAuthError, answer};
use super::form::Form;
use super::proof::Proven;
use super::{client, client_credentials, exchange, refresh};
use crate::access::Permission;
use crate::app::App;
use crate::http::authn::Authenticated;
use crate::http::bearer::Came;
use crate::http::guard::RequestId;
use crate::http::to_the_end::to_the_end;

/// Its path, as metadata and proofs name it.
pub(super) const PATH: &str = "/oauth2/token";

/// The grants that are served, as metadata lists them.
pub(super) const GRANTS: [&str; 3] = ["client_credentials", "refresh_token", exchange::GRANT];

pub(crate) async fn token(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Response {
    match serve(app, id.to_text(), request).await {
        Ok(issued) => issued.into_response(),
        Err(error) => error.into_response(),
    }
}

async fn serve(app: Arc<App>, request_id: String, request: Request) -> Result<Issued, OAuthError> {
    let (parts, body) = request.into_parts();
    let form = Form::read(&app, Request::from_parts(parts.clone(), body)).await?;
    let asker = client::authenticate(&app, Came::of(&parts), &form).await?;
    // To its end, whether or not the client waits: whoever hangs up in time must not keep a reuse
    // that is durable from taking effect.
    let work = async move {
        let came = Came::of(&parts);
        settle(&app, &asker, &form, came, &request_id).await
    };
    to_the_end("a grant", work).await?
}

/// The grant or its refusal, on record.
async fn settle(
    app: &Arc<App>,
    asker: &Authenticated,
    form: &Form,
    came: Came<'_>,
    request_id: &str,
) -> Result<Issued, OAuthError> {
    let granted = grant(app, asker, form, came, request_id).await;
    let refused = match granted {
        Ok(issued) => {
            let how = how(form);
            app.metrics.tokens.issued(&issued.audience, how);
            return Ok(issued);
        }
        Err(refused) => refused,
    };
    if how(form) == "token_exchange" {
        let target = form.get("audience").or(form.get("resource"));
        app.metrics.tokens.propagation_failed(
            asker.caller.subject.id.as_str(),
            target.unwrap_or_default(),
            refused.code(),
        );
    }
    note_refusal(app, asker, form, request_id, &refused).await?;
    Err(refused)
}

/// The grant that is asked for, as one of a few words.
fn how(form: &Form) -> &'static str {
    match form.get("grant_type") {
        Some("client_credentials") => "client_credentials",
        Some("refresh_token") => "refresh_token",
        Some(exchange::GRANT) => "token_exchange",
        _ => "other",
    }
}

async fn grant(
    app: &Arc<App>,
    asker: &Authenticated,
    form: &Form,
    came: Came<'_>,
    request_id: &str,
) -> Result<Issued, OAuthError> {
    client::require(asker, Permission::RequestTokens)?;
    let now = app.inputs.clock.now();
    let asked = Asked {
        app,
        caller: &asker.caller,
        form,
        proven: Proven::read(app, came.headers, PATH, now)?.with_certificate(came.shown),
        // Connections to a listener for both families have IPv4 addresses mapped into IPv6.
        peer: came.peer.map(|peer| peer.to_canonical()),
        request_id,
        now,
    };
    match form.required("grant_type")? {
        "client_credentials" => client_credentials::grant(&asked).await,
        "refresh_token" => refresh::grant(&asked).await,
        exchange::GRANT => {
            client::require(asker, Permission::ExchangeTokens)?;
            exchange::grant(&asked).await
        }
        _ => Err(OAuthError::unsupported_grant_type(format!(
            "`grant_type` is one of {}",
            GRANTS.join(", ")
        ))),
    }
}

impl Issued {
    fn into_response(self) -> Response {
        let minted = &self.minted;
        let mut body = json!({
            "access_token": minted.text,
            "token_type": minted.token_type,
            "expires_in": minted.life_seconds,
            "scope": minted.scope,
        });
        if let Some(kind) = self.kind {
            put(&mut body, "issued_token_type", kind);
        }
        if let Some(refresh_token) = &self.refresh_token {
            put(&mut body, "refresh_token", refresh_token.as_str());
        }
        answer(StatusCode::OK, &body)
    }
}

fn put(body: &mut Value, name: &str, value: &str) {
    if let Some(members) = body.as_object_mut() {
        members.insert(name.to_owned(), value.into());
    }
}

/// Puts a refusal on record (B7): the policies' answers are there already, where they were asked;
/// this says what was asked for and what the client heard.
async fn note_refusal(
    app: &App,
    asker: &Authenticated,
    form: &Form,
    request_id: &str,
    refused: &OAuthError,
) -> Result<(), OAuthError> {
    let mut told = json!({
        "v": wire::record::RECORD_VERSION,
        "kind": "token",
        "outcome": "refused",
        "at": wire::time::format(app.inputs.clock.now()),
        "caller": asker.caller.key_id,
        "client_id": asker.caller.client_id,
        "request_id": request_id,
        "grant": how(form),
        "error": refused.code(),
        "why": refused.description(),
    });
    for name in ["audience", "resource", "scope"] {
        if let Some(value) = form.get(name).filter(|value| value.len() <= 512) {
            put(&mut told, name, value);
        }
    }
    record(app, &told).await
}

/// Puts it on record, or says that it cannot be.
pub(super) async fn record(app: &App, told: &Value) -> Result<(), OAuthError> {
    let written = app.journal.append(told.to_string().into_bytes()).await;
    written.map_err(|cause| {
        tracing::error!(%cause, "an answer of the token endpoint could not be recorded");
        OAuthError::unavailable("it could not be recorded; ask again in a moment")
    })
}
