//! Sessions in memory and in the store: looked up by handle, changed, ended.

use std::sync::Arc;

use domain::{SessionRecord, Signal, Timestamp};
use store::sqlite::{Lift, NewSecurityEvent, SessionHandles, StoreError};

use super::State;
use super::hot::{Begun, Lookup};

/// Has the memory follow a session that is being written, also where whoever writes it is dropped.
struct Following<'a, F: Fn(&mut SessionRecord) -> bool> {
    state: &'a State,
    id: &'a String,
    change: &'a F,
    brings_handle: bool,
    is_in_effect: bool,
    now_is: Option<Arc<SessionRecord>>,
    is_done: bool,
}

impl<F: Fn(&mut SessionRecord) -> bool> Following<'_, F> {
    fn follow(&mut self) {
        if std::mem::replace(&mut self.is_done, true) {
            return;
        }
        if self.brings_handle {
            self.state.handles.forget(self.id);
        }
        // On top of whatever has changed there meanwhile; who looked it up before has nothing. It
        // waits to be written in any case: whether it was, is not known of what broke off.
        self.state.sessions.change(self.id, |known| {
            let Some(known) = known else { return false };
            if self.is_in_effect {
                (self.change)(Arc::make_mut(known));
            }
            self.now_is = Some(Arc::clone(known));
            true
        });
    }
}

impl<F: Fn(&mut SessionRecord) -> bool> Drop for Following<'_, F> {
    fn drop(&mut self) {
        self.follow();
    }
}

impl State {
    /// Changes a session, or makes it when there is none.
    pub fn change_session(
        &self,
        id: &String,
        change: impl FnOnce(&mut Option<Arc<SessionRecord>>) -> bool,
    ) -> bool {
        self.sessions.change(id, change)
    }

