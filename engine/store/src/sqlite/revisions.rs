//! What decided, kept as long as the records that name it: texts by their revision, compressed.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use domain::Timestamp;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sqlx::Row as _;

use super::{Store, StoreError, stamp};

/// A content that would come to more than this is not what was kept, bytes.
const CONTENT_MAX: u64 = 1 << 30;

/// What a revision is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevisionKind {
    /// Schemas and policies.
    Policies,
    /// Stored entities.
    Entities,
    /// Settings of the score.
    Settings,
}

impl RevisionKind {
    /// The word in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Entities => "entities",
            Self::Settings => "settings",
        }
    }
}

/// One revision that has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRevision {
    /// Its name in records.
    pub revision: String,
    /// When it was kept, before it decided for the first time.
    pub first_used: Timestamp,
    /// When it was last known to decide; up to some minutes early after a crash.
    pub last_used: Timestamp,
}

impl Store {
    /// Keeps a revision, or notes that one that is there already decides (again). Durable when
    /// this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn keep_revision(
        &self,
        kind: RevisionKind,
        revision: &str,
        content: &Arc<[u8]>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // Most starts find everything there, and to compress a directory takes its time.
        if self.touch_revisions(&[(kind, revision)], now).await? > 0 {
            return Ok(());
        }
        let content = Arc::clone(content);
        let packed = tokio::task::spawn_blocking(move || pack(&content));
        let packed = packed.await.map_err(io::Error::other);
        let packed = packed.and_then(|packed| packed).map_err(sqlx::Error::Io)?;
        sqlx::query(
            "INSERT INTO revisions (kind, revision, content, first_used, last_used) \
             VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, revision) \
             DO UPDATE SET last_used = MAX(last_used, excluded.last_used)",
        )
        .bind(kind.as_str())
        .bind(revision)
        .bind(packed)
        .bind(now.millis())
        .bind(now.millis())
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Notes that revisions are deciding at this moment. Those that are not kept stay so.
    /// Returns how many are.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn touch_revisions(
        &self,
        revisions: &[(RevisionKind, &str)],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let mut kept = 0;
        for (kind, revision) in revisions {
            let done = sqlx::query(
                "UPDATE revisions SET last_used = MAX(last_used, ?) \
                 WHERE kind = ? AND revision = ?",
            )
            .bind(now.millis())
            .bind(kind.as_str())
            .bind(*revision)
            .execute(&mut *transaction)
            .await?;
            kept += done.rows_affected();
        }
        transaction.commit().await?;
        Ok(kept)
    }

    /// The content of a revision, as it was given. None when it is not kept.
    ///
    /// # Errors
    /// When the database cannot be read, or the content is damaged.
    pub async fn revision(
        &self,
        kind: RevisionKind,
        revision: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row = sqlx::query("SELECT content FROM revisions WHERE kind = ? AND revision = ?")
            .bind(kind.as_str())
            .bind(revision)
            .fetch_optional(&self.read)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let packed: Vec<u8> = row.try_get("content")?;
        let mut content = Vec::new();
        DeflateDecoder::new(packed.as_slice())
            .take(CONTENT_MAX)
            .read_to_end(&mut content)
            .map_err(|_| StoreError::Nonsense { what: "revision" })?;
        Ok(Some(content))
    }

    /// The revisions of a kind that are kept, the one used last first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revisions(
        &self,
        kind: RevisionKind,
        most: usize,
    ) -> Result<Vec<KeptRevision>, StoreError> {
        let rows = sqlx::query(
            "SELECT revision, first_used, last_used FROM revisions WHERE kind = ? \
             ORDER BY last_used DESC, first_used DESC, revision LIMIT ?",
        )
        .bind(kind.as_str())
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&self.read)
        .await?;
        let kept = |row: &sqlx::sqlite::SqliteRow| {
            Ok(KeptRevision {
                revision: row.try_get("revision")?,
                first_used: stamp(row.try_get("first_used")?),
                last_used: stamp(row.try_get("last_used")?),
            })
        };
        rows.iter().map(kept).collect()
    }

    /// Forgets revisions that have not decided since a moment: no record names them any more.
    /// Returns how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_revisions(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM revisions WHERE last_used < ?")
            .bind(before.millis())
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected())
    }
}

fn pack(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::default());
    packed.write_all(content)?;
    packed.finish()
}
