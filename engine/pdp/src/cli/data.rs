//! `portreeve data`: events, simulated and imported.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ::geo::World;
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use trainer::import::Format;
use trainer::simulate::{self, Stream};
use trainer::{Organisation, Scenario};
use wire::event::Label;

use super::Failure;
use super::output::{Output, bar, counter, line, tell};

/// Simulated events are gathered to so many bytes before they are written.
const WRITTEN_AT_ONCE: usize = 1 << 20;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    /// The risk-based-authentication login data set, CSV
    Rba,
    /// AWS CloudTrail, flattened to CSV
    Cloudtrail,
    /// The log of sshd, as syslog writes it
    Sshd,
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
        /// Where to write the events; standard output by default
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
        /// Where to write the events; standard output by default
        #[arg(long)]
        out: Option<PathBuf>,
        /// Where to write the lines that could not be read, each with its number and reason
        #[arg(long)]
        rejects: Option<PathBuf>,
        /// Year of the first line, for logs whose lines have none
        #[arg(long, default_value_t = 2017)]
        year: i16,
    },
}

pub(super) fn run(command: DataCommand, output: Output) -> Result<(), Failure> {
    match command {
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
                line(simulate::scenario::DEFAULT.trim_end());
                return Ok(());
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
            simulated(&organisation, out.as_ref(), output)
        }
        DataCommand::Import {
            format,
            log,
            out,
            rejects,
            year,
        } => {
            let format = match format {
                LogFormat::Rba => Format::Rba,
                LogFormat::Cloudtrail => Format::Cloudtrail,
                LogFormat::Sshd => Format::Sshd,
            };
            let reader = trainer::events::open(&log)?;
            let to_file = out.is_some();
            let mut to = writer(out.as_ref())?;
            let mut rejected: Box<dyn Write> = match &rejects {
                Some(_) => writer(rejects.as_ref())?,
                None => Box::new(io::sink()),
            };
            let bar = counter("lines");
            let imported =
                trainer::import::import(format, reader, year, &mut to, &mut rejected, |line| {
                    bar.set_position(line)
                })
                .map_err(|error| Failure::Unable(format!("{}: {error}", log.display())))?;
            to.flush()?;
            rejected.flush()?;
            bar.finish_and_clear();
            let value = json!({
                "events": imported.events,
                "passed_over": imported.passed_over,
                "rejected": imported.rejected,
            });
            let mut text = vec![format!("{} events", imported.events)];
            for (what, count) in &imported.passed_over {
                text.push(format!("{count} lines passed over: {what}"));
            }
            for (why, count) in &imported.rejected {
                text.push(format!("{count} lines rejected: {why}"));
            }
            if !imported.rejected.is_empty() && rejects.is_none() {
                text.push("name a file with `--rejects` to keep them".to_owned());
            }
            report(to_file, output, &value, &text.join("\n"))
        }
    }
}

/// Streams the events of an organisation, and says how many of which label there were.
fn simulated(
    organisation: &Organisation,
    out: Option<&PathBuf>,
    output: Output,
) -> Result<(), Failure> {
    let mut to = writer(out)?;
    let stream = Stream::new(organisation);
    let bar = bar(stream.days(), "days");
    let mut text = Vec::with_capacity(WRITTEN_AT_ONCE + (1 << 16));
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
            trainer::events::write(&mut text, &event)?;
            if text.len() > WRITTEN_AT_ONCE {
                to.write_all(&text)?;
                text.clear();
            }
        }
        bar.inc(1);
    }
    to.write_all(&text)?;
    to.flush()?;
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

fn writer(path: Option<&PathBuf>) -> Result<Box<dyn Write>, Failure> {
    Ok(match path {
        None => Box::new(BufWriter::new(io::stdout())),
        Some(path) => {
            let file = File::create(path)
                .map_err(|error| Failure::Unable(format!("{}: {error}", path.display())))?;
            Box::new(BufWriter::with_capacity(1 << 20, file))
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
