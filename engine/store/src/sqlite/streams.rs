//! Streams of shared signals, what they still have to tell, and what was heard.

use domain::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{Store, StoreError, stamp};

/// A stream. What its texts mean is worked out elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamRow {
    /// Its name.
    pub id: String,
    /// The client that made it.
    pub client_id: String,
    /// Whom its tokens are for, a JSON array.
    pub aud: String,
    /// What its receiver would like to hear, a JSON array.
    pub events_requested: String,
    /// Where its tokens are pushed to; none: they are fetched.
    pub endpoint_url: Option<String>,
    /// What is sent in `Authorization` with each, sealed.
    pub authorization: Option<Vec<u8>>,
    /// Its receiver's words.
    pub description: Option<String>,
    /// `enabled`, `paused` or `disabled`.
    pub status: String,
    /// Why it is not enabled.
    pub reason: Option<String>,
    /// Whether it hears of everybody but those who were taken out, or of nobody but those who were
    /// added.
    pub hears_all: bool,
    /// When it was last verified at its receiver's wish.
    pub verified_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its receiver last showed itself.
    pub active_at: Timestamp,
}

impl std::fmt::Debug for StreamRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamRow")
            .field("id", &self.id)
            .field("client_id", &self.client_id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Something that a stream has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToTell {
    /// Which stream.
    pub stream_id: String,
    /// The token's `jti`.
    pub jti: String,
    /// Its claims, JSON.
    pub claims: String,
    /// When it happened.
    pub at: Timestamp,
}

impl Store {
    /// Keeps a new stream, unless its client has `most` already. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn insert_stream(&self, row: &StreamRow, most: u32) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO ssf_streams (stream_id, client_id, aud, events_requested, endpoint_url, \
             authorization, description, status, reason, subjects, verified_at, created_at, active_at) \
             SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? \
             WHERE (SELECT COUNT(*) FROM ssf_streams WHERE client_id = ?) < ?",
        )
        .bind(&row.id)
        .bind(&row.client_id)
        .bind(&row.aud)
        .bind(&row.events_requested)
        .bind(&row.endpoint_url)
        .bind(&row.authorization)
        .bind(&row.description)
        .bind(&row.status)
        .bind(&row.reason)
        .bind(if row.hears_all { "all" } else { "none" })
        .bind(row.verified_at.map(Timestamp::millis))
        .bind(row.created_at.millis())
        .bind(row.active_at.millis())
        .bind(&row.client_id)
        .bind(most)
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Keeps what of a stream may change. False when there is none. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn update_stream(&self, row: &StreamRow) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE ssf_streams SET events_requested = ?, endpoint_url = ?, authorization = ?, \
             description = ?, status = ?, reason = ?, verified_at = ?, active_at = ? \
             WHERE stream_id = ?",
        )
        .bind(&row.events_requested)
        .bind(&row.endpoint_url)
        .bind(&row.authorization)
        .bind(&row.description)
        .bind(&row.status)
        .bind(&row.reason)
        .bind(row.verified_at.map(Timestamp::millis))
        .bind(row.active_at.millis())
        .bind(&row.id)
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a stream with everything that it still had to tell. False when there is none.
    /// Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn delete_stream(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM ssf_streams WHERE stream_id = ?")
            .bind(id)
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// All streams, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn streams(&self) -> Result<Vec<StreamRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM ssf_streams ORDER BY created_at, stream_id")
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read_stream).collect()
    }

    /// Adds a subject to a stream, or takes it out. False when the stream has `most` already, or
    /// there is no such stream. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn put_stream_subject(
        &self,
        stream_id: &str,
        subject: &str,
        is_added: bool,
        most: u32,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO ssf_subjects (stream_id, subject, is_added) SELECT ?, ?, ? \
             WHERE EXISTS (SELECT 1 FROM ssf_streams WHERE stream_id = ?) \
             AND (EXISTS (SELECT 1 FROM ssf_subjects WHERE stream_id = ? AND subject = ?) \
             OR (SELECT COUNT(*) FROM ssf_subjects WHERE stream_id = ?) < ?) \
             ON CONFLICT (stream_id, subject) DO UPDATE SET is_added = excluded.is_added",
        )
        .bind(stream_id)
        .bind(subject)
        .bind(is_added)
        .bind(stream_id)
        .bind(stream_id)
        .bind(subject)
        .bind(stream_id)
        .bind(most)
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets that a stream named a subject. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn drop_stream_subject(
        &self,
        stream_id: &str,
        subject: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM ssf_subjects WHERE stream_id = ? AND subject = ?")
            .bind(stream_id)
            .bind(subject)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// The subjects of one stream, JSON, and whether each was added.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn subjects_of_stream(
        &self,
        stream_id: &str,
    ) -> Result<Vec<(String, bool)>, StoreError> {
        let rows = sqlx::query_as("SELECT subject, is_added FROM ssf_subjects WHERE stream_id = ?")
            .bind(stream_id)
            .fetch_all(&self.read)
            .await?;
        Ok(rows)
    }

    /// The subjects of all streams: stream, subject (JSON), whether it was added.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stream_subjects(&self) -> Result<Vec<(String, String, bool)>, StoreError> {
        let rows = sqlx::query_as("SELECT stream_id, subject, is_added FROM ssf_subjects")
            .fetch_all(&self.read)
            .await?;
        Ok(rows)
    }

    /// Notes what streams have to tell. Durable when this returns. What was noted before under
    /// the same `jti` is noted once.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn tell(&self, all: &[ToTell]) -> Result<(), StoreError> {
        if all.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        note(&mut transaction, all).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// What a stream still has to tell, the oldest first, at most `most`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn to_tell(&self, stream_id: &str, most: u32) -> Result<Vec<ToTell>, StoreError> {
        let rows = self.to_tell_after(stream_id, 0, most).await?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// What a stream still has to tell after a number, the oldest first, at most `most`, with
    /// the number of each.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn to_tell_after(
        &self,
        stream_id: &str,
        after: i64,
        most: u32,
    ) -> Result<Vec<(i64, ToTell)>, StoreError> {
        let rows = sqlx::query(
            "SELECT number, stream_id, jti, claims, at FROM ssf_outbox \
             WHERE stream_id = ? AND number > ? ORDER BY number LIMIT ?",
        )
        .bind(stream_id)
        .bind(after)
        .bind(most)
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|row| {
                let one = ToTell {
                    stream_id: row.try_get("stream_id")?,
                    jti: row.try_get("jti")?,
                    claims: row.try_get("claims")?,
                    at: stamp(row.try_get("at")?),
                };
                Ok((row.try_get("number")?, one))
            })
            .collect()
    }

    /// A stream's receiver has these, or will never take them. How many were still to be told.
    /// Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn told(&self, stream_id: &str, jtis: &[String]) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let mut count = 0;
        for jti in jtis {
            let done = sqlx::query("DELETE FROM ssf_outbox WHERE stream_id = ? AND jti = ?")
                .bind(stream_id)
                .bind(jti)
                .execute(&mut *transaction)
                .await?;
            count += done.rows_affected();
        }
        transaction.commit().await?;
        Ok(count)
    }

    /// Forgets which tokens were taken before a moment.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_sets(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM sets_received WHERE at < ?")
            .bind(before.millis())
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected())
    }
}

