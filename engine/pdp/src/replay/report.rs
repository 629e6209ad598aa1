//! What a replay found: how many answers would be others, whose, and because of which policies.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::{Decision, Rung, Timestamp};
use serde_json::{Value, json};
use wire::record::replay::Recorded;

use super::NotComparable;

/// Subjects, resources or policies that are counted one by one at most.
const COUNTED_MAX: usize = 100_000;
/// Different reasons for not comparing that are told apart at most.
const REASONS_MAX: usize = 100;
/// How many of the most affected are shown.
const SHOWN: usize = 10;

/// What a policy has to do with an answer that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// It stands in the way and did not before.
    ForbidsNow,
    /// It stood in the way and does not now.
    ForbidsNoLonger,
    /// It lets through and did not before.
    PermitsNow,
    /// It let through and does not now.
    PermitsNoLonger,
}

impl Part {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForbidsNow => "forbids now",
            Self::ForbidsNoLonger => "forbids no longer",
            Self::PermitsNow => "permits now",
            Self::PermitsNoLonger => "permits no longer",
        }
    }
}

/// One decision whose answer would be another, or is not the one on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its id.
    pub decision_id: String,
    /// When it was made.
    pub at: Timestamp,
    /// `User::"alice"`.
    pub subject: String,
    /// The action's name.
    pub action: String,
    /// `Document::"payroll"`.
    pub resource: String,
    /// What was answered, and on which score.
    pub was: (Rung, u8),
    /// What would be.
    pub is: (Rung, u8),
    /// The code of what settles it.
    pub cause: &'static str,
    /// Which policies it is due to.
    pub due_to: Vec<(String, Part)>,
    /// What differs, where a record is held against itself.
    pub difference: Option<String>,
}

impl Change {
    /// Of a record and what is made of it now.
    #[must_use]
    pub fn of(recorded: &Recorded, again: &Decision, difference: Option<String>) -> Self {
        let request = &recorded.request;
        Self {
            decision_id: recorded.decision_id.clone(),
            at: recorded.at,
            subject: request.subject.entity.to_string(),
            action: request.action.name.to_string(),
            resource: request.resource.entity.to_string(),
            was: (recorded.outcome, recorded.risk.score.points()),
            is: (again.rung, again.risk.score.points()),
            cause: again.cause.code(),
            due_to: due_to(recorded, again),
            difference,
        }
    }

    /// What became of it, as counts and limits call it.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::of(self.was.0, self.is.0)
    }

    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "decision_id": self.decision_id,
            "at": wire::time::format(self.at),
            "subject": self.subject,
            "action": self.action,
            "resource": self.resource,
            "was": self.was.0.as_str(),
            "is": self.is.0.as_str(),
            "score_was": self.was.1,
            "score_is": self.is.1,
            "cause": self.cause,
            "due_to": self.due_to.iter().map(|(id, part)| json!({
                "policy": id, "part": part.as_str(),
            })).collect::<Vec<_>>(),
            "difference": self.difference,
        })
    }
}

/// The policies that an answer's change is due to.
fn due_to(recorded: &Recorded, again: &Decision) -> Vec<(String, Part)> {
    let new: Vec<&str> = again.policies.iter().map(|policy| &*policy.id).collect();
    let old: Vec<&str> = recorded.policies.iter().map(String::as_str).collect();
    // What settled an allow are permits, and forbids everything else.
    let [did, does] = [recorded.outcome, again.rung].map(|rung| rung == Rung::Allow);
    let named = |ids: &[&str], others: &[&str], part: Part| -> Vec<(String, Part)> {
        let apart = ids.iter().filter(|id| did != does || !others.contains(id));
        apart.map(|id| ((*id).to_owned(), part)).collect()
    };
    let gone = if did {
        Part::PermitsNoLonger
    } else {
        Part::ForbidsNoLonger
    };
    let come = if does {
        Part::PermitsNow
    } else {
        Part::ForbidsNow
    };
    // What stands in the way now is why there is more friction, what stood in the way why there
    // was; the other side only where there is nothing of the kind.
    let [gone, come] = [named(&old, &new, gone), named(&new, &old, come)];
    let eased = again.rung < recorded.outcome;
    match (eased, gone.is_empty(), come.is_empty()) {
        (true, false, _) | (false, _, true) => gone,
        _ => come,
    }
}

