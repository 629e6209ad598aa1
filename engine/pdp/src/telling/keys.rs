//! The keys of security event tokens: a ring beside that of access tokens, because receivers want
//! RS256 and tokens are better off without it, and because what a receiver trusts need not open
//! doors. Both are published in one key set.

use std::sync::Arc;

use domain::Timestamp;
use serde_json::value::RawValue;
use ssf::set::TYP;
use token::{KeyError, KeySet, mint};

use crate::app::{App, create_private};
use crate::signing::{Ring, SigningError};

/// Why no token was signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    /// There is no key.
    #[error("{0}")]
    Keys(#[from] SigningError),
    /// The library refused.
    #[error("{0}")]
    Sign(#[from] KeyError),
    /// What is kept is no JSON.
    #[error("what was to be told is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
}

/// Where the ring lies within the data folder.
pub(crate) const FOLDER: &str = "shared-signals";

impl App {
    /// The ring, made when it is first asked for: an engine that tells nobody needs none, and an
    /// RSA key takes its time. Receivers ask for the metadata first, and so it is published before
    /// it signs.
    ///
    /// # Errors
    /// When it cannot be made, or a key cannot be trusted.
    pub async fn set_keys(&self) -> Result<&Arc<Ring>, SigningError> {
        let ring = self.telling.ring.get_or_try_init(|| async {
            let folder = self.settings.data_dir.join(FOLDER);
            let how = self.settings.ssf.signing.clone();
            let now = self.inputs.clock.now();
            let opened = tokio::task::spawn_blocking(move || {
                create_private(&folder).map_err(|cause| SigningError::File {
                    path: folder.clone(),
                    cause,
                })?;
                Ring::open(&folder, &how, now).map(Arc::new)
            });
            let opened = opened.await;
            opened.map_err(|error| SigningError::Broken(error.to_string()))?
        });
        ring.await
    }

    /// The ring if there is one: in memory, or on the disk of an earlier run.
    ///
    /// # Errors
    /// When a key cannot be trusted.
    pub(crate) async fn restore_set_keys(&self) -> Result<(), SigningError> {
        if self.settings.data_dir.join(FOLDER).is_dir() {
            self.set_keys().await?;
        }
        Ok(())
    }

    /// The keys of security event tokens that are published now, if there are any.
    #[must_use]
    pub fn set_keys_now(&self) -> Option<Arc<KeySet>> {
        self.telling.ring.get().map(|ring| ring.current())
    }

    /// The ring, if there is one.
    pub(crate) fn set_ring(&self) -> Option<&Arc<Ring>> {
        self.telling.ring.get()
    }

    /// Signs the claims of security event tokens, each as it stands, with the key of this moment.
    ///
    /// # Errors
    /// The first that cannot be.
    pub(crate) async fn sign_sets(&self, claims: Vec<String>) -> Result<Vec<String>, SignError> {
        let keys = self.set_keys().await?.current();
        // An RSA signature takes a third of a millisecond: not for the threads that answer.
        let signed = tokio::task::spawn_blocking(move || {
            claims
                .into_iter()
                .map(|claims| {
                    let claims = RawValue::from_string(claims)?;
                    Ok(mint(keys.signer(), TYP, &claims)?)
                })
                .collect()
        });
        let signed = signed.await;
        signed.map_err(|error| SigningError::Broken(error.to_string()))?
    }

    /// Does what is due of these keys. True when something is another than before.
    ///
    /// # Errors
    /// When that failed; what held before goes on.
    pub(crate) async fn tend_set_keys(&self, now: Timestamp) -> Result<bool, SigningError> {
        let Some(ring) = self.telling.ring.get() else {
            return Ok(false);
        };
        let ring = Arc::clone(ring);
        let tended = tokio::task::spawn_blocking(move || ring.tend(now)).await;
        tended.map_err(|error| SigningError::Broken(error.to_string()))?
    }
}
