//! From what happened to what is still to be told: security events go to the outboxes of streams
//! and of alert channels in one transaction, so that none is lost and none is told twice.

use domain::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::streams::note;
use super::{Store, StoreError, ToTell, stamp};

/// What an alert channel has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAlert {
    /// Which channel, by its name in the settings.
    pub channel: String,
    /// What, JSON; the form is the service's.
    pub body: String,
    /// When it happened.
    pub at: Timestamp,
}

/// One that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// Its number: later ones have greater ones.
    pub number: i64,
    /// What, JSON.
    pub body: String,
    /// When it happened.
    pub at: Timestamp,
}

/// What becomes of a batch of security events.
#[derive(Clone, Debug, Default)]
pub struct HandedOn {
    /// The greatest number among them: all up to it have been looked at.
    pub until: u64,
    /// What streams are told.
    pub sets: Vec<ToTell>,
    /// What alert channels are told.
    pub alerts: Vec<NewAlert>,
}

/// Says that a stream lost some: makes the token that tells so, from how many they are.
pub type Notice<'a> = &'a (dyn Fn(u64) -> ToTell + Send + Sync);

impl Store {
    /// Hands security events on: whoever is to be told has them in an outbox of their own, and
    /// they are removed. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable; then nothing was done.
    pub async fn hand_on(&self, done: &HandedOn) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        note(&mut transaction, &done.sets).await?;
        for alert in &done.alerts {
            sqlx::query("INSERT INTO alert_outbox (channel, body, at) VALUES (?, ?, ?)")
                .bind(&alert.channel)
                .bind(&alert.body)
                .bind(alert.at.millis())
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query("DELETE FROM security_events WHERE number <= ?")
            .bind(i64::try_from(done.until).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Keeps of what a stream has to tell only the newest `most`, and puts what `notice` makes of
    /// the number of those that were let go in their place, so that it is told first. Returns how
    /// many were let go by this call.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing was done.
    pub async fn trim_outbox(
        &self,
        stream_id: &str,
        most: u32,
        notice: Notice<'_>,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let lost = trim(&mut transaction, stream_id, most, notice).await?;
        transaction.commit().await?;
        Ok(lost)
    }

    /// Lets go of one token that a receiver refuses for good, and puts what `notice` makes of the
    /// number of those that were let go so far in its place. False when there is no such token, or
    /// it only told of others that were let go.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing was done.
    pub async fn let_go(
        &self,
        stream_id: &str,
        jti: &str,
        notice: Notice<'_>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let gone: Option<(i64, i64)> = sqlx::query_as(
            "DELETE FROM ssf_outbox WHERE stream_id = ? AND jti = ? RETURNING number, lost",
        )
        .bind(stream_id)
        .bind(jti)
        .fetch_optional(&mut *transaction)
        .await?;
        let is_lost = gone.is_some_and(|(_, lost)| lost == 0);
        if let Some((number, 0)) = gone {
            // One notice for all.
            let told: Vec<i64> = sqlx::query_scalar(
                "DELETE FROM ssf_outbox WHERE stream_id = ? AND lost > 0 RETURNING lost",
            )
            .bind(stream_id)
            .fetch_all(&mut *transaction)
            .await?;
            let lost = 1 + told.iter().sum::<i64>();
            put_notice(&mut transaction, stream_id, (number, lost), notice).await?;
        }
        transaction.commit().await?;
        Ok(is_lost)
    }

    /// Lets go of everything that a stream had to tell. How many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn clear_outbox(&self, stream_id: &str) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM ssf_outbox WHERE stream_id = ?")
            .bind(stream_id)
            .execute(&self.write)
            .await?;
        Ok(done.rows_affected())
    }

