//! Making, rotating and revoking keys: kept, in effect, and on record before it is answered.
//!
//! What is done with a key is committed together with what is to be recorded of it, by whichever
//! process does it; the engine moves that into its journal (kind `key`) and takes it out of the
//! store, at once for what it does itself and within moments for others.

mod engine;
mod view;
mod wanted;

use domain::{EntityRef, Timestamp};
use serde_json::{Map, Value, json};
use store::Store;
use store::sqlite::{KeepKeyError, KeyAct, StoreError};

use crate::access::{Caller, KeyRing, KeyWish, NewKey, PermissionSet, Role};
use crate::inputs::Randomness;

pub(crate) use view::{state, view, warning};
pub(crate) use wanted::Wanted;

/// The kind of an act that revokes.
const REVOKED: &str = "revoked";

/// Longest that a rotated key goes on beside the new one, days (X18).
pub(crate) const OVERLAP_MAX_DAYS: u32 = 7;

/// Who changes keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Actor<'a> {
    /// A person at the command line, who has the store's file in hand.
    Person,
    /// The engine itself, at a first start.
    Engine,
    /// The holder of a key.
    Holder(&'a Caller, &'a KeyRing),
}

impl Actor<'_> {
    fn key_id(self) -> Option<String> {
        match self {
            Self::Person | Self::Engine => None,
            Self::Holder(caller, _) => Some(caller.key_id.clone()),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Person => "command line".to_owned(),
            Self::Engine => "engine".to_owned(),
            Self::Holder(caller, _) => caller.key_id.clone(),
        }
    }
}

/// Why nothing was done with a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyActError {
    /// There is none of this id.
    #[error("there is no key {0}; `portreeve keys list` shows them")]
    Unknown(String),
    /// It is over.
    #[error("{0} is over; make a new key")]
    Over(String),
    /// Another has taken its place already.
    #[error("{0} was rotated already; rotate {1}, which took its place")]
    Rotated(String, String),
    /// The certificate stands for another client.
    #[error("this certificate stands for the client {0} already; one stands for one")]
    CertificateTaken(String),
    /// It would be more than its maker may do.
    #[error("{0}")]
    Beyond(String),
    /// The store has no room for it, or it was changed in between.
    #[error("{0}")]
    Keep(KeepKeyError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The journal failed.
    #[error("what was done is kept, and not on record yet: {0}")]
    NotRecorded(String),
}

impl From<KeepKeyError> for KeyActError {
    fn from(error: KeepKeyError) -> Self {
        match error {
            KeepKeyError::Store(error) => Self::Store(error),
            other => Self::Keep(other),
        }
    }
}

/// A key that took the place of another.
#[derive(Debug)]
pub(crate) struct Rotated {
    pub(crate) new: NewKey,
    pub(crate) old_key_id: String,
    /// Until when the old one goes on.
    pub(crate) overlap_end: Timestamp,
}

impl Rotated {
    /// What is told of it (X18), beside the key.
    pub(crate) fn told(&self) -> Map<String, Value> {
        let mut members = Map::new();
        for (name, value) in [
            ("action", "rotated".into()),
            ("old_key_id", self.old_key_id.clone().into()),
            ("new_key_id", self.new.record.key_id.clone().into()),
            ("overlap_end", wire::time::format(self.overlap_end).into()),
        ] {
            members.insert(name.to_owned(), value);
        }
        members
    }
}

/// A new key with its secret, as it is shown once.
pub(crate) fn shown_once(new: &NewKey) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("key".to_owned(), new.key.clone().into());
    members.insert("key_id".to_owned(), new.record.key_id.clone().into());
    members.extend(view::described(&new.record));
    members
}

/// The hands that change keys: those of the engine, or of a person at the command line beside it.
pub(crate) struct Hands<'a> {
    pub(crate) store: &'a Store,
    pub(crate) randomness: &'a dyn Randomness,
    /// Keys at most.
    pub(crate) most: usize,
    pub(crate) now: Timestamp,
    pub(crate) actor: Actor<'a>,
}

