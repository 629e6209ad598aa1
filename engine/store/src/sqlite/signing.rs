//! Signing keys and checkpoints: what of them is looked up. Keys are files, and a checkpoint is a
//! text that the service has signed; what is in it is not known here.

use std::collections::BTreeSet;

use domain::Timestamp;
use sqlx::Row as _;

use super::{Store, StoreError};

/// Checkpoints that are kept whatever segment they stand in: the last ones tell within a few
/// seconds where a journal was changed, and of older segments the last one of each is enough.
const CHECKPOINTS_KEPT: i64 = 1000;

/// A checkpoint with the columns that it is kept by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRow {
    /// The record that it is of.
    pub seq: u64,
    /// File name of the segment that the record stands in.
    pub segment: String,
    /// When it was made.
    pub at: Timestamp,
    /// What was signed, with the signature.
    pub signed: String,
}

impl Store {
    /// Which acts of signing keys are on record: key and act.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn signing_key_acts(&self) -> Result<BTreeSet<(String, String)>, StoreError> {
        let rows = sqlx::query_as("SELECT kid, act FROM signing_key_acts")
            .fetch_all(&self.read)
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// Notes that an act is on record. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn note_signing_key_act(
        &self,
        kid: &str,
        act: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT OR IGNORE INTO signing_key_acts (kid, act, at) VALUES (?, ?, ?)")
            .bind(kid)
            .bind(act)
            .bind(at.millis())
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Keeps a checkpoint. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn keep_checkpoint(&self, row: &CheckpointRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT OR REPLACE INTO checkpoints (seq, segment, at, signed) VALUES (?, ?, ?, ?)",
        )
        .bind(number(row.seq))
        .bind(&row.segment)
        .bind(row.at.millis())
        .bind(&row.signed)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Every checkpoint that is kept, in the order of the records.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn checkpoints(&self) -> Result<Vec<CheckpointRow>, StoreError> {
        let rows = sqlx::query("SELECT seq, segment, at, signed FROM checkpoints ORDER BY seq")
            .fetch_all(&self.read)
            .await?;
        rows.iter()
            .map(|row| {
                let seq = row.try_get::<i64, _>("seq")?;
                Ok(CheckpointRow {
                    seq: u64::try_from(seq)
                        .map_err(|_| StoreError::Nonsense { what: "checkpoint" })?,
                    segment: row.try_get("segment")?,
                    at: super::stamp(row.try_get("at")?),
                    signed: row.try_get("signed")?,
                })
            })
            .collect()
    }

    /// Forgets checkpoints of records that are gone, and of older segments all but the last.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn thin_checkpoints(&self, removed_until: u64) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM checkpoints WHERE seq < ?1 OR \
             (seq NOT IN (SELECT MAX(seq) FROM checkpoints GROUP BY segment) AND \
              seq NOT IN (SELECT seq FROM checkpoints ORDER BY seq DESC LIMIT ?2))",
        )
        .bind(number(removed_until))
        .bind(CHECKPOINTS_KEPT)
        .execute(&self.write)
        .await?;
        Ok(())
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
