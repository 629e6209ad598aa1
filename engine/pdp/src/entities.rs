//! Single entities that somebody stores: held against the schema, durable, then in effect.
//!
//! What is stored here goes over the file of entities. Every change has a number; the directory's
//! revision is that of the file and the number of the last change, so that the entities of any
//! decision can be put together again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use domain::{EntityRef, Timestamp};
use policy::{ChangeError, Directory, Entry, Finding, Policies, Source};
use serde_json::json;
use store::journal::AppendError;
use store::sqlite::{EntityChange, NewEntityChange, NewSecurityEvent, StoreError};

use crate::access::signed;
use crate::app::App;
use crate::engine::Snapshot;
use crate::monitor::Look;
use crate::telling::claims;

/// Longest reason that is kept, bytes.
const WHY_MAX: usize = 1000;
/// Entities that a record of a change names; more are counted, and are in its digest.
const NAMED_MAX: usize = 100;
/// Changes that are put on record at once after a crash.
const GROUP: u32 = 1000;
/// Changed entities whose sessions are looked at at once.
const LOOKED_AT_MOST: usize = 100;
/// Entities whose faults are told, of many that are loaded at once.
const TOLD_MAX: usize = 100;

/// What is to become of one entity.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Its name.
    pub name: EntityRef,
    /// Cedar's JSON form without `uid`; none: it is to be stored no more.
    pub body: Option<String>,
}

/// What must hold of the one entity that is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Its entity tag (RFC 9110 §13.1.1).
    pub tag: Option<String>,
    /// That it is not there.
    pub is_new: bool,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RefusedError {
    /// Entities do not fit the schema: by position in what was sent, from 0.
    #[error("entities do not fit the schema")]
    Unfit(Vec<(usize, Finding)>),
    /// The family would make no sense.
    #[error("{0}")]
    Change(#[from] ChangeError),
    /// It stands in the file alone.
    #[error(
        "{0} stands in the file of entities alone: take it out there, or store it with `PUT` to go over it"
    )]
    InFile(EntityRef),
    /// It is not stored.
    #[error("no such entity is stored")]
    NotStored,
    /// Somebody else has changed it meanwhile.
    #[error("the entity is another one by now; read it again, then decide again")]
    Condition,
    /// There would be too many.
    #[error(
        "there would be {0} entities, more than `limits.entities` {1}; raise it, or delete some"
    )]
    TooMany(usize, usize),
    /// The reason is too long.
    #[error("`why` is longer than {WHY_MAX} bytes")]
    LongWhy,
    /// The store refused.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The work broke off.
    #[error("the work broke off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// What was done.
#[derive(Debug)]
pub struct Done {
    /// How many entities are others than before.
    pub changed: usize,
    /// The number of the last change; that before, if nothing was changed.
    pub number: Option<u64>,
    /// Whether the first of them was not there before.
    pub created: bool,
    /// What the directory is called now.
    pub revision: Arc<str>,
    /// Whether it is on record. If not, it counts all the same, and the engine goes on trying.
    pub recorded: Result<(), String>,
}

/// How far changes are on record. Told to the store with the next change.
#[derive(Debug, Default)]
pub struct Recorded(AtomicU64);

/// Changes that are known to make sense together.
#[derive(Debug)]
struct Checked {
    changes: Vec<NewEntityChange>,
    /// None when nothing changes.
    directory: Option<Directory>,
    created: bool,
}

impl App {
    /// Stores entities, or stops storing them: all or none. Durable and in effect when this
    /// returns.
    ///
    /// # Errors
    /// When it is refused; then nothing has changed.
    pub async fn change_entities(
        self: &Arc<Self>,
        wishes: Vec<Wish>,
        condition: Condition,
        by: String,
        why: Option<String>,
    ) -> Result<Done, RefusedError> {
        if why.as_ref().is_some_and(|why| why.len() > WHY_MAX) {
            return Err(RefusedError::LongWhy);
        }
        let app = Arc::clone(self);
        // To the end, whether or not the client waits: half of it would leave the memory as it
        // was.
        tokio::spawn(async move { app.change(wishes, condition, by, why).await }).await?
    }

    /// What others have to know of changes.
    fn told_of(
        &self,
        before: &Snapshot,
        changes: &[NewEntityChange],
        about: (&str, Timestamp, Option<&str>),
    ) -> Vec<NewSecurityEvent> {
        let settings = &self.settings;
        let is_subject = |kind: &str| {
            settings
                .risk
                .interactive_types
                .iter()
                .any(|one| one == kind)
                || settings.service_type == kind
        };
        claims::changes(before, is_subject, changes, about)
    }

