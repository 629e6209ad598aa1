//! The SQLite store: one file, WAL, one writer.
//!
//! Reads go through a pool, writes through a single connection whose transactions begin
//! `IMMEDIATE`, so that none of them meets `SQLITE_BUSY_SNAPSHOT` half way. What this store says
//! is committed is on the disk (`synchronous=FULL`).

mod crowds;
mod decisions;
mod devices;
mod entities;
mod families;
mod handing_on;
mod handles;
mod hearing;
mod keys;
mod models;
mod opened;
mod policies;
mod profiles;
mod revisions;
mod revocations;
mod security_events;
mod sessions;
mod signing;
mod statuses;
mod streams;
mod watching;

#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::Timestamp;
use sqlx::Connection as _;
use sqlx::migrate::{Migration, MigrationSource, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub use crowds::CrowdRow;
pub use decisions::DecisionRow;
pub use devices::{ChangedDevice, DeviceChange, DeviceFilter};
pub use entities::{EntityChange, NewEntityChange, StoredEntities, StoredEntity};
pub use families::{FamilyChange, RefreshFamily, SessionEnded};
pub use handing_on::{AlertRow, HandedOn, NewAlert, Notice};
pub use handles::{NewHandle, PreviousHandle, SessionHandles};
pub use hearing::{HeardRow, HeardSet};
pub use keys::{KeepKeyError, KeyAct, KeyRecord};
pub use models::{ModelAct, ModelActKind};
pub use opened::{EndedSession, Ending, SessionFilter, SessionProof, SessionsOf, StoredSession};
pub use policies::{PolicyAct, PolicyActKind};
pub use profiles::ProfileRow;
pub use revisions::{KeptRevision, RevisionKind};
pub use revocations::{NewRevocation, RevocationRow};
pub use security_events::{Initiator, NewSecurityEvent, SecurityEventRow};
pub use sessions::{Lift, SpentProof};
pub use signing::CheckpointRow;
pub use statuses::TokenStatusRow;
pub use streams::{StreamRow, ToTell};

/// Connections that read.
const READERS: u32 = 4;
/// How long a connection waits for another process's write.
const BUSY: Duration = Duration::from_secs(5);

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused, or a row is not what it should be.
    #[error("the store failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the store's schema could not be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row holds something that cannot be.
    #[error("the store holds a {what} that makes no sense")]
    Nonsense {
        /// What kind of row.
        what: &'static str,
    },
    /// A proof that counts once was spent before.
    #[error("the proof was spent before")]
    Spent,
}

/// The open store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    read: SqlitePool,
    write: SqlitePool,
    /// Connections that were opened to write, one after another.
    writers: Arc<AtomicU64>,
}

impl Store {
    /// Opens the store's file, making it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be opened or its schema is from a later version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let writers = Arc::new(AtomicU64::new(0));
        let opened = Arc::clone(&writers);
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .after_connect(move |_, _| {
                opened.fetch_add(1, Ordering::Relaxed);
                Box::pin(async { Ok(()) })
            })
            // When a disk is full SQLite rolls back by itself, sqlx's own rollback then fails,
            // and the connection would count as within a transaction for ever.
            .before_acquire(|connection, _| {
                let usable = !connection.is_in_transaction();
                Box::pin(async move { Ok(usable) })
            })
            .connect_with(options.clone())
            .await?;
        Migrator::new(Embedded).await?.run(&write).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self {
            read,
            write,
            writers,
        })
    }

    /// Claims the store for one engine, until the file that this returns is dropped: what an
    /// engine has in memory, another would overwrite. Commands beside it need no claim.
    ///
    /// # Errors
    /// When another engine has it, or the lock beside the store's file cannot be made.
    pub fn claim(path: &Path) -> io::Result<File> {
        // The same file has the same lock, by whatever way it is named. A file of its own,
        // because to close the store's would give up SQLite's locks on it.
        let mut lock = path.canonicalize()?.into_os_string();
        lock.push(".lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "{}: another engine works with this store; give each its own `store.url` and \
                     `data_dir`",
                    path.display()
                ),
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// What changes whenever another process has written: which connection says so, and its
    /// number, which means nothing to another connection.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn data_version(&self) -> Result<(u64, i64), StoreError> {
        // Held until the end: there is one, and no other is opened meanwhile.
        let mut writer = self.write.acquire().await?;
        let version = sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut *writer)
            .await?;
        Ok((self.writers.load(Ordering::Relaxed), version))
    }

    /// Waits for what is under way and closes.
    pub async fn close(&self) {
        self.write.close().await;
        self.read.close().await;
    }

    async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>, StoreError> {
        Ok(self.write.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Makes the store's file, if it is not there, so that only its owner may read it; SQLite gives
/// the files beside it the same mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let told = format!("{}: {error}", path.display());
            Err(sqlx::Error::Io(io::Error::new(error.kind(), told)).into())
        }
        _ => Ok(()),
    }
}

/// The migrations, in the binary.
#[derive(Debug)]
struct Embedded;

impl MigrationSource<'static> for Embedded {
    fn resolve(
        self,
    ) -> std::pin::Pin<
        Box<
            dyn Future<Output = Result<Vec<Migration>, Box<dyn std::error::Error + Send + Sync>>>
                + Send,
        >,
    > {
        Box::pin(async {
            let step = |number, name: &'static str, text: &'static str| {
                let text = sqlx::SqlStr::from_static(text);
                Migration::new(number, name.into(), MigrationType::Simple, text, false)
            };
            Ok(vec![
                step(
                    1,
                    "first",
                    include_str!("../../migrations/sqlite/0001_first.sql"),
                ),
                step(
                    2,
                    "models",
                    include_str!("../../migrations/sqlite/0002_models.sql"),
                ),
                step(
                    3,
                    "crowds",
                    include_str!("../../migrations/sqlite/0003_crowds.sql"),
                ),
                step(
                    4,
                    "removed",
                    include_str!("../../migrations/sqlite/0004_removed.sql"),
                ),
                step(
                    5,
                    "revisions",
                    include_str!("../../migrations/sqlite/0005_revisions.sql"),
                ),
                step(
                    6,
                    "entities",
                    include_str!("../../migrations/sqlite/0006_entities.sql"),
                ),
                step(
                    7,
                    "policy acts",
                    include_str!("../../migrations/sqlite/0007_policy_acts.sql"),
                ),
                step(
                    8,
                    "revocations",
                    include_str!("../../migrations/sqlite/0008_revocations.sql"),
                ),
                step(
                    9,
                    "families and sessions",
                    include_str!("../../migrations/sqlite/0009_families_and_sessions.sql"),
                ),
                step(
                    10,
                    "api keys",
                    include_str!("../../migrations/sqlite/0010_api_keys.sql"),
                ),
                step(
                    11,
                    "signing",
                    include_str!("../../migrations/sqlite/0011_signing.sql"),
                ),
                step(
                    12,
                    "shared signals",
                    include_str!("../../migrations/sqlite/0012_shared_signals.sql"),
                ),
                step(
                    13,
                    "watched sessions",
                    include_str!("../../migrations/sqlite/0013_watched_sessions.sql"),
                ),
                step(
                    14,
                    "devices and hearing",
                    include_str!("../../migrations/sqlite/0014_devices_and_hearing.sql"),
                ),
                step(
                    15,
                    "records of acts",
                    include_str!("../../migrations/sqlite/0015_act_records.sql"),
                ),
            ])
        })
    }
}

fn stamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}
