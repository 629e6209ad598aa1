//! What goes on beside the requests: writing behind, draining, noticing other processes.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use store::journal;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::checkpoints::{CHECKPOINT_RECORDS, IDLE_SECONDS};
use crate::hearing::{self, polling::poll};
use crate::models::drift::Alarm;
use crate::monitor;
use crate::publishing::{KEPT_BACK, watch};
use crate::recorder::Drain;
use crate::telling::{alerting, pushing};
use crate::tls;

/// How often what changed is written.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// How often keys and models are looked at for changes by another process: a revoked key is
/// refused, a promoted model scores within this time.
const KEYS_EVERY: Duration = Duration::from_millis(200);
/// How often the same is done for revocations, which are to be in effect within 200 ms.
const REVOCATIONS_EVERY: Duration = Duration::from_millis(100);
/// How often what happened is handed on to those who are told.
const HAND_ON_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked which receivers are gone, and counted what waits.
const LOOK_AFTER_EVERY: Duration = Duration::from_secs(15);
/// How often what was heard and could not be done is tried again.
const HEAR_EVERY: Duration = Duration::from_secs(5);
/// How often signing keys are looked at: their time, and what others did.
const SIGNING_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked whether the journal's end is to be signed: few records come meanwhile.
const CHECKPOINTS_EVERY: Duration = Duration::from_millis(250);
/// How often the journal is drained at most; many records cost little more than one.
const DRAIN_EVERY: Duration = Duration::from_millis(1000);
/// How often it is worked out how far the features of the last accesses have drifted: one or two
/// milliseconds of work.
const DRIFT_EVERY: Duration = Duration::from_millis(2000);
/// How often sessions that can be used are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// How often what is over is removed.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// A profile that has not changed for so long says nothing any more (Wiefling et al. 2022: a
/// login history older than six months can go).
const PROFILES_DAYS: i64 = 183;

/// The background tasks of an engine.
#[derive(Debug)]
pub struct Background {
    tasks: JoinSet<()>,
    stop: Sender<bool>,
    app: Arc<App>,
}

impl Background {
    /// Starts them.
    #[must_use]
    pub fn start(app: &Arc<App>) -> Self {
        let (stop, stopped) = channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(flush(Arc::clone(app), stopped.clone()));
        tasks.spawn(until(stopped.clone(), keys(Arc::clone(app))));
        tasks.spawn(until(stopped.clone(), acts(Arc::clone(app))));
        tasks.spawn(until(stopped.clone(), revocations(Arc::clone(app))));
        tasks.spawn(checkpoints(Arc::clone(app), stopped.clone()));
        tasks.spawn(until(stopped.clone(), signing(Arc::clone(app))));
        tasks.spawn(until(stopped.clone(), drain(Arc::clone(app))));
        tasks.spawn(until(stopped.clone(), tell(Arc::clone(app))));
        tasks.spawn(until(stopped.clone(), drift(Arc::clone(app))));
        tasks.spawn(until(stopped.clone(), count_sessions(Arc::clone(app))));
        tasks.spawn(monitor::run(Arc::clone(app), stopped.clone()));
        tasks.spawn(until(stopped.clone(), hear(Arc::clone(app))));
        for place in app.hearing.polled() {
            tasks.spawn(until(stopped.clone(), poll(Arc::clone(app), place)));
        }
        if app.settings.watch_policies {
            tasks.spawn(until(stopped.clone(), watch::watch(Arc::clone(app))));
        }
        tasks.spawn(until(stopped.clone(), tls::watch(Arc::clone(app))));
        tasks.spawn(until(stopped, tidy(Arc::clone(app))));
        Self {
            tasks,
            stop,
            app: Arc::clone(app),
        }
    }

    /// Waits until one of them ends, which none does before it is told to: says what was lost.
    pub async fn lost(&mut self) -> String {
        let ended = self.tasks.join_next().await;
        let why = ended
            .and_then(Result::err)
            .map(|error| format!(": {error}"));
        format!(
            "state is written and the journal drained{}",
            why.unwrap_or_default()
        )
    }

