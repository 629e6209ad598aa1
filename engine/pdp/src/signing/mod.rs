//! The engine's own keys: which one signs, which are published, and when they take turns.
//!
//! [`plan`] says what is to be done at a moment, [`files`] keeps the keys, [`Ring`] does what is
//! due and holds what holds. What is done is durable before it counts, whoever does it: a running
//! engine, or `portreeve signing-keys` beside it.

mod files;
mod look;
pub mod plan;
mod record;
mod seal;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use domain::Timestamp;
use token::keys::FindKey;
use token::{KeyError, KeySet, SigningKey, VerifyingKey};

use files::{Folder, Kept, Stamp};
pub(crate) use look::are_sealed;
pub use look::{Seen, look};
use plan::{Plan, Schedule, State};
pub use seal::KeyEncryptionKey;
pub(crate) use seal::Sealed;

/// How the engine keeps its keys.
#[derive(Clone, Debug)]
pub struct SigningSettings {
    /// When they take turns.
    pub schedule: Schedule,
    /// What seals them at rest; none: they are kept in clear, mode 0600.
    pub key_encryption_key_file: Option<PathBuf>,
}

/// Why there is no key to sign with, or nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file holds no key, or not the one that it says.
    #[error(
        "{path}: {what}; put it back from a copy, or move it away: then tokens and checkpoints \
         that it signed are not accepted any more"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A sealed key, and nothing to open it with.
    #[error("{path}: the signing keys are encrypted; set `tokens.key_encryption_key_file`")]
    NoKeyEncryptionKey {
        /// Which.
        path: PathBuf,
    },
    /// The seal does not open.
    #[error(
        "{path}: it was sealed with another key-encryption key, or changed since; set \
         `tokens.key_encryption_key_file` to the key it was sealed with"
    )]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// A key in clear where all are sealed.
    #[error(
        "{path}: a key in clear beside encrypted ones, so the engine did not put it there; find \
         out who did, and move it away"
    )]
    Clear {
        /// Which.
        path: PathBuf,
    },
    /// The key-encryption key itself.
    #[error("{0}")]
    KeyEncryptionKey(String),
    /// The key that signs is not in the folder any more.
    #[error(
        "{folder}: the key {kid} that signs is gone; put it back. Until a restart the engine goes \
         on with what it has in memory"
    )]
    Gone {
        /// The folder.
        folder: PathBuf,
        /// The key.
        kid: String,
    },
    /// No randomness.
    #[error("no key could be made: {0}")]
    Key(#[from] KeyError),
    /// The work broke off.
    #[error("the work broke off: {0}")]
    Broken(String),
}

/// A key as lists show it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The key.
    pub known: plan::Known,
    /// What it is there for now.
    pub state: State,
    /// Who had it made, or hastened.
    pub by: String,
    /// The public half.
    pub public: VerifyingKey,
}

/// Every key that there was, in the order in which they signed. Finds those that are over, too:
/// for the record, and never for a token.
#[derive(Clone, Debug, Default)]
pub struct Listing(Vec<Listed>);

impl Listing {
    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Listed> {
        self.0.iter()
    }

    /// When the first of them was made.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.iter().map(|key| key.known.created_at).min()
    }
}

impl FindKey for Listing {
    fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        let mut keys = self.iter().map(|key| &key.public);
        keys.find(|key| key.kid() == kid)
    }
}

/// What a rotation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The next key.
    pub kid: String,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// Whether it was made now; otherwise it was published already.
    pub is_new: bool,
}

/// The keys that hold, swapped whole when they change.
#[derive(Debug)]
pub struct Ring {
    current: ArcSwap<KeySet>,
    /// Every key whose public half is known, those that are over included: for the record.
    listed: ArcSwap<Listing>,
    folder: Folder,
    schedule: Schedule,
    tended: Mutex<Tended>,
    /// Since when what is due cannot be done.
    failing: ArcSwapOption<Timestamp>,
}

