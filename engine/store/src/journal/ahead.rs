//! The write-ahead file, where a group is durable before its segment is.
//!
//! To flush a file that has grown, the disk writes what is new, and then how long the file is now.
//! So a group is flushed into a file that keeps its length, over others that are durable in their
//! segments by then, and its segment is flushed once for many groups: behind their back whenever
//! a half of this file is full, before the next segment, and at the end. What a power cut takes
//! from the segment meanwhile is here, and is put back by the next start (PostgreSQL's log and its
//! checkpoints, with the segment in the place of tables). Who reads the journal sees a file that
//! only ever grows.
//!
//! A group is the text that stands in the segment, from a multiple of [`BLOCK`] on, and zeros up to
//! the next one, so that no write touches a block of another that counts. Nothing says which of
//! them count: those that go on by the chain from where the segment ends. What remains of older
//! ones does not, and a group that was refused is made to be none before another is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::line::{self, Chain, Position};
use super::segment::Folder;

#[cfg(test)]
mod tests;

const NAME: &str = "ahead";

/// What the disk writes at once, bytes.
const BLOCK: usize = 4 << 10;

/// Of one of its halves, bytes. While one is written, the segment is flushed as far as the other
/// goes.
pub(super) const HALF: usize = 2 << 20;

pub(super) const LENGTH: usize = 2 * HALF;

/// The write-ahead file of the segment that is being written.
#[derive(Debug)]
pub(super) struct Ahead {
    file: File,
    /// Where the half begins that is being written.
    half: usize,
    /// How much of it is.
    used: usize,
}

impl Ahead {
    /// Makes it ready. What is in it must be durable elsewhere.
    pub(super) fn open(folder: &Folder) -> io::Result<Self> {
        let path = folder.path.join(NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        if file.metadata()?.len() != LENGTH as u64 {
            // Written and not only set: what is written the first time changes more than itself.
            let filled = file.set_len(0).and_then(|()| {
                file.write_all_at(&vec![0; LENGTH], 0)?;
                file.sync_all()
            });
            if let Err(error) = filled {
                // The room is the segment's.
                fs::remove_file(&path)?;
                return Err(error);
            }
        }
        folder.handle.sync_all()?;
        Ok(Self {
            file,
            half: 0,
            used: 0,
        })
    }

    /// Whether there is room for a group in this half.
    pub(super) fn takes(&self, text: &[u8]) -> bool {
        text.len() <= HALF - self.used
    }

    /// Goes on to the other half, of which all must be durable in its segment.
    pub(super) fn turn(&mut self) {
        self.half = HALF - self.half;
        self.used = 0;
    }

    /// Writes a group. Durable when it returns. It must be [`kept`](Self::keep) or
    /// [`taken back`](Self::take_back) before the next one.
    pub(super) fn write(&self, text: &mut Vec<u8>) -> io::Result<()> {
        let length = text.len();
        text.resize(length.next_multiple_of(BLOCK), 0);
        let written = self.file.write_all_at(text, self.next());
        text.truncate(length);
        written?;
        self.file.sync_data()
    }

    /// Keeps the group that was written last.
    pub(super) fn keep(&mut self, text: &[u8]) {
        self.used += text.len().next_multiple_of(BLOCK);
    }

    /// Takes the group back that was written last, if there is one. Durable when it returns.
    pub(super) fn take_back(&self) -> io::Result<()> {
        if self.used < HALF {
            self.file.write_all_at(&[0; BLOCK], self.next())?;
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// The records that go on from a place: [`after`].
    pub(super) fn after(&self, end: &Position) -> io::Result<Vec<u8>> {
        let mut all = vec![0; LENGTH];
        self.file.read_exact_at(&mut all, 0)?;
        Ok(found_in(&all, end))
    }

    fn next(&self) -> u64 {
        (self.half + self.used) as u64
    }
}

/// Whether an engine has left one, which had no orderly end.
pub(super) fn is_left(folder: &Folder) -> io::Result<bool> {
    folder.path.join(NAME).try_exists()
}

/// Takes it away when nobody writes any more: all that was in it is durable in its segment.
pub(super) fn remove(folder: &Folder) -> io::Result<()> {
    unless_missing(fs::remove_file(folder.path.join(NAME)))
}

/// Puts it aside where the journal goes on from another place after a record: it may have what is
/// missing, and must not go on from there.
pub(super) fn put_aside(folder: &Folder, after: u64) -> io::Result<()> {
    let aside = folder.path.join(format!("ahead.damaged-{after}"));
    unless_missing(fs::rename(folder.path.join(NAME), aside))
}

fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The records that go on from a place: their text, one group after another.
pub(super) fn after(folder: &Path, end: &Position) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    match File::open(folder.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
        opened => opened?.take(LENGTH as u64).read_to_end(&mut all)?,
    };
    Ok(found_in(&all, end))
}

fn found_in(all: &[u8], end: &Position) -> Vec<u8> {
    // Where a group may begin, and with which record.
    let begin: Vec<(u64, &[u8])> = (0..all.len())
        .step_by(BLOCK)
        .filter_map(|at| {
            let (before, text) = all.split_at_checked(at)?;
            // Within a record's text there is neither.
            let is_begin = at % HALF == 0 || matches!(before.last(), Some(0 | b'\n'));
            let text = text.get(..HALF - at % HALF).unwrap_or(text);
            let (line, _) = first_line(text).filter(|(line, _)| is_begin && line.first)?;
            Some((line.seq, text))
        })
        .collect();
    let mut found = Vec::new();
    // The place may be within a group, of which it is the first part that is there.
    let torn = begin.iter().filter(|(first, _)| *first <= end.seq);
    let rest = torn.filter_map(|(_, text)| rest_of(text, end));
    let (mut seq, mut chain) = (end.seq, end.chain);
    for text in rest {
        (seq, chain) = take(&mut found, text, false, (seq, chain));
    }
    loop {
        let before = seq;
        for (_, text) in begin.iter().filter(|(first, _)| *first == before + 1) {
            (seq, chain) = take(&mut found, text, true, (seq, chain));
        }
        if seq == before || found.len() >= LENGTH {
            return found;
        }
    }
}

/// What stands behind a record, in the text of its group.
fn rest_of<'t>(text: &'t [u8], record: &Position) -> Option<&'t [u8]> {
    let (mut line, mut rest) = first_line(text)?;
    while line.seq < record.seq {
        (line, rest) = first_line(rest).filter(|(line, _)| !line.first)?;
    }
    (line.chain == record.chain).then_some(rest)
}

/// Takes over the records of one group that go on by the chain from `last`, a record and the
/// chain after it; the last one that does.
fn take(
    into: &mut Vec<u8>,
    mut text: &[u8],
    mut first: bool,
    mut last: (u64, Chain),
) -> (u64, Chain) {
    while let Some((line, rest)) = first_line(text) {
        let next = (last.0 + 1, last.1.after(first, last.0 + 1, line.record));
        if line.first != first || (line.seq, line.chain) != next {
            break;
        }
        into.extend_from_slice(text.strip_suffix(rest).unwrap_or(text));
        (last, first, text) = (next, false, rest);
    }
    last
}

/// The record that a text begins with, and what follows.
fn first_line(text: &[u8]) -> Option<(line::Line<'_>, &[u8])> {
    if !matches!(text.first(), Some(b'+' | b'.')) {
        return None;
    }
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = text.split_at_checked(end)?;
    Some((line::parse(line)?, rest.get(1..)?))
}
