//! `portreeve audit export`: a part of the record, with what proves it.
//!
//! One JSON object a line: a header, the public keys, then the records with their links of the
//! chain, and each checkpoint behind the record that it is of. The last record always has one, and
//! none is signed here: whoever has the disk could have written what this command reads back. So
//! an export goes on to the next checkpoint of the engine, and ends at the last one. A record is
//! copied byte for byte: the chain is over its text.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use domain::Timestamp;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use store::journal::{self, Chain, Link, Record};

use super::super::Failure;
use super::super::data::export::moment;
use super::super::output::{Output, counter, tell};
use super::verify::{Examined, Trusted, VerifyArgs, examine, own};
use crate::checkpoints::Unsigned;
use crate::settings::Settings;
use crate::signing::Listing;

/// Records that are read at once.
const CHUNK: usize = 1000;

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// Where to write it; standard output by default
    #[arg(long)]
    out: Option<PathBuf>,
    /// From this moment on, as 2026-11-20 or 2026-11-20T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// From this record on
    #[arg(long, value_name = "NUMBER")]
    from_seq: Option<u64>,
    /// Up to and with this record
    #[arg(long, value_name = "NUMBER")]
    to_seq: Option<u64>,
}

pub(super) async fn run(
    args: &ExportArgs,
    folder: &Path,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let listed = own(settings)?;
    let trusted = Trusted::Own(listed.clone());
    let nothing_more = VerifyArgs {
        export: None,
        keys: None,
        checkpoints: Vec::new(),
    };
    let examined = examine(&nothing_more, folder, settings, &trusted).await?;
    if let Some(what) = &examined.what {
        return Err(Failure::No(format!(
            "{what}\nnothing is exported, because it could not be proven"
        )));
    }
    let Some(wanted) = range(args, folder, examined.end())? else {
        return Err(Failure::No("there is no record in that range".to_owned()));
    };
    let range = proven(&wanted, &examined)?;
    let within = |gap: &Unsigned| gap.from <= range.last && gap.to >= range.first;
    if let Some((_, fault)) = examined.gap_faults.iter().find(|(gap, _)| within(gap)) {
        return Err(Failure::No(format!(
            "{fault}\nnothing is exported, because it could not be proven; leave them out with \
             `--from-seq` and `--to-seq`"
        )));
    }
    let written = match &args.out {
        Some(path) => {
            let told = |error: io::Error| Failure::Unable(format!("{}: {error}", path.display()));
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)
                .map_err(told)?;
            let mut to = BufWriter::new(file);
            let written = write(&mut to, &range, folder, &examined, &listed)?;
            to.into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|file| file.sync_all())
                .map_err(told)?;
            written
        }
        None => {
            let mut to = BufWriter::new(io::stdout().lock());
            let written = write(&mut to, &range, folder, &examined, &listed)?;
            to.flush()?;
            written
        }
    };
    let left_out = (range.last < wanted.last).then_some((range.last + 1, wanted.last));
    let mut text = format!(
        "records {} to {}, {written} checkpoints; check them with `portreeve audit verify --export \
         FILE`",
        range.first, range.last
    );
    if range.last > wanted.last {
        text.push_str(&format!(
            "\nrecords {} to {} go along: the next signature stands behind them",
            wanted.last + 1,
            range.last
        ));
    }
    if let Some((from, to)) = left_out {
        text.push_str(&format!("\n{}", unsigned(from, to)));
    }
    let report = json!({
        "first_seq": range.first,
        "last_seq": range.last,
        "records": range.last - range.first + 1,
        "checkpoints": written,
        "kid": range.kid,
        "left_out": left_out.map(|(from, to)| json!({ "from": from, "to": to })),
    });
    if args.out.is_some() {
        output.print(&report, &text)
    } else {
        tell(&text);
        Ok(())
    }
}

/// The records that are wanted.
struct Wanted {
    first: u64,
    last: u64,
}

/// The records that are written: those that are wanted, up to a checkpoint.
struct Range {
    first: u64,
    last: u64,
    /// The key that signed the last of them.
    kid: String,
}