    /// Stops them, and writes what is left: the journal is closed, drained, and the store too.
    pub async fn finish(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        let app = self.app;
        let journal = Arc::clone(&app);
        // Joining the writer's thread blocks.
        let _ = tokio::task::spawn_blocking(move || journal.journal.close()).await;
        if let Err(error) = app.make_checkpoint().await {
            tracing::error!(%error, "the end of the journal is not signed; the next start goes on");
        }
        let now = app.inputs.clock.now();
        if let Err(error) = app.state.flush(now).await {
            tracing::error!(%error, "the last changes of profiles and sessions were not written");
        }
        match Drain::resume(Arc::clone(&app)).await {
            Ok(mut drain) => {
                if let Err(error) = drain.run().await {
                    tracing::error!(%error, "the journal is not drained; the next start goes on");
                }
            }
            Err(error) => tracing::error!(%error, "the journal is not drained"),
        }
        if let Err(error) = app.note_recorded_revocations().await {
            tracing::warn!(%error, "what is on record of revocations was not noted");
        }
        app.state.store().close().await;
    }
}

async fn until(mut stopped: Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

/// Stops between two flushes: what one has taken to write would be lost with it.
async fn flush(app: Arc<App>, mut stopped: Receiver<bool>) {
    let mut ticks = every(FLUSH_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        if let Err(error) = app.state.flush(app.inputs.clock.now()).await {
            tracing::error!(%error, "profiles and sessions were not written; trying again");
        }
        if app.archive.failing_since().is_some()
            && let Err(error) = app.archive.retry(app.inputs.clock.now()).await
        {
            tracing::error!(%error, "what decides is not in the archive; trying again");
        }
    }
}

async fn keys(app: Arc<App>) {
    let mut ticks = every(KEYS_EVERY);
    let mut version = None;
    let mut round: u32 = 0;
    loop {
        ticks.tick().await;
        round = round.wrapping_add(1);
        let store = app.state.store();
        let changed = store
            .data_version()
            .await
            .ok()
            .filter(|seen| version != Some(*seen));
        if let Some(seen) = changed {
            match app.keys.reload(store).await {
                Ok(_) => version = Some(seen),
                Err(error) => tracing::error!(%error, "keys could not be reloaded"),
            }
            if let Err(error) = app.record_key_acts().await {
                tracing::error!(%error, "keys");
                version = None;
            }
        }
        // Once a minute is fine enough for "last used".
        if round.is_multiple_of(300) {
            let used = app.keys.take_used();
            if !used.is_empty()
                && let Err(error) = store.touch_keys(&used).await
            {
                tracing::warn!(%error, "the last use of keys was not noted");
            }
        }
    }
}

/// Takes up what other processes did with models and policies. Apart from the keys: it may wait
/// for a set that is being loaded, and a revoked key must not.
async fn acts(app: Arc<App>) {
    let mut ticks = every(KEYS_EVERY);
    let mut version = None;
    loop {
        ticks.tick().await;
        let seen = app.state.store().data_version().await.ok();
        let changed = seen.is_some() && version != seen;
        version = seen.or(version);
        if (changed || app.models.is_unfinished())
            && let Err(error) = app.take_up_models().await
        {
            tracing::error!(%error, "what was done with models was not taken up; trying again");
        }
        if (changed || app.publishing.is_unfinished())
            && let Err(error) = app.take_up_policies().await
        {
            tracing::error!(%error, "what was done with policies was not taken up; trying again");
        }
    }
}

/// Takes up what other processes have revoked, and lets go of what is over. Apart from the rest:
/// nothing may hold it up.
async fn revocations(app: Arc<App>) {
    let mut ticks = every(REVOCATIONS_EVERY);
    let mut round: u32 = 0;
    loop {
        ticks.tick().await;
        round = round.wrapping_add(1);
        // By number, and not by whether other connections have written: what a request of this
        // process left durable, and not in effect, is taken up too.
        app.take_up_revocations().await;
        // Once a second is fine enough.
        if round.is_multiple_of(10) {
            let now = app.inputs.clock.now();
            app.revocations.tidy(now);
            app.status_lists.tidy(now);
            if let Err(error) = app.note_recorded_revocations().await {
                tracing::warn!(%error, "what is on record of revocations was not noted");
            }
        }
    }
}

/// Lets signing keys take turns, and takes up what `portreeve signing-keys` did.
async fn signing(app: Arc<App>) {
    let mut ticks = every(SIGNING_EVERY);
    // What a start could not put on record.
    let mut unrecorded = true;
    let mut told = None;
    loop {
        ticks.tick().await;
        let fault = match app.tend_signing_keys().await {
            Ok(changed) => {
                unrecorded |= changed;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(fault) = fault.as_ref().filter(|fault| told.as_ref() != Some(*fault)) {
            tracing::error!("signing keys: {fault}; trying again");
        }
        told = fault;
        if unrecorded {
            match app.record_signing_keys().await {
                Ok(()) => unrecorded = false,
                Err(error) => {
                    tracing::error!(%error, "signing keys are not on record; trying again")
                }
            }
        }
    }
}

/// Tells others what happened: hands on, and lets the channels and streams tell on their own.
async fn tell(app: Arc<App>) {
    let mut channels = JoinSet::new();
    channels.spawn(pushing::push(Arc::clone(&app)));
    for position in 0..app.telling.channels.len() {
        channels.spawn(alerting::tell_channel(Arc::clone(&app), position));
    }
    let mut ticks = every(HAND_ON_EVERY);
    let mut look_after = every(LOOK_AFTER_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = look_after.tick() => {
                if let Err(error) = app.look_after_streams().await {
                    tracing::warn!(%error, "streams were not looked after; trying again");
                }
                continue;
            }
            Some(ended) = channels.join_next() => {
                tracing::error!(?ended, "somebody is not told any more; the next start goes on");
                continue;
            }
        }
        // What a start could not read: nothing may be handed on past a stream.
        if !app.telling.registry.is_taken_up() {
            let alone = app.telling.registry.alone().await;
            if let Err(error) = app.take_up_streams(&alone).await {
                tracing::error!(%error, "streams cannot be read; trying again");
                continue;
            }
        }
        loop {
            match app.hand_on().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(%error, "what happened was not handed on; trying again");
                    break;
                }
            }
        }
    }
}

