//! One page of a search: the candidates in their order, each decided by the one `decide`.
//!
//! Synchronous and bounded, like a decision: a page ends when it is full, when it has cost enough,
//! or when its time is over, and says where the next one begins.

use domain::{AccessRequest, Name, Rung, Signal, Timestamp};
use policy::{Side, search::Candidates};
use risk::Signals;
use wire::search::Sought;

use crate::engine::{Ask, Snapshot, decide_at};
use crate::pip;

/// What a decision costs, in candidates that the permits' own conditions settle.
const COST_OF_DECISION: usize = 8;

/// A search, with everything that was gathered for it.
#[derive(Clone, Copy, Debug)]
pub struct Quest<'a> {
    /// What is sought.
    pub sought: Sought,
    /// The question; the id, or the name, of what is sought means nothing.
    pub request: &'a AccessRequest,
    /// What is known besides. Nothing in it depends on what is sought but the sensitivity, which
    /// is looked up for each resource.
    pub signals: &'a Signals,
    /// What decides.
    pub snapshot: &'a Snapshot,
    /// The stored attribute that says how sensitive a resource is.
    pub sensitivity_attribute: &'a str,
    /// The attribute of resources that says how large they are.
    pub size_attribute: &'a str,
    /// The engine's clock.
    pub now: Timestamp,
}

/// Where a page ends.
#[derive(Clone, Copy)]
pub struct Bounds<'a> {
    /// Most results.
    pub results: usize,
    /// Most decisions; eight candidates that need none count as one.
    pub evaluations: usize,
    /// Whether the time is over.
    pub expired: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Bounds<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounds")
            .field("results", &self.results)
            .field("evaluations", &self.evaluations)
            .finish_non_exhaustive()
    }
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Ids, or names of actions, whose outcome is `allow`.
    pub found: Vec<Name>,
    /// Where the next page begins; none when there is nothing more to look at.
    pub next: Option<usize>,
    /// Decisions that were made.
    pub evaluated: usize,
}

/// What is looked at.
#[derive(Debug)]
enum Sequence<'a> {
    Stored(Candidates<'a>),
    Actions(Vec<Name>),
}

impl Sequence<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Stored(candidates) => candidates.len(),
            Self::Actions(names) => names.len(),
        }
    }

    fn name(&self, number: usize) -> Option<Name> {
        match self {
            Self::Stored(candidates) => candidates.id(number),
            Self::Actions(names) => names.get(number).cloned(),
        }
    }

    fn may_be_permitted(&self, number: usize) -> bool {
        match self {
            Self::Stored(candidates) => candidates.may_be_permitted(number),
            Self::Actions(_) => true,
        }
    }
}

impl Quest<'_> {
    fn sequence(&self) -> Sequence<'_> {
        let Snapshot {
            policies,
            directory,
            ..
        } = self.snapshot;
        let side = match self.sought {
            Sought::Subject => Side::Principal,
            Sought::Resource => Side::Resource,
            Sought::Action => {
                let (subject, resource) = (&self.request.subject, &self.request.resource);
                let names = policies.actions_between(&subject.entity, &resource.entity);
                return Sequence::Actions(names);
            }
        };
        Sequence::Stored(policies.candidates(directory, self.request, side))
    }

    /// Looks from a place on, until the page is full or a bound is met. At least one candidate is
    /// looked at, so that every page goes on.
    #[must_use]
    pub fn page(&self, from: usize, bounds: &Bounds<'_>) -> Page {
        let sequence = self.sequence();
        let mut request = self.request.clone();
        let mut signals = self.signals.clone();
        let ask = Ask {
            riskless: self.sought == Sought::Subject,
            only_allow: true,
        };
        let mut page = Page {
            found: Vec::new(),
            next: None,
            evaluated: 0,
        };
        let most = bounds.evaluations.saturating_mul(COST_OF_DECISION);
        let mut cost = 0;
        for number in from..sequence.len() {
            let over = number > from && (cost >= most || (bounds.expired)());
            if over || page.found.len() >= bounds.results {
                page.next = Some(number);
                break;
            }
            cost += 1;
            if !sequence.may_be_permitted(number) {
                continue;
            }
            let Some(name) = sequence.name(number) else {
                continue;
            };
            match self.sought {
                Sought::Subject => request.subject.entity.id = name.clone(),
                Sought::Resource => {
                    request.resource.entity.id = name.clone();
                    // A source that failed has failed for every resource.
                    for (signal, attribute) in [
                        (&mut signals.sensitivity, self.sensitivity_attribute),
                        (&mut signals.size, self.size_attribute),
                    ] {
                        if *signal != Signal::Unavailable {
                            *signal = pip::of_resource(&request, self.snapshot, attribute);
                        }
                    }
                }
                Sought::Action => request.action.name = name.clone(),
            }
            cost += COST_OF_DECISION - 1;
            page.evaluated += 1;
            let outcome = decide_at(&request, &signals, self.snapshot, self.now, ask);
            if outcome.decision.rung == Rung::Allow {
                page.found.push(name);
            }
        }
        page
    }
}
