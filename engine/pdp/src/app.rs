//! The engine put together: what `main`, the demo and the tests all build.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use domain::Timestamp;
use geo::Geo;
use quick_cache::sync::Cache;
use risk::Key;
use risk::agent::Agent;
use store::sqlite::StoreError;
use store::{Journal, Store};
use token::certificate::Roots;
use token::dpop::Replays;
use tokio::sync::Semaphore;

use crate::access::{Failed, KeyRing, Permissions};
use crate::archive::Archive;
use crate::behaviour::Behaviour;
use crate::certificates;
use crate::checkpoints::{self, CheckpointError, Checkpoints};
use crate::entities::Recorded;
use crate::families::{RefreshKey, key_file};
use crate::feedback::Words;
use crate::gateways::Complaints;
use crate::hearing::Hearing;
use crate::http::UnderWay;
use crate::http::body::Receiving;
use crate::inputs::Inputs;
use crate::issuers::Issuers;
use crate::load::Load;
use crate::metrics::Metrics;
use crate::models::standing::Standing;
use crate::models::{self, Models};
use crate::monitor::Monitor;
use crate::outbound::Outbound;
use crate::publishing::{self, Publishing};
use crate::rates::Rates;
use crate::revoking::Revocations;
use crate::search::Searches;
use crate::settings::Settings;
use crate::signing::{self, KeyEncryptionKey, Ring, SigningError};
use crate::snapshot::{self, Live, LoadError};
use crate::state::State;
use crate::status_lists::{self, StatusLists};
use crate::step_up::StepUpTarget;
use crate::telling::Telling;
use crate::tls::{LoadTlsError, Tls};

/// Challenge and mfa decisions whose step-up can be told without asking the store.
const STEP_UPS_REMEMBERED: usize = 100_000;

/// Facts that are known when they are told again: more than are told while a feed still retries.
const FACTS_REMEMBERED: usize = 100_000;

/// Decisions that a person had a word on, with what was said.
const WORDS_REMEMBERED: usize = 100_000;

/// Texts of `User-Agent` whose client program is remembered.
const AGENTS_REMEMBERED: usize = 10_000;

