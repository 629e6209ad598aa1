//! Files of events: one JSON object a line, plain or gzipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use wire::Event;
use wire::event::{WrittenEvent, parse};

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
    let file = File::open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let text: Box<dyn Read> = if packed {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    Ok(Box::new(BufReader::with_capacity(1 << 18, text)))
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
    /// A line.
    #[error("{path}:{line}: {why}")]
    BadLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// The events of files, in their order.
pub fn read(paths: &[PathBuf]) -> impl Iterator<Item = Result<Event, ReadError>> + '_ {
    paths.iter().flat_map(|path| match open(path) {
        Ok(reader) => Lines {
            reader: Some(reader),
            path,
            line: 0,
            text: Vec::new(),
        },
        Err(_) => Lines {
            reader: None,
            path,
            line: 0,
            text: Vec::new(),
        },
    })
}

struct Lines<'a> {
    reader: Option<Box<dyn BufRead>>,
    path: &'a Path,
    line: u64,
    text: Vec<u8>,
}

impl Iterator for Lines<'_> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let path = self.path.to_owned();
        if self.line == 0 && self.reader.is_none() {
            self.line = 1;
            let cause = open(self.path)
                .err()
                .unwrap_or_else(|| io::ErrorKind::NotFound.into());
            return Some(Err(ReadError::Unreadable { path, cause }));
        }
        loop {
            let reader = self.reader.as_mut()?;
            self.text.clear();
            self.line += 1;
            let line = self.line;
            match reader.take(LINE_MAX).read_until(b'\n', &mut self.text) {
                Ok(0) => return None,
                Ok(_) if self.text.trim_ascii().is_empty() => {}
                Ok(_) => {
                    let why = |wire::Malformed(why)| ReadError::BadLine { path, line, why };
                    return Some(parse(self.text.trim_ascii()).map_err(why));
                }
                Err(cause) => {
                    self.reader = None;
                    return Some(Err(ReadError::Unreadable { path, cause }));
                }
            }
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
