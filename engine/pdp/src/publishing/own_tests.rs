//! The tests that a set brings along: what does not pass them does not go live.

use policy::SourceFile;

use crate::snapshot::{Fault, Set};

/// What a set's own tests say against it.
#[must_use]
pub fn failures(_set: &Set, _tests: &[SourceFile], _settings: &risk::Settings) -> Vec<Fault> {
    Vec::new()
}
