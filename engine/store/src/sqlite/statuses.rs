//! Where tokens stand in status lists, as long as they live.

use domain::Timestamp;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row as _};

use super::{Store, StoreError, stamp};

/// Rows of one statement.
const ROWS: usize = 100;

/// One token's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenStatusRow {
    /// Which list.
    pub list: String,
    /// Where in it.
    pub place: u32,
    /// When the token is over.
    pub expires_at: Timestamp,
    /// What it is held against revocations by; the form is the service's.
    pub body: String,
}

/// Keeps places in a transaction of the drain's, which may be repeated.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    rows: &[TokenStatusRow],
) -> Result<(), StoreError> {
    for rows in rows.chunks(ROWS) {
        let mut insert = QueryBuilder::new(
            "INSERT OR IGNORE INTO token_statuses (list, place, expires_at, body) ",
        );
        insert.push_values(rows, |mut values, row| {
            values
                .push_bind(&row.list)
                .push_bind(row.place)
                .push_bind(row.expires_at.millis())
                .push_bind(&row.body);
        });
        insert
            .build()
            .persistent(rows.len() == ROWS)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

impl Store {
    /// The places of tokens that are not over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn token_statuses(&self, now: Timestamp) -> Result<Vec<TokenStatusRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM token_statuses WHERE expires_at >= ?")
            .bind(now.millis())
            .fetch_all(&self.read)
            .await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Ok(TokenStatusRow {
                list: row.try_get("list")?,
                place: row.try_get("place")?,
                expires_at: stamp(row.try_get("expires_at")?),
                body: row.try_get("body")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Forgets the places of tokens that were over before a moment. Returns how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_token_statuses(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM token_statuses WHERE expires_at < ?")
            .bind(before.millis())
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected())
    }
}
