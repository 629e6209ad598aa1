//! Streams whose receivers are gone are paused, and what waits is counted.

use std::time::Duration;

use ssf::Event;
use ssf::stream::{Status, Stream};
use store::sqlite::{StoreError, StreamRow};

use super::registry::Held;
use crate::app::App;

impl App {
    /// Pauses streams whose receiver has not shown itself for `ssf.inactivity`, and counts what
    /// waits.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn look_after_streams(&self) -> Result<(), StoreError> {
        let patience = self.settings.ssf.inactivity;
        let now = self.inputs.clock.now();
        let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX / 2000);
        let before = now.plus_seconds(-seconds);
        let all = self.telling.registry.all();
        let silent = all.values().filter(|held| {
            patience > Duration::ZERO
                && held.stream.status == Status::Enabled
                && held.row.active_at < before
        });
        for held in silent {
            self.pause(held, seconds).await?;
        }
        for held in all.values() {
            let is_anybodys = self.keys.client(&held.row.client_id, now).is_some();
            if !is_anybodys && held.stream.status != Status::Disabled {
                self.disable(held).await?;
            }
        }
        let waiting = self.state.store().waiting().await?;
        self.metrics.telling.set_waiting(waiting);
        Ok(())
    }

    /// The receiver is told before it holds (SSF 1.0 §8.1.5): the last that is delivered as long
    /// as the stream is paused.
    async fn pause(&self, held: &Held, seconds: i64) -> Result<(), StoreError> {
        let reason = format!("the receiver has not shown itself for {seconds} seconds");
        let event = Event::StreamUpdated {
            status: Status::Paused.as_str().to_owned(),
            reason: Some(reason.clone()),
        };
        self.push_now(held, &self.about_stream(held, event)).await;
        tracing::warn!(
            stream = held.row.id,
            "a stream is paused: nobody takes what it tells"
        );
        self.set_status(held, Status::Paused, reason).await
    }

    /// Whose last key was revoked is told nothing any more, not even that.
    async fn disable(&self, held: &Held) -> Result<(), StoreError> {
        tracing::warn!(
            stream = held.row.id,
            "a stream is disabled: its client has no key any more"
        );
        let reason = "the client has no key any more".to_owned();
        self.set_status(held, Status::Disabled, reason).await?;
        self.state.store().clear_outbox(&held.row.id).await?;
        Ok(())
    }

    async fn set_status(
        &self,
        held: &Held,
        status: Status,
        reason: String,
    ) -> Result<(), StoreError> {
        let _alone = self.telling.registry.alone().await;
        // What its receiver has changed meanwhile stays.
        let Some(held) = self.telling.registry.get(&held.row.id) else {
            return Ok(());
        };
        let row = StreamRow {
            status: status.as_str().to_owned(),
            reason: Some(reason),
            ..held.row.clone()
        };
        self.state.store().update_stream(&row).await?;
        let stream = Stream {
            status,
            ..held.stream.clone()
        };
        self.telling.put_stream(held.with(row, stream));
        Ok(())
    }
}
