//! The models of a running engine: which one scores, which one is compared with it, and how far
//! the traffic has moved from what they were made from.
//!
//! What was done is in the store ([`acts`]), what follows from it is worked out ([`standing`]),
//! and the engine takes it up: from HTTP at once, from another process when it notices that the
//! store has changed. A model that cannot be used is never taken up; what scored before goes on.

pub mod acts;
pub mod drift;
pub mod gate;
pub mod open;
pub mod report;
pub mod shadow;
pub mod standing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use domain::Timestamp;
use store::Store;
use store::journal::AppendError;
use store::sqlite::{ModelAct, StoreError};

use crate::access::signed;
use crate::app::App;
use crate::engine::Outcome;
use crate::settings::Settings;
use acts::Registry;
use drift::Recent;
use open::Opened;
use shadow::Shadow;
use standing::Standing;

/// What is wrong with the models that were chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The champion that was chosen cannot be used: another one scores.
    pub champion: Option<String>,
    /// The challenger cannot be used: none is compared.
    pub challenger: Option<String>,
}

/// The models of a running engine.
#[derive(Debug)]
pub struct Models {
    /// Where they are, and what was done with them.
    pub registry: Registry,
    /// The features of the last accesses.
    pub recent: Recent,
    standing: ArcSwap<Standing>,
    champion: ArcSwap<Opened>,
    shadow: ArcSwapOption<Shadow>,
    faults: ArcSwap<Faults>,
    /// Held by whoever swaps what decides, so that no reload brings back what was just replaced.
    pub(crate) swapping: tokio::sync::Mutex<()>,
    unfinished: AtomicBool,
}

/// Why what was done was not taken up. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum TakeUpError {
    /// The store could not be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// What was done could not be put on record.
    #[error("{0}")]
    Journal(#[from] AppendError),
    /// The work broke off.
    #[error("{0}")]
    Broken(#[from] tokio::task::JoinError),
}

impl Registry {
    /// Of these settings.
    #[must_use]
    pub fn new(settings: &Settings, store: Store) -> Self {
        Self {
            models: settings.models.clone(),
            setting: settings.champion.clone(),
            margin: settings.model_margin,
            store,
        }
    }
}

/// Opens the champion of a standing; in words what is wrong with it, and what to do.
///
/// # Errors
/// When it cannot be used.
pub fn open_champion(registry: &Registry, standing: &Standing) -> Result<Opened, String> {
    let opened = match standing.champion() {
        Some(choice) => open::open_chosen(&registry.models, choice),
        None => open::open(&registry.models, &registry.setting),
    };
    opened.map_err(|error| {
        if standing.is_promoted() {
            format!("{error}; or go back to what scored before with `portreeve model rollback`")
        } else {
            error.to_string()
        }
    })
}

/// The champion that an engine with these settings would start with. Changes nothing.
///
/// # Errors
/// When it cannot be used, in words.
pub async fn foresee(settings: &Settings) -> Result<Opened, String> {
    let acts: Vec<ModelAct> = if settings.store.is_file() {
        let store = Store::open(&settings.store).await;
        let store = store.map_err(|error| error.to_string())?;
        let acts = store.model_acts().await;
        store.close().await;
        acts.map_err(|error| error.to_string())?
    } else {
        Vec::new()
    };
    let standing = Standing::of(&acts);
    let opened = if standing.is_promoted() {
        let choice = standing.champion().cloned();
        choice.map(|choice| open::open_chosen(&settings.models, &choice))
    } else {
        match open::settle(&settings.models, &settings.champion, &standing) {
            Ok(Some(choice)) => Some(open::open_chosen(&settings.models, &choice)),
            Ok(None) => standing
                .settled()
                .map(|choice| open::open_chosen(&settings.models, choice)),
            Err(error) => Some(Err(error)),
        }
    };
    opened
        .unwrap_or_else(|| open::open(&settings.models, &settings.champion))
        .map_err(|error| error.to_string())
}

/// What [`start`] found.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) registry: Registry,
    standing: Standing,
    pub(crate) champion: Result<Opened, String>,
}

