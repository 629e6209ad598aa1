//! API keys (X13 to X17). Only a SHA-256 of the secret is kept.

use domain::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError, stamp};

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The public part, `sk_` and eight characters.
    pub key_id: String,
    /// SHA-256 of the secret part.
    pub secret_sha256: [u8; 32],
    /// Who holds it.
    pub name: String,
    /// What they may do.
    pub role: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last used, within a minute or so.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl std::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRecord")
            .field("key_id", &self.key_id)
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl KeyRecord {
    /// Whether it may be used at this moment.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

impl Store {
    /// Keeps a new key. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn insert_key(&self, key: &KeyRecord) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO api_keys \
             (key_id, secret_sha256, name, role, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&key.key_id)
        .bind(&key.secret_sha256[..])
        .bind(&key.name)
        .bind(&key.role)
        .bind(key.created_at.millis())
        .bind(key.expires_at.millis())
        .execute(&self.write)
        .await?;
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
    pub async fn revoke_key(&self, key_id: &str, now: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE api_keys SET revoked_at = ? WHERE key_id = ? AND revoked_at IS NULL",
        )
        .bind(now.millis())
        .bind(key_id)
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
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
}

fn read_key(row: &SqliteRow) -> Result<KeyRecord, StoreError> {
    let secret: Vec<u8> = row.try_get("secret_sha256")?;
    Ok(KeyRecord {
        key_id: row.try_get("key_id")?,
        secret_sha256: secret
            .try_into()
            .map_err(|_| StoreError::Nonsense { what: "key" })?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
        created_at: stamp(row.try_get("created_at")?),
        expires_at: stamp(row.try_get("expires_at")?),
        last_used_at: row.try_get::<Option<i64>, _>("last_used_at")?.map(stamp),
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(stamp),
    })
}
