//! API keys: `sk_` and eight characters in public, a dot, 32 secret ones (X13 to X17).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use domain::Timestamp;
use store::Store;
use store::sqlite::{KeyRecord, StoreError};

use super::refusals::Refusals;
use super::roles::{Permission, Permissions, Role};
use crate::inputs::Randomness;

/// Longest life of a key, days (X16).
pub const LIFE_MAX_DAYS: u32 = 365;

const PUBLIC_LENGTH: usize = 8;
const SECRET_LENGTH: usize = 32;
/// 62 characters: 32 of them hold 190 bits.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key that was just made. The only time that its secret is seen.
pub struct NewKey {
    /// What is kept.
    pub record: KeyRecord,
    /// The whole key, for its holder.
    pub key: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

impl NewKey {
    /// Makes a key.
    #[must_use]
    pub fn generate(
        name: &str,
        role: Role,
        life_days: u32,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Self {
        let key_id = format!("sk_{}", text(PUBLIC_LENGTH, randomness));
        let secret = text(SECRET_LENGTH, randomness);
        let days = i64::from(life_days.min(LIFE_MAX_DAYS));
        let record = KeyRecord {
            key_id: key_id.clone(),
            secret_sha256: sha256(secret.as_bytes()),
            name: name.to_owned(),
            role: role.as_str().to_owned(),
            created_at: now,
            expires_at: now.plus_seconds(days * 86_400),
            last_used_at: None,
            revoked_at: None,
        };
        Self {
            record,
            key: format!("{key_id}.{secret}"),
        }
    }
}

/// Random characters, each as likely as any other.
fn text(length: usize, randomness: &dyn Randomness) -> String {
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        randomness.fill(&mut bytes);
        let fair = bytes.iter().filter_map(|byte| {
            // Bytes from 248 on would favour the first characters.
            ALPHABET
                .get(usize::from(*byte) % 62)
                .filter(|_| *byte < 248)
        });
        text.extend(fair.take(length - text.len()).map(|byte| char::from(*byte)));
    }
    text
}

/// Whether this could be the public part of a key: nothing else is worth a look into the store.
fn is_key_id(text: &str) -> bool {
    text.strip_prefix("sk_").is_some_and(|rest| {
        rest.len() == PUBLIC_LENGTH && rest.bytes().all(|byte| ALPHABET.contains(&byte))
    })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// A caller whose key was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The public part of the key.
    pub key_id: String,
    /// The role.
    pub role: Role,
}

/// The key was not accepted. Nothing says why: that would help only those who guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is not valid")]
pub struct Refused;

/// Why a caller was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The key was not accepted.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// Nor was it looked up: too many were refused lately.
    #[error("too many keys were refused lately")]
    TooManyRefused,
}

/// The keys, in memory. Reloaded when another process has changed the store.
#[derive(Debug)]
pub struct KeyRing {
    keys: ArcSwap<HashMap<String, KeyRecord>>,
    permissions: Permissions,
    used: Mutex<HashMap<String, Timestamp>>,
    refusals: Refusals,
}

impl KeyRing {
    /// An empty ring.
    #[must_use]
    pub fn new(permissions: Permissions) -> Self {
        Self {
            keys: ArcSwap::default(),
            permissions,
            used: Mutex::default(),
            refusals: Refusals::new(),
        }
    }

    /// Takes the keys over from the store.
    ///
    /// # Errors
    /// When the store cannot be read; the keys then stay as they were.
    pub async fn reload(&self, store: &Store) -> Result<usize, StoreError> {
        let keys: HashMap<String, KeyRecord> = store
            .keys()
            .await?
            .into_iter()
            .map(|key| (key.key_id.clone(), key))
            .collect();
        let count = keys.len();
        self.keys.store(std::sync::Arc::new(keys));
        self.refusals.forget_unknown();
        Ok(count)
    }

    /// Checks a key (X17): split, look-up, active, expiry, secret in constant time.
    ///
    /// # Errors
    /// When any of that fails.
    pub fn authenticate(&self, key: &str, now: Timestamp) -> Result<Caller, Refused> {
        let (key_id, secret) = key.split_once('.').ok_or(Refused)?;
        let keys = self.keys.load();
        let record = keys.get(key_id);
        // The same work for an unknown key as for a known one.
        let wanted = record.map_or([0; 32], |record| record.secret_sha256);
        let matches = verify_slices_are_equal(&sha256(secret.as_bytes()), &wanted).is_ok();
        let record = record.filter(|_| matches).ok_or(Refused)?;
        let role = Role::from_word(&record.role).ok_or(Refused)?;
        if !record.is_active(now) {
            return Err(Refused);
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match used.get_mut(key_id) {
            Some(last) => *last = now,
            None => {
                used.insert(record.key_id.clone(), now);
            }
        }
        Ok(Caller {
            key_id: record.key_id.clone(),
            role,
        })
    }

    /// As [`Self::authenticate`], and asks the store about a key that is not known here: another
    /// process may just have made it.
    ///
    /// # Errors
    /// When the key is not accepted, the store cannot be asked about it, or too many others were
    /// refused just before.
    pub async fn admit(
        &self,
        key: &str,
        store: &Store,
        now: Timestamp,
    ) -> Result<Caller, NotAdmitted> {
        if let Ok(caller) = self.authenticate(key, now) {
            return Ok(caller);
        }
        let key_id = key.split_once('.').map(|(key_id, _)| key_id);
        let may_be_new = key_id.filter(|key_id| {
            is_key_id(key_id)
                && !self.keys.load().contains_key(*key_id)
                && !self.refusals.is_unknown(key_id)
        });
        // Counted before the store is asked: that is what costs.
        if !self.refusals.count(now) {
            return Err(NotAdmitted::TooManyRefused);
        }
        let Some(key_id) = may_be_new else {
            return Err(Refused.into());
        };
        match store.key(key_id).await {
            Ok(Some(record)) => {
                self.keys.rcu(|keys| {
                    let mut keys = HashMap::clone(keys);
                    // Not over one that a reload has brought meanwhile: it may be revoked there.
                    keys.entry(record.key_id.clone())
                        .or_insert_with(|| record.clone());
                    keys
                });
                Ok(self.authenticate(key, now)?)
            }
            Ok(None) => {
                self.refusals.note_unknown(key_id);
                Err(Refused.into())
            }
            Err(_) => Err(Refused.into()),
        }
    }

    /// Whether a caller may do this.
    #[must_use]
    pub fn permits(&self, caller: &Caller, permission: Permission) -> bool {
        self.permissions.allow(caller.role, permission)
    }

    /// The keys used since the last call, to be noted in the store.
    #[must_use]
    pub fn take_used(&self) -> Vec<(String, Timestamp)> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.drain().collect()
    }
}
