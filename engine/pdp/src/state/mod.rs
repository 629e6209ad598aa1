//! The state that decisions read and change: profiles, sessions, devices.
//!
//! Held in memory, in front of the store, written behind within a second. When the store fails,
//! what is in memory goes on for `limits.store_deny_after`; then the engine denies.

mod crowds;
mod hot;
mod many;
mod sessions;
mod sources;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domain::{DeviceRecord, EntityRef, SessionRecord, Signal, Timestamp};
use risk::{
    Attempt, Crowd, CrowdKeys, Crowds, Delta, Key, Lesson, Profile, Standing, Tally, crowd, profile,
};
use store::Store;
use store::sqlite::{
    ChangedDevice, CrowdRow, DeviceChange, EndedSession, Ending, ProfileRow, SessionHandles,
    StoreError,
};

use crate::settings::Limits;
use crowds::LiveCrowds;
pub use hot::Begun;
use hot::{Hot, Lookup};
use sources::Sources;

/// Crowds that are read at the start.
const CROWDS_MOST: usize = 2000;
/// No failure at the moment.
const HEALTHY: i64 = 0;

/// The hot state and the store behind it.
#[derive(Debug)]
pub struct State {
    store: Store,
    profiles: Hot<EntityRef, Arc<Profile>>,
    sessions: Hot<String, Arc<SessionRecord>>,
    /// Held while somebody is told of an old handle.
    alarming: tokio::sync::Mutex<()>,
    /// What is kept of the handles of sessions, by their ids.
    handles: Hot<String, Arc<SessionHandles>>,
    /// Held while sessions are taken from the memory and written, so that an older state never
    /// comes after a newer one.
    writing_sessions: tokio::sync::Mutex<()>,
    devices: Hot<String, Arc<DeviceRecord>>,
    crowds: LiveCrowds,
    sources: Sources,
    time_box: Duration,
    deny_after_seconds: i64,
    /// Milliseconds of the first failure since the last success.
    failing_since: AtomicI64,
}

impl State {
    /// The state in front of a store.
    #[must_use]
    pub fn new(store: Store, limits: &Limits) -> Self {
        Self {
            store,
            profiles: Hot::new(limits.profiles_in_memory),
            sessions: Hot::new(limits.sessions_in_memory),
            handles: Hot::new(limits.sessions_in_memory),
            writing_sessions: tokio::sync::Mutex::default(),
            alarming: tokio::sync::Mutex::default(),
            devices: Hot::new(limits.devices_in_memory),
            crowds: LiveCrowds::default(),
            sources: Sources::new(limits.sources_in_memory),
            time_box: limits.signal_timeout,
            deny_after_seconds: i64::try_from(limits.store_deny_after.as_secs())
                .unwrap_or(i64::MAX),
            failing_since: AtomicI64::new(HEALTHY),
        }
    }