    /// A session, for whoever must not take it for gone because the store is slow or fails.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn session_surely(
        &self,
        id: &String,
        now: Timestamp,
    ) -> Result<Option<Arc<SessionRecord>>, StoreError> {
        Ok(match self.session(id, now).await {
            Signal::Known(session) => Some(session),
            Signal::Absent => None,
            Signal::Unavailable => self.store.session(id).await?.map(Arc::new),
        })
    }

    /// What is kept of the handles of a session, by its id.
    pub async fn session_handles(
        &self,
        id: &String,
        now: Timestamp,
    ) -> Signal<Arc<SessionHandles>> {
        match self.handles.get(id) {
            Lookup::Found(handles) => Signal::Known(handles),
            Lookup::Nothing => Signal::Absent,
            Lookup::NotLoaded => {
                let begun = self.handles.begin();
                let load = async { Ok(self.store.session_handles(id).await?.map(Arc::new)) };
                self.load(load, now, |found| self.handles.loaded(id, found, begun))
                    .await
            }
        }
    }

    /// Held while somebody is told of an old handle, so that it is told once.
    #[must_use]
    pub const fn alarming(&self) -> &tokio::sync::Mutex<()> {
        &self.alarming
    }

    /// To be called after the handles of a session were written.
    pub fn forget_handles(&self, id: &String) {
        self.handles.forget(id);
    }

    /// To be called before a session is kept in the store, for [`Self::session_opened`].
    #[must_use]
    pub fn begin_session(&self) -> Begun {
        self.sessions.begin()
    }

    /// Takes over a session that was kept in the store since `begun`. When anything has ended
    /// since, it is looked up in the store at its first use: it may be what has ended.
    pub fn session_opened(&self, session: SessionRecord, begun: Begun) {
        let id = session.id.clone();
        self.sessions.loaded(&id, Some(Arc::new(session)), begun);
    }

    /// Takes over that sessions have ended in the store.
    pub fn sessions_ended<'a>(&self, ids: impl IntoIterator<Item = &'a String>) {
        self.sessions.written_past();
        for id in ids {
            self.sessions
                .follow(id, |session| Arc::make_mut(session).ended = true);
        }
    }

    /// Writes a session that was changed, as it is by now. Durable when this returns.
    ///
    /// # Errors
    /// When it could not be made durable; it is tried again with the next flush.
    pub async fn write_session(&self, session: SessionRecord) -> Result<(), StoreError> {
        self.write_session_telling(session, &[]).await
    }

    /// The same, and what is told of the change, in one transaction. When it fails, nothing is
    /// told; whoever has something to tell tries again.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn write_session_telling(
        &self,
        session: SessionRecord,
        tells: &[NewSecurityEvent],
    ) -> Result<(), StoreError> {
        let _writing = self.writing_sessions.lock().await;
        let session = match self.sessions.get(&session.id) {
            Lookup::Found(newer) => Arc::unwrap_or_clone(newer),
            Lookup::Nothing | Lookup::NotLoaded => session,
        };
        self.store.put_session_telling(&session, tells, None).await
    }

    /// Changes a session that was opened with the engine, and tells of it in the same transaction;
    /// then changes it in memory. `change` says whether it changes anything; else nothing is
    /// written or told. `lift` goes with what loosens it, such as a proof. The session as it is then;
    /// none when there is no such session.
    ///
    /// Where it is dropped while it waits, nobody knows whether it was written: what is in memory
    /// counts, and the next flush writes it. What tightens is in effect then, and what loosens is not,
    /// since nobody has the handle that goes with it.
    ///
    /// # Errors
    /// When it could not be made durable. Then it is not changed in memory either: whoever looks
    /// again finds the same to do, and to tell.
    pub async fn change_session_durably(
        &self,
        id: &String,
        tells: &[NewSecurityEvent],
        lift: Option<&Lift>,
        change: impl Fn(&mut SessionRecord) -> bool,
    ) -> Result<Option<Arc<SessionRecord>>, StoreError> {
        let opened = |session: &SessionRecord| session.terms.is_some();
        self.change_durably(id, tells, lift, opened, change).await
    }

    /// The same for any session, callers' own among them.
    ///
    /// # Errors
    /// As [`Self::change_session_durably`].
    pub async fn change_any_session_durably(
        &self,
        id: &String,
        tells: &[NewSecurityEvent],
        change: impl Fn(&mut SessionRecord) -> bool,
    ) -> Result<Option<Arc<SessionRecord>>, StoreError> {
        self.change_durably(id, tells, None, |_| true, change).await
    }

    async fn change_durably(
        &self,
        id: &String,
        tells: &[NewSecurityEvent],
        lift: Option<&Lift>,
        is_meant: impl Fn(&SessionRecord) -> bool,
        change: impl Fn(&mut SessionRecord) -> bool,
    ) -> Result<Option<Arc<SessionRecord>>, StoreError> {
        let _writing = self.writing_sessions.lock().await;
        let known = match self.sessions.get(id) {
            Lookup::Found(known) => Some(known),
            Lookup::Nothing => None,
            Lookup::NotLoaded => {
                let begun = self.sessions.begin();
                let found = self.store.session(id).await?.map(Arc::new);
                self.sessions.loaded(id, found, begun)
            }
        };
        let Some(known) = known.filter(|known| is_meant(known)) else {
            return Ok(None);
        };
        let mut changed = SessionRecord::clone(&known);
        if !change(&mut changed) {
            return Ok(Some(known).filter(|known| !known.ended));
        }
        // Dropped before the lock is: no flush comes between.
        let mut following = Following {
            state: self,
            id,
            change: &change,
            brings_handle: lift.is_some(),
            is_in_effect: lift.is_none(),
            now_is: None,
            is_done: false,
        };
        let written = self.store.put_session_telling(&changed, tells, lift).await;
        following.is_in_effect = written.is_ok();
        following.follow();
        let now_is = following.now_is.take();
        written?;
        Ok(Some(now_is.unwrap_or_else(|| Arc::new(changed))))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use domain::{Assurance, EntityRef, Level, SessionBirth, SessionTerms, Wanted};
    use store::Store;
    use store::sqlite::{Ending, Initiator, NewHandle};

    use super::*;
    use crate::settings::Settings;

    async fn state(folder: &Path) -> State {
        let store = Store::open(&folder.join("test.db")).await.unwrap();
        let settings = Settings::load(None, std::iter::empty()).unwrap();
        State::new(store, &settings.limits)
    }

    fn session(id: &str, now: Timestamp) -> SessionRecord {
        SessionRecord {
            id: id.to_owned(),
            subject: EntityRef::new("User", "alice").unwrap(),
            birth: SessionBirth {
                at: now,
                ..SessionBirth::default()
            },
            last_seen: now,
            sight: None,
            assurance: Assurance::default(),
            ended: false,
            terms: None,
        }
    }

    #[tokio::test]
    async fn a_flush_does_not_take_back_a_step_up_that_was_written_meanwhile() {
        let folder = tempfile::TempDir::new().unwrap();
        let state = state(folder.path()).await;
        let now = Timestamp::from_millis(1_000_000);
        let id = "s".to_owned();
        state.session(&id, now).await;
        state.change_session(&id, |known| {
            *known = Some(Arc::new(session(&id, now)));
            true
        });
        let lift = async {
            let mut lifted = session(&id, now);
            lifted.assurance = Assurance::of(Level::Mfa, Some(now));
            let newer = Arc::new(lifted.clone());
            state.change_session(&id, |known| {
                *known = Some(newer);
                true
            });
            state.write_session(lifted).await
        };
        // The flush has taken the session as it was when the step-up comes.
        let (flushed, lifted) = tokio::join!(state.flush(now), lift);
        lifted.unwrap();
        assert_eq!(flushed.unwrap(), 1);
        let stored = state.store().session(&id).await.unwrap().unwrap();
        assert_eq!(stored.assurance.level, Level::Mfa);
    }

    /// A session that was opened with the engine, stored and in memory, changed there by use.
    async fn opened(state: &State, id: &String, handle: u8, now: Timestamp) {
        let mut record = session(id, now);
        record.terms = Some(SessionTerms::default());
        let store = state.store();
        let ending = Ending {
            at: now,
            why: "displaced",
            by: "engine",
            initiator: Initiator::System,
            until: now,
            written: ToString::to_string,
            tells: &[],
        };
        store
            .open_session(&record, &[handle; 32], 1000, &ending, &[])
            .await
            .unwrap();
        state.session(id, now).await;
        state.change_session(id, |known| {
            Arc::make_mut(known.as_mut().unwrap()).last_seen = now.plus_seconds(1);
            true
        });
    }

    /// Polls so often and drops it. Whether it was done by then.
    fn broken_off<T>(work: impl Future<Output = T>, polls: usize) -> bool {
        let mut work = std::pin::pin!(work);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        (0..polls).any(|_| {
            // The store has a thread of its own, which goes on between the polls.
            std::thread::sleep(Duration::from_millis(1));
            work.as_mut().poll(&mut context).is_ready()
        })
    }

    #[tokio::test]
    async fn a_change_that_breaks_off_leaves_memory_and_store_as_one() {
        let folder = tempfile::TempDir::new().unwrap();
        let state = state(folder.path()).await;
        let now = Timestamp::from_millis(1_000_000);
        let wanted = Wanted {
            level: Level::Mfa,
            since: now,
        };
        let mut done = 0;
        for number in 0..60_u8 {
            let (polls, is_proof) = (usize::from(number / 2) + 1, number % 2 == 1);
            let id = format!("ses_{polls}_{is_proof}");
            opened(&state, &id, number, now).await;
            let new = NewHandle {
                sha256: [100 + number; 32],
                number: 1,
                at: now,
                previous_until: Some(now),
            };
            let change = |session: &mut SessionRecord| {
                if is_proof {
                    session.assurance = Assurance::of(Level::Mfa, Some(now));
                } else {
                    session.terms.as_mut().unwrap().wanted = Some(wanted);
                }
                true
            };
            let lift = is_proof.then_some(Lift {
                handle: Some(new),
                spends: None,
            });
            let work = state.change_session_durably(&id, &[], lift.as_ref(), change);
            let is_done = broken_off(work, polls);
            done += usize::from(is_done);
            state.flush(now).await.unwrap();
            let held = state.session(&id, now).await.known().cloned().unwrap();
            let stored = state.store().session(&id).await.unwrap().unwrap();
            let of = |session: &SessionRecord| {
                let wanted = session.terms.as_ref().unwrap().wanted;
                (wanted, session.assurance.level, session.last_seen)
            };
            assert_eq!(of(&held), of(&stored), "{id}");
            if is_proof {
                let level = if is_done { Level::Mfa } else { Level::None };
                assert_eq!(stored.assurance.level, level, "{id}");
            } else if polls > 1 {
                // It may have waited for the lock no longer.
                assert_eq!(of(&stored).0, Some(wanted), "{id}");
            }
        }
        assert!(done > 0, "none was done");
    }

    #[tokio::test]
    async fn a_fall_reaches_sessions_that_are_not_in_memory_or_it_is_said_that_it_did_not() {
        let folder = tempfile::TempDir::new().unwrap();
        let state = state(folder.path()).await;
        let now = Timestamp::from_millis(1_000_000);
        let falls = |session: &mut SessionRecord| {
            session.assurance = Assurance::of(Level::SingleFactor, Some(now));
            true
        };
        // One that was opened with the engine, and a caller's own word for one.
        for (id, terms) in [("ses_1", Some(SessionTerms::default())), ("own", None)] {
            let mut record = session(id, now);
            record.assurance = Assurance::of(Level::Mfa, Some(now));
            record.terms = terms;
            state.store().put_sessions(&[record]).await.unwrap();
            let id = id.to_owned();
            let changed = state.change_any_session_durably(&id, &[], falls).await;
            let level = |session: &SessionRecord| session.assurance.level;
            assert_eq!(level(&changed.unwrap().unwrap()), Level::SingleFactor);
            let stored = state.store().session(&id).await.unwrap().unwrap();
            assert_eq!(level(&stored), Level::SingleFactor, "{id}");
            let held = state.session(&id, now).await.known().cloned().unwrap();
            assert_eq!(level(&held), Level::SingleFactor, "{id}");
        }
        state.store().close().await;
        for id in ["ses_1", "ses_2"] {
            let id = id.to_owned();
            let done = state.change_any_session_durably(&id, &[], falls).await;
            assert!(done.is_err(), "{id}: {done:?}");
        }
        // Nor is one that cannot be looked up a session that is gone.
        let unknown = "ses_2".to_owned();
        assert!(state.session_surely(&unknown, now).await.is_err());
        let held = state.session_surely(&"ses_1".to_owned(), now).await;
        assert!(held.unwrap().is_some());
    }
}
