//! Other people's logs as events.
//!
//! Imports stream, and lose nothing silently: each record of the log becomes an event (or two, or
//! as many as it says it stands for), or is passed over and counted by what it is, or is rejected
//! and counted by the reason, and can be kept in a file.

mod cloudtrail;
mod entra;
mod json;
mod okta;
mod rba;
mod records;
mod sshd;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use domain::Timestamp;
use wire::Event;
use wire::request::USER_AGENT_MAX;

/// Different words that are counted apart in a report; what comes after is "something else".
const WORDS_MAX: usize = 100;

/// A form of log that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The risk-based-authentication login data set (Wiefling et al. 2022), CSV.
    Rba,
    /// AWS CloudTrail: its own JSON, or flattened to CSV.
    Cloudtrail,
    /// The log of sshd, as syslog writes it.
    Sshd,
    /// Okta's System Log, JSON as its API gives it.
    Okta,
    /// Sign-ins of Microsoft Entra ID, JSON as Microsoft Graph gives it or Azure Monitor exports
    /// it.
    Entra,
}

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Records of the log (lines, where it has a record a line):
    /// `taken` + `passed_over` + `rejected`.
    pub records: u64,
    /// Records that became events.
    pub taken: u64,
    /// Events written.
    pub events: u64,
    /// Events that are earlier than one before them. Training wants them in order of time.
    pub late: u64,
    /// Records that say nothing about an access, by what they are.
    pub passed_over: BTreeMap<String, u64>,
    /// Records that should have been events and could not be, by reason.
    pub rejected: BTreeMap<String, u64>,
}

impl Imported {
    fn count(words: &mut BTreeMap<String, u64>, word: Cow<'_, str>) {
        let word = if words.len() < WORDS_MAX || words.contains_key(word.as_ref()) {
            word.into_owned()
        } else {
            "something else".to_owned()
        };
        *words.entry(word).or_default() += 1;
    }
}

/// One record, read.
pub(crate) enum Read {
    /// So many times this event.
    Events(Box<Event>, u64),
    /// More than one thing happened.
    Several(Vec<Event>),
    /// Says nothing about an access.
    PassOver(Cow<'static, str>),
    /// Should have been an event.
    Reject(String),
}

/// Reads a log and hands each event to `event`. Records that are rejected go to `rejects`, with
/// line number and reason. `year` is for logs whose lines have none.
///
/// # Errors
/// When the log cannot be read, is of another form altogether, or what it says cannot be written.
pub fn import(
    format: Format,
    mut log: Box<dyn BufRead>,
    year: i16,
    mut event: impl FnMut(&Event) -> io::Result<()>,
    rejects: &mut dyn Write,
    mut progress: impl FnMut(u64),
) -> io::Result<Imported> {
    let mut imported = Imported::default();
    let mut latest = Timestamp::MIN;
    let mut take = |line: u64, text: &str, read: Read| -> io::Result<()> {
        imported.records += 1;
        progress(imported.records);
        let read = match read {
            // What is written must be readable again.
            Read::Events(event, _) if has_long_agent(&event) => Read::Reject(format!(
                "the user agent is longer than {USER_AGENT_MAX} bytes"
            )),
            read => read,
        };
        let (events, times) = match read {
            Read::Events(event, times) => (vec![*event], times),
            Read::Several(events) => (events, 1),
            Read::PassOver(what) => {
                Imported::count(&mut imported.passed_over, what);
                return Ok(());
            }
            Read::Reject(why) => {
                // One line each, whatever the record looked like.
                let text = text.replace(['\n', '\r', '\t'], " ");
                writeln!(rejects, "{line}\t{why}\t{text}")?;
                Imported::count(&mut imported.rejected, why.into());
                return Ok(());
            }
        };
        imported.taken += 1;
        for told in &events {
            imported.late += u64::from(told.time < latest);
            latest = latest.max(told.time);
            for _ in 0..times {
                event(told)?;
            }
            imported.events += times;
        }
        Ok(())
    };
    match format {
        Format::Rba => csv_rows(log, &rba::COLUMNS, |line, text, row| {
            take(line, text, rba::read(row))
        })?,
        Format::Cloudtrail if json::begins(&mut log)? => {
            json::each_record(log, &["Records"], cloudtrail::read_json, &mut take)?;
        }
        Format::Cloudtrail => csv_rows(log, &cloudtrail::COLUMNS, |line, text, row| {
            take(line, text, cloudtrail::read(row))
        })?,
        Format::Sshd => {
            let mut reader = sshd::Reader::new(year);
            for (number, text) in log.split(b'\n').enumerate() {
                let text = text?;
                let text = String::from_utf8_lossy(&text);
                take(number as u64 + 1, &text, reader.read(&text))?;
            }
        }
        Format::Okta => json::each_record(log, &[], okta::read, &mut take)?,
        Format::Entra => json::each_record(log, &["value", "records"], entra::read, &mut take)?,
    }
    Ok(imported)
}

fn has_long_agent(event: &Event) -> bool {
    let agent = event.request.context.user_agent.as_ref();
    agent.is_some_and(|agent| agent.len() > USER_AGENT_MAX)
}

/// A CSV row by column name; a missing column reads as empty.
pub(crate) type Row<'a> = BTreeMap<&'a str, &'a str>;

fn csv_rows(
    log: Box<dyn BufRead>,
    needed: &[&str],
    mut each: impl FnMut(u64, &str, &Row<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(log);
    let headers = reader.headers().map_err(io::Error::other)?.clone();
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|column| !headers.iter().any(|header| header.trim() == *column))
        .collect();
    if !missing.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the first line names no column {}", missing.join(", ")),
        ));
    }
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line);
                let row: Row<'_> = headers
                    .iter()
                    .map(str::trim)
                    .zip(record.iter().map(str::trim))
                    .collect();
                let text = record.iter().collect::<Vec<_>>().join(",");
                if record.len() == headers.len() {
                    each(line, &text, &row)?;
                } else {
                    each(line, &text, &Row::new())?;
                }
            }
            Err(error) if error.is_io_error() => return Err(io::Error::other(error)),
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                each(line, &error.to_string(), &Row::new())?;
            }
        }
    }
}
