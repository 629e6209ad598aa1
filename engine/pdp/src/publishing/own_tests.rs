//! The tests that a set brings along: what does not pass them does not go live.

use policy::SourceFile;

use crate::policy_tests;
use crate::snapshot::{Fault, Set};

/// What a set's own tests say against it.
#[must_use]
pub fn failures(set: &Set, tests: &[SourceFile], settings: &risk::Settings) -> Vec<Fault> {
    if tests.is_empty() {
        return Vec::new();
    }
    let tested = policy_tests::Set {
        policies: &set.policies,
        entities: &set.entities,
        settings,
    };
    let reasons = policy_tests::run(tests, &tested, None).reasons();
    reasons.into_iter().map(Fault::Other).collect()
}
