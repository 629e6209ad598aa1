//! The checks that Cedar does not do: is the set what its author means?
//!
//! Each finding is decided, by the types of the schema, by constants and by the ranges of the
//! engine's own words; what is not decided is a note that says so, never an error. Conditions
//! are followed through all ways they can take ([`reason`]), which is sound and not complete:
//! "never matches" is a proof.

mod actions;
mod annotations;
mod assurances;
mod atoms;
mod conditions;
mod failures;
mod ladder;
mod names;
mod numbers;
mod polarity;
mod ranges;
mod reason;
mod shadows;
#[cfg(test)]
mod tests;
mod thresholds;
mod world;

use std::collections::BTreeMap;

use cedar_policy_core::validator::ValidatorSchema;

use crate::directory::Directory;
use crate::load::{Policies, Policy};
use crate::problem::{Problem, Problems, Severity};
use crate::reach::{Kind, kinds};
use crate::source::SourceFile;
use crate::validate::NEVER_MATCHES;
use reason::Place;

/// What a set is held against besides itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Against<'a> {
    /// `risk.levels` of the settings.
    pub levels: Option<[u8; 3]>,
    /// The stored entities.
    pub directory: Option<&'a Directory>,
}

/// A set of files, checked.
#[derive(Debug)]
pub struct Checked {
    /// The set, if it loads.
    pub policies: Option<Policies>,
    /// The entities, if there are some and they load.
    pub directory: Option<Directory>,
    /// Everything found, the worst first.
    pub findings: Problems,
}

/// Loads a set and its entities, and checks them. This is all that `policy check` does.
#[must_use]
pub fn check(
    files: &[SourceFile],
    entities: Option<&SourceFile>,
    levels: Option<[u8; 3]>,
) -> Checked {
    let policies = match Policies::load(files) {
        Ok(policies) => policies,
        Err(findings) => {
            return Checked {
                policies: None,
                directory: None,
                findings,
            };
        }
    };
    let mut refused = Vec::new();
    let directory = entities.and_then(|file| {
        let loaded = Directory::load(file, &policies);
        loaded.map_err(|problems| refused.extend(problems.0)).ok()
    });
    let against = Against {
        levels,
        directory: directory.as_ref(),
    };
    let mut findings = policies.lint(files, against);
    findings.0.extend(refused);
    findings.sort();
    Checked {
        policies: Some(policies),
        directory,
        findings,
    }
}

impl Policies {
    /// Checks a set that loaded: what is odd about it already, and what these checks find. The
    /// files are those that it was loaded from.
    #[must_use]
    pub fn lint(&self, files: &[SourceFile], against: Against<'_>) -> Problems {
        let schema: &ValidatorSchema = self.schema().as_ref();
        let mut desk = Desk::new(self, files, schema);
        // What no request can meet is said with its reason by `conditions`.
        let odd = self.warnings().0.iter();
        desk.found
            .extend(odd.filter(|known| known.code != NEVER_MATCHES).cloned());
        annotations::check(&mut desk);
        let held = conditions::check(&mut desk);
        actions::check(&mut desk, &held);
        ladder::check(&mut desk, &held);
        shadows::check(&mut desk, &held);
        desk.hold_against(against);
        desk.findings()
    }

    /// What is odd about a set that loaded, and how it differs from settings and entities: the
    /// part of [`Self::lint`] that is quick enough for each load.
    #[must_use]
    pub fn hold_against(&self, files: &[SourceFile], against: Against<'_>) -> Problems {
        let mut desk = Desk::new(self, files, self.schema().as_ref());
        desk.found.extend(self.warnings().0.iter().cloned());
        desk.hold_against(against);
        desk.findings()
    }
}

/// What the checks work on, and what they found so far.
struct Desk<'a> {
    policies: &'a Policies,
    schema: &'a ValidatorSchema,
    kinds: Vec<Kind<'a>>,
    files: BTreeMap<&'a str, &'a SourceFile>,
    found: Vec<Problem>,
}

impl<'a> Desk<'a> {
    fn new(policies: &'a Policies, files: &'a [SourceFile], schema: &'a ValidatorSchema) -> Self {
        Self {
            policies,
            schema,
            kinds: kinds(schema),
            files: files.iter().map(|file| (&*file.name, file)).collect(),
            found: Vec::new(),
        }
    }

    fn hold_against(&mut self, against: Against<'_>) {
        if let Some(levels) = against.levels {
            thresholds::check(self, levels);
        }
        if let Some(directory) = against.directory {
            names::check(self, directory);
        }
    }

    fn findings(self) -> Problems {
        let mut findings = Problems(self.found);
        findings.sort();
        findings.0.dedup();
        findings
    }

    /// A finding about a policy, at this place of its file or at its beginning.
    fn problem(
        &self,
        policy: &Policy,
        code: &'static str,
        place: Option<Place>,
        message: impl Into<String>,
    ) -> Problem {
        let problem = Problem::error(&*policy.file, message).of_kind(code);
        let Some(file) = self.files.get(&*policy.file) else {
            return problem;
        };
        match (place, policy.policy.template().loc()) {
            (Some((offset, length)), _) => problem.over(file, offset, length),
            (None, Some(loc)) => problem.over(file, loc.start(), loc.end() - loc.start()),
            (None, None) => problem,
        }
    }

    /// The text of a place in the file of a policy, on one line and not too long.
    fn text(&self, policy: &Policy, place: Place) -> String {
        const MOST: usize = 60;
        let file = self.files.get(&*policy.file);
        let text = file.and_then(|file| file.text.get(place.0..place.0 + place.1));
        let words: Vec<&str> = text.unwrap_or_default().split_whitespace().collect();
        let line = words.join(" ");
        if line.chars().count() <= MOST {
            return line;
        }
        let start: String = line.chars().take(MOST - 1).collect();
        format!("{start}…")
    }

    fn note(&mut self, problem: Problem, severity: Severity) {
        self.found.push(problem.as_bad_as(severity));
    }
}

/// The name among these that somebody who wrote this one will have meant.
fn meant<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| {
        let (written, name) = (written.to_lowercase(), name.to_lowercase());
        strsim::osa_distance(&written, &name)
    };
    let most = if written.chars().count() < 4 { 1 } else { 2 };
    names
        .into_iter()
        .map(|name| (distance(name), name))
        .filter(|(distance, name)| *distance <= most && *distance < name.len())
        .min()
        .map(|(_, name)| name)
}
