//! A search finds exactly what deciding every stored entity would find, on however many pages.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use domain::{AccessRequest, EntityRef, Name, Rung, Signal, Timestamp, Value};
use pdp::engine::{Ask, Snapshot, decide, decide_at};
use pdp::search::look::{Bounds, Page, Quest};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use risk::{Crowds, Signals};
use wire::search::Sought;

use crate::harness::root;
use crate::scenarios::shipped;
use crate::{properties, slicing};

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(shipped);

const SENSITIVITY: &str = "sensitivity";

/// Type and id of each stored entity.
fn stored(entities: &str) -> Vec<EntityRef> {
    let all: Vec<serde_json::Value> = serde_json::from_str(entities).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    all.iter()
        .map(|one| EntityRef::new(text(&one["uid"]["type"]), text(&one["uid"]["id"])).unwrap())
        .collect()
}

/// What single questions would have allowed.
fn one_by_one(quest: &Quest<'_>, stored: &[EntityRef], actions: &[&str]) -> BTreeSet<Name> {
    let of_type = |kind: &Name| {
        let kind = kind.clone();
        stored.iter().filter(move |entity| entity.kind == kind)
    };
    let allowed = |request: &AccessRequest, signals: &Signals, riskless: bool| {
        let outcome = if riskless {
            let ask = Ask {
                riskless,
                only_allow: false,
            };
            decide_at(request, signals, quest.snapshot, quest.now, ask)
        } else {
            decide(request, signals, quest.snapshot, quest.now)
        };
        outcome.decision.rung == Rung::Allow
    };
    let mut request = quest.request.clone();
    match quest.sought {
        Sought::Subject => {
            let kind = request.subject.entity.kind.clone();
            let found = of_type(&kind).filter(|entity| {
                request.subject.entity = (*entity).clone();
                allowed(&request, quest.signals, true)
            });
            found.map(|entity| entity.id.clone()).collect()
        }
        Sought::Resource => {
            let kind = request.resource.entity.kind.clone();
            let found = of_type(&kind).filter(|entity| {
                request.resource.entity = (*entity).clone();
                let mut signals = quest.signals.clone();
                if signals.sensitivity != Signal::Unavailable {
                    let Snapshot {
                        policies,
                        directory,
                        ..
                    } = quest.snapshot;
                    signals.sensitivity = directory.stored_long(policies, entity, SENSITIVITY);
                }
                allowed(&request, &signals, false)
            });
            found.map(|entity| entity.id.clone()).collect()
        }
        Sought::Action => {
            let names: BTreeSet<Name> = actions
                .iter()
                .map(|name| Name::new(*name).unwrap())
                .collect();
            let found = names.into_iter().filter(|name| {
                request.action.name = name.clone();
                allowed(&request, quest.signals, false)
            });
            found.collect()
        }
    }
}

fn whole(quest: &Quest<'_>) -> Page {
    quest.page(
        0,
        &Bounds {
            results: usize::MAX,
            evaluations: usize::MAX,
            expired: &|| false,
        },
    )
}

/// All pages, each with few results, few decisions, or no time at all.
fn in_pages(quest: &Quest<'_>, results: usize, evaluations: usize, hasty: bool) -> Vec<Name> {
    let (mut found, mut from) = (Vec::new(), 0);
    for _ in 0..1000 {
        let page = quest.page(
            from,
            &Bounds {
                results,
                evaluations,
                expired: &|| hasty,
            },
        );
        assert!(page.found.len() <= results);
        found.extend(page.found);
        match page.next {
            Some(next) => {
                assert!(next > from, "each page goes on");
                from = next;
            }
            None => return found,
        }
    }
    panic!("it never ends");
}

#[derive(Debug, Default)]
struct Tally {
    searches: usize,
    found: usize,
    brute: usize,
    decided: usize,
}