#[derive(Debug, Default)]
struct Tended {
    stamp: Stamp,
    keys: Vec<Kept>,
}

impl Ring {
    /// Opens the keys of a data folder, making the first one if there is none. Blocks.
    ///
    /// # Errors
    /// When there is none to sign with, or one of them cannot be trusted.
    pub fn open(
        data_dir: &Path,
        settings: &SigningSettings,
        now: Timestamp,
    ) -> Result<Self, SigningError> {
        let file = settings.key_encryption_key_file.as_deref();
        let kek = file
            .map(KeyEncryptionKey::read)
            .transpose()
            .map_err(SigningError::KeyEncryptionKey)?;
        let folder = Folder::prepare(data_dir, kek, now)?;
        let (keys, plan, stamp) = carry_out(&folder, &settings.schedule, now, None)?;
        let set = set_of(&keys, &plan).ok_or(KeyError::Refused)?;
        Ok(Self {
            current: ArcSwap::from_pointee(set),
            listed: ArcSwap::from_pointee(list(&keys, &plan)),
            folder,
            schedule: settings.schedule,
            tended: Mutex::new(Tended { stamp, keys }),
            failing: ArcSwapOption::empty(),
        })
    }

    /// The keys as they are now. Whoever signs and verifies in one go takes them once.
    #[must_use]
    pub fn current(&self) -> Arc<KeySet> {
        self.current.load_full()
    }

    /// Every key that there was, with what it is there for: the public halves of old ones verify
    /// old checkpoints.
    #[must_use]
    pub fn listed(&self) -> Arc<Listing> {
        self.listed.load_full()
    }

    /// Since when what is due of the keys cannot be done; none when the last time went well.
    #[must_use]
    pub fn failing_since(&self) -> Option<Timestamp> {
        self.failing.load().as_deref().copied()
    }

    /// Notes whether it could be done.
    pub(crate) fn note_tended(&self, went_well: bool, now: Timestamp) {
        if went_well {
            self.failing.store(None);
        } else if self.failing.load().is_none() {
            self.failing.store(Some(Arc::new(now)));
        }
    }

    /// Takes up what others changed, and does what is due: publishes the next key, lets it sign
    /// when its time has come, destroys the private half of one whose last token is gone. True
    /// when something is another than before. Blocks, for a moment.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or holds something that cannot be trusted. What
    /// held before goes on.
    pub fn tend(&self, now: Timestamp) -> Result<bool, SigningError> {
        let mut tended = lock(&self.tended);
        let here = |cause| SigningError::File {
            path: self.folder.path().to_owned(),
            cause,
        };
        if self.folder.stamp().map_err(here)? == tended.stamp {
            let known: Vec<_> = tended.keys.iter().map(|key| key.known.clone()).collect();
            let plan = plan::plan(&known, &self.schedule, now);
            if plan.make.is_none() && plan.retire.is_empty() {
                return Ok(self.hold(&tended.keys, &plan));
            }
        }
        let signs = self.current().signer().id().to_owned();
        let (keys, plan, stamp) = carry_out(&self.folder, &self.schedule, now, Some(&signs))?;
        let changed = self.hold(&keys, &plan);
        *tended = Tended { stamp, keys };
        Ok(changed)
    }

    /// Makes what was planned hold, where it is not what holds.
    fn hold(&self, keys: &[Kept], plan: &Plan) -> bool {
        let listed = list(keys, plan);
        let states = |all: &Listing| -> Vec<_> {
            let all = all.iter();
            all.map(|key| (key.known.clone(), key.state)).collect()
        };
        if states(&listed) == states(&self.listed.load()) {
            return false;
        }
        if let Some(set) = set_of(keys, plan) {
            self.current.store(Arc::new(set));
        }
        self.listed.store(Arc::new(listed));
        true
    }

