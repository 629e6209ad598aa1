//! What was done with policy sets. Only ever added to; which one is live is worked out elsewhere.

use domain::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError, stamp};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyActKind {
    /// The folder came to hold this set, and it is live.
    Folder,
    /// The folder came to hold something that cannot be taken up.
    Refused,
    /// Somebody published a set, and it is live.
    Published,
    /// A set is evaluated beside the live one.
    Shadowed,
    /// The set in the shadow became the live one.
    Promoted,
    /// The set in the shadow is evaluated no more.
    Dropped,
    /// The set before is live again.
    RolledBack,
}

impl PolicyActKind {
    const ALL: [Self; 7] = [
        Self::Folder,
        Self::Refused,
        Self::Published,
        Self::Shadowed,
        Self::Promoted,
        Self::Dropped,
        Self::RolledBack,
    ];

    /// The word in the store, in records and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Refused => "refused",
            Self::Published => "published",
            Self::Shadowed => "shadowed",
            Self::Promoted => "promoted",
            Self::Dropped => "dropped",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// One act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyAct {
    /// Its number, from 1, rising. Given by the store.
    pub number: u64,
    /// What was done.
    pub kind: PolicyActKind,
    /// With which set; of what was rolled back, the set that is live again.
    pub revision: Option<String>,
    /// When.
    pub at: Timestamp,
    /// By whom: a key's id, a user of the machine, or `engine` for what it noticed itself.
    pub by: String,
    /// Why, in that person's words; of what was refused, the first fault.
    pub why: Option<String>,
    /// The live set before it.
    pub previous: Option<String>,
    /// Whether it is in the journal.
    pub journalled: bool,
}

impl Store {
    /// Every act, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn policy_acts(&self) -> Result<Vec<PolicyAct>, StoreError> {
        let rows = sqlx::query("SELECT * FROM policy_acts ORDER BY number")
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read_act).collect()
    }

    /// Adds an act to those up to number `after`, which it was decided on. False, and nothing
    /// added, when somebody else has added one meanwhile. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn add_policy_act(&self, act: &PolicyAct, after: u64) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO policy_acts (act, revision, at, by, why, previous) \
             SELECT ?, ?, ?, ?, ?, ? \
             WHERE COALESCE((SELECT MAX(number) FROM policy_acts), 0) = ?",
        )
        .bind(act.kind.as_str())
        .bind(&act.revision)
        .bind(act.at.millis())
        .bind(&act.by)
        .bind(&act.why)
        .bind(&act.previous)
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Notes that acts are in the journal, up to and with this number.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn note_policy_acts_journalled(&self, until: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE policy_acts SET journalled = 1 WHERE number <= ? AND journalled = 0")
            .bind(i64::try_from(until).unwrap_or(i64::MAX))
            .execute(&self.write)
            .await?;
        Ok(())
    }
}

fn read_act(row: &SqliteRow) -> Result<PolicyAct, StoreError> {
    let nonsense = || StoreError::Nonsense { what: "policy act" };
    let word: String = row.try_get("act")?;
    Ok(PolicyAct {
        number: u64::try_from(row.try_get::<i64, _>("number")?).map_err(|_| nonsense())?,
        kind: PolicyActKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(nonsense)?,
        revision: row.try_get("revision")?,
        at: stamp(row.try_get("at")?),
        by: row.try_get("by")?,
        why: row.try_get("why")?,
        previous: row.try_get("previous")?,
        journalled: row.try_get("journalled")?,
    })
}
