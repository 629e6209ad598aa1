//! Publishing, shadowing, promoting, dropping, going back: decided here for the command line and
//! HTTP alike, and added to what the store knows. A running engine takes up what was added.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::Timestamp;
use policy::SourceFile;
use store::Store;
use store::sqlite::{PolicyAct, PolicyActKind, StoreError};

use super::own_tests;
use super::standing::Standing;
use super::upload::Upload;
use crate::archive::{self, Archive, Gone};
use crate::settings::Settings;
use crate::snapshot::{self, Fault, Set, Texts};

/// Longest reason that is kept, bytes.
const WHY_MAX: usize = 1000;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum RefusedError {
    /// Nobody said why.
    #[error("say why: `why` is kept with what is done (1 to {WHY_MAX} bytes)")]
    NoWhy,
    /// The set cannot be used; what was live before goes on.
    #[error("the set is refused:\n{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<Fault>),
    /// It was decided on another set than the one that is live.
    #[error(
        "`expected_revision` is {expected}, and {found} is there now; look at what has changed, then decide again"
    )]
    Unexpected {
        /// What somebody thought.
        expected: String,
        /// What there is.
        found: String,
    },
    /// The set decides already.
    #[error("{0} is live already; a shadow is for another set")]
    LiveAlready(String),
    /// Nothing is in the shadow.
    #[error(
        "no set is in the shadow; put one there with `PUT /v1/policies/shadow` or `portreeve policy shadow`"
    )]
    NoShadow,
    /// There is nothing to go back to.
    #[error("there is no set before {0} to go back to")]
    NothingBefore(String),
    /// The engine has never started here.
    #[error("no set has ever been live here; start the engine first")]
    NeverLive,
    /// Its texts are not kept any more.
    #[error("{0}")]
    Gone(#[from] Gone),
    /// Somebody else was faster.
    #[error("somebody else has just changed what is live; look at it again, then decide again")]
    Overtaken,
    /// The store refused.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The work broke off.
    #[error("the work broke off: {0}")]
    Broken(String),
}

/// Where it is kept what was done with policy sets, and what they are held against.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The store.
    pub store: Store,
    /// Whether there were entities in the file when it was last read: then there must be a file.
    pub had_file: Arc<AtomicBool>,
}

/// Who does something, when and why.
#[derive(Clone, Debug)]
pub struct Doer {
    /// A key's id, or a user of the machine.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    pub why: String,
    /// The revision that they think is there: of the live set; with a promotion of the one in
    /// the shadow.
    pub expected: Option<String>,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// The set that it was done with.
    pub revision: String,
    /// The live set before.
    pub previous: Option<String>,
    /// What is odd about the set.
    pub warnings: Vec<String>,
    /// Whether anything was done: to publish what is live changes nothing.
    pub changed: bool,
    /// The set as it was loaded to be checked.
    pub set: Option<Set>,
}

