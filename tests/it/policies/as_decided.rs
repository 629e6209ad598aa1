//! A test says what the engine would say: what a decision rested on, written down as a test, gives
//! the same outcome by the same policies.

use domain::facts::{Fact, Facts};
use domain::{AccessRequest, Cause};
use pdp::engine::{Outcome, decide};
use pdp::policy_tests::{self, Set};
use policy::SourceFile;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::harness::root;
use crate::properties::{SNAPSHOT, moment, request, signals};

/// The known words of a group.
fn words(facts: &Facts, group: &str) -> Map<String, Value> {
    let words = domain::facts::group(group).unwrap().words.iter();
    let known = words.filter_map(|word| Some((word.name.to_owned(), (word.get)(facts)?)));
    let told = known.map(|(name, fact)| match fact {
        Fact::Bool(value) => (name, json!(value)),
        Fact::Long(value) => (name, json!(value)),
        Fact::Text(value) => (name, json!(value)),
        Fact::Address(value) => (name, json!(value.to_string())),
        Fact::Moment(value) => (name, json!(wire::time::format(value))),
    });
    told.collect()
}

/// A test that wants what was decided.
fn as_test(request: &AccessRequest, outcome: &Outcome) -> Value {
    let facts = &outcome.evidence.facts;
    let mut assurance = words(facts, "assurance");
    if outcome.evidence.assurance.at.is_none() {
        // A hundred years stand for what is not known.
        assurance.remove("age_seconds");
    }
    let unavailable: Vec<&str> = facts
        .unavailable
        .iter()
        .map(|source| source.name())
        .collect();
    let ids: Vec<&str> = outcome
        .decision
        .policies
        .iter()
        .map(|policy| &*policy.id)
        .collect();
    json!([{
        "name": "as decided",
        "request": {
            "principal": request.subject.entity.to_string(),
            "action": format!("Action::\"{}\"", request.action.name),
            "resource": request.resource.entity.to_string(),
        },
        "risk": words(facts, "risk"),
        "signals": words(facts, "signals"),
        "assurance": assurance,
        "device": words(facts, "device"),
        "network": words(facts, "network"),
        "session": words(facts, "session"),
        "unavailable": unavailable,
        "time": wire::time::format(outcome.time),
        "outcome": outcome.decision.rung.as_str(),
        "cause": outcome.decision.cause.code(),
        "policies": ids,
    }])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_decided_passes_as_a_test(request in request(), signals in signals(), now in moment()) {
        let outcome = decide(&request, &signals, &SNAPSHOT, now);
        // These the engine settles before it asks the policies.
        let early = [Cause::SessionEnded, Cause::SessionOfAnother, Cause::SourceFailed, Cause::ScoreUndefined];
        if !early.contains(&outcome.decision.cause) {
            let entities = std::fs::read_to_string(root().join("policies/entities.json")).unwrap();
            let set = Set {
                policies: &SNAPSHOT.policies,
                entities: &SourceFile::new("entities.json", entities),
                settings: &SNAPSHOT.settings,
            };
            let text = as_test(&request, &outcome).to_string();
            let report = policy_tests::run(&[SourceFile::new("a.json", text.as_str())], &set, None);
            prop_assert!(report.passes(), "{text}\n{}", report.reasons().join("\n"));
            let test = &report.tests[0];
            let decided: Vec<&str> = outcome.decision.policies.iter().map(|policy| &*policy.id).collect();
            prop_assert_eq!(&test.policies, &decided);
            prop_assert_eq!(test.tried.len(), outcome.decision.tried.len());
        }
    }
}