/// Reads what was done, settles the settings' name where that is still to be done, and opens the
/// champion.
pub(crate) async fn start(settings: &Settings, store: Store, now: Timestamp) -> Start {
    let registry = Registry::new(settings, store);
    let (standing, champion) = match registry.standing(now).await {
        Ok(standing) => {
            let champion = open_champion(&registry, &standing);
            (standing, champion)
        }
        Err(error) => (Standing::default(), Err(error.to_string())),
    };
    Start {
        registry,
        standing,
        champion,
    }
}

impl Models {
    /// The champion scores, nobody is compared yet: [`App::take_up_models`] follows.
    pub(crate) fn new(start: &Start, champion: Opened) -> Self {
        Self {
            registry: start.registry.clone(),
            recent: Recent::default(),
            standing: ArcSwap::from_pointee(start.standing.clone()),
            champion: ArcSwap::from_pointee(champion),
            shadow: ArcSwapOption::empty(),
            faults: ArcSwap::default(),
            swapping: tokio::sync::Mutex::default(),
            unfinished: AtomicBool::new(true),
        }
    }

    /// What was last taken up.
    #[must_use]
    pub fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// The model that scores.
    #[must_use]
    pub fn champion(&self) -> Arc<Opened> {
        self.champion.load_full()
    }

    /// The challenger at work.
    #[must_use]
    pub fn shadow(&self) -> Option<Arc<Shadow>> {
        self.shadow.load_full()
    }

    /// What is wrong with the models that were chosen.
    #[must_use]
    pub fn faults(&self) -> Arc<Faults> {
        self.faults.load_full()
    }

    /// Whether something that was done is still to be taken up.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Looks at an access that has been decided: the challenger scores it, its features are
    /// noted. Some microseconds at most, and nothing of it reaches the answer.
    pub fn look(&self, outcome: &Outcome, settings: &risk::Settings, now: Timestamp) {
        self.recent.note(&outcome.evidence.features, now);
        if let Some(shadow) = &*self.shadow.load() {
            shadow.look(outcome, settings);
        }
    }
}