impl Registry {
    /// What holds now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn standing(&self) -> Result<Standing, StoreError> {
        Ok(Standing::of(&self.store.policy_acts().await?))
    }

    /// Makes a set the live one.
    ///
    /// # Errors
    /// When it cannot be used, nobody says why, or the store refuses.
    pub async fn publish(&self, upload: Upload, doer: Doer) -> Result<Done, RefusedError> {
        self.take_in(upload, doer, PolicyActKind::Published).await
    }

    /// Lets a set be evaluated beside the live one, unheard.
    ///
    /// # Errors
    /// As [`Self::publish`]; and when it is live.
    pub async fn shadow(&self, upload: Upload, doer: Doer) -> Result<Done, RefusedError> {
        self.take_in(upload, doer, PolicyActKind::Shadowed).await
    }

    async fn take_in(
        &self,
        upload: Upload,
        doer: Doer,
        kind: PolicyActKind,
    ) -> Result<Done, RefusedError> {
        doer.check()?;
        let standing = self.standing().await?;
        let live = standing.live().ok_or(RefusedError::NeverLive)?;
        let live = live.revision.clone();
        expect(doer.expected.as_deref(), Some(&live))?;
        let revision = upload.revision();
        let is_live = live == revision;
        if is_live && kind == PolicyActKind::Shadowed {
            return Err(RefusedError::LiveAlready(revision));
        }
        let set = self.checked(upload).await?;
        let mut done = Done {
            revision,
            previous: Some(live),
            warnings: set.warnings.clone(),
            changed: false,
            set: Some(set),
        };
        if is_live && standing.refusal().is_none() {
            return Ok(done);
        }
        if let Some(set) = &done.set {
            self.keep(set, doer.at).await?;
        }
        self.add(kind, Some(&done.revision), &standing, doer)
            .await?;
        done.changed = true;
        Ok(done)
    }

    /// Makes the set in the shadow the live one.
    ///
    /// # Errors
    /// When none is there, it cannot be used any more, nobody says why, or the store refuses.
    pub async fn promote(&self, doer: Doer) -> Result<Done, RefusedError> {
        doer.check()?;
        let standing = self.standing().await?;
        let revision = standing.shadow().ok_or(RefusedError::NoShadow)?.to_owned();
        expect(doer.expected.as_deref(), Some(&revision))?;
        let set = self.opened(&revision).await?;
        let previous = standing.live().map(|since| since.revision.clone());
        let kind = PolicyActKind::Promoted;
        self.add(kind, Some(&revision), &standing, doer).await?;
        Ok(Done {
            revision,
            previous,
            warnings: set.warnings.clone(),
            changed: true,
            set: Some(set),
        })
    }

    /// Ends the shadow.
    ///
    /// # Errors
    /// When there is none, nobody says why, or the store refuses.
    pub async fn drop_shadow(&self, doer: Doer) -> Result<Done, RefusedError> {
        doer.check()?;
        let standing = self.standing().await?;
        let revision = standing.shadow().ok_or(RefusedError::NoShadow)?.to_owned();
        expect(doer.expected.as_deref(), Some(&revision))?;
        let kind = PolicyActKind::Dropped;
        self.add(kind, Some(&revision), &standing, doer).await?;
        Ok(Done {
            revision,
            previous: standing.live().map(|since| since.revision.clone()),
            warnings: Vec::new(),
            changed: true,
            set: None,
        })
    }

    /// Goes back to the set that was live before; twice goes further back.
    ///
    /// # Errors
    /// When there is none, it cannot be used any more, nobody says why, or the store refuses.
    pub async fn rollback(&self, doer: Doer) -> Result<Done, RefusedError> {
        doer.check()?;
        let standing = self.standing().await?;
        let live = standing.live().ok_or(RefusedError::NeverLive)?;
        expect(doer.expected.as_deref(), Some(&live.revision))?;
        let before = standing
            .before()
            .ok_or_else(|| RefusedError::NothingBefore(live.revision.clone()))?;
        let set = self.opened(&before.revision).await?;
        let kind = PolicyActKind::RolledBack;
        self.add(kind, Some(&before.revision), &standing, doer)
            .await?;
        Ok(Done {
            revision: before.revision.clone(),
            previous: Some(live.revision.clone()),
            warnings: set.warnings.clone(),
            changed: true,
            set: Some(set),
        })
    }

    /// Loads a set, and runs its own tests.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn checked(&self, upload: Upload) -> Result<Set, RefusedError> {
        let stored = Arc::new(self.store.stored_entities(None).await?);
        let settings = Arc::clone(&self.settings);
        let had_file = self.had_file.load(Ordering::Relaxed);
        let checked = apart(move || {
            let entities = snapshot::read_entities(&settings, had_file);
            let entities = entities.map_err(|fault| vec![fault])?;
            let texts = Texts {
                policies: upload.policies,
                entities,
                stored,
            };
            let set = snapshot::load_set(&texts, &settings.risk)?;
            let failures = own_tests::failures(&set, &upload.tests, &settings.risk);
            if failures.is_empty() {
                Ok(set)
            } else {
                Err(failures)
            }
        });
        checked.await?.map_err(RefusedError::Faults)
    }

    /// Loads a set that was checked when it came, with the entities of now.
    ///
    /// # Errors
    /// When its texts are gone, or the entities do not fit it any more.
    pub async fn opened(&self, revision: &str) -> Result<Set, RefusedError> {
        let files: Arc<[SourceFile]> = Archive::new(self.store.clone())
            .files(revision)
            .await?
            .into();
        self.checked(Upload {
            policies: files,
            tests: Arc::default(),
        })
        .await
    }

    /// Keeps the texts of a set.
    async fn keep(&self, set: &Set, now: Timestamp) -> Result<(), RefusedError> {
        let content = archive::of_policies(&set.policies)
            .map_err(|error| RefusedError::Broken(error.to_string()))?;
        let (kind, revision, bytes) = (content.kind, &content.revision, &content.bytes);
        Ok(self.store.keep_revision(kind, revision, bytes, now).await?)
    }

    async fn add(
        &self,
        kind: PolicyActKind,
        revision: Option<&str>,
        standing: &Standing,
        doer: Doer,
    ) -> Result<(), RefusedError> {
        let act = PolicyAct {
            number: 0,
            kind,
            revision: revision.map(str::to_owned),
            at: doer.at,
            by: doer.by,
            why: Some(doer.why),
            previous: standing.live().map(|since| since.revision.clone()),
            journalled: false,
        };
        if self.store.add_policy_act(&act, standing.last()).await? {
            Ok(())
        } else {
            Err(RefusedError::Overtaken)
        }
    }
}

impl Doer {
    fn check(&self) -> Result<(), RefusedError> {
        if self.why.trim().is_empty() || self.why.len() > WHY_MAX {
            return Err(RefusedError::NoWhy);
        }
        Ok(())
    }
}

fn expect(expected: Option<&str>, found: Option<&str>) -> Result<(), RefusedError> {
    match expected {
        Some(expected) if Some(expected) != found => Err(RefusedError::Unexpected {
            expected: expected.to_owned(),
            found: found.unwrap_or("none").to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Loads away from the threads that answer.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RefusedError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| RefusedError::Broken(error.to_string()))
}