    /// The store itself.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Reads the crowds that were kept; once, at the start. Those that cannot be read begin anew.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn restore_crowds(&self) -> Result<(), StoreError> {
        let rows = self.store.crowds(CROWDS_MOST).await?;
        self.crowds.restore(rows.into_iter().filter_map(|row| {
            Some((
                Key::number(row.crowd),
                Crowd::from_bytes(row.form, &row.body)?,
            ))
        }));
        Ok(())
    }

    /// What is usual for the crowds of a subject.
    #[must_use]
    pub fn crowds(&self, keys: CrowdKeys) -> Crowds {
        self.crowds.of(keys)
    }

    /// What has come from an address, its network, its autonomous system.
    #[must_use]
    pub fn tallies(&self, sources: [Option<Key>; 3]) -> [Option<Tally>; 3] {
        self.sources.of(sources)
    }

    /// Counts an attempt for where it came from, whoever it was on.
    pub fn count_attempt(&self, attempt: &Attempt) {
        self.sources.count(attempt);
    }

    /// What is usual for a subject.
    pub async fn profile(&self, subject: &EntityRef, now: Timestamp) -> Signal<Arc<Profile>> {
        match self.profiles.get(subject) {
            Lookup::Found(profile) => Signal::Known(profile),
            Lookup::Nothing => Signal::Absent,
            Lookup::NotLoaded => {
                let begun = self.profiles.begin();
                let load = async {
                    let row = self.store.profile(subject).await?;
                    row.map(|(form, body)| read_profile(form, &body))
                        .transpose()
                };
                self.load(load, now, |found| {
                    self.profiles.loaded(subject, found, begun)
                })
                .await
            }
        }
    }

    /// A session, by its id.
    pub async fn session(&self, id: &String, now: Timestamp) -> Signal<Arc<SessionRecord>> {
        match self.sessions.get(id) {
            Lookup::Found(session) => Signal::Known(session),
            Lookup::Nothing => Signal::Absent,
            Lookup::NotLoaded => {
                let begun = self.sessions.begin();
                let load = async { Ok(self.store.session(id).await?.map(Arc::new)) };
                self.load(load, now, |found| self.sessions.loaded(id, found, begun))
                    .await
            }
        }
    }

    /// What is stored about a device.
    pub async fn device(&self, id: &String, now: Timestamp) -> Signal<Arc<DeviceRecord>> {
        match self.devices.get(id) {
            Lookup::Found(device) => Signal::Known(device),
            Lookup::Nothing => Signal::Absent,
            Lookup::NotLoaded => {
                let begun = self.devices.begin();
                let load = async { Ok(self.store.device(id).await?.map(Arc::new)) };
                self.load(load, now, |found| self.devices.loaded(id, found, begun))
                    .await
            }
        }
    }

    /// Looks a value up in the store, within its time.
    async fn load<T>(
        &self,
        load: impl Future<Output = Result<Option<T>, StoreError>>,
        now: Timestamp,
        keep: impl FnOnce(Option<T>) -> Option<T>,
    ) -> Signal<T> {
        match tokio::time::timeout(self.time_box, load).await {
            Ok(Ok(found)) => {
                self.note_success();
                Signal::from(keep(found))
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "a signal could not be read from the store");
                self.note_failure(now);
                Signal::Unavailable
            }
            Err(_) => {
                self.note_failure(now);
                Signal::Unavailable
            }
        }
    }

    /// Takes a decision's lesson into the subject's profile and its crowds. False when it was
    /// taken in before.
    pub fn learn(&self, subject: &EntityRef, crowds: CrowdKeys, delta: &Delta) -> bool {
        let mut standing = Standing::default();
        let is_new = self.profiles.change(subject, |profile| {
            let profile = Arc::make_mut(profile.get_or_insert_with(Arc::default));
            let is_new = profile.apply(delta);
            standing = Standing::of(profile);
            is_new
        });
        if is_new && delta.lesson == Lesson::Baselines {
            self.crowds
                .teach(crowds, delta.observation.clone(), standing);
        }
        is_new
    }

    /// A step-up was passed for an event that waited. False when nothing waits any more.
    pub async fn confirm(&self, subject: &EntityRef, event: Key, now: Timestamp) -> bool {
        // Loads it, if it is not there.
        let _ = self.profile(subject, now).await;
        self.profiles.change(subject, |profile| {
            profile
                .as_mut()
                .is_some_and(|profile| Arc::make_mut(profile).confirm(event, now))
        })
    }

    /// The subject says that an event was not theirs.
    pub async fn disown(&self, subject: &EntityRef, event: Key, now: Timestamp) {
        // Loads it, if it is not there.
        let _ = self.profile(subject, now).await;
        self.profiles.change(subject, |profile| {
            Arc::make_mut(profile.get_or_insert_with(Arc::default)).disown(event, now);
            true
        });
    }

    /// Changes a device's record; see [`Store::change_device`]. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn change_device(
        &self,
        id: &String,
        most: u32,
        change: impl FnOnce(Option<&DeviceRecord>) -> Option<DeviceChange>,
    ) -> Result<ChangedDevice, StoreError> {
        let done = self.store.change_device(id, most, change).await;
        self.devices.forget(id);
        done
    }

    /// Forgets a device, and ends what is open on it; see [`Store::delete_device`]. Durable when
    /// this returns.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn delete_device(
        &self,
        id: &String,
        ending: &Ending<'_>,
    ) -> Result<Option<(DeviceRecord, Vec<EndedSession>)>, StoreError> {
        let done = self.store.delete_device(id, ending).await;
        self.devices.forget(id);
        done
    }

    /// Forgets sessions that nobody has seen since a moment, here and in the store.
    ///
    /// # Errors
    /// When the store could not be written.
    pub async fn forget_sessions(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.sessions
            .forget_if(|session| session.last_seen < before);
        self.store.forget_sessions(before).await
    }

    /// Writes everything that changed since the last time.
    ///
    /// # Errors
    /// When the store could not be written; it is tried again with the next call.
    pub async fn flush(&self, now: Timestamp) -> Result<usize, StoreError> {
        let crowds: Vec<CrowdRow> = self
            .crowds
            .settle()
            .into_iter()
            .map(|(key, crowd)| CrowdRow {
                crowd: key.as_number(),
                form: crowd::FORM,
                body: crowd.to_bytes(),
            })
            .collect();
        // First: whoever drops this while it waits loses nothing.
        let _writing = self.writing_sessions.lock().await;
        let profiles = self.profiles.take_dirty();
        let sessions = self.sessions.take_dirty();
        let count = profiles.len() + sessions.len();
        if count == 0 {
            return Ok(0);
        }
        let rows: Vec<ProfileRow> = profiles
            .iter()
            .map(|(subject, profile)| ProfileRow {
                subject: subject.clone(),
                form: profile::FORM,
                body: profile.to_bytes(),
                updated_at: now,
            })
            .collect();
        let records: Vec<SessionRecord> = sessions
            .iter()
            .map(|(_, session)| SessionRecord::clone(session))
            .collect();
        let written = async {
            self.store.put_profiles(&rows).await?;
            // Not tried again when it fails: the next lesson brings the whole of them.
            self.store.put_crowds(&crowds, now).await?;
            self.store.put_sessions(&records).await
        };
        match written.await {
            Ok(()) => {
                self.note_success();
                Ok(count)
            }
            Err(error) => {
                self.profiles
                    .not_written(profiles.into_iter().map(|(subject, _)| subject));
                self.sessions
                    .not_written(sessions.into_iter().map(|(id, _)| id));
                self.note_failure(now);
                Err(error)
            }
        }
    }

    /// Since when the store has been failing.
    #[must_use]
    pub fn failing_since(&self) -> Option<Timestamp> {
        match self.failing_since.load(Ordering::Relaxed) {
            HEALTHY => None,
            millis => Some(Timestamp::from_millis(millis)),
        }
    }

    /// Whether the store has been failing for too long to go on.
    #[must_use]
    pub fn has_given_up(&self, now: Timestamp) -> bool {
        self.failing_since()
            .is_some_and(|since| now.whole_seconds_since(since) > self.deny_after_seconds)
    }

    fn note_success(&self) {
        if self.failing_since.load(Ordering::Relaxed) != HEALTHY {
            self.failing_since.store(HEALTHY, Ordering::Relaxed);
        }
    }

    fn note_failure(&self, now: Timestamp) {
        let _ = self.failing_since.compare_exchange(
            HEALTHY,
            now.millis().max(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Sessions held in memory.
    #[must_use]
    pub fn sessions_held(&self) -> usize {
        self.sessions.len()
    }
}

fn read_profile(form: u32, body: &[u8]) -> Result<Arc<Profile>, StoreError> {
    Profile::from_bytes(form, body)
        .map(Arc::new)
        .map_err(|error| {
            tracing::error!(%error, "a stored profile cannot be read");
            StoreError::Nonsense { what: "profile" }
        })
}