    /// How many security events wait to be handed on, and how many tokens and alerts to be told.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn waiting(&self) -> Result<[i64; 3], StoreError> {
        let (events, sets, alerts) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM security_events), (SELECT COUNT(*) FROM ssf_outbox), \
             (SELECT COUNT(*) FROM alert_outbox)",
        )
        .fetch_one(&self.read)
        .await?;
        Ok([events, sets, alerts])
    }

    /// What an alert channel still has to be told, the oldest first, at most `most`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn alerts(&self, channel: &str, most: u32) -> Result<Vec<AlertRow>, StoreError> {
        let rows: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT number, body, at FROM alert_outbox WHERE channel = ? ORDER BY number LIMIT ?",
        )
        .bind(channel)
        .bind(most)
        .fetch_all(&self.read)
        .await?;
        let row = |(number, body, at)| AlertRow {
            number,
            body,
            at: stamp(at),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// A channel has been told everything up to this number. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn alerts_told(&self, channel: &str, until: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM alert_outbox WHERE channel = ? AND number <= ?")
            .bind(channel)
            .bind(until)
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Keeps of what a channel has to be told only the newest `most`. How many were let go.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn trim_alerts(&self, channel: &str, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM alert_outbox WHERE channel = ?1 AND number <= \
             (SELECT number FROM alert_outbox WHERE channel = ?1 \
              ORDER BY number DESC LIMIT 1 OFFSET ?2)",
        )
        .bind(channel)
        .bind(most)
        .execute(&self.write)
        .await?;
        Ok(done.rows_affected())
    }

    /// Lets go of what channels had to be told that are not in the settings any more. How many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_channels(&self, but: &[String]) -> Result<u64, StoreError> {
        let known: Vec<String> = sqlx::query_scalar("SELECT DISTINCT channel FROM alert_outbox")
            .fetch_all(&self.read)
            .await?;
        let mut count = 0;
        for gone in known.iter().filter(|channel| !but.contains(channel)) {
            let done = sqlx::query("DELETE FROM alert_outbox WHERE channel = ?")
                .bind(gone)
                .execute(&self.write)
                .await?;
            count += done.rows_affected();
        }
        Ok(count)
    }
}

async fn trim(
    connection: &mut SqliteConnection,
    stream_id: &str,
    most: u32,
    notice: Notice<'_>,
) -> Result<u64, StoreError> {
    let last: Option<i64> = sqlx::query_scalar(
        "SELECT number FROM ssf_outbox WHERE stream_id = ? ORDER BY number DESC LIMIT 1 OFFSET ?",
    )
    .bind(stream_id)
    .bind(most)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(last) = last else { return Ok(0) };
    // An earlier notice is among them, and what it told of counts again.
    let (gone, notices, told): (i64, i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), SUM(lost > 0), SUM(lost) FROM ssf_outbox \
         WHERE stream_id = ? AND number <= ?",
    )
    .bind(stream_id)
    .bind(last)
    .fetch_one(&mut *connection)
    .await?;
    let lost_now = gone - notices;
    if lost_now == 0 {
        // Only the notice itself is one too many.
        return Ok(0);
    }
    sqlx::query("DELETE FROM ssf_outbox WHERE stream_id = ? AND number <= ?")
        .bind(stream_id)
        .bind(last)
        .execute(&mut *connection)
        .await?;
    let lost = lost_now + told;
    put_notice(connection, stream_id, (last, lost), notice).await?;
    Ok(u64::try_from(lost_now).unwrap_or(0))
}

