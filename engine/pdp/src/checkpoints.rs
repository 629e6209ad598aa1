//! Checkpoints: what the engine signs of its journal, so that nobody who has the disk and not the
//! key can take records off its end or write them anew.
//!
//! A checkpoint says which chain the journal had after a record. It is a JWS of the engine's
//! signing key, kept in the store and beside its segment; the chain ties all records before it to
//! it. It signs what this process has written, not what it reads back.

mod gaps;

use std::path::Path;
use std::sync::Arc;

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use store::Store;
use store::journal::{self, Chain, Link, Position};
use store::sqlite::{CheckpointRow, StoreError};
use token::jws::open_signed;
use token::keys::FindKey;
use token::{KeyError, Refusal, SigningKey};

use crate::app::App;
pub use gaps::{SIGNS_WITHIN, UNSIGNED_RECORDS_MAX, Unsigned};

/// `typ` of a checkpoint, so that it is never taken for a token, nor a token for it (RFC 8725
/// §3.11).
pub const CHECKPOINT_TYP: &str = "portreeve-checkpoint+jwt";

/// Records after which a checkpoint is made although the time has not come.
pub const CHECKPOINT_RECORDS: u64 = 10_000;

/// How often the end is signed again although nothing came, seconds, unless
/// `audit.checkpoint_every` is longer: so the age of the last checkpoint says whether later ones are
/// gone.
pub const IDLE_SECONDS: u64 = 60;

/// What was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The place in the journal.
    pub end: Position,
    /// When it was signed.
    pub at: Timestamp,
    /// The key that signed it.
    pub kid: String,
}

impl Checkpoint {
    /// The record, and the chain after it.
    #[must_use]
    pub const fn link(&self) -> Link {
        Link {
            seq: self.end.seq,
            chain: self.end.chain,
        }
    }
}

/// Why a text is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCheckpoint {
    /// Not what the engine writes.
    #[error("it is damaged")]
    Malformed,
    /// Signed by a key that is not known.
    #[error("it is signed with a key that is none of this engine's")]
    UnknownKey,
    /// Not signed by the key that it names.
    #[error("its signature is not that of the key that it names")]
    Forged,
}

/// Why no checkpoint was made. To be tried again.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The key.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The journal's folder.
    #[error("{0}")]
    File(#[from] std::io::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    seq: u64,
    chain: String,
    segment: String,
    offset: u64,
    at: String,
}

/// Signs a place in the journal.
///
/// # Errors
/// When the library refuses.
pub fn sign(key: &SigningKey, end: &Position, at: Timestamp) -> Result<String, KeyError> {
    let claims = Claims {
        seq: end.seq,
        chain: end.chain.to_string(),
        segment: end.segment.clone(),
        offset: end.offset,
        at: wire::time::format(at),
    };
    token::mint(key, CHECKPOINT_TYP, &claims)
}

/// Reads a checkpoint, and proves it by one of these keys.
///
/// # Errors
/// When it is none, or not theirs.
pub fn read(text: &str, keys: &impl FindKey) -> Result<Checkpoint, NoCheckpoint> {
    let no = || NoCheckpoint::Malformed;
    let (claims, kid) =
        open_signed(text, CHECKPOINT_TYP, keys).map_err(|refusal| match refusal {
            Refusal::UnknownKey => NoCheckpoint::UnknownKey,
            Refusal::Signature => NoCheckpoint::Forged,
            _ => no(),
        })?;
    let claims: Claims =
        serde_json::from_value(serde_json::Value::Object(claims)).map_err(|_| no())?;
    let mut chain = [0; 32];
    hex::decode_to_slice(&claims.chain, &mut chain).map_err(|_| no())?;
    Ok(Checkpoint {
        end: Position {
            segment: claims.segment,
            offset: claims.offset,
            seq: claims.seq,
            chain: Chain(chain),
        },
        at: wire::time::parse(&claims.at).ok_or_else(no)?,
        kid,
    })
}

/// The checkpoints that are kept of a journal.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Those that are proven, in the order of the records.
    pub proven: Vec<(Checkpoint, String)>,
    /// The others: where they are kept, and what is wrong.
    pub faults: Vec<(String, NoCheckpoint)>,
}

impl Kept {
    /// Adds one, from somewhere.
    pub fn add(&mut self, text: &str, origin: &str, keys: &impl FindKey) {
        match read(text, keys) {
            Ok(checkpoint) => {
                let place = self
                    .proven
                    .partition_point(|(known, _)| known.end.seq <= checkpoint.end.seq);
                self.proven.insert(place, (checkpoint, text.to_owned()));
            }
            Err(fault) => self.faults.push((origin.to_owned(), fault)),
        }
    }

    /// What they say of the journal, in the order of the records.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let proven = self.proven.iter();
        proven.map(|(checkpoint, _)| checkpoint.link()).collect()
    }

    /// When the first of them was signed: since then the engine has had a key.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        let proven = self.proven.iter();
        proven.map(|(checkpoint, _)| checkpoint.at).min()
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> Option<&Checkpoint> {
        self.proven.last().map(|(checkpoint, _)| checkpoint)
    }
}

