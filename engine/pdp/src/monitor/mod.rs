//! The monitor: looks after live sessions while nobody asks about them.
//!
//! What was used since the last round waits in a queue (B19: one queue, no task for each session)
//! and is looked at every `monitor.every`; what something has happened to, a device, a subject, a
//! policy, is looked at at once; all live sessions are, every `monitor.sweep_every`. A look asks
//! what `decide` asks, for the action `session.continue`, in the circumstances in which the
//! session was last seen ([`question`]), many sessions at once ([`check`]). What a score comes to
//! say [`rules`], what is done about it [`plan`] and [`act`].

mod access;
mod act;
mod check;
mod health;
mod plan;
mod question;
mod queue;
mod rounds;
pub mod rules;
mod seen;
mod unfinished;

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::Timestamp;
use risk::extract::CONTINUE;
use tokio::sync::Notify;

use crate::engine::Snapshot;
pub(crate) use access::after_access;
pub use queue::Look;
use queue::{Due, Looks, Moved};
pub(crate) use rounds::run;
pub use rounds::{round, sweep};
use unfinished::Unfinished;

/// Used sessions that wait for their look; further ones are looked at with all others. Some 80
/// bytes each.
const DUE_MOST: usize = 2_000_000;
/// Happenings that wait for their look; when there are more, all sessions are looked at.
const LOOKS_MOST: usize = 10_000;
/// Sessions of which it is remembered until they are written that they moved to another device.
const MOVED_MOST: usize = 100_000;

/// What the monitor knows of what is to be looked at.
#[derive(Debug, Default)]
pub struct Monitor {
    due: Mutex<Due>,
    looks: Mutex<Looks>,
    moved: Mutex<Moved>,
    times: Mutex<Times>,
    allowed: seen::Allowed,
    unfinished: Mutex<Unfinished>,
    /// Whether policies of a revision could let a session go on.
    permitted: Mutex<Option<(String, bool)>>,
    /// Held while acts are put on record, so that each is once.
    recording: tokio::sync::Mutex<()>,
    /// The engine stops: nothing more is begun.
    stops: AtomicBool,
    woken: Notify,
}

/// When what was looked at last.
#[derive(Debug, Default)]
struct Times {
    used: Option<Timestamp>,
    swept: Option<Timestamp>,
    /// What decided at the last sweep: policies, model, settings, entities.
    decided_by: [String; 4],
    /// Why all are to be looked at with the next round.
    asked: Option<&'static str>,
}

impl Monitor {
    /// Notes that a session that was opened with the engine was used: it is looked at with the
    /// next round. Never waits.
    pub fn touched(&self, id: &str) {
        lock(&self.due).add(id, DUE_MOST);
    }

    /// Notes that a session is on another device than before, which is written a little later.
    pub(crate) fn moved(&self, id: &str, device_id: &str, now: Timestamp) {
        lock(&self.moved).add(id, device_id, now, MOVED_MOST);
    }

    /// Whether some policy could let a session go on. Says once of each revision that none could.
    fn may_permit(&self, snapshot: &Snapshot) -> bool {
        let revision = snapshot.revisions.policies.as_ref();
        let mut permitted = lock(&self.permitted);
        if let Some((known, may)) = &*permitted
            && known == revision
        {
            return *may;
        }
        let policies = &snapshot.policies;
        let may = policies.may_permit(CONTINUE);
        if !may && policies.knows_action(CONTINUE) {
            tracing::warn!(
                policy_revision = revision,
                "no policy permits `{CONTINUE}` to anybody: only a `forbid`, the score and what a \
                 session stands on end sessions; write a `permit` for it (see `portreeve policy check`)"
            );
        }
        *permitted = Some((revision.to_owned(), may));
        may
    }

    /// Has live sessions looked at, at once: something has happened to them. `cause` is a word for
    /// records, for example `device`. Never waits, and several of the same count once.
    pub fn look_at(&self, look: Look, cause: &'static str) {
        lock(&self.looks).add(look, cause, LOOKS_MOST);
        self.woken.notify_one();
    }
}

/// The locks guard plain data that every holder leaves whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
