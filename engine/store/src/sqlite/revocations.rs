//! What was revoked before its time (V10). What it means is worked out elsewhere.

use domain::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{Store, StoreError, stamp};

/// Rows that [`Store::forget_revocations`] removes in one transaction.
const SLICE: i64 = 5000;

/// Something to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRevocation {
    /// What kind of thing: a word that the schema knows.
    pub kind: &'static str,
    /// Which one.
    pub id: String,
    /// Up to when what it was given is revoked; none for what ends for good.
    pub before: Option<Timestamp>,
    /// Until when that must be known.
    pub until: Timestamp,
    /// When it was revoked.
    pub at: Timestamp,
    /// By whom: a key's id, or `engine`.
    pub by: String,
    /// Whose it was, where that is known, for people.
    pub subject: Option<String>,
    /// Why, in that person's words.
    pub reason: Option<String>,
}

/// One revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRow {
    /// Its number: later ones have greater ones.
    pub number: u64,
    /// What kind of thing.
    pub kind: String,
    /// Which one.
    pub id: String,
    /// Up to when what it was given is revoked.
    pub before: Option<Timestamp>,
    /// Until when that must be known.
    pub until: Timestamp,
    /// When it was revoked, last if more than once.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Whose it was.
    pub subject: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Whether it is in the journal.
    pub journalled: bool,
}

impl Store {
    /// Keeps a revocation, and notes it with the family of refresh tokens that it is of: that is
    /// kept longer. Durable when this returns; its number.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn add_revocation(&self, new: &NewRevocation) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let number = insert(&mut transaction, new).await?;
        if new.kind == "family" {
            sqlx::query(
                "UPDATE refresh_families SET revoked_at = ?, revoked_why = ? \
                 WHERE family_id = ? AND revoked_at IS NULL",
            )
            .bind(new.at.millis())
            .bind(new.reason.as_deref().unwrap_or("revoked"))
            .bind(&new.id)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(number)
    }

    /// Moves on up to when, for what was revoked already. Never back.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn move_revocation(
        &self,
        kind: &str,
        id: &str,
        before: Timestamp,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE revocations SET before_at = MAX(before_at, ?), until_at = MAX(until_at, ?) \
             WHERE kind = ? AND id = ?",
        )
        .bind(before.millis())
        .bind(until.millis())
        .bind(kind)
        .bind(id)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Revocations that are not over, after a number, the oldest first, at most so many.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revocations_after(
        &self,
        number: u64,
        now: Timestamp,
        most: u32,
    ) -> Result<Vec<RevocationRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM revocations WHERE number > ? AND until_at >= ? ORDER BY number LIMIT ?",
        )
        .bind(i64::try_from(number).unwrap_or(i64::MAX))
        .bind(now.millis())
        .bind(most)
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(read_revocation).collect()
    }

    /// Revocations before a number, the newest first, at most so many; over or not, as long as
    /// they are there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revocations_before(
        &self,
        number: Option<u64>,
        kind: Option<&str>,
        id: Option<&str>,
        most: u32,
    ) -> Result<Vec<RevocationRow>, StoreError> {
        let before = number.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX));
        let rows = sqlx::query(
            "SELECT * FROM revocations WHERE number < ?1 AND (?2 IS NULL OR kind = ?2) \
             AND (?3 IS NULL OR id = ?3) ORDER BY number DESC LIMIT ?4",
        )
        .bind(before)
        .bind(kind)
        .bind(id)
        .bind(most)
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(read_revocation).collect()
    }

    /// Notes that revocations are in the journal, up to and with this number.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn note_revocations_journalled(&self, until: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE revocations SET journalled = 1 WHERE number <= ? AND journalled = 0")
            .bind(i64::try_from(until).unwrap_or(i64::MAX))
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Revocations that others took the place of before they were known to be in the journal, the
    /// oldest first, at most so many.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn replaced_revocations(&self, most: u32) -> Result<Vec<RevocationRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM revocations_replaced ORDER BY number LIMIT ?")
            .bind(most)
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read_revocation).collect()
    }

    /// Forgets those up to and with a number: they are in the journal.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn forget_replaced_revocations(&self, until: u64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM revocations_replaced WHERE number <= ?")
            .bind(i64::try_from(until).unwrap_or(i64::MAX))
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// How many revocations of single tokens and families are kept, by who made them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revocations_by_maker(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let rows = sqlx::query(
            "SELECT by, COUNT(*) AS made FROM revocations WHERE kind IN ('family', 'jti') \
             GROUP BY by",
        )
        .fetch_all(&self.read)
        .await?;
        let read = |row: &SqliteRow| {
            let made: i64 = row.try_get("made")?;
            Ok((row.try_get("by")?, u64::try_from(made).unwrap_or_default()))
        };
        rows.iter().map(read).collect()
    }

    /// Removes what was over before a moment, a few thousand in a transaction so that nobody who
    /// wants to write waits for long. Returns how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_revocations(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let done = sqlx::query(
                "DELETE FROM revocations WHERE number IN \
                 (SELECT number FROM revocations WHERE until_at < ? LIMIT ?)",
            )
            .bind(before.millis())
            .bind(SLICE)
            .execute(&self.write)
            .await?;
            removed += done.rows_affected();
            if done.rows_affected() < u64::try_from(SLICE).unwrap_or(u64::MAX) {
                return Ok(removed);
            }
        }
    }
}

/// Keeps a revocation in a transaction of somebody else's. Its number.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    new: &NewRevocation,
) -> Result<u64, StoreError> {
    // Nothing that somebody did is lost to the record.
    sqlx::query(
        "INSERT OR IGNORE INTO revocations_replaced \
         SELECT number, kind, id, before_at, until_at, at, by, subject, reason, journalled \
         FROM revocations WHERE kind = ? AND id = ? AND journalled = 0",
    )
    .bind(new.kind)
    .bind(&new.id)
    .execute(&mut *connection)
    .await?;
    // What was said of the same name before stays true.
    let done = sqlx::query(
        "INSERT OR REPLACE INTO revocations \
         (kind, id, before_at, until_at, at, by, subject, reason) \
         SELECT ?1, ?2, COALESCE(MAX(?3, old.before_at), ?3), \
                COALESCE(MAX(?4, old.until_at), ?4), ?5, ?6, COALESCE(?7, old.subject), ?8 \
         FROM (SELECT 1) LEFT JOIN revocations old ON old.kind = ?1 AND old.id = ?2",
    )
    .bind(new.kind)
    .bind(&new.id)
    .bind(new.before.map(Timestamp::millis))
    .bind(new.until.millis())
    .bind(new.at.millis())
    .bind(&new.by)
    .bind(&new.subject)
    .bind(&new.reason)
    .execute(connection)
    .await?;
    u64::try_from(done.last_insert_rowid()).map_err(|_| StoreError::Nonsense { what: "revocation" })
}

fn read_revocation(row: &SqliteRow) -> Result<RevocationRow, StoreError> {
    let number: i64 = row.try_get("number")?;
    Ok(RevocationRow {
        number: u64::try_from(number).map_err(|_| StoreError::Nonsense { what: "revocation" })?,
        kind: row.try_get("kind")?,
        id: row.try_get("id")?,
        before: row.try_get::<Option<i64>, _>("before_at")?.map(stamp),
        until: stamp(row.try_get("until_at")?),
        at: stamp(row.try_get("at")?),
        by: row.try_get("by")?,
        subject: row.try_get("subject")?,
        reason: row.try_get("reason")?,
        journalled: row.try_get("journalled")?,
    })
}
