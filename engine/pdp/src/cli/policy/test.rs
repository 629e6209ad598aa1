//! `portreeve policy test`: the authors' own tests, and which policies they cover.

use std::fs;
use std::path::PathBuf;

use ::policy::{Policies, SourceFile, source};
use clap::Args;
use comfy_table::CellAlignment;

use crate::cli::Failure;
use crate::cli::output::{Output, table};
use crate::policy_tests::{self, Report, Set};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(in crate::cli) struct TestArgs {
    /// The set's folder, with entities.json and tests/ in it; `policies.dir` by default
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The answer is no when the tests make fewer of the policies decisive, per cent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    coverage_min: Option<u8>,
    /// Only tests whose file or name contains this
    filter: Option<String>,
}

pub(super) fn run(args: &TestArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let folder = args.dir.as_deref().unwrap_or(&settings.policies);
    let unreadable = |path: &std::path::Path, error: std::io::Error| {
        Failure::Unable(format!("{}: {error}", path.display()))
    };
    let files = source::read_folder(folder).map_err(|error| unreadable(folder, error))?;
    let policies = Policies::load(&files).map_err(|problems| Failure::No(problems.to_string()))?;
    let beside = folder.join("entities.json");
    let entities = match &args.dir {
        Some(_) => beside.is_file().then_some(beside),
        None => settings.entities_file(),
    };
    let entities = match entities {
        Some(path) => {
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            SourceFile::new(path.display().to_string(), text)
        }
        None => SourceFile::new("no entities", "[]"),
    };
    let tests = folder.join("tests");
    let files = if tests.is_dir() {
        policy_tests::read_folder(&tests).map_err(Failure::unable)?
    } else {
        Vec::new()
    };
    let set = Set {
        policies: &policies,
        entities: &entities,
        settings: &settings.risk,
    };
    let filter = args.filter.as_deref();
    let report = policy_tests::run(&files, &set, filter);
    if let Some(filter) = filter
        && report.tests.is_empty()
    {
        return Err(Failure::Unable(format!(
            "no test below {} has `{filter}` in its file's name or its own",
            tests.display()
        )));
    }
    // Of some of the tests, what they cover says nothing.
    let whole = filter.is_none();
    output.print(&report, &told(&report, whole))?;
    let (failed, all) = (report.failed(), report.tests.len());
    if !report.passes() {
        let faults = match report.faults.len() {
            0 => String::new(),
            1 => ", 1 file cannot be read".to_owned(),
            count => format!(", {count} files cannot be read"),
        };
        return Err(Failure::No(format!("{failed} of {all} tests fail{faults}")));
    }
    match args.coverage_min {
        Some(least) if report.coverage.percent < usize::from(least) => Err(Failure::No(format!(
            "the tests make {} % of the policies decisive, and {least} % are asked for",
            report.coverage.percent
        ))),
        _ => Ok(()),
    }
}

fn told(report: &Report, whole: bool) -> String {
    let mut text: Vec<String> = report.reasons();
    if whole {
        text.push(coverage(report));
    }
    let passed = report.tests.len() - report.failed();
    let tests = match report.tests.len() {
        0 => "no tests: put some into `tests` beside the policies".to_owned(),
        all => format!("{passed} of {all} tests pass"),
    };
    text.push(format!("{tests} (revision {})", report.revision));
    if whole {
        let missing: Vec<&str> = report.coverage.missing().collect();
        let covered = report.coverage.policies.len() - missing.len();
        let mut line = format!(
            "{covered} of {} policies are decisive in a test ({} %)",
            report.coverage.policies.len(),
            report.coverage.percent
        );
        if !missing.is_empty() {
            line.push_str(&format!("; in none: {}", missing.join(", ")));
        }
        text.push(line);
    }
    text.join("\n")
}

fn coverage(report: &Report) -> String {
    let mut rows = table(&["policy", "decisive in tests"]);
    for covered in &report.coverage.policies {
        let tests = match covered.tests {
            0 => "none".to_owned(),
            count => count.to_string(),
        };
        rows.add_row([covered.policy.clone(), tests]);
    }
    if let Some(column) = rows.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    rows.to_string()
}
