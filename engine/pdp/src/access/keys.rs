//! The keys in memory: who is admitted (X17).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use domain::{EntityRef, Timestamp};
use store::Store;
use store::sqlite::{KeyRecord, StoreError};

use super::by::WITH;
use super::new_key::{is_key_id, sha256};
use super::permission::{Permission, PermissionSet};
use super::refusals::Refusals;
use super::roles::{Permissions, Role};

/// A caller that was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The public part of the key.
    pub key_id: String,
    /// Who holds it, whichever key that is at the moment. What a caller owns belongs to this.
    pub client_id: String,
    /// The role.
    pub role: Role,
    /// As whom the caller acts, as a service.
    pub subject: EntityRef,
    /// The resource server that it is.
    pub audience: Option<String>,
    /// What of its role it may do; none: all of it.
    pub permissions: Option<PermissionSet>,
    /// `jti` of the token that it came with; none: it came with a key or a certificate.
    pub token_id: Option<String>,
}

impl Caller {
    /// The holder of a key. None when its role means nothing to this version.
    #[must_use]
    pub fn holding(record: &KeyRecord) -> Option<Self> {
        Some(Self {
            key_id: record.key_id.clone(),
            client_id: record.client_id.clone(),
            role: Role::from_word(&record.role)?,
            subject: record.subject.clone(),
            audience: record.audience.clone(),
            permissions: record
                .permissions
                .as_ref()
                .map(|names| PermissionSet::of_actions(names.iter().map(String::as_str))),
            token_id: None,
        })
    }

    /// What acts are signed with: the key's id and, where it came with one, the token's. A key
    /// and what was got with it are in different hands once one of them was stolen.
    #[must_use]
    pub fn by(&self) -> String {
        match &self.token_id {
            Some(token) => format!("{}{WITH}{token}", self.key_id),
            None => self.key_id.clone(),
        }
    }

    /// The same, come with a token.
    #[must_use]
    pub fn with_token(self, id: String) -> Self {
        Self {
            token_id: Some(id),
            ..self
        }
    }

    /// The same with nothing beyond these.
    #[must_use]
    pub fn narrowed(self, to: PermissionSet) -> Self {
        let permissions = self.permissions.map_or(to, |own| own.and(to));
        Self {
            permissions: Some(permissions),
            ..self
        }
    }
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
    /// Nor could it be looked up.
    #[error("the store cannot be asked about the key")]
    NotLookedUp,
}

/// All keys at one moment.
#[derive(Clone, Debug, Default)]
struct Keys {
    by_id: HashMap<String, Arc<KeyRecord>>,
    /// The oldest first.
    by_client: HashMap<String, Vec<Arc<KeyRecord>>>,
    by_certificate: HashMap<String, Vec<Arc<KeyRecord>>>,
}

impl Keys {
    fn add(&mut self, record: KeyRecord) {
        let record = Arc::new(record);
        let client = self.by_client.entry(record.client_id.clone());
        client.or_default().push(Arc::clone(&record));
        if let Some(certificate) = &record.certificate {
            let certificate = self.by_certificate.entry(certificate.clone());
            certificate.or_default().push(Arc::clone(&record));
        }
        self.by_id.insert(record.key_id.clone(), record);
    }
}