/// Every checkpoint of a store and of a journal's folder.
///
/// # Errors
/// When they cannot be read.
pub async fn gather(
    store: Option<&Store>,
    folder: &Path,
    keys: &impl FindKey,
) -> Result<Kept, CheckpointError> {
    let mut kept = Kept::default();
    let mut seen = std::collections::HashSet::new();
    if let Some(store) = store {
        for row in store.checkpoints().await? {
            let origin = format!("the store's checkpoint of record {}", row.seq);
            kept.add(&row.signed, &origin, keys);
            seen.insert(row.signed);
        }
    }
    for (path, text) in journal::checkpoints(folder)? {
        if !seen.contains(&text) {
            kept.add(&text, &path.display().to_string(), keys);
        }
    }
    Ok(kept)
}

impl App {
    /// Signs where the journal ends, and keeps it: durable in the store and beside the segment when
    /// it returns. In the log it is an anchor outside of the data folder.
    ///
    /// # Errors
    /// When it could not be kept; it is to be tried again.
    pub async fn make_checkpoint(self: &Arc<Self>) -> Result<(), CheckpointError> {
        let end = self.journal.end();
        if end.seq == 0 {
            return Ok(());
        }
        let at = self.inputs.clock.now();
        let signed = sign(self.signing.current().signer(), &end, at)?;
        let row = CheckpointRow {
            seq: end.seq,
            segment: end.segment.clone(),
            at,
            signed: signed.clone(),
        };
        self.state.store().keep_checkpoint(&row).await?;
        let folder = self.journal.folder().to_owned();
        let segment = end.segment.clone();
        let kept = tokio::task::spawn_blocking(move || {
            journal::keep_checkpoint(&folder, &segment, &signed)
        });
        kept.await.map_err(std::io::Error::other)??;
        if end.seq > self.checkpoints.signed_until() {
            tracing::info!(seq = end.seq, chain = %end.chain, "the journal is signed");
        }
        self.checkpoints.note(end.seq);
        self.metrics.set_signed_until(end.seq);
        Ok(())
    }
}

/// How far the journal is signed, as far as this process knows.
#[derive(Debug, Default)]
pub struct Checkpoints(std::sync::atomic::AtomicU64);

impl Checkpoints {
    /// So far at a start.
    #[must_use]
    pub fn since(seq: u64) -> Self {
        Self(seq.into())
    }

    /// The last record that is signed; 0 for none.
    #[must_use]
    pub fn signed_until(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn note(&self, seq: u64) {
        self.0.fetch_max(seq, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use token::KeySet;
    use token::keys::Algorithm;

    use super::*;

    fn end() -> Position {
        Position {
            segment: "0.log".to_owned(),
            offset: 4096,
            seq: 17,
            chain: Chain([7; 32]),
        }
    }

    #[test]
    fn a_checkpoint_is_what_was_signed_and_nothing_else_is_one() {
        let at = Timestamp::from_seconds(1_795_000_000);
        for algorithm in Algorithm::ALL {
            let key = Arc::new(SigningKey::generate(algorithm).unwrap());
            let set = KeySet::new(Arc::clone(&key), []);
            let text = sign(&key, &end(), at).unwrap();
            let found = read(&text, &set).unwrap();
            assert_eq!((found.end.clone(), found.at), (end(), at));
            assert_eq!(found.kid, key.id());

            let other = KeySet::new(Arc::new(SigningKey::generate(algorithm).unwrap()), []);
            assert_eq!(read(&text, &other), Err(NoCheckpoint::UnknownKey));
            // A token of the same key is no checkpoint, whatever it says.
            let claims = serde_json::json!({"seq": 17, "chain": "07".repeat(32),
                "segment": "0.log", "offset": 1, "at": "2026-11-20T23:01:00Z"});
            let token = token::mint(&key, "at+jwt", &claims).unwrap();
            assert_eq!(read(&token, &set), Err(NoCheckpoint::Malformed));
            // Another record under the same signature.
            let mut later = end();
            later.seq = 18;
            let later = sign(&key, &later, at).unwrap();
            let parts: Vec<&str> = text.split('.').collect();
            let others: Vec<&str> = later.split('.').collect();
            let mixed = [parts[0], others[1], parts[2]].join(".");
            assert_eq!(read(&mixed, &set), Err(NoCheckpoint::Forged));
            for broken in [
                String::new(),
                "...".to_owned(),
                text[1..].to_owned(),
                format!("{text}="),
                format!("{text}.{text}"),
                "x".repeat(20_000),
            ] {
                assert!(read(&broken, &set).is_err(), "{broken}");
            }
            let mut kept = Kept::default();
            kept.add(&later, "here", &set);
            kept.add(&text, "here", &set);
            kept.add("x", "there", &set);
            let links: Vec<u64> = kept.links().iter().map(|link| link.seq).collect();
            assert_eq!((links, kept.faults.len()), (vec![17, 18], 1));
        }
    }
}
