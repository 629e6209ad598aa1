//! Loading what decides: policies, entities, model, whole or not at all.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use domain::record::Revisions;
use domain::{EntityRef, Timestamp};
use policy::lint::Against;
use policy::{Directory, Entry, Policies, Problem, SourceFile};
use risk::Model;
use store::sqlite::StoredEntities;

use crate::archive::{self, Content};
use crate::engine::Snapshot;
use crate::models::open::Opened;
use crate::settings::Settings;

/// Stored entities that do not fit, each told by itself; more are counted.
const UNFIT_TOLD: usize = 100;

/// What was wrong, each with its place and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct LoadError(pub Vec<String>);

/// One thing that keeps a set from deciding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// In a file, with its place.
    InFile(Box<Problem>),
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFile(problem) => problem.fmt(f),
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl LoadError {
    fn of(faults: &[Fault]) -> Self {
        Self(faults.iter().map(ToString::to_string).collect())
    }
}

/// What policies and entities are loaded from.
#[derive(Clone, Debug)]
pub struct Texts {
    /// Schemas and policies.
    pub policies: Arc<[SourceFile]>,
    /// The file of entities.
    pub entities: SourceFile,
    /// Entities that somebody set over it.
    pub stored: Arc<StoredEntities>,
}

/// Policies and the entities that fit them.
#[derive(Clone, Debug)]
pub struct Set {
    /// Schema and policies.
    pub policies: Arc<Policies>,
    /// Stored entities.
    pub directory: Arc<Directory>,
    /// The file of entities, for the archive.
    pub entities: SourceFile,
    /// For people; nothing that keeps it from deciding.
    pub warnings: Vec<String>,
}

/// A snapshot that loaded, and what is odd about it.
#[derive(Debug)]
pub struct Loaded {
    /// Ready to decide.
    pub snapshot: Snapshot,
    /// The model in it, with what it was made from.
    pub champion: Opened,
    /// What is in it, for the archive.
    pub contents: Vec<Content>,
    /// For people; nothing that keeps it from deciding.
    pub warnings: Vec<String>,
}

/// The files of the folder of policies.
///
/// # Errors
/// When one of them cannot be read; the message says which.
pub fn read_folder(folder: &Path) -> Result<Arc<[SourceFile]>, Fault> {
    let files = policy::source::read_folder(folder).map_err(|error| {
        Fault::Other(format!(
            "{}: {error}; set `policies.dir` to a folder with `*.cedarschema` and `*.cedar`",
            folder.display()
        ))
    });
    files.map(Arc::from)
}

/// The file of entities. Where there was one before, there must be one: a file that is gone for a
/// moment is not an organisation without people.
///
/// # Errors
/// When it cannot be read.
pub fn read_entities(settings: &Settings, had_entities: bool) -> Result<SourceFile, Fault> {
    let path = settings.entities_file();
    let Some(path) = path.or_else(|| had_entities.then(|| settings.entities_beside())) else {
        return Ok(Directory::nothing());
    };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(SourceFile::new(path.display().to_string(), text)),
        Err(error) => Err(Fault::Other(format!(
            "{}: {error}; set `policies.entities`",
            path.display()
        ))),
    }
}

/// Loads policies, and the entities under their schema.
///
/// # Errors
/// Everything that is wrong with them, at once; entities that the schema does not fit any more
/// are named.
pub fn load_set(texts: &Texts, risk: &risk::Settings) -> Result<Set, Vec<Fault>> {
    let in_files = |problems: policy::Problems| -> Vec<Fault> {
        problems
            .0
            .into_iter()
            .map(|problem| Fault::InFile(Box::new(problem)))
            .collect()
    };
    let policies = Policies::load(&texts.policies).map_err(in_files)?;
    let directory = Directory::load(&texts.entities, &policies).map_err(in_files)?;
    let directory = with_stored(directory, &texts.stored, &policies)?;
    let against = Against {
        levels: Some(risk.levels),
        directory: Some(&directory),
    };
    let odd = policies.hold_against(&texts.policies, against);
    let mut warnings: Vec<String> = odd.0.iter().map(ToString::to_string).collect();
    warnings.extend(directory.unknown_zones(&policies, &risk.time_zone_attribute));
    Ok(Set {
        policies: Arc::new(policies),
        directory: Arc::new(directory),
        entities: texts.entities.clone(),
        warnings,
    })
}

/// A file's directory with the stored entities over it.
///
/// # Errors
/// The stored entities that do not fit the schema.
pub fn with_stored(
    directory: Directory,
    stored: &StoredEntities,
    policies: &Policies,
) -> Result<Directory, Vec<Fault>> {
    if stored.last == 0 {
        return Ok(directory);
    }
    let mut entries = Vec::with_capacity(stored.entities.len());
    let mut unfit = Vec::new();
    for entity in &stored.entities {
        let name = EntityRef::new(entity.kind.as_str(), entity.id.as_str());
        let read = match &name {
            Ok(name) => Entry::read(policies, name, &entity.body).map_err(|findings| {
                let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
                format!("stored entity {name}: {}", findings.join("; "))
            }),
            Err(error) => Err(format!("stored entity {}: {error}", entity.kind)),
        };
        match read {
            Ok(entry) => entries.push(entry),
            Err(words) => unfit.push(words),
        }
    }
    if unfit.is_empty() {
        return directory
            .with_changes(policies, entries, stored.last)
            .map_err(|error| vec![Fault::Other(format!("stored entities: {error}"))]);
    }
    let more = unfit.len().saturating_sub(UNFIT_TOLD);
    unfit.truncate(UNFIT_TOLD);
    if more > 0 {
        unfit.push(format!(
            "and {more} more stored entities do not fit the schema"
        ));
    }
    unfit.push(
        "put the schema right, or change or delete these entities first \
         (`PUT` or `DELETE /v1/entities/TYPE/ID`)"
            .to_owned(),
    );
    Err(unfit.into_iter().map(Fault::Other).collect())
}

