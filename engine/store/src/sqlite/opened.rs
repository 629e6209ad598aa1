//! Sessions that were opened with the engine: opened, found by their handle, listed, ended.

use domain::{EntityRef, SecurityEventKind, SessionRecord, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::revocations::{self, NewRevocation};
use super::security_events::{self, Initiator, NewSecurityEvent};
use super::sessions::{put_session, read_session};
use super::{Store, StoreError, stamp};

/// Sessions of one subject that are kept although they are over.
const OVER_MOST: i64 = 100;

/// What is kept of a session beyond what decisions need.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSession {
    /// The session.
    pub record: SessionRecord,
    /// Since when it has its handle.
    pub handle_at: Option<Timestamp>,
    /// When it ended, and why, in a word. An expired one has not ended.
    pub ended: Option<(Timestamp, String)>,
}

/// How something ends before its time: what lives by it is revoked in the same transaction.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// When.
    pub at: Timestamp,
    /// Why, in a word or in somebody's words.
    pub why: &'a str,
    /// By whom: a key's id, or `engine`.
    pub by: &'a str,
    /// Who set it going, for those who are told.
    pub initiator: Initiator,
    /// Until when its last access token may still live.
    pub until: Timestamp,
    /// How revocations write a subject.
    pub written: fn(&EntityRef) -> String,
    /// What is told with it beside the end itself, if it ends anything.
    pub tells: &'a [NewSecurityEvent],
}

impl Ending<'_> {
    /// Revokes the access tokens of one session or family.
    pub(super) async fn revoke(
        &self,
        connection: &mut SqliteConnection,
        kind: &'static str,
        id: &str,
        subject: &EntityRef,
    ) -> Result<(), StoreError> {
        let new = NewRevocation {
            kind,
            id: id.to_owned(),
            before: None,
            until: self.until,
            at: self.at,
            by: self.by.to_owned(),
            subject: Some((self.written)(subject)),
            reason: Some(self.why.to_owned()),
        };
        revocations::insert(connection, &new).await?;
        Ok(())
    }

    /// Tells that a session has ended that could still have been used.
    async fn tell(
        &self,
        connection: &mut SqliteConnection,
        session: &SessionRecord,
    ) -> Result<(), StoreError> {
        let ended = NewSecurityEvent {
            at: self.at,
            kind: SecurityEventKind::SessionRevoked,
            subject: Some(session.subject.clone()),
            session_id: Some(session.id.clone()),
            device_id: session.device_id().map(str::to_owned),
            initiator: self.initiator,
            by: self.by.to_owned(),
            why: self.why.to_owned(),
            body: None,
            record: None,
        };
        for event in std::iter::once(&ended).chain(self.tells) {
            security_events::insert(connection, event).await?;
        }
        Ok(())
    }
}

/// A session that was ended by what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// Its id, or under what a caller's own is kept.
    pub id: String,
    /// Whose it was.
    pub subject: EntityRef,
    /// The client that opened it; none for a caller's own.
    pub client_id: Option<String>,
    /// Whether it could still have been used.
    pub was_live: bool,
}

/// By what a session was opened that another issuer vouches for.
#[derive(Clone, Copy, Debug)]
pub struct SessionProof<'a> {
    /// The token, by the name that it is revoked under.
    pub token: &'a str,
    /// Its issuer.
    pub issuer: &'a str,
    /// What the issuer calls the session that it was given in (`sid`).
    pub sid: Option<&'a str>,
}

/// Which sessions are listed: all that are opened with the engine, or a part of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionFilter<'a> {
    /// Opened by this client.
    pub client_id: Option<&'a str>,
    /// Of this subject.
    pub subject: Option<&'a EntityRef>,
    /// That could be used at this moment.
    pub live_at: Option<Timestamp>,
    /// Older than this place in the order: when one was opened, and its id.
    pub after: Option<(Timestamp, &'a str)>,
}

