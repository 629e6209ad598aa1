//! When what is looked at: happenings at once, sessions in use every `monitor.every`, all of them
//! every `monitor.sweep_every` and after what decides has changed.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use store::sqlite::StoreError;
use tokio::time::Instant;

use super::check::check;
use super::{Look, Times, lock};
use crate::app::App;
use crate::engine::Snapshot;

/// Sessions that are looked at together: a third of a millisecond.
const BATCH: usize = 32;
/// Ids that are read at once.
const PAGE: u32 = 4096;
/// Happenings that are taken at once.
const LOOKS: usize = 256;
/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(500);
/// For each moment at work, a sweep rests so many while requests are under way.
const REST: u32 = 1;

/// Everything that is due by the engine's clock: what happened, what was used, and a whole sweep
/// when it is time. Returns how many sessions were looked at.
///
/// # Errors
/// When the store cannot be read; what was due is due with the next round.
pub async fn round(app: &App) -> Result<usize, StoreError> {
    let looked = happened(app).await? + used(app).await?;
    Ok(looked + sweep_if_due(app).await?)
}

/// Looks after sessions until it is dropped. What happens does not wait for a sweep: the two are
/// tasks of their own.
pub(crate) async fn run(app: Arc<App>) {
    let sweeping = {
        let app = Arc::clone(&app);
        async move {
            loop {
                tokio::time::sleep(TICK).await;
                if let Err(error) = sweep_if_due(&app).await {
                    tracing::error!(%error, "sessions could not be swept; trying again");
                }
            }
        }
    };
    let prompt = async {
        loop {
            // What happens meanwhile leaves a permit, so that none is missed.
            let _ = tokio::time::timeout(TICK, app.monitor.woken.notified()).await;
            if let Err(error) = happened(&app).await {
                tracing::error!(%error, "sessions could not be looked at; trying again");
            }
            if let Err(error) = used(&app).await {
                tracing::error!(%error, "sessions in use could not be looked at; trying again");
            }
        }
    };
    tokio::join!(sweeping, prompt);
}

/// Looks at what something has happened to.
async fn happened(app: &App) -> Result<usize, StoreError> {
    let mut looked = 0;
    loop {
        let looks = lock(&app.monitor.looks).take(LOOKS);
        if looks.is_empty() {
            return Ok(looked);
        }
        let mut left = looks.into_iter();
        while let Some((look, cause, since)) = left.next() {
            match one(app, &look, cause).await {
                Ok(count) => looked += count,
                Err(error) => {
                    // Nothing that happened is forgotten.
                    app.monitor.look_at(look, cause);
                    left.for_each(|(look, cause, _)| app.monitor.look_at(look, cause));
                    return Err(error);
                }
            }
            app.metrics.monitor.lagged(since.elapsed());
        }
    }
}

async fn one(app: &App, look: &Look, cause: &'static str) -> Result<usize, StoreError> {
    let store = app.state.store();
    let ids = match look {
        Look::Session(id) => vec![id.clone()],
        Look::Subject(subject) => store.unended_sessions_of(subject).await?,
        Look::Device(id) => {
            let mut ids = store.unended_sessions_on(id).await?;
            // Which device one was last seen on is written behind.
            ids.extend(lock(&app.monitor.moved).on(id));
            ids.sort_unstable();
            ids.dedup();
            ids
        }
        Look::All => Vec::new(),
    };
    batches(app, ids, cause, false).await
}

/// Looks at sessions that were used since the last time, when it is time (M1).
async fn used(app: &App) -> Result<usize, StoreError> {
    let now = app.inputs.clock.now();
    let every = app.settings.monitor.every;
    if !lock(&app.monitor.times).is_used_due(now, every) {
        return Ok(0);
    }
    let (ids, has_lost) = lock(&app.monitor.due).take();
    if has_lost {
        app.monitor.look_at(Look::All, "activity");
    }
    app.metrics.monitor.due(ids.len());
    let ids: Vec<String> = ids.into_iter().map(String::from).collect();
    let looked = batches(app, ids, "activity", true).await;
    lock(&app.monitor.moved).forget_before(now);
    looked
}

