//! `portreeve audit`: the record of decisions.

mod export;
mod proof;
mod verify;

use std::path::Path;
use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;
use store::journal;

use super::output::{Output, line, tell};
use super::{Failure, runtime};
use crate::settings::Settings;

/// How often a followed journal is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Check the chain and its signatures, say where it breaks and how far it is proven
    Verify(verify::VerifyArgs),
    /// Write a part of the record with what proves it, one JSON object a line
    Export(export::ExportArgs),
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
    if let AuditCommand::Verify(args) = &command
        && let Some(path) = &args.export
    {
        return proof::run(path, args, output);
    }
    let folder = settings.data_dir.join("journal");
    if !folder.is_dir() {
        return Err(Failure::Unable(format!(
            "{}: no journal; `portreeve serve` makes one, or set `data_dir`",
            folder.display()
        )));
    }
    match command {
        AuditCommand::Verify(args) => {
            runtime()?.block_on(verify::run(&args, &folder, settings, output))
        }
        AuditCommand::Export(args) => {
            runtime()?.block_on(export::run(&args, &folder, settings, output))
        }
        AuditCommand::Tail { number, follow } => tail(&folder, number, follow, output),
    }
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
    if get("/kind") == "session" {
        return line(&format!(
            "{}  session {} {}, of {}::{:?}",
            get("/at"),
            get("/session"),
            get("/event"),
            get("/subject/type"),
            get("/subject/id")
        ));
    }
    if get("/kind") == "alert" {
        return line(&format!(
            "{}  ALERT {}: {}, of {}::{:?}",
            get("/at"),
            get("/alert"),
            get("/message"),
            get("/subject/type"),
            get("/subject/id")
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
    if get("/kind") == "signing_key" {
        return line(&format!(
            "{}  signing key {}: {} ({}), by {}",
            get("/at"),
            get("/act"),
            get("/kid"),
            get("/algorithm"),
            get("/by"),
        ));
    }
    if get("/kind") == "unsigned" {
        return line(&format!(
            "{}  records {} to {} were found at a start, and nothing vouched for them",
            get("/at"),
            get("/from"),
            get("/to"),
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
