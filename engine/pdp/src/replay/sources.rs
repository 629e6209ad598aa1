//! What records are decided by again: their own revisions, or those of a candidate.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use domain::record::Revisions;
use policy::{Directory, Policies, SourceFile};
use risk::Model;
use tokio::runtime::Handle;

use super::NotComparable;
use crate::archive::{Archive, Gone};
use crate::engine::Basis;
use crate::models::open;

/// Loaded sets that are held at once: records stand in the order of time, and few revisions
/// decide at one time.
const HELD_MAX: usize = 16;

/// What is tried in place of what decided. With nothing of it, each record is held against
/// itself.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    /// Another policy set.
    pub policies: Option<Arc<Policies>>,
    /// Other entities.
    pub entities: Option<Arc<SourceFile>>,
    /// Another model.
    pub model: Option<Arc<Model>>,
}

impl Candidate {
    /// Whether it is none at all.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.policies.is_none() && self.entities.is_none() && self.model.is_none()
    }
}

/// Everything that decides a record again.
#[derive(Clone, Debug)]
pub struct Set {
    policies: Arc<Policies>,
    directory: Arc<Directory>,
    settings: Arc<risk::Settings>,
    /// None where the record's own score stands: it does not depend on policies.
    pub model: Option<Arc<Model>>,
}

impl Set {
    /// All of it but the model.
    #[must_use]
    pub fn basis(&self) -> Basis<'_> {
        Basis {
            policies: &self.policies,
            directory: &self.directory,
            settings: &self.settings,
        }
    }

    /// The policies.
    #[must_use]
    pub const fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }
}

/// What came of loading something; remembered either way.
type Found<T> = Result<T, NotComparable>;

/// Loads what records name, once for all records that name the same.
#[derive(Debug)]
pub struct Sources {
    archive: Archive,
    models: PathBuf,
    candidate: Candidate,
    runtime: Handle,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    sets: Recent<Revisions, Set>,
    policies: Recent<Arc<str>, Arc<Policies>>,
    directories: Recent<(Arc<str>, Arc<str>), Arc<Directory>>,
    settings: Recent<Arc<str>, Arc<risk::Settings>>,
    models: Recent<(Arc<str>, Arc<str>), Arc<Model>>,
}

impl Sources {
    /// Reads from an archive and a folder of models. `runtime` is asked to wait for the store: no
    /// thread of it may call [`Self::set_for`].
    #[must_use]
    pub fn new(archive: Archive, models: PathBuf, candidate: Candidate, runtime: Handle) -> Self {
        Self {
            archive,
            models,
            candidate,
            runtime,
            held: Mutex::default(),
        }
    }

    /// What is tried.
    #[must_use]
    pub const fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// What decides a record of these revisions again.
    ///
    /// # Errors
    /// What is not there any more, or does not load.
    pub fn set_for(&self, revisions: &Revisions) -> Found<Set> {
        // Held while it loads: whoever else needs the same had to load it too.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = held.sets.get(revisions) {
            return found;
        }
        let found = self.load(&mut held, revisions);
        held.sets.put(revisions.clone(), found.clone());
        found
    }

    /// The same without a model: where the score on record has to do.
    ///
    /// # Errors
    /// What is not there any more, or does not load.
    pub fn unscored(&self, revisions: &Revisions) -> Found<Set> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.load_unscored(&mut held, revisions)
    }

    fn load(&self, held: &mut Held, revisions: &Revisions) -> Found<Set> {
        let set = self.load_unscored(held, revisions)?;
        let model = self.model(held, revisions)?;
        Ok(Set { model, ..set })
    }

    fn load_unscored(&self, held: &mut Held, revisions: &Revisions) -> Found<Set> {
        let settings = held.settings.get_or(&revisions.settings, |revision| {
            let settings = self.runtime.block_on(self.archive.settings(revision))?;
            Ok(Arc::new(settings))
        })?;
        let policies = match &self.candidate.policies {
            Some(candidate) => Arc::clone(candidate),
            None => held.policies.get_or(&revisions.policies, |revision| {
                let policies = self.runtime.block_on(self.archive.policies(revision))?;
                Ok(Arc::new(policies))
            })?,
        };
        let directory = self.directory(held, revisions, &policies)?;
        Ok(Set {
            policies,
            directory,
            settings,
            model: None,
        })
    }

    fn directory(
        &self,
        held: &mut Held,
        revisions: &Revisions,
        policies: &Policies,
    ) -> Found<Arc<Directory>> {
        let is_candidate = self.candidate.policies.is_some();
        let entities = match &self.candidate.entities {
            Some(file) => policy::source::revision(std::slice::from_ref(file)).into(),
            None => Arc::clone(&revisions.entities),
        };
        let key = (Arc::from(policies.revision()), entities);
        held.directories.get_or(&key, |(_, entities)| {
            let other_schema = |why: String| NotComparable::OtherSchema {
                entities: entities.to_string(),
                why,
            };
            let loaded = match &self.candidate.entities {
                Some(file) => Directory::load(file, policies)
                    .map_err(|problems| other_schema(problems.to_string())),
                None => {
                    let load = self.archive.directory(entities, policies);
                    self.runtime.block_on(load).map_err(|gone| match gone {
                        Gone::Changed { why, .. } if is_candidate => other_schema(why),
                        gone => gone.into(),
                    })
                }
            };
            loaded.map(Arc::new)
        })
    }

    /// The model to score with, if the score is to be worked out again. The record's own must be
    /// there even where another is tried: it alone says that the features are this engine's.
    fn model(&self, held: &mut Held, revisions: &Revisions) -> Found<Option<Arc<Model>>> {
        let candidate = &self.candidate;
        if candidate.model.is_none() && !candidate.is_none() {
            return Ok(None);
        }
        let key = (
            Arc::clone(&revisions.model),
            Arc::clone(&revisions.model_hash),
        );
        let own = held.models.get_or(&key, |(name, hash)| {
            let gone = |why: String| NotComparable::Model {
                model: name.to_string(),
                why,
            };
            let opened = open::open(&self.models, name).map_err(|error| gone(error.to_string()))?;
            if opened.model.hash() == hash {
                Ok(opened.model)
            } else {
                Err(gone("other files have taken its place".to_owned()))
            }
        })?;
        Ok(Some(candidate.model.clone().unwrap_or(own)))
    }
}

/// A few things by key, the one that was asked for longest ago given up first.
#[derive(Debug)]
struct Recent<K, V>(Vec<(K, Found<V>)>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Clone + PartialEq, V: Clone> Recent<K, V> {
    fn get(&mut self, key: &K) -> Option<Found<V>> {
        let position = self.0.iter().position(|(known, _)| known == key)?;
        let entry = self.0.remove(position);
        let found = entry.1.clone();
        self.0.push(entry);
        Some(found)
    }

    fn put(&mut self, key: K, found: Found<V>) {
        if self.0.len() >= HELD_MAX {
            self.0.drain(..1);
        }
        self.0.push((key, found));
    }

    fn get_or(&mut self, key: &K, load: impl FnOnce(&K) -> Found<V>) -> Found<V> {
        if let Some(found) = self.get(key) {
            return found;
        }
        let found = load(key);
        self.put(key.clone(), found.clone());
        found
    }
}
