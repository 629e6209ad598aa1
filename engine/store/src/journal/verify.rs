//! Checking the chain, and finding where it ends or breaks.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::ahead;
use super::line::{self, Chain, Link, Position};

/// Where and how the chain breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The segment.
    pub segment: PathBuf,
    /// The line in it, from 1 (the header).
    pub line: u64,
    /// Bytes before that line.
    pub offset: u64,
    /// The record that was expected there.
    pub seq: u64,
    /// What is wrong.
    pub what: String,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Segments read.
    pub segments: usize,
    /// Records whose chain holds.
    pub records: u64,
    /// What the oldest segment begins after: [`Link::GENESIS`], unless older ones were removed.
    /// None when there is none, or its first line is damaged.
    pub begins_after: Option<Link>,
    /// The end of what holds; none in an empty journal.
    pub end: Option<Position>,
    /// The first break, if there is one.
    pub broken: Option<Break>,
    /// Bytes at the very end that belong to a group that was never answered: being written at
    /// this moment, or torn by a crash. No break.
    pub torn_bytes: u64,
    /// Bytes at the very end that are in the write-ahead file alone: being written at this moment,
    /// or taken from the segment by a power cut.
    pub ahead_bytes: u64,
}

/// Reads the whole journal and checks every record. `drained` is how far the store had taken it
/// over: so far it must be there and be the same. `signed` are the links of checkpoints, sorted by
/// number: so must those. Calls `progress` with bytes read, and `each` with number and text of every
/// record that holds.
///
/// # Errors
/// When a file cannot be read.
pub fn verify(
    folder: &Path,
    drained: Option<&Position>,
    signed: &[Link],
    mut progress: impl FnMut(u64),
    mut each: impl FnMut(u64, &[u8]),
) -> io::Result<Report> {
    let paths = line::segments(folder)?;
    let mut report = Report {
        segments: 0,
        records: 0,
        begins_after: paths.first().and_then(|path| line::begins_after(path).ok()),
        end: None,
        broken: None,
        torn_bytes: 0,
        ahead_bytes: 0,
    };
    let last = paths.len().saturating_sub(1);
    for (position, path) in paths.iter().enumerate() {
        report.segments += 1;
        let scan = if position == last { scan_last } else { scan };
        let scanned = scan(
            path,
            report.end.as_ref(),
            Known { drained, signed },
            &mut each,
        )?;
        progress(scanned.read);
        report.records += scanned.records;
        if scanned.stopped.is_none() {
            report.ahead_bytes = scanned.ahead.len() as u64;
        }
        if let Some(end) = scanned.end {
            report.end = Some(end);
        }
        match scanned.stopped {
            None => {}
            Some(Stop::Torn { bytes }) if position == last => report.torn_bytes = bytes,
            Some(Stop::Torn { bytes }) => {
                // A later segment was begun: what stands here was no longer being written.
                report.broken = Some(broken_at(
                    path,
                    &report,
                    scanned.line,
                    format!("{bytes} bytes are damaged, and a later segment follows"),
                ));
            }
            Some(Stop::Broken { what }) => {
                report.broken = Some(broken_at(path, &report, scanned.line, what));
            }
        }
        if report.broken.is_some() {
            break;
        }
    }
    Ok(report)
}

fn broken_at(path: &Path, report: &Report, line: u64, what: String) -> Break {
    let (offset, seq) = report.end.as_ref().map_or((0, 1), |end| {
        let here = end.segment == line::name_of(path);
        (if here { end.offset } else { 0 }, end.seq + 1)
    });
    Break {
        segment: path.to_owned(),
        line,
        offset,
        seq,
        what,
    }
}

/// Why a scan ended before the end of the file.
#[derive(Debug)]
pub(super) enum Stop {
    /// The rest belongs to a group that was never durable.
    Torn { bytes: u64 },
    /// Something that was durable once is not what it was.
    Broken { what: String },
}

