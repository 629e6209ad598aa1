//! Families of refresh tokens: a row each. Tokens themselves are never here, only SHA-256 of the
//! current one and of the one before.

use domain::{EntityRef, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::opened::{Ending, end_one};
use super::security_events::{self, NewSecurityEvent};
use super::{Store, StoreError, stamp};

/// A family: all the tokens that follow from one grant, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshFamily {
    /// Its id.
    pub id: String,
    /// The client that it was granted to, and that alone may use it.
    pub client_id: String,
    /// Whose it is.
    pub subject: EntityRef,
    /// The session that it lives and dies with.
    pub session: Option<String>,
    /// What its access tokens are for.
    pub audience: String,
    /// What was granted, apart by spaces.
    pub scope: String,
    /// SHA-256 thumbprint of the DPoP key that it is bound to (RFC 9449 §6.1).
    pub jkt: Option<String>,
    /// SHA-256 thumbprint of the client certificate that it is bound to (RFC 8705 §3.1).
    pub x5t_s256: Option<String>,
    /// In what circumstances it was granted; the form is the service's.
    pub birth: String,
    /// When it was granted.
    pub created_at: Timestamp,
    /// How often it was rotated (T5, T10).
    pub generation: u64,
    /// SHA-256 of the token of this generation.
    pub current_sha256: [u8; 32],
    /// SHA-256 of the one before.
    pub previous_sha256: Option<[u8; 32]>,
    /// When that one was exchanged for the current one.
    pub rotated_at: Option<Timestamp>,
    /// How often that one came again since, and was answered the same.
    pub repeats: u32,
    /// It ends then, if it is not used before.
    pub idle_expires_at: Timestamp,
    /// It ends then, however often it is used: never after its session as that ends now, which
    /// may be sooner or later than when the family was granted.
    pub expires_at: Timestamp,
    /// When it was revoked, and why.
    pub revoked: Option<(Timestamp, String)>,
}

/// What becomes of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FamilyChange {
    /// Nothing.
    Stay,
    /// The current token is exchanged for the next one.
    Rotate {
        /// SHA-256 of the next one.
        next_sha256: [u8; 32],
        /// When.
        at: Timestamp,
        /// The new end of its idle time.
        idle_expires_at: Timestamp,
    },
    /// The token before the current one came again, and is answered as it was.
    Repeat,
    /// It is revoked, and its session ends with it.
    Revoke,
    /// The same, and people are to know.
    RevokeAndTell(Box<NewSecurityEvent>),
}

impl Store {
    /// Keeps a new family. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn insert_refresh_family(&self, family: &RefreshFamily) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO refresh_families (family_id, client_id, subject_type, subject_id, \
             session_id, audience, scope, jkt, x5t_s256, birth, created_at, generation, \
             current_sha256, idle_expires_at, expires_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&family.id)
        .bind(&family.client_id)
        .bind(family.subject.kind.as_str())
        .bind(family.subject.id.as_str())
        .bind(&family.session)
        .bind(&family.audience)
        .bind(&family.scope)
        .bind(&family.jkt)
        .bind(&family.x5t_s256)
        .bind(&family.birth)
        .bind(family.created_at.millis())
        .bind(i64::try_from(family.generation).unwrap_or(i64::MAX))
        .bind(family.current_sha256.as_slice())
        .bind(family.idle_expires_at.millis())
        .bind(family.expires_at.millis())
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// One family.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn refresh_family(&self, id: &str) -> Result<Option<RefreshFamily>, StoreError> {
        let row = sqlx::query(
            "SELECT f.*, s.expires_at AS session_expires_at FROM refresh_families f \
             LEFT JOIN sessions s ON s.session_id = f.session_id WHERE f.family_id = ?",
        )
        .bind(id)
        .fetch_optional(&self.read)
        .await?;
        row.as_ref().map(read_family).transpose()
    }

    /// Reads a family and changes it, as one: `decide` sees it as nobody else changes it, and
    /// whether its session has ended; what it wishes is durable when this returns. `ending` is how
    /// it is revoked, if it is. None when there is no such family.
    ///
    /// # Errors
    /// When it could not be made durable; then nothing has changed.
    pub async fn change_refresh_family<T>(
        &self,
        id: &str,
        ending: &Ending<'_>,
        decide: impl FnOnce(&RefreshFamily, SessionEnded) -> (FamilyChange, T),
    ) -> Result<Option<T>, StoreError> {
        // Holds the one connection that writes, under `BEGIN IMMEDIATE`: two that come at once
        // are one after the other (B2).
        let mut transaction = self.begin().await?;
        let row = sqlx::query(
            "SELECT f.*, s.expires_at AS session_expires_at, (f.session_id IS NOT NULL \
             AND (s.session_id IS NULL OR s.ended_at IS NOT NULL)) AS session_ended \
             FROM refresh_families f LEFT JOIN sessions s ON s.session_id = f.session_id \
             WHERE f.family_id = ?",
        )
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let family = read_family(&row)?;
        let ended = SessionEnded(row.try_get("session_ended")?);
        let (change, answer) = decide(&family, ended);
        apply(&mut transaction, &family, &change, ending).await?;
        transaction.commit().await?;
        Ok(Some(answer))
    }

    /// When the last of them expires, if there is any.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_refresh_family_expiry(&self) -> Result<Option<Timestamp>, StoreError> {
        let last: Option<i64> = sqlx::query_scalar("SELECT MAX(expires_at) FROM refresh_families")
            .fetch_one(&self.read)
            .await?;
        Ok(last.map(stamp))
    }

    /// Revokes a family, and ends its session. False when there is none, or it was revoked before.
    /// Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn revoke_refresh_family(
        &self,
        id: &str,
        ending: &Ending<'_>,
    ) -> Result<bool, StoreError> {
        let revoke = |family: &RefreshFamily, _: SessionEnded| match family.revoked {
            Some(_) => (FamilyChange::Stay, false),
            None => (FamilyChange::Revoke, true),
        };
        let done = self.change_refresh_family(id, ending, revoke).await?;
        Ok(done.unwrap_or(false))
    }

    /// Forgets families that expired before a moment. Returns how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_refresh_families(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM refresh_families WHERE expires_at < ?")
            .bind(before.millis())
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected())
    }
}

