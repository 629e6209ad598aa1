//! What decided, kept as long as the records that name it: policy sets, files of entities and
//! settings of the score, by their revision. Models lie in their folder, with hashes of their own.
//!
//! A revision is kept before it decides for the first time. Where the store refuses, that is said
//! and tried again; decisions go on, and the records made meanwhile cannot be replayed should it
//! never work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::Timestamp;
use policy::{Directory, Policies, SourceFile};
use serde::{Deserialize, Serialize};
use store::Store;
use store::sqlite::{RevisionKind, StoreError};

use crate::engine::Snapshot;
use crate::snapshot::{self, Set};

/// Contents that wait for a store that fails: more revisions than are published in an outage.
const WAITING_MAX: usize = 16;

/// The content of one revision.
#[derive(Clone, Debug)]
pub struct Content {
    /// What it is of.
    pub kind: RevisionKind,
    /// Its name in records.
    pub revision: Arc<str>,
    /// In the form that [`Archive`] reads.
    pub bytes: Arc<[u8]>,
}

/// A text with its name.
#[derive(Debug, Serialize, Deserialize)]
struct Text<'a> {
    name: std::borrow::Cow<'a, str>,
    text: std::borrow::Cow<'a, str>,
}

impl<'a> Text<'a> {
    fn of(file: &'a SourceFile) -> Self {
        Self {
            name: file.base_name().into(),
            text: file.text.as_str().into(),
        }
    }

    fn into_file(self) -> SourceFile {
        SourceFile::new(self.name, self.text)
    }
}

/// The texts of a policy set.
///
/// # Errors
/// Never in practice: texts are written as JSON.
pub fn of_policies(policies: &Policies) -> Result<Content, serde_json::Error> {
    let files: Vec<Text<'_>> = policies.files().iter().map(Text::of).collect();
    Ok(Content {
        kind: RevisionKind::Policies,
        revision: Arc::from(policies.revision()),
        bytes: serde_json::to_vec(&files)?.into(),
    })
}

/// The contents of policies and entities. What was set over the file of entities is in the store,
/// with its numbers.
///
/// # Errors
/// As [`of_policies`].
pub fn of_set(set: &Set) -> Result<Vec<Content>, serde_json::Error> {
    let entities = Content {
        kind: RevisionKind::Entities,
        revision: Arc::from(set.directory.file_revision()),
        bytes: serde_json::to_vec(&Text::of(&set.entities))?.into(),
    };
    Ok(vec![of_policies(&set.policies)?, entities])
}

/// The content of settings of the score.
///
/// # Errors
/// As [`of_policies`].
pub fn of_settings(settings: &risk::Settings) -> Result<Content, serde_json::Error> {
    Ok(Content {
        kind: RevisionKind::Settings,
        revision: Arc::from(settings.revision()),
        bytes: serde_json::to_vec(settings)?.into(),
    })
}

/// Why something that decided cannot decide again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Gone {
    /// It was never kept, or forgotten with the records that named it.
    #[error("{kind} {revision} are not in the archive")]
    NotKept {
        /// What.
        kind: &'static str,
        /// Which.
        revision: String,
    },
    /// What is kept is not what decided: another version of the engine, or damage.
    #[error("{kind} {revision} do not load as they did: {why}")]
    Changed {
        /// What.
        kind: &'static str,
        /// Which.
        revision: String,
        /// What is wrong.
        why: String,
    },
    /// The store could not be read.
    #[error("{0}")]
    Store(String),
}

