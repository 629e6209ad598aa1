//! `portreeve policy replay`: the record of decisions, decided again.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ::policy::{Policies, SourceFile};
use clap::Args;
use domain::{Rung, Timestamp};
use serde_json::json;
use store::Store;
use store::journal::{self, Contents};

use super::super::data::export::moment;
use super::super::output::{Output, bar, table};
use super::super::{Failure, runtime};
use crate::archive::Archive;
use crate::models::open;
use crate::replay::fail_if::FailIf;
use crate::replay::report::{Change, Counted, Kind, Report};
use crate::replay::run::{Job, run as replay};
use crate::replay::sources::{Candidate, Sources};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArgs {
    /// Decided from this moment on, by the engine's clock: 2026-11-20 or 2026-11-20T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Decided before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// Policies to try instead of those that decided. Without anything to try, each record is
    /// held against itself
    #[arg(long, value_name = "FOLDER")]
    candidate: Option<PathBuf>,
    /// Entities to try. What was found out about a resource before stays as it was
    #[arg(long, value_name = "FILE")]
    entities: Option<PathBuf>,
    /// A model to try
    #[arg(long, value_name = "NAME@VERSION")]
    model: Option<String>,
    /// Exit with 1 if this holds, for example 'newly_denied > 0.1%'. Also newly_stepped_up,
    /// eased, changed, not_comparable; `>` or `>=`; a number or a share. May be given more than
    /// once
    #[arg(long, value_name = "LIMIT")]
    fail_if: Vec<FailIf>,
    /// Examples of changed decisions to show
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    limit_examples: u16,
    /// Leave out batches and dry runs, which nobody was let in by
    #[arg(long)]
    only_accesses: bool,
}

pub(super) fn run(args: ReplayArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let folder = settings.data_dir.join("journal");
    if !folder.is_dir() || !settings.store.is_file() {
        return Err(Failure::Unable(format!(
            "{}: no decisions are on record; `portreeve serve` makes them, or set `data_dir`",
            settings.data_dir.display()
        )));
    }
    let runtime = runtime()?;
    let candidate = candidate(&args, settings)?;
    let store = runtime.block_on(Store::open(&settings.store));
    let store = store.map_err(Failure::unable)?;
    let sources = Sources::new(
        Archive::new(store.clone()),
        settings.models.clone(),
        candidate,
        runtime.handle().clone(),
    );
    let job = Job {
        from: args.from,
        to: args.to,
        only_accesses: args.only_accesses,
        workers: std::thread::available_parallelism().map_or(1, NonZero::get),
    };
    let mut report = Report {
        examples_max: args.limit_examples.into(),
        ..Report::default()
    };
    let started = Instant::now();
    let bytes = fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    let bar = bar(bytes, "replaying");
    let contents = replay(job, &sources, &mut report, |each| {
        journal::read_all(&folder, |record| {
            // A line's own members: sign, number and chain.
            bar.inc(record.len() as u64 + 80);
            each(record)
        })
    })?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    runtime.block_on(store.close());
    tell(&report, &sources, &contents, seconds, output)?;
    verdict(&args, &report, &contents)
}

/// What is to be tried.
fn candidate(args: &ReplayArgs, settings: &Settings) -> Result<Candidate, Failure> {
    let policies = match &args.candidate {
        None => None,
        Some(folder) => Some(Arc::new(load(folder)?)),
    };
    let entities = match &args.entities {
        None => None,
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| Failure::Unable(format!("{}: {error}", path.display())))?;
            Some(Arc::new(SourceFile::new(path.display().to_string(), text)))
        }
    };
    let model = match &args.model {
        None => None,
        Some(name) => {
            let opened = open::open(&settings.models, name).map_err(Failure::unable)?;
            Some(opened.model)
        }
    };
    Ok(Candidate {
        policies,
        entities,
        model,
    })
}

fn load(folder: &Path) -> Result<Policies, Failure> {
    let files = ::policy::source::read_folder(folder).map_err(|error| {
        Failure::Unable(format!(
            "{}: {error}; `--candidate` names a folder with `*.cedarschema` and `*.cedar`",
            folder.display()
        ))
    })?;
    Policies::load(&files).map_err(|problems| Failure::No(problems.to_string()))
}

fn verdict(args: &ReplayArgs, report: &Report, contents: &Contents) -> Result<(), Failure> {
    let mut faults = Vec::new();
    if let Some(place) = &contents.first_unreadable {
        faults.push(format!(
            "{place}: {} lines of the journal could not be read; `portreeve audit verify` says more",
            contents.unreadable
        ));
    }
    if report.differing > 0 {
        faults.push(format!(
            "{} decisions are not what their own policies and model decide",
            report.differing
        ));
    }
    faults.extend(args.fail_if.iter().filter_map(|limit| limit.holds(report)));
    faults.extend(FailIf::unheard(&args.fail_if, report));
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Failure::No(faults.join("\n")))
    }
}

