//! `portreeve data`: events, simulated, imported, and exported from the record of decisions.

pub(super) mod export;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ::geo::World;
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use trainer::events::{Sorter, Writer};
use trainer::import::{Format, Imported};
use trainer::{Organisation, Plan};

use super::Failure;
use super::output::{Output, bar, counter, tell};
use crate::settings::{Settings, SettingsError};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    /// The risk-based-authentication login data set, CSV
    Rba,
    /// AWS CloudTrail: its own JSON, or flattened to CSV
    Cloudtrail,
    /// The log of sshd, as syslog writes it
    Sshd,
    /// Okta's System Log, JSON
    Okta,
    /// Sign-ins of Microsoft Entra ID, JSON of Microsoft Graph or Azure Monitor
    Entra,
}

#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// Simulate an organisation: people, programs, and labelled attacks on both
    Simulate {
        /// The world they live in, as data/geo/demo.toml
        #[arg(long, default_value = "data/geo/demo.toml")]
        world: PathBuf,
        /// People
        #[arg(long, default_value_t = 200)]
        people: usize,
        /// Programs
        #[arg(long, default_value_t = 10)]
        services: usize,
        /// Days
        #[arg(long, default_value_t = 60)]
        days: u32,
        /// Attacks of each kind for every thousand days of a person
        #[arg(long, default_value_t = 3.0)]
        attacks: f64,
        /// Same seed, same events
        #[arg(long, default_value_t = 7)]
        seed: u64,
        /// Where to write the events; standard output by default. `.parquet` is a table, `.gz` packed
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Turn a log into events
    Import {
        /// What kind of log it is
        #[arg(long)]
        format: LogFormat,
        /// The log; `.gz` is unpacked, `-` is standard input
        log: PathBuf,
        /// Where to write the events; standard output by default. `.parquet` is a table, `.gz` packed
        #[arg(long)]
        out: Option<PathBuf>,
        /// Write them in order of time, as training wants them; for logs that are not
        #[arg(long)]
        sort: bool,
        /// Where to write the lines that could not be read, each with its number and reason
        #[arg(long)]
        rejects: Option<PathBuf>,
        /// Year of the first line, for logs whose lines have none
        #[arg(long, default_value_t = 2017)]
        year: i16,
    },
    /// Write what was decided and observed as events, in order of time; with the engine running
    /// or not
    Export(export::ExportArgs),
}

pub(super) fn run(
    command: DataCommand,
    settings: impl FnOnce() -> Result<Settings, SettingsError>,
    output: Output,
) -> Result<(), Failure> {
    match command {
        DataCommand::Export(args) => export::run(args, &settings()?, output),
        DataCommand::Simulate {
            world,
            people,
            services,
            days,
            attacks,
            seed,
            out,
        } => {
            let text = fs::read_to_string(&world)
                .map_err(|error| Failure::Unable(format!("{}: {error}", world.display())))?;
            let world = World::parse(&world, &text).map_err(Failure::unable)?;
            let plan = Plan {
                seed,
                days,
                people,
                services,
                attacks_per_thousand: attacks,
                ..Plan::default()
            };
            let organisation = Organisation::new(&plan, &world).map_err(Failure::unable)?;
            let to_file = out.is_some();
            let mut to = Writer::create(out.as_deref())?;
            let bar = bar(u64::from(days), "days");
            let mut count = 0_u64;
            for events in trainer::simulate::simulate(&organisation, &plan) {
                for event in &events {
                    to.write(event)?;
                }
                count += events.len() as u64;
                bar.inc(1);
            }
            to.finish()?;
            bar.finish_and_clear();
            report(
                to_file,
                output,
                &json!({ "events": count }),
                &format!("{count} events"),
            )
        }
        DataCommand::Import {
            format,
            log,
            out,
            sort,
            rejects,
            year,
        } => {
            let format = match format {
                LogFormat::Rba => Format::Rba,
                LogFormat::Cloudtrail => Format::Cloudtrail,
                LogFormat::Sshd => Format::Sshd,
                LogFormat::Okta => Format::Okta,
                LogFormat::Entra => Format::Entra,
            };
            let named = |error| Failure::Unable(format!("{}: {error}", log.display()));
            let reader = trainer::events::open(&log).map_err(named)?;
            let to_file = out.is_some();
            let mut to = Writer::create(out.as_deref())?;
            let mut sorter = sort.then(Sorter::default);
            let mut rejected = rejects_to(rejects.as_deref())?;
            let bar = counter("records");
            let imported = trainer::import::import(
                format,
                reader,
                year,
                |event| match &mut sorter {
                    Some(sorter) => sorter.push(event),
                    None => to.write(event),
                },
                &mut rejected,
                |records| bar.set_position(records),
            )
            .map_err(named)?;
            if let Some(sorter) = sorter {
                sorter.finish(|event| to.write(event))?;
            }
            to.finish()?;
            rejected.flush()?;
            bar.finish_and_clear();
            let text = told(&imported, sort, rejects.is_some());
            let value = json!({
                "records": imported.records,
                "taken": imported.taken,
                "events": imported.events,
                "late": imported.late,
                "passed_over": imported.passed_over,
                "rejected": imported.rejected,
            });
            report(to_file, output, &value, &text)
        }
    }
}

/// What became of an import, for people.
fn told(imported: &Imported, sorted: bool, kept: bool) -> String {
    let mut text = vec![format!(
        "{} events of {} records",
        imported.events, imported.records
    )];
    for (what, count) in &imported.passed_over {
        text.push(format!("{count} passed over: {what}"));
    }
    for (why, count) in &imported.rejected {
        text.push(format!("{count} rejected: {why}"));
    }
    if !imported.rejected.is_empty() && !kept {
        text.push("name a file with `--rejects` to keep them".to_owned());
    }
    if imported.late > 0 && !sorted {
        text.push(format!(
            "{} events are earlier than one before them; `--sort` puts them in order",
            imported.late
        ));
    }
    text.join("\n")
}

fn rejects_to(path: Option<&Path>) -> Result<Box<dyn Write>, Failure> {
    Ok(match path {
        None => Box::new(io::sink()),
        Some(path) => {
            let file = File::create(path)
                .map_err(|error| Failure::Unable(format!("{}: {error}", path.display())))?;
            Box::new(BufWriter::new(file))
        }
    })
}

/// Standard output belongs to the events when they go there.
fn report(
    to_file: bool,
    output: Output,
    value: &serde_json::Value,
    text: &str,
) -> Result<(), Failure> {
    if to_file {
        output.print(value, text)
    } else {
        tell(text);
        Ok(())
    }
}
