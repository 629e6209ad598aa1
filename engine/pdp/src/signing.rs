//! The engine's own keys: which one signs, and which are published.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use token::keys::Algorithm;
use token::{KeyError, KeySet, SigningKey};

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file holds no key.
    #[error("{path}: {cause}; move it away, and a new one is made")]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: KeyError,
    },
}

/// The keys that hold, swapped whole when they change.
#[derive(Debug)]
pub struct Ring {
    current: ArcSwap<KeySet>,
}

impl Ring {
    /// Reads the keys of a data folder, or makes the first one.
    ///
    /// # Errors
    /// When there is none to sign with.
    pub fn open(data_dir: &Path) -> Result<Self, SigningError> {
        let path = data_dir.join("signing-key.p8");
        let signer = load_or_create(&path)?;
        Ok(Self {
            current: ArcSwap::from_pointee(KeySet::new(Arc::new(signer), [])),
        })
    }

    /// The keys as they are now. Whoever signs and verifies in one go takes them once.
    #[must_use]
    pub fn current(&self) -> Arc<KeySet> {
        self.current.load_full()
    }
}

fn load_or_create(path: &Path) -> Result<SigningKey, SigningError> {
    let file = |cause| SigningError::File {
        path: path.to_owned(),
        cause,
    };
    let key = |cause| SigningError::Key {
        path: path.to_owned(),
        cause,
    };
    match fs::read(path) {
        Ok(bytes) => SigningKey::from_der(&bytes).map_err(key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let new = SigningKey::generate(Algorithm::Es256).map_err(key)?;
            let bytes = new.to_der().map_err(key)?;
            let mut options = OpenOptions::new();
            let mut opened = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(file)?;
            opened
                .write_all(&bytes)
                .and_then(|()| opened.sync_all())
                .map_err(file)?;
            Ok(new)
        }
        Err(error) => Err(file(error)),
    }
}
