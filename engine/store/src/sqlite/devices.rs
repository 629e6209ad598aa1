//! Device records: who has which device, with which key, in which state.

use domain::{DeviceRecord, EntityRef, KeyThumbprint, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::opened::{EndedSession, Ending, end_one};
use super::security_events::{self, NewSecurityEvent};
use super::{Store, StoreError, stamp};

/// What is to become of a device's record, and what others have to know of it.
#[derive(Clone, Debug)]
pub struct DeviceChange {
    /// The whole record, as it is to be.
    pub record: DeviceRecord,
    /// Kept in the same transaction.
    pub events: Vec<NewSecurityEvent>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangedDevice {
    /// It is kept.
    Kept,
    /// There was nothing to change.
    Unchanged,
    /// There are as many devices as there may be, and this one would be new.
    Full,
}

/// Which devices are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceFilter<'a> {
    /// Enrolled to this subject.
    pub owner: Option<&'a EntityRef>,
    /// After this one, in the order of their ids.
    pub after: Option<&'a str>,
}

impl Store {
    /// Changes a device's record by what is known of it, or makes it, within one transaction:
    /// nobody else's change comes between. `change` gets the record as it is; none: nothing is to
    /// change. A new one is kept only below `most`. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn change_device(
        &self,
        id: &str,
        most: u32,
        change: impl FnOnce(Option<&DeviceRecord>) -> Option<DeviceChange>,
    ) -> Result<ChangedDevice, StoreError> {
        let mut transaction = self.begin().await?;
        let changed = change_in(&mut transaction, id, most, change).await?;
        transaction.commit().await?;
        Ok(changed)
    }

    /// What is known of a device.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn device(&self, id: &str) -> Result<Option<DeviceRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM devices WHERE device_id = ?")
            .bind(id)
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(read_device).transpose()
    }

    /// A page of devices, in the order of their ids.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn devices_page(
        &self,
        filter: DeviceFilter<'_>,
        most: usize,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        let mut query = sqlx::QueryBuilder::new("SELECT * FROM devices WHERE device_id > ");
        query.push_bind(filter.after.unwrap_or_default());
        if let Some(owner) = filter.owner {
            query
                .push(" AND owner_type = ")
                .push_bind(owner.kind.as_str())
                .push(" AND owner_id = ")
                .push_bind(owner.id.as_str());
        }
        query
            .push(" ORDER BY device_id LIMIT ")
            .push_bind(i64::try_from(most).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(&self.read).await?;
        rows.iter().map(read_device).collect()
    }

    /// Forgets a device. Where it was enrolled, the sessions that were opened with the engine and
    /// are on it, or began on it, end in the same transaction (M9). What it was, and what ended;
    /// none when there is no such device. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn delete_device(
        &self,
        id: &str,
        ending: &Ending<'_>,
    ) -> Result<Option<(DeviceRecord, Vec<EndedSession>)>, StoreError> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query("DELETE FROM devices WHERE device_id = ? RETURNING *")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(record) = row.as_ref().map(read_device).transpose()? else {
            return Ok(None);
        };
        let mut ended = Vec::new();
        if record.enrolled_at.is_some() {
            let sessions: Vec<String> = sqlx::query_scalar(
                "SELECT session_id FROM sessions WHERE seen_device = ?1 \
                 AND client_id IS NOT NULL AND ended_at IS NULL \
                 UNION SELECT session_id FROM sessions WHERE birth_device = ?1 \
                 AND client_id IS NOT NULL AND ended_at IS NULL",
            )
            .bind(id)
            .fetch_all(&mut *transaction)
            .await?;
            for session in sessions {
                ended.extend(end_one(&mut transaction, &session, ending).await?);
            }
        }
        transaction.commit().await?;
        Ok(Some((record, ended)))
    }
}

/// Changes a record within a transaction; see [`Store::change_device`].
pub(super) async fn change_in(
    connection: &mut SqliteConnection,
    id: &str,
    most: u32,
    change: impl FnOnce(Option<&DeviceRecord>) -> Option<DeviceChange>,
) -> Result<ChangedDevice, StoreError> {
    let row = sqlx::query("SELECT * FROM devices WHERE device_id = ?")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let before = row.as_ref().map(read_device).transpose()?;
    let Some(DeviceChange { record, events }) = change(before.as_ref()) else {
        return Ok(ChangedDevice::Unchanged);
    };
    if before.is_none() {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM devices")
            .fetch_one(&mut *connection)
            .await?;
        if count >= i64::from(most) {
            return Ok(ChangedDevice::Full);
        }
    }
    put(connection, &record).await?;
    for event in &events {
        security_events::insert(connection, event).await?;
    }
    Ok(ChangedDevice::Kept)
}

async fn put(connection: &mut SqliteConnection, device: &DeviceRecord) -> Result<(), StoreError> {
    let owner = device.owner.as_ref();
    sqlx::query(
        "INSERT OR REPLACE INTO devices (device_id, owner_type, owner_id, trust, managed, \
         compliant, os, os_version, revoked, enrolled_at, key, checked_at, posture_source, \
         updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&device.id)
    .bind(owner.map(|owner| owner.kind.as_str()))
    .bind(owner.map(|owner| owner.id.as_str()))
    .bind(device.trust.map(i64::from))
    .bind(device.managed)
    .bind(device.compliant)
    .bind(&device.os)
    .bind(&device.os_version)
    .bind(device.revoked)
    .bind(device.enrolled_at.map(Timestamp::millis))
    .bind(device.key.as_ref().map(written))
    .bind(device.checked_at.map(Timestamp::millis))
    .bind(&device.posture_source)
    .bind(device.updated_at.millis())
    .execute(connection)
    .await?;
    Ok(())
}

/// A key as it is kept: the member that names it, and its thumbprint.
pub(super) fn written(key: &KeyThumbprint) -> String {
    let (member, thumbprint) = key.member();
    format!("{member}:{thumbprint}")
}

/// A key that is kept so.
pub(super) fn read_key(row: &SqliteRow, column: &str) -> Result<Option<KeyThumbprint>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    let read = |text: String| {
        let (member, thumbprint) = text.split_once(':')?;
        KeyThumbprint::from_member(member, thumbprint.to_owned())
    };
    text.map(|text| read(text).ok_or(StoreError::Nonsense { what: "key" }))
        .transpose()
}

pub(super) fn read_device(row: &SqliteRow) -> Result<DeviceRecord, StoreError> {
    let nonsense = || StoreError::Nonsense { what: "device" };
    let kind: Option<String> = row.try_get("owner_type")?;
    let id: Option<String> = row.try_get("owner_id")?;
    let owner = match (kind, id) {
        (Some(kind), Some(id)) => Some(EntityRef::new(kind, id).map_err(|_| nonsense())?),
        _ => None,
    };
    let trust: Option<i64> = row.try_get("trust")?;
    let moment = |column| -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(stamp))
    };
    Ok(DeviceRecord {
        id: row.try_get("device_id")?,
        owner,
        trust: trust
            .map(u8::try_from)
            .transpose()
            .map_err(|_| nonsense())?,
        managed: row.try_get("managed")?,
        compliant: row.try_get("compliant")?,
        os: row.try_get("os")?,
        os_version: row.try_get("os_version")?,
        revoked: row.try_get("revoked")?,
        enrolled_at: moment("enrolled_at")?,
        key: read_key(row, "key")?,
        checked_at: moment("checked_at")?,
        posture_source: row.try_get("posture_source")?,
        updated_at: stamp(row.try_get("updated_at")?),
    })
}
