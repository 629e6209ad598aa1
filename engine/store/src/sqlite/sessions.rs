//! Sessions.

use std::net::IpAddr;
use std::sync::Arc;

use domain::signal::Country;
use domain::{
    Assurance, DeviceClaim, EntityRef, Level, SessionBirth, SessionRecord, SessionSight,
    SessionTerms, Tier, Timestamp, Wanted,
};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::devices::{read_key, written};
use super::handles::{self, NewHandle};
use super::security_events::{self, NewSecurityEvent};
use super::{Store, StoreError, stamp};

/// What goes with a session in which more was proven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lift {
    /// The handle that it gets.
    pub handle: Option<NewHandle>,
    /// What it was proven by, where that counts once.
    pub spends: Option<SpentProof>,
}

/// A proof that counts once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentProof {
    /// Its name.
    pub name: String,
    /// When it was spent.
    pub at: Timestamp,
    /// Until when it could come again.
    pub until: Timestamp,
}

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

    /// The same for one session, and what is told of its change, in one transaction; with what a
    /// step-up takes and gives, where it is one.
    ///
    /// # Errors
    /// When it could not be made durable, or the proof was spent before.
    pub async fn put_session_telling(
        &self,
        session: &SessionRecord,
        tells: &[NewSecurityEvent],
        lift: Option<&Lift>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        if let Some(spent) = lift.and_then(|lift| lift.spends.as_ref()) {
            spend(&mut transaction, spent).await?;
        }
        put_session(&mut transaction, session).await?;
        if let Some(handle) = lift.and_then(|lift| lift.handle.as_ref()) {
            handles::regenerate(&mut transaction, &session.id, handle).await?;
        }
        for event in tells {
            security_events::insert(&mut transaction, event).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Whether a step-up was passed by this proof before.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_spent(&self, proof: &str) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM proofs_spent WHERE proof = ?")
            .bind(proof)
            .fetch_optional(&self.read)
            .await?;
        Ok(found.is_some())
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

/// Spends a proof, and forgets those that cannot come again.
async fn spend(connection: &mut SqliteConnection, spent: &SpentProof) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM proofs_spent WHERE until_at <= ?")
        .bind(spent.at.millis())
        .execute(&mut *connection)
        .await?;
    let done = sqlx::query("INSERT OR IGNORE INTO proofs_spent (proof, until_at) VALUES (?, ?)")
        .bind(&spent.name)
        .bind(spent.until.millis())
        .execute(&mut *connection)
        .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::Spent);
    }
    Ok(())
}

