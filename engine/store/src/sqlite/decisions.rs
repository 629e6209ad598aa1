//! Decision records, drained from the journal in its order.

use domain::Timestamp;
use sqlx::{QueryBuilder, Row as _};

use super::statuses::{self, TokenStatusRow};
use super::{Store, StoreError};
use crate::journal::{Chain, Link, Place, Position};

/// Rows that go into one statement.
const ROWS: usize = 200;

/// One record with the columns it is looked up by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the record's own members, by the same names")]
pub struct DecisionRow {
    pub seq: u64,
    pub decision_id: String,
    pub at: Timestamp,
    pub subject_type: String,
    pub subject_id: String,
    pub action: String,
    pub resource_type: String,
    pub resource_id: String,
    pub outcome: String,
    pub score: u8,
    pub place: Place,
}

impl Store {
    /// Keeps records and places of tokens, and notes how far the journal is drained, both or neither. A record that
    /// is there already is left as it is, so that a drain may be repeated.
    ///
    /// # Errors
    /// When they could not be made durable.
    pub async fn drain_decisions(
        &self,
        rows: &[DecisionRow],
        statuses: &[TokenStatusRow],
        until: &Position,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        statuses::insert(&mut transaction, statuses).await?;
        for rows in rows.chunks(ROWS) {
            let mut insert = QueryBuilder::new(
                "INSERT OR IGNORE INTO decisions (seq, decision_id, at, subject_type, subject_id, \
                 action, resource_type, resource_id, outcome, score, segment, offset, length) ",
            );
            insert.push_values(rows, |mut values, row| {
                values
                    .push_bind(number(row.seq))
                    .push_bind(&row.decision_id)
                    .push_bind(row.at.millis())
                    .push_bind(&row.subject_type)
                    .push_bind(&row.subject_id)
                    .push_bind(&row.action)
                    .push_bind(&row.resource_type)
                    .push_bind(&row.resource_id)
                    .push_bind(&row.outcome)
                    .push_bind(i64::from(row.score))
                    .push_bind(&row.place.segment)
                    .push_bind(number(row.place.offset))
                    .push_bind(number(row.place.length));
            });
            // A full chunk is the same statement each time; a short one is not worth keeping.
            insert
                .build()
                .persistent(rows.len() == ROWS)
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query(
            "INSERT INTO drained (only_row, segment, offset, seq, chain) VALUES (1, ?, ?, ?, ?) \
             ON CONFLICT (only_row) DO UPDATE SET segment = excluded.segment, \
             offset = excluded.offset, seq = excluded.seq, chain = excluded.chain",
        )
        .bind(&until.segment)
        .bind(number(until.offset))
        .bind(number(until.seq))
        .bind(&until.chain.0[..])
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// How far the journal is drained.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn drained(&self) -> Result<Option<Position>, StoreError> {
        let row = sqlx::query("SELECT segment, offset, seq, chain FROM drained")
            .fetch_optional(&self.read)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let nonsense = || StoreError::Nonsense {
            what: "drain position",
        };
        let whole = |column| -> Result<u64, StoreError> {
            u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| nonsense())
        };
        let chain: Vec<u8> = row.try_get("chain")?;
        Ok(Some(Position {
            segment: row.try_get("segment")?,
            offset: whole("offset")?,
            seq: whole("seq")?,
            chain: Chain(chain.try_into().map_err(|_| nonsense())?),
        }))
    }

    /// Notes how far the journal's oldest segments are removed. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn note_removed(&self, until: &Link) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO removed (only_row, seq, chain) VALUES (1, ?, ?) \
             ON CONFLICT (only_row) DO UPDATE SET seq = excluded.seq, chain = excluded.chain \
             WHERE excluded.seq > seq",
        )
        .bind(number(until.seq))
        .bind(&until.chain.0[..])
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// How far the journal's oldest segments are removed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn removed(&self) -> Result<Link, StoreError> {
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT seq, chain FROM removed")
            .fetch_optional(&self.read)
            .await?;
        let Some((seq, chain)) = row else {
            return Ok(Link::GENESIS);
        };
        let link = || {
            Some(Link {
                seq: u64::try_from(seq).ok()?,
                chain: Chain(chain.try_into().ok()?),
            })
        };
        link().ok_or(StoreError::Nonsense {
            what: "note of what was removed",
        })
    }

    /// Where one record stands in the journal.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn decision(&self, decision_id: &str) -> Result<Option<Place>, StoreError> {
        let row =
            sqlx::query("SELECT segment, offset, length FROM decisions WHERE decision_id = ?")
                .bind(decision_id)
                .fetch_optional(&self.read)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let whole = |column| -> Result<u64, StoreError> {
            u64::try_from(row.try_get::<i64, _>(column)?)
                .map_err(|_| StoreError::Nonsense { what: "decision" })
        };
        Ok(Some(Place {
            segment: row.try_get("segment")?,
            offset: whole("offset")?,
            length: whole("length")?,
        }))
    }

    /// Where the last records stand in the journal, the newest first, each with its number; only
    /// those before number `before`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_decisions(
        &self,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<(u64, Place)>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, segment, offset, length FROM decisions WHERE seq < ? \
             ORDER BY seq DESC LIMIT ?",
        )
        .bind(before.map_or(i64::MAX, number))
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&self.read)
        .await?;
        let mut places = Vec::with_capacity(rows.len());
        for row in rows {
            let whole = |column| -> Result<u64, StoreError> {
                u64::try_from(row.try_get::<i64, _>(column)?)
                    .map_err(|_| StoreError::Nonsense { what: "decision" })
            };
            let place = Place {
                segment: row.try_get("segment")?,
                offset: whole("offset")?,
                length: whole("length")?,
            };
            places.push((whole("seq")?, place));
        }
        Ok(places)
    }

    /// The place after the last record but `most` of those decided before a moment, and when that
    /// record was decided: to read the last `most` from. None when there are not more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn decisions_before(
        &self,
        moment: Option<Timestamp>,
        most: u64,
    ) -> Result<Option<(Timestamp, Position)>, StoreError> {
        let row = sqlx::query(
            "SELECT at, seq, segment, offset, length FROM decisions WHERE at < ? \
             ORDER BY seq DESC LIMIT 1 OFFSET ?",
        )
        .bind(moment.map_or(i64::MAX, Timestamp::millis))
        .bind(number(most))
        .fetch_optional(&self.read)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let whole = |column| -> Result<u64, StoreError> {
            u64::try_from(row.try_get::<i64, _>(column)?)
                .map_err(|_| StoreError::Nonsense { what: "decision" })
        };
        let position = Position {
            segment: row.try_get("segment")?,
            // The record ends its line.
            offset: whole("offset")? + whole("length")? + 1,
            seq: whole("seq")?,
            // Reading does not look at it.
            chain: Chain::GENESIS,
        };
        Ok(Some((Timestamp::from_millis(row.try_get("at")?), position)))
    }

    /// Forgets records decided before a moment. Returns how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_decisions(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM decisions WHERE at < ?")
            .bind(before.millis())
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected())
    }
}

/// SQLite's integers are signed; no journal lives to see the difference.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