impl Tally {
    fn check(
        &mut self,
        quest: &Quest<'_>,
        stored: &[EntityRef],
        actions: &[&str],
        few: usize,
    ) -> Result<(), TestCaseError> {
        let wanted = one_by_one(quest, stored, actions);
        let page = whole(quest);
        let found: BTreeSet<Name> = page.found.iter().cloned().collect();
        prop_assert_eq!(found.len(), page.found.len(), "nothing twice");
        prop_assert_eq!(&found, &wanted, "{:?} {:?}", quest.sought, quest.request);
        prop_assert_eq!(page.next, None);
        for (results, evaluations, hasty) in [(few, 9, false), (99, few, false), (99, 99, true)] {
            let paged = in_pages(quest, results, evaluations, hasty);
            prop_assert_eq!(&paged, &page.found);
        }
        let kind = match quest.sought {
            Sought::Subject => Some(&quest.request.subject.entity.kind),
            Sought::Resource => Some(&quest.request.resource.entity.kind),
            Sought::Action => None,
        };
        self.searches += 1;
        self.found += found.len();
        if let Some(kind) = kind {
            self.brute += stored.iter().filter(|entity| entity.kind == *kind).count();
            self.decided += page.evaluated;
        }
        Ok(())
    }
}

fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let seeded = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, seeded)
}

const SOUGHT: [Sought; 3] = [Sought::Subject, Sought::Resource, Sought::Action];

#[test]
fn a_search_finds_what_single_questions_allow_in_generated_sets() {
    let tally = std::cell::RefCell::new(Tally::default());
    let sets = (
        any::<u16>(),
        proptest::collection::vec(slicing::drawn(), 8..30),
        slicing::entities(),
        proptest::collection::vec((slicing::asked(), 0..3_usize, any::<bool>()), 12),
        1..4_usize,
    );
    let done = runner(60).run(&sets, |(bits, drawn, entities, searches, few)| {
        let Some(world) = slicing::world(bits, &drawn, &entities) else {
            return Err(TestCaseError::reject("no policy is sound"));
        };
        let snapshot = Snapshot {
            policies: Arc::new(world.policies),
            directory: Arc::new(world.directory),
            ..SNAPSHOT.clone()
        };
        let stored = stored(&entities);
        let actions = slicing::ACTIONS.map(|name| name.split('"').nth(1).unwrap());
        for (asked, sought, says_level) in searches {
            let mut request = slicing::request(&asked);
            if says_level {
                let said = [("level".to_owned(), Value::Long(9))];
                request.subject.properties.extend(said);
            }
            let quest = Quest {
                sought: SOUGHT[sought],
                request: &request,
                signals: &Signals::default(),
                snapshot: &snapshot,
                sensitivity_attribute: SENSITIVITY,
                size_attribute: "size_bytes",
                now: Timestamp::from_seconds(1_772_442_000),
            };
            tally.borrow_mut().check(&quest, &stored, &actions, few)?;
        }
        Ok(())
    });
    let tally = tally.into_inner();
    println!("{tally:?}");
    done.unwrap_or_else(|failed| panic!("{failed}"));
    assert!(tally.searches >= 700 && tally.found >= 500, "{tally:?}");
    assert!(tally.decided < tally.brute * 2 / 3, "{tally:?}");
}

#[test]
fn a_search_finds_what_single_questions_allow_under_the_shipped_policies() {
    let entities = std::fs::read_to_string(root().join("policies/entities.json")).unwrap();
    let stored = stored(&entities);
    let actions = [
        "list",
        "read",
        "write",
        "download",
        "share",
        "delete",
        "administer",
        "login",
        "session.continue",
    ];
    let tally = std::cell::RefCell::new(Tally::default());
    let asked = (
        properties::request(),
        properties::signals(),
        properties::moment(),
        0..3_usize,
        1..4_usize,
    );
    // Strangers alone would be asked for otherwise.
    let known = |id: &str| EntityRef::new("User", id).unwrap();
    let people = ["alice", "dave", "erin"].map(known);
    let done = runner(600).run(&asked, |(mut request, mut signals, now, sought, few)| {
        request.subject.entity = people[few - 1].clone();
        if few > 1 {
            signals.anonymity = Signal::Absent;
            signals.session = Signal::Absent;
        }
        let sought = SOUGHT[sought];
        if sought == Sought::Subject {
            // As a search gathers them.
            signals.profile = Signal::Absent;
            signals.session = Signal::Absent;
            signals.crowds = Crowds::default();
        }
        let quest = Quest {
            sought,
            request: &request,
            signals: &signals,
            snapshot: &SNAPSHOT,
            sensitivity_attribute: SENSITIVITY,
            size_attribute: "size_bytes",
            now,
        };
        tally.borrow_mut().check(&quest, &stored, &actions, few)
    });
    let tally = tally.into_inner();
    println!("{tally:?}");
    done.unwrap_or_else(|failed| panic!("{failed}"));
    assert!(tally.found >= 100, "{tally:?}");
}