impl From<StoreError> for Gone {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// The archive: writes what decides, reads what has decided.
#[derive(Debug)]
pub struct Archive {
    store: Store,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    contents: Vec<Content>,
    since: Option<Timestamp>,
}

impl Archive {
    /// In this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            waiting: Mutex::default(),
        }
    }

    /// Keeps contents, or remembers what the store refused.
    ///
    /// # Errors
    /// When the store refuses one of them; [`Self::retry`] goes on with it.
    pub async fn keep(&self, contents: &[Content], now: Timestamp) -> Result<(), StoreError> {
        for (position, content) in contents.iter().enumerate() {
            let Content {
                kind,
                revision,
                bytes,
            } = content;
            let kept = self.store.keep_revision(*kind, revision, bytes, now).await;
            if let Err(error) = kept {
                self.wait_with(contents.get(position..).unwrap_or_default(), now);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Tries again what the store refused.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub async fn retry(&self, now: Timestamp) -> Result<(), StoreError> {
        let contents = self.waiting().contents.clone();
        for content in &contents {
            let Content {
                kind,
                revision,
                bytes,
            } = content;
            self.store
                .keep_revision(*kind, revision, bytes, now)
                .await?;
            let mut waiting = self.waiting();
            waiting
                .contents
                .retain(|other| (other.kind, &other.revision) != (*kind, revision));
            if waiting.contents.is_empty() {
                waiting.since = None;
            }
        }
        Ok(())
    }

    /// Since when something that decides could not be kept.
    #[must_use]
    pub fn failing_since(&self) -> Option<Timestamp> {
        self.waiting().since
    }

    /// Notes what is deciding now, and sets of policies that may decide again, and forgets what ceased to before a moment.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn tidy(
        &self,
        snapshot: &Snapshot,
        policies: &[&str],
        before: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let revisions = &snapshot.revisions;
        let mut in_use = vec![
            (RevisionKind::Policies, &*revisions.policies),
            (RevisionKind::Entities, file_part(&revisions.entities)),
            (RevisionKind::Settings, &*revisions.settings),
        ];
        let policies = policies.iter();
        in_use.extend(policies.map(|revision| (RevisionKind::Policies, *revision)));
        self.store.touch_revisions(&in_use, now).await?;
        if let Some(before) = before {
            self.store.forget_revisions(before).await?;
        }
        Ok(())
    }

    /// The files of a policy set that has decided.
    ///
    /// # Errors
    /// When it is not kept, or is not what decided.
    pub async fn files(&self, revision: &str) -> Result<Vec<SourceFile>, Gone> {
        let content = self.content(RevisionKind::Policies, revision).await?;
        let files: Vec<Text<'_>> = read(RevisionKind::Policies, revision, &content)?;
        let files: Vec<SourceFile> = files.into_iter().map(Text::into_file).collect();
        let is = policy::source::revision(&files);
        same(RevisionKind::Policies, revision, &is)?;
        Ok(files)
    }

    /// A policy set that has decided.
    ///
    /// # Errors
    /// When it is not kept, or does not load any more.
    pub async fn policies(&self, revision: &str) -> Result<Policies, Gone> {
        let files = self.files(revision).await?;
        Policies::load(&files)
            .map_err(|problems| changed(RevisionKind::Policies, revision, &problems))
    }

    /// The entities that have decided, held against the schema of these policies.
    ///
    /// The one place that knows how a directory is put together from its revision.
    ///
    /// # Errors
    /// When they are not kept, or do not fit the schema.
    pub async fn directory(&self, revision: &str, policies: &Policies) -> Result<Directory, Gone> {
        let kind = RevisionKind::Entities;
        let content = self.content(kind, file_part(revision)).await?;
        let file = read::<Text<'_>>(kind, revision, &content)?.into_file();
        let directory =
            Directory::load(&file, policies).map_err(|error| changed(kind, revision, &error))?;
        // What was set over the file until then.
        let until = match revision.split_once('+') {
            None => 0,
            Some((_, number)) => number
                .parse()
                .map_err(|error| changed(kind, revision, &error))?,
        };
        let stored = self.store.stored_entities(Some(until)).await?;
        let directory = snapshot::with_stored(directory, &stored, policies).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            changed(kind, revision, &faults.join("; "))
        })?;
        same(kind, revision, directory.revision())?;
        Ok(directory)
    }

    /// Settings of the score that have decided.
    ///
    /// # Errors
    /// When they are not kept, or are of another version of the engine.
    pub async fn settings(&self, revision: &str) -> Result<risk::Settings, Gone> {
        let kind = RevisionKind::Settings;
        let content = self.content(kind, revision).await?;
        let settings: risk::Settings = read(kind, revision, &content)?;
        same(kind, revision, &settings.revision())?;
        Ok(settings)
    }

    async fn content(&self, kind: RevisionKind, revision: &str) -> Result<Vec<u8>, Gone> {
        let found = self.store.revision(kind, revision).await?;
        found.ok_or_else(|| Gone::NotKept {
            kind: kind.as_str(),
            revision: revision.to_owned(),
        })
    }

    fn wait_with(&self, contents: &[Content], now: Timestamp) {
        let mut waiting = self.waiting();
        for content in contents {
            let known = |other: &Content| {
                (other.kind, &other.revision) == (content.kind, &content.revision)
            };
            if !waiting.contents.iter().any(known) {
                waiting.contents.push(content.clone());
            }
        }
        // The oldest go: those that decide now matter most.
        let over = waiting.contents.len().saturating_sub(WAITING_MAX);
        waiting.contents.drain(..over);
        waiting.since = waiting.since.or(Some(now));
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a directory's revision is the file's, as the archive keeps it.
fn file_part(revision: &str) -> &str {
    revision.split_once('+').map_or(revision, |(file, _)| file)
}

fn read<'a, T: Deserialize<'a>>(
    kind: RevisionKind,
    revision: &str,
    content: &'a [u8],
) -> Result<T, Gone> {
    serde_json::from_slice(content).map_err(|error| changed(kind, revision, &error))
}

fn same(kind: RevisionKind, revision: &str, is: &str) -> Result<(), Gone> {
    if revision == is {
        return Ok(());
    }
    Err(changed(kind, revision, &format!("they are {is} now")))
}

fn changed(kind: RevisionKind, revision: &str, why: &dyn std::fmt::Display) -> Gone {
    Gone::Changed {
        kind: kind.as_str(),
        revision: revision.to_owned(),
        why: why.to_string(),
    }
}
