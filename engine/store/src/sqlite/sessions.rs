//! Sessions.

use domain::signal::Country;
use domain::{Assurance, EntityRef, Level, SessionBirth, SessionRecord, SessionTerms, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{Store, StoreError, stamp};

impl Store {
    /// Keeps sessions, over what was known of them before. An ended session stays ended.
    ///
    /// # Errors
    /// When they could not be made durable.
    pub async fn put_sessions(&self, sessions: &[SessionRecord]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for session in sessions {
            put_session(&mut transaction, session).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// One session.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn session(&self, id: &str) -> Result<Option<SessionRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM sessions WHERE session_id = ?")
            .bind(id)
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(read_session).transpose()
    }

    /// Forgets sessions that nobody has seen since `before`, and that nobody could use any more.
    /// Returns how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_sessions(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM sessions WHERE last_seen < ?1 AND (expires_at IS NULL OR expires_at < ?1)",
        )
        .bind(before.millis())
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected())
    }
}

/// Keeps one session, over what was known of it before.
pub(super) async fn put_session(
    connection: &mut SqliteConnection,
    session: &SessionRecord,
) -> Result<(), StoreError> {
    let birth = &session.birth;
    let assurance = &session.assurance;
    let terms = session.terms.as_ref();
    sqlx::query(
                "INSERT INTO sessions (session_id, subject_type, subject_id, born_at, birth_ip, \
                 birth_country, birth_asn, birth_agent, birth_device, last_seen, level, level_at, \
                 challenge_at, mfa_at, ended_at, client_id, expires_at, idle_seconds, accesses) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                 ON CONFLICT (session_id) DO UPDATE SET \
                 accesses = MAX(accesses, excluded.accesses), last_seen = MAX(last_seen, excluded.last_seen), level = excluded.level, \
                 level_at = excluded.level_at, challenge_at = excluded.challenge_at, \
                 mfa_at = excluded.mfa_at, ended_at = COALESCE(ended_at, excluded.ended_at)",
            )
            .bind(&session.id)
            .bind(session.subject.kind.as_str())
            .bind(session.subject.id.as_str())
            .bind(birth.at.millis())
            .bind(birth.ip.map(|ip| ip.to_string()))
            .bind(birth.country.as_ref().map(Country::as_str))
            .bind(birth.asn.map(i64::from))
            .bind(&birth.agent_family)
            .bind(&birth.device_id)
            .bind(session.last_seen.millis())
            .bind(assurance.level.number())
            .bind(assurance.at.map(Timestamp::millis))
            .bind(assurance.challenge_at.map(Timestamp::millis))
            .bind(assurance.mfa_at.map(Timestamp::millis))
            .bind(session.ended.then(|| session.last_seen.millis()))
            .bind(terms.map(|terms| &terms.client_id))
            .bind(terms.map(|terms| terms.expires_at.millis()))
            .bind(terms.map(|terms| terms.idle_seconds))
            .bind(terms.map_or(0, |terms| i64::try_from(terms.accesses).unwrap_or(i64::MAX)))
            .execute(connection)
            .await?;
    Ok(())
}

pub(super) fn read_session(row: &SqliteRow) -> Result<SessionRecord, StoreError> {
    let nonsense = || StoreError::Nonsense { what: "session" };
    let subject = EntityRef::new(
        row.try_get::<String, _>("subject_type")?,
        row.try_get::<String, _>("subject_id")?,
    )
    .map_err(|_| nonsense())?;
    let moment = |column| -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(stamp))
    };
    let ip: Option<String> = row.try_get("birth_ip")?;
    let country: Option<String> = row.try_get("birth_country")?;
    let asn: Option<i64> = row.try_get("birth_asn")?;
    let client_id: Option<String> = row.try_get("client_id")?;
    let terms = match (client_id, moment("expires_at")?) {
        (Some(client_id), Some(expires_at)) => Some(SessionTerms {
            client_id,
            expires_at,
            idle_seconds: row
                .try_get::<Option<i64>, _>("idle_seconds")?
                .ok_or_else(nonsense)?,
            accesses: u64::try_from(row.try_get::<i64, _>("accesses")?).map_err(|_| nonsense())?,
        }),
        _ => None,
    };
    Ok(SessionRecord {
        id: row.try_get("session_id")?,
        subject,
        birth: SessionBirth {
            at: stamp(row.try_get("born_at")?),
            ip: ip
                .map(|ip| ip.parse())
                .transpose()
                .map_err(|_| nonsense())?,
            country: country.as_deref().and_then(Country::new),
            asn: asn.map(u32::try_from).transpose().map_err(|_| nonsense())?,
            agent_family: row.try_get("birth_agent")?,
            device_id: row.try_get("birth_device")?,
        },
        last_seen: stamp(row.try_get("last_seen")?),
        assurance: Assurance {
            level: Level::from_number(row.try_get("level")?).ok_or_else(nonsense)?,
            at: moment("level_at")?,
            challenge_at: moment("challenge_at")?,
            mfa_at: moment("mfa_at")?,
        },
        ended: moment("ended_at")?.is_some(),
        terms,
    })
}
