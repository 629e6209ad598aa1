//! `portreeve audit`: the record of decisions.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use store::Store;
use store::journal::{self, Break, Link, Position, Report};

use super::output::{Output, bar, line, tell};
use super::{Failure, runtime};
use crate::settings::Settings;

/// How often a followed journal is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Check the chain of all records, and say where it breaks
    Verify,
    /// Show the last records
    Tail {
        /// How many
        #[arg(short = 'n', long, default_value_t = 10)]
        number: usize,
        /// Go on as they come
        #[arg(short, long)]
        follow: bool,
    },
}

pub(super) fn run(
    command: AuditCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let folder = settings.data_dir.join("journal");
    if !folder.is_dir() {
        return Err(Failure::Unable(format!(
            "{}: no journal; `portreeve serve` makes one, or set `data_dir`",
            folder.display()
        )));
    }
    match command {
        AuditCommand::Verify => runtime()?.block_on(verify(&folder, settings, output)),
        AuditCommand::Tail { number, follow } => tail(&folder, number, follow, output),
    }
}

async fn verify(folder: &Path, settings: &Settings, output: Output) -> Result<(), Failure> {
    let bytes = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    let store = if settings.store.is_file() {
        let store = Store::open(&settings.store).await;
        Some(store.map_err(Failure::unable)?)
    } else {
        None
    };
    // Drained is read before the journal, removed after it: an engine may be at work meanwhile.
    let drained = match &store {
        Some(store) => store.drained().await.map_err(Failure::unable)?,
        None => None,
    };
    let bar = bar(bytes, "verifying");
    let report = journal::verify(folder, drained.as_ref(), |read| bar.inc(read))?;
    bar.finish_and_clear();
    let removed = match &store {
        Some(store) => Some(store.removed().await.map_err(Failure::unable)?),
        None => None,
    };
    let end = report.end.as_ref().map_or(0, |end| end.seq);
    let what = report
        .broken
        .as_ref()
        .map(place)
        .or_else(|| without_beginning(folder, &report, removed?))
        .or_else(|| without_end(folder, end, &drained?));
    let value = json!({
        "ok": what.is_none(),
        "segments": report.segments,
        "records": report.records,
        "last_seq": end,
        "chain": report.end.as_ref().map(|end| end.chain.to_string()),
        "torn_bytes": report.torn_bytes,
        "held_against_store": store.is_some(),
        "broken": what.as_ref().map(|what| json!({
            "segment": report.broken.as_ref().map(|broken| broken.segment.display().to_string()),
            "line": report.broken.as_ref().map(|broken| broken.line),
            "seq": report.broken.as_ref().map(|broken| broken.seq),
            "what": what,
        })),
    });
    let mut text = format!(
        "{} records, {} segments; the chain is {}",
        report.records,
        report.segments,
        if what.is_none() { "whole" } else { "BROKEN" }
    );
    if report.torn_bytes > 0 {
        text.push_str(&format!(
            "\n{} bytes at the end belong to a group that was never answered: being written, or \
             torn by a crash; the next start repairs it",
            report.torn_bytes
        ));
    }
    if store.is_none() {
        text.push_str(&format!(
            "\n{}: no store, so nothing to hold the chain against but itself",
            settings.store.display()
        ));
    }
    output.print(&value, &text)?;
    what.map_or(Ok(()), |what| Err(Failure::No(what)))
}

fn place(broken: &Break) -> String {
    format!(
        "{}:{}: the chain breaks at record {} (byte {}): {}",
        broken.segment.display(),
        broken.line,
        broken.seq,
        broken.offset,
        broken.what
    )
}

/// Whether older segments are gone than were removed when their time was over.
fn without_beginning(folder: &Path, report: &Report, removed: Link) -> Option<String> {
    let begins = report.begins_after?;
    if begins.seq < removed.seq || begins == removed {
        return None;
    }
    Some(format!(
        "{}: the journal begins after record {}, but only records up to {} were removed because \
         their time was over: its beginning is gone, or was written anew",
        folder.display(),
        begins.seq,
        removed.seq
    ))
}