    /// Begins a rotation: publishes the next key, which signs after the time for which verifiers
    /// may keep the key set, or at once. Where one is published already, that is the next one.
    /// Blocks.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn rotate(
        &self,
        at_once: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<Rotation, SigningError> {
        let before =
            i64::try_from(self.schedule.publish_before.as_secs()).unwrap_or(i64::MAX / 2000);
        let rotation = {
            let _alone = self.folder.lock()?;
            let keys = self.folder.load()?;
            let known: Vec<_> = keys.iter().map(|key| key.known.clone()).collect();
            let plan = plan::plan(&known, &self.schedule, now);
            let next = plan.next();
            let waiting = keys.iter().find(|key| Some(&*key.known.kid) == next);
            let signs_from = match (waiting, at_once) {
                (_, true) => now,
                (Some(waiting), false) => waiting.known.signs_from,
                (None, false) => now.plus_seconds(before),
            };
            let mut next = match waiting {
                Some(waiting) => waiting.clone(),
                None => Kept::new(SigningKey::generate(self.schedule.algorithm)?, now, now, by),
            };
            if waiting.is_none() || next.known.signs_from != signs_from {
                next.known.signs_from = signs_from;
                next.by = by.to_owned();
                self.folder.write(&next)?;
            }
            Rotation {
                kid: next.known.kid,
                signs_from,
                is_new: waiting.is_none(),
            }
        };
        self.tend(now)?;
        Ok(rotation)
    }
}

/// Reads the keys, and carries out what is due of them, all under the folder's lock: of two
/// processes the second finds what the first has done.
fn carry_out(
    folder: &Folder,
    schedule: &Schedule,
    now: Timestamp,
    signs: Option<&str>,
) -> Result<(Vec<Kept>, Plan, Stamp), SigningError> {
    let _alone = folder.lock()?;
    let mut keys = folder.load()?;
    if let Some(kid) = signs.filter(|kid| keys.iter().all(|key| key.known.kid != *kid)) {
        return Err(SigningError::Gone {
            folder: folder.path().to_owned(),
            kid: kid.to_owned(),
        });
    }
    let known = |keys: &[Kept]| -> Vec<_> { keys.iter().map(|key| key.known.clone()).collect() };
    let wanted = plan::plan(&known(&keys), schedule, now);
    if let Some(signs_from) = wanted.make {
        let key = SigningKey::generate(schedule.algorithm)?;
        let key = Kept::new(key, now, signs_from, "engine");
        folder.write(&key)?;
        keys.push(key);
    }
    for key in &mut keys {
        if wanted.retire.contains(&key.known.kid) {
            key.known.is_retired = true;
            key.private = None;
            folder.write(key)?;
        }
    }
    let plan = plan::plan(&known(&keys), schedule, now);
    let stamp = folder.stamp().map_err(|cause| SigningError::File {
        path: folder.path().to_owned(),
        cause,
    })?;
    Ok((keys, plan, stamp))
}

/// The set of the moment; none when no key signs, which a plan that was carried out excludes.
fn set_of(keys: &[Kept], plan: &Plan) -> Option<KeySet> {
    let find = |kid: &str| keys.iter().find(|key| key.known.kid == kid);
    let signer = Arc::clone(find(plan.signer()?)?.private.as_ref()?);
    let published = plan
        .standing
        .iter()
        .filter(|(_, state)| *state != State::Retired)
        .filter_map(|(kid, _)| Some(find(kid)?.public.clone()));
    Some(KeySet::new(signer, published))
}

fn list(keys: &[Kept], plan: &Plan) -> Listing {
    let of = |(kid, state): &(String, State)| {
        let key = keys.iter().find(|key| key.known.kid == *kid)?;
        Some(Listed {
            known: key.known.clone(),
            state: *state,
            by: key.by.clone(),
            public: key.public.clone(),
        })
    };
    Listing(plan.standing.iter().filter_map(of).collect())
}

/// The lock guards plain data that every holder leaves whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
