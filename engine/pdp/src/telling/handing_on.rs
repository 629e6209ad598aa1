//! What happened goes to whoever is to be told of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{EntityRef, Timestamp};
use ssf::set::SecurityEvent;
use ssf::stream::Status;
use ssf::{Event, Subject};
use store::sqlite::{HandedOn, NewAlert, NewSecurityEvent, SecurityEventRow, StoreError, ToTell};

use super::alerting;
use super::body::Body;
use super::registry::{Alone, Held};
use super::words::{self, Names};
use crate::app::App;

/// Events in one transaction.
const BATCH: u32 = 500;
/// The outbox of a stream is held against its limit after so many new tokens: it may grow by them.
const TRIM_EVERY: u32 = 100;

impl App {
    /// Hands on what happened, a batch. True when there may be more.
    ///
    /// # Errors
    /// When the store refuses; then it is all still there.
    pub(crate) async fn hand_on(&self) -> Result<bool, StoreError> {
        let store = self.state.store();
        let rows = store.security_events(BATCH).await?;
        let Some(last) = rows.last() else {
            return Ok(false);
        };
        // A stream that is changed meanwhile would be told by its old wishes, or told though it
        // was disabled.
        let _alone = self.telling.registry.alone().await;
        let now = self.inputs.clock.now();
        let mut streams = BTreeMap::clone(&self.telling.registry.all());
        // Whose last key was revoked hears nothing from then on.
        streams.retain(|_, held| self.keys.client(&held.row.client_id, now).is_some());
        let mut done = HandedOn {
            until: last.number,
            ..HandedOn::default()
        };
        for row in &rows {
            let happened = &row.event;
            match Body::read(happened.kind, happened.body.as_deref()) {
                Ok(body) => {
                    let email = self.email_of(happened.subject.as_ref());
                    done.alerts.extend(self.alerts_of(row, &body));
                    done.sets
                        .extend(self.sets_of(row, body, email, streams.values()));
                }
                Err(error) => tracing::error!(
                    %error,
                    number = row.number,
                    kind = happened.kind.as_str(),
                    "a security event cannot be read, and nobody is told of it"
                ),
            }
        }
        store.hand_on(&done).await?;
        self.metrics.telling.handed_on(rows.len());
        for held in streams.values() {
            let new = done.sets.iter().filter(|set| set.stream_id == held.row.id);
            let new = u32::try_from(new.count()).unwrap_or(u32::MAX);
            if new > 0 {
                self.keep_within(held, new).await?;
                held.progress.filled();
            }
        }
        for channel in &self.telling.channels {
            let most = alerting::HELD;
            let lost = store.trim_alerts(&channel.name, most).await?;
            if lost > 0 {
                self.metrics.telling.lost("alert", lost);
                tracing::error!(
                    channel = channel.name,
                    lost,
                    "alerts were let go: more than {most} wait"
                );
            }
        }
        self.telling.wake();
        Ok(rows.len() == usize::try_from(BATCH).unwrap_or(usize::MAX))
    }

    /// The mail address of a subject, where one is stored and may be told.
    fn email_of(&self, subject: Option<&EntityRef>) -> Option<String> {
        let attribute = self.settings.ssf.email_attribute.as_deref()?;
        let snapshot = self.live.current();
        let found = snapshot
            .directory
            .stored_text(&snapshot.policies, subject?, attribute);
        found.filter(|email| !email.is_empty())
    }

