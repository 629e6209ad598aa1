//! What becomes of signing keys is on record: made, signs, retired.

use std::sync::Arc;

use domain::Timestamp;
use serde_json::json;
use store::journal::AppendError;
use store::sqlite::StoreError;
use wire::record::RECORD_VERSION;

use super::plan::State;
use super::{Listed, SigningError};
use crate::app::App;

/// Why keys were not tended, or not put on record. To be tried again.
#[derive(Debug, thiserror::Error)]
pub enum TendError {
    /// The keys.
    #[error("{0}")]
    Keys(#[from] SigningError),
    /// The record.
    #[error("{0}")]
    Journal(#[from] AppendError),
    /// What is on record already.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl App {
    /// Does what is due of the signing keys, takes up what others did, and has it on record.
    /// True when something is another than before.
    ///
    /// # Errors
    /// When that failed; what held before goes on.
    pub async fn tend_signing_keys(self: &Arc<Self>) -> Result<bool, TendError> {
        let app = Arc::clone(self);
        let now = self.inputs.clock.now();
        let tended = tokio::task::spawn_blocking(move || app.signing.tend(now)).await;
        let tended = tended.map_err(|error| SigningError::Broken(error.to_string()));
        let mut tended = tended.and_then(|tended| tended);
        // Those of security event tokens take their own turns.
        match (&mut tended, self.tend_set_keys(now).await) {
            (Ok(changed), Ok(more)) => *changed |= more,
            (Ok(_), Err(error)) => tended = Err(error),
            (Err(_), _) => {}
        }
        self.signing.note_tended(tended.is_ok(), now);
        self.metrics.set_signing_failing(tended.is_err());
        let changed = tended?;
        if changed {
            let set = self.signing.current();
            tracing::info!(kid = set.signer().id(), "signing keys have changed");
        }
        Ok(changed)
    }

    /// Puts on record what became of the signing keys and is not there yet.
    ///
    /// # Errors
    /// When journal or store refuse; it is to be tried again.
    pub async fn record_signing_keys(&self) -> Result<(), TendError> {
        let store = self.state.store();
        let known = store.signing_key_acts().await?;
        let others = self
            .set_ring()
            .map(|ring| ring.listed())
            .unwrap_or_default();
        for key in self.signing.listed().iter().chain(others.iter()) {
            for (act, at) in acts(key, self.inputs.clock.now()) {
                if known.contains(&(key.known.kid.clone(), act.to_owned())) {
                    continue;
                }
                self.journal.append(record(key, act, at)).await?;
                store.note_signing_key_act(&key.known.kid, act, at).await?;
            }
        }
        Ok(())
    }
}

fn acts(key: &Listed, now: Timestamp) -> Vec<(&'static str, Timestamp)> {
    let mut acts = vec![("made", key.known.created_at)];
    if key.state != State::Next {
        acts.push(("signs", key.known.signs_from));
    }
    if key.known.is_retired {
        acts.push(("retired", now));
    }
    acts
}

fn record(key: &Listed, act: &str, at: Timestamp) -> Vec<u8> {
    json!({
        "v": RECORD_VERSION,
        "kind": "signing_key",
        "act": act,
        "at": wire::time::format(at),
        "kid": key.known.kid,
        "algorithm": key.known.algorithm.as_str(),
        "signs_from": wire::time::format(key.known.signs_from),
        "by": key.by,
    })
    .to_string()
    .into_bytes()
}
