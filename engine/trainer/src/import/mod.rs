//! Other people's logs as events.
//!
//! Imports stream, and lose nothing silently: a line that is no event is counted, with its
//! reason, and can be kept in a file.

mod cloudtrail;
mod rba;
mod sshd;

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use wire::Event;

/// A form of log that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The risk-based-authentication login data set (Wiefling et al. 2022), CSV.
    Rba,
    /// AWS CloudTrail, flattened to CSV.
    Cloudtrail,
    /// The log of sshd, as syslog writes it.
    Sshd,
}

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Events written.
    pub events: u64,
    /// Lines that say nothing about an access, by what they are.
    pub passed_over: BTreeMap<String, u64>,
    /// Lines that should have been events and could not be, by reason.
    pub rejected: BTreeMap<String, u64>,
}

/// One line, read.
pub(crate) enum Read {
    /// So many times this event.
    Events(Box<Event>, u64),
    /// Says nothing about an access.
    PassOver(&'static str),
    /// Should have been an event.
    Reject(String),
}

/// Reads a log and writes events. Lines that are rejected go to `rejects`, with line number and
/// reason. `year` is for logs whose lines have none.
///
/// # Errors
/// When the log cannot be read or the events cannot be written.
pub fn import(
    format: Format,
    log: Box<dyn BufRead>,
    year: i16,
    events: &mut dyn Write,
    rejects: &mut dyn Write,
    mut progress: impl FnMut(u64),
) -> io::Result<Imported> {
    let mut imported = Imported::default();
    let mut take = |line: u64, text: &str, read: Read| -> io::Result<()> {
        match read {
            Read::Events(event, times) => {
                for _ in 0..times {
                    crate::events::write(&mut &mut *events, &event)?;
                }
                imported.events += times;
            }
            Read::PassOver(what) => {
                *imported.passed_over.entry(what.to_owned()).or_default() += 1;
            }
            Read::Reject(why) => {
                writeln!(rejects, "{line}\t{why}\t{text}")?;
                *imported.rejected.entry(why).or_default() += 1;
            }
        }
        progress(line);
        Ok(())
    };
    match format {
        Format::Rba => csv_rows(log, &rba::COLUMNS, |line, text, row| {
            take(line, text, rba::read(row))
        })?,
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
    }
    Ok(imported)
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
