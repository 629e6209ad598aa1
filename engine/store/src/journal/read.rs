//! Reading records back, in order, from wherever one stopped.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::line::{self, Place, Position};

/// A record with the place after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its sequence number.
    pub seq: u64,
    /// Whether it is the first of its group.
    pub first: bool,
    /// Its text.
    pub body: Vec<u8>,
    /// Where the text stands.
    pub place: Place,
    /// The place after it.
    pub after: Position,
}

/// Some records of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// In their order.
    pub records: Vec<Record>,
    /// What stands between them that is none, or where some are missing; the first such place.
    pub damage: Option<String>,
}

/// Reads up to `most` records after `from` (or from the very start), no further than record
/// `until`: what lies beyond is not durable yet. What is damaged is passed over and told.
///
/// # Errors
/// When a file cannot be read.
pub fn read_from(
    folder: &Path,
    from: Option<&Position>,
    until: u64,
    most: usize,
) -> io::Result<Read> {
    let mut read = Read::default();
    let mut seq = from.map_or(0, |from| from.seq);
    let mut paths = line::segments(folder)?;
    if let Some(from) = from {
        paths.retain(|path| line::name_of(path) >= from.segment);
    }
    let last = paths.len().saturating_sub(1);
    for (number, path) in paths.iter().enumerate() {
        let name = line::name_of(path);
        let mut reader = BufReader::with_capacity(1 << 18, File::open(path)?);
        let mut text = Vec::new();
        let mut offset = 0;
        match from.filter(|from| from.segment == name) {
            Some(from) => offset = reader.seek(SeekFrom::Start(from.offset))?,
            None => {
                reader.read_until(b'\n', &mut text)?;
                match text.strip_suffix(b"\n").and_then(line::parse_header) {
                    Some(_) => offset = text.len() as u64,
                    None => {
                        read.damaged(|| format!("{name}: {}", line::NO_HEADER));
                        reader.rewind()?;
                    }
                }
            }
        }
        loop {
            if read.records.len() >= most || seq >= until {
                return Ok(read);
            }
            text.clear();
            let length = reader.read_until(b'\n', &mut text)?;
            let begins = offset;
            offset += length as u64;
            let whole = text.strip_suffix(b"\n");
            if length == 0 || whole.is_none() && number == last {
                // The end, or being written at this moment.
                break;
            }
            let found = whole.and_then(line::parse);
            // The first record that is kept may have any number.
            let is_next =
                |found: &line::Line<'_>| found.seq == seq + 1 || from.is_none() && seq == 0;
            if !found.as_ref().is_some_and(is_next) {
                read.damaged(|| format!("{name}: no record {} at byte {begins}", seq + 1));
            }
            let Some(found) = found.filter(|found| (seq + 1..=until).contains(&found.seq)) else {
                continue;
            };
            seq = found.seq;
            let place = Place {
                segment: name.clone(),
                // The text is the end of the line, but for the line's own end.
                offset: begins + (length - 1 - found.record.len()) as u64,
                length: found.record.len() as u64,
            };
            let after = Position {
                segment: name.clone(),
                offset,
                seq,
                chain: found.chain,
            };
            read.records.push(Record {
                seq,
                first: found.first,
                body: found.record.to_vec(),
                place,
                after,
            });
        }
    }
    Ok(read)
}

impl Read {
    fn damaged(&mut self, what: impl FnOnce() -> String) {
        self.damage.get_or_insert_with(what);
    }
}

/// What was in a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Records read.
    pub records: u64,
    /// Lines that are no records, and where the first one is.
    pub unreadable: u64,
    /// `segment:line` of the first unreadable one.
    pub first_unreadable: Option<String>,
}

/// Hands over the text of every record in order, of a journal at rest or being written. Lines
/// that are no records are passed over and counted; whether the chain holds is for
/// [`super::verify`] to say.
///
/// # Errors
/// When a file cannot be read, and what `each` fails with.
pub fn read_all(
    folder: &Path,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let paths = line::segments(folder)?;
    let last = paths.len().saturating_sub(1);
    for (position, path) in paths.iter().enumerate() {
        let file = match File::open(path) {
            // Its time was over while this went on.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let mut text = Vec::new();
        let mut number = 0_u64;
        loop {
            text.clear();
            if reader.read_until(b'\n', &mut text)? == 0 {
                break;
            }
            number += 1;
            let whole = text.strip_suffix(b"\n");
            if whole.is_none() && position == last {
                // Being written at this moment, or torn by a crash: never answered.
                break;
            }
            match whole.and_then(line::parse) {
                Some(found) => {
                    contents.records += 1;
                    each(found.record)?;
                }
                None if number == 1 && whole.and_then(line::parse_header).is_some() => {}
                None => {
                    contents.unreadable += 1;
                    contents
                        .first_unreadable
                        .get_or_insert_with(|| format!("{}:{number}", path.display()));
                }
            }
        }
    }
    Ok(contents)
}

/// Longest record that is read back, bytes.
const RECORD_MAX: u64 = 16 << 20;

/// Reads the text of one record.
///
/// # Errors
/// When the segment is not there any more, or is shorter than it was.
pub fn read_at(folder: &Path, place: &Place) -> io::Result<Vec<u8>> {
    let name = Path::new(&place.segment);
    if name.components().count() != 1 || place.length > RECORD_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no place in a journal",
        ));
    }
    let mut file = File::open(folder.join(name))?;
    file.seek(SeekFrom::Start(place.offset))?;
    let mut text = Vec::new();
    file.take(place.length).read_to_end(&mut text)?;
    if text.len() as u64 != place.length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text)
}