/// Of whom all sessions end.
#[derive(Clone, Copy, Debug)]
pub struct SessionsOf<'a> {
    /// Whose.
    pub subject: &'a EntityRef,
    /// Those of this client alone; none: of all, callers' own too.
    pub client_id: Option<&'a str>,
}

impl Store {
    /// Keeps a new session with SHA-256 of its handle, and what is told of it. When its subject has
    /// `most` live ones with its client already, those least recently used end (E4): no client
    /// ends another's. Returns which ended. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn open_session(
        &self,
        session: &SessionRecord,
        handle_sha256: &[u8; 32],
        most: u32,
        displaced: &Ending<'_>,
        tells: &[NewSecurityEvent],
    ) -> Result<Vec<EndedSession>, StoreError> {
        let mut transaction = self.begin().await?;
        let now = displaced.at;
        let oldest: Vec<String> = sqlx::query_scalar(
            "SELECT session_id FROM sessions WHERE subject_type = ?1 AND subject_id = ?2 \
             AND client_id = ?5 AND ended_at IS NULL AND expires_at > ?3 \
             AND last_seen + idle_seconds * 1000 > ?3 \
             ORDER BY last_seen DESC, born_at DESC LIMIT -1 OFFSET ?4",
        )
        .bind(session.subject.kind.as_str())
        .bind(session.subject.id.as_str())
        .bind(now.millis())
        .bind(i64::from(most.saturating_sub(1)))
        .bind(session.terms.as_ref().map(|terms| &terms.client_id))
        .fetch_all(&mut *transaction)
        .await?;
        let mut ended = Vec::new();
        for id in oldest {
            ended.extend(end_one(&mut transaction, &id, displaced).await?);
        }
        forget_oldest(&mut transaction, &session.subject, now).await?;
        put_session(&mut transaction, session).await?;
        sqlx::query("UPDATE sessions SET handle_sha256 = ?, handle_at = ? WHERE session_id = ?")
            .bind(handle_sha256.as_slice())
            .bind(now.millis())
            .bind(&session.id)
            .execute(&mut *transaction)
            .await?;
        for event in tells {
            security_events::insert(&mut transaction, event).await?;
        }
        transaction.commit().await?;
        Ok(ended)
    }

    /// One session that was opened with the engine.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stored_session(&self, id: &str) -> Result<Option<StoredSession>, StoreError> {
        let row = sqlx::query("SELECT * FROM sessions WHERE session_id = ? AND client_id NOT NULL")
            .bind(id)
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(read_stored).transpose()
    }

    /// Notes by which token of another issuer a session was opened, and which session of that
    /// issuer the token was given in. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn note_session_proof(
        &self,
        id: &str,
        proof: &SessionProof<'_>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE sessions SET proven_by = ?, upstream_iss = ?, upstream_sid = ? \
             WHERE session_id = ?",
        )
        .bind(proof.token)
        .bind(proof.issuer)
        .bind(proof.sid)
        .bind(id)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Of which issuer the token was that a session was opened with. None: of none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn session_upstream(&self, id: &str) -> Result<Option<String>, StoreError> {
        let issuer = sqlx::query_scalar("SELECT upstream_iss FROM sessions WHERE session_id = ?")
            .bind(id)
            .fetch_optional(&self.read)
            .await?;
        Ok(issuer.flatten())
    }

    /// The sessions that were opened by tokens that an issuer gave in one of its sessions, and
    /// that have not ended.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sessions_from_upstream(
        &self,
        issuer: &str,
        sid: &str,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM sessions WHERE upstream_iss = ? AND upstream_sid = ? \
             AND ended_at IS NULL",
        )
        .bind(issuer)
        .bind(sid)
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(read_session).collect()
    }

    /// The ids of the sessions that were opened by a token of another issuer and have not ended.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sessions_proven_by(&self, proof: &str) -> Result<Vec<String>, StoreError> {
        let ids = sqlx::query_scalar(
            "SELECT session_id FROM sessions WHERE proven_by = ? AND ended_at IS NULL",
        )
        .bind(proof)
        .fetch_all(&self.read)
        .await?;
        Ok(ids)
    }

    /// A page of sessions, those opened last first (E23).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sessions_page(
        &self,
        filter: SessionFilter<'_>,
        most: usize,
    ) -> Result<Vec<StoredSession>, StoreError> {
        let mut query = sqlx::QueryBuilder::new("SELECT * FROM sessions WHERE client_id NOT NULL");
        if let Some(client_id) = filter.client_id {
            query.push(" AND client_id = ").push_bind(client_id);
        }
        if let Some(subject) = filter.subject {
            query
                .push(" AND subject_type = ")
                .push_bind(subject.kind.as_str())
                .push(" AND subject_id = ")
                .push_bind(subject.id.as_str());
        }
        if let Some(now) = filter.live_at {
            query
                .push(" AND ended_at IS NULL AND expires_at > ")
                .push_bind(now.millis())
                .push(" AND last_seen + idle_seconds * 1000 > ")
                .push_bind(now.millis());
        }
        if let Some((born_at, id)) = filter.after {
            query
                .push(" AND (born_at, session_id) < (")
                .push_bind(born_at.millis())
                .push(", ")
                .push_bind(id)
                .push(")");
        }
        query
            .push(" ORDER BY born_at DESC, session_id DESC LIMIT ")
            .push_bind(i64::try_from(most).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(&self.read).await?;
        rows.iter().map(read_stored).collect()
    }

    /// Ends a session, and with it its families of refresh tokens. None when there is no such
    /// session, or it has ended before. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn end_session(
        &self,
        id: &str,
        ending: &Ending<'_>,
    ) -> Result<Option<EndedSession>, StoreError> {
        let mut transaction = self.begin().await?;
        let ended = end_one(&mut transaction, id, ending).await?;
        transaction.commit().await?;
        Ok(ended)
    }

    /// Ends every session of a subject. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn end_sessions_of(
        &self,
        of: SessionsOf<'_>,
        ending: &Ending<'_>,
    ) -> Result<Vec<EndedSession>, StoreError> {
        let mut transaction = self.begin().await?;
        // A caller's own are kept under its id, a slash, and the name.
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT session_id FROM sessions WHERE subject_type = ?1 AND subject_id = ?2 \
             AND ended_at IS NULL AND (?3 IS NULL OR client_id = ?3 \
             OR (client_id IS NULL AND substr(session_id, 1, length(?3) + 1) = ?3 || '/'))",
        )
        .bind(of.subject.kind.as_str())
        .bind(of.subject.id.as_str())
        .bind(of.client_id)
        .fetch_all(&mut *transaction)
        .await?;
        let mut ended = Vec::with_capacity(ids.len());
        for id in ids {
            ended.extend(end_one(&mut transaction, &id, ending).await?);
        }
        // Families that hang on no session are the subject's too.
        let families: Vec<String> = sqlx::query_scalar(
            "UPDATE refresh_families SET revoked_at = ?1, revoked_why = ?2 \
             WHERE subject_type = ?3 AND subject_id = ?4 AND revoked_at IS NULL \
             AND (?5 IS NULL OR client_id = ?5) RETURNING family_id",
        )
        .bind(ending.at.millis())
        .bind(ending.why)
        .bind(of.subject.kind.as_str())
        .bind(of.subject.id.as_str())
        .bind(of.client_id)
        .fetch_all(&mut *transaction)
        .await?;
        for family in families {
            ending
                .revoke(&mut transaction, "family", &family, of.subject)
                .await?;
        }
        transaction.commit().await?;
        Ok(ended)
    }

    /// The ids of a subject's sessions that have ended.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn ended_sessions_of(&self, of: SessionsOf<'_>) -> Result<Vec<String>, StoreError> {
        let ids = sqlx::query_scalar(
            "SELECT session_id FROM sessions WHERE subject_type = ?1 AND subject_id = ?2 \
             AND ended_at NOT NULL AND (?3 IS NULL OR client_id = ?3 \
             OR (client_id IS NULL AND substr(session_id, 1, length(?3) + 1) = ?3 || '/'))",
        )
        .bind(of.subject.kind.as_str())
        .bind(of.subject.id.as_str())
        .bind(of.client_id)
        .fetch_all(&self.read)
        .await?;
        Ok(ids)
    }

    /// How many sessions could be used at a moment, by the client that opened them (O8).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn live_sessions(&self, now: Timestamp) -> Result<Vec<(String, i64)>, StoreError> {
        let rows = sqlx::query(
            "SELECT client_id, COUNT(*) AS live FROM sessions WHERE client_id NOT NULL \
             AND ended_at IS NULL AND expires_at > ?1 AND last_seen + idle_seconds * 1000 > ?1 \
             GROUP BY client_id",
        )
        .bind(now.millis())
        .fetch_all(&self.read)
        .await?;
        let count = |row: &SqliteRow| Ok((row.try_get("client_id")?, row.try_get("live")?));
        rows.iter().map(count).collect()
    }
}

