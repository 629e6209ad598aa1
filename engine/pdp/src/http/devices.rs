//! Device records: what the organisation knows of a device.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::{DeviceRecord, EntityRef, Name};
use serde::{Deserialize, Serialize};
use store::sqlite::StoreError;

use super::Problem;
use super::authn::Authenticated;
use super::authzen::{json, read_object};
use super::path::Id;
use super::to_the_end::to_the_end;
use crate::access::Permission;
use crate::app::App;

#[derive(Deserialize, Serialize)]
struct Party {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

/// A device as text holds it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Device {
    #[serde(
        default,
        deserialize_with = "wire::object",
        skip_serializing_if = "Option::is_none"
    )]
    owner: Option<Party>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trust: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    managed: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compliant: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    os: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    os_version: Option<String>,
    #[serde(default)]
    revoked: bool,
}

fn failed(error: StoreError) -> Problem {
    tracing::error!(%error, "a device record could not be read or written");
    Problem::unavailable("the device records cannot be reached; ask again in a moment")
}

fn checked_id(id: String) -> Result<String, Problem> {
    match Name::new(id) {
        Ok(id) => Ok(id.as_str().to_owned()),
        Err(error) => Err(Problem::malformed(format!("the device id {error}"))),
    }
}

/// `GET /v1/devices/{id}`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadDevices)?;
    let found = app
        .state
        .store()
        .device(&checked_id(id)?)
        .await
        .map_err(failed)?;
    let device = found.ok_or_else(|| Problem::not_found("no such device is recorded"))?;
    json(&Device {
        owner: device.owner.map(|owner| Party {
            kind: owner.kind.as_str().to_owned(),
            id: owner.id.as_str().to_owned(),
        }),
        trust: device.trust,
        managed: device.managed,
        compliant: device.compliant,
        os: device.os,
        os_version: device.os_version,
        revoked: device.revoked,
    })
}

/// `PUT /v1/devices/{id}`.
pub(super) async fn write(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::WriteDevices)?;
    let id = checked_id(id)?;
    let form =
        r#"{"owner": {"type": …, "id": …}, "trust": 0 to 100, "managed": …, "compliant": …}"#;
    let device: Device = read_object(&app, request, form).await?;
    if device.trust.is_some_and(|trust| trust > 100) {
        return Err(Problem::malformed("`trust` is 0 to 100"));
    }
    let owner = match device.owner {
        None => None,
        Some(owner) => Some(
            EntityRef::new(owner.kind, owner.id)
                .map_err(|error| Problem::malformed(format!("`owner` {error}")))?,
        ),
    };
    let record = DeviceRecord {
        id,
        owner,
        trust: device.trust,
        managed: device.managed,
        compliant: device.compliant,
        os: device.os,
        os_version: device.os_version,
        revoked: device.revoked,
        updated_at: app.inputs.clock.now(),
    };
    let work = async move { app.state.put_device(&record).await };
    to_the_end("a device record", work).await?.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /v1/devices/{id}`.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
) -> Result<Response, Problem> {
    asker.require(Permission::WriteDevices)?;
    let id = checked_id(id)?;
    let work = async move { app.state.delete_device(&id).await };
    if to_the_end("a device record", work).await?.map_err(failed)? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::not_found("no such device is recorded"))
    }
}