/// Signs where the journal ends: at once after a start, then as it grows, and at times when it does
/// not. Stops between two: one that is being kept and the last one use the same draft.
async fn checkpoints(app: Arc<App>, mut stopped: Receiver<bool>) {
    let mut ticks = every(CHECKPOINTS_EVERY);
    let patience = app.settings.audit.checkpoint_every;
    let idle = patience.max(Duration::from_secs(IDLE_SECONDS));
    // What a start has put on record is signed without delay.
    let mut waited = idle;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        waited += CHECKPOINTS_EVERY;
        let unsigned = app
            .journal
            .end()
            .seq
            .saturating_sub(app.checkpoints.signed_until());
        let is_due = waited >= if unsigned == 0 { idle } else { patience };
        if !is_due && unsigned < CHECKPOINT_RECORDS {
            continue;
        }
        match app.make_checkpoint().await {
            Ok(()) => waited = Duration::ZERO,
            Err(error) => tracing::error!(%error, "the journal was not signed; trying again"),
        }
    }
}

/// Holds the last accesses against what the champion was made from.
async fn drift(app: Arc<App>) {
    let mut ticks = every(DRIFT_EVERY);
    let mut alarm = Alarm::default();
    let mut told_of = app.models.champion().choice.clone();
    let mut seen = 0;
    loop {
        ticks.tick().await;
        let champion = app.models.champion();
        if champion.choice != told_of {
            told_of = champion.choice.clone();
            app.metrics.forget_drift();
            alarm = Alarm::default();
            seen = 0;
        }
        let now_seen = app.models.recent.seen();
        // A hundredth more, or the numbers would hardly move.
        if now_seen <= seen + seen / 100 {
            continue;
        }
        let asked = Arc::clone(&app);
        let about = Arc::clone(&champion);
        let worked_out = tokio::task::spawn_blocking(move || {
            let training = about.manifest.distribution.as_ref()?;
            asked.models.recent.drift(training)
        });
        let Ok(Some(drift)) = worked_out.await else {
            continue;
        };
        seen = now_seen;
        app.metrics.set_drift(&drift);
        for drift in alarm.news(&drift) {
            tracing::warn!(
                feature = drift.feature,
                psi = drift.psi,
                model = %told_of.model,
                "a feature has drifted from what the model was made from; see `portreeve model drift`"
            );
        }
    }
}

/// What was taken before a crash, or could not be done at once, is done here.
async fn hear(app: Arc<App>) {
    let mut ticks = every(HEAR_EVERY);
    loop {
        ticks.tick().await;
        hearing::act(&app).await;
    }
}

