//! The keys as they lie there, for those who only look: nothing is written, nothing is locked, and
//! nothing that is due is done.

use std::path::Path;

use domain::Timestamp;

use super::files::Folder;
use super::{KeyEncryptionKey, Listing, SigningError, SigningSettings, list, plan};

/// How often it is tried again when the folder was exchanged meanwhile.
const TRIES: u32 = 3;

/// What there is to see.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Every key, none where there has never been one.
    pub keys: Listing,
    /// Whether they are sealed.
    pub is_sealed: bool,
}

/// Looks at the keys of a data folder. Where they are sealed, each must be whole under its seal,
/// or somebody could lay a public key of his own beside them. Blocks.
///
/// # Errors
/// When the folder cannot be read, or holds something that cannot be trusted.
pub fn look(
    data_dir: &Path,
    settings: &SigningSettings,
    now: Timestamp,
) -> Result<Seen, SigningError> {
    let mut tried = 1;
    loop {
        let file = settings.key_encryption_key_file.as_deref();
        let kek = file.map(KeyEncryptionKey::read).transpose();
        let kek = kek.map_err(SigningError::KeyEncryptionKey)?;
        match Folder::look(data_dir, kek, now) {
            Ok((keys, is_sealed)) => {
                let known: Vec<_> = keys.iter().map(|key| key.known.clone()).collect();
                let plan = plan::plan(&known, &settings.schedule, now);
                let keys = list(&keys, &plan);
                return Ok(Seen { keys, is_sealed });
            }
            Err(SigningError::File { cause, .. })
                if cause.kind() == std::io::ErrorKind::NotFound && tried < TRIES =>
            {
                tried += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether signing keys lie sealed in a data folder.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn are_sealed(data_dir: &Path) -> Result<bool, SigningError> {
    Folder::are_sealed(data_dir)
}
