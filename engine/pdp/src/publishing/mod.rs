//! Which policies a running engine decides by: the folder's, or a set that somebody published;
//! and which candidate is evaluated beside them.
//!
//! What was done is in the store ([`acts`]), what follows from it is worked out ([`standing`]),
//! and the engine takes it up: from HTTP at once, from another process when it notices that the
//! store has changed, from the folder when its content has changed ([`watch`]). A set that cannot
//! be used is never taken up; what decided before goes on.

pub mod acts;
pub mod own_tests;
pub mod report;
pub mod shadow;
pub mod standing;
pub mod take_up;
pub mod upload;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use domain::Timestamp;
use policy::Directory;
use store::Store;
use store::journal::AppendError;
use store::sqlite::{PolicyAct, PolicyActKind, StoreError};

use crate::archive::{self, Archive};
use crate::settings::Settings;
use crate::snapshot::{self, Fault, Set, Texts};
use acts::Registry;
use shadow::Shadow;
use standing::Standing;
use upload::Upload;

/// Sets that can be gone back to for as long as records are kept, even if none names them.
pub const KEPT_BACK: usize = 20;

/// Who does what nobody told the engine to do.
const ENGINE: &str = "engine";

/// Longest fault that is kept with an act, characters.
const FAULT_MAX: usize = 500;

/// The policy sets of a running engine.
#[derive(Debug)]
pub struct Publishing {
    /// Where it is kept what was done.
    pub registry: Registry,
    standing: ArcSwap<Standing>,
    shadow: ArcSwapOption<Shadow>,
    shadow_fault: ArcSwapOption<String>,
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
}

/// What is to decide, and what is to be noted with it.
#[derive(Debug)]
struct Prepared {
    set: Result<Set, Vec<Fault>>,
    /// What the folder holds, where that is news.
    folder: Option<String>,
    /// Whether the set is the folder's.
    of_folder: bool,
}

/// What [`start`] found.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) registry: Registry,
    pub(crate) set: Result<Set, Vec<Fault>>,
    /// What the folder holds and was refused, while an earlier set decides.
    pub(crate) refused: Option<(Vec<String>, Timestamp)>,
    pub(crate) notes: Vec<String>,
    standing: Standing,
}

impl Registry {
    /// Of these settings.
    #[must_use]
    pub fn new(settings: &Settings, store: Store) -> Self {
        Self {
            settings: Arc::new(settings.clone()),
            store,
            had_file: Arc::default(),
        }
    }

    /// Loads what is to decide now: the folder's set if its content has changed since it was last
    /// taken up, otherwise the one that the acts name.
    async fn prepare(&self, standing: &Standing) -> Prepared {
        let settings = Arc::clone(&self.settings);
        let had_file = self.had_file.load(Ordering::Relaxed);
        let read = tokio::task::spawn_blocking(move || {
            let folder = Upload::of(&settings.policies)?;
            let revision = folder.revision();
            Ok((
                folder,
                revision,
                snapshot::read_entities(&settings, had_file),
            ))
        });
        let read = read.await.map_err(|error| Fault::Other(error.to_string()));
        let (folder, held, entities) = match read.and_then(|read| read) {
            Ok(read) => read,
            Err(fault) => {
                return Prepared {
                    set: Err(vec![fault]),
                    folder: None,
                    of_folder: false,
                };
            }
        };
        let has_changed = standing.folder() != Some(&held);
        let is_news = has_changed || standing.refusal().is_some();
        let live = standing.live().map(|since| since.revision.as_str());
        let of_folder = has_changed || live.is_none_or(|live| live == held);
        let set = self.load(folder, entities, live, of_folder, has_changed);
        Prepared {
            set: set.await,
            folder: is_news.then_some(held),
            of_folder,
        }
    }

    async fn load(
        &self,
        folder: Upload,
        entities: Result<policy::SourceFile, Fault>,
        live: Option<&str>,
        of_folder: bool,
        try_tests: bool,
    ) -> Result<Set, Vec<Fault>> {
        let other = |error: &dyn std::fmt::Display| vec![Fault::Other(error.to_string())];
        let (policies, tests) = match live {
            Some(live) if !of_folder => {
                let files = Archive::new(self.store.clone()).files(live).await;
                (files.map_err(|error| other(&error))?.into(), Arc::default())
            }
            _ => (folder.policies, folder.tests),
        };
        let stored = self.store.stored_entities(None).await;
        let texts = Texts {
            policies,
            entities: entities.map_err(|fault| vec![fault])?,
            stored: Arc::new(stored.map_err(|error| other(&error))?),
        };
        let settings = Arc::clone(&self.settings);
        let loaded = tokio::task::spawn_blocking(move || {
            let set = snapshot::load_set(&texts, &settings.risk)?;
            let failures = if try_tests {
                own_tests::failures(&set, &tests, &settings.risk)
            } else {
                Vec::new()
            };
            if failures.is_empty() {
                Ok(set)
            } else {
                Err(failures)
            }
        });
        loaded.await.map_err(|error| other(&error))?
    }