/// What became of an answer that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was none and is a deny.
    NewlyDenied,
    /// More friction, but no deny.
    NewlySteppedUp,
    /// Less friction.
    Eased,
}

impl Kind {
    fn of(was: Rung, is: Rung) -> Option<Self> {
        match was.cmp(&is) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(Self::Eased),
            std::cmp::Ordering::Less if is == Rung::Deny => Some(Self::NewlyDenied),
            std::cmp::Ordering::Less => Some(Self::NewlySteppedUp),
        }
    }
}

/// Counts by name, for a bounded number of names.
#[derive(Debug)]
pub struct Counted<K> {
    counts: HashMap<K, [u64; 3]>,
    /// Counted under no name, because there were too many.
    others: u64,
}

impl<K> Default for Counted<K> {
    fn default() -> Self {
        Self {
            counts: HashMap::new(),
            others: 0,
        }
    }
}

impl<K: std::hash::Hash + Eq + Ord + Clone> Counted<K> {
    fn add(&mut self, name: &K, kind: Kind) {
        if !self.counts.contains_key(name) && self.counts.len() >= COUNTED_MAX {
            self.others += 1;
            return;
        }
        let counts = self.counts.entry(name.clone()).or_default();
        if let Some(count) = counts.get_mut(kind as usize) {
            *count += 1;
        }
    }

    /// The names with the highest counts: newly denied, newly stepped up, eased.
    #[must_use]
    pub fn top(&self) -> Vec<(K, [u64; 3])> {
        let mut all: Vec<(K, [u64; 3])> = self
            .counts
            .iter()
            .map(|(name, counts)| (name.clone(), *counts))
            .collect();
        let sum = |counts: &[u64; 3]| counts.iter().sum::<u64>();
        all.sort_by(|a, b| sum(&b.1).cmp(&sum(&a.1)).then_with(|| a.0.cmp(&b.0)));
        all.truncate(SHOWN);
        all
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// What a part of the records came to.
#[derive(Debug, Default)]
pub struct Partial {
    /// Outcome on record by outcome now.
    pub matrix: [[u64; 4]; 4],
    /// Answers that changed, or records that are not their own.
    pub changes: Vec<Change>,
    /// The same answer, settled by other policies.
    pub otherwise_settled: u64,
    /// Why some could not be compared.
    pub not_comparable: HashMap<NotComparable, u64>,
    /// When the first and the last were decided.
    pub span: Option<(Timestamp, Timestamp)>,
}

impl Partial {
    /// Counts one decision in.
    pub fn saw(&mut self, at: Timestamp) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }

    /// Counts one pair of outcomes.
    pub fn compared(&mut self, was: Rung, is: Rung) {
        let cell = self.matrix.get_mut(was as usize);
        if let Some(count) = cell.and_then(|row| row.get_mut(is as usize)) {
            *count += 1;
        }
    }
}

/// What all of them came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Outcome on record by outcome now.
    pub matrix: [[u64; 4]; 4],
    /// Records that do not decide the same by their own revisions.
    pub differing: u64,
    /// The same answer, settled by other policies.
    pub otherwise_settled: u64,
    /// Why some could not be compared, and how many.
    pub not_comparable: BTreeMap<String, u64>,
    /// Who would be affected.
    pub subjects: Counted<String>,
    /// What would be affected.
    pub resources: Counted<String>,
    /// Which policies it is due to.
    pub policies: Counted<(String, Part)>,
    /// Some that changed, in the order of the journal.
    pub examples: Vec<Change>,
    /// How many of them are kept.
    pub examples_max: usize,
    /// When the first and the last were decided.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Whether there would have been more within the time asked for.
    pub cut_short: bool,
}

