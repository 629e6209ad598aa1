//! The SQLite store: one file, WAL, one writer.
//!
//! Reads go through a pool, writes through a single connection whose transactions begin
//! `IMMEDIATE`, so that none of them meets `SQLITE_BUSY_SNAPSHOT` half way. What this store says
//! is committed is on the disk (`synchronous=FULL`).

mod crowds;
mod decisions;
mod devices;
mod keys;
mod models;
mod profiles;
mod sessions;

use std::path::Path;
use std::time::Duration;

use domain::Timestamp;
use sqlx::migrate::{Migration, MigrationSource, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub use crowds::CrowdRow;
pub use decisions::DecisionRow;
pub use keys::KeyRecord;
pub use models::{ModelAct, ModelActKind};
pub use profiles::ProfileRow;

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
}

/// The open store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    read: SqlitePool,
    write: SqlitePool,
}

impl Store {
    /// Opens the store's file, making it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be opened or its schema is from a later version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await?;
        Migrator::new(Embedded).await?.run(&write).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await?;
        Ok(Self { read, write })
    }

    /// A number that changes whenever another process has written.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn data_version(&self) -> Result<i64, StoreError> {
        // From the writer's one connection: the number is a connection's own.
        Ok(sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&self.write)
            .await?)
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
            ])
        })
    }
}

fn stamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}
