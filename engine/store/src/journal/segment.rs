//! The files of the journal: finding the end of the last one, beginning the next one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::Recovery;
use super::line::{self, Chain, Position};
use super::verify::{Scan, Stop, scan};

/// Where a segment is made before it gets its name.
const DRAFT: &str = "segment.new";

/// The journal's folder. Held open: a new name in it must be made durable even when no file
/// descriptor is left to open it with.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    handle: File,
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
        let segment = Segment {
            file,
            name: line::name_of(&name),
            offset: header.len() as u64,
            seq,
            chain,
            untidy: false,
        };
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
    file: File,
    name: String,
    pub(super) offset: u64,
    pub(super) seq: u64,
    pub(super) chain: Chain,
    /// A write has failed: there may be more in the file than `offset` says.
    untidy: bool,
}

impl Segment {
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
        if let Some(path) = paths.last() {
            let Scan { end, stopped, .. } = scan(path, None, drained, &[], &mut |_, _| {})?;
            let Some(end) = end else {
                return Err(damaged(
                    path,
                    "no first line; move it away, and keep it to look into",
                ));
            };
            (seq, chain) = (end.seq, end.chain);
            match stopped {
                None => whole = Some((path, end, 0)),
                Some(Stop::Torn { bytes }) => whole = Some((path, end, bytes)),
                Some(Stop::Broken { what }) => {
                    (seq, chain) = last_in(path, &end)?;
                    damage = Some(format!("{}: {what}", path.display()));
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
            Some((path, end, torn)) => {
                let segment = Self::reopen(path, &end)?;
                if torn > 0 {
                    segment.file.set_len(end.offset)?;
                    segment.file.sync_all()?;
                    torn_bytes = torn;
                }
                segment
            }
            // What is damaged stays as evidence.
            None => Draft::make(folder, seq, chain)?.publish(folder)?,
        };
        let recovery = Recovery {
            last_seq: seq,
            torn_bytes,
            damaged: damage,
        };
        Ok((segment, recovery))
    }

    fn reopen(path: &Path, end: &Position) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.seek(SeekFrom::Start(end.offset))?;
        Ok(Self {
            file,
            name: line::name_of(path),
            offset: end.offset,
            seq: end.seq,
            chain: end.chain,
            untidy: false,
        })
    }

    /// Where it ends now.
    pub(super) fn end(&self) -> Position {
        Position {
            segment: self.name.clone(),
            offset: self.offset,
            seq: self.seq,
            chain: self.chain,
        }
    }

    /// Removes what a failed group left behind: it was never answered, and must be gone before
    /// anything is written behind it, here or in the next segment.
    pub(super) fn tidy(&mut self) -> io::Result<()> {
        if self.untidy {
            self.file.set_len(self.offset)?;
            self.file.seek(SeekFrom::Start(self.offset))?;
            self.untidy = false;
        }
        Ok(())
    }

    /// Writes a group. Durable when it returns, if `sync`.
    pub(super) fn write(&mut self, text: &[u8], sync: bool) -> io::Result<()> {
        self.tidy()?;
        self.untidy = true;
        self.file.write_all(text)?;
        if sync {
            self.file.sync_data()?;
        }
        self.untidy = false;
        self.offset += text.len() as u64;
        Ok(())
    }
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
    let stopped = match scan(&path, None, Some(drained), &[], &mut |_, _| {}) {
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
