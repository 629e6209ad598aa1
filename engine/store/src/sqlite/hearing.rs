//! What was heard of others: tokens that are still to be acted on, and what they said of subjects.

use domain::{EntityRef, Heard, RiskLevel, SessionRecord, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::opened::Ending;
use super::security_events::{self, NewSecurityEvent};
use super::sessions::read_session;
use super::{Store, StoreError, stamp};

/// A token that was taken and is to be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardSet {
    /// Its place in the order in which they were taken.
    pub number: u64,
    /// Its claims, JSON.
    pub claims: String,
}

/// What one of those who tell has said of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardRow {
    /// Of whom.
    pub subject: EntityRef,
    /// Who.
    pub iss: String,
    /// What.
    pub heard: Heard,
}

impl Store {
    /// Takes a token: what it says is to be done, once, whatever happens. None: it was taken
    /// before. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn hear(
        &self,
        iss: &str,
        jti: &str,
        claims: &str,
        at: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let mut transaction = self.begin().await?;
        let done =
            sqlx::query("INSERT OR IGNORE INTO sets_received (iss, jti, at) VALUES (?, ?, ?)")
                .bind(iss)
                .bind(jti)
                .bind(at.millis())
                .execute(&mut *transaction)
                .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        let number: i64 = sqlx::query_scalar(
            "INSERT INTO sets_heard (claims, at) VALUES (?, ?) RETURNING number",
        )
        .bind(claims)
        .bind(at.millis())
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(u64::try_from(number).ok())
    }

    /// What was taken and is still to be acted on, the oldest first, at most `most`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn heard_sets(&self, most: u32) -> Result<Vec<HeardSet>, StoreError> {
        let rows = sqlx::query("SELECT number, claims FROM sets_heard ORDER BY number LIMIT ?")
            .bind(most)
            .fetch_all(&self.read)
            .await?;
        rows.iter()
            .map(|row| {
                let number: i64 = row.try_get("number")?;
                Ok(HeardSet {
                    number: u64::try_from(number)
                        .map_err(|_| StoreError::Nonsense { what: "number" })?,
                    claims: row.try_get("claims")?,
                })
            })
            .collect()
    }

    /// It was acted on. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn heard_done(&self, number: u64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sets_heard WHERE number = ?")
            .bind(i64::try_from(number).unwrap_or(i64::MAX))
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// When others last said how much was proven in a session. None: never.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn assurance_heard_at(&self, id: &str) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<Option<i64>> =
            sqlx::query_scalar("SELECT assurance_heard_at FROM sessions WHERE session_id = ?")
                .bind(id)
                .fetch_optional(&self.read)
                .await?;
        Ok(at.flatten().map(stamp))
    }

    /// Notes that others said so; an earlier moment changes nothing. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn note_assurance_heard(&self, id: &str, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE sessions SET assurance_heard_at = MAX(COALESCE(assurance_heard_at, ?1), ?1) \
             WHERE session_id = ?2",
        )
        .bind(at.millis())
        .bind(id)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Everything that was said of subjects.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn heard(&self) -> Result<Vec<HeardRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM heard_subjects")
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read_heard).collect()
    }

    /// Keeps what one of those who tell has said of a subject, over what was kept before, and
    /// what is passed on of it. In one transaction: who does it again after a crash finds no news,
    /// and would pass on nothing. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn put_heard(
        &self,
        row: &HeardRow,
        passed_on: Option<&NewSecurityEvent>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let heard = &row.heard;
        sqlx::query(
            "INSERT OR REPLACE INTO heard_subjects (subject_type, subject_id, iss, disabled, \
             disabled_at, credential_at, risk, risk_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(row.subject.kind.as_str())
        .bind(row.subject.id.as_str())
        .bind(&row.iss)
        .bind(heard.disabled.map(|(disabled, _)| disabled))
        .bind(heard.disabled.map(|(_, at)| at.millis()))
        .bind(heard.credential_at.map(Timestamp::millis))
        .bind(heard.risk.map(|(level, _)| level.as_str()))
        .bind(heard.risk.map(|(_, at)| at.millis()))
        .execute(&mut *transaction)
        .await?;
        if let Some(event) = passed_on {
            security_events::insert(&mut transaction, event).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets what was said.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_heard(&self, rows: &[(EntityRef, String)]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for (subject, iss) in rows {
            sqlx::query(
                "DELETE FROM heard_subjects WHERE subject_type = ? AND subject_id = ? AND iss = ?",
            )
            .bind(subject.kind.as_str())
            .bind(subject.id.as_str())
            .bind(iss)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Whether anything was said of a subject, by whomever.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_heard_of(&self, subject: &EntityRef) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM heard_subjects WHERE subject_type = ? AND subject_id = ? LIMIT 1",
        )
        .bind(subject.kind.as_str())
        .bind(subject.id.as_str())
        .fetch_optional(&self.read)
        .await?;
        Ok(found.is_some())
    }

    /// Forgets all that was said of a subject, by whomever. How many had said something. Durable
    /// when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn forget_all_heard(&self, subject: &EntityRef) -> Result<u64, StoreError> {
        let done =
            sqlx::query("DELETE FROM heard_subjects WHERE subject_type = ? AND subject_id = ?")
                .bind(subject.kind.as_str())
                .bind(subject.id.as_str())
                .execute(&self.write)
                .await?;
        Ok(done.rows_affected())
    }

    /// The sessions of a subject that have not ended, callers' own among them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open_sessions_of(
        &self,
        subject: &EntityRef,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM sessions WHERE subject_type = ? AND subject_id = ? \
             AND ended_at IS NULL",
        )
        .bind(subject.kind.as_str())
        .bind(subject.id.as_str())
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(read_session).collect()
    }

    /// Revokes the families of refresh tokens of a subject that began before a moment, with their
    /// access tokens; the sessions that they hang on go on. How many. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn revoke_families_before(
        &self,
        subject: &EntityRef,
        before: Timestamp,
        ending: &Ending<'_>,
    ) -> Result<usize, StoreError> {
        let mut transaction = self.begin().await?;
        let families: Vec<String> = sqlx::query_scalar(
            "UPDATE refresh_families SET revoked_at = ?, revoked_why = ? \
             WHERE subject_type = ? AND subject_id = ? AND revoked_at IS NULL \
             AND created_at < ? RETURNING family_id",
        )
        .bind(ending.at.millis())
        .bind(ending.why)
        .bind(subject.kind.as_str())
        .bind(subject.id.as_str())
        .bind(before.millis())
        .fetch_all(&mut *transaction)
        .await?;
        for family in &families {
            ending
                .revoke(&mut transaction, "family", family, subject)
                .await?;
        }
        transaction.commit().await?;
        Ok(families.len())
    }
}

