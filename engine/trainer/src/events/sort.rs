//! Events in order of time, more of them than memory holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _};

use wire::Event;

/// Bytes of events that are held before they go to a temporary file.
const HELD_BYTES: usize = 64 << 20;

/// Takes events in any order. Those of the same moment keep theirs.
#[derive(Debug)]
pub struct Sorter {
    limit: usize,
    held: Vec<(i64, Vec<u8>)>,
    bytes: usize,
    runs: Vec<File>,
}

impl Default for Sorter {
    fn default() -> Self {
        Self::holding(HELD_BYTES)
    }
}

impl Sorter {
    /// Holds at most about so many bytes of events in memory.
    #[must_use]
    pub fn holding(bytes: usize) -> Self {
        Self {
            limit: bytes,
            held: Vec::new(),
            bytes: 0,
            runs: Vec::new(),
        }
    }

    /// Takes one event.
    ///
    /// # Errors
    /// When a temporary file cannot be written.
    pub fn push(&mut self, event: &Event) -> io::Result<()> {
        let mut line = Vec::with_capacity(256);
        super::write(&mut line, event)?;
        self.bytes += line.len() + size_of::<(i64, Vec<u8>)>();
        self.held.push((event.time.millis(), line));
        if self.bytes >= self.limit {
            self.spill()?;
        }
        Ok(())
    }

    /// Gives them back, the earliest first.
    ///
    /// # Errors
    /// When a temporary file cannot be written or read, from `each` too.
    pub fn finish(mut self, mut each: impl FnMut(&Event) -> io::Result<()>) -> io::Result<()> {
        let parse = |line: &[u8]| wire::event::parse(line).map_err(io::Error::other);
        if self.runs.is_empty() {
            self.held.sort_by_key(|(time, _)| *time);
            return self
                .held
                .iter()
                .try_for_each(|(_, line)| each(&parse(line)?));
        }
        self.spill()?;
        let mut runs = Vec::with_capacity(self.runs.len());
        let mut heads = BinaryHeap::with_capacity(self.runs.len());
        for (number, file) in self.runs.into_iter().enumerate() {
            let mut run = BufReader::new(file);
            if let Some((time, line)) = read_one(&mut run)? {
                // Runs are in the order in which their events came.
                heads.push(Reverse((time, number, line)));
            }
            runs.push(run);
        }
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((time, number, line)) = &mut *head;
            each(&parse(line)?)?;
            match runs.get_mut(*number).map(read_one).transpose()?.flatten() {
                Some(next) => (*time, *line) = next,
                None => {
                    PeekMut::pop(head);
                }
            }
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.held.sort_by_key(|(time, _)| *time);
        let mut file = BufWriter::with_capacity(1 << 18, tempfile::tempfile()?);
        for (time, line) in self.held.drain(..) {
            file.write_all(&time.to_le_bytes())?;
            file.write_all(&(line.len() as u64).to_le_bytes())?;
            file.write_all(&line)?;
        }
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.runs.push(file);
        self.bytes = 0;
        Ok(())
    }
}

fn read_one(run: &mut BufReader<File>) -> io::Result<Option<(i64, Vec<u8>)>> {
    let mut number = [0; 8];
    match run.read_exact(&mut number) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        done => done?,
    }
    let time = i64::from_le_bytes(number);
    run.read_exact(&mut number)?;
    let length = usize::try_from(u64::from_le_bytes(number)).map_err(io::Error::other)?;
    let mut line = vec![0; length];
    run.read_exact(&mut line)?;
    Ok(Some((time, line)))
}