/// Keeps one session, over what was known of it before.
pub(super) async fn put_session(
    connection: &mut SqliteConnection,
    session: &SessionRecord,
) -> Result<(), StoreError> {
    let birth = &session.birth;
    let assurance = &session.assurance;
    let terms = session.terms.as_ref();
    let wanted = terms.and_then(|terms| terms.wanted);
    let sight = session.sight.as_deref();
    let device = sight.and_then(|sight| sight.device.as_ref());
    sqlx::query(
        "INSERT INTO sessions (session_id, subject_type, subject_id, born_at, birth_ip, \
         birth_country, birth_asn, birth_agent, birth_agent_version, birth_device, birth_os, \
         birth_os_version, birth_fingerprint, last_seen, seen_at, seen_ip, seen_agent, seen_device, \
         seen_enrolled, seen_enrolled_at, \
         seen_managed, seen_compliant, seen_os, seen_os_version, seen_fingerprint, seen_key, level, \
         level_at, challenge_at, mfa_at, ended_at, client_id, expires_at, idle_seconds, accesses, \
         tier, granted_score, score, wanted_level, wanted_since, tightened_at, stepped_up_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
         ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (session_id) DO UPDATE SET \
         accesses = MAX(accesses, excluded.accesses), \
         last_seen = MAX(last_seen, excluded.last_seen), seen_at = excluded.seen_at, \
         seen_ip = excluded.seen_ip, seen_enrolled = excluded.seen_enrolled, \
         seen_enrolled_at = excluded.seen_enrolled_at, \
         seen_agent = excluded.seen_agent, seen_device = excluded.seen_device, \
         seen_managed = excluded.seen_managed, seen_compliant = excluded.seen_compliant, \
         seen_os = excluded.seen_os, seen_os_version = excluded.seen_os_version, \
         seen_fingerprint = excluded.seen_fingerprint, seen_key = excluded.seen_key, \
         level = excluded.level, \
         level_at = excluded.level_at, challenge_at = excluded.challenge_at, \
         mfa_at = excluded.mfa_at, ended_at = COALESCE(ended_at, excluded.ended_at), \
         expires_at = excluded.expires_at, tier = excluded.tier, \
         granted_score = excluded.granted_score, score = excluded.score, \
         wanted_level = excluded.wanted_level, wanted_since = excluded.wanted_since, \
         tightened_at = excluded.tightened_at, stepped_up_at = excluded.stepped_up_at",
    )
    .bind(&session.id)
    .bind(session.subject.kind.as_str())
    .bind(session.subject.id.as_str())
    .bind(birth.at.millis())
    .bind(birth.ip.map(|ip| ip.to_string()))
    .bind(birth.country.as_ref().map(Country::as_str))
    .bind(birth.asn.map(i64::from))
    .bind(&birth.agent_family)
    .bind(birth.agent_version.map(i64::from))
    .bind(&birth.device_id)
    .bind(&birth.os)
    .bind(&birth.os_version)
    .bind(&birth.fingerprint)
    .bind(session.last_seen.millis())
    .bind(sight.map(|sight| sight.at.millis()))
    .bind(sight.and_then(|sight| sight.ip).map(|ip| ip.to_string()))
    .bind(sight.and_then(|sight| sight.user_agent.as_deref()))
    .bind(device.and_then(|device| device.id.as_deref()))
    .bind(sight.is_some_and(|sight| sight.is_enrolled))
    .bind(sight.and_then(|sight| sight.enrolled_at).map(Timestamp::millis))
    .bind(device.and_then(|device| device.managed))
    .bind(device.and_then(|device| device.compliant))
    .bind(device.and_then(|device| device.os.as_deref()))
    .bind(device.and_then(|device| device.os_version.as_deref()))
    .bind(device.and_then(|device| device.fingerprint.as_deref()))
    .bind(device.and_then(|device| device.proven.as_ref()).map(written))
    .bind(assurance.level.number())
    .bind(assurance.at.map(Timestamp::millis))
    .bind(assurance.challenge_at.map(Timestamp::millis))
    .bind(assurance.mfa_at.map(Timestamp::millis))
    .bind(session.ended.then(|| session.last_seen.millis()))
    .bind(terms.map(|terms| &terms.client_id))
    .bind(terms.map(|terms| terms.expires_at.millis()))
    .bind(terms.map(|terms| terms.idle_seconds))
    .bind(terms.map_or(0, |terms| i64::try_from(terms.accesses).unwrap_or(i64::MAX)))
    .bind(terms.map_or(Tier::Standard, |terms| terms.tier).as_str())
    .bind(terms.and_then(|terms| terms.granted_score))
    .bind(terms.and_then(|terms| terms.score))
    .bind(wanted.map(|wanted| wanted.level.number()))
    .bind(wanted.map(|wanted| wanted.since.millis()))
    .bind(terms.and_then(|terms| terms.tightened_at).map(Timestamp::millis))
    .bind(terms.and_then(|terms| terms.stepped_up_at).map(Timestamp::millis))
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
    let address = |column| -> Result<Option<IpAddr>, StoreError> {
        let text: Option<String> = row.try_get(column)?;
        text.map(|text| text.parse())
            .transpose()
            .map_err(|_| nonsense())
    };
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
            tier: Tier::from_word(row.try_get("tier")?).ok_or_else(nonsense)?,
            granted_score: row.try_get("granted_score")?,
            score: row.try_get("score")?,
            wanted: read_wanted(row)?,
            tightened_at: moment("tightened_at")?,
            stepped_up_at: moment("stepped_up_at")?,
        }),
        _ => None,
    };
    Ok(SessionRecord {
        id: row.try_get("session_id")?,
        subject,
        birth: SessionBirth {
            at: stamp(row.try_get("born_at")?),
            ip: address("birth_ip")?,
            country: country.as_deref().and_then(Country::new),
            asn: asn.map(u32::try_from).transpose().map_err(|_| nonsense())?,
            agent_family: row.try_get("birth_agent")?,
            agent_version: row.try_get("birth_agent_version")?,
            device_id: row.try_get("birth_device")?,
            os: row.try_get("birth_os")?,
            os_version: row.try_get("birth_os_version")?,
            fingerprint: row.try_get("birth_fingerprint")?,
        },
        last_seen: stamp(row.try_get("last_seen")?),
        sight: read_sight(row, address("seen_ip")?)?,
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

fn read_wanted(row: &SqliteRow) -> Result<Option<Wanted>, StoreError> {
    let level: Option<i64> = row.try_get("wanted_level")?;
    let since: Option<i64> = row.try_get("wanted_since")?;
    Ok(level
        .and_then(Level::from_number)
        .zip(since)
        .map(|(level, since)| Wanted {
            level,
            since: stamp(since),
        }))
}

fn read_sight(
    row: &SqliteRow,
    ip: Option<IpAddr>,
) -> Result<Option<Arc<SessionSight>>, StoreError> {
    let device = DeviceClaim {
        id: row.try_get("seen_device")?,
        managed: row.try_get("seen_managed")?,
        compliant: row.try_get("seen_compliant")?,
        os: row.try_get("seen_os")?,
        os_version: row.try_get("seen_os_version")?,
        fingerprint: row.try_get("seen_fingerprint")?,
        proven: read_key(row, "seen_key")?,
    };
    let Some(at) = row.try_get::<Option<i64>, _>("seen_at")? else {
        return Ok(None);
    };
    let sight = SessionSight {
        at: stamp(at),
        ip,
        user_agent: row
            .try_get::<Option<String>, _>("seen_agent")?
            .map(Arc::from),
        device: Some(device).filter(|device| *device != DeviceClaim::default()),
        is_enrolled: row.try_get("seen_enrolled")?,
        enrolled_at: row
            .try_get::<Option<i64>, _>("seen_enrolled_at")?
            .map(stamp),
    };
    Ok(Some(Arc::new(sight)))
}