    /// Has the sessions of those looked at that were changed. What is in a group that changed, and
    /// what is changed in bulk, is found by the sweep that follows another revision.
    fn look_at_subjects(&self, changes: &[NewEntityChange]) {
        for change in changes.iter().take(LOOKED_AT_MOST) {
            if let Ok(subject) = EntityRef::new(change.kind.as_str(), change.id.as_str()) {
                self.monitor.look_at(Look::Subject(subject), "entity");
            }
        }
    }

    async fn change(
        self: Arc<Self>,
        wishes: Vec<Wish>,
        condition: Condition,
        by: String,
        why: Option<String>,
    ) -> Result<Done, RefusedError> {
        let _alone = self.models.swapping.lock().await;
        let snapshot = Arc::clone(&self.live.current());
        if condition != Condition::default()
            && let [wish] = wishes.as_slice()
        {
            let tag = self.entity_tag(&snapshot, &wish.name).await?;
            let fits = match (&condition.tag, condition.is_new) {
                (_, true) => tag.is_none(),
                (wanted, false) => *wanted == tag,
            };
            if !fits {
                return Err(RefusedError::Condition);
            }
        }
        let limit = self.settings.limits.entities;
        let checked = {
            let snapshot = Arc::clone(&snapshot);
            tokio::task::spawn_blocking(move || check(&snapshot, wishes, limit)).await??
        };
        let mut done = Done {
            changed: checked.changes.len(),
            number: None,
            created: checked.created,
            revision: Arc::clone(&snapshot.revisions.entities),
            recorded: Ok(()),
        };
        let Some(directory) = checked.directory else {
            // Told again, perhaps because it is not on record yet.
            done.recorded = self.record_entity_changes().await;
            return Ok(done);
        };
        let now = self.inputs.clock.now();
        let recorded = self.entities_recorded.0.load(Ordering::Relaxed);
        let told = self.told_of(&snapshot, &checked.changes, (&by, now, why.as_deref()));
        let store = self.state.store();
        let added =
            store.add_entity_changes(&checked.changes, &by, now, why.as_deref(), recorded, &told);
        let first = added.await?;
        let last = first.saturating_add(checked.changes.len() as u64 - 1);
        let directory = Arc::new(directory.numbered(last));
        done.number = Some(last);
        done.revision = Arc::from(directory.revision());
        self.change_shadow(&checked.changes, last);
        self.live.renew_directory(&directory);
        self.look_at_subjects(&checked.changes);
        done.recorded = if recorded.saturating_add(1) == first {
            let record = record(first, &checked.changes, &by, now, why.as_deref());
            let recorded = self.record_change(&record, last).await;
            recorded.map_err(|error| error.to_string())
        } else {
            // Something before it is not on record yet.
            self.record_entity_changes().await
        };
        Ok(done)
    }

    /// The same for the entities under a candidate's own schema.
    fn change_shadow(&self, changes: &[NewEntityChange], last: u64) {
        let Some(shadow) = self.publishing.shadow() else {
            return;
        };
        let Some((policies, directory)) = shadow.own_entities() else {
            return;
        };
        match changed_alike(policies, &directory.load(), changes, last) {
            Ok(changed) => directory.store(Arc::new(changed)),
            Err(why) => self.publishing.fail_shadow(why),
        }
    }

    /// The tag of an entity: the number of its last change, or the file's revision. None when it
    /// is not stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn entity_tag(
        &self,
        snapshot: &Snapshot,
        name: &EntityRef,
    ) -> Result<Option<String>, StoreError> {
        let (kind, id) = (name.kind.as_str(), name.id.as_str());
        let directory = &snapshot.directory;
        Ok(match directory.source(&snapshot.policies, name) {
            None => None,
            Some(Source::File) => Some(format!("\"{}\"", directory.file_revision())),
            Some(Source::Api) => {
                let change = self.state.store().entity_change(kind, id).await?;
                change.map(|change| format!("\"{}\"", change.number))
            }
        })
    }

    async fn record_change(&self, record: &[u8], last: u64) -> Result<(), AppendError> {
        self.journal.append(record.to_vec()).await?;
        self.entities_recorded.0.fetch_max(last, Ordering::Relaxed);
        Ok(())
    }

    /// Puts on record what a crash kept from it. A change may come to be on record twice, by the
    /// same number.
    ///
    /// # Errors
    /// In words, when store or journal refuse; it is tried again with the next change, and at
    /// the next start.
    pub(crate) async fn record_entity_changes(&self) -> Result<(), String> {
        loop {
            let after = self.entities_recorded.0.load(Ordering::Relaxed);
            let open = self.state.store().entity_changes_to_journal(after, GROUP);
            let open = open.await.map_err(|error| error.to_string())?;
            let (Some(first), Some(last)) = (open.first(), open.last()) else {
                let last = self.state.store().last_entity_change().await;
                let last = last.map_err(|error| error.to_string())?;
                self.entities_recorded.0.fetch_max(last, Ordering::Relaxed);
                return Ok(());
            };
            // One record for those that were made together.
            let (number, at, by) = (first.number, first.at, first.by.clone());
            let why = first.why.clone();
            let alike = |change: &&EntityChange| change.at == at && change.by == by;
            let changes: Vec<NewEntityChange> = open
                .iter()
                .take_while(alike)
                .map(|change| change.change.clone())
                .collect();
            let last = last
                .number
                .min(number.saturating_add(changes.len() as u64 - 1));
            self.record_change(&record(number, &changes, &by, at, why.as_deref()), last)
                .await
                .map_err(|error| error.to_string())?;
        }
    }
}

