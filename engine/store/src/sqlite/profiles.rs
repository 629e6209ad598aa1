//! Profiles: opaque here, a form number and bytes.

use domain::{EntityRef, Timestamp};
use sqlx::Row as _;

use super::{Store, StoreError};

/// One profile, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileRow {
    /// Whose it is.
    pub subject: EntityRef,
    /// How to read the body.
    pub form: u32,
    /// The profile.
    pub body: Vec<u8>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Store {
    /// Keeps profiles, over what was kept before.
    ///
    /// # Errors
    /// When they could not be made durable.
    pub async fn put_profiles(&self, profiles: &[ProfileRow]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for profile in profiles {
            sqlx::query(
                "INSERT INTO profiles (subject_type, subject_id, form, body, updated_at) \
                 VALUES (?, ?, ?, ?, ?) ON CONFLICT (subject_type, subject_id) DO UPDATE SET \
                 form = excluded.form, body = excluded.body, updated_at = excluded.updated_at",
            )
            .bind(profile.subject.kind.as_str())
            .bind(profile.subject.id.as_str())
            .bind(i64::from(profile.form))
            .bind(&profile.body)
            .bind(profile.updated_at.millis())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Removes profiles that have not changed since a moment. Returns how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_profiles(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM profiles WHERE updated_at < ?")
            .bind(before.millis())
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected())
    }

    /// The profile of a subject: its form and its bytes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn profile(&self, subject: &EntityRef) -> Result<Option<(u32, Vec<u8>)>, StoreError> {
        let row = sqlx::query(
            "SELECT form, body FROM profiles WHERE subject_type = ? AND subject_id = ?",
        )
        .bind(subject.kind.as_str())
        .bind(subject.id.as_str())
        .fetch_optional(&self.read)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let form: i64 = row.try_get("form")?;
        let form = u32::try_from(form).map_err(|_| StoreError::Nonsense { what: "profile" })?;
        Ok(Some((form, row.try_get("body")?)))
    }
}
