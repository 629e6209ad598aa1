//! Running the tests, each by itself: the same text gives the same report.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use domain::{DecidingPolicy, Rung};
use policy::plain::PlainRequest;
use policy::{Directory, Problem, Question, SourceFile};
use serde_json::Value;

use super::form::{self, Case, Outcome, RawDecision, nearest};
use super::given::{self, Asked};
use super::report::{Coverage, Difference, Report, TestReport, TriedReport, list};
use super::{MAX_TESTS, Set};

/// Runs the tests in these files.
///
/// Files of entities, for tests to name, are no tests themselves. With a `filter`, only tests
/// whose file or name contains it; coverage then is that of those alone.
#[must_use]
pub fn run(files: &[SourceFile], set: &Set<'_>, filter: Option<&str>) -> Report {
    let mut report = Report {
        revision: set.policies.revision().to_owned(),
        ..Report::default()
    };
    let mut read = Vec::new();
    for file in files.iter().filter(|file| !form::is_entities(file)) {
        match form::read(file) {
            Ok(cases) => read.push((file, cases)),
            Err(problem) => report.fault(&problem),
        }
    }
    let mut directories = Directories {
        set: *set,
        files,
        known: BTreeMap::new(),
    };
    for (file, cases) in read {
        let mut after = 0;
        for (number, case) in cases.iter().enumerate() {
            let (line, next) = line_of(file, case, after);
            after = next;
            let name = match &case.name {
                Some(name) => name.clone(),
                None => format!("#{}", number + 1),
            };
            let wanted = filter.is_none_or(|part| name.contains(part) || file.name.contains(part));
            if !wanted {
                continue;
            }
            if report.tests.len() >= MAX_TESTS {
                report.fault(&Problem::error(
                    &file.name,
                    format!("there are more than {MAX_TESTS} tests; the rest was not run"),
                ));
                break;
            }
            let mut test = TestReport {
                file: file.name.clone(),
                line,
                name,
                passed: false,
                plain: case.is_plain(),
                differences: Vec::new(),
                fault: None,
                outcome: String::new(),
                cause: String::new(),
                policies: Vec::new(),
                tried: Vec::new(),
                detail: None,
            };
            match judge(case, file, &mut directories, &mut test) {
                Ok(()) => test.passed = test.differences.is_empty(),
                Err(fault) => test.fault = Some(fault),
            }
            report.tests.push(test);
        }
    }
    let ids = set.policies.told().map(|policy| &*policy.id);
    report.coverage = Coverage::of(ids, &report.tests);
    report
}

/// The line with the name of a test, looked for after the one before it; and where to go on.
fn line_of(file: &SourceFile, case: &Case, after: usize) -> (Option<usize>, usize) {
    let found = case.name.as_ref().and_then(|name| {
        // In JSON, quotes within the name are written otherwise than they read.
        let written = serde_json::to_string(name).ok()?;
        let bare = written.trim_matches('"');
        file.text
            .lines()
            .enumerate()
            .skip(after)
            .find(|(_, line)| line.contains(name.as_str()) || line.contains(bare))
    });
    match found {
        Some((row, _)) => (Some(row + 1), row + 1),
        None => (None, after),
    }
}

/// Entities by their text: most tests use the same.
struct Directories<'a> {
    set: Set<'a>,
    files: &'a [SourceFile],
    known: BTreeMap<String, Directory>,
}

impl Directories<'_> {
    /// The entities of a test in Cedar's form.
    fn text(&self, case: &Case, file: &SourceFile) -> Result<SourceFile, String> {
        let base: Cow<'_, SourceFile> = match &case.entities {
            None => Cow::Borrowed(self.set.entities),
            Some(Value::String(name)) => {
                let path = beside(file, name);
                let found = self
                    .files
                    .iter()
                    .find(|file| normal(Path::new(&file.name)) == path);
                Cow::Borrowed(found.ok_or_else(|| {
                    format!(
                        "`entities`: there is no `{name}` beside the test; leave `entities` out \
                         for those of the set"
                    )
                })?)
            }
            Some(list @ Value::Array(_)) => {
                Cow::Owned(SourceFile::new(&file.name, list.to_string()))
            }
            Some(_) => return Err("`entities` is an array, or the name of a file".to_owned()),
        };
        if case.more_entities.is_empty() {
            return Ok(base.into_owned());
        }
        let Ok(Value::Array(mut entities)) = serde_json::from_str(&base.text) else {
            return Err(format!("{}: no JSON array of entities", base.name));
        };
        for more in &case.more_entities {
            entities.retain(|entity| uid(entity) != uid(more));
            entities.push(more.clone());
        }
        let text = Value::Array(entities).to_string();
        Ok(SourceFile::new(&file.name, text))
    }

    fn load(&mut self, text: &SourceFile) -> Result<&Directory, String> {
        if !self.known.contains_key(&text.text) {
            let loaded = Directory::load(text, self.set.policies)
                .map_err(|problems| problems.to_string())?;
            self.known.insert(text.text.clone(), loaded);
        }
        self.known
            .get(&text.text)
            .ok_or_else(|| "the entities are gone".to_owned())
    }
}

/// Type and id of an entity, in either of the two forms that Cedar reads.
fn uid(entity: &Value) -> Option<(&str, &str)> {
    let uid = entity.get("uid")?;
    let uid = uid.get("__entity").unwrap_or(uid);
    Some((uid.get("type")?.as_str()?, uid.get("id")?.as_str()?))
}

/// A path as a test names it, from its own folder on.
fn beside(file: &SourceFile, name: &str) -> PathBuf {
    let folder = Path::new(&file.name).parent().unwrap_or(Path::new(""));
    normal(&folder.join(name))
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts
}