impl Hands<'_> {
    /// Nobody makes a key that may do more than their own, whether new or in the place of another
    /// one; and whose key is narrowed makes none for another service either.
    fn check_reach(&self, of: &Reach<'_>) -> Result<(), KeyActError> {
        let Actor::Holder(by, ring) = self.actor else {
            return Ok(());
        };
        let beyond: Vec<&str> = ring
            .within(of.role, of.permissions)
            .iter()
            .filter(|permission| !ring.permits(by, *permission))
            .map(|permission| permission.action())
            .collect();
        if !beyond.is_empty() {
            return Err(KeyActError::Beyond(format!(
                "it would be permitted {}, and the key that asks is not; name `permissions`",
                beyond.join(", ")
            )));
        }
        let is_own = of.client_id == Some(&by.client_id)
            || *of.subject == by.subject
                && of.certificate.is_none()
                && (of.audience.is_none() || of.audience == by.audience.as_deref());
        if by.permissions.is_some() && !is_own {
            return Err(KeyActError::Beyond(
                "a key that is narrowed makes keys for its own subject and audience alone, \
                 without a certificate"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Makes a key. Kept when this returns.
    pub(crate) async fn create(&self, wish: KeyWish) -> Result<NewKey, KeyActError> {
        let reach = Reach {
            client_id: None,
            role: wish.role,
            permissions: wish.permissions,
            subject: &wish.subject,
            audience: wish.audience.as_deref(),
            certificate: wish.certificate.as_deref(),
        };
        self.check_reach(&reach)?;
        if let Some(certificate) = &wish.certificate {
            let keys = self.store.keys().await?;
            let stands_for = keys.iter().find(|key| {
                key.certificate.as_ref() == Some(certificate) && key.is_active(self.now)
            });
            if let Some(key) = stands_for {
                return Err(KeyActError::CertificateTaken(key.client_id.clone()));
            }
        }
        let wish = KeyWish {
            created_by: self.actor.key_id(),
            ..wish
        };
        let new = NewKey::generate(wish, self.now, self.randomness);
        let key_id = &new.record.key_id;
        let act = self.act("created", key_id, view::described(&new.record));
        self.store.insert_key(&new.record, self.most, &act).await?;
        Ok(new)
    }

    /// Makes the key that takes the place of another, which goes on for `overlap_days` at most.
    /// Kept when this returns.
    pub(crate) async fn rotate(
        &self,
        key_id: &str,
        overlap_days: u32,
    ) -> Result<Rotated, KeyActError> {
        let old = self.store.key(key_id).await?;
        let old = old.ok_or_else(|| KeyActError::Unknown(key_id.to_owned()))?;
        if !old.is_active(self.now) {
            return Err(KeyActError::Over(key_id.to_owned()));
        }
        if let Some(new) = &old.rotated_to {
            let successor = self.store.key(new).await?;
            if successor.is_some_and(|successor| successor.is_active(self.now)) {
                return Err(KeyActError::Rotated(key_id.to_owned(), new.clone()));
            }
        }
        // What means nothing here permits nothing here.
        let holder = Caller::holding(&old).ok_or_else(|| KeyActError::Over(key_id.to_owned()))?;
        let reach = Reach {
            client_id: Some(&old.client_id),
            role: holder.role,
            permissions: holder.permissions,
            subject: &old.subject,
            audience: old.audience.as_deref(),
            certificate: old.certificate.as_deref(),
        };
        self.check_reach(&reach)?;
        let by = self.actor.key_id();
        let new = NewKey::succeeding(&old, by, self.now, self.randomness);
        let overlap = i64::from(overlap_days.min(OVERLAP_MAX_DAYS)) * 86_400;
        let rotated = Rotated {
            overlap_end: self.now.plus_seconds(overlap).min(old.ends_at()),
            old_key_id: old.key_id.clone(),
            new,
        };
        let mut told = rotated.told();
        // Stands in the record already, as `act` and `key_id`.
        told.remove("action");
        told.extend(view::described(&rotated.new.record));
        let act = self.act("rotated", key_id, told);
        self.store
            .rotate_key(
                &old,
                &rotated.new.record,
                rotated.overlap_end,
                self.most,
                &act,
            )
            .await?;
        Ok(rotated)
    }

    /// Revokes a key for good. False when it was revoked before. Kept when this returns.
    pub(crate) async fn revoke(&self, key_id: &str) -> Result<bool, KeyActError> {
        let record = self.store.key(key_id).await?;
        let record = record.ok_or_else(|| KeyActError::Unknown(key_id.to_owned()))?;
        let mut told = Map::new();
        told.insert("client_id".to_owned(), record.client_id.into());
        let act = self.act(REVOKED, key_id, told);
        Ok(self.store.revoke_key(&act).await?)
    }

    fn act(&self, kind: &str, key_id: &str, told: Map<String, Value>) -> KeyAct {
        KeyAct {
            number: 0,
            kind: kind.to_owned(),
            key_id: key_id.to_owned(),
            at: self.now,
            by: self.actor.name(),
            told: Value::Object(told).to_string(),
        }
    }
}

/// What a key can do, and for whom it speaks.
struct Reach<'a> {
    /// None: a new one.
    client_id: Option<&'a String>,
    role: Role,
    permissions: Option<PermissionSet>,
    subject: &'a EntityRef,
    audience: Option<&'a str>,
    certificate: Option<&'a str>,
}

/// An act as the journal holds it.
fn record_of(act: &KeyAct) -> Vec<u8> {
    let mut record = json!({
        "v": wire::record::RECORD_VERSION,
        "kind": "key",
        "number": act.number,
        "act": act.kind,
        "key_id": act.key_id,
        "at": wire::time::format(act.at),
        "caller": act.by,
    });
    if let (Some(record), Ok(told)) = (
        record.as_object_mut(),
        serde_json::from_str::<Map<String, Value>>(&act.told),
    ) {
        record.extend(told);
    }
    record.to_string().into_bytes()
}
