//! What the monitor looks at: live sessions, many at once, and what is known of their subjects and
//! devices.

use domain::{DeviceRecord, EntityRef, SessionRecord};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{QueryBuilder, Row as _};

use super::devices::read_device;
use super::sessions::read_session;
use super::{Store, StoreError};

/// Names in one query at most: fewer than SQLite takes.
const AT_ONCE: usize = 500;

impl Store {
    /// Ids of sessions that were opened with the engine and have not ended, in their order, from
    /// the one after `after` on. Some of them may have expired.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unended_sessions(
        &self,
        after: &str,
        most: u32,
    ) -> Result<Vec<String>, StoreError> {
        let ids = sqlx::query_scalar(
            "SELECT session_id FROM sessions WHERE client_id NOT NULL AND ended_at IS NULL \
             AND session_id > ? ORDER BY session_id LIMIT ?",
        )
        .bind(after)
        .bind(most)
        .fetch_all(&self.read)
        .await?;
        Ok(ids)
    }

    /// The same of those that one client opened.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unended_sessions_by(
        &self,
        client_id: &str,
        after: &str,
        most: u32,
    ) -> Result<Vec<String>, StoreError> {
        // By the one index that a page costs no more for being the last.
        let ids = sqlx::query_scalar(
            "SELECT session_id FROM sessions INDEXED BY sessions_live \
             WHERE client_id = ? AND client_id NOT NULL AND ended_at IS NULL AND session_id > ? ORDER BY session_id LIMIT ?",
        )
        .bind(client_id)
        .bind(after)
        .bind(most)
        .fetch_all(&self.read)
        .await?;
        Ok(ids)
    }

    /// The same of one subject.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unended_sessions_of(
        &self,
        subject: &EntityRef,
    ) -> Result<Vec<String>, StoreError> {
        let ids = sqlx::query_scalar(
            "SELECT session_id FROM sessions WHERE subject_type = ? AND subject_id = ? \
             AND client_id NOT NULL AND ended_at IS NULL",
        )
        .bind(subject.kind.as_str())
        .bind(subject.id.as_str())
        .fetch_all(&self.read)
        .await?;
        Ok(ids)
    }

    /// The same of those that were last seen on a device.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unended_sessions_on(&self, device_id: &str) -> Result<Vec<String>, StoreError> {
        let ids = sqlx::query_scalar(
            "SELECT session_id FROM sessions WHERE seen_device = ? \
             AND client_id NOT NULL AND ended_at IS NULL",
        )
        .bind(device_id)
        .fetch_all(&self.read)
        .await?;
        Ok(ids)
    }

    /// Those of these sessions that there are, in any order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sessions_among(&self, ids: &[String]) -> Result<Vec<SessionRecord>, StoreError> {
        self.among("SELECT * FROM sessions WHERE session_id", ids, read_session)
            .await
    }

    /// Those of these devices that are recorded, in any order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn devices_among(&self, ids: &[String]) -> Result<Vec<DeviceRecord>, StoreError> {
        self.among("SELECT * FROM devices WHERE device_id", ids, read_device)
            .await
    }

    async fn among<T>(
        &self,
        select: &'static str,
        ids: &[String],
        read: impl Fn(&SqliteRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            let mut query = QueryBuilder::<Sqlite>::new(select);
            query.push(" IN (");
            let mut names = query.separated(", ");
            for id in ids {
                names.push_bind(id);
            }
            query.push(")");
            for row in query.build().fetch_all(&self.read).await? {
                found.push(read(&row)?);
            }
        }
        Ok(found)
    }

    /// Those of these subjects' profiles that there are, in any order: form and bytes of each.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn profiles_among(
        &self,
        subjects: &[EntityRef],
    ) -> Result<Vec<(EntityRef, u32, Vec<u8>)>, StoreError> {
        let nonsense = || StoreError::Nonsense { what: "profile" };
        let mut found = Vec::with_capacity(subjects.len());
        for subjects in subjects.chunks(AT_ONCE) {
            let mut query = QueryBuilder::<Sqlite>::new(
                "SELECT subject_type, subject_id, form, body FROM profiles \
                 WHERE (subject_type, subject_id) IN (VALUES ",
            );
            let mut names = query.separated(", ");
            for subject in subjects {
                names.push("(");
                names.push_bind_unseparated(subject.kind.as_str());
                names.push_unseparated(", ");
                names.push_bind_unseparated(subject.id.as_str());
                names.push_unseparated(")");
            }
            query.push(")");
            for row in query.build().fetch_all(&self.read).await? {
                let kind: String = row.try_get("subject_type")?;
                let id: String = row.try_get("subject_id")?;
                let form: i64 = row.try_get("form")?;
                found.push((
                    EntityRef::new(kind, id).map_err(|_| nonsense())?,
                    u32::try_from(form).map_err(|_| nonsense())?,
                    row.try_get("body")?,
                ));
            }
        }
        Ok(found)
    }
}
