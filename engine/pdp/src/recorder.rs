//! From the journal to the store, in the background and in order.

use std::path::PathBuf;
use std::sync::Arc;

use store::Store;
use store::journal::{self, Position};
use store::sqlite::DecisionRow;
use wire::record::RecordHead;

use crate::app::App;
use crate::status_lists;

/// Records that go into one transaction.
const GROUP: usize = 2000;

/// Why the drain stopped for now.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The journal could not be read.
    #[error("the journal could not be read: {0}")]
    Journal(#[from] std::io::Error),
    /// The journal was changed.
    #[error("the record is not where it was in the journal: see `portreeve audit verify`")]
    Elsewhere,
    /// The store could not be written.
    #[error("{0}")]
    Store(#[from] store::sqlite::StoreError),
}

/// Moves what is durable in the journal to the store. Remembers how far it is.
#[derive(Debug)]
pub struct Drain {
    app: Arc<App>,
    position: Option<Position>,
    /// The damage that was told last.
    told: Option<String>,
}

impl Drain {
    /// Goes on where the last process stopped.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn resume(app: Arc<App>) -> Result<Self, DrainError> {
        let position = app.state.store().drained().await?;
        Ok(Self {
            app,
            position,
            told: None,
        })
    }

    /// Drains everything that is durable when it is called; what comes meanwhile is for the next
    /// call, since many records at once cost the store little more than one. What is damaged is
    /// passed over, and told once.
    ///
    /// # Errors
    /// When the journal cannot be read or the store cannot be written. What was drained before
    /// counts; the rest is tried again with the next call.
    pub async fn run(&mut self) -> Result<(), DrainError> {
        let durable = *self.app.journal.durable().borrow();
        loop {
            let drained = self.position.as_ref().map_or(0, |position| position.seq);
            self.app
                .metrics
                .set_undrained(durable.saturating_sub(drained));
            let folder = self.app.journal.folder().to_owned();
            let from = self.position.clone();
            let (rows, statuses, after, damage) = tokio::task::spawn_blocking(move || {
                journal::read_from(&folder, from.as_ref(), durable, GROUP).map(|read| {
                    let after = read.records.last().map(|record| record.after.clone());
                    let statuses = read.records.iter();
                    let statuses = statuses.filter_map(|record| status_lists::row(&record.body));
                    let statuses = statuses.collect::<Vec<_>>();
                    let rows = read.records.into_iter().filter_map(row);
                    (rows.collect::<Vec<_>>(), statuses, after, read.damage)
                })
            })
            .await
            .map_err(std::io::Error::other)??;
            if let Some(damage) = damage.filter(|damage| self.told.as_ref() != Some(damage)) {
                tracing::error!(
                    "the journal is damaged: {damage}; what can be read after it goes on: see \
                     `portreeve audit verify`"
                );
                self.app.journal_is_damaged();
                self.told = Some(damage);
            }
            let Some(after) = after else {
                return Ok(());
            };
            self.app
                .state
                .store()
                .drain_decisions(&rows, &statuses, &after)
                .await?;
            self.position = Some(after);
        }
    }
}

/// A decision's row; none for what is no decision, which stays in the journal alone.
fn row(record: journal::Record) -> Option<DecisionRow> {
    let head = RecordHead::read(&record.body)?;
    Some(DecisionRow {
        seq: record.seq,
        decision_id: head.decision_id,
        at: head.at,
        subject_type: head.subject.0,
        subject_id: head.subject.1,
        action: head.action,
        resource_type: head.resource.0,
        resource_id: head.resource.1,
        outcome: head.outcome,
        score: head.score,
        place: record.place,
    })
}

/// The record of a decision, if it is drained.
///
/// # Errors
/// When store or journal cannot be read.
pub async fn find(app: &App, decision_id: &str) -> Result<Option<Vec<u8>>, DrainError> {
    let folder = app.journal.folder().to_owned();
    find_in(app.state.store(), folder, decision_id).await
}

/// The record of a decision, if it is drained, from a store and the journal's folder.
///
/// # Errors
/// When store or journal cannot be read.
pub async fn find_in(
    store: &Store,
    folder: PathBuf,
    decision_id: &str,
) -> Result<Option<Vec<u8>>, DrainError> {
    let Some(place) = store.decision(decision_id).await? else {
        return Ok(None);
    };
    let text = tokio::task::spawn_blocking(move || journal::read_at(&folder, &place))
        .await
        .map_err(std::io::Error::other)??;
    // A journal that was changed may have another text there.
    if RecordHead::read(&text).is_none_or(|head| head.decision_id != decision_id) {
        return Err(DrainError::Elsewhere);
    }
    Ok(Some(text))
}
