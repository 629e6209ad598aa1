//! Device records.

use domain::{DeviceRecord, EntityRef};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError, stamp};

impl Store {
    /// Keeps what is known of a device, over what was known before. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn put_device(&self, device: &DeviceRecord) -> Result<(), StoreError> {
        let owner = device.owner.as_ref();
        sqlx::query(
            "INSERT INTO devices (device_id, owner_type, owner_id, trust, managed, compliant, os, \
             os_version, revoked, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (device_id) DO UPDATE SET owner_type = excluded.owner_type, \
             owner_id = excluded.owner_id, trust = excluded.trust, managed = excluded.managed, \
             compliant = excluded.compliant, os = excluded.os, os_version = excluded.os_version, \
             revoked = excluded.revoked, updated_at = excluded.updated_at",
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
        .bind(device.updated_at.millis())
        .execute(&self.write)
        .await?;
        Ok(())
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

    /// Forgets a device. Durable when this returns; false when there was none.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn delete_device(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM devices WHERE device_id = ?")
            .bind(id)
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected() > 0)
    }
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
        updated_at: stamp(row.try_get("updated_at")?),
    })
}
