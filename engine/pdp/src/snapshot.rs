//! Loading what decides: policies, entities, model, whole or not at all.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use domain::Timestamp;
use domain::record::Revisions;
use policy::lint::Against;
use policy::{Directory, Policies, SourceFile};
use risk::Model;

use crate::engine::Snapshot;
use crate::models::open::Opened;
use crate::settings::Settings;

/// What was wrong, each with its place and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct LoadError(pub Vec<String>);

/// A snapshot that loaded, and what is odd about it.
#[derive(Debug)]
pub struct Loaded {
    /// Ready to decide.
    pub snapshot: Snapshot,
    /// The model in it, with what it was made from.
    pub champion: Opened,
    /// For people; nothing that keeps it from deciding.
    pub warnings: Vec<String>,
}

/// Loads everything that the settings name. The champion has been opened before, or what is
/// wrong with it is one of the faults. Where there were entities before, there must be some: a
/// file that is gone for a moment is not an organisation without people.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(
    settings: &Settings,
    champion: Result<Opened, String>,
    had_entities: bool,
) -> Result<Loaded, LoadError> {
    let mut faults = Vec::new();
    let loaded = load_policies(&settings.policies, &mut faults);
    let (policies, files) = loaded.unzip();
    let entities = settings.entities_file();
    let entities = entities.or_else(|| had_entities.then(|| settings.entities_beside()));
    let directory = policies
        .as_ref()
        .and_then(|policies| load_directory(entities.as_deref(), policies, &mut faults));
    let champion = champion.map_err(|error| faults.push(error)).ok();
    let (Some(policies), Some(directory), Some(champion)) = (policies, directory, champion) else {
        return Err(LoadError(faults));
    };
    let against = Against {
        levels: Some(settings.risk.levels),
        directory: Some(&directory),
    };
    let odd = policies.hold_against(&files.unwrap_or_default(), against);
    let warnings = odd.0.iter().map(ToString::to_string).collect();
    let revisions = Revisions {
        policies: Arc::from(policies.revision()),
        entities: Arc::from(directory.revision()),
        model: Arc::clone(champion.model.name()),
        model_hash: Arc::clone(champion.model.hash()),
        settings: Arc::from(settings.risk.revision()),
    };
    let snapshot = Snapshot {
        policies: Arc::new(policies),
        directory: Arc::new(directory),
        model: Arc::clone(&champion.model),
        settings: Arc::new(settings.risk.clone()),
        revisions: Arc::new(revisions),
        deny_from: None,
    };
    Ok(Loaded {
        snapshot,
        champion,
        warnings,
    })
}

fn load_policies(folder: &Path, faults: &mut Vec<String>) -> Option<(Policies, Vec<SourceFile>)> {
    let files = policy::source::read_folder(folder)
        .map_err(|error| {
            faults.push(format!(
                "{}: {error}; set `policies.dir` to a folder with `*.cedarschema` and `*.cedar`",
                folder.display()
            ));
        })
        .ok()?;
    let policies = Policies::load(&files)
        .map_err(|problems| faults.extend(problems.0.iter().map(ToString::to_string)))
        .ok()?;
    Some((policies, files))
}

fn load_directory(
    path: Option<&Path>,
    policies: &Policies,
    faults: &mut Vec<String>,
) -> Option<Directory> {
    let loaded = match path {
        None => Directory::empty(policies),
        Some(path) => match fs::read_to_string(path) {
            Ok(text) => {
                Directory::load(&SourceFile::new(path.display().to_string(), text), policies)
            }
            Err(error) => {
                faults.push(format!(
                    "{}: {error}; set `policies.entities`",
                    path.display()
                ));
                return None;
            }
        },
    };
    loaded
        .map_err(|problems| faults.extend(problems.0.iter().map(ToString::to_string)))
        .ok()
}

/// The snapshot that decides now, and what became of the attempts to renew it.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Snapshot>,
    stale: ArcSwap<Option<Stale>>,
}

/// A reload that failed, and has not succeeded since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// When it failed first.
    pub since: Timestamp,
    /// What was wrong the last time.
    pub faults: Vec<String>,
}

impl Live {
    /// Starts with a snapshot.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(snapshot),
            stale: ArcSwap::default(),
        }
    }

    /// The snapshot to decide by; hold on to it for the whole decision.
    #[must_use]
    pub fn current(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// What is wrong with the last reload, if it failed.
    #[must_use]
    pub fn stale(&self) -> Option<Stale> {
        Option::clone(&self.stale.load())
    }

    /// Swaps a new snapshot in, whole.
    pub fn renew(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
        self.stale.store(Arc::new(None));
    }

    /// Swaps another model into the snapshot, whole; everything else in it stays, its age too.
    pub fn renew_model(&self, model: &Arc<Model>) {
        let mut snapshot = Snapshot::clone(&self.current());
        snapshot.revisions = Arc::new(Revisions {
            model: Arc::clone(model.name()),
            model_hash: Arc::clone(model.hash()),
            ..Revisions::clone(&snapshot.revisions)
        });
        snapshot.model = Arc::clone(model);
        self.current.store(Arc::new(snapshot));
    }

    /// Notes that a reload failed: the old snapshot stays, and from the first failure on its
    /// time runs.
    pub fn failed(&self, faults: Vec<String>, now: Timestamp, deny_after_seconds: i64) {
        let since = self.stale().map_or(now, |stale| stale.since);
        let mut snapshot = Snapshot::clone(&self.current());
        snapshot.deny_from = Some(since.plus_seconds(deny_after_seconds));
        self.current.store(Arc::new(snapshot));
        self.stale.store(Arc::new(Some(Stale { since, faults })));
    }
}