fn read_heard(row: &SqliteRow) -> Result<HeardRow, StoreError> {
    let nonsense = || StoreError::Nonsense {
        what: "word of others",
    };
    let moment = |column| -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(stamp))
    };
    let disabled: Option<bool> = row.try_get("disabled")?;
    let risk: Option<String> = row.try_get("risk")?;
    let level = risk.map(|word| {
        [RiskLevel::Low, RiskLevel::Medium, RiskLevel::High]
            .into_iter()
            .find(|level| level.as_str() == word)
            .ok_or_else(nonsense)
    });
    Ok(HeardRow {
        subject: EntityRef::new(
            row.try_get::<String, _>("subject_type")?,
            row.try_get::<String, _>("subject_id")?,
        )
        .map_err(|_| nonsense())?,
        iss: row.try_get("iss")?,
        heard: Heard {
            disabled: disabled.zip(moment("disabled_at")?),
            credential_at: moment("credential_at")?,
            risk: level.transpose()?.zip(moment("risk_at")?),
        },
    })
}

#[cfg(test)]
mod tests {
    use domain::SecurityEventKind;

    use super::super::security_events::Initiator;
    use super::*;

    #[tokio::test]
    async fn a_token_is_taken_once_and_stays_until_it_was_acted_on() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("test.db");
        let store = Store::open(&path).await.unwrap();
        let first = store.hear("idp", "1", "{}", stamp(1000)).await.unwrap();
        assert!(first.is_some());
        assert_eq!(
            store.hear("idp", "1", "{}", stamp(2000)).await.unwrap(),
            None
        );
        let other = store.hear("other", "1", "[]", stamp(2000)).await.unwrap();
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        let waiting = store.heard_sets(10).await.unwrap();
        let claims: Vec<&str> = waiting.iter().map(|set| set.claims.as_str()).collect();
        assert_eq!(claims, ["{}", "[]"]);
        store.heard_done(first.unwrap()).await.unwrap();
        let waiting = store.heard_sets(10).await.unwrap();
        assert_eq!(waiting.first().map(|set| set.number), other);
        // What it knows of is forgotten with time, and what is to be done is not.
        assert_eq!(store.forget_sets(stamp(5000)).await.unwrap(), 2);
        assert_eq!(store.heard_sets(10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_others_said_is_read_as_it_was_written() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("test.db")).await.unwrap();
        let mut row = HeardRow {
            subject: EntityRef::new("User", "alice").unwrap(),
            iss: "https://idp.example".to_owned(),
            heard: Heard {
                disabled: Some((true, stamp(1000))),
                credential_at: Some(stamp(2000)),
                risk: Some((RiskLevel::High, stamp(3000))),
            },
        };
        store.put_heard(&row, None).await.unwrap();
        assert_eq!(store.heard().await.unwrap(), [row.clone()]);
        // With what is passed on of it, in one transaction.
        let event = NewSecurityEvent {
            at: stamp(1000),
            kind: SecurityEventKind::AccountStatusChange,
            subject: Some(row.subject.clone()),
            session_id: None,
            device_id: None,
            initiator: Initiator::System,
            by: "engine".to_owned(),
            why: String::new(),
            body: None,
            record: None,
        };
        store.put_heard(&row, Some(&event)).await.unwrap();
        assert_eq!(store.security_events(10).await.unwrap().len(), 1);
        row.heard = Heard::default();
        store.put_heard(&row, None).await.unwrap();
        assert_eq!(store.heard().await.unwrap(), [row.clone()]);
        let gone = [(row.subject.clone(), row.iss.clone())];
        store.forget_heard(&gone).await.unwrap();
        assert!(store.heard().await.unwrap().is_empty());
        store.put_heard(&row, None).await.unwrap();
        assert!(store.is_heard_of(&row.subject).await.unwrap());
        assert_eq!(store.forget_all_heard(&row.subject).await.unwrap(), 1);
        assert!(!store.is_heard_of(&row.subject).await.unwrap());
        assert_eq!(store.forget_all_heard(&row.subject).await.unwrap(), 0);
    }
}
