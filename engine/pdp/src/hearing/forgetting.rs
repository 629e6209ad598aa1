//! What was heard is forgotten: at somebody's wish, or because it is over.

use std::sync::PoisonError;

use domain::{EntityRef, Timestamp};
use store::journal::AppendError;
use store::sqlite::StoreError;

use super::REMEMBERED_SECONDS;
use crate::access::signed;
use crate::app::App;
use crate::monitor::Look;

/// Forgets all that was heard of a subject, from whomever, and has the monitor look. Whether there
/// was anything. On record, durable and in effect when this returns.
///
/// # Errors
/// When it could not be put on record, or made durable: nothing is cleared then.
pub(crate) async fn clear(app: &App, subject: &EntityRef, by: &str) -> Result<bool, NotCleared> {
    let _alone = app.hearing.acting.lock().await;
    let store = app.state.store();
    if !store.is_heard_of(subject).await? {
        return Ok(false);
    }
    // First: an account that was opened again without a trace is what a record is for.
    let told = signed(
        serde_json::json!({
            "v": wire::record::RECORD_VERSION,
            "kind": "heard_cleared",
            "subject": { "type": subject.kind.as_str(), "id": subject.id.as_str() },
            "at": wire::time::format(app.inputs.clock.now()),
        }),
        by,
    );
    app.journal.append(told.to_string().into_bytes()).await?;
    let done = store.forget_all_heard(subject).await;
    done.map_err(NotCleared::AfterRecord)?;
    let said = app.hearing.said.write();
    said.unwrap_or_else(PoisonError::into_inner).remove(subject);
    app.monitor
        .look_at(Look::Subject(subject.clone()), "shared signal");
    Ok(true)
}

/// Why what was heard is not cleared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotCleared {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("it could not be put on record: {0}")]
    Record(#[from] AppendError),
    #[error("it is on record as cleared, and is not: {0}")]
    AfterRecord(StoreError),
}

/// Forgets tokens that could not come again, and what was said of subjects and is over.
///
/// # Errors
/// When the store cannot be written.
pub(crate) async fn tidy(app: &App, now: Timestamp) -> Result<(), StoreError> {
    let store = app.state.store();
    store
        .forget_sets(now.plus_seconds(-REMEMBERED_SECONDS))
        .await?;
    let _alone = app.hearing.acting.lock().await;
    let over: Vec<(EntityRef, String)> = {
        let said = app.hearing.said.read();
        let said = said.unwrap_or_else(PoisonError::into_inner);
        let all = said
            .iter()
            .flat_map(|(subject, of)| of.iter().map(move |(iss, heard)| (subject, iss, heard)));
        all.filter(|(.., heard)| heard.is_over(now))
            .map(|(subject, iss, _)| (subject.clone(), iss.to_string()))
            .collect()
    };
    if over.is_empty() {
        return Ok(());
    }
    store.forget_heard(&over).await?;
    let mut said = app
        .hearing
        .said
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    for (subject, iss) in &over {
        if let Some(of) = said.get_mut(subject) {
            of.remove(iss.as_str());
            if of.is_empty() {
                said.remove(subject);
            }
        }
    }
    Ok(())
}