/// Whether the session of a family has ended, or is not there any more. A family without one has
/// none that could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionEnded(pub bool);

async fn apply(
    connection: &mut SqliteConnection,
    family: &RefreshFamily,
    change: &FamilyChange,
    ending: &Ending<'_>,
) -> Result<(), StoreError> {
    match change {
        FamilyChange::Stay => {}
        FamilyChange::Rotate {
            next_sha256,
            at,
            idle_expires_at,
        } => {
            sqlx::query(
                "UPDATE refresh_families SET generation = generation + 1, \
                 previous_sha256 = current_sha256, current_sha256 = ?, rotated_at = ?, \
                 repeats = 0, idle_expires_at = ? \
                 WHERE family_id = ? AND generation = ? AND revoked_at IS NULL",
            )
            .bind(next_sha256.as_slice())
            .bind(at.millis())
            .bind(idle_expires_at.millis())
            .bind(&family.id)
            .bind(i64::try_from(family.generation).unwrap_or(i64::MAX))
            .execute(&mut *connection)
            .await?;
        }
        FamilyChange::Repeat => {
            sqlx::query("UPDATE refresh_families SET repeats = repeats + 1 WHERE family_id = ?")
                .bind(&family.id)
                .execute(&mut *connection)
                .await?;
        }
        FamilyChange::Revoke => {
            revoke(connection, family, ending).await?;
        }
        FamilyChange::RevokeAndTell(event) => {
            revoke(connection, family, ending).await?;
            security_events::insert(connection, event).await?;
        }
    }
    Ok(())
}

/// Revokes a family, ends its session, and revokes what else lives by the two (B4).
async fn revoke(
    connection: &mut SqliteConnection,
    family: &RefreshFamily,
    ending: &Ending<'_>,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE refresh_families SET revoked_at = ?, revoked_why = ? \
         WHERE family_id = ? AND revoked_at IS NULL",
    )
    .bind(ending.at.millis())
    .bind(ending.why)
    .bind(&family.id)
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() > 0 {
        ending
            .revoke(connection, "family", &family.id, &family.subject)
            .await?;
    }
    if let Some(session) = &family.session {
        end_one(connection, session, ending).await?;
    }
    Ok(())
}

fn read_family(row: &SqliteRow) -> Result<RefreshFamily, StoreError> {
    let nonsense = || StoreError::Nonsense {
        what: "refresh family",
    };
    let hash = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).map_err(|_| nonsense());
    let revoked_at: Option<i64> = row.try_get("revoked_at")?;
    let revoked_why: Option<String> = row.try_get("revoked_why")?;
    let previous: Option<Vec<u8>> = row.try_get("previous_sha256")?;
    let session_ends: Option<i64> = row.try_get("session_expires_at")?;
    let expires_at = stamp(row.try_get("expires_at")?);
    let session_ends = session_ends.map_or(Timestamp::MAX, stamp);
    Ok(RefreshFamily {
        id: row.try_get("family_id")?,
        client_id: row.try_get("client_id")?,
        subject: EntityRef::new(
            row.try_get::<String, _>("subject_type")?,
            row.try_get::<String, _>("subject_id")?,
        )
        .map_err(|_| nonsense())?,
        session: row.try_get("session_id")?,
        audience: row.try_get("audience")?,
        scope: row.try_get("scope")?,
        jkt: row.try_get("jkt")?,
        x5t_s256: row.try_get("x5t_s256")?,
        birth: row.try_get("birth")?,
        created_at: stamp(row.try_get("created_at")?),
        generation: u64::try_from(row.try_get::<i64, _>("generation")?).map_err(|_| nonsense())?,
        current_sha256: hash(row.try_get("current_sha256")?)?,
        previous_sha256: previous.map(hash).transpose()?,
        rotated_at: row.try_get::<Option<i64>, _>("rotated_at")?.map(stamp),
        repeats: u32::try_from(row.try_get::<i64, _>("repeats")?).map_err(|_| nonsense())?,
        idle_expires_at: stamp(row.try_get("idle_expires_at")?),
        expires_at: expires_at.min(session_ends),
        revoked: revoked_at.map(|at| (stamp(at), revoked_why.unwrap_or_default())),
    })
}