/// One segment, read from its start.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) records: u64,
    pub(super) end: Option<Position>,
    pub(super) stopped: Option<Stop>,
    /// What goes on from where the file ended or was torn: after a power cut, the text of groups
    /// that were durable in the write-ahead file alone.
    pub(super) ahead: Vec<u8>,
    line: u64,
    read: u64,
}

/// What records are held against.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    /// How far the store has taken the journal over.
    pub(super) drained: Option<&'k Position>,
    /// What checkpoints say.
    pub(super) signed: &'k [Link],
}

type Each<'e> = &'e mut dyn FnMut(u64, &[u8]);

/// Checks one segment. `before` is where the journal stood; none for the first segment kept.
pub(super) fn scan(
    path: &Path,
    before: Option<&Position>,
    known: Known<'_>,
    each: Each<'_>,
) -> io::Result<Scan> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut text = Vec::new();
    let mut scan = Scan {
        records: 0,
        end: None,
        stopped: None,
        ahead: Vec::new(),
        line: 1,
        read: size,
    };
    reader.read_until(b'\n', &mut text)?;
    let header = text.strip_suffix(b"\n").and_then(line::parse_header);
    let Some((first_seq, chain)) = header else {
        // Segments get their name only once their first line is durable.
        let what = line::NO_HEADER.to_owned();
        scan.stopped = Some(Stop::Broken { what });
        return Ok(scan);
    };
    let wanted = before.map(|before| (before.seq + 1, before.chain));
    // Older segments may have been removed when their time was over; the very first one has
    // nothing before it.
    let wanted = wanted.or((first_seq == 1).then_some((1, Chain::GENESIS)));
    if let Some(wanted) = wanted.filter(|wanted| *wanted != (first_seq, chain)) {
        scan.stopped = Some(Stop::Broken {
            what: format!(
                "the segment begins at record {first_seq}, but record {} should come next",
                wanted.0
            ),
        });
        return Ok(scan);
    }
    let begin = Position {
        segment: line::name_of(path),
        offset: text.len() as u64,
        seq: first_seq.saturating_sub(1),
        chain,
    };
    scan.goes_on(begin, &mut reader, size, known, each)?;
    Ok(scan)
}

/// The same for the last segment, with what the write-ahead file has of its end. What stands in
/// the way of that, other than what a power cut leaves, stays: it is evidence.
pub(super) fn scan_last(
    path: &Path,
    before: Option<&Position>,
    known: Known<'_>,
    each: Each<'_>,
) -> io::Result<Scan> {
    let mut scan = scan(path, before, known, each)?;
    let (Some(folder), Some(end)) = (path.parent(), scan.end.clone()) else {
        return Ok(scan);
    };
    // It goes on from a later segment, which is gone.
    if known
        .drained
        .is_some_and(|drained| drained.segment > end.segment)
    {
        return Ok(scan);
    }
    let ahead = ahead::after(folder, &end)?;
    // What a checkpoint was made of was never torn.
    let is_torn = matches!(scan.stopped, Some(Stop::Torn { .. }))
        && known.signed.last().is_none_or(|link| link.seq <= end.seq);
    if !ahead.is_empty() && (is_torn || is_lost(path, end.offset, &ahead)?) {
        let size = end.offset + ahead.len() as u64;
        scan.stopped = None;
        scan.line -= 1;
        scan.goes_on(end, &mut &ahead[..], size, known, each)?;
        scan.ahead = ahead;
    }
    Ok(scan)
}

/// What a disk writes whole or not at all, bytes.
const SECTOR: u64 = 512;

/// Whether all that stands from a place on is this text, but for ends of sectors that are zeros:
/// what a power cut kept from the disk. (Not so on an ext4 with `data=writeback`, where it may be
/// anything: that is told as damage, and what is ahead of it is kept.)
fn is_lost(path: &Path, offset: u64, mut text: &[u8]) -> io::Result<bool> {
    let mut file = BufReader::new(File::open(path)?);
    let mut at = file.seek(SeekFrom::Start(offset))?;
    let mut there = Vec::new();
    loop {
        let rest = SECTOR - at % SECTOR;
        there.clear();
        let length = file.by_ref().take(rest).read_to_end(&mut there)?;
        if length == 0 {
            return Ok(true);
        }
        let (wanted, more) = text.split_at(text.len().min(length));
        let same = there.iter().zip(wanted).take_while(|(a, b)| a == b).count();
        if there.iter().skip(same).any(|byte| *byte != 0) {
            return Ok(false);
        }
        (at, text) = (at + length as u64, more);
    }
}

