//! What is usual for groups of subjects: opaque here, a form number and bytes.

use domain::Timestamp;
use sqlx::Row as _;

use super::{Store, StoreError};

/// One crowd, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrowdRow {
    /// Which one.
    pub crowd: u64,
    /// How to read the body.
    pub form: u32,
    /// What is usual for it.
    pub body: Vec<u8>,
}

impl Store {
    /// Keeps crowds, over what was kept before.
    ///
    /// # Errors
    /// When they could not be made durable.
    pub async fn put_crowds(&self, crowds: &[CrowdRow], now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for crowd in crowds {
            sqlx::query(
                "INSERT INTO crowds (crowd, form, body, updated_at) VALUES (?, ?, ?, ?) \
                 ON CONFLICT (crowd) DO UPDATE SET form = excluded.form, \
                 body = excluded.body, updated_at = excluded.updated_at",
            )
            .bind(crowd.crowd.cast_signed())
            .bind(i64::from(crowd.form))
            .bind(&crowd.body)
            .bind(now.millis())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Every crowd, the one that changed last first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn crowds(&self, most: usize) -> Result<Vec<CrowdRow>, StoreError> {
        let rows =
            sqlx::query("SELECT crowd, form, body FROM crowds ORDER BY updated_at DESC LIMIT ?")
                .bind(i64::try_from(most).unwrap_or(i64::MAX))
                .fetch_all(&self.read)
                .await?;
        rows.into_iter()
            .map(|row| {
                let form: i64 = row.try_get("form")?;
                Ok(CrowdRow {
                    crowd: row.try_get::<i64, _>("crowd")?.cast_unsigned(),
                    form: u32::try_from(form)
                        .map_err(|_| StoreError::Nonsense { what: "crowd" })?,
                    body: row.try_get("body")?,
                })
            })
            .collect()
    }
}
