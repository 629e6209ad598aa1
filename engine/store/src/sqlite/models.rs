//! What was done with models. Only ever added to; what follows from it is worked out elsewhere.

use domain::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError, stamp};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelActKind {
    /// The settings' name was settled on a version.
    Settle,
    /// A model was made the champion.
    Promote,
    /// The last promotion that counted was taken back.
    Rollback,
    /// A model was made the challenger; no model: none is any more.
    Shadow,
}

impl ModelActKind {
    const ALL: [Self; 4] = [Self::Settle, Self::Promote, Self::Rollback, Self::Shadow];

    /// The word in the store, in records and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Shadow => "shadow",
        }
    }
}

/// One act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelAct {
    /// Its number, from 1, rising. Given by the store.
    pub number: u64,
    /// What was done.
    pub kind: ModelActKind,
    /// With which model, `name@version`.
    pub model: Option<String>,
    /// SHA-256 of that model's manifest, in hex.
    pub digest: Option<String>,
    /// When.
    pub at: Timestamp,
    /// By whom: a key's id, or a user of the machine.
    pub by: String,
    /// Why, in that person's words; of a settled name, the name itself.
    pub reason: Option<String>,
    /// Whether it was done against what the figures say.
    pub forced: bool,
    /// The champion before it, `name@version`.
    pub previous: Option<String>,
    /// The figures that were compared, as JSON.
    pub metrics: Option<String>,
    /// Whether it is in the journal.
    pub journalled: bool,
}

impl Store {
    /// Every act, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn model_acts(&self) -> Result<Vec<ModelAct>, StoreError> {
        let rows = sqlx::query("SELECT * FROM model_acts ORDER BY number")
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read_act).collect()
    }

    /// Adds an act to those up to number `after`, which it was decided on. False, and nothing
    /// added, when somebody else has added one meanwhile. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn add_model_act(&self, act: &ModelAct, after: u64) -> Result<bool, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let done = sqlx::query(
            "INSERT INTO model_acts \
             (act, model, digest, at, by, reason, forced, previous, metrics) \
             SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? \
             WHERE COALESCE((SELECT MAX(number) FROM model_acts), 0) = ?",
        )
        .bind(act.kind.as_str())
        .bind(&act.model)
        .bind(&act.digest)
        .bind(act.at.millis())
        .bind(&act.by)
        .bind(&act.reason)
        .bind(act.forced)
        .bind(&act.previous)
        .bind(&act.metrics)
        .bind(after)
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Notes that acts are in the journal, up to and with this number.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn note_model_acts_journalled(&self, until: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE model_acts SET journalled = 1 WHERE number <= ? AND journalled = 0")
            .bind(i64::try_from(until).unwrap_or(i64::MAX))
            .execute(&self.write)
            .await?;
        Ok(())
    }
}

fn read_act(row: &SqliteRow) -> Result<ModelAct, StoreError> {
    let nonsense = || StoreError::Nonsense { what: "model act" };
    let word: String = row.try_get("act")?;
    Ok(ModelAct {
        number: u64::try_from(row.try_get::<i64, _>("number")?).map_err(|_| nonsense())?,
        kind: ModelActKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(nonsense)?,
        model: row.try_get("model")?,
        digest: row.try_get("digest")?,
        at: stamp(row.try_get("at")?),
        by: row.try_get("by")?,
        reason: row.try_get("reason")?,
        forced: row.try_get("forced")?,
        previous: row.try_get("previous")?,
        metrics: row.try_get("metrics")?,
        journalled: row.try_get("journalled")?,
    })
}