/// Puts a snapshot together. The champion has been opened before, or what is wrong with it is one
/// of the faults.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(
    settings: &Settings,
    set: Result<Set, Vec<Fault>>,
    champion: Result<Opened, String>,
) -> Result<Loaded, LoadError> {
    let (set, champion) = match (set, champion) {
        (Ok(set), Ok(champion)) => (set, champion),
        (Ok(_), Err(error)) => return Err(LoadError(vec![error])),
        (Err(faults), champion) => {
            let mut error = LoadError::of(&faults);
            error.0.extend(champion.err());
            return Err(error);
        }
    };
    let contents = archive::of_set(&set).and_then(|mut contents| {
        contents.push(archive::of_settings(&settings.risk)?);
        Ok(contents)
    });
    let contents = contents.map_err(|error| LoadError(vec![error.to_string()]))?;
    let revisions = Revisions {
        policies: Arc::from(set.policies.revision()),
        entities: Arc::from(set.directory.revision()),
        model: Arc::clone(champion.model.name()),
        model_hash: Arc::clone(champion.model.hash()),
        settings: Arc::from(settings.risk.revision()),
    };
    let snapshot = Snapshot {
        policies: set.policies,
        directory: set.directory,
        model: Arc::clone(&champion.model),
        settings: Arc::new(settings.risk.clone()),
        revisions: Arc::new(revisions),
        deny_from: None,
    };
    Ok(Loaded {
        snapshot,
        champion,
        contents,
        warnings: set.warnings,
    })
}

/// What the folder would load as, without anything that was published or stored.
///
/// # Errors
/// As [`load_set`].
pub fn load_folder(settings: &Settings) -> Result<Set, Vec<Fault>> {
    let texts = match (
        read_folder(&settings.policies),
        read_entities(settings, false),
    ) {
        (Ok(policies), Ok(entities)) => Texts {
            policies,
            entities,
            stored: Arc::default(),
        },
        (policies, entities) => {
            return Err(policies.err().into_iter().chain(entities.err()).collect());
        }
    };
    load_set(&texts, &settings.risk)
}

/// The snapshot that decides now, and what became of the attempts to renew it.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Snapshot>,
    stale: ArcSwap<Option<Stale>>,
    /// The snapshot before, so that it is let go by whoever swaps, and not by a decision: to
    /// free the entities of an organisation takes milliseconds.
    before: Mutex<Option<Arc<Snapshot>>>,
}

/// A reload that failed, and has not succeeded since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// When it failed first.
    pub since: Timestamp,
    /// What was wrong the last time.
    pub faults: Vec<String>,
    /// Whether more than policies and entities could not be renewed: the model, the address
    /// databases. Another set of policies does not end that.
    pub beyond_set: bool,
}

impl Live {
    /// Starts with a snapshot.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(snapshot),
            stale: ArcSwap::default(),
            before: Mutex::default(),
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
        self.put(snapshot);
        self.stale.store(Arc::new(None));
    }

    /// Swaps other policies in, with the entities that fit them, whole; model and settings stay.
    pub fn renew_set(&self, policies: &Arc<Policies>, directory: &Arc<Directory>) {
        let now = Snapshot::clone(&self.current());
        let stays_stale = self.stale().is_some_and(|stale| stale.beyond_set);
        let renewed = Snapshot {
            revisions: Arc::new(Revisions {
                policies: Arc::from(policies.revision()),
                entities: Arc::from(directory.revision()),
                ..Revisions::clone(&now.revisions)
            }),
            policies: Arc::clone(policies),
            directory: Arc::clone(directory),
            deny_from: now.deny_from.filter(|_| stays_stale),
            ..now
        };
        if stays_stale {
            self.put(renewed);
        } else {
            self.renew(renewed);
        }
    }

    /// Swaps other entities in, whole; everything else stays, its age too.
    pub fn renew_directory(&self, directory: &Arc<Directory>) {
        let now = Snapshot::clone(&self.current());
        self.put(Snapshot {
            revisions: Arc::new(Revisions {
                entities: Arc::from(directory.revision()),
                ..Revisions::clone(&now.revisions)
            }),
            directory: Arc::clone(directory),
            ..now
        });
    }

    fn put(&self, snapshot: Snapshot) {
        let before = self.current.swap(Arc::new(snapshot));
        let long_gone = {
            let mut kept = self.before.lock().unwrap_or_else(PoisonError::into_inner);
            kept.replace(before)
        };
        drop(long_gone);
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
        self.put(snapshot);
    }

    /// Notes that a reload failed: the old snapshot stays, and from the first failure on its
    /// time runs.
    pub fn failed(
        &self,
        faults: Vec<String>,
        beyond_set: bool,
        now: Timestamp,
        deny_after_seconds: i64,
    ) {
        let before = self.stale();
        let beyond_set = beyond_set || before.is_some_and(|stale| stale.beyond_set);
        let since = self.stale().map_or(now, |stale| stale.since);
        let mut snapshot = Snapshot::clone(&self.current());
        snapshot.deny_from = Some(since.plus_seconds(deny_after_seconds));
        self.put(snapshot);
        self.stale.store(Arc::new(Some(Stale {
            since,
            faults,
            beyond_set,
        })));
    }
}