/// Goes on to the next checkpoint, or back to the last one.
fn proven(wanted: &Wanted, examined: &Examined) -> Result<Range, Failure> {
    let end = examined.end();
    let mut checkpoints = examined
        .kept
        .proven
        .iter()
        .map(|(checkpoint, _)| checkpoint);
    let next = checkpoints.find(|one| (wanted.last..=end).contains(&one.end.seq));
    let last = next
        .or_else(|| examined.signed())
        .filter(|one| one.end.seq >= wanted.first)
        .ok_or_else(|| Failure::No(unsigned(wanted.first, wanted.last)))?;
    Ok(Range {
        first: wanted.first,
        last: last.end.seq,
        kid: last.kid.clone(),
    })
}

fn unsigned(from: u64, to: u64) -> String {
    format!(
        "records {from} to {to} are left out: the engine has not signed them. A running one does \
         so every `audit.checkpoint_every`; export again then"
    )
}

/// Finds the first and the last record that are wanted; everything between them goes along.
fn range(args: &ExportArgs, folder: &Path, end: u64) -> Result<Option<Wanted>, Failure> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        at: std::borrow::Cow<'a, str>,
    }
    let by_time = args.from.is_some() || args.to.is_some();
    let mut found: Option<Wanted> = None;
    each(folder, end, |record| {
        let seq = record.seq;
        if args.from_seq.is_some_and(|from| seq < from) || args.to_seq.is_some_and(|to| seq > to) {
            return Ok(());
        }
        if by_time {
            let head = serde_json::from_slice::<Head<'_>>(&record.body).ok();
            let at = head.and_then(|head| wire::time::parse(&head.at));
            let within = at.is_some_and(|at| {
                args.from.is_none_or(|from| at >= from) && args.to.is_none_or(|to| at < to)
            });
            if !within {
                return Ok(());
            }
        }
        match &mut found {
            Some(range) => range.last = seq,
            None => {
                found = Some(Wanted {
                    first: seq,
                    last: seq,
                });
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// Hands over the records up to a number, in their order.
fn each(
    folder: &Path,
    until: u64,
    mut take: impl FnMut(Record) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut position = None;
    loop {
        let read = journal::read_from(folder, position.as_ref(), until, CHUNK)?;
        if let Some(damage) = read.damage {
            return Err(Failure::No(format!(
                "{damage}: see `portreeve audit verify`"
            )));
        }
        let Some(last) = read.records.last() else {
            return Ok(());
        };
        position = Some(last.after.clone());
        read.records.into_iter().try_for_each(&mut take)?;
    }
}

/// Writes the lines; how many checkpoints are among them.
fn write(
    to: &mut impl Write,
    range: &Range,
    folder: &Path,
    examined: &Examined,
    listed: &Listing,
) -> Result<usize, Failure> {
    let within = examined.kept.proven.iter();
    let within: Vec<_> = within
        .filter(|(checkpoint, _)| (range.first..=range.last).contains(&checkpoint.end.seq))
        .collect();
    let begins = examined.report.begins_after.unwrap_or(Link::GENESIS);
    let mut before = begins.chain;
    let (mut written, mut chain) = (0, None::<Chain>);
    let counter = counter("exporting");
    each(folder, range.last, |record| {
        if record.seq < range.first {
            before = record.after.chain;
            return Ok(());
        }
        if chain.is_none() {
            let header = json!({
                "portreeve_export": 1,
                "first_seq": range.first,
                "last_seq": range.last,
                "before": before.to_string(),
            });
            writeln!(to, "{header}")?;
            for key in listed.iter() {
                if within.iter().any(|(one, _)| one.kid == key.known.kid) {
                    writeln!(to, "{}", json!({ "key": key.public.jwk() }))?;
                }
            }
        }
        let text = std::str::from_utf8(&record.body).ok();
        let whole = text.filter(|text| serde_json::from_str::<&RawValue>(text).is_ok());
        let after = chain
            .unwrap_or(before)
            .after(record.first, record.seq, &record.body);
        let Some(text) = whole.filter(|_| after == record.after.chain) else {
            return Err(Failure::No(format!(
                "record {} was changed while it was exported: see `portreeve audit verify`",
                record.seq
            )));
        };
        chain = Some(after);
        writeln!(
            to,
            r#"{{"seq":{},"first":{},"chain":"{after}","record":{text}}}"#,
            record.seq, record.first
        )?;
        counter.inc(1);
        for (_, signed) in within.iter().filter(|(one, _)| one.end.seq == record.seq) {
            writeln!(to, "{}", json!({ "checkpoint": signed }))?;
            written += 1;
        }
        Ok(())
    })?;
    counter.finish_and_clear();
    Ok(written)
}
