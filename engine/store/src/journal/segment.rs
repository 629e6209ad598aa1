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
    pub(super) offset: u64,
    pub(super) seq: u64,
    pub(super) chain: Chain,
    /// A write has failed: there may be more in the file than `offset` says.
    untidy: bool,
}

impl Segment {
    /// Finds the end of the journal and makes it ready to be written on.
    pub(super) fn recover(folder: &Folder) -> io::Result<(Self, Recovery)> {
        let paths = line::segments(&folder.path)?;
        let Some(path) = paths.last() else {
            let recovery = Recovery {
                last_seq: 0,
                torn_bytes: 0,
                damaged: None,
            };
            return Ok((
                Draft::make(folder, 0, Chain::GENESIS)?.publish(folder)?,
                recovery,
            ));
        };
        let Scan { end, stopped, .. } = scan(path, None)?;
        let Some(end) = end else {
            return Err(damaged(
                path,
                "no first line; move it away, and keep it to look into",
            ));
        };
        let mut recovery = Recovery {
            last_seq: end.seq,
            torn_bytes: 0,
            damaged: None,
        };
        let segment = match stopped {
            None => Self::reopen(path, &end)?,
            Some(Stop::Torn { bytes }) => {
                let segment = Self::reopen(path, &end)?;
                segment.file.set_len(end.offset)?;
                segment.file.sync_all()?;
                recovery.torn_bytes = bytes;
                segment
            }
            Some(Stop::Broken { what }) => {
                // It stays as evidence. The new segment goes on from its last line that reads
                // like one, so that `verify` shows the damage and nothing else.
                let text = fs::read(path)?;
                let last = text
                    .split(|byte| *byte == b'\n')
                    .filter_map(line::parse)
                    .next_back();
                let (seq, chain) = last.map_or((end.seq, end.chain), |line| (line.seq, line.chain));
                recovery.last_seq = seq;
                recovery.damaged = Some(format!("{}: {what}", path.display()));
                Draft::make(folder, seq, chain)?.publish(folder)?
            }
        };
        Ok((segment, recovery))
    }

    fn reopen(path: &Path, end: &Position) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.seek(SeekFrom::Start(end.offset))?;
        Ok(Self {
            file,
            offset: end.offset,
            seq: end.seq,
            chain: end.chain,
            untidy: false,
        })
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

fn damaged(path: &Path, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: {what}", path.display()),
    )
}
