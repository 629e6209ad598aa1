//! What is kept of the handles of a session: SHA-256 of the current one and of the one before (E3).

use domain::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{Store, StoreError, stamp};

/// The handles of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionHandles {
    /// SHA-256 of the current one.
    pub current: [u8; 32],
    /// Since when it is.
    pub since: Timestamp,
    /// Its place among the session's, from 0.
    pub number: u32,
    /// The one before.
    pub previous: Option<PreviousHandle>,
    /// Nobody is told again of handles that come before this place: it is known that somebody has
    /// a copy.
    pub alarmed: Option<u32>,
}

/// The handle before the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousHandle {
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// Until when it is good; none: until the current one has come.
    pub until: Option<Timestamp>,
    /// It is from before a step-up.
    pub is_weak: bool,
}

impl Store {
    /// The handles of a session that was opened with the engine.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn session_handles(&self, id: &str) -> Result<Option<SessionHandles>, StoreError> {
        let row = sqlx::query(
            "SELECT handle_sha256, handle_at, handle_number, handle_alarmed, previous_sha256, \
             previous_until, previous_is_weak FROM sessions \
             WHERE session_id = ? AND handle_sha256 NOT NULL",
        )
        .bind(id)
        .fetch_optional(&self.read)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// Replaces the handle of a session by the next, if it still is this one. The one before is
    /// good until the next one has come. False when it is another by now. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn rotate_handle(
        &self,
        id: &str,
        from: &[u8; 32],
        to: &[u8; 32],
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE sessions SET previous_sha256 = handle_sha256, previous_until = NULL, \
             previous_is_weak = 0, handle_sha256 = ?, handle_at = ?, \
             handle_number = handle_number + 1 \
             WHERE session_id = ? AND handle_sha256 = ? AND ended_at IS NULL",
        )
        .bind(to.as_slice())
        .bind(at.millis())
        .bind(id)
        .bind(from.as_slice())
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// The current handle has come: the one before is good until a moment, and no longer. Durable
    /// when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn confirm_handle(
        &self,
        id: &str,
        current: &[u8; 32],
        until: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE sessions SET previous_until = ? WHERE session_id = ? AND handle_sha256 = ? \
             AND previous_until IS NULL",
        )
        .bind(until.millis())
        .bind(id)
        .bind(current.as_slice())
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Notes that somebody was told of an old handle: of those before the current one nobody is
    /// told again. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn note_handle_alarm(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE sessions SET handle_alarmed = handle_number WHERE session_id = ?")
            .bind(id)
            .execute(&self.write)
            .await?;
        Ok(())
    }
}

/// Gives a session another handle, which follows from nothing before: the one before is good until
/// a moment, and brings no assurance. Where nobody was given the one before, it is the one before
/// that, which its holder still has.
/// Where somebody was told of an old handle, it was passed for that: of what came before the new one
/// nobody is told again.
pub(super) async fn regenerate(
    connection: &mut SqliteConnection,
    id: &str,
    new: &NewHandle,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE sessions SET previous_sha256 = CASE \
         WHEN previous_is_weak = 1 AND previous_until IS NULL AND previous_sha256 NOT NULL \
         THEN previous_sha256 ELSE handle_sha256 END, previous_until = ?1, \
         previous_is_weak = 1, handle_sha256 = ?2, handle_at = ?3, handle_number = ?4, \
         handle_alarmed = CASE WHEN handle_alarmed IS NULL THEN NULL ELSE ?4 END \
         WHERE session_id = ?5",
    )
    .bind(new.previous_until.map(Timestamp::millis))
    .bind(new.sha256.as_slice())
    .bind(new.at.millis())
    .bind(new.number)
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

/// A handle that takes the place of another because more was proven (F15, F21).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHandle {
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// Its place among the session's.
    pub number: u32,
    /// Since when it is.
    pub at: Timestamp,
    /// Until when the one before is good. None: nobody is given the new one, and the one before is
    /// good, without assurance, until the session has another.
    pub previous_until: Option<Timestamp>,
}

fn read(row: &SqliteRow) -> Result<SessionHandles, StoreError> {
    let nonsense = || StoreError::Nonsense {
        what: "session handle",
    };
    let hash = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).map_err(|_| nonsense());
    let until: Option<i64> = row.try_get("previous_until")?;
    let previous: Option<Vec<u8>> = row.try_get("previous_sha256")?;
    let since: Option<i64> = row.try_get("handle_at")?;
    let is_weak = row.try_get("previous_is_weak")?;
    let previous = previous.map(|sha256| {
        Ok::<_, StoreError>(PreviousHandle {
            sha256: hash(sha256)?,
            until: until.map(stamp),
            is_weak,
        })
    });
    Ok(SessionHandles {
        current: hash(row.try_get("handle_sha256")?)?,
        since: stamp(since.ok_or_else(nonsense)?),
        number: row.try_get("handle_number")?,
        previous: previous.transpose()?,
        alarmed: row.try_get("handle_alarmed")?,
    })
}
