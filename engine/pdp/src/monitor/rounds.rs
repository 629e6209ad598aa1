//! When what is looked at: happenings at once, sessions in use every `monitor.every`, all of them
//! every `monitor.sweep_every` and after what decides has changed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Timestamp;
use store::sqlite::StoreError;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::act::put_on_record;
use super::check::check;
use super::unfinished::finish;
use super::{Look, Monitor, Times, lock};
use crate::app::App;
use crate::engine::Snapshot;

/// Sessions that are looked at together: a third of a millisecond.
const BATCH: usize = 32;
/// Ids that are read at once.
const PAGE: u32 = 4096;
/// Happenings that are taken at once.
const LOOKS: usize = 256;
/// Sessions of one client that are looked at in one turn.
const FEW: u32 = 256;
/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(500);
/// How long it is waited at most while the store fails.
const LONGEST: Duration = Duration::from_secs(5);
/// For each moment at work, a sweep rests so many while requests are under way.
const REST: u32 = 1;

/// Everything that is due by the engine's clock: what happened, what could not be done before, what
/// was used, and a whole sweep when it is time. Returns how many sessions were looked at.
///
/// # Errors
/// When the store cannot be read; what was due is due with the next round.
pub async fn round(app: &App) -> Result<usize, StoreError> {
    Ok(prompt(app).await? + sweep_if_due(app).await?)
}

async fn prompt(app: &App) -> Result<usize, StoreError> {
    let looked = happened(app).await?;
    finish(app).await?;
    // What another task or another start left.
    put_on_record(app).await;
    Ok(looked + used(app).await?)
}

/// Looks after sessions until it is told to stop, and stops between two looks: what one of them does
/// is done to its end. What happens does not wait for a sweep: the two go on beside each other.
pub(crate) async fn run(app: Arc<App>, stopped: Receiver<bool>) {
    let sweeping = {
        let (app, mut stopped) = (Arc::clone(&app), stopped.clone());
        async move {
            let mut patience = Patience::default();
            while goes_on(&mut stopped, tokio::time::sleep(patience.or(TICK))).await {
                patience.note(sweep_if_due(&app).await, "sessions could not be swept");
            }
        }
    };
    let prompting = {
        let (app, mut stopped) = (Arc::clone(&app), stopped.clone());
        async move {
            let mut patience = Patience::default();
            loop {
                // What happens meanwhile leaves a permit, so that none is missed. While the store
                // fails, nothing is prompt.
                let woken = async {
                    match patience.is_tried() {
                        true => tokio::time::sleep(patience.or(TICK)).await,
                        false => {
                            let _ = tokio::time::timeout(TICK, app.monitor.woken.notified()).await;
                        }
                    }
                };
                if !goes_on(&mut stopped, woken).await {
                    return;
                }
                patience.note(prompt(&app).await, "sessions could not be looked at");
            }
        }
    };
    let mut told = stopped;
    let stopping = async {
        let _ = told.wait_for(|stopped| *stopped).await;
        app.monitor.stops.store(true, Ordering::Relaxed);
    };
    tokio::join!(sweeping, prompting, stopping);
    put_on_record(&app).await;
}

/// Waits. False when the engine stops meanwhile.
async fn goes_on(stopped: &mut Receiver<bool>, wait: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        _ = stopped.wait_for(|stopped| *stopped) => false,
        () = wait => true,
    }
}

/// What fails is tried again, each time later, and said once.
#[derive(Debug, Default)]
struct Patience {
    failures: u32,
}

impl Patience {
    const fn is_tried(&self) -> bool {
        self.failures > 0
    }

    /// How long to wait: so long, and longer after failures.
    fn or(&self, usual: Duration) -> Duration {
        usual.saturating_mul(1 << self.failures.min(6)).min(LONGEST)
    }

    fn note(&mut self, done: Result<usize, StoreError>, what: &str) {
        match done {
            Ok(_) => self.failures = 0,
            Err(error) => {
                if !self.is_tried() {
                    tracing::error!(%error, "{what}; trying again");
                }
                self.failures = self.failures.saturating_add(1);
            }
        }
    }
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
            if app.monitor.is_stopping() {
                return Ok(looked);
            }
            match one(app, &look, cause).await {
                Ok(count) => looked += count,
                Err(error) => {
                    // Nothing that happened is forgotten. Nobody is woken for it.
                    let failed = std::iter::once((look, cause, since));
                    let left = failed.chain(left).collect::<Vec<_>>();
                    lock(&app.monitor.looks).put_back(left.into_iter());
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
        Look::Client { id, after } => {
            let ids = store.unended_sessions_by(id, after, FEW).await?;
            let next = ids.last().cloned();
            let looked = batches(app, ids, cause, false).await?;
            // One client may have very many: others take turns with them.
            if let Some(after) = next {
                let id = id.clone();
                app.monitor.look_at(Look::Client { id, after }, cause);
            }
            return Ok(looked);
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
    while ids.peek().is_some() && !app.monitor.is_stopping() {
        let started = Instant::now();
        let some: Vec<String> = ids.by_ref().take(BATCH).collect();
        let batch = match app.state.sessions_among(some.iter().cloned()).await {
            Ok(batch) => batch,
            Err(error) => {
                // Those of this batch too: nobody else knows that they are due.
                let left = some.into_iter().chain(ids);
                left.for_each(|id| app.monitor.touched(&id));
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
        lock(&app.monitor.times).asked = Some(cause);
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
        if app.monitor.is_stopping() {
            return Ok(looked);
        }
        after.clone_from(last);
        looked += batches(app, ids, cause, true).await?;
    }
    app.monitor.allowed.turn();
    app.metrics.monitor.swept(started.elapsed());
    tracing::debug!(sessions = looked, cause, "all live sessions were looked at");
    Ok(looked)
}

impl Monitor {
    fn is_stopping(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_again_later_each_time_and_at_once_after_a_success() {
        let mut patience = Patience::default();
        let failed = || Err(StoreError::Nonsense { what: "test" });
        let mut before = patience.or(TICK);
        assert_eq!(before, TICK);
        for _ in 0..100 {
            patience.note(failed(), "it fails");
            let now = patience.or(TICK);
            assert!(now >= before && now > TICK && now <= LONGEST, "{now:?}");
            before = now;
        }
        patience.note(Ok(1), "it fails");
        assert_eq!(patience.or(TICK), TICK);
    }
}