    /// Notes what the folder holds: taken up, or refused with the first fault. Returns what holds
    /// then. What was noted before is not noted again.
    async fn note_folder(
        &self,
        standing: &Standing,
        held: &str,
        refused: Option<&[Fault]>,
        now: Timestamp,
    ) -> Result<Standing, StoreError> {
        let known = standing
            .refusal()
            .is_some_and(|refusal| refusal.revision == held);
        if refused.is_some() && known {
            return Ok(standing.clone());
        }
        let why = refused.and_then(|faults| faults.first()).map(|fault| {
            let words: String = fault.to_string().chars().take(FAULT_MAX).collect();
            words
        });
        let act = PolicyAct {
            number: 0,
            kind: if refused.is_some() {
                PolicyActKind::Refused
            } else {
                PolicyActKind::Folder
            },
            revision: Some(held.to_owned()),
            at: now,
            by: ENGINE.to_owned(),
            why,
            previous: standing.live().map(|since| since.revision.clone()),
            journalled: false,
        };
        // Whoever was faster has published something newer; that is taken up next.
        self.store.add_policy_act(&act, standing.last()).await?;
        self.standing().await
    }
}

/// Finds out what decides at a start: the folder's set, or one that was published since it last
/// changed. Where the folder holds something that cannot be used, and a set was live before, that
/// one goes on: a slip must not become an outage.
pub(crate) async fn start(settings: &Settings, store: Store, now: Timestamp) -> Start {
    let registry = Registry::new(settings, store);
    let mut notes = Vec::new();
    let standing = match registry.standing().await {
        Ok(standing) => standing,
        Err(error) => {
            return Start {
                registry,
                set: Err(vec![Fault::Other(error.to_string())]),
                refused: None,
                notes,
                standing: Standing::default(),
            };
        }
    };
    let prepared = registry.prepare(&standing).await;
    let mut start = Start {
        registry,
        set: prepared.set,
        refused: None,
        notes: Vec::new(),
        standing,
    };
    let registry = &start.registry;
    if let Err(faults) = &start.set {
        let live = start.standing.live().map(|since| since.revision.clone());
        let Some(live) = live.filter(|_| prepared.of_folder) else {
            return start;
        };
        let Ok(set) = registry.opened(&live).await else {
            return start;
        };
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        notes.extend(told.iter().map(|fault| format!("policies: {fault}")));
        notes.push(format!(
            "policies: what is in {} is refused; the set {live} that was live before goes on",
            settings.policies.display()
        ));
        if let Some(held) = &prepared.folder {
            match registry
                .note_folder(&start.standing, held, Some(faults), now)
                .await
            {
                Ok(standing) => start.standing = standing,
                Err(error) => notes.push(format!("policies: {error}")),
            }
        }
        let since = start.standing.refusal().map_or(now, |refusal| refusal.at);
        start.refused = Some((told, since));
        start.set = Ok(set);
    } else if let (Ok(set), Some(held)) = (&start.set, &prepared.folder) {
        let before = start.standing.live().cloned();
        let kept = match archive::of_policies(&set.policies) {
            Ok(content) => {
                Archive::new(registry.store.clone())
                    .keep(&[content], now)
                    .await
            }
            Err(_) => Ok(()),
        };
        let noted = registry.note_folder(&start.standing, held, None, now).await;
        match kept.and(noted) {
            Ok(standing) => start.standing = standing,
            Err(error) => {
                start.set = Err(vec![Fault::Other(error.to_string())]);
                return start;
            }
        }
        let replaced = before.filter(|before| before.by_act != PolicyActKind::Folder);
        if let Some(replaced) = replaced.filter(|_| prepared.of_folder) {
            notes.push(format!(
                "policies: {} has changed while the engine was down, and is newer than the set {} \
                 that was {}: the folder's {held} is live",
                settings.policies.display(),
                replaced.revision,
                replaced.by_act.as_str(),
            ));
        }
    }
    start.notes = notes;
    start
}

impl Publishing {
    /// What is live was found; nothing is in the shadow yet: [`App::take_up_policies`] follows.
    pub(crate) fn new(start: &Start) -> Self {
        Self {
            registry: start.registry.clone(),
            standing: ArcSwap::from_pointee(start.standing.clone()),
            shadow: ArcSwapOption::empty(),
            shadow_fault: ArcSwapOption::empty(),
            unfinished: AtomicBool::new(true),
        }
    }

    /// What was last taken up.
    #[must_use]
    pub fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// The candidate at work.
    #[must_use]
    pub fn shadow(&self) -> Option<Arc<Shadow>> {
        self.shadow.load_full()
    }

    /// Why the set in the shadow is not evaluated, if it is not.
    #[must_use]
    pub fn shadow_fault(&self) -> Option<Arc<String>> {
        self.shadow_fault.load_full()
    }

    /// Notes whether the file of entities has any.
    pub(crate) fn note_file(&self, directory: &Directory) {
        let had_file = &self.registry.had_file;
        had_file.store(directory.has_file(), Ordering::Relaxed);
    }

    /// Whether something that was done is still to be taken up.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Ends the comparison for a reason that people should know.
    pub(crate) fn fail_shadow(&self, why: String) {
        tracing::error!("the set in the shadow is evaluated no more: {why}");
        self.shadow.store(None);
        self.shadow_fault.store(Some(Arc::new(why)));
    }
}
