//! Look-ups for many at once, which keep nothing: whoever goes through all sessions must not push
//! out what is in use.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{DeviceRecord, EntityRef, SessionRecord, Signal, Timestamp};
use risk::Profile;
use store::sqlite::StoreError;

use super::hot::Lookup;
use super::{State, read_profile};

impl State {
    /// Those of these sessions that there are, as they are by now: what is in memory counts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn sessions_among(
        &self,
        ids: impl IntoIterator<Item = String>,
    ) -> Result<Vec<Arc<SessionRecord>>, StoreError> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for id in ids {
            match self.sessions.get(&id) {
                Lookup::Found(session) => found.push(session),
                Lookup::Nothing => {}
                Lookup::NotLoaded => missing.push(id),
            }
        }
        if !missing.is_empty() {
            for session in self.store.sessions_among(&missing).await? {
                // It may have been loaded, and changed, meanwhile.
                found.push(match self.sessions.get(&session.id) {
                    Lookup::Found(newer) => newer,
                    Lookup::Nothing | Lookup::NotLoaded => Arc::new(session),
                });
            }
        }
        Ok(found)
    }

    /// What is usual for each of these subjects.
    pub(crate) async fn profiles_among(
        &self,
        subjects: Vec<EntityRef>,
        now: Timestamp,
    ) -> HashMap<EntityRef, Signal<Arc<Profile>>> {
        let mut found = HashMap::with_capacity(subjects.len());
        let mut missing = Vec::new();
        for subject in subjects {
            match self.profiles.get(&subject) {
                Lookup::Found(profile) => {
                    found.insert(subject, Signal::Known(profile));
                }
                Lookup::Nothing => {
                    found.insert(subject, Signal::Absent);
                }
                Lookup::NotLoaded => missing.push(subject),
            }
        }
        if missing.is_empty() {
            return found;
        }
        match self.store.profiles_among(&missing).await {
            Ok(rows) => {
                self.note_success();
                found.extend(missing.into_iter().map(|subject| (subject, Signal::Absent)));
                for (subject, form, body) in rows {
                    let profile = read_profile(form, &body);
                    let signal = profile.map_or(Signal::Unavailable, Signal::Known);
                    found.insert(subject, signal);
                }
            }
            Err(error) => {
                tracing::error!(%error, "profiles could not be read from the store");
                self.note_failure(now);
                let unavailable = |subject| (subject, Signal::Unavailable);
                found.extend(missing.into_iter().map(unavailable));
            }
        }
        found
    }

    /// What is recorded of each of these devices.
    pub(crate) async fn devices_among(
        &self,
        ids: Vec<String>,
        now: Timestamp,
    ) -> HashMap<String, Signal<Arc<DeviceRecord>>> {
        let mut found = HashMap::with_capacity(ids.len());
        let mut missing = Vec::new();
        for id in ids {
            match self.devices.get(&id) {
                Lookup::Found(device) => {
                    found.insert(id, Signal::Known(device));
                }
                Lookup::Nothing => {
                    found.insert(id, Signal::Absent);
                }
                Lookup::NotLoaded => missing.push(id),
            }
        }
        if missing.is_empty() {
            return found;
        }
        match self.store.devices_among(&missing).await {
            Ok(devices) => {
                self.note_success();
                found.extend(missing.into_iter().map(|id| (id, Signal::Absent)));
                for device in devices {
                    found.insert(device.id.clone(), Signal::Known(Arc::new(device)));
                }
            }
            Err(error) => {
                tracing::error!(%error, "device records could not be read from the store");
                self.note_failure(now);
                found.extend(missing.into_iter().map(|id| (id, Signal::Unavailable)));
            }
        }
        found
    }
}