/// Proofs of possession that are remembered while they could come again, a minute: past it they
/// are refused. About 80 bytes each.
const PROOFS_REMEMBERED: usize = 200_000;

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file or folder.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Policies, entities or model.
    #[error("{0}")]
    Load(#[from] LoadError),
    /// An address database.
    #[error("{0}")]
    Geo(#[from] geo::OpenError),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The signing key.
    #[error("{0}")]
    Key(#[from] SigningError),
    /// Who vouches for clients' certificates.
    #[error("{0}")]
    Certificates(#[from] certificates::LoadRootsError),
    /// The engine's own TLS.
    #[error("{0}")]
    Tls(#[from] LoadTlsError),
    /// The checkpoints of the journal.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    /// The engine's own policies.
    #[error("{0}")]
    Own(#[from] policy::Problems),
}

/// The running engine.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub settings: Settings,
    /// The outside world.
    pub inputs: Inputs,
    /// What decides.
    pub live: Live,
    /// Address databases.
    pub geo: ArcSwap<Geo>,
    /// Which model scores, and which is compared with it.
    pub models: Models,
    /// Which policies decide, and which are evaluated beside them.
    pub publishing: Publishing,
    /// How far changes of entities are on record.
    pub entities_recorded: Recorded,
    /// What has decided, for those who replay.
    pub archive: Archive,
    /// What decisions read and change.
    pub state: State,
    /// The callers.
    pub keys: KeyRing,
    /// Callers that failed to show who they are.
    pub(crate) failed: Failed,
    /// What operators have to put right at their gateways.
    pub(crate) gateway_complaints: Complaints,
    /// Where decisions are durable first.
    pub journal: Journal,
    /// What tokens are signed with.
    pub signing: Ring,
    /// Proofs of possession that were taken: each counts once.
    pub(crate) proofs: Replays,
    /// Lists of what was revoked, for verifiers that cannot ask.
    pub(crate) status_lists: StatusLists,
    /// What was revoked before its time.
    pub revocations: Revocations,
    /// What refresh tokens are made with.
    pub refresh_key: RefreshKey,
    /// Calls to others.
    pub outbound: Arc<Outbound>,
    /// What others are told.
    pub telling: Telling,
    /// Whose tokens are believed besides our own.
    pub issuers: Issuers,
    /// Whose signals are heard, and what they said.
    pub hearing: Hearing,
    /// Who vouches for clients' certificates.
    pub(crate) client_roots: ArcSwapOption<Roots>,
    /// What the engine shows to those who connect.
    pub(crate) tls: Tls,
    /// How far the journal is signed.
    pub checkpoints: Checkpoints,
    /// What is done in the sessions that are in use.
    pub(crate) behaviour: Behaviour,
    /// What is to be looked at of live sessions.
    pub monitor: Monitor,
    /// Numbers for operators.
    pub metrics: Metrics,
    /// Decisions that a step-up may follow.
    pub(crate) step_ups: Cache<String, Arc<StepUpTarget>>,
    /// The last decision that asked for a step-up, by the session that it was in.
    pub(crate) session_waits: Cache<String, String>,
    /// Facts that were taken in already. A profile remembers a few events itself; a feed may
    /// deliver thousands again.
    pub(crate) facts_told: Cache<Key, ()>,
    /// What people said of decisions.
    pub(crate) words: Cache<String, Arc<Words>>,
    /// Client programs by their `User-Agent`.
    pub(crate) agents: Cache<String, Option<Arc<Agent>>>,
    /// What searches share.
    pub(crate) searches: Searches,
    /// Requests at work at once, whichever listener they came to.
    pub(crate) at_work: Arc<Semaphore>,
    /// What is held of bodies that are not whole.
    pub(crate) receiving: Receiving,
    /// What is decided at once, and how much may be.
    pub(crate) load: Load,
    /// Whether the engine stops: what it has accepted is finished, and nobody should send more.
    pub(crate) stopping: AtomicBool,
    /// Requests that came since.
    pub(crate) asked_since: AtomicUsize,
    /// How often callers and subjects may ask.
    pub(crate) rates: Rates,
    /// What callers have under way.
    pub(crate) under_way: UnderWay,
    /// Whether decisions are replayed for somebody.
    pub(crate) replaying: Arc<Semaphore>,
    /// Held while what was done with keys is put on record: each act once.
    pub(crate) recording_keys: tokio::sync::Mutex<()>,
    /// Whether policy sets are changed for somebody: what waits holds what was sent.
    pub(crate) changing_policies: Arc<Semaphore>,
    public_url: OnceLock<String>,
    journal_damaged: OnceLock<Timestamp>,
    /// Held as long as the engine runs.
    _claim: File,
}

/// The engine, and what its operator should know about the start.
#[derive(Debug)]
pub struct Built {
    /// The engine.
    pub app: Arc<App>,
    /// For people.
    pub notes: Vec<String>,
}

/// Builds the engine. Nothing listens yet.
///
/// # Errors
/// When something that it needs cannot be read, made or trusted.
pub async fn build(settings: Settings, inputs: Inputs) -> Result<Built, BuildError> {
    let mut notes = Vec::new();
    create_private(&settings.data_dir)?;
    let store = Store::open(&settings.store).await?;
    let claim = Store::claim(&settings.store)?;
    let mut start = models::start(&settings, store.clone(), inputs.clock.now()).await;
    let champion = std::mem::replace(&mut start.champion, Err(String::new()));
    let now = inputs.clock.now();
    let mut policies = publishing::start(&settings, store.clone(), now).await;
    let set = std::mem::replace(&mut policies.set, Err(Vec::new()));
    let loaded = snapshot::load(&settings, set, champion)?;
    notes.append(&mut policies.notes);
    notes.extend(loaded.warnings);
    notes.extend(settings.gateway.warnings().iter().cloned());
    let geo = Geo::open(&settings.geo)?;
    let journal_dir = settings.data_dir.join("journal");
    let kek_file = settings.signing.key_encryption_key_file.as_deref();
    let kek = kek_file.map(KeyEncryptionKey::read).transpose();
    let kek = kek.map_err(SigningError::KeyEncryptionKey)?;
    // Before the signing keys: as long as those are in clear, this one may be, too.
    let refresh_key = key_file::load_or_create(
        &settings.data_dir.join("refresh-tokens.key"),
        kek.as_ref(),
        signing::are_sealed(&settings.data_dir)?,
        &*inputs.randomness,
    )?;
    let signing = {
        let (folder, how) = (settings.data_dir.clone(), settings.signing.clone());
        let now = inputs.clock.now();
        tokio::task::spawn_blocking(move || Ring::open(&folder, &how, now))
            .await
            .map_err(|error| SigningError::Broken(error.to_string()))??
    };
    // So far the journal must be there and be the same: what the store took over, what was signed.
    let drained = store.drained().await?;
    create_private(&journal_dir)?;
    let signed = checkpoints::gather(Some(&store), &journal_dir, &*signing.listed()).await?;
    for (origin, fault) in &signed.faults {
        notes.push(format!("{origin}: {fault}; see `portreeve audit verify`"));
    }
    let seen = drained
        .iter()
        .chain(signed.last().map(|last| &last.end))
        .max_by_key(|seen| seen.seq);
    let opened = Journal::open(&journal_dir, settings.audit.journal, seen);
    let (journal, recovery) = opened.map_err(|error| match error.raw_os_error() {
        // What the system says names no file.
        Some(_) => io::Error::new(error.kind(), format!("{}: {error}", journal_dir.display())),
        None => error,
    })?;
    if recovery.restored > 0 {
        notes.push(format!(
            "journal: {} bytes at its end were put back from the write-ahead file, where a power \
             cut or a crash had left them",
            recovery.restored
        ));
    }
    if recovery.torn_bytes > 0 {
        notes.push(format!(
            "journal: {} bytes of a group that was never answered were cut off after a crash",
            recovery.torn_bytes
        ));
    }
    if let Some(damaged) = &recovery.damaged {
        notes.push(format!(
            "journal: {damaged}; it stays as it is: see `portreeve audit verify`"
        ));
    }
    // Nobody was answered before the first record. Until then it is known of every proof of
    // possession that it was not used.
    let is_first_start = recovery.last_seq == 0 && recovery.damaged.is_none();
    let archive = Archive::new(store.clone());
    if let Err(error) = archive.keep(&loaded.contents, inputs.clock.now()).await {
        notes.push(not_archived(&error));
    }
    let state = State::new(store, &settings.limits);
    state.restore_crowds().await?;
    let keys = KeyRing::new(Permissions::load()?);
    keys.reload(state.store()).await?;
    for name in settings
        .gateway
        .callers()
        .filter(|name| !keys.has_name(name))
    {
        notes.push(format!(
            "`gateway.callers.{name}` holds for nobody: no key has this name; `portreeve keys list` \
             shows what they are called"
        ));
    }
    let metrics = Metrics::new();
    let meters = metrics.revocations().clone();
    let store = state.store();
    let revocations = Revocations::restore(
        &settings,
        store,
        meters,
        &*inputs.randomness,
        inputs.clock.now(),
    )
    .await?;
    let telling = Telling::open(&settings, kek)?;
    let hearing = Hearing::restore(&settings.transmitters, store).await?;
    let client_roots = certificates::load_roots(&settings.certificates)?;
    let tls = Tls::open(&settings, &inputs.clock)?;
    let app = Arc::new(App {
        live: Live::new(loaded.snapshot),
        models: Models::new(&start, loaded.champion),
        publishing: Publishing::new(&policies),
        entities_recorded: Recorded::default(),
        geo: ArcSwap::from_pointee(geo),
        archive,
        state,
        keys,
        failed: Failed::default(),
        gateway_complaints: Complaints::default(),
        journal,
        signing,
        proofs: Replays::new(PROOFS_REMEMBERED, (!is_first_start).then_some(now)),
        status_lists: StatusLists::default(),
        revocations,
        refresh_key,
        outbound: Arc::new(Outbound::new(
            settings.outbound.clone(),
            Arc::clone(&inputs.clock),
        )),
        telling,
        issuers: Issuers::new(&settings.issuers),
        hearing,
        client_roots: ArcSwapOption::new(client_roots.map(Arc::new)),
        tls,
        behaviour: Behaviour::new(settings.limits.sessions_in_memory),
        monitor: Monitor::default(),
        metrics,
        checkpoints: Checkpoints::since(signed.last().map_or(0, |last| last.end.seq)),
        step_ups: Cache::new(STEP_UPS_REMEMBERED),
        session_waits: Cache::new(STEP_UPS_REMEMBERED),
        facts_told: Cache::new(FACTS_REMEMBERED),
        words: Cache::new(WORDS_REMEMBERED),
        agents: Cache::new(AGENTS_REMEMBERED),
        searches: Searches::new(&settings.limits, &*inputs.randomness),
        at_work: Arc::new(Semaphore::new(settings.limits.concurrency)),
        receiving: Receiving::new(&settings.limits),
        load: Load::new(settings.limits.shed_after, settings.limits.concurrency),
        stopping: AtomicBool::new(false),
        asked_since: AtomicUsize::new(0),
        rates: Rates::new(settings.limits.caller_rate, settings.limits.subject_rate),
        under_way: UnderWay::default(),
        replaying: Arc::new(Semaphore::new(1)),
        recording_keys: tokio::sync::Mutex::default(),
        changing_policies: Arc::new(Semaphore::new(1)),
        public_url: OnceLock::new(),
        journal_damaged: OnceLock::new(),
        _claim: claim,
        settings,
        inputs,
    });
    if recovery.damaged.is_some() || !signed.faults.is_empty() {
        app.journal_is_damaged();
    }
    let last = signed.last().map(|last| &last.end);
    let since = app.signing.listed().since().into_iter();
    let since = since.chain(signed.since()).min();
    match app.record_unsigned(last, since, recovery.last_seq).await {
        Ok(None) => {}
        Ok(Some(fault)) => notes.push(format!("journal: {fault}")),
        Err(error) => notes.push(format!("journal: {error}")),
    }
    app.publishing.note_file(&app.live.current().directory);
    if let Some((faults, since)) = policies.refused {
        app.live.failed(faults, false, since, app.stale_seconds());
    }
    if let Err(error) = app.take_up_models().await {
        notes.push(format!("models: {error}; it is tried again"));
    }
    if let Err(error) = app.take_up_policies().await {
        notes.push(format!("policies: {error}; it is tried again"));
    }
    app.take_up_revocations().await;
    app.restore_set_keys().await?;
    if app.settings.status_list
        && let Err(error) = status_lists::restore(&app).await
    {
        notes.push(format!(
            "status lists: {error}; tokens from before this start are refused by whoever looks them up"
        ));
    }
    if let Err(error) = app.record_entity_changes().await {
        notes.push(format!(
            "entities: {error}; it is tried again at the next start"
        ));
    }
    if let Err(error) = app.record_key_acts().await {
        notes.push(format!("keys: {error}; it is tried again"));
    }
    if let Err(error) = app.record_signing_keys().await {
        notes.push(format!("signing keys: {error}; it is tried again"));
    }
    Ok(Built { app, notes })
}

impl App {
    /// What the engine is called from outside: issuer and PDP identifier.
    #[must_use]
    pub fn public_url(&self) -> &str {
        self.public_url
            .get()
            .map_or("http://127.0.0.1", String::as_str)
    }

    /// When it was first seen that something in the journal is damaged or gone.
    #[must_use]
    pub fn journal_damaged_since(&self) -> Option<Timestamp> {
        self.journal_damaged.get().copied()
    }

    /// Notes that it was seen.
    pub(crate) fn journal_is_damaged(&self) {
        self.journal_damaged.get_or_init(|| self.inputs.clock.now());
    }

    /// Notes what the engine is called, once it is known where it listens.
    pub fn set_public_url(&self, url: String) {
        // The first address counts.
        let _ = self.public_url.set(url);
    }

    /// Renews policies, entities, model and address databases, whole or not at all: policies that
    /// speak of places do not go with databases of yesterday, and what is wrong with either shows.
    /// The door's certificates are renewed whatever becomes of those.
    ///
    /// # Errors
    /// Everything that could not be renewed.
    pub async fn reload(self: &Arc<Self>) -> Result<Vec<String>, Vec<String>> {
        let door = self.renew_tls().await;
        match (self.reload_all_else().await, door) {
            (Ok(notes), Ok(())) => Ok(notes),
            (Ok(_), Err(fault)) => Err(vec![fault]),
            (Err(faults), door) => Err(faults.into_iter().chain(door.err()).collect()),
        }
    }

    async fn reload_all_else(self: &Arc<Self>) -> Result<Vec<String>, Vec<String>> {
        let notes = {
            let _alone = self.models.swapping.lock().await;
            // Without the store, what it last said.
            let now = self.inputs.clock.now();
            let standing = match self.models.registry.standing(now).await {
                Ok(standing) => Arc::new(standing),
                Err(_) => self.models.standing(),
            };
            self.reload_files(standing).await?
        };
        let roots = certificates::load_roots(&self.settings.certificates)
            .map_err(|error| vec![error.to_string()])?;
        self.client_roots.store(roots.map(Arc::new));
        let told = |error: &dyn std::fmt::Display| vec![error.to_string()];
        self.take_up_models().await.map_err(|error| told(&error))?;
        self.take_up_policies()
            .await
            .map_err(|error| told(&error))?;
        Ok(notes)
    }

    /// The caller holds the lock of whoever swaps.
    pub(crate) async fn reload_files(
        self: &Arc<Self>,
        standing: Arc<Standing>,
    ) -> Result<Vec<String>, Vec<String>> {
        let opening = Arc::clone(self);
        // Reads files and verifies databases: not for the threads that answer.
        let opened = tokio::task::spawn_blocking(move || {
            let geo = Geo::open(&opening.settings.geo).map_err(|error| error.to_string());
            let champion = models::open_champion(&opening.models.registry, &standing);
            (geo, champion)
        });
        let broken = |error: &dyn std::fmt::Display| vec![format!("it broke off: {error}")];
        let (geo, champion) = opened.await.map_err(|error| broken(&error))?;
        let set = self.prepared().await;
        let mut faults: Vec<String> = set.as_ref().err().cloned().unwrap_or_default();
        faults.extend(champion.as_ref().err().cloned());
        faults.extend(geo.as_ref().err().cloned());
        let beyond_set = champion.is_err() || geo.is_err();
        let (Ok(geo), Ok((set, news)), Ok(champion)) = (geo, set, champion) else {
            self.note_failure(faults.clone(), beyond_set);
            return Err(faults);
        };
        let loaded = snapshot::load(&self.settings, Ok(set), Ok(champion));
        let loaded = loaded.map_err(|LoadError(faults)| {
            self.note_failure(faults.clone(), true);
            faults
        })?;
        let mut notes = loaded.warnings;
        let kept = self.archive.keep(&loaded.contents, self.inputs.clock.now());
        notes.extend(kept.await.err().map(|error| not_archived(&error)));
        self.note_taken_up(news).await?;
        self.geo.store(Arc::new(geo));
        self.publishing.note_file(&loaded.snapshot.directory);
        self.live.renew(loaded.snapshot);
        self.install_champion(loaded.champion);
        Ok(notes)
    }

    /// How long policies that could not be renewed are trusted, seconds.
    pub(crate) fn stale_seconds(&self) -> i64 {
        i64::try_from(self.settings.stale_deny_after.as_secs()).unwrap_or(i64::MAX)
    }
}

fn not_archived(error: &StoreError) -> String {
    format!(
        "archive: {error}; it is tried again, and records cannot be replayed until what decided \
         them is kept"
    )
}

/// Makes a folder that only its owner may look into.
pub fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{}: {error}; set `data_dir`", folder.display()),
            )
        })
}
