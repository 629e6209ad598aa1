//! The files of the journal: finding the end of the last one, beginning the next one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::Recovery;
use super::ahead::{self, Ahead};
use super::line::{self, Chain, Position};
use super::verify::{Known, Stop, scan, scan_last};

#[cfg(test)]
mod tests;

/// Where a segment is made before it gets its name.
const DRAFT: &str = "segment.new";

/// The journal's folder. Held open: a new name in it must be made durable even when no file
/// descriptor is left to open it with.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) handle: File,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            handle: File::open(path)?,
        })
    }
}

/// A segment whose first line is durable and that has no name yet.
#[derive(Debug)]
pub(super) struct Draft {
    segment: Segment,
    at: PathBuf,
    name: PathBuf,
}

impl Draft {
    /// Makes it ready. Nothing that counts has changed when this fails.
    pub(super) fn make(folder: &Folder, seq: u64, chain: Chain) -> io::Result<Self> {
        let name = folder.path.join(line::segment_name(seq + 1));
        let header = line::header(seq + 1, chain);
        if !is_free(&name, header.as_bytes())? {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{}: another segment has this name", name.display()),
            ));
        }
        let at = folder.path.join(DRAFT);
        // An earlier draft may be a second name of a segment; to write over it would empty both.
        match fs::remove_file(&at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&at)?;
        file.write_all(header.as_bytes())?;
        file.sync_all()?;
        let begin = Position {
            segment: line::name_of(&name),
            offset: header.len() as u64,
            seq,
            chain,
        };
        let segment = Segment::at(file, begin);
        Ok(Self { segment, at, name })
    }

    /// Gives it its name. When this fails it may have it already; another draft of the same
    /// segment then takes its place.
    pub(super) fn publish(self, folder: &Folder) -> io::Result<Segment> {
        fs::rename(&self.at, &self.name)?;
        folder.handle.sync_all()?;
        Ok(self.segment)
    }
}

/// Whether a segment that begins like this may have the name: nobody has it, or one that broke
/// off before its first record.
fn is_free(name: &Path, header: &[u8]) -> io::Result<bool> {
    let file = match File::open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(header.len() as u64 + 1).read_to_end(&mut text)?;
    Ok(text == header)
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    file: Arc<File>,
    /// After its last record.
    pub(super) end: Position,
    /// Where groups are durable before they are here. None: each is flushed here.
    pub(super) ahead: Option<Ahead>,
    /// How far it is durable by itself.
    settled: Position,
    /// How far it will be soon.
    settling: Option<Settling>,
    /// A group was refused: there may be more in the file than `end` says, and ahead of it.
    untidy: bool,
    /// A flush has failed: the system may have dropped what it was to write, and not try again.
    doubtful: bool,
}

/// A flush of a segment that goes on while it is written.
#[derive(Debug)]
struct Settling {
    thread: JoinHandle<io::Result<()>>,
    end: Position,
}

impl Segment {
    /// One that is durable as far as it goes.
    fn at(file: File, end: Position) -> Self {
        Self {
            file: Arc::new(file),
            settled: end.clone(),
            end,
            ahead: None,
            settling: None,
            untidy: false,
            doubtful: false,
        }
    }

    /// Finds the end of the journal and makes it ready to be written on.
    pub(super) fn recover(
        folder: &Folder,
        drained: Option<&Position>,
    ) -> io::Result<(Self, Recovery)> {
        let paths = line::segments(&folder.path)?;
        let (mut seq, mut chain) = (0, Chain::GENESIS);
        // The last segment, where it may be written on, and what a crash has torn of it.
        let mut whole = None;
        let mut damage = None;
        let mut restored = 0;
        if let Some(path) = paths.last() {
            let known = Known {
                drained,
                signed: &[],
            };
            let scanned = scan_last(path, None, known, &mut |_, _| {})?;
            let Some(end) = scanned.end else {
                return Err(damaged(
                    path,
                    "no first line; move it away, and keep it to look into",
                ));
            };
            (seq, chain) = (end.seq, end.chain);
            // Durable before anything else is: the write-ahead file may be all that has the end.
            match scanned.stopped {
                Some(Stop::Broken { what }) => {
                    File::open(path)?.sync_all()?;
                    (seq, chain) = last_in(path, &end)?;
                    damage = Some(format!("{}: {what}", path.display()));
                }
                stopped => {
                    let file = OpenOptions::new().read(true).write(true).open(path)?;
                    if ahead::is_left(folder)? {
                        write_end_again(&file)?;
                    }
                    if !scanned.ahead.is_empty() {
                        restored = scanned.ahead.len() as u64;
                        file.write_all_at(&scanned.ahead, end.offset - restored)?;
                        file.set_len(end.offset)?;
                    }
                    file.sync_all()?;
                    let torn = match stopped {
                        Some(Stop::Torn { bytes }) => bytes,
                        _ => 0,
                    };
                    whole = Some((file, end, torn));
                }
            }
        }
        if let Some(drained) = drained {
            if damage.is_none()
                && paths.last().map(|path| line::name_of(path)).as_ref() != Some(&drained.segment)
            {
                damage = damage_before(folder, drained)?;
            }
            if drained.seq > seq {
                (seq, chain) = (drained.seq, drained.chain);
                whole = None;
            }
        }
        let mut torn_bytes = 0;
        let segment = match whole {
            Some((file, end, torn)) => {
                if torn > 0 {
                    file.set_len(end.offset)?;
                    file.sync_all()?;
                    torn_bytes = torn;
                }
                Self::at(file, end)
            }
            // What is damaged stays as evidence.
            None => {
                ahead::put_aside(folder, seq)?;
                Draft::make(folder, seq, chain)?.publish(folder)?
            }
        };
        let recovery = Recovery {
            last_seq: seq,
            restored,
            torn_bytes,
            damaged: damage,
        };
        Ok((segment, recovery))
    }

