//! Streams whose receivers are gone are paused, and what waits is counted.

use std::time::Duration;

use ssf::Event;
use ssf::stream::Status;
use store::sqlite::{StoreError, StreamRow};

use super::registry::Held;
use crate::app::App;

impl App {
    /// Pauses streams whose receiver has not shown itself for `ssf.inactivity`, and counts what
    /// waits.
    ///
    /// # Errors
    /// When the store refuses.
    pub(crate) async fn look_after_streams(&self) -> Result<(), StoreError> {
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
        let waiting = self.state.store().waiting().await?;
        self.metrics.telling.set_waiting(waiting);
        Ok(())
    }

    /// The receiver is told before it holds (SSF 1.0 §8.1.5): the last that is delivered as long
    /// as the stream is paused.
    async fn pause(&self, held: &Held, seconds: i64) -> Result<(), StoreError> {
        let alone = self.telling.registry.alone().await;
        let reason = format!("the receiver has not shown itself for {seconds} seconds");
        let event = Event::StreamUpdated {
            status: Status::Paused.as_str().to_owned(),
            reason: Some(reason.clone()),
        };
        self.push_now(held, &self.about_stream(held, event)).await;
        let row = StreamRow {
            status: Status::Paused.as_str().to_owned(),
            reason: Some(reason),
            ..held.row.clone()
        };
        self.state.store().update_stream(&row).await?;
        tracing::warn!(
            stream = held.row.id,
            "a stream was paused: nobody takes what it tells"
        );
        self.take_up_streams(&alone).await
    }
}