impl App {
    /// Takes up what was done with models, by this process or another: puts it on record, opens
    /// what was chosen, and swaps it in, whole.
    ///
    /// # Errors
    /// When the store or the journal refuses; it is to be tried again. A model that cannot be
    /// used is no error here: it shows in [`Models::faults`], and what scored before goes on.
    pub async fn take_up_models(self: &Arc<Self>) -> Result<(), TakeUpError> {
        let _alone = self.models.swapping.lock().await;
        self.models.unfinished.store(true, Ordering::Relaxed);
        let acts = self.state.store().model_acts().await?;
        self.put_on_record(&acts).await?;
        let standing = Standing::of(&acts);
        let swapped = self.take_up_champion(&standing).await?;
        self.take_up_challenger(&standing).await?;
        let standing = Arc::new(standing);
        self.models.standing.store(Arc::clone(&standing));
        if swapped && self.live.stale().is_some() {
            // A reload that failed may have failed for the model that has just been replaced.
            let again = self.reload_files(Arc::clone(&standing)).await;
            for fault in again.err().unwrap_or_default() {
                tracing::error!("the reload still fails: {fault}");
            }
        }
        self.models.unfinished.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn put_on_record(&self, acts: &[ModelAct]) -> Result<(), TakeUpError> {
        let mut until = None;
        for act in acts.iter().filter(|act| !act.journalled) {
            self.journal.append(record(act)).await?;
            until = Some(act.number);
        }
        if let Some(until) = until {
            self.state.store().note_model_acts_journalled(until).await?;
        }
        Ok(())
    }

    /// Whether another model scores than before.
    async fn take_up_champion(&self, standing: &Standing) -> Result<bool, TakeUpError> {
        let models = &self.models;
        let running = models.champion();
        if standing
            .champion()
            .is_none_or(|choice| *choice == running.choice)
        {
            self.note_champion_fault(None);
            self.metrics
                .name_models(&running.choice.model, models.shadow().as_deref());
            return Ok(false);
        }
        let (registry, chosen) = (models.registry.clone(), standing.clone());
        let opened = tokio::task::spawn_blocking(move || open_champion(&registry, &chosen)).await?;
        match opened {
            Ok(opened) => {
                self.install_champion(opened);
                self.note_champion_fault(None);
                Ok(true)
            }
            Err(fault) => {
                self.metrics.reload_failed();
                tracing::error!(
                    "the model that was chosen cannot be used, {} goes on scoring: {fault}",
                    running.choice.model
                );
                self.note_champion_fault(Some(fault));
                Ok(false)
            }
        }
    }

    /// Lets a model score from the next request on.
    pub(crate) fn install_champion(&self, opened: Opened) {
        let models = &self.models;
        let before = models.champion();
        if before.choice != opened.choice {
            tracing::info!(
                from = %before.choice.model,
                to = %opened.choice.model,
                "another model scores"
            );
            self.metrics.forget_drift();
        }
        self.live.renew_model(&opened.model);
        self.metrics
            .name_models(&opened.choice.model, models.shadow().as_deref());
        models.champion.store(Arc::new(opened));
    }

    fn note_champion_fault(&self, fault: Option<String>) {
        let mut faults = Faults::clone(&self.models.faults());
        faults.champion = fault;
        self.models.faults.store(Arc::new(faults));
    }

    async fn take_up_challenger(&self, standing: &Standing) -> Result<(), TakeUpError> {
        let models = &self.models;
        let champion = models.champion();
        let wanted = standing
            .challenger()
            .filter(|choice| **choice != champion.choice)
            .cloned();
        let running = models.shadow().map(|shadow| shadow.choice.clone());
        let same_champion = models.standing().champion() == standing.champion();
        if wanted == running && (same_champion || wanted.is_none()) {
            return Ok(());
        }
        let fault = match wanted {
            None => {
                self.install_challenger(None);
                None
            }
            Some(choice) => {
                let folder = models.registry.models.clone();
                let opened =
                    tokio::task::spawn_blocking(move || open::open_chosen(&folder, &choice))
                        .await?;
                match opened {
                    Ok(opened) => {
                        self.install_challenger(Some(opened));
                        None
                    }
                    Err(error) => {
                        tracing::error!("the challenger cannot be used: {error}");
                        self.install_challenger(None);
                        Some(error.to_string())
                    }
                }
            }
        };
        let mut faults = Faults::clone(&models.faults());
        faults.challenger = fault;
        models.faults.store(Arc::new(faults));
        Ok(())
    }

    fn install_challenger(&self, opened: Option<Opened>) {
        let models = &self.models;
        let shadow = opened.map(|opened| {
            let meters = self.metrics.begin_shadow(Some(&opened.choice.model));
            let now = self.inputs.clock.now();
            Arc::new(Shadow::new(opened.model, opened.choice, now, meters))
        });
        if shadow.is_none() {
            self.metrics.begin_shadow(None);
        }
        self.metrics
            .name_models(&models.champion().choice.model, shadow.as_deref());
        models.shadow.store(shadow);
    }
}

/// An act, as the journal holds it.
fn record(act: &ModelAct) -> Vec<u8> {
    let metrics = act.metrics.as_deref();
    let metrics = metrics.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    signed(
        serde_json::json!({
            "v": wire::record::RECORD_VERSION,
            "kind": "model",
            "act": act.kind.as_str(),
            "number": act.number,
            "at": wire::time::format(act.at),
            "model": act.model,
            "digest": act.digest,
            "previous": act.previous,
            "reason": act.reason,
            "forced": act.forced,
            "metrics": metrics,
        }),
        &act.by,
    )
    .to_string()
    .into_bytes()
}