    /// Writes a group, up to its last record and the chain after that. Durable when it returns, if
    /// `sync`.
    pub(super) fn write(
        &mut self,
        text: &mut Vec<u8>,
        (seq, chain): (u64, Chain),
        sync: bool,
    ) -> io::Result<()> {
        self.tidy()?;
        self.untidy = true;
        let is_ahead = self.write_ahead(text)?;
        self.file.write_all_at(text, self.end.offset)?;
        if sync && !is_ahead {
            self.file.sync_data()?;
        }
        self.untidy = false;
        self.end.offset += text.len() as u64;
        (self.end.seq, self.end.chain) = (seq, chain);
        match &mut self.ahead {
            Some(ahead) if is_ahead => ahead.keep(text),
            _ => self.settled.clone_from(&self.end),
        }
        Ok(())
    }

    /// Writes a group into the write-ahead file; false where there is none, or the group is longer
    /// than a half of it.
    fn write_ahead(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let Some(ahead) = &self.ahead else {
            return Ok(false);
        };
        if text.len() > ahead::HALF {
            self.settle()?;
            return Ok(false);
        }
        if !ahead.takes(text) {
            self.settle_behind()?;
            if let Some(ahead) = &mut self.ahead {
                ahead.turn();
            }
        }
        if let Some(ahead) = &self.ahead {
            ahead.write(text)?;
        }
        Ok(true)
    }

    /// Removes what a refused group has left, and durably: it was never answered, and after a
    /// power cut it must not stand where another was. Ahead it goes last: as long as the disk may
    /// have some of it here, the next start has to know it as that.
    pub(super) fn tidy(&mut self) -> io::Result<()> {
        if self.untidy {
            self.file.set_len(self.end.offset)?;
            self.settle()?;
            if let Some(ahead) = &self.ahead {
                ahead.take_back()?;
            }
            self.untidy = false;
        }
        Ok(())
    }

    /// Makes all of it durable by itself.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.wait();
        if let Some(ahead) = self.ahead.as_ref().filter(|_| self.doubtful) {
            let text = ahead.after(&self.settled)?;
            // A group that was refused may follow.
            let length = usize::try_from(self.end.offset - self.settled.offset).ok();
            let Some(text) = length.and_then(|length| text.get(..length)) else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the write-ahead file does not have what the segment may have lost",
                ));
            };
            self.file.write_all_at(text, self.settled.offset)?;
        }
        self.doubtful = true;
        self.file.sync_data()?;
        self.doubtful = false;
        self.settled.clone_from(&self.end);
        Ok(())
    }

    /// Begins to [`settle`](Self::settle). What was begun so before is done when this returns.
    fn settle_behind(&mut self) -> io::Result<()> {
        self.wait();
        if self.doubtful {
            return self.settle();
        }
        let file = Arc::clone(&self.file);
        let flush = Builder::new().name("journal-settles".to_owned());
        let Ok(thread) = flush.spawn(move || file.sync_data()) else {
            return self.settle();
        };
        let end = self.end.clone();
        self.settling = Some(Settling { thread, end });
        Ok(())
    }

    /// Waits for the flush that goes on.
    fn wait(&mut self) {
        if let Some(Settling { thread, end }) = self.settling.take() {
            match thread.join() {
                Ok(Ok(())) => self.settled = end,
                _ => self.doubtful = true,
            }
        }
    }
}

/// Writes as much of a segment's end again as may not be durable. After a flush that failed, the
/// system may take for written what is not.
fn write_end_again(file: &File) -> io::Result<()> {
    let size = file.metadata()?.len();
    let from = size.saturating_sub(ahead::LENGTH as u64);
    let mut text = Vec::new();
    (&*file).seek(SeekFrom::Start(from))?;
    file.take(ahead::LENGTH as u64).read_to_end(&mut text)?;
    file.write_all_at(&text, from)
}

/// The last record of a damaged segment: of the lines that read like one, as far as so many can
/// stand there. The next segment goes on from it, so that `verify` shows the damage alone.
fn last_in(path: &Path, whole: &Position) -> io::Result<(u64, Chain)> {
    let text = fs::read(path)?;
    let possible = whole.seq + 1..=whole.seq + text.len() as u64;
    let last = text
        .split(|byte| *byte == b'\n')
        .filter_map(line::parse)
        .filter(|line| possible.contains(&line.seq))
        .max_by_key(|line| line.seq);
    Ok(last.map_or((whole.seq + 1, whole.chain), |line| (line.seq, line.chain)))
}

/// What is wrong with the segment that the store has taken over last, if it is not the last one.
fn damage_before(folder: &Folder, drained: &Position) -> io::Result<Option<String>> {
    let path = folder.path.join(&drained.segment);
    let known = Known {
        drained: Some(drained),
        signed: &[],
    };
    let stopped = match scan(&path, None, known, &mut |_, _| {}) {
        Ok(scan) => scan.stopped,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some(format!(
                "{}: the segment is gone, but its record {} was in the store already",
                path.display(),
                drained.seq
            )));
        }
        Err(error) => return Err(error),
    };
    Ok(stopped.map(|stopped| match stopped {
        Stop::Broken { what } => format!("{}: {what}", path.display()),
        Stop::Torn { bytes } => format!("{}: {bytes} bytes at its end are damaged", path.display()),
    }))
}

fn damaged(path: &Path, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: {what}", path.display()),
    )
}