/// Says under this number that so many were let go.
async fn put_notice(
    connection: &mut SqliteConnection,
    stream_id: &str,
    (number, lost): (i64, i64),
    notice: Notice<'_>,
) -> Result<(), StoreError> {
    let one = notice(u64::try_from(lost).unwrap_or(0));
    sqlx::query(
        "INSERT INTO ssf_outbox (number, stream_id, jti, claims, at, lost) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(number)
    .bind(stream_id)
    .bind(&one.jti)
    .bind(&one.claims)
    .bind(one.at.millis())
    .bind(lost)
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::{EntityRef, SecurityEventKind};

    use super::*;
    use crate::sqlite::{Initiator, NewSecurityEvent};

    fn event(why: &str) -> NewSecurityEvent {
        NewSecurityEvent {
            at: stamp(1000),
            kind: SecurityEventKind::SessionRevoked,
            subject: Some(EntityRef::new("User", "alice").unwrap()),
            session_id: None,
            device_id: None,
            initiator: Initiator::Admin,
            by: "sk_1".to_owned(),
            why: why.to_owned(),
            body: None,
            record: None,
        }
    }

    fn set(jti: &str, claims: &str) -> ToTell {
        ToTell {
            stream_id: "a".to_owned(),
            jti: jti.to_owned(),
            claims: claims.to_owned(),
            at: stamp(1000),
        }
    }

    async fn store(folder: &tempfile::TempDir) -> Store {
        let store = Store::open(&folder.path().join("test.db")).await.unwrap();
        let row = super::super::streams::tests::stream("a");
        assert!(store.insert_stream(&row, 1).await.unwrap());
        store
    }

    #[tokio::test]
    async fn events_leave_when_they_are_in_the_outboxes_and_later_ones_stay() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(&folder).await;
        let all = [event("one"), event("two"), event("three")];
        store.put_security_events(&all).await.unwrap();
        let found = store.security_events(2).await.unwrap();
        let alert = NewAlert {
            channel: "stdout".to_owned(),
            body: "{}".to_owned(),
            at: stamp(1000),
        };
        let done = HandedOn {
            until: found[1].number,
            sets: vec![set("1", "one"), set("2", "two")],
            alerts: vec![alert],
        };
        store.hand_on(&done).await.unwrap();
        let left = store.security_events(10).await.unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].event, event("three"));
        assert_eq!(store.waiting().await.unwrap(), [1, 2, 1]);
        let alerts = store.alerts("stdout", 10).await.unwrap();
        assert_eq!(alerts.len(), 1);
        store.alerts_told("stdout", alerts[0].number).await.unwrap();
        assert_eq!(store.waiting().await.unwrap(), [1, 2, 0]);
    }

    #[tokio::test]
    async fn what_is_let_go_is_told_first_and_counted_together() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(&folder).await;
        let notice = |lost: u64| set(&format!("lost-{lost}"), "lost");
        let jtis = async || -> Vec<String> {
            let rows = store.to_tell("a", 10).await.unwrap();
            rows.into_iter().map(|row| row.jti).collect()
        };
        let all: Vec<ToTell> = (0..5).map(|n| set(&n.to_string(), "x")).collect();
        store.tell(&all).await.unwrap();
        assert_eq!(store.trim_outbox("a", 5, &notice).await.unwrap(), 0);
        assert_eq!(store.trim_outbox("a", 3, &notice).await.unwrap(), 2);
        assert_eq!(jtis().await, ["lost-2", "2", "3", "4"]);
        assert_eq!(store.trim_outbox("a", 3, &notice).await.unwrap(), 0);
        store.tell(&[set("5", "x"), set("6", "x")]).await.unwrap();
        assert_eq!(store.trim_outbox("a", 3, &notice).await.unwrap(), 2);
        assert_eq!(jtis().await, ["lost-4", "4", "5", "6"]);
        let told = store.told("a", &["lost-4".to_owned()]).await.unwrap();
        assert_eq!(told, 1);
        assert_eq!(jtis().await, ["4", "5", "6"]);
    }

    #[tokio::test]
    async fn what_is_refused_for_good_is_told_in_its_place() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(&folder).await;
        let notice = |lost: u64| set(&format!("lost-{lost}"), "lost");
        let all: Vec<ToTell> = (0..4).map(|n| set(&n.to_string(), "x")).collect();
        store.tell(&all).await.unwrap();
        for (jti, is_lost, left) in [
            ("1", true, vec!["0", "lost-1", "2", "3"]),
            ("9", false, vec!["0", "lost-1", "2", "3"]),
            ("3", true, vec!["0", "2", "lost-2"]),
            // Who refuses to be told of a loss is not told that it was lost.
            ("lost-2", false, vec!["0", "2"]),
        ] {
            assert_eq!(store.let_go("a", jti, &notice).await.unwrap(), is_lost);
            let rows = store.to_tell("a", 10).await.unwrap();
            let jtis: Vec<String> = rows.into_iter().map(|row| row.jti).collect();
            assert_eq!(jtis, left, "{jti}");
        }
        let all = store.to_tell_after("a", 0, 10).await.unwrap();
        let after = store.to_tell_after("a", all[0].0, 10).await.unwrap();
        assert_eq!(after, all[1..]);
    }

    #[tokio::test]
    async fn channels_are_bounded_and_forgotten_with_their_settings() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(&folder).await;
        let alert = |channel: &str, body: &str| NewAlert {
            channel: channel.to_owned(),
            body: body.to_owned(),
            at: stamp(1000),
        };
        let done = HandedOn {
            until: 0,
            sets: Vec::new(),
            alerts: vec![alert("a", "1"), alert("a", "2"), alert("b", "1")],
        };
        store.hand_on(&done).await.unwrap();
        assert_eq!(store.trim_alerts("a", 1).await.unwrap(), 1);
        assert_eq!(store.alerts("a", 10).await.unwrap()[0].body, "2");
        assert_eq!(store.forget_channels(&["a".to_owned()]).await.unwrap(), 1);
        assert!(store.alerts("b", 10).await.unwrap().is_empty());
    }
}
