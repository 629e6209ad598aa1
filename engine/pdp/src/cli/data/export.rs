//! `portreeve data export`: the record of decisions as events.
//!
//! The journal is read twice: first for what was told about decisions later on (step-ups, a
//! person's word), then for the decisions themselves.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use domain::Timestamp;
use serde_json::json;
use store::journal::{self, Contents};
use trainer::events::{Sorter, Writer};
use trainer::pseudonym::Pseudonyms;
use uuid::Uuid;
use wire::event::Label;
use wire::told::{self, Told};
use wire::{Event, Malformed};

use super::super::Failure;
use super::super::output::{Output, counter};
use super::report;
use crate::inputs::Inputs;
use crate::settings::Settings;

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// Where to write the events; standard output by default. `.parquet` is a table, `.gz` packed
    #[arg(long)]
    out: Option<PathBuf>,
    /// From this moment on, as 2026-11-20 or 2026-11-20T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// Replace names by keyed pseudonyms, and leave out what might hold one. The key is in this
    /// file; one is made if there is none
    #[arg(long, value_name = "KEYFILE")]
    pseudonymise: Option<PathBuf>,
}

pub(in crate::cli) fn moment(text: &str) -> Result<Timestamp, String> {
    wire::time::parse(text)
        .or_else(|| wire::time::parse(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| "a day as 2026-11-20, or a time as 2026-11-20T08:00:00Z".to_owned())
}

/// What was told about one decision after it.
#[derive(Clone, Copy, Debug, Default)]
struct Words {
    /// The highest step-up that was passed for it.
    step_up: Option<u8>,
    /// A person's last word.
    legitimate: Option<bool>,
}

/// What was exported, and what was not.
#[derive(Debug, Default)]
struct Exported {
    decisions: u64,
    observed: u64,
    labelled: u64,
    left_out: BTreeMap<&'static str, u64>,
}

pub(super) fn run(args: ExportArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let (exported, contents) = write(&args, settings)?;
    let (value, text) = exported.tell(&contents);
    report(args.out.is_some(), output, &value, &text)?;
    match contents.first_unreadable {
        // What could be read is exported, but nobody should take it for everything.
        Some(place) => Err(Failure::No(format!(
            "{place}: {} lines of the journal could not be read; `portreeve audit verify` says more",
            contents.unreadable
        ))),
        None => Ok(()),
    }
}

/// The whole decision log as a file of events, for commands that read it more than once. What
/// cannot be read of it is not there.
pub(in crate::cli) fn whole(settings: &Settings, out: &Path) -> Result<(), Failure> {
    let args = ExportArgs {
        out: Some(out.to_owned()),
        from: None,
        to: None,
        pseudonymise: None,
    };
    write(&args, settings).map(drop)
}

fn write(args: &ExportArgs, settings: &Settings) -> Result<(Exported, Contents), Failure> {
    let folder = settings.data_dir.join("journal");
    if !folder.is_dir() {
        return Err(Failure::Unable(format!(
            "{}: no journal; `portreeve serve` makes one, or set `data_dir`",
            folder.display()
        )));
    }
    let mut names = match &args.pseudonymise {
        None => None,
        Some(path) => Some(Pseudonyms::new(&key(path)?)),
    };
    let bar = counter("records");
    let words = words(&folder, || bar.inc(1))?;
    bar.reset();
    // Replayed questions and facts told late do not stand in the order of their time.
    let mut sorter = Sorter::default();
    let mut exported = Exported::default();
    let contents = journal::read_all(&folder, |text| {
        bar.inc(1);
        if let Some(mut event) = exported.take(text, args, &words) {
            if let Some(names) = &mut names {
                names.apply(&mut event);
            }
            sorter.push(&event)?;
        }
        Ok(())
    })?;
    let mut to = Writer::create(args.out.as_deref())?;
    sorter.finish(|event| to.write(event))?;
    to.finish()?;
    bar.finish_and_clear();
    Ok((exported, contents))
}

fn words(folder: &Path, mut each: impl FnMut()) -> Result<HashMap<Uuid, Words>, Failure> {
    let mut words: HashMap<Uuid, Words> = HashMap::new();
    journal::read_all(folder, |text| {
        each();
        let (id, word) = match told::read_word(text) {
            Ok(Some(Told::StepUp { decision_id, level })) => {
                let step_up = Some(level);
                (
                    decision_id,
                    Words {
                        step_up,
                        ..Words::default()
                    },
                )
            }
            Ok(Some(Told::Feedback {
                decision_id,
                legitimate,
            })) => {
                let legitimate = Some(legitimate);
                (
                    decision_id,
                    Words {
                        legitimate,
                        ..Words::default()
                    },
                )
            }
            // What is damaged is counted when the decisions are read.
            _ => return Ok(()),
        };
        if let Ok(id) = Uuid::parse_str(&id) {
            let known = words.entry(id).or_default();
            known.step_up = known.step_up.max(word.step_up);
            known.legitimate = word.legitimate.or(known.legitimate);
        }
        Ok(())
    })?;
    Ok(words)
}

impl Exported {
    /// The event of a record; none when there is none to export.
    fn take(
        &mut self,
        text: &[u8],
        args: &ExportArgs,
        words: &HashMap<Uuid, Words>,
    ) -> Option<Event> {
        let (event, word) = match told::read_record(text) {
            Ok(Some(Told::Decision(decided))) if decided.manner != "access" => {
                // No access was asked for; profiles know nothing of them either.
                return self.leave_out("questions of batches and dry runs");
            }
            Ok(Some(Told::Decision(decided))) => {
                let id = Uuid::parse_str(&decided.decision_id).unwrap_or_default();
                let word = words.get(&id).copied().unwrap_or_default();
                (decided.into_event(word.step_up), Some(word))
            }
            Ok(Some(Told::Event(event))) => (*event, None),
            // They are in the decisions' events.
            Ok(Some(Told::StepUp { .. } | Told::Feedback { .. }) | None) => return None,
            Err(Malformed(_)) => return self.leave_out("records that this engine cannot read"),
        };
        if args.from.is_some_and(|from| event.time < from)
            || args.to.is_some_and(|to| event.time >= to)
        {
            return self.leave_out("before or after the time asked for");
        }
        let mut event = event;
        match word {
            None => self.observed += 1,
            Some(word) => {
                self.decisions += 1;
                event.label = match word.legitimate {
                    Some(true) => Some(Label::Benign("confirmed".to_owned())),
                    Some(false) => Some(Label::Attack("reported".to_owned())),
                    None => None,
                };
            }
        }
        self.labelled += u64::from(event.label.is_some());
        Some(event)
    }

    fn leave_out(&mut self, what: &'static str) -> Option<Event> {
        *self.left_out.entry(what).or_default() += 1;
        None
    }

    fn tell(&self, contents: &Contents) -> (serde_json::Value, String) {
        let value = json!({
            "events": self.decisions + self.observed,
            "decisions": self.decisions,
            "observed": self.observed,
            "labelled": self.labelled,
            "left_out": self.left_out,
            "unreadable": contents.unreadable,
        });
        let mut text = vec![format!(
            "{} decisions and {} observed events, {} of them labelled",
            self.decisions, self.observed, self.labelled
        )];
        for (what, count) in &self.left_out {
            text.push(format!("{count} left out: {what}"));
        }
        (value, text.join("\n"))
    }
}

/// The key of a file, or a new one that is put there for its owner alone.
fn key(path: &Path) -> Result<[u8; 32], Failure> {
    let unable = |error: io::Error| Failure::Unable(format!("{}: {error}", path.display()));
    let mut key = [0; 32];
    match fs::read_to_string(path) {
        Ok(text) => {
            let mode = fs::metadata(path).map_err(unable)?.mode();
            if mode & 0o077 != 0 {
                return Err(Failure::Unable(format!(
                    "{0}: others can read this key; `chmod 600 {0}`, and make a new one if they \
                     may have",
                    path.display()
                )));
            }
            hex::decode_to_slice(text.trim(), &mut key).map_err(|_| {
                Failure::Unable(format!(
                    "{}: no key, which is 64 hexadecimal digits; name a file that is not there, \
                     and one is made",
                    path.display()
                ))
            })?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Inputs::system().randomness.fill(&mut key);
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(unable)?;
            writeln!(file, "{}", hex::encode(key)).map_err(unable)?;
            file.sync_all().map_err(unable)?;
        }
        Err(error) => return Err(unable(error)),
    }
    Ok(key)
}
