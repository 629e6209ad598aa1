//! Device records: to whom a device is enrolled, with which key, and in which state it is.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::{DeviceRecord, EntityRef, KeyThumbprint, Name, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::sqlite::{DeviceFilter, StoreError};

use super::Problem;
use super::authn::Authenticated;
use super::authzen::{json as answer, read_object};
use super::path::Id;
use super::query::{limit, query};
use super::sessions::subject_of;
use super::to_the_end::to_the_end;
use crate::access::Permission;
use crate::administrator::CLOCK_SKEW_SECONDS;
use crate::app::App;
use crate::devices::{self, DeviceError};
use crate::sessions::ending::By;

/// Devices on one page at most, and where nobody says how many.
const PAGE_MAX: usize = 1000;
const PAGE: usize = 100;
/// Where people are told what a device looks like.
const FORM: &str = r#"{"owner": {"type": …, "id": …}, "key": {"jkt": …} or {"x5t#S256": …}, "trust": 0 to 100, "managed": …, "compliant": …, "checked_at": …, "source": …}"#;

#[derive(Deserialize, Serialize)]
struct Party {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

/// The key that a device was enrolled with: one of the two members of a `cnf` claim.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Key {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jkt: Option<String>,
    #[serde(default, rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    x5t_s256: Option<String>,
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
    enrolled_at: Option<String>,
    #[serde(
        default,
        deserialize_with = "wire::object",
        skip_serializing_if = "Option::is_none"
    )]
    key: Option<Key>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checked_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default)]
    revoked: bool,
}

fn failed(error: &StoreError) -> Problem {
    tracing::error!(%error, "a device record could not be read or written");
    Problem::unavailable("the device records cannot be reached; ask again in a moment")
}

impl From<DeviceError> for Problem {
    fn from(why: DeviceError) -> Self {
        match why {
            DeviceError::Full(_) => Self::unfit(why.to_string()),
            DeviceError::Older => Self::conflict(why.to_string()),
            DeviceError::Store(error) => failed(&error),
            DeviceError::Record(_) => {
                tracing::error!(error = %why, "a device was changed and is not on record");
                Self::unavailable(why.to_string())
            }
        }
    }
}

fn checked_id(id: String) -> Result<String, Problem> {
    match Name::new(id) {
        Ok(id) => Ok(id.as_str().to_owned()),
        Err(error) => Err(Problem::malformed(format!("the device id {error}"))),
    }
}

impl Device {
    fn of(device: DeviceRecord) -> Self {
        let time = |at: Option<Timestamp>| at.map(wire::time::format);
        Self {
            owner: device.owner.map(|owner| Party {
                kind: owner.kind.as_str().to_owned(),
                id: owner.id.as_str().to_owned(),
            }),
            enrolled_at: time(device.enrolled_at),
            key: device.key.map(|key| match key {
                KeyThumbprint::Jkt(jkt) => Key {
                    jkt: Some(jkt),
                    x5t_s256: None,
                },
                KeyThumbprint::Certificate(thumbprint) => Key {
                    jkt: None,
                    x5t_s256: Some(thumbprint),
                },
            }),
            trust: device.trust,
            managed: device.managed,
            compliant: device.compliant,
            os: device.os,
            os_version: device.os_version,
            checked_at: time(device.checked_at),
            source: device.posture_source,
            revoked: device.revoked,
        }
    }

    fn into_record(self, id: String, now: Timestamp) -> Result<DeviceRecord, Problem> {
        if self.trust.is_some_and(|trust| trust > 100) {
            return Err(Problem::malformed("`trust` is 0 to 100"));
        }
        let words = [
            ("os", &self.os),
            ("os_version", &self.os_version),
            ("source", &self.source),
        ];
        for (name, word) in words {
            if let Some(word) = word {
                Name::new(word.as_str())
                    .map_err(|error| Problem::malformed(format!("`{name}` {error}")))?;
            }
        }
        let owner = match self.owner {
            None => None,
            Some(owner) => Some(
                EntityRef::new(owner.kind, owner.id)
                    .map_err(|error| Problem::malformed(format!("`owner` {error}")))?,
            ),
        };
        if owner.is_none() && (self.key.is_some() || self.enrolled_at.is_some()) {
            return Err(Problem::malformed(
                "a device is enrolled to somebody: send `owner` with `key` and `enrolled_at`",
            ));
        }
        let checked_at = moment("checked_at", self.checked_at.as_deref(), now)?;
        let has_posture = self.managed.is_some() || self.compliant.is_some();
        Ok(DeviceRecord {
            id,
            owner,
            trust: self.trust,
            managed: self.managed,
            compliant: self.compliant,
            os: self.os,
            os_version: self.os_version,
            revoked: self.revoked,
            enrolled_at: moment("enrolled_at", self.enrolled_at.as_deref(), now)?,
            key: self.key.map(Key::into_thumbprint).transpose()?,
            checked_at: checked_at.or_else(|| has_posture.then_some(now)),
            posture_source: self.source,
            updated_at: now,
        })
    }
}

