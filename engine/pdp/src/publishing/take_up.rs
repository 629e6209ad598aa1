//! Taking up what was done: from HTTP, from another process, from the folder.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use store::sqlite::PolicyAct;

use super::TakeUpError;
use super::acts::{Doer, Done, RefusedError};
use super::shadow::{Shadow, Tally};
use super::standing::Standing;
use super::upload::Upload;
use crate::access::signed;
use crate::app::App;
use crate::archive;
use crate::snapshot::{self, Fault, Set};

/// What the folder holds, where that is news, and on which acts that was found.
#[derive(Debug)]
pub(crate) struct News {
    standing: Standing,
    folder: Option<String>,
}

/// Something that is done with policy sets, by HTTP.
#[derive(Debug)]
pub enum Deed {
    /// A set is to be live.
    Publish(Upload),
    /// A set is to be evaluated beside the live one.
    Shadow(Upload),
    /// The set in the shadow is to be live.
    Promote,
    /// Nothing is to be in the shadow.
    Drop,
    /// The set before is to be live again.
    Rollback,
}

impl App {
    /// Does something with policy sets, and takes it up: it is durable and counts when this
    /// returns. The error of the second kind means that it is kept and does not count yet.
    ///
    /// # Errors
    /// When it is refused; then nothing has changed.
    pub async fn do_with_policies(
        self: &Arc<Self>,
        deed: Deed,
        doer: Doer,
    ) -> Result<(Done, Result<(), TakeUpError>), RefusedError> {
        let _alone = self.models.swapping.lock().await;
        let registry = &self.publishing.registry;
        let mut done = match deed {
            Deed::Publish(upload) => registry.publish(upload, doer).await?,
            Deed::Shadow(upload) => registry.shadow(upload, doer).await?,
            Deed::Promote => registry.promote(doer).await?,
            Deed::Drop => registry.drop_shadow(doer).await?,
            Deed::Rollback => registry.rollback(doer).await?,
        };
        let taken_up = self.take_up(done.set.take()).await;
        Ok((done, taken_up))
    }

    /// Takes up what was done with policy sets by another process.
    ///
    /// # Errors
    /// When the store or the journal refuses; it is to be tried again. A set that cannot be used
    /// is no error here: it shows as a failed reload, and what decided before goes on.
    pub async fn take_up_policies(self: &Arc<Self>) -> Result<(), TakeUpError> {
        let _alone = self.models.swapping.lock().await;
        self.take_up(None).await
    }

    /// The caller holds the lock.
    pub(crate) async fn take_up(self: &Arc<Self>, ready: Option<Set>) -> Result<(), TakeUpError> {
        let publishing = &self.publishing;
        publishing.unfinished.store(true, Ordering::Relaxed);
        let acts = self.state.store().policy_acts().await?;
        let standing = Standing::of(&acts);
        let before = publishing.standing();
        let mut taken_up = true;
        if let Some(live) = standing.live() {
            let is_another = *live.revision != *self.live.current().revisions.policies;
            // A set that was published while the folder holds nonsense ends that.
            let is_over = before.refusal().is_some() && standing.refusal().is_none();
            if is_another || is_over {
                let ready = ready.filter(|set| set.policies.revision() == live.revision);
                let set = match ready {
                    Some(set) => Ok(set),
                    None => publishing.registry.opened(&live.revision).await,
                };
                match set {
                    Ok(set) => self.install_set(&set),
                    Err(error) => {
                        self.note_failure(vec![error.to_string()], false);
                        taken_up = false;
                    }
                }
            }
        }
        self.put_policies_on_record(&acts).await?;
        self.take_up_shadow(&standing).await;
        publishing.standing.store(Arc::new(standing));
        publishing.unfinished.store(!taken_up, Ordering::Relaxed);
        Ok(())
    }

    /// Takes up what the folder holds, and the file of entities, if either has changed. Returns
    /// what is odd about it; none when nothing has changed.
    ///
    /// # Errors
    /// Everything that is wrong with it; what decided before goes on.
    pub async fn take_up_folder(self: &Arc<Self>) -> Result<Option<Vec<String>>, Vec<String>> {
        let _alone = self.models.swapping.lock().await;
        if !self.has_news().await? {
            return Ok(None);
        }
        let (set, news) = self.prepared().await?;
        let kept = archive::of_set(&set).map_err(|error| vec![error.to_string()])?;
        let mut notes = set.warnings.clone();
        if let Err(error) = self.archive.keep(&kept, self.inputs.clock.now()).await {
            notes.push(format!("archive: {error}; it is tried again"));
        }
        self.note_taken_up(news).await?;
        // Whoever was faster has published something newer: that is what decides.
        let standing = self.publishing.standing();
        let is_newest = |live: &str| live == set.policies.revision();
        if standing.live().is_none_or(|live| is_newest(&live.revision)) {
            self.install_set(&set);
        }
        self.take_up(None)
            .await
            .map_err(|error| vec![error.to_string()])?;
        Ok(Some(notes))
    }