impl Scan {
    /// Checks the records of a text that goes on from a place, up to so many bytes of the segment.
    fn goes_on(
        &mut self,
        mut end: Position,
        reader: &mut dyn BufRead,
        size: u64,
        known: Known<'_>,
        each: Each<'_>,
    ) -> io::Result<()> {
        let mut text = Vec::new();
        self.stopped = loop {
            text.clear();
            let length = reader.read_until(b'\n', &mut text)?;
            self.line += 1;
            if length == 0 {
                break cut_off(&end, known.drained);
            }
            match check(&text, end.seq + 1, end.chain, known) {
                Ok((chain, record)) => {
                    end.seq += 1;
                    end.chain = chain;
                    end.offset += length as u64;
                    each(end.seq, record);
                    self.records += 1;
                }
                Err(what) => {
                    break Some(if was_durable(reader, text, end.chain)? {
                        Stop::Broken { what }
                    } else {
                        cut_off(&end, known.drained).unwrap_or(Stop::Torn {
                            bytes: size.saturating_sub(end.offset),
                        })
                    });
                }
            }
        };
        self.end = Some(end);
        Ok(())
    }
}

/// What it means that a segment ends after a record, if the store has later ones from it.
fn cut_off(end: &Position, drained: Option<&Position>) -> Option<Stop> {
    let is_beyond = |drained: &&Position| drained.segment == end.segment && drained.seq > end.seq;
    let drained = drained.filter(is_beyond)?;
    Some(Stop::Broken {
        what: format!(
            "the segment ends at record {}, but record {} was in the store already: its end has \
             been cut off",
            end.seq, drained.seq
        ),
    })
}

fn check<'t>(
    text: &'t [u8],
    seq: u64,
    chain: Chain,
    Known { drained, signed }: Known<'_>,
) -> Result<(Chain, &'t [u8]), String> {
    let Some(text) = text.strip_suffix(b"\n") else {
        return Err("the line has no end".to_owned());
    };
    let Some(found) = line::parse(text) else {
        return Err("the line is no record".to_owned());
    };
    if found.seq != seq {
        return Err(format!(
            "record {} stands where record {seq} should",
            found.seq
        ));
    }
    let wanted = chain.after(found.first, seq, found.record);
    if wanted != found.chain {
        return Err(format!("record {seq} is not the one that was written"));
    }
    if drained.is_some_and(|drained| drained.seq == seq && drained.chain != wanted) {
        return Err(format!(
            "up to record {seq} the journal is not the one that the store has taken over: it was \
             written anew"
        ));
    }
    let from = signed.partition_point(|link| link.seq < seq);
    let here = signed.iter().skip(from).take_while(|link| link.seq == seq);
    if here.clone().any(|link| link.chain != wanted) {
        return Err(format!(
            "up to record {seq} the journal is not the one that the engine has signed: it was \
             written anew"
        ));
    }
    Ok((wanted, found.record))
}

/// Whether a line that is wrong was durable once, `before` it the chain: the start of a group
/// follows, or a line that its own chain says to be one.
fn was_durable(reader: &mut dyn BufRead, mut text: Vec<u8>, before: Chain) -> io::Result<bool> {
    let mut before = Some(before);
    let mut follows = false;
    loop {
        let line = text.strip_suffix(b"\n").and_then(line::parse);
        if let Some(line) = line {
            let as_start = |before: Chain| before.after(true, line.seq, line.record);
            if line.first && follows || before.map(as_start) == Some(line.chain) {
                return Ok(true);
            }
        }
        before = line.map(|line| line.chain);
        follows = true;
        text.clear();
        if reader.read_until(b'\n', &mut text)? == 0 {
            return Ok(false);
        }
    }
}
