//! The accesses of a session's last minutes: bounded, in memory, gone with a restart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::{AccessRequest, ActionResult, Cause, Rung, Timestamp};

use super::Features;
use crate::extract::Evidence;
use crate::key::Key;

/// Length of the window, seconds (M2).
pub const WINDOW_SECONDS: i64 = 300;
/// Accesses that a session's window keeps at most, some 9 kB of them; the oldest go first.
pub const ACTS_MOST: usize = 128;

/// What became of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was let through.
    Allowed,
    /// A step-up was asked for.
    Asked,
    /// No policy permits it, whatever the risk: not for this subject.
    NotPermitted,
    /// There is no such resource.
    Missing,
    /// A policy forbids it, or it could not be decided.
    Forbidden,
    /// It was told as failed.
    Failed,
}

impl Answer {
    /// By what was decided, and what was told of it.
    #[must_use]
    pub const fn of(rung: Rung, cause: Cause, result: Option<ActionResult>) -> Self {
        match (result, rung, cause) {
            (Some(ActionResult::Failure), ..) => Self::Failed,
            (_, Rung::Allow, _) => Self::Allowed,
            (_, Rung::Challenge | Rung::Mfa, _) => Self::Asked,
            (_, Rung::Deny, Cause::NothingPermits | Cause::ActionDoesNotApply) => {
                Self::NotPermitted
            }
            (_, Rung::Deny, Cause::UnknownResource) => Self::Missing,
            (_, Rung::Deny, _) => Self::Forbidden,
        }
    }
}

/// One access, as far as behaviour goes. Keys, no names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// The action.
    pub action: Key,
    /// The resource's type.
    pub kind: Key,
    /// The resource.
    pub resource: Key,
    /// The number that the resource's id ends in, if it does.
    pub number: Option<u64>,
    /// Which application: who asked, and for whom.
    pub application: Key,
    /// What became of it.
    pub answer: Answer,
    /// The isolation forest's part of its score, 0 to 100.
    pub anomaly: u8,
    /// How large the resource is, bytes; 0 where that is not known.
    pub bytes: f32,
    /// The subject had not touched the resource before.
    pub is_new: bool,
    /// At an hour at which the subject is hardly ever seen.
    pub unusual_hour: bool,
}

impl Act {
    /// An access that was decided: what was asked, what it came to.
    #[must_use]
    pub fn of(
        request: &AccessRequest,
        evidence: &Evidence,
        application: Key,
        answer: Answer,
    ) -> Self {
        let seen = &evidence.observation;
        let words = &evidence.facts.signals;
        let resource = &request.resource.entity;
        let anomaly = evidence.facts.risk.model_score.unwrap_or_default();
        Self {
            at: seen.at,
            action: seen.action,
            kind: Key::of(resource.kind.as_str()),
            resource: seen.resource,
            number: number_at_the_end(resource.id.as_str()),
            application,
            answer,
            anomaly: u8::try_from(anomaly.clamp(0, 100)).unwrap_or_default(),
            bytes: seen.bytes.unwrap_or_default(),
            is_new: words.new_resource == Some(true),
            unusual_hour: words.unusual_hour == Some(true),
        }
    }
}

fn number_at_the_end(id: &str) -> Option<u64> {
    let digits = id.trim_end_matches(|character: char| character.is_ascii_digit());
    id.get(digits.len()..)?.parse().ok()
}

/// The accesses of a session's window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activity {
    acts: VecDeque<Act>,
}

impl Activity {
    /// Takes an access in, and lets go of what is too old or too much.
    pub fn add(&mut self, act: Act) {
        let begin = act.at.plus_seconds(-WINDOW_SECONDS);
        while self.acts.len() >= ACTS_MOST || self.acts.front().is_some_and(|old| old.at <= begin) {
            self.acts.pop_front();
        }
        self.acts.push_back(act);
    }

    /// Whether nothing of it lies in the window any more.
    #[must_use]
    pub fn is_quiet(&self, now: Timestamp) -> bool {
        self.within(now).next().is_none()
    }

    /// Accesses held, in the window or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.acts.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acts.is_empty()
    }

    fn within(&self, now: Timestamp) -> impl Iterator<Item = &Act> {
        let begin = now.plus_seconds(-WINDOW_SECONDS);
        self.acts.iter().filter(move |act| act.at > begin)
    }

    /// Accesses in the window.
    pub(super) fn count(&self, now: Timestamp) -> usize {
        self.within(now).count()
    }

    /// Mean of the forest's parts, rounded.
    pub(super) fn anomaly(&self, now: Timestamp) -> Option<u8> {
        let (count, sum) = self.within(now).fold((0_u64, 0_u64), |(count, sum), act| {
            (count + 1, sum + u64::from(act.anomaly))
        });
        let mean = (2 * sum + count).checked_div(2 * count)?;
        u8::try_from(mean).ok()
    }

    pub(super) fn features(&self, now: Timestamp) -> Features {
        let mut features = Features::default();
        let mut touched = BTreeMap::<Key, bool>::new();
        let mut allowed = BTreeMap::<Key, f32>::new();
        let mut applications = BTreeMap::<Key, bool>::new();
        let (mut kinds, mut actions) = (BTreeSet::new(), BTreeSet::new());
        let (mut refused, mut missing) = (BTreeSet::new(), BTreeSet::new());
        let mut numbers = BTreeSet::new();
        for act in self.within(now) {
            features.accesses += 1;
            features.unusual_hour += usize::from(act.unusual_hour);
            // The first touch says whether it was known: the second knows it from the first.
            let is_new = *touched.entry(act.resource).or_insert(act.is_new);
            let all_new = applications.entry(act.application).or_insert(true);
            *all_new &= is_new;
            kinds.insert(act.kind);
            actions.insert(act.action);
            match act.answer {
                Answer::Allowed => {
                    allowed.insert(act.resource, act.bytes);
                }
                Answer::NotPermitted => {
                    refused.insert((act.action, act.resource));
                    missing.insert((act.kind, act.resource));
                }
                Answer::Missing => {
                    missing.insert((act.kind, act.resource));
                }
                Answer::Asked | Answer::Forbidden | Answer::Failed => {}
            }
            if let Some(number) = act.number {
                numbers.insert((act.kind, number));
            }
        }
        features.resources = allowed.len();
        features.bytes = allowed.values().copied().map(f64::from).sum();
        features.new_resources = touched.values().filter(|new| **new).count();
        features.kinds = kinds.len();
        features.actions = actions.len();
        features.applications = applications.len();
        features.new_applications = applications.values().filter(|new| **new).count();
        features.refused = refused.len();
        features.missing = most_of_one_kind(&missing);
        features.row = longest_row(&numbers);
        features
    }
}

fn most_of_one_kind(found: &BTreeSet<(Key, Key)>) -> usize {
    let mut counts = BTreeMap::<Key, usize>::new();
    for (kind, _) in found {
        *counts.entry(*kind).or_default() += 1;
    }
    counts.values().copied().max().unwrap_or_default()
}

/// The most numbers of one type that follow each other without a gap.
fn longest_row(numbers: &BTreeSet<(Key, u64)>) -> usize {
    let (mut longest, mut row, mut last) = (0, 0, None);
    for (kind, number) in numbers {
        let follows = last.is_some_and(|(before, least)| before == *kind && least + 1 == *number);
        row = if follows { row + 1 } else { 1 };
        longest = longest.max(row);
        // The last number of all has none that follows.
        last = (*number < u64::MAX).then_some((*kind, *number));
    }
    longest
}