/// Forgets the sessions of a subject that have been over for longest, and their families: what is
/// not known is refused as what has ended is.
async fn forget_oldest(
    connection: &mut SqliteConnection,
    subject: &EntityRef,
    now: Timestamp,
) -> Result<(), StoreError> {
    let over: Vec<String> = sqlx::query_scalar(
        "SELECT session_id FROM sessions WHERE subject_type = ?1 AND subject_id = ?2 \
         AND client_id NOT NULL AND (ended_at NOT NULL OR expires_at <= ?3 \
         OR last_seen + idle_seconds * 1000 <= ?3) ORDER BY born_at DESC LIMIT -1 OFFSET ?4",
    )
    .bind(subject.kind.as_str())
    .bind(subject.id.as_str())
    .bind(now.millis())
    .bind(OVER_MOST)
    .fetch_all(&mut *connection)
    .await?;
    for id in over {
        for sql in [
            "DELETE FROM refresh_families WHERE session_id = ?",
            "DELETE FROM sessions WHERE session_id = ?",
        ] {
            sqlx::query(sql).bind(&id).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Ends one session and its families. None when there is nothing to end.
pub(super) async fn end_one(
    connection: &mut SqliteConnection,
    id: &str,
    ending: &Ending<'_>,
) -> Result<Option<EndedSession>, StoreError> {
    let row = sqlx::query("SELECT * FROM sessions WHERE session_id = ? AND ended_at IS NULL")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let session = read_session(&row)?;
    // Both by an index: never a look through all of them (B3).
    for sql in [
        "UPDATE sessions SET ended_at = ?, ended_why = ? WHERE session_id = ?",
        "UPDATE refresh_families SET revoked_at = ?, revoked_why = ? \
         WHERE session_id = ? AND revoked_at IS NULL",
    ] {
        sqlx::query(sql)
            .bind(ending.at.millis())
            .bind(ending.why)
            .bind(id)
            .execute(&mut *connection)
            .await?;
    }
    // Their access tokens go with them (B4). Of a caller's own word for a session tokens bear
    // that word, which is nobody's alone.
    if session.terms.is_some() {
        ending
            .revoke(connection, "session", id, &session.subject)
            .await?;
    }
    let was_live = !session.is_over(ending.at);
    if was_live && session.terms.is_some() {
        ending.tell(connection, &session).await?;
    }
    Ok(Some(EndedSession {
        id: id.to_owned(),
        was_live,
        subject: session.subject,
        client_id: session.terms.map(|terms| terms.client_id),
    }))
}

fn read_stored(row: &SqliteRow) -> Result<StoredSession, StoreError> {
    let ended_at: Option<i64> = row.try_get("ended_at")?;
    let ended_why: Option<String> = row.try_get("ended_why")?;
    Ok(StoredSession {
        record: read_session(row)?,
        handle_at: row.try_get::<Option<i64>, _>("handle_at")?.map(stamp),
        ended: ended_at.map(|at| (stamp(at), ended_why.unwrap_or_default())),
    })
}
