//! Single entities, and what was done with them. Only ever added to: the newest change of an
//! entity says what it is, all changes up to a number what the directory was then.

use domain::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::security_events::{self, NewSecurityEvent};
use super::{Store, StoreError, stamp};

/// An entity as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntity {
    /// Its type.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Cedar's JSON form without `uid`.
    pub body: String,
}

/// All entities that are stored, as of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredEntities {
    /// In the order of their last changes.
    pub entities: Vec<StoredEntity>,
    /// Number of the last change of any entity; 0 before the first.
    pub last: u64,
}

/// A change that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntityChange {
    /// The type.
    pub kind: String,
    /// The id.
    pub id: String,
    /// What is stored from now on; none: nothing.
    pub body: Option<String>,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityChange {
    /// Its number, from 1, rising. Given by the store.
    pub number: u64,
    /// What was changed, and to what.
    pub change: NewEntityChange,
    /// When.
    pub at: Timestamp,
    /// By whom: a key's id.
    pub by: String,
    /// Why, in that person's words.
    pub why: Option<String>,
}

impl Store {
    /// The entities that are stored, as of a change; none: now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stored_entities(&self, until: Option<u64>) -> Result<StoredEntities, StoreError> {
        let until = until.map_or(i64::MAX, signed);
        // One look at the database, so that the number goes with the rows.
        let mut reader = self.read.begin().await?;
        let rows = sqlx::query(
            "SELECT kind, id, body FROM entity_changes WHERE number IN \
             (SELECT MAX(number) FROM entity_changes WHERE number <= ? GROUP BY kind, id) \
             AND body IS NOT NULL ORDER BY number",
        )
        .bind(until)
        .fetch_all(&mut *reader)
        .await?;
        let last: i64 = sqlx::query_scalar(
            "SELECT COALESCE(MAX(number), 0) FROM entity_changes WHERE number <= ?",
        )
        .bind(until)
        .fetch_one(&mut *reader)
        .await?;
        let entities = rows
            .iter()
            .map(|row| {
                Ok(StoredEntity {
                    kind: row.try_get("kind")?,
                    id: row.try_get("id")?,
                    body: row.try_get("body")?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()?;
        Ok(StoredEntities {
            entities,
            last: unsigned(last)?,
        })
    }

    /// Number of the last change of any entity; 0 before the first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_entity_change(&self) -> Result<u64, StoreError> {
        let last = sqlx::query_scalar("SELECT COALESCE(MAX(number), 0) FROM entity_changes")
            .fetch_one(&self.read)
            .await?;
        unsigned(last)
    }

    /// The last change of one entity, whether it stored or removed it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn entity_change(
        &self,
        kind: &str,
        id: &str,
    ) -> Result<Option<EntityChange>, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM entity_changes WHERE kind = ? AND id = ? ORDER BY number DESC LIMIT 1",
        )
        .bind(kind)
        .bind(id)
        .fetch_optional(&self.read)
        .await?;
        row.as_ref().map(read_change).transpose()
    }

    /// Adds changes, all or none, and returns the number of the first. They are numbered without
    /// gaps in this order. Notes on the way that those up to `journalled` are in the journal, and what
    /// others are to be told of it.
    /// Durable when it returns.
    ///
    /// # Errors
    /// When they could not be made durable; then none of them is stored.
    pub async fn add_entity_changes(
        &self,
        changes: &[NewEntityChange],
        by: &str,
        at: Timestamp,
        why: Option<&str>,
        journalled: u64,
        told: &[NewSecurityEvent],
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let mut first = None;
        for change in changes {
            let done = sqlx::query(
                "INSERT INTO entity_changes (kind, id, body, at, by, why) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(&change.kind)
            .bind(&change.id)
            .bind(&change.body)
            .bind(at.millis())
            .bind(by)
            .bind(why)
            .execute(&mut *transaction)
            .await?;
            first = first.or(Some(done.last_insert_rowid()));
        }
        sqlx::query(
            "INSERT INTO entity_changes_journalled (only_row, number) VALUES (1, ?) \
             ON CONFLICT (only_row) DO UPDATE SET number = MAX(number, excluded.number)",
        )
        .bind(signed(journalled))
        .execute(&mut *transaction)
        .await?;
        for event in told {
            security_events::insert(&mut transaction, event).await?;
        }
        transaction.commit().await?;
        unsigned(first.unwrap_or_default())
    }

    /// Changes that are not known to be in the journal, the oldest first, at most so many.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn entity_changes_to_journal(
        &self,
        after: u64,
        most: u32,
    ) -> Result<Vec<EntityChange>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM entity_changes WHERE number > MAX(?, COALESCE( \
             (SELECT number FROM entity_changes_journalled), 0)) ORDER BY number LIMIT ?",
        )
        .bind(signed(after))
        .bind(most)
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(read_change).collect()
    }

    /// Forgets changes that were over before a moment: what an entity was until another change
    /// earlier than that. No record rests on them any more. Returns how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_entity_changes(&self, before: Timestamp) -> Result<u64, StoreError> {
        // The last change of all keeps its place, because its number names the directory.
        let done = sqlx::query(
            "DELETE FROM entity_changes WHERE number IN (SELECT number FROM \
             (SELECT number, body, at, LEAD(at) OVER (PARTITION BY kind, id ORDER BY number) \
              AS until FROM entity_changes) \
             WHERE until < ?1 OR (until IS NULL AND body IS NULL AND at < ?1)) \
             AND number < (SELECT MAX(number) FROM entity_changes)",
        )
        .bind(before.millis())
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected())
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Nonsense {
        what: "entity change",
    })
}

fn read_change(row: &SqliteRow) -> Result<EntityChange, StoreError> {
    Ok(EntityChange {
        number: unsigned(row.try_get("number")?)?,
        change: NewEntityChange {
            kind: row.try_get("kind")?,
            id: row.try_get("id")?,
            body: row.try_get("body")?,
        },
        at: stamp(row.try_get("at")?),
        by: row.try_get("by")?,
        why: row.try_get("why")?,
    })
}