/// Whether the store has seen more than there is.
fn without_end(folder: &Path, end: u64, drained: &Position) -> Option<String> {
    (drained.seq > end).then(|| {
        format!(
            "{}: the journal ends at record {end}, but record {} was in the store already: its \
             end has been cut off",
            folder.display(),
            drained.seq
        )
    })
}

fn tail(folder: &Path, number: usize, follow: bool, output: Output) -> Result<(), Failure> {
    let mut position = None;
    let mut last = std::collections::VecDeque::new();
    loop {
        let read = journal::read_from(folder, position.as_ref(), u64::MAX, 1000)?;
        if let Some(damage) = read.damage {
            tell(&format!("{damage}: see `portreeve audit verify`"));
        }
        let Some(end) = read.records.last() else {
            break;
        };
        position = Some(end.after.clone());
        for record in read.records {
            if last.len() == number {
                last.pop_front();
            }
            if number > 0 {
                last.push_back(record);
            }
        }
    }
    for record in &last {
        show(&record.body, output)?;
    }
    if !follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(FOLLOW_EVERY);
        // A segment may be gone before it is read.
        let read =
            journal::read_from(folder, position.as_ref(), u64::MAX, 1000).unwrap_or_default();
        for record in read.records {
            show(&record.body, output)?;
            position = Some(record.after);
        }
    }
}

fn show(body: &[u8], output: Output) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(body);
    if output.json {
        return line(&text);
    }
    let Ok(record) = serde_json::from_slice::<Value>(body) else {
        return line(&text);
    };
    let get = |path: &str| {
        record.pointer(path).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let get = |path: &str| get(path).unwrap_or_default();
    if get("/kind") == "step_up" {
        return line(&format!(
            "{}  step-up to level {} for {}",
            get("/at"),
            get("/level"),
            get("/decision_id")
        ));
    }
    if get("/kind") == "feedback" {
        return line(&format!(
            "{}  feedback: {} was {}legitimate",
            get("/at"),
            get("/decision_id"),
            if get("/legitimate") == "true" {
                ""
            } else {
                "not "
            }
        ));
    }
    if get("/kind") == "search" {
        return line(&format!(
            "{}  search for {}s: {} found, {} decided",
            get("/at"),
            get("/sought"),
            get("/page/count"),
            get("/evaluated")
        ));
    }
    if get("/kind") == "model" {
        let model = match get("/model") {
            none if none == "null" => "none".to_owned(),
            model => model,
        };
        return line(&format!(
            "{}  model {}: {model} instead of {}, by {}{}{}",
            get("/at"),
            get("/act"),
            get("/previous"),
            get("/caller"),
            if get("/forced") == "true" {
                ", forced"
            } else {
                ""
            },
            match get("/reason") {
                none if none == "null" => String::new(),
                reason => format!(": {reason}"),
            },
        ));
    }
    if get("/kind") == "event" {
        return line(&format!(
            "{}  told: {} of {}::{:?}, {}",
            get("/at"),
            get("/event/action/name"),
            get("/event/subject/type"),
            get("/event/subject/id"),
            get("/event/result")
        ));
    }
    let policies = record
        .get("policies")
        .and_then(Value::as_array)
        .map_or_else(String::new, |ids| {
            ids.iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        });
    let because = if policies.is_empty() {
        get("/cause")
    } else {
        policies
    };
    line(&format!(
        "{}  {:<9} {:>3}  {}::{:?} {} {}::{:?}  {because} {}",
        get("/at"),
        get("/outcome"),
        get("/score"),
        get("/request/subject/type"),
        get("/request/subject/id"),
        get("/request/action/name"),
        get("/request/resource/type"),
        get("/request/resource/id"),
        get("/detail"),
    ))
}
