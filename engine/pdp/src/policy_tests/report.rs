//! What came of the tests, for machines and for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use policy::Problem;
use serde::Serialize;

/// What came of all tests of a set.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Revision of the policies that were tested.
    pub revision: String,
    /// Each test, in the order of the files.
    pub tests: Vec<TestReport>,
    /// Files that are no tests, each with its place and what to write instead.
    pub faults: Vec<String>,
    /// Which policies the tests make decisive.
    pub coverage: Coverage,
}

impl Report {
    /// Whether every test could be read and passes.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.faults.is_empty() && self.failed() == 0
    }

    /// How many tests fail.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.tests.iter().filter(|test| !test.passed).count()
    }

    /// Why the set must not go live, a text for each fault and each test that fails; empty when
    /// it may.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let failed = self.tests.iter().filter(|test| !test.passed);
        let faults = self.faults.iter().cloned();
        faults.chain(failed.map(TestReport::told)).collect()
    }

    pub(super) fn fault(&mut self, problem: &Problem) {
        self.faults.push(problem.to_string());
    }
}

/// What came of one test.
#[derive(Clone, Debug, Serialize)]
pub struct TestReport {
    /// Its file.
    pub file: String,
    /// The line with its name, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Its name, or `#3` for the third of a file that has none.
    pub name: String,
    /// Whether everything is as it says.
    pub passed: bool,
    /// Whether it was put to Cedar alone, without the ladder.
    pub plain: bool,
    /// What is not as it says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Why it could not be run at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What was answered: the rung, or `allow` and `deny` of a plain test.
    pub outcome: String,
    /// What settled it.
    pub cause: String,
    /// The policies that settled it.
    pub policies: Vec<String>,
    /// Every rung that was tried, from the lowest.
    pub tried: Vec<TriedReport>,
    /// For the administrator: what was wrong, where something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Something that is not as a test says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which of its members.
    pub what: &'static str,
    /// What it wants.
    pub want: String,
    /// What there was.
    pub got: String,
}

/// One rung, and what the policies said on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TriedReport {
    /// The rung.
    pub rung: String,
    /// Whether they allow it there.
    pub allowed: bool,
    /// The permits where they do, the forbids where they do not.
    pub policies: Vec<String>,
    /// Policies that could not be evaluated, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// Which policies the tests make decisive.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Coverage {
    /// Share of the policies that a test that passes makes decisive, whole per cent, rounded down.
    pub percent: usize,
    /// Every policy, in the order of the files.
    pub policies: Vec<Covered>,
}

/// How often one policy decides.
#[derive(Clone, Debug, Serialize)]
pub struct Covered {
    /// Its id.
    pub policy: String,
    /// Tests that pass and whose answer names it.
    pub tests: usize,
}

impl Coverage {
    pub(super) fn of<'a>(policies: impl Iterator<Item = &'a str>, tests: &[TestReport]) -> Self {
        let mut decisive: BTreeMap<&str, usize> = BTreeMap::new();
        for test in tests.iter().filter(|test| test.passed) {
            for policy in &test.policies {
                *decisive.entry(policy).or_default() += 1;
            }
        }
        let policies: Vec<Covered> = policies
            .map(|policy| Covered {
                policy: policy.to_owned(),
                tests: decisive.get(policy).copied().unwrap_or_default(),
            })
            .collect();
        let covered = policies.iter().filter(|policy| policy.tests > 0).count();
        Self {
            percent: (covered * 100).checked_div(policies.len()).unwrap_or(100),
            policies,
        }
    }

    /// The policies that no test makes decisive.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.policies
            .iter()
            .filter(|policy| policy.tests == 0)
            .map(|policy| policy.policy.as_str())
    }
}

impl TestReport {
    /// The test and what is not as it says, for people; several lines.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = self.file.clone();
        if let Some(line) = self.line {
            let _ = write!(text, ":{line}");
        }
        let _ = write!(text, ": {}", self.name);
        if let Some(fault) = &self.fault {
            let _ = write!(text, "\n    cannot be run: {fault}");
            return text;
        }
        for difference in &self.differences {
            let Difference { what, want, got } = difference;
            let _ = write!(text, "\n    {what:<10} - {want}\n               + {got}");
        }
        for (number, tried) in self.tried.iter().enumerate() {
            let what = if number == 0 { "rungs" } else { "" };
            let said = if tried.allowed { "yes" } else { "no" };
            let _ = write!(
                text,
                "\n    {what:<10}   {}: {said}, {}",
                tried.rung,
                tried.why()
            );
            for error in &tried.errors {
                let _ = write!(text, "\n                 failed: {error}");
            }
        }
        let settled = match (self.cause.as_str(), self.policies.is_empty()) {
            ("policies", false) => list(&self.policies),
            ("policies", true) => "nothing but the lack of a permit".to_owned(),
            (cause, _) => cause.to_owned(),
        };
        let _ = write!(text, "\n    {:<10}   {settled}", "settled by");
        if let Some(detail) = &self.detail {
            let _ = write!(text, "\n    {:<10}   {detail}", "detail");
        }
        text
    }
}

impl TriedReport {
    fn why(&self) -> String {
        match (self.allowed, self.policies.is_empty()) {
            (true, _) => format!("permitted by {}", list(&self.policies)),
            (false, false) => format!("forbidden by {}", list(&self.policies)),
            (false, true) if self.errors.is_empty() => "no policy permits it".to_owned(),
            (false, true) => "a policy that fails is a no".to_owned(),
        }
    }
}

/// Ids in one line.
pub(super) fn list(ids: &[String]) -> String {
    if ids.is_empty() {
        "none".to_owned()
    } else {
        ids.join(", ")
    }
}