fn tell(
    report: &Report,
    sources: &Sources,
    contents: &Contents,
    seconds: f64,
    output: Output,
) -> Result<(), Failure> {
    let candidate = sources.candidate();
    let tried = json!({
        "policies": candidate.policies.as_ref().map(|policies| policies.revision()),
        "entities": candidate.entities.as_ref().map(|file| file.name.as_str()),
        "model": candidate.model.as_ref().map(|model| &**model.name()),
    });
    let decisions = report.compared() + report.uncompared();
    let rate = decisions as f64 / seconds.max(1e-9);
    let mut value = report.to_json();
    if let Some(members) = value.as_object_mut() {
        members.insert("candidate".to_owned(), tried);
        members.insert("self_check".to_owned(), json!(candidate.is_none()));
        members.insert("unreadable".to_owned(), json!(contents.unreadable));
        members.insert("seconds".to_owned(), json!((seconds * 1e3).round() / 1e3));
        members.insert("per_second".to_owned(), json!(rate.round()));
    }
    let mut text = vec![format!(
        "{decisions} decisions in {seconds:.1} s, {rate:.0} a second{}",
        report.span.map_or_else(String::new, |(from, to)| format!(
            "; decided {} to {}",
            wire::time::format(from),
            wire::time::format(to)
        ))
    )];
    if candidate.is_none() {
        text.push(match report.differing {
            0 => format!(
                "{} held against what decided them: no difference",
                report.compared()
            ),
            differing => format!(
                "{} held against what decided them: {differing} DIFFER",
                report.compared()
            ),
        });
    }
    text.push(matrix(report));
    if !candidate.is_none() {
        text.push(shares(report));
    }
    if !report.not_comparable.is_empty() {
        text.push(format!("not comparable: {}", report.uncompared()));
        for (reason, count) in &report.not_comparable {
            text.push(format!("  {count}  {reason}"));
        }
    }
    let policies = report.policies.top();
    if !policies.is_empty() {
        let mut rows = table(&["policy", "", "newly denied", "newly stepped up", "eased"]);
        for ((id, part), counts) in policies {
            let mut row = vec![id, part.as_str().to_owned()];
            row.extend(counts.map(|count| count.to_string()));
            rows.add_row(row);
        }
        text.push(rows.to_string());
    }
    text.extend(affected("subject", &report.subjects));
    text.extend(affected("resource", &report.resources));
    if !report.examples.is_empty() {
        text.push("examples; `portreeve policy explain ID` tells the story of one".to_owned());
        text.extend(report.examples.iter().map(example));
    }
    output.print(&value, &text.join("\n"))
}

fn matrix(report: &Report) -> String {
    let mut rows = table(&["on record", "allow", "challenge", "mfa", "deny"]);
    for (rung, counts) in Rung::ALL.iter().zip(&report.matrix) {
        let mut row = vec![rung.as_str().to_owned()];
        row.extend(counts.iter().map(ToString::to_string));
        rows.add_row(row);
    }
    rows.to_string()
}

fn shares(report: &Report) -> String {
    let of = report.compared().max(1) as f64;
    let told = |what: &str, count: u64| {
        let share = 100.0 * count as f64 / of;
        format!("{what:<18}{count:>10}  {share:.3} %")
    };
    [
        told("newly denied", report.count(Kind::NewlyDenied)),
        told("newly stepped up", report.count(Kind::NewlySteppedUp)),
        told("eased", report.count(Kind::Eased)),
        told("the same answer", report.compared() - report.changed()),
    ]
    .join("\n")
}

fn affected(what: &str, counted: &Counted<String>) -> Option<String> {
    if counted.is_empty() {
        return None;
    }
    let header = format!("{what}, the most affected of {}", counted.len());
    let mut rows = table(&[&header, "newly denied", "newly stepped up", "eased"]);
    for (name, counts) in counted.top() {
        let mut row = vec![name];
        row.extend(counts.map(|count| count.to_string()));
        rows.add_row(row);
    }
    Some(rows.to_string())
}

fn example(change: &Change) -> String {
    let because: Vec<String> = change
        .due_to
        .iter()
        .map(|(id, part)| format!("{id} {}", part.as_str()))
        .collect();
    let because = match (&change.difference, because.is_empty()) {
        (Some(difference), _) => difference.clone(),
        (None, true) => change.cause.to_owned(),
        (None, false) => because.join(", "),
    };
    format!(
        "  {}  {}  {} {} {}: {} at {}, would be {} at {}: {because}",
        change.decision_id,
        wire::time::format(change.at),
        change.subject,
        change.action,
        change.resource,
        change.was.0,
        change.was.1,
        change.is.0,
        change.is.1,
    )
}
