//! Security events, kept in the transaction of the change that they tell of, until they are handed
//! on: the outbox of everything that is told to others.

use domain::{EntityRef, SecurityEventKind, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{Store, StoreError, stamp};

/// Who set something going (CAEP 1.0 §2, `initiating_entity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// Somebody who runs things.
    Admin,
    /// The subject.
    User,
    /// A policy, or the risk.
    Policy,
    /// The engine by itself, or another system.
    System,
}

impl Initiator {
    const ALL: [Self; 4] = [Self::Admin, Self::User, Self::Policy, Self::System];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Policy => "policy",
            Self::System => "system",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSecurityEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: SecurityEventKind,
    /// To whom.
    pub subject: Option<EntityRef>,
    /// In which session, by its public id.
    pub session_id: Option<String>,
    /// On which device.
    pub device_id: Option<String>,
    /// Who set it going.
    pub initiator: Initiator,
    /// By what exactly: a key's id, or `engine`.
    pub by: String,
    /// Why, in a word or in words for those who run things. Never empty.
    pub why: String,
    /// What its kind has beside, JSON; the form is the service's.
    pub body: Option<String>,
    /// What is to be on record of it, JSON, kept with it until it is: see [`Store::act_records`].
    pub record: Option<String>,
}

/// One that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityEventRow {
    /// Its number: later ones have greater ones.
    pub number: u64,
    /// What happened.
    pub event: NewSecurityEvent,
}

impl Store {
    /// Keeps security events that come of no other change. Durable when this returns.
    ///
    /// # Errors
    /// When they could not be made durable.
    pub async fn put_security_events(&self, all: &[NewSecurityEvent]) -> Result<(), StoreError> {
        if all.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        for event in all {
            insert(&mut transaction, event).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// What happened and was not handed on yet, the oldest first, at most `most`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn security_events(&self, most: u32) -> Result<Vec<SecurityEventRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM security_events ORDER BY number LIMIT ?")
            .bind(most)
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read).collect()
    }
}

impl Store {
    /// What was done and is not on record yet, the oldest first, with its numbers.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn act_records(&self, most: u32) -> Result<Vec<(u64, String)>, StoreError> {
        let rows: Vec<(i64, String)> =
            sqlx::query_as("SELECT number, record FROM act_records ORDER BY number LIMIT ?")
                .bind(most)
                .fetch_all(&self.read)
                .await?;
        let rows = rows.into_iter();
        Ok(rows
            .map(|(number, record)| (number.unsigned_abs(), record))
            .collect())
    }

    /// Takes out what is on record by now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_act_records(&self, until: u64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM act_records WHERE number <= ?")
            .bind(i64::try_from(until).unwrap_or(i64::MAX))
            .execute(&self.write)
            .await?;
        Ok(())
    }
}

/// Keeps one, in the transaction of what it tells of.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    event: &NewSecurityEvent,
) -> Result<(), StoreError> {
    let subject = event.subject.as_ref();
    sqlx::query(
        "INSERT INTO security_events (at, kind, subject_type, subject_id, session_id, device_id, \
         initiator, done_by, why, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(event.at.millis())
    .bind(event.kind.as_str())
    .bind(subject.map(|subject| subject.kind.as_str()))
    .bind(subject.map(|subject| subject.id.as_str()))
    .bind(&event.session_id)
    .bind(&event.device_id)
    .bind(event.initiator.as_str())
    .bind(&event.by)
    .bind(&event.why)
    .bind(&event.body)
    .execute(&mut *connection)
    .await?;
    if let Some(record) = &event.record {
        sqlx::query("INSERT INTO act_records (record) VALUES (?)")
            .bind(record)
            .execute(connection)
            .await?;
    }
    Ok(())
}

fn read(row: &SqliteRow) -> Result<SecurityEventRow, StoreError> {
    let nonsense = || StoreError::Nonsense {
        what: "security event",
    };
    let kind: Option<String> = row.try_get("subject_type")?;
    let id: Option<String> = row.try_get("subject_id")?;
    let subject = match (kind, id) {
        (Some(kind), Some(id)) => Some(EntityRef::new(kind, id).map_err(|_| nonsense())?),
        _ => None,
    };
    let initiator: String = row.try_get("initiator")?;
    Ok(SecurityEventRow {
        number: u64::try_from(row.try_get::<i64, _>("number")?).map_err(|_| nonsense())?,
        event: NewSecurityEvent {
            at: stamp(row.try_get("at")?),
            kind: SecurityEventKind::from_word(&row.try_get::<String, _>("kind")?)
                .ok_or_else(nonsense)?,
            subject,
            session_id: row.try_get("session_id")?,
            device_id: row.try_get("device_id")?,
            initiator: Initiator::ALL
                .into_iter()
                .find(|known| known.as_str() == initiator)
                .ok_or_else(nonsense)?,
            by: row.try_get("done_by")?,
            why: row.try_get("why")?,
            body: row.try_get("body")?,
            record: None,
        },
    })
}