/// The keys, in memory. Reloaded when another process has changed the store.
#[derive(Debug)]
pub struct KeyRing {
    keys: ArcSwap<Keys>,
    permissions: Permissions,
    used: Mutex<HashMap<String, Timestamp>>,
    refusals: Refusals,
    reloading: tokio::sync::Mutex<()>,
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
            reloading: tokio::sync::Mutex::default(),
        }
    }

    /// Takes the keys over from the store.
    ///
    /// # Errors
    /// When the store cannot be read; the keys then stay as they were.
    pub async fn reload(&self, store: &Store) -> Result<usize, StoreError> {
        // One after another, or what was read before a key was revoked could come last.
        let _alone = self.reloading.lock().await;
        let mut keys = Keys::default();
        for record in store.keys().await? {
            keys.add(record);
        }
        let count = keys.by_id.len();
        self.keys.store(Arc::new(keys));
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
        let record = keys.by_id.get(key_id);
        // The same work for an unknown key as for a known one.
        let wanted = record.map_or([0; 32], |record| record.secret_sha256);
        let matches = verify_slices_are_equal(&sha256(secret.as_bytes()), &wanted).is_ok();
        let record = record.filter(|_| matches).ok_or(Refused)?;
        self.admit_holder(record, now)
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
        // What is no key costs nobody anything, and takes nothing from those who mistype one.
        let key_id = key_id.filter(|key_id| is_key_id(key_id)).ok_or(Refused)?;
        let may_be_new = (!self.keys.load().by_id.contains_key(key_id)
            && !self.refusals.is_unknown(key_id))
        .then_some(key_id);
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
                    let mut keys = Keys::clone(keys);
                    // Not over one that a reload has brought meanwhile: it may be revoked there.
                    if !keys.by_id.contains_key(&record.key_id) {
                        keys.add(record.clone());
                    }
                    keys
                });
                Ok(self.authenticate(key, now)?)
            }
            Ok(None) => {
                self.refusals.note_unknown(key_id);
                Err(Refused.into())
            }
            Err(_) => Err(NotAdmitted::NotLookedUp),
        }
    }

    /// Admits whom a client certificate stands for (X9, X22). The certificate is verified
    /// already: `names` are its thumbprint and its SPIFFE ids, held against those of keys exactly.
    ///
    /// # Errors
    /// When no active key names it, or those of several clients do.
    pub fn admit_certificate<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        now: Timestamp,
    ) -> Result<Caller, Refused> {
        let keys = self.keys.load();
        let mut found: Option<&Arc<KeyRecord>> = None;
        let named = names
            .into_iter()
            .filter_map(|name| keys.by_certificate.get(name))
            .flatten()
            .filter(|record| record.is_active(now));
        for record in named {
            match found {
                Some(other) if other.client_id != record.client_id => return Err(Refused),
                Some(other) if other.created_at > record.created_at => {}
                _ => found = Some(record),
            }
        }
        self.admit_holder(found.ok_or(Refused)?, now)
    }

    /// The client as its newest active key has it: for who comes with something that the client
    /// was given. None when it has no active key any more.
    #[must_use]
    pub fn client(&self, client_id: &str, now: Timestamp) -> Option<Caller> {
        let keys = self.keys.load();
        let of_client = keys.by_client.get(client_id)?;
        let newest = of_client.iter().rev().find(|record| record.is_active(now));
        newest.and_then(|record| Caller::holding(record))
    }

    /// Who holds the key of this id, or held it. An id that is not known any more is a client of
    /// its own.
    #[must_use]
    pub fn client_of(&self, key_id: &str) -> String {
        let keys = self.keys.load();
        let record = keys.by_id.get(key_id);
        record.map_or_else(|| key_id.to_owned(), |record| record.client_id.clone())
    }

    /// What people call who holds a caller's key. None: it is not known here any more.
    #[must_use]
    pub fn name(&self, caller: &Caller) -> Option<String> {
        let keys = self.keys.load();
        let record = keys.by_id.get(&caller.key_id)?;
        Some(record.name.clone())
    }

    /// Whether people call a key this, whether or not it is good for anything now.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        let keys = self.keys.load();
        keys.by_id.values().any(|record| record.name == name)
    }

    /// Whether a caller may do this: its role may, and its key is not narrowed to less.
    #[must_use]
    pub fn permits(&self, caller: &Caller, permission: Permission) -> bool {
        self.permissions.allow(caller.role, permission)
            && caller
                .permissions
                .is_none_or(|narrowed| narrowed.contains(permission))
    }

    /// All that a caller may do.
    #[must_use]
    pub fn permitted(&self, caller: &Caller) -> PermissionSet {
        self.within(caller.role, caller.permissions)
    }

    /// All that the holder of a key of this role may do, if it is narrowed so.
    #[must_use]
    pub fn within(&self, role: Role, narrowed: Option<PermissionSet>) -> PermissionSet {
        let role = self.permissions.of(role);
        narrowed.map_or(role, |narrowed| role.and(narrowed))
    }

    /// A key as the store has it, with the last use that is not there yet.
    #[must_use]
    pub fn with_use(&self, record: &KeyRecord) -> KeyRecord {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let last = used.get(&record.key_id).copied();
        KeyRecord {
            last_used_at: record.last_used_at.max(last),
            ..record.clone()
        }
    }

    /// The keys used since the last call, to be noted in the store.
    #[must_use]
    pub fn take_used(&self) -> Vec<(String, Timestamp)> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.drain().collect()
    }

    fn admit_holder(&self, record: &KeyRecord, now: Timestamp) -> Result<Caller, Refused> {
        let caller = Caller::holding(record).ok_or(Refused)?;
        if !record.is_active(now) {
            return Err(Refused);
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match used.get_mut(&caller.key_id) {
            Some(last) => *last = now,
            None => {
                used.insert(caller.key_id.clone(), now);
            }
        }
        Ok(caller)
    }
}
