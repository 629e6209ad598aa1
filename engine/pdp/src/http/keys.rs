//! API keys over HTTP: list, make, rotate, revoke (X13 to X18).

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Problem;
use super::authn::Authenticated;
use super::authzen::{json, read_object};
use super::path::Id;
use super::query::{limit, query};
use super::to_the_end::to_the_end;
use crate::access::{Caller, Permission};
use crate::app::App;
use crate::key_acts::{KeyActError, OVERLAP_MAX_DAYS, Wanted, shown_once, view};

/// Keys on one page at most.
const PAGE_MAX: usize = 1000;
/// Keys on one page, where nobody says how many.
const PAGE: usize = 100;

impl From<KeyActError> for Problem {
    fn from(why: KeyActError) -> Self {
        match why {
            KeyActError::Unknown(_) => Self::not_found("there is no such key"),
            KeyActError::Over(_) | KeyActError::Rotated(..) | KeyActError::CertificateTaken(_) => {
                Self::conflict(why.to_string())
            }
            KeyActError::Beyond(why) => Self::refused(why),
            KeyActError::Keep(store::sqlite::KeepKeyError::TooMany(_)) => {
                Self::unfit(why.to_string())
            }
            KeyActError::Keep(_) => Self::conflict(why.to_string()),
            KeyActError::Store(_) => failed(&why),
            KeyActError::NotRecorded(_) => {
                tracing::error!(error = %why, "keys");
                Self::unavailable(
                    "it could not be put on record: a new key is void, what was revoked is; ask \
                     again",
                )
            }
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "keys could not be read or changed");
    Problem::unavailable("the keys cannot be reached at the moment; ask again")
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

/// `GET /v1/keys?after=&limit=`, in the order of their making.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadKeys)?;
    let asked = query(asked)?;
    let limit = limit(asked.limit, PAGE, PAGE_MAX)?;
    let keys = app.state.store().keys().await;
    let keys = keys.map_err(|error| failed(&error))?;
    let start = match &asked.after {
        None => 0,
        Some(after) => {
            let last = keys.iter().position(|key| key.key_id == *after);
            last.map(|last| last + 1).ok_or_else(|| {
                Problem::malformed("`after` is what an earlier page gave as `next`")
            })?
        }
    };
    let now = app.inputs.clock.now();
    let rest = keys.get(start..).unwrap_or_default();
    let page = rest.get(..limit).unwrap_or(rest);
    let shown: Vec<Value> = page
        .iter()
        .map(|key| view(&app.keys.with_use(key), now))
        .collect();
    let next = page.last().filter(|_| rest.len() > limit);
    json(&json!({ "keys": shown, "next": next.map(|key| &key.key_id) }))
}

/// `GET /v1/keys/{id}`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadKeys)?;
    let record = app.state.store().key(&id).await;
    let record = record.map_err(|error| failed(&error))?;
    let record = record.ok_or_else(|| Problem::not_found("there is no such key"))?;
    json(&view(&app.keys.with_use(&record), app.inputs.clock.now()))
}

#[derive(Deserialize)]
struct Party {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKeyForm {
    name: String,
    role: String,
    #[serde(default)]
    permissions: Option<Vec<String>>,
    #[serde(default)]
    subject: Option<Party>,
    #[serde(default)]
    audience: Option<String>,
    #[serde(default)]
    certificate: Option<String>,
    #[serde(default)]
    days: Option<u32>,
}

/// `POST /v1/keys`: the only answer that holds the secret.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::WriteKeys)?;
    let form = r#"{"name", "role"} and, as wished, "permissions": […], "subject": {"type", "id"}, "audience", "certificate", "days""#;
    let told: NewKeyForm = read_object(&app, request, form).await?;
    let wanted = Wanted {
        name: told.name,
        role: told.role,
        permissions: told.permissions,
        subject: told.subject.map(|subject| (subject.kind, subject.id)),
        audience: told.audience,
        certificate: told.certificate,
        days: told.days,
    };
    let wish = wanted.check(&app.settings.service_type);
    let wish = wish.map_err(Problem::malformed)?;
    let caller = asker.caller.clone();
    let work = async move { app.create_key_for(&caller, wish).await };
    let new = to_the_end("the making of a key", work).await??;
    created(&new.record.key_id, shown_once(&new))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    #[serde(default)]
    overlap_days: Option<u32>,
}

/// `POST /v1/keys/{id}/rotate`: the only answer that holds the new secret.
pub(super) async fn rotate(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::WriteKeys)?;
    let told: Rotation = read_object(&app, request, r#"{} or {"overlap_days": 0 to 7}"#).await?;
    let overlap_days = told.overlap_days.unwrap_or(OVERLAP_MAX_DAYS);
    if overlap_days > OVERLAP_MAX_DAYS {
        return Err(Problem::malformed(format!(
            "`overlap_days` is 0 to {OVERLAP_MAX_DAYS}"
        )));
    }
    let caller: Caller = asker.caller.clone();
    let work = async move { app.rotate_key_for(&caller, &id, overlap_days).await };
    let rotated = to_the_end("the rotation of a key", work).await??;
    let mut members = shown_once(&rotated.new);
    members.extend(rotated.told());
    created(&rotated.new.record.key_id, members)
}

/// `DELETE /v1/keys/{id}`: revokes it; again does nothing.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
) -> Result<Response, Problem> {
    asker.require(Permission::WriteKeys)?;
    let caller = asker.caller.clone();
    let work = async move { app.revoke_key_for(&caller, &id).await };
    to_the_end("the revocation of a key", work).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn created(key_id: &str, members: Map<String, Value>) -> Result<Response, Problem> {
    let mut response = json(&Value::Object(members))?;
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/keys/{key_id}")) {
        response.headers_mut().insert(LOCATION, place);
    }
    Ok(response)
}
