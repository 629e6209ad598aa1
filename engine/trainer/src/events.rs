//! Files of events: one JSON object a line, plain or gzipped, or a Parquet table.

mod sort;
mod table;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use wire::Event;
use wire::event::{WrittenEvent, parse};

pub use sort::Sorter;
use table::{TableReader, TableWriter};

/// Longest line that is read, bytes.
const LINE_MAX: u64 = 1 << 20;

/// Opens a file, unpacking it if its name ends in `.gz`. `-` is standard input.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path)?;
    let text: Box<dyn Read> = if is_packed(path) {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    Ok(Box::new(BufReader::with_capacity(1 << 18, text)))
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Why a file of events could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("{path}: {cause}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A line, or a row of a table.
    #[error("{path}:{line}: {why}")]
    BadLine {
        /// Which file.
        path: PathBuf,
        /// Which line or row, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// The events of files, in their order: JSON lines, plain or gzipped, and Parquet.
pub fn read(paths: &[PathBuf]) -> impl Iterator<Item = Result<Event, ReadError>> + '_ {
    paths.iter().flat_map(|path| Reader::open(path))
}

/// One file of events.
struct Reader<'a> {
    path: &'a Path,
    /// The number of the line or row last read.
    line: u64,
    source: Source,
}

enum Source {
    Lines(Box<dyn BufRead>, Vec<u8>),
    Table(Box<TableReader>),
    /// It could not be opened, which is yet to be said.
    Unopened(io::Error),
    Done,
}

impl<'a> Reader<'a> {
    fn open(path: &'a Path) -> Self {
        let source = if table::is_table(path) {
            TableReader::open(path).map(|table| Source::Table(Box::new(table)))
        } else {
            open(path).map(|lines| Source::Lines(lines, Vec::new()))
        };
        Self {
            path,
            line: 0,
            source: source.unwrap_or_else(Source::Unopened),
        }
    }

    /// The next line or row, as far as it can be read; none at the end.
    fn next_event(&mut self) -> io::Result<Option<Result<Event, wire::Malformed>>> {
        match &mut self.source {
            Source::Lines(lines, text) => loop {
                text.clear();
                self.line += 1;
                match lines.take(LINE_MAX).read_until(b'\n', text)? {
                    0 => return Ok(None),
                    _ if text.trim_ascii().is_empty() => {}
                    _ if text.len() as u64 == LINE_MAX && !text.ends_with(b"\n") => {
                        let why = format!("the line is longer than {LINE_MAX} bytes");
                        return Ok(Some(Err(wire::Malformed(why))));
                    }
                    _ => return Ok(Some(parse(text.trim_ascii()))),
                }
            },
            Source::Table(table) => {
                self.line += 1;
                Ok(table.next_row()?.map(wire::row::Row::into_event))
            }
            Source::Unopened(_) => match std::mem::replace(&mut self.source, Source::Done) {
                Source::Unopened(error) => Err(error),
                _ => Ok(None),
            },
            Source::Done => Ok(None),
        }
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let path = self.path.to_owned();
        match self.next_event() {
            Ok(event) => {
                let line = self.line;
                let why = |wire::Malformed(why)| ReadError::BadLine { path, line, why };
                event.map(|event| event.map_err(why))
            }
            Err(cause) => {
                self.source = Source::Done;
                Some(Err(ReadError::Unreadable { path, cause }))
            }
        }
    }
}

/// Where events are written to.
pub struct Writer(Sink);

enum Sink {
    Lines(Box<dyn Write + Send>),
    Packed(Box<GzEncoder<BufWriter<File>>>),
    Table(Box<TableWriter>),
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Sink::Lines(_) => "Lines",
            Sink::Packed(_) => "Packed",
            Sink::Table(_) => "Table",
        })
    }
}

impl Writer {
    /// Creates the file, in the form that its name says: `.parquet`, `.gz` for packed lines,
    /// anything else for lines. None is standard output.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else {
            let lines = BufWriter::new(io::stdout());
            return Ok(Self(Sink::Lines(Box::new(lines))));
        };
        let file = File::create(path).map_err(|error| named(path, error))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        Ok(Self(if table::has_name_of_table(path) {
            Sink::Table(Box::new(TableWriter::new(Box::new(file))?))
        } else if is_packed(path) {
            let level = flate2::Compression::fast();
            Sink::Packed(Box::new(GzEncoder::new(file, level)))
        } else {
            Sink::Lines(Box::new(file))
        }))
    }

    /// Writes one event.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        match &mut self.0 {
            Sink::Lines(to) => write(to, event),
            Sink::Packed(to) => write(to, event),
            Sink::Table(to) => to.write(event),
        }
    }

    /// Writes what is still held. A file is whole only then.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Sink::Lines(mut to) => to.flush(),
            Sink::Packed(to) => to.finish()?.flush(),
            Sink::Table(to) => to.finish(),
        }
    }
}

/// Writes one event as a line.
///
/// # Errors
/// When it cannot be written.
pub fn write(to: &mut impl Write, event: &Event) -> io::Result<()> {
    serde_json::to_writer(
        &mut *to,
        &WrittenEvent {
            event,
            as_question: false,
        },
    )?;
    to.write_all(b"\n")
}
