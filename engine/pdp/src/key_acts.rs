//! Making, rotating and revoking keys: kept, in effect, and on record before it is answered.
//!
//! What is done with a key is committed together with what is to be recorded of it, by whichever
//! process does it; the engine moves that into its journal (kind `key`) and takes it out of the
//! store, at once for what it does itself and within moments for others.

use domain::{EntityRef, NameError, Timestamp};
use serde_json::{Map, Value, json};
use store::Store;
use store::sqlite::{KeepKeyError, KeyAct, KeyRecord, StoreError};

use crate::access::{KeyWish, NewKey, Role};
use crate::app::App;

/// Who acts where no key is needed: a person at the command line.
pub(crate) const AT_THE_COMMAND_LINE: &str = "command line";
/// And the engine itself, at a first start.
const THE_ENGINE: &str = "engine";

/// The service that the holder of a key acts as, if nothing else is said.
///
/// # Errors
/// When the name is none.
pub(crate) fn service_of(service_type: &str, name: &str) -> Result<EntityRef, NameError> {
    EntityRef::new(service_type, name)
}

/// What is recorded of a new key.
pub(crate) fn created(record: &KeyRecord, by: &str) -> KeyAct {
    let mut told = described(record);
    told.insert(
        "expires_at".to_owned(),
        wire::time::format(record.expires_at).into(),
    );
    act("created", &record.key_id, record.created_at, by, told)
}

/// What is recorded of a key that was revoked.
pub(crate) fn revoked(key_id: &str, at: Timestamp, by: &str) -> KeyAct {
    act("revoked", key_id, at, by, Map::new())
}

fn act(kind: &str, key_id: &str, at: Timestamp, by: &str, told: Map<String, Value>) -> KeyAct {
    KeyAct {
        number: 0,
        kind: kind.to_owned(),
        key_id: key_id.to_owned(),
        at,
        by: by.to_owned(),
        told: Value::Object(told).to_string(),
    }
}

/// A key as everybody may see it who may see keys: never its hash.
pub(crate) fn described(record: &KeyRecord) -> Map<String, Value> {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("client_id", record.client_id.clone().into());
    put("name", record.name.clone().into());
    put("role", record.role.clone().into());
    if let Some(permissions) = &record.permissions {
        put("permissions", permissions.clone().into());
    }
    let subject = &record.subject;
    put(
        "subject",
        json!({ "type": subject.kind.as_str(), "id": subject.id.as_str() }),
    );
    if let Some(audience) = &record.audience {
        put("audience", audience.clone().into());
    }
    if let Some(certificate) = &record.certificate {
        put("certificate", certificate.clone().into());
    }
    members
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
        "by": act.by,
    });
    if let (Some(record), Ok(told)) = (
        record.as_object_mut(),
        serde_json::from_str::<Map<String, Value>>(&act.told),
    ) {
        record.extend(told);
    }
    record.to_string().into_bytes()
}

/// Why nothing was done with a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyActError {
    /// The store has no room for it, or failed.
    #[error("{0}")]
    Keep(#[from] KeepKeyError),
    /// It is done, and not on record yet.
    #[error("it is done, and not on record yet: {0}")]
    NotRecorded(String),
}

impl From<StoreError> for KeyActError {
    fn from(error: StoreError) -> Self {
        Self::Keep(error.into())
    }
}

impl App {
    /// Makes a key for the engine's own purposes, and keeps it.
    ///
    /// # Errors
    /// When it could not be made durable or put on record.
    pub async fn create_key(&self, name: &str, role: Role) -> Result<NewKey, KeyActError> {
        let subject = service_of(&self.settings.service_type, name)
            .map_err(|error| KeyActError::NotRecorded(error.to_string()))?;
        let now = self.inputs.clock.now();
        let wish = KeyWish::plain(name, role, subject);
        let key = NewKey::generate(wish, now, &*self.inputs.randomness);
        let act = created(&key.record, THE_ENGINE);
        let store = self.state.store();
        store
            .insert_key(&key.record, self.settings.limits.keys, &act)
            .await?;
        self.keys.reload(store).await?;
        self.record_key_acts().await?;
        Ok(key)
    }

    /// Puts on record what was done with keys, by whichever process. After a crash an act may
    /// come to be on record twice, by the same number.
    ///
    /// # Errors
    /// When store or journal refuse; it is tried again with the next change of the store.
    pub async fn record_key_acts(&self) -> Result<(), KeyActError> {
        let not_recorded =
            |error: &dyn std::fmt::Display| KeyActError::NotRecorded(error.to_string());
        let _alone = self.recording_keys.lock().await;
        loop {
            let acts = self.state.store().key_acts().await;
            let acts = acts.map_err(|error| not_recorded(&error))?;
            let Some(last) = acts.last() else {
                return Ok(());
            };
            for act in &acts {
                let appended = self.journal.append(record_of(act)).await;
                appended.map_err(|error| not_recorded(&error))?;
            }
            let forgotten = self.state.store().forget_key_acts(last.number).await;
            forgotten.map_err(|error| not_recorded(&error))?;
        }
    }
}

/// Keeps what a person at the command line does, for an engine to put on record.
pub(crate) async fn revoke_at_the_command_line(
    store: &Store,
    key_id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    store
        .revoke_key(&revoked(key_id, now, AT_THE_COMMAND_LINE))
        .await
}