async fn batches(
    app: &App,
    ids: Vec<String>,
    cause: &'static str,
    rests: bool,
) -> Result<usize, StoreError> {
    let mut looked = 0;
    let mut ids = ids.into_iter().peekable();
    while ids.peek().is_some() {
        let started = Instant::now();
        let batch = app.state.sessions_among(ids.by_ref().take(BATCH)).await;
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                ids.for_each(|id| app.monitor.touched(&id));
                return Err(error);
            }
        };
        looked += check(app, &batch, cause).await;
        if rests {
            rest(app, started.elapsed()).await;
        }
    }
    Ok(looked)
}

/// Gives way to decisions: as long a rest as there was work, while requests are under way.
async fn rest(app: &App, worked: Duration) {
    if app.under_way.is_empty() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(worked * REST).await;
    }
}

/// Sweeps all live sessions, when it is time, or when what decides is another.
async fn sweep_if_due(app: &App) -> Result<usize, StoreError> {
    let now = app.inputs.clock.now();
    let cause = {
        let snapshot = app.live.current();
        let asked = lock(&app.monitor.looks).take_all();
        let settings = &app.settings.monitor;
        let mut times = lock(&app.monitor.times);
        times.asked = times.asked.or(asked);
        times.sweep_due(&snapshot, now, settings.every, settings.sweep_every)
    };
    let Some(cause) = cause else { return Ok(0) };
    let swept = sweep(app, cause).await;
    if swept.is_err() {
        // From the beginning: those that were looked at cost little.
        app.monitor.look_at(Look::All, cause);
    }
    swept
}

/// Looks at all live sessions. Returns how many.
///
/// # Errors
/// When the store cannot be read.
pub async fn sweep(app: &App, cause: &'static str) -> Result<usize, StoreError> {
    let started = Instant::now();
    let (mut looked, mut after) = (0, String::new());
    loop {
        let ids = app.state.store().unended_sessions(&after, PAGE).await?;
        let Some(last) = ids.last() else { break };
        after.clone_from(last);
        looked += batches(app, ids, cause, true).await?;
    }
    app.monitor.allowed.turn();
    app.metrics.monitor.swept(started.elapsed());
    tracing::debug!(sessions = looked, cause, "all live sessions were looked at");
    Ok(looked)
}

impl Times {
    fn is_used_due(&mut self, now: Timestamp, every: Duration) -> bool {
        let is_due = self.used.is_none_or(|last| has_passed(last, now, every));
        if is_due {
            self.used = Some(now);
        }
        is_due
    }

    fn sweep_due(
        &mut self,
        snapshot: &Snapshot,
        now: Timestamp,
        every: Duration,
        sweep_every: Duration,
    ) -> Option<&'static str> {
        let revisions = &snapshot.revisions;
        let decides = [
            ("policies", &revisions.policies),
            ("model", &revisions.model_hash),
            ("settings", &revisions.settings),
            ("entities", &revisions.entities),
        ];
        let Some(last) = self.swept else {
            // A start: what happened while nobody looked is found within a round.
            self.swept = Some(now);
            self.decided_by = decides.map(|(_, revision)| revision.to_string());
            self.asked = Some("start");
            return None;
        };
        let mut cause = self.asked;
        for ((name, revision), before) in decides.iter().zip(&self.decided_by) {
            if cause.is_none() && revision.as_ref() != before.as_str() {
                cause = Some(name);
            }
        }
        let cause = match cause {
            Some(cause) if has_passed(last, now, every) => Some(cause),
            _ if has_passed(last, now, sweep_every) => Some("sweep"),
            _ => None,
        };
        if cause.is_some() {
            self.swept = Some(now);
            self.asked = None;
            self.decided_by = decides.map(|(_, revision)| revision.to_string());
        }
        cause
    }
}

/// A clock that was put back makes nothing wait: it is due at once.
fn has_passed(last: Timestamp, now: Timestamp, span: Duration) -> bool {
    let passed = now.millis().saturating_sub(last.millis());
    passed < 0 || passed >= i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