    /// Whether folder or file of entities hold anything else than what was last looked at.
    async fn has_news(&self) -> Result<bool, Vec<String>> {
        let settings = Arc::clone(&self.publishing.registry.settings);
        let had_file = self.publishing.registry.had_file.load(Ordering::Relaxed);
        let read = tokio::task::spawn_blocking(move || {
            let folder = snapshot::read_folder(&settings.policies)?;
            let entities = snapshot::read_entities(&settings, had_file)?;
            let entities = policy::source::revision(std::slice::from_ref(&entities));
            Ok((policy::source::revision(&folder), entities))
        });
        let read = read.await.map_err(|error| vec![error.to_string()])?;
        let (policies, entities) = read.map_err(|fault: Fault| {
            let faults = vec![fault.to_string()];
            self.note_failure(faults.clone(), false);
            faults
        })?;
        let standing = self.publishing.standing();
        let seen = match standing.refusal() {
            Some(refusal) => Some(refusal.revision.as_str()),
            None => standing.folder(),
        };
        let is_known = seen == Some(policies.as_str())
            && entities == self.live.current().directory.file_revision();
        // What failed for another reason may work now.
        let may_work_now = self.live.stale().is_some_and(|stale| !stale.beyond_set);
        Ok(!is_known || may_work_now)
    }

    /// Loads what is to decide; what the folder holds and cannot be used is noted. The caller
    /// holds the lock, and says when it is taken up.
    pub(crate) async fn prepared(&self) -> Result<(Set, News), Vec<String>> {
        let registry = &self.publishing.registry;
        let now = self.inputs.clock.now();
        let standing = registry.standing().await;
        let standing =
            standing.map_err(|error| self.refused(&[Fault::Other(error.to_string())]))?;
        let prepared = registry.prepare(&standing).await;
        match prepared.set {
            Ok(set) => Ok((
                set,
                News {
                    standing,
                    folder: prepared.folder,
                },
            )),
            Err(faults) => {
                // What fails otherwise is not the folder's.
                if let Some(held) = prepared.folder.filter(|_| prepared.of_folder) {
                    let noted = registry.note_folder(&standing, &held, Some(&faults), now);
                    if let Ok(standing) = noted.await {
                        self.publishing.standing.store(Arc::new(standing));
                        self.publishing.unfinished.store(true, Ordering::Relaxed);
                    }
                }
                Err(self.refused(&faults))
            }
        }
    }

    /// Notes that what was loaded is about to decide.
    pub(crate) async fn note_taken_up(&self, news: News) -> Result<(), Vec<String>> {
        let News { standing, folder } = news;
        let standing = match folder {
            None => standing,
            Some(held) => {
                let registry = &self.publishing.registry;
                let now = self.inputs.clock.now();
                let noted = registry.note_folder(&standing, &held, None, now).await;
                noted.map_err(|error| self.refused(&[Fault::Other(error.to_string())]))?
            }
        };
        self.publishing.standing.store(Arc::new(standing));
        Ok(())
    }

    fn refused(&self, faults: &[Fault]) -> Vec<String> {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        self.note_failure(faults.clone(), false);
        faults
    }

    /// Notes that what should decide cannot be used: `/readyz` and metrics say so at once.
    pub(crate) fn note_failure(&self, faults: Vec<String>, beyond_set: bool) {
        let now = self.inputs.clock.now();
        self.live
            .failed(faults, beyond_set, now, self.stale_seconds());
    }

    fn install_set(&self, set: &Set) {
        let before = Arc::clone(&self.live.current().revisions.policies);
        self.live.renew_set(&set.policies, &set.directory);
        self.publishing.note_file(&set.directory);
        if *before != *set.policies.revision() {
            tracing::info!(from = %before, to = %set.policies.revision(), "other policies decide");
        }
    }

    async fn put_policies_on_record(&self, acts: &[PolicyAct]) -> Result<(), TakeUpError> {
        let mut until = None;
        for act in acts.iter().filter(|act| !act.journalled) {
            self.journal.append(record(act)).await?;
            until = Some(act.number);
        }
        if let Some(until) = until {
            self.state
                .store()
                .note_policy_acts_journalled(until)
                .await?;
        }
        Ok(())
    }

    async fn take_up_shadow(&self, standing: &Standing) {
        let publishing = &self.publishing;
        let snapshot = Arc::clone(&self.live.current());
        let running = publishing.shadow();
        let Some(wanted) = standing.shadow() else {
            if running.is_some() || publishing.shadow_fault().is_some() {
                publishing.shadow.store(None);
                publishing.shadow_fault.store(None);
            }
            self.metrics.begin_policy_shadow(None);
            return;
        };
        let is_same = running
            .as_ref()
            .is_some_and(|shadow| *shadow.revision == *wanted);
        let is_beside = running
            .as_ref()
            .is_some_and(|shadow| shadow.is_beside(&snapshot));
        if is_same && is_beside {
            return;
        }
        match publishing.registry.opened(wanted).await {
            Ok(set) => {
                let before = publishing.standing();
                let same_live = before.live() == standing.live();
                let tally = match running.filter(|_| is_same && same_live) {
                    Some(shadow) => Arc::clone(&shadow.tally),
                    None => {
                        let compared = self.metrics.begin_policy_shadow(Some(wanted));
                        Arc::new(Tally::new(self.inputs.clock.now(), compared))
                    }
                };
                let shadow = Shadow::new(set, &snapshot, tally);
                publishing.shadow_fault.store(None);
                publishing.shadow.store(Some(Arc::new(shadow)));
            }
            Err(error) => publishing.fail_shadow(error.to_string()),
        }
    }
}

/// An act, as the journal holds it.
fn record(act: &PolicyAct) -> Vec<u8> {
    signed(
        serde_json::json!({
            "v": wire::record::RECORD_VERSION,
            "kind": "policies",
            "act": act.kind.as_str(),
            "number": act.number,
            "at": wire::time::format(act.at),
            "revision": act.revision,
            "previous": act.previous,
            "why": act.why,
        }),
        &act.by,
    )
    .to_string()
    .into_bytes()
}
