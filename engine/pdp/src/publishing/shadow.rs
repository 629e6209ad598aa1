//! The candidate: policies that are asked what the live ones have just decided, are never heard,
//! and are counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use domain::{AccessRequest, Cause, Rung, Timestamp};
use policy::{Directory, Policies, Question};
use prometheus_client::metrics::counter::Counter;

use crate::engine::{Outcome, Snapshot};
use crate::snapshot::Set;

/// Differing decisions that are named.
const EXAMPLES: usize = 20;

/// Of so many accesses one has on record what the candidate makes of it.
const ON_RECORD_ONE_IN: u8 = 16;

/// Accesses by the live set's outcome, then the candidate's.
pub type Matrix = [[Counter; Rung::ALL.len()]; Rung::ALL.len()];

/// One access that the candidate would decide otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The decision.
    pub decision_id: String,
    /// What was answered.
    pub live: Rung,
    /// What the candidate makes of it.
    pub shadow: Rung,
}

/// What has come of a candidate so far, in this process.
#[derive(Debug)]
pub struct Tally {
    /// Since when it is evaluated by this process.
    pub since: Timestamp,
    compared: Matrix,
    examples: Mutex<VecDeque<Example>>,
}

impl Tally {
    /// Nothing compared yet.
    #[must_use]
    pub fn new(since: Timestamp, compared: Matrix) -> Self {
        Self {
            since,
            compared,
            examples: Mutex::default(),
        }
    }

    /// How often it was this outcome of the live set, and that of the candidate.
    #[must_use]
    pub fn count(&self, live: Rung, shadow: Rung) -> u64 {
        let row = self.compared.get(live as usize);
        let counter = row.and_then(|row| row.get(shadow as usize));
        counter.map_or(0, Counter::get)
    }

    /// The last accesses that it would decide otherwise, the newest first.
    #[must_use]
    pub fn examples(&self) -> Vec<Example> {
        let examples = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
        examples.iter().cloned().collect()
    }

    fn note(&self, decision_id: &str, live: Rung, shadow: Rung) {
        let row = self.compared.get(live as usize);
        if let Some(counter) = row.and_then(|row| row.get(shadow as usize)) {
            counter.inc();
        }
        if live != shadow {
            let mut examples = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
            examples.truncate(EXAMPLES - 1);
            examples.push_front(Example {
                decision_id: decision_id.to_owned(),
                live,
                shadow,
            });
        }
    }
}

/// A candidate at work beside one live set.
#[derive(Debug)]
pub struct Shadow {
    /// Which set it is.
    pub revision: Arc<str>,
    /// What has come of it so far.
    pub tally: Arc<Tally>,
    policies: Arc<Policies>,
    /// The live set that it is compared with.
    beside: Arc<Policies>,
    /// The entities under its own schema; none where that is the live one's.
    directory: Option<ArcSwap<Directory>>,
}

impl Shadow {
    /// Beside the live set of a snapshot.
    #[must_use]
    pub fn new(set: Set, snapshot: &Snapshot, tally: Arc<Tally>) -> Self {
        let shares = set.policies.has_schema_of(&snapshot.policies);
        Self {
            revision: Arc::from(set.policies.revision()),
            tally,
            beside: Arc::clone(&snapshot.policies),
            directory: (!shares).then(|| ArcSwap::new(set.directory)),
            policies: set.policies,
        }
    }

    /// Whether it is compared with the live set of this snapshot.
    #[must_use]
    pub fn is_beside(&self, snapshot: &Snapshot) -> bool {
        Arc::ptr_eq(&self.beside, &snapshot.policies)
    }

    /// Its policies, and its own entities, if its schema is not the live one's.
    #[must_use]
    pub fn own_entities(&self) -> Option<(&Arc<Policies>, &ArcSwap<Directory>)> {
        let directory = self.directory.as_ref()?;
        Some((&self.policies, directory))
    }

    /// Asks it about what the live set has just decided, by the same evidence and score. Takes
    /// what it needs by reference: whatever comes of it, the decision is made. None where no
    /// policy was asked, or another live set.
    pub fn look(
        &self,
        request: &AccessRequest,
        outcome: &Outcome,
        snapshot: &Snapshot,
        decision_id: &str,
    ) -> Option<Rung> {
        if !self.is_beside(snapshot) || !was_asked(&outcome.decision.cause) {
            return None;
        }
        let question = Question {
            request,
            facts: &outcome.evidence.facts,
            assurance: outcome.evidence.assurance,
            now: outcome.time,
            interactive: snapshot
                .settings
                .is_interactive(request.subject.entity.kind.as_str()),
        };
        let climb = match &self.directory {
            Some(own) => self.policies.climb(&own.load(), &question),
            None => self.policies.climb(&snapshot.directory, &question),
        };
        self.tally
            .note(decision_id, outcome.decision.rung, climb.rung);
        Some(climb.rung)
    }
}

/// Whether the policies were asked, or it was settled before.
const fn was_asked(cause: &Cause) -> bool {
    !matches!(
        cause,
        Cause::SnapshotStale
            | Cause::SourceFailed
            | Cause::SessionEnded
            | Cause::SessionOfAnother
            | Cause::HandleSuperseded
            | Cause::ScoreUndefined
    )
}

/// Whether a decision has the candidate's outcome in its record. By chance, so that the records
/// are a fair sample.
#[must_use]
pub const fn is_on_record(chance: u8) -> bool {
    chance.is_multiple_of(ON_RECORD_ONE_IN)
}
