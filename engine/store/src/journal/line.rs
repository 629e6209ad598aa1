//! One line of a segment: how it is written, read, and chained.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

/// The hash that ties a record to all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// Before the first record of all.
    pub const GENESIS: Self = Self([0; 32]);

    /// The chain after one more record; `first` if it begins a group.
    #[must_use]
    pub fn after(self, first: bool, seq: u64, record: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        context.update(&[marker(first)]);
        context.update(&seq.to_be_bytes());
        context.update(record);
        let mut chain = [0; 32];
        chain.copy_from_slice(context.finish().as_ref());
        Self(chain)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut chain = [0; 32];
        hex::decode_to_slice(text, &mut chain).ok()?;
        Some(Self(chain))
    }
}

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// One record in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its sequence number; 0 before the first.
    pub seq: u64,
    /// The chain after it.
    pub chain: Chain,
}

impl Link {
    /// Before the first record of all.
    pub const GENESIS: Self = Self {
        seq: 0,
        chain: Chain::GENESIS,
    };
}

/// A place in the journal: after so many bytes of a segment, so many records in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// File name of the segment.
    pub segment: String,
    /// Bytes.
    pub offset: u64,
    /// Sequence number of the last record before it; 0 before the first.
    pub seq: u64,
    /// The chain there.
    pub chain: Chain,
}

/// Where one record's text stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File name of the segment.
    pub segment: String,
    /// Bytes before the text.
    pub offset: u64,
    /// Bytes of the text.
    pub length: u64,
}

/// What is wrong with a file that begins otherwise.
pub(super) const NO_HEADER: &str = "the segment's first line is no journal header";

const MAGIC: &str = "portreeve-journal 2 ";

const fn marker(first: bool) -> u8 {
    if first { b'+' } else { b'.' }
}

/// The first line of a segment.
pub(super) fn header(first_seq: u64, before: Chain) -> String {
    format!("{MAGIC}{first_seq} {before}\n")
}

/// First sequence number, and the chain before it.
pub(super) fn parse_header(line: &[u8]) -> Option<(u64, Chain)> {
    let rest = line.strip_prefix(MAGIC.as_bytes())?;
    let (seq, chain) = split_once(rest, b' ')?;
    Some((number(seq)?, Chain::parse(chain)?))
}

/// What a segment begins after.
pub(super) fn begins_after(path: &Path) -> io::Result<Link> {
    let mut text = Vec::new();
    let file = BufReader::with_capacity(256, File::open(path)?);
    file.take(256).read_until(b'\n', &mut text)?;
    let (first_seq, chain) = text
        .strip_suffix(b"\n")
        .and_then(parse_header)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {NO_HEADER}", path.display()),
            )
        })?;
    Ok(Link {
        seq: first_seq.saturating_sub(1),
        chain,
    })
}

/// A record's line.
pub(super) fn write(to: &mut Vec<u8>, first: bool, seq: u64, chain: Chain, record: &[u8]) {
    to.push(marker(first));
    to.extend_from_slice(seq.to_string().as_bytes());
    to.push(b' ');
    to.extend_from_slice(hex::encode(chain.0).as_bytes());
    to.push(b' ');
    to.extend_from_slice(record);
    to.push(b'\n');
}

/// A line taken apart; nothing is proven yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) first: bool,
    pub(super) seq: u64,
    pub(super) chain: Chain,
    pub(super) record: &'a [u8],
}

pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let (first, rest) = match line.split_first()? {
        (b'+', rest) => (true, rest),
        (b'.', rest) => (false, rest),
        _ => return None,
    };
    let (seq, rest) = split_once(rest, b' ')?;
    let (chain, record) = split_once(rest, b' ')?;
    Some(Line {
        first,
        seq: number(seq)?,
        chain: Chain::parse(chain)?,
        record,
    })
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|byte| *byte == at)?;
    let (before, after) = text.split_at_checked(position)?;
    Some((before, after.get(1..)?))
}

/// A sequence number; far from where counting on would overflow, whatever a file says.
fn number(text: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number <= u64::MAX / 4).then_some(number)
}

/// Name of the segment that begins with this record; names sort in the order of the records.
pub(super) fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.log")
}

/// The segments of a folder, in order.
pub(super) fn segments(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// File name of a segment's path.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
