//! The settings of signing keys, checked.

use std::path::PathBuf;
use std::time::Duration;

use token::keys::Algorithm;

use crate::signing::SigningSettings;
use crate::signing::plan::{CACHED_SECONDS, Schedule};

/// Longest time for which a key may sign.
const ROTATE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Checks algorithm and times.
pub(super) fn check(
    algorithm: &str,
    rotate_every: Duration,
    publish_before: Duration,
    key_encryption_key_file: Option<PathBuf>,
    faults: &mut Vec<String>,
) -> SigningSettings {
    // As the setting has it, `Ed25519` is another word for it.
    let algorithm = Algorithm::named(algorithm).unwrap_or_else(|| {
        faults.push(format!(
            "`tokens.algorithm` is `{algorithm}`: ES256, EdDSA or RS256"
        ));
        Algorithm::Es256
    });
    if publish_before.as_secs() < CACHED_SECONDS {
        faults.push(format!(
            "`tokens.publish_before` must be {CACHED_SECONDS} seconds or more: verifiers keep the \
             key set for so long"
        ));
    }
    if rotate_every < publish_before.saturating_mul(2) || rotate_every > ROTATE_MAX {
        faults.push(
            "`tokens.rotate_every` must be twice `tokens.publish_before` to 366 days".to_owned(),
        );
    }
    SigningSettings {
        schedule: Schedule {
            algorithm,
            rotate_every,
            publish_before,
        },
        key_encryption_key_file,
    }
}
