//! The engine put together: what `main`, the demo and the tests all build.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use domain::Timestamp;
use geo::Geo;
use quick_cache::sync::Cache;
use risk::Key;
use risk::agent::Agent;
use store::sqlite::StoreError;
use store::{Journal, Store};
use token::SigningKey;

use crate::access::{KeyRing, NewKey, Permissions, Role};
use crate::feedback::Words;
use crate::http::UnderWay;
use crate::inputs::Inputs;
use crate::metrics::Metrics;
use crate::models::standing::Standing;
use crate::models::{self, Models};
use crate::search::Searches;
use crate::settings::Settings;
use crate::snapshot::{self, Live, LoadError};
use crate::state::State;
use crate::step_up::StepUpTarget;

/// Challenge and mfa decisions whose step-up can be told without asking the store.
const STEP_UPS_REMEMBERED: usize = 100_000;

/// Facts that are known when they are told again: more than are told while a feed still retries.
const FACTS_REMEMBERED: usize = 100_000;

/// Decisions that a person had a word on, with what was said.
const WORDS_REMEMBERED: usize = 100_000;

/// Texts of `User-Agent` whose client program is remembered.
const AGENTS_REMEMBERED: usize = 10_000;

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
    Key(#[from] token::KeyError),
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
    /// What decisions read and change.
    pub state: State,
    /// The callers.
    pub keys: KeyRing,
    /// Where decisions are durable first.
    pub journal: Journal,
    /// What tokens are signed with.
    pub signer: SigningKey,
    /// Numbers for operators.
    pub metrics: Metrics,
    /// Decisions that a step-up may follow.
    pub(crate) step_ups: Cache<String, Arc<StepUpTarget>>,
    /// Facts that were taken in already. A profile remembers a few events itself; a feed may
    /// deliver thousands again.
    pub(crate) facts_told: Cache<Key, ()>,
    /// What people said of decisions.
    pub(crate) words: Cache<String, Arc<Words>>,
    /// Client programs by their `User-Agent`.
    pub(crate) agents: Cache<String, Option<Arc<Agent>>>,
    /// What searches share.
    pub(crate) searches: Searches,
    /// What callers have under way.
    pub(crate) under_way: UnderWay,
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
    let loaded = snapshot::load(&settings, champion, false)?;
    notes.extend(loaded.warnings);
    let geo = Geo::open(&settings.geo)?;
    let journal_dir = settings.data_dir.join("journal");
    let drained = store.drained().await?;
    let (journal, recovery) =
        Journal::open(&journal_dir, settings.audit.journal, drained.as_ref())?;
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
    let state = State::new(store, &settings.limits);
    state.restore_crowds().await?;
    let keys = KeyRing::new(Permissions::load()?);
    keys.reload(state.store()).await?;
    let signer = SigningKey::load_or_create(&settings.data_dir.join("signing-key.p8"))?;
    let app = Arc::new(App {
        live: Live::new(loaded.snapshot),
        models: Models::new(&start, loaded.champion),
        geo: ArcSwap::from_pointee(geo),
        state,
        keys,
        journal,
        signer,
        metrics: Metrics::new(),
        step_ups: Cache::new(STEP_UPS_REMEMBERED),
        facts_told: Cache::new(FACTS_REMEMBERED),
        words: Cache::new(WORDS_REMEMBERED),
        agents: Cache::new(AGENTS_REMEMBERED),
        searches: Searches::new(&settings.limits, &*inputs.randomness),
        under_way: UnderWay::default(),
        public_url: OnceLock::new(),
        journal_damaged: OnceLock::new(),
        _claim: claim,
        settings,
        inputs,
    });
    if recovery.damaged.is_some() {
        app.journal_is_damaged();
    }
    if let Err(error) = app.take_up_models().await {
        notes.push(format!("models: {error}; it is tried again"));
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
    ///
    /// # Errors
    /// Everything that could not be renewed.
    pub async fn reload(self: &Arc<Self>) -> Result<Vec<String>, Vec<String>> {
        let done = {
            let _alone = self.models.swapping.lock().await;
            // Without the store, what it last said.
            let now = self.inputs.clock.now();
            let standing = match self.models.registry.standing(now).await {
                Ok(standing) => Arc::new(standing),
                Err(_) => self.models.standing(),
            };
            let app = Arc::clone(self);
            // Reads files and verifies databases: not for the threads that answer.
            tokio::task::spawn_blocking(move || app.reload_files(&standing)).await
        };
        let notes = done.map_err(|error| vec![format!("it broke off: {error}")])??;
        self.take_up_models()
            .await
            .map_err(|error| vec![error.to_string()])?;
        Ok(notes)
    }

    pub(crate) fn reload_files(&self, standing: &Standing) -> Result<Vec<String>, Vec<String>> {
        let geo = Geo::open(&self.settings.geo);
        let champion = models::open_champion(&self.models.registry, standing);
        let had_entities = !self.live.current().directory.is_empty();
        let faults = match (geo, snapshot::load(&self.settings, champion, had_entities)) {
            (Ok(geo), Ok(loaded)) => {
                self.geo.store(Arc::new(geo));
                self.live.renew(loaded.snapshot);
                self.install_champion(loaded.champion);
                return Ok(loaded.warnings);
            }
            (Ok(_), Err(LoadError(faults))) => faults,
            (Err(error), Ok(_)) => vec![error.to_string()],
            (Err(error), Err(LoadError(mut faults))) => {
                faults.push(error.to_string());
                faults
            }
        };
        let limit = self.settings.stale_deny_after.as_secs();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.live
            .failed(faults.clone(), self.inputs.clock.now(), limit);
        Err(faults)
    }

    /// Makes a key and keeps it.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn create_key(&self, name: &str, role: Role) -> Result<NewKey, StoreError> {
        let now = self.inputs.clock.now();
        let life = crate::access::LIFE_MAX_DAYS;
        let key = NewKey::generate(name, role, life, now, &*self.inputs.randomness);
        self.state.store().insert_key(&key.record).await?;
        self.keys.reload(self.state.store()).await?;
        Ok(key)
    }
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
