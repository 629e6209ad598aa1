//! API keys (X13 to X18). Only a SHA-256 of the secret is kept.

use domain::{EntityRef, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{Store, StoreError, stamp};

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The public part, `sk_` and eight characters.
    pub key_id: String,
    /// SHA-256 of the secret part.
    pub secret_sha256: [u8; 32],
    /// Who holds it, whichever key that is at the moment: the id of the first one.
    pub client_id: String,
    /// What people call its holder.
    pub name: String,
    /// What they may do.
    pub role: String,
    /// What of that, by the names of permissions; none: all of it.
    pub permissions: Option<Vec<String>>,
    /// As whom its holder acts, as a service.
    pub subject: EntityRef,
    /// The resource server that its holder is.
    pub audience: Option<String>,
    /// The client certificate that stands for it: an exact SPIFFE id, or `x5t#S256`, base64url of
    /// the SHA-256 of the certificate's DER (RFC 8705 §3.1).
    pub certificate: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The key of who made it; none: somebody at the command line, or the engine itself.
    pub created_by: Option<String>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The key that took its place.
    pub rotated_to: Option<String>,
    /// Until when it goes on beside that one.
    pub overlap_end: Option<Timestamp>,
    /// When it was last used, within a minute or so.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl std::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRecord")
            .field("key_id", &self.key_id)
            .field("client_id", &self.client_id)
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl KeyRecord {
    /// Whether it may be used at this moment.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.ends_at()
    }

    /// When it ends by itself.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.overlap_end
            .map_or(self.expires_at, |overlap| overlap.min(self.expires_at))
    }
}

/// What was done with a key, to be put on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAct {
    /// Rising. Given by the store; 0 before that.
    pub number: u64,
    /// `created`, `rotated` or `revoked`.
    pub kind: String,
    /// Which key.
    pub key_id: String,
    /// When.
    pub at: Timestamp,
    /// By whom: a key's id, or a word for whoever needs none.
    pub by: String,
    /// What more there is to say, as a JSON object.
    pub told: String,
}

