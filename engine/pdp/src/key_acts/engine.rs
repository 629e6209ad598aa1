//! What the engine does with keys: in effect at once, and on record before it is answered.

use domain::{EntityRef, Timestamp};
use store::sqlite::{KeyAct, KeyRecord};
use token::revocation::Entry;

use super::{Actor, Hands, KeyActError, REVOKED, Rotated, record_of};
use crate::access::{Caller, KeyWish, NewKey, Role};
use crate::app::App;
use crate::monitor::Look;
use crate::revoking;

impl App {
    /// Makes a key for the engine's own purposes.
    ///
    /// # Errors
    /// When the name is none, or it could not be made durable and put on record.
    pub async fn create_key(&self, name: &str, role: Role) -> Result<NewKey, KeyActError> {
        let subject = EntityRef::new(self.settings.service_type.as_str(), name)
            .map_err(|error| KeyActError::Beyond(format!("the name {error}")))?;
        let wish = KeyWish::plain(name, role, subject);
        let new = self.hands(Actor::Engine).create(wish).await?;
        self.settle_keys().await?;
        Ok(new)
    }

    /// Makes a key on behalf of a caller.
    ///
    /// # Errors
    /// When it would be more than the caller may do, there is no room, or it could not be made
    /// durable and put on record; then it is worth nothing.
    pub(crate) async fn create_key_for(
        &self,
        by: &Caller,
        wish: KeyWish,
    ) -> Result<NewKey, KeyActError> {
        let hands = self.hands(Actor::Holder(by, &self.keys));
        let new = hands.create(wish).await?;
        self.settle_new(&hands, &new.record).await?;
        Ok(new)
    }

    /// Rotates a key on behalf of a caller.
    ///
    /// # Errors
    /// When there is no such key, it cannot be rotated by this caller, or it could not be made
    /// durable and put on record; then the new one is worth nothing, and it can be rotated again.
    pub(crate) async fn rotate_key_for(
        &self,
        by: &Caller,
        key_id: &str,
        overlap_days: u32,
    ) -> Result<Rotated, KeyActError> {
        let hands = self.hands(Actor::Holder(by, &self.keys));
        let rotated = hands.rotate(key_id, overlap_days).await?;
        self.settle_new(&hands, &rotated.new.record).await?;
        Ok(rotated)
    }

    /// Revokes a key on behalf of a caller, for good; and with the last one of its client what
    /// that client was given. Nothing happens to one that was revoked before.
    ///
    /// # Errors
    /// When there is no such key, or it could not be made durable and put on record. It is
    /// revoked all the same if only the record is missing.
    pub(crate) async fn revoke_key_for(
        &self,
        by: &Caller,
        key_id: &str,
    ) -> Result<(), KeyActError> {
        let hands = self.hands(Actor::Holder(by, &self.keys));
        hands.revoke(key_id).await?;
        self.settle_keys().await
    }

    fn hands<'a>(&'a self, actor: Actor<'a>) -> Hands<'a> {
        Hands {
            store: self.state.store(),
            randomness: &*self.inputs.randomness,
            most: self.settings.limits.keys,
            now: self.inputs.clock.now(),
            actor,
        }
    }

    /// What is kept takes effect, and goes on record.
    async fn settle_keys(&self) -> Result<(), KeyActError> {
        self.keys.reload(self.state.store()).await?;
        self.record_key_acts().await
    }

    /// The same for a new key. One that cannot be handed out is revoked: nobody has it, and
    /// nobody can ask for it again.
    async fn settle_new(&self, hands: &Hands<'_>, new: &KeyRecord) -> Result<(), KeyActError> {
        let settled = self.settle_keys().await;
        if settled.is_err() {
            hands.revoke(&new.key_id).await?;
            self.keys.reload(self.state.store()).await?;
        }
        settled
    }

    /// Puts on record what was done with keys, by whichever process, after a client that has no
    /// key any more has lost what it was given. After a crash an act may come to be on record
    /// twice, by the same number.
    ///
    /// # Errors
    /// When store or journal refuse; it is tried again in a moment.
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
                if act.kind == REVOKED {
                    self.end_client(act).await?;
                }
                let appended = self.journal.append(record_of(act)).await;
                appended.map_err(|error| not_recorded(&error))?;
            }
            let forgotten = self.state.store().forget_key_acts(last.number).await;
            forgotten.map_err(|error| not_recorded(&error))?;
        }
    }

    /// A key was revoked: with the last one of a client all tokens and families that it was given
    /// before end too. The ring knows of it already, so it is given no more.
    async fn end_client(&self, act: &KeyAct) -> Result<(), KeyActError> {
        let client_id = self.keys.client_of(&act.key_id);
        if self
            .keys
            .client(&client_id, self.inputs.clock.now())
            .is_some()
        {
            return Ok(());
        }
        // Its sessions end with the health check, and not with the next sweep.
        let sessions = Look::Client {
            id: client_id.clone(),
            after: String::new(),
        };
        self.monitor.look_at(sessions, "key");
        let everything = Entry::Client {
            client_id,
            before: Timestamp::MAX,
        };
        let why = "its last key was revoked";
        revoking::revoke(self, &act.by, everything, Some(why))
            .await
            .map(drop)
            .map_err(|error| KeyActError::NotRecorded(error.to_string()))
    }
}
