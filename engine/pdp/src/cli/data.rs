//! `portreeve data`: events, simulated and imported.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use ::geo::World;
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use trainer::import::Format;
use trainer::{Organisation, Plan};

use super::Failure;
use super::output::{Output, bar, counter, tell};

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
        /// Where to write the events; standard output by default
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
            let mut to = writer(out.as_ref())?;
            let bar = bar(u64::from(days), "days");
            let mut count = 0_u64;
            for events in trainer::simulate::simulate(&organisation, &plan) {
                for event in &events {
                    trainer::events::write(&mut to, event)?;
                }
                count += events.len() as u64;
                bar.inc(1);
            }
            to.flush()?;
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
