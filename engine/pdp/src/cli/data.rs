//! `portreeve data`: events, simulated, imported, and exported from the record of decisions.

pub(super) mod export;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ::geo::World;
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use trainer::events::{Sorter, Writer};
use trainer::import::{Format, Imported};
use trainer::simulate::{self, Stream};
use trainer::{Organisation, Scenario};
use wire::event::Label;

use super::Failure;
use super::output::{Output, bar, counter, line, tell};
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
    /// Simulate an organisation: people, programs, labelled attacks on both, and honest days
    /// that look like attacks
    Simulate {
        /// What happens, as data/simulate/organisation.toml, which holds where it says nothing
        #[arg(long)]
        scenario: Option<PathBuf>,
        /// The world they live in, as data/geo/demo.toml, which is taken by default
        #[arg(long)]
        world: Option<PathBuf>,
        /// People, instead of the scenario's
        #[arg(long)]
        people: Option<usize>,
        /// Programs, instead of the scenario's
        #[arg(long)]
        services: Option<usize>,
        /// Days, instead of the scenario's
        #[arg(long)]
        days: Option<u32>,
        /// Attacks of each kind for every thousand days of a person, instead of the scenario's
        #[arg(long)]
        attacks: Option<f64>,
        /// Same seed, same events; instead of the scenario's
        #[arg(long)]
        seed: Option<u64>,
        /// Where to write the events; standard output by default. `.parquet` is a table, `.gz` packed
        #[arg(long)]
        out: Option<PathBuf>,
        /// Print the scenario that comes along, to be changed, and simulate nothing
        #[arg(long)]
        print_scenario: bool,
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
            scenario,
            world,
            people,
            services,
            days,
            attacks,
            seed,
            out,
            print_scenario,
        } => {
            if print_scenario {
                return line(simulate::scenario::DEFAULT.trim_end());
            }
            let mut plan = match scenario {
                Some(path) => Scenario::parse(&path, &text_of(&path)?),
                None => Scenario::shipped(),
            }
            .map_err(Failure::unable)?;
            let frame = &mut plan.organisation;
            frame.people = people.unwrap_or(frame.people);
            frame.programs = services.unwrap_or(frame.programs);
            frame.days = days.unwrap_or(frame.days);
            frame.seed = seed.unwrap_or(frame.seed);
            plan.attacks.per_thousand_days = attacks.unwrap_or(plan.attacks.per_thousand_days);
            plan.check().map_err(Failure::Unable)?;
            let world = match world {
                Some(path) => World::parse(&path, &text_of(&path)?),
                None => simulate::shipped_world(),
            }
            .map_err(Failure::unable)?;
            let organisation = Organisation::new(&plan, &world).map_err(Failure::unable)?;
            simulated(&organisation, out.as_deref(), output)
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

/// Streams the events of an organisation, and says how many of which label there were.
fn simulated(
    organisation: &Organisation,
    out: Option<&Path>,
    output: Output,
) -> Result<(), Failure> {
    let mut to = Writer::create(out)?;
    let stream = Stream::new(organisation);
    let bar = bar(stream.days(), "days");
    let mut count = 0_u64;
    let mut labels: BTreeMap<String, u64> = BTreeMap::new();
    for page in stream {
        for event in page.events() {
            count += 1;
            if let Some(label) = &event.label {
                let (Label::Attack(name) | Label::Benign(name)) = label;
                match labels.get_mut(name) {
                    Some(count) => *count += 1,
                    None => drop(labels.insert(name.clone(), 1)),
                }
            }
            to.write(&event)?;
        }
        bar.inc(1);
    }
    to.finish()?;
    bar.finish_and_clear();
    let mut said = vec![format!("{count} events")];
    said.extend(
        labels
            .iter()
            .map(|(label, count)| format!("{count} {label}")),
    );
    report(
        out.is_some(),
        output,
        &json!({ "events": count, "labels": labels }),
        &said.join("\n"),
    )
}

fn text_of(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::Unable(format!("{}: {error}", path.display())))
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