/// Runs one test and notes what is not as it says; in words why it cannot be run.
fn judge(
    case: &Case,
    file: &SourceFile,
    directories: &mut Directories<'_>,
    test: &mut TestReport,
) -> Result<(), String> {
    let wants_nothing = case.decision.is_none()
        && case.outcome.is_none()
        && case.cause.is_none()
        && case.num_errors.is_none()
        && case.policies.as_ref().is_none_or(Vec::is_empty);
    if wants_nothing {
        return Err("it wants nothing: say `outcome: allow`, `challenge`, `mfa` or `deny`".into());
    }
    let entities = directories.text(case, file)?;
    let set = directories.set;
    let first = if test.plain {
        ask_cedar(case, &set, &entities, test)?
    } else {
        let directory = directories.load(&entities)?;
        let asked = given::question(case, &set, directory)?;
        climb(&asked, &set, directory, test)
    };
    compare(case, &first, &set, test);
    Ok(())
}

/// What the policies say with the assurance that the request really has: Cedar's own answer.
#[derive(Debug)]
struct First {
    allowed: bool,
    determining: Vec<String>,
    errors: Vec<String>,
}

fn ask_cedar(
    case: &Case,
    set: &Set<'_>,
    entities: &SourceFile,
    test: &mut TestReport,
) -> Result<First, String> {
    let raw = &case.request;
    let context = Value::Object(raw.context.clone()).to_string();
    let request = PlainRequest {
        principal: &raw.principal,
        action: &raw.action,
        resource: &raw.resource,
        context: &context,
    };
    let answer = set.policies.ask_cedar(&request, entities).map_err(|why| {
        format!(
            "{why}; a test without `outcome` is put to Cedar as it is: give the whole context, or \
             write `outcome` to have the engine fill it in"
        )
    })?;
    let rung = if answer.allowed {
        Rung::Allow
    } else {
        Rung::Deny
    };
    test.outcome = rung.to_string();
    "policies".clone_into(&mut test.cause);
    test.policies.clone_from(&answer.determining);
    Ok(First {
        allowed: answer.allowed,
        determining: answer.determining,
        errors: answer.errors,
    })
}

/// Puts the question to the engine's own ladder.
fn climb(asked: &Asked, set: &Set<'_>, directory: &Directory, test: &mut TestReport) -> First {
    let subject = &asked.request.subject.entity;
    let climb = set.policies.climb(
        directory,
        &Question {
            request: &asked.request,
            facts: &asked.facts,
            assurance: asked.assurance,
            now: asked.now,
            interactive: set.settings.is_interactive(subject.kind.as_str()),
        },
    );
    test.outcome = climb.rung.to_string();
    climb.cause.code().clone_into(&mut test.cause);
    test.policies = ids(&climb.policies);
    test.detail = climb.detail;
    test.tried = climb
        .tried
        .iter()
        .map(|tried| TriedReport {
            rung: tried.rung.to_string(),
            allowed: tried.allowed,
            policies: ids(&tried.determining),
            errors: tried.errors.clone(),
        })
        .collect();
    match test.tried.first() {
        Some(first) => First {
            allowed: first.allowed,
            determining: first.policies.clone(),
            errors: first.errors.clone(),
        },
        None => First {
            allowed: false,
            determining: Vec::new(),
            errors: Vec::new(),
        },
    }
}

fn ids(policies: &[Arc<DecidingPolicy>]) -> Vec<String> {
    policies
        .iter()
        .map(|policy| policy.id.to_string())
        .collect()
}

/// Notes what is not as the test says.
fn compare(case: &Case, first: &First, set: &Set<'_>, test: &mut TestReport) {
    let mut differences = Vec::new();
    let mut differ = |what, want: &str, got: &str| {
        differences.push(Difference {
            what,
            want: want.to_owned(),
            got: got.to_owned(),
        });
    };
    if let Some(Outcome(want)) = case.outcome
        && want.as_str() != test.outcome
    {
        differ("outcome", want.as_str(), &test.outcome);
    }
    if let Some(want) = &case.cause
        && *want != test.cause
    {
        differ("cause", want, &test.cause);
    }
    // A name that is misspelt is denied, and every test that wants a deny would pass.
    let meant = ["policies", "nothing_permits"];
    if test.outcome == "deny" && case.cause.is_none() && !meant.contains(&test.cause.as_str()) {
        let got = format!("{}; write `cause` if that is meant", test.cause);
        differ("cause", "policies or nothing_permits", &got);
    }
    if let Some(want) = case.decision {
        let word = |allowed| if allowed { "allow" } else { "deny" };
        let wanted = want == RawDecision::Allow;
        if wanted != first.allowed {
            differ("decision", word(wanted), word(first.allowed));
        }
    }
    // Cedar's own tests want none where they do not say.
    let errors = case.num_errors.or(case.decision.map(|_| 0));
    if let Some(errors) = errors.filter(|errors| *errors != first.errors.len()) {
        let got = format!("{}: {}", first.errors.len(), list(&first.errors));
        differ("num_errors", &errors.to_string(), &got);
    }
    for (what, wanted, got) in [
        ("reason", &case.reason, &first.determining),
        (
            "policies",
            case.policies.as_ref().unwrap_or(&Vec::new()),
            &test.policies,
        ),
    ] {
        for id in wanted.iter().filter(|id| !got.contains(id)) {
            let known = || set.policies.told().map(|policy| &*policy.id);
            let got = match (known().any(|known| known == id), nearest(id, known())) {
                (true, _) => list(got),
                (false, Some(near)) => format!("there is no such policy; is {near} meant?"),
                (false, None) => "there is no such policy".to_owned(),
            };
            differ(what, id, &got);
        }
    }
    test.differences = differences;
}