/// Holds wishes against the schema, the file and one another; leaves out those that change
/// nothing.
fn check(snapshot: &Snapshot, wishes: Vec<Wish>, limit: usize) -> Result<Checked, RefusedError> {
    let (policies, directory) = (&*snapshot.policies, &*snapshot.directory);
    let (mut changes, mut entries, mut unfit) = (Vec::new(), Vec::new(), Vec::new());
    let mut created = false;
    for (position, Wish { name, body }) in wishes.into_iter().enumerate() {
        let read = match &body {
            Some(body) => Entry::read(policies, &name, body),
            None => Entry::removed(policies, &name),
        };
        let entry = match read {
            Ok(entry) => entry,
            Err(findings) => {
                if unfit.len() < TOLD_MAX {
                    unfit.extend(findings.into_iter().map(|finding| (position, finding)));
                }
                continue;
            }
        };
        let source = directory.source(policies, &name);
        let body = entry.text();
        match (&body, source) {
            (None, None) => return Err(RefusedError::NotStored),
            (None, Some(Source::File)) => return Err(RefusedError::InFile(name)),
            (Some(body), Some(Source::Api)) => {
                let is_same = directory
                    .shown(policies, &name)
                    .is_some_and(|shown| shown.text == *body);
                if is_same {
                    continue;
                }
            }
            (Some(_), _) | (None, Some(Source::Api)) => {}
        }
        created |= position == 0 && source.is_none();
        changes.push(NewEntityChange {
            kind: name.kind.as_str().to_owned(),
            id: name.id.as_str().to_owned(),
            body,
        });
        entries.push(entry);
    }
    if !unfit.is_empty() {
        return Err(RefusedError::Unfit(unfit));
    }
    if changes.is_empty() {
        return Ok(Checked {
            changes,
            directory: None,
            created,
        });
    }
    let directory = directory.with_changes(policies, entries, 0)?;
    if directory.len() > limit && directory.len() > snapshot.directory.len() {
        return Err(RefusedError::TooMany(directory.len(), limit));
    }
    Ok(Checked {
        changes,
        directory: Some(directory),
        created,
    })
}

fn changed_alike(
    policies: &Policies,
    directory: &Directory,
    changes: &[NewEntityChange],
    last: u64,
) -> Result<Directory, String> {
    let entries: Result<Vec<Entry>, String> = changes
        .iter()
        .map(|change| {
            let name = EntityRef::new(change.kind.as_str(), change.id.as_str());
            let name = name.map_err(|error| error.to_string())?;
            let read = match &change.body {
                Some(body) => Entry::read(policies, &name, body),
                None => Entry::removed(policies, &name),
            };
            read.map_err(|findings| {
                let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
                format!("{name} does not fit its schema: {}", findings.join("; "))
            })
        })
        .collect();
    directory
        .with_changes(policies, entries?, last)
        .map_err(|error| error.to_string())
}

/// Changes that were made together, as the journal holds them: the first hundred by name, all of
/// them by a digest over their numbers and what was stored.
fn record(
    first: u64,
    changes: &[NewEntityChange],
    by: &str,
    at: Timestamp,
    why: Option<&str>,
) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    for change in changes {
        let body = change.body.as_deref();
        for part in [&change.kind, &change.id, body.unwrap_or_default()] {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        digest.update(&[u8::from(body.is_some())]);
    }
    let named: Vec<_> = changes
        .iter()
        .take(NAMED_MAX)
        .map(|change| {
            json!({
                "type": change.kind,
                "id": change.id,
                "act": if change.body.is_some() { "stored" } else { "deleted" },
            })
        })
        .collect();
    signed(
        json!({
            "v": wire::record::RECORD_VERSION,
            "kind": "entities",
            "at": wire::time::format(at),
            "first": first,
            "count": changes.len(),
            "entities": named,
            "digest": hex::encode(digest.finish().as_ref()),
            "why": why,
        }),
        by,
    )
    .to_string()
    .into_bytes()
}