/// Why a key was not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepKeyError {
    /// There are as many as there may be, and none of them is over.
    #[error("there are {0} keys already, as many as there may be; revoke some that nobody uses")]
    TooMany(u64),
    /// The key that was to be rotated is not there, or was changed in between.
    #[error("the key has changed meanwhile; look at it and try again")]
    Changed,
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for KeepKeyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Keeps a new key and what is to be recorded of it. Durable when this returns.
    ///
    /// When there are `most` keys, one that is over makes room.
    ///
    /// # Errors
    /// When there is no room, or it could not be made durable.
    pub async fn insert_key(
        &self,
        key: &KeyRecord,
        most: usize,
        act: &KeyAct,
    ) -> Result<(), KeepKeyError> {
        let mut transaction = self.begin().await?;
        make_room(&mut transaction, most, key.created_at).await?;
        insert(&mut transaction, key).await?;
        insert_act(&mut transaction, act).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Keeps the key that takes the place of `old`, which goes on until `overlap_end`.
    /// Durable when this returns.
    ///
    /// # Errors
    /// When `old` is not as it was given any more, there is no room, or it could not be made
    /// durable.
    pub async fn rotate_key(
        &self,
        old: &KeyRecord,
        new: &KeyRecord,
        overlap_end: Timestamp,
        most: usize,
        act: &KeyAct,
    ) -> Result<(), KeepKeyError> {
        let mut transaction = self.begin().await?;
        make_room(&mut transaction, most, new.created_at).await?;
        let done = sqlx::query(
            "UPDATE api_keys SET rotated_to = ?, overlap_end = ? \
             WHERE key_id = ? AND revoked_at IS NULL AND rotated_to IS ?",
        )
        .bind(&new.key_id)
        .bind(overlap_end.millis())
        .bind(&old.key_id)
        .bind(&old.rotated_to)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Err(KeepKeyError::Changed);
        }
        insert(&mut transaction, new).await?;
        insert_act(&mut transaction, act).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM api_keys ORDER BY created_at, key_id")
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read_key).collect()
    }

    /// One key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn key(&self, key_id: &str) -> Result<Option<KeyRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM api_keys WHERE key_id = ?")
            .bind(key_id)
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(read_key).transpose()
    }

    /// Revokes a key. Durable when this returns; false when there is none, or it was revoked
    /// before.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn revoke_key(&self, act: &KeyAct) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query(
            "UPDATE api_keys SET revoked_at = ? WHERE key_id = ? AND revoked_at IS NULL",
        )
        .bind(act.at.millis())
        .bind(&act.key_id)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        insert_act(&mut transaction, act).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Notes when keys were last used.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn touch_keys(&self, used: &[(String, Timestamp)]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for (key_id, at) in used {
            sqlx::query(
                "UPDATE api_keys SET last_used_at = MAX(COALESCE(last_used_at, 0), ?) \
                 WHERE key_id = ?",
            )
            .bind(at.millis())
            .bind(key_id)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// What was done with keys and is not in the journal yet, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn key_acts(&self) -> Result<Vec<KeyAct>, StoreError> {
        let rows = sqlx::query("SELECT * FROM key_acts ORDER BY number LIMIT 1000")
            .fetch_all(&self.read)
            .await?;
        let read = |row: &SqliteRow| {
            let number: i64 = row.try_get("number")?;
            Ok(KeyAct {
                number: u64::try_from(number)
                    .map_err(|_| StoreError::Nonsense { what: "key's act" })?,
                kind: row.try_get("kind")?,
                key_id: row.try_get("key_id")?,
                at: stamp(row.try_get("at")?),
                by: row.try_get("by")?,
                told: row.try_get("told")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Takes out what is in the journal by now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_key_acts(&self, until: u64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM key_acts WHERE number <= ?")
            .bind(i64::try_from(until).unwrap_or(i64::MAX))
            .execute(&self.write)
            .await?;
        Ok(())
    }
}

/// Sees that one more key may be kept: if need be, the one that has been over for longest goes.
async fn make_room(
    connection: &mut SqliteConnection,
    most: usize,
    now: Timestamp,
) -> Result<(), KeepKeyError> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM api_keys")
        .fetch_one(&mut *connection)
        .await?;
    let count = u64::try_from(count).unwrap_or_default();
    if count < most as u64 {
        return Ok(());
    }
    let done = sqlx::query(
        "DELETE FROM api_keys WHERE key_id IN (SELECT key_id FROM \
         (SELECT key_id, MIN(expires_at, COALESCE(overlap_end, expires_at), \
         COALESCE(revoked_at, expires_at)) AS over_at FROM api_keys) \
         WHERE over_at <= ? ORDER BY over_at LIMIT 1)",
    )
    .bind(now.millis())
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(KeepKeyError::TooMany(count));
    }
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, key: &KeyRecord) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO api_keys (key_id, secret_sha256, client_id, name, role, permissions, \
         subject_type, subject_id, audience, certificate, created_at, created_by, expires_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&key.key_id)
    .bind(&key.secret_sha256[..])
    .bind(&key.client_id)
    .bind(&key.name)
    .bind(&key.role)
    .bind(key.permissions.as_ref().map(|names| names.join(" ")))
    .bind(key.subject.kind.as_str())
    .bind(key.subject.id.as_str())
    .bind(&key.audience)
    .bind(&key.certificate)
    .bind(key.created_at.millis())
    .bind(&key.created_by)
    .bind(key.expires_at.millis())
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_act(connection: &mut SqliteConnection, act: &KeyAct) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO key_acts (kind, key_id, at, by, told) VALUES (?, ?, ?, ?, ?)")
        .bind(&act.kind)
        .bind(&act.key_id)
        .bind(act.at.millis())
        .bind(&act.by)
        .bind(&act.told)
        .execute(connection)
        .await?;
    Ok(())
}

fn read_key(row: &SqliteRow) -> Result<KeyRecord, StoreError> {
    let secret: Vec<u8> = row.try_get("secret_sha256")?;
    let key_id: String = row.try_get("key_id")?;
    let kind: String = row.try_get("subject_type")?;
    let id: String = row.try_get("subject_id")?;
    let subject = EntityRef::new(kind, id)
        // The name of one of an earlier version may be anything.
        .or_else(|_| EntityRef::new("Service", key_id.as_str()))
        .map_err(|_| StoreError::Nonsense { what: "key" })?;
    let permissions: Option<String> = row.try_get("permissions")?;
    Ok(KeyRecord {
        key_id,
        secret_sha256: secret
            .try_into()
            .map_err(|_| StoreError::Nonsense { what: "key" })?,
        client_id: row.try_get("client_id")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
        permissions: permissions.map(|names| names.split(' ').map(str::to_owned).collect()),
        subject,
        audience: row.try_get("audience")?,
        certificate: row.try_get("certificate")?,
        created_at: stamp(row.try_get("created_at")?),
        created_by: row.try_get("created_by")?,
        expires_at: stamp(row.try_get("expires_at")?),
        rotated_to: row.try_get("rotated_to")?,
        overlap_end: row.try_get::<Option<i64>, _>("overlap_end")?.map(stamp),
        last_used_at: row.try_get::<Option<i64>, _>("last_used_at")?.map(stamp),
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(stamp),
    })
}