impl Report {
    /// Adds what the next part of the records came to.
    pub fn absorb(&mut self, partial: Partial) {
        for (row, more) in self.matrix.iter_mut().zip(partial.matrix) {
            for (count, more) in row.iter_mut().zip(more) {
                *count += more;
            }
        }
        self.otherwise_settled += partial.otherwise_settled;
        let mut reasons: Vec<(String, u64)> = partial
            .not_comparable
            .into_iter()
            .map(|(reason, count)| (reason.to_string(), count))
            .collect();
        reasons.sort();
        for (reason, count) in reasons {
            let known = self.not_comparable.contains_key(&reason);
            let reason = if known || self.not_comparable.len() < REASONS_MAX {
                reason
            } else {
                "for other reasons".to_owned()
            };
            *self.not_comparable.entry(reason).or_default() += count;
        }
        for change in partial.changes {
            if let Some(kind) = change.kind() {
                self.subjects.add(&change.subject, kind);
                self.resources.add(&change.resource, kind);
                for due in &change.due_to {
                    self.policies.add(due, kind);
                }
            }
            self.differing += u64::from(change.difference.is_some());
            if self.examples.len() < self.examples_max {
                self.examples.push(change);
            }
        }
        if let Some((first, last)) = partial.span {
            let (from, to) = self.span.unwrap_or((first, last));
            self.span = Some((from.min(first), to.max(last)));
        }
    }

    /// How many were compared.
    #[must_use]
    pub fn compared(&self) -> u64 {
        self.matrix.iter().flatten().sum()
    }

    /// How many could not be.
    #[must_use]
    pub fn uncompared(&self) -> u64 {
        self.not_comparable.values().sum()
    }

    /// How many changed in one way.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        let mut count = 0;
        for (was, row) in Rung::ALL.iter().zip(&self.matrix) {
            for (is, number) in Rung::ALL.iter().zip(row) {
                if Kind::of(*was, *is) == Some(kind) {
                    count += number;
                }
            }
        }
        count
    }

    /// How many changed at all.
    #[must_use]
    pub fn changed(&self) -> u64 {
        [Kind::NewlyDenied, Kind::NewlySteppedUp, Kind::Eased]
            .map(|kind| self.count(kind))
            .iter()
            .sum()
    }

    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let row = |row: &[u64; 4]| -> Value {
            let names = Rung::ALL.iter().map(|rung| rung.as_str().to_owned());
            names.zip(row.iter().map(|count| json!(count))).collect()
        };
        let matrix: serde_json::Map<String, Value> = Rung::ALL
            .iter()
            .zip(&self.matrix)
            .map(|(rung, counts)| (rung.as_str().to_owned(), row(counts)))
            .collect();
        let affected = |counted: &Counted<String>| {
            json!({
                "count": counted.len(),
                "others": counted.others,
                "top": counted.top().into_iter().map(|(name, [denied, stepped_up, eased])| json!({
                    "name": name,
                    "newly_denied": denied,
                    "newly_stepped_up": stepped_up,
                    "eased": eased,
                })).collect::<Vec<_>>(),
            })
        };
        let (from, to) = self.span.unzip();
        json!({
            "decisions": self.compared() + self.uncompared(),
            "compared": self.compared(),
            "not_comparable": self.uncompared(),
            "not_comparable_because": self.not_comparable,
            "from": from.map(wire::time::format),
            "to": to.map(wire::time::format),
            "cut_short": self.cut_short,
            "matrix": matrix,
            "changed": self.changed(),
            "newly_denied": self.count(Kind::NewlyDenied),
            "newly_stepped_up": self.count(Kind::NewlySteppedUp),
            "eased": self.count(Kind::Eased),
            "otherwise_settled": self.otherwise_settled,
            "differing": self.differing,
            "subjects": affected(&self.subjects),
            "resources": affected(&self.resources),
            "policies": self.policies.top().into_iter().map(|((id, part), [denied, stepped_up, eased])| json!({
                "policy": id,
                "part": part.as_str(),
                "newly_denied": denied,
                "newly_stepped_up": stepped_up,
                "eased": eased,
            })).collect::<Vec<_>>(),
            "examples": self.examples.iter().map(Change::to_json).collect::<Vec<_>>(),
        })
    }
}

/// The ids of policies, to hold against others.
#[must_use]
pub fn same_ids(recorded: &Recorded, again: &[Arc<domain::DecidingPolicy>]) -> bool {
    recorded
        .policies
        .iter()
        .map(String::as_str)
        .eq(again.iter().map(|policy| &*policy.id))
}