    fn sets_of<'s>(
        &self,
        row: &SecurityEventRow,
        body: Body,
        email: Option<String>,
        streams: impl Iterator<Item = &'s Arc<Held>>,
    ) -> Vec<ToTell> {
        let happened = &row.event;
        let names = Names {
            iss: self.public_url(),
            email: email.as_deref(),
        };
        let (Some(event), Some(sub_id)) = (
            words::event(happened, body),
            words::subject(happened, names),
        ) else {
            return Vec::new();
        };
        let uri = words::uri(&event);
        let who = words::every_name(happened, names);
        // What comes of one event is tied together, whoever hears of it (RFC 8417 §2.2).
        let txn = format!("sev_{}", row.number);
        streams
            .filter(|held| held.wants(&uri, &who))
            .map(|held| {
                let about = (event.clone(), sub_id.clone());
                self.to_tell(held, about, Some(txn.clone()), happened.at)
            })
            .filter(|set| {
                let fits = set.claims.len() <= words::CLAIMS_BYTES_MAX;
                if !fits {
                    self.metrics.telling.lost("set", 1);
                    tracing::error!(
                        stream = set.stream_id,
                        number = row.number,
                        "a token would be longer than any receiver takes, and is not made: \
                         the names of whom it is about are too long"
                    );
                }
                fits
            })
            .collect()
    }

    /// What a stream is told: claims without a signature.
    pub(crate) fn to_tell(
        &self,
        held: &Held,
        (events, sub_id): (Event, Subject),
        txn: Option<String>,
        at: Timestamp,
    ) -> ToTell {
        let now = self.inputs.clock.now();
        let claims = SecurityEvent {
            iss: self.public_url().to_owned(),
            jti: self.telling.next_jti(now, &*self.inputs.randomness),
            iat: now.seconds(),
            aud: held.stream.aud.clone(),
            txn,
            sub_id,
            events,
        };
        ToTell {
            stream_id: held.row.id.clone(),
            // Text and numbers alone: it cannot fail.
            claims: serde_json::to_string(&claims).unwrap_or_default(),
            jti: claims.jti,
            at,
        }
    }

    /// An event about a stream itself.
    pub(crate) fn about_stream(&self, held: &Held, event: Event) -> ToTell {
        let sub_id = Subject::Opaque {
            id: held.row.id.clone(),
        };
        self.to_tell(held, (event, sub_id), None, self.inputs.clock.now())
    }

    /// Puts an event about a stream itself where it is told from.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub(crate) async fn put_into_outbox(
        &self,
        _alone: &Alone<'_>,
        held: &Held,
        one: ToTell,
    ) -> Result<(), StoreError> {
        self.state.store().tell(&[one]).await?;
        self.keep_within(held, 1).await?;
        held.progress.filled();
        self.telling.wake();
        Ok(())
    }

    fn alerts_of(&self, row: &SecurityEventRow, body: &Body) -> Vec<NewAlert> {
        let happened: &NewSecurityEvent = &row.event;
        let severity = alerting::severity(happened, body);
        let channels = self.telling.channels.iter();
        channels
            .filter(|channel| channel.wants(happened.kind, severity))
            .map(|channel| NewAlert {
                channel: channel.name.clone(),
                body: alerting::written(row, body, severity),
                at: happened.at,
            })
            .collect()
    }

    /// Lets go of what is too much for a stream's outbox, and tells it so first of all.
    async fn keep_within(&self, held: &Held, new: u32) -> Result<(), StoreError> {
        let most = self.settings.ssf.held;
        let is_due = held.progress.with(|tries| {
            tries.put = tries.put.saturating_add(new);
            let is_due = tries.put >= TRIM_EVERY.min(most);
            if is_due {
                tries.put = 0;
            }
            is_due
        });
        if !is_due {
            return Ok(());
        }
        let notice = |lost: u64| {
            let event = Event::StreamUpdated {
                // When this is read, it flows.
                status: Status::Enabled.as_str().to_owned(),
                reason: Some(format!(
                    "{lost} events were let go: at most {most} are held while they cannot be told"
                )),
            };
            self.about_stream(held, event)
        };
        let store = self.state.store();
        let lost = store.trim_outbox(&held.row.id, most, &notice).await?;
        if lost > 0 {
            self.metrics.telling.lost("set", lost);
            tracing::warn!(
                stream = held.row.id,
                lost,
                "events were let go: the receiver takes none, and no more than {most} are held"
            );
        }
        Ok(())
    }
}