/// Notes what streams have to tell, within a transaction that changes what it tells of.
pub(super) async fn note(to: &mut SqliteConnection, all: &[ToTell]) -> Result<(), StoreError> {
    for one in all {
        // A stream that was removed meanwhile has nobody to tell it to.
        sqlx::query(
            "INSERT OR IGNORE INTO ssf_outbox (stream_id, jti, claims, at) SELECT ?, ?, ?, ? \
             WHERE EXISTS (SELECT 1 FROM ssf_streams WHERE stream_id = ?)",
        )
        .bind(&one.stream_id)
        .bind(&one.jti)
        .bind(&one.claims)
        .bind(one.at.millis())
        .bind(&one.stream_id)
        .execute(&mut *to)
        .await?;
    }
    Ok(())
}

fn read_stream(row: &SqliteRow) -> Result<StreamRow, StoreError> {
    Ok(StreamRow {
        id: row.try_get("stream_id")?,
        client_id: row.try_get("client_id")?,
        aud: row.try_get("aud")?,
        events_requested: row.try_get("events_requested")?,
        endpoint_url: row.try_get("endpoint_url")?,
        authorization: row.try_get("authorization")?,
        description: row.try_get("description")?,
        status: row.try_get("status")?,
        reason: row.try_get("reason")?,
        hears_all: row.try_get::<String, _>("subjects")? == "all",
        verified_at: row.try_get::<Option<i64>, _>("verified_at")?.map(stamp),
        created_at: stamp(row.try_get("created_at")?),
        active_at: stamp(row.try_get("active_at")?),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::sqlite) fn stream(id: &str) -> StreamRow {
        StreamRow {
            id: id.to_owned(),
            client_id: "sk_1".to_owned(),
            aud: r#"["sk_1"]"#.to_owned(),
            events_requested: "[]".to_owned(),
            endpoint_url: None,
            authorization: None,
            description: None,
            status: "enabled".to_owned(),
            reason: None,
            hears_all: true,
            verified_at: None,
            created_at: stamp(1000),
            active_at: stamp(1000),
        }
    }

    fn set(stream: &str, jti: &str) -> ToTell {
        ToTell {
            stream_id: stream.to_owned(),
            jti: jti.to_owned(),
            claims: "{}".to_owned(),
            at: stamp(2000),
        }
    }

    #[tokio::test]
    async fn what_is_to_be_told_stays_in_order_until_it_is_told() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("test.db")).await.unwrap();
        assert!(store.insert_stream(&stream("a"), 2).await.unwrap());
        assert!(store.insert_stream(&stream("b"), 2).await.unwrap());
        assert!(
            !store.insert_stream(&stream("c"), 2).await.unwrap(),
            "two at most"
        );
        let all = [
            set("a", "3"),
            set("b", "3"),
            set("a", "1"),
            set("a", "3"),
            set("gone", "1"),
        ];
        store.tell(&all).await.unwrap();
        store.tell(&[set("a", "2")]).await.unwrap();
        let jtis = async |stream: &str| -> Vec<String> {
            let rows = store.to_tell(stream, 10).await.unwrap();
            rows.into_iter().map(|row| row.jti).collect()
        };
        assert_eq!(jtis("a").await, ["3", "1", "2"]);
        assert_eq!(
            store
                .told("a", &["3".to_owned(), "9".to_owned()])
                .await
                .unwrap(),
            1
        );
        assert_eq!(jtis("a").await, ["1", "2"]);
        assert_eq!(jtis("b").await, ["3"]);
        assert!(store.delete_stream("a").await.unwrap());
        assert!(jtis("a").await.is_empty());
        assert_eq!(store.streams().await.unwrap(), [stream("b")]);
    }

    #[tokio::test]
    async fn subjects_of_a_stream_are_bounded() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("test.db")).await.unwrap();
        store.insert_stream(&stream("a"), 2).await.unwrap();
        assert!(store.put_stream_subject("a", "x", true, 1).await.unwrap());
        assert!(!store.put_stream_subject("a", "y", true, 1).await.unwrap());
        assert!(store.put_stream_subject("a", "x", true, 1).await.unwrap());
        assert!(!store.put_stream_subject("b", "x", true, 1).await.unwrap());
        let all = store.stream_subjects().await.unwrap();
        assert_eq!(all, [("a".to_owned(), "x".to_owned(), true)]);
        let of_stream = store.subjects_of_stream("a").await.unwrap();
        assert_eq!(of_stream, [("x".to_owned(), true)]);
        store.drop_stream_subject("a", "x").await.unwrap();
        assert!(store.stream_subjects().await.unwrap().is_empty());
    }
}