impl Key {
    fn into_thumbprint(self) -> Result<KeyThumbprint, Problem> {
        let key = match (self.jkt, self.x5t_s256) {
            (Some(jkt), None) => Some(KeyThumbprint::Jkt(jkt)),
            (None, Some(thumbprint)) => Some(KeyThumbprint::Certificate(thumbprint)),
            _ => None,
        };
        key.filter(|key| wire::request::is_sha256(key.member().1))
            .ok_or_else(|| {
                Problem::malformed(
                    "`key` is {\"jkt\": …} or {\"x5t#S256\": …}, a SHA-256 in base64url without \
                     padding",
                )
            })
    }
}

/// A moment that lies in the past, or as little ahead as clocks differ.
fn moment(name: &str, text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let at = wire::time::parse(text)
        .ok_or_else(|| Problem::malformed(format!("`{name}` is not a time as in RFC 3339")))?;
    if at > now.plus_seconds(CLOCK_SKEW_SECONDS) {
        return Err(Problem::malformed(format!("`{name}` lies in the future")));
    }
    Ok(Some(at.min(now)))
}

/// `GET /v1/devices/{id}`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadDevices)?;
    let found = app.state.store().device(&checked_id(id)?).await;
    let found = found.map_err(|error| failed(&error))?;
    let device = found.ok_or_else(|| Problem::not_found("no such device is recorded"))?;
    answer(&Device::of(device))
}

/// Which devices, which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Listed {
    id: String,
    #[serde(flatten)]
    device: Device,
}

/// `GET /v1/devices?owner=&after=&limit=`, in the order of their ids.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadDevices)?;
    let asked = query(asked)?;
    let limit = limit(asked.limit, PAGE, PAGE_MAX)?;
    let owner = asked.owner.as_deref().map(subject_of).transpose()?;
    let filter = DeviceFilter {
        owner: owner.as_ref(),
        after: asked.after.as_deref(),
    };
    // One more than is shown says whether there is another page.
    let page = app.state.store().devices_page(filter, limit + 1).await;
    let mut page = page.map_err(|error| failed(&error))?;
    let is_last = page.len() <= limit;
    page.truncate(limit);
    let next = page.last().filter(|_| !is_last);
    let next = next.map(|device| device.id.clone());
    let devices: Vec<Listed> = page
        .into_iter()
        .map(|device| Listed {
            id: device.id.clone(),
            device: Device::of(device),
        })
        .collect();
    answer(&json!({ "devices": devices, "next": next }))
}

/// `PUT /v1/devices/{id}`: the whole record. Without `checked_at`, its posture is of this moment.
pub(super) async fn write(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::WriteDevices)?;
    let id = checked_id(id)?;
    let device: Device = read_object(&app, request, FORM).await?;
    let record = device.into_record(id, app.inputs.clock.now())?;
    let by = asker.caller.by();
    let work = async move { devices::put(&app, record, &by).await };
    to_the_end("a device record", work).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /v1/devices/{id}`: what is open on it ends, where it was enrolled.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(id): Id,
) -> Result<Response, Problem> {
    asker.require(Permission::WriteDevices)?;
    let id = checked_id(id)?;
    let by = asker.caller.by();
    let work = async move { devices::remove(&app, &id, By::client(&asker.caller, &by)).await };
    if to_the_end("a device record", work).await?? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::not_found("no such device is recorded"))
    }
}
