//! `portreeve policy check`: what is wrong with a set of policies, without an engine.

use ::policy::lint::{self, Checked};
use ::policy::{Problem, Problems, Severity};
use clap::Args;
use serde_json::{Value, json};

use super::Where;
use crate::cli::Failure;
use crate::cli::output::Output;
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    #[command(flatten)]
    place: Where,
    /// Show notes too: what was not decided, and what is only worth knowing
    #[arg(long)]
    notes: bool,
    /// Warnings are a no as well
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(args: &CheckArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let files = args.place.policies(settings)?;
    let entities = args.place.entities(settings)?;
    let checked = lint::check(&files, entities.as_ref(), Some(settings.risk.levels));
    let findings = &checked.findings;
    let bad = findings.has_errors() || (args.strict && findings.count(Severity::Warning) > 0);
    let report = json!({
        "ok": !bad,
        "policies": checked.policies.as_ref().map(::policy::Policies::len),
        "policy_revision": checked.policies.as_ref().map(::policy::Policies::revision),
        "entities": checked.directory.as_ref().map(::policy::Directory::len),
        "errors": findings.count(Severity::Error),
        "warnings": findings.count(Severity::Warning),
        "notes": findings.count(Severity::Note),
        "findings": findings.0.iter().map(in_json).collect::<Vec<_>>(),
    });
    output.print(&report, &in_words(args, settings, &checked))?;
    if bad {
        let what = if findings.has_errors() {
            "errors"
        } else {
            "warnings"
        };
        return Err(Failure::No(format!("the policies have {what}")));
    }
    Ok(())
}

fn in_words(args: &CheckArgs, settings: &Settings, checked: &Checked) -> String {
    let findings = checked.findings.0.iter();
    let mut lines: Vec<String> = findings
        .filter(|finding| args.notes || finding.severity > Severity::Note)
        .map(|finding| format!("{finding}\n"))
        .collect();
    let folder = args.place.folder(settings).display();
    let what = match (&checked.policies, &checked.directory) {
        (Some(policies), Some(directory)) => format!(
            "{} in {folder}, {}",
            counted(policies.len(), "policy", "policies"),
            counted(directory.len(), "entity", "entities")
        ),
        (Some(policies), None) => {
            let policies = counted(policies.len(), "policy", "policies");
            format!("{policies} in {folder}")
        }
        (None, _) => format!("the policies in {folder} do not load"),
    };
    lines.push(format!("{what}: {}", counts(&checked.findings, args.notes)));
    lines.join("\n")
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn counts(findings: &Problems, shown: bool) -> String {
    let count = |severity: Severity| {
        let word = severity.word();
        counted(findings.count(severity), word, &format!("{word}s"))
    };
    let hint = if shown || findings.count(Severity::Note) == 0 {
        ""
    } else {
        " (see them with --notes)"
    };
    format!(
        "{}, {}, {}{hint}",
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Note)
    )
}

/// A finding for machines.
fn in_json(finding: &Problem) -> Value {
    json!({
        "severity": finding.severity.word(),
        "code": finding.code,
        "file": finding.file,
        "line": finding.place.map(|(line, _)| line),
        "column": finding.place.map(|(_, column)| column),
        "width": finding.place.map(|_| finding.width),
        "text": finding.line,
        "message": finding.message,
        "help": finding.help,
    })
}