async fn count_sessions(app: Arc<App>) {
    let mut ticks = every(COUNT_EVERY);
    loop {
        ticks.tick().await;
        let now = app.inputs.clock.now();
        app.behaviour.tidy(now);
        match app.state.store().live_sessions(now).await {
            Ok(live) => app.metrics.set_active_sessions(&live),
            Err(error) => tracing::warn!(%error, "sessions were not counted"),
        }
    }
}

async fn drain(app: Arc<App>) {
    let mut durable = app.journal.durable();
    let mut ticks = every(DRAIN_EVERY);
    let mut drain = None;
    loop {
        ticks.tick().await;
        if drain.is_none() {
            match Drain::resume(Arc::clone(&app)).await {
                Ok(resumed) => drain = Some(resumed),
                Err(error) => tracing::error!(%error, "the drain cannot start; trying again"),
            }
        }
        if let Some(drain) = &mut drain
            && let Err(error) = drain.run().await
        {
            tracing::error!(%error, "the journal was not drained; trying again");
        } else if durable.changed().await.is_err() {
            return;
        }
    }
}

async fn tidy(app: Arc<App>) {
    let mut ticks = every(TIDY_EVERY);
    loop {
        ticks.tick().await;
        let now = app.inputs.clock.now();
        let remembered = app.settings.sessions.remember.as_secs();
        let before = now.plus_seconds(-i64::try_from(remembered).unwrap_or(i64::MAX));
        if let Err(error) = app.state.forget_sessions(before).await {
            tracing::warn!(%error, "old sessions were not removed");
        }
        if let Err(error) = hearing::tidy(&app, now).await {
            tracing::warn!(%error, "what was heard and is over was not removed");
        }
        if let Err(error) = app.state.store().forget_token_statuses(now).await {
            tracing::warn!(%error, "places of tokens that are over were not removed");
        }
        if let Err(error) = app
            .state
            .store()
            .forget_revocations(app.revocations.over_before(now))
            .await
        {
            tracing::warn!(%error, "revocations that are over were not removed");
        }
        if let Err(error) = app.revocations.recount(app.state.store()).await {
            tracing::warn!(%error, "revocations were not counted by who made them");
        }
        // A day longer than they can be used: a late reuse is still told from a forgery.
        let before = now.plus_seconds(-86_400);
        if let Err(error) = app.state.store().forget_refresh_families(before).await {
            tracing::warn!(%error, "old families of refresh tokens were not removed");
        }
        let before = now.plus_seconds(-PROFILES_DAYS * 86_400);
        if let Err(error) = app.state.store().forget_profiles(before).await {
            tracing::warn!(%error, "old profiles were not removed");
        }
        let keep = app.settings.audit.keep_days;
        let before = keep.map(|days| now.plus_seconds(-i64::from(days) * 86_400));
        // A day more: after a crash it is known only within minutes until when one decided.
        let unused = before.map(|before| before.plus_seconds(-86_400));
        let snapshot = Arc::clone(&app.live.current());
        let standing = app.publishing.standing();
        let needed = standing.needed(KEPT_BACK);
        if let Err(error) = app.archive.tidy(&snapshot, &needed, unused, now).await {
            tracing::warn!(%error, "revisions in use were not noted");
        }
        if let Err(error) = thin_checkpoints(&app).await {
            tracing::warn!(%error, "old checkpoints were not removed");
        }
        if let Some(before) = before
            && let Err(error) = forget_records(&app, before).await
        {
            tracing::warn!(%error, "old records were not removed");
        }
    }
}

async fn thin_checkpoints(app: &App) -> Result<(), store::sqlite::StoreError> {
    let store = app.state.store();
    let removed = store.removed().await?;
    store.thin_checkpoints(removed.seq).await
}

async fn forget_records(
    app: &App,
    before: Timestamp,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let store = app.state.store();
    store.forget_decisions(before).await?;
    // A day more, as of revisions.
    store
        .forget_entity_changes(before.plus_seconds(-86_400))
        .await?;
    if let Some(drained) = store.drained().await? {
        let folder = app.settings.data_dir.join("journal");
        let find = move || journal::outdated(&folder, &drained, before);
        if let Some(outdated) = tokio::task::spawn_blocking(find).await?? {
            store.note_removed(&outdated.until).await?;
            tokio::task::spawn_blocking(|| outdated.remove()).await??;
        }
    }
    Ok(())
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
