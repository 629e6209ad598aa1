//! Appending, in groups, each durable before anybody is told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

use super::line::{self, Chain, Position};
use super::verify::{Scan, Stop, scan};

/// How the journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// A new segment is begun when one has grown past this, bytes.
    pub segment_bytes: u64,
    /// Records that may wait for the disk at once; more are refused.
    pub queue_max: usize,
    /// Whether a group is flushed to the disk (fdatasync) before it counts. Without it a power
    /// cut loses what the system had not written yet; killing the process loses nothing.
    pub sync: bool,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            queue_max: 10_000,
            sync: true,
        }
    }
}

/// Why a record was not journalled. The decision it belongs to must not be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too many wait for the disk.
    #[error("the journal's queue is full")]
    QueueFull,
    /// The disk refused the group.
    #[error("the journal could not be written")]
    NotWritten,
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Records in the journal's last segment.
    pub last_seq: u64,
    /// Bytes of a torn group that were cut off; none of it was answered.
    pub torn_bytes: u64,
    /// The last segment is damaged in what was durable; it is left as it is, for `verify` to
    /// show, and a new one was begun.
    pub damaged: Option<String>,
}

/// The open journal. Cheap to share; one thread of its own writes.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
    writer: Mutex<Option<JoinHandle<()>>>,
    folder: PathBuf,
    /// Held as long as the journal is open: two writers would tear the chain.
    _lock: File,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    queue_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    record: Vec<u8>,
    done: oneshot::Sender<bool>,
}

/// A group that is settled: those who wait for it, and whether it is durable.
struct Settled {
    waiting: Vec<Waiting>,
    written: bool,
}

impl Journal {
    /// Opens the journal in a folder, repairing what a crash has torn, and starts its writer.
    /// Within a runtime of tokio.
    ///
    /// # Errors
    /// When the folder or its files cannot be read or written.
    pub fn open(folder: &Path, settings: JournalSettings) -> io::Result<(Self, Recovery)> {
        fs::create_dir_all(folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("{}: another engine writes here", folder.display()),
            )
        })?;
        let (segment, recovery) = Segment::recover(folder)?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            queue_max: settings.queue_max,
        });
        let (told, durable) = watch::channel(segment.seq);
        let (settle, settled) = mpsc::unbounded_channel();
        tokio::spawn(release(settled));
        let mut writer = Writer {
            segment,
            settings,
            folder: folder.to_owned(),
            told,
            settle,
        };
        let queue = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&queue))?;
        let journal = Self {
            shared,
            durable,
            writer: Mutex::new(Some(writer)),
            folder: folder.to_owned(),
            _lock: lock,
        };
        Ok((journal, recovery))
    }

    /// Appends one record, a single line of text. Done when it is durable.
    ///
    /// # Errors
    /// When it is not, and will not be.
    pub async fn append(&self, record: Vec<u8>) -> Result<(), AppendError> {
        self.submit(record)?
            .await
            .map_err(|_| AppendError::Closed)
            .and_then(|written| {
                if written {
                    Ok(())
                } else {
                    Err(AppendError::NotWritten)
                }
            })
    }

    fn submit(&self, record: Vec<u8>) -> Result<oneshot::Receiver<bool>, AppendError> {
        let (done, receiver) = oneshot::channel();
        let mut queue = lock(&self.shared.queue);
        if queue.closed {
            return Err(AppendError::Closed);
        }
        if queue.waiting.len() >= self.shared.queue_max {
            return Err(AppendError::QueueFull);
        }
        queue.waiting.push(Waiting { record, done });
        let was_empty = queue.waiting.len() == 1;
        drop(queue);
        if was_empty {
            self.shared.wake.notify_one();
        }
        Ok(receiver)
    }

    /// The sequence number of the last durable record, as it grows.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// Where the segments are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes what waits and stops. Later appends are refused.
    pub fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.wake.notify_one();
        let writer = lock(&self.writer).take();
        if let Some(writer) = writer {
            // A writer that panicked has nothing more to say.
            let _ = writer.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// The lock guards plain data that every holder leaves whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes those who wait, from a thread of the runtime: to wake each of them from the writer's
/// thread would cost a system call for every record instead of one for every group.
async fn release(mut settled: mpsc::UnboundedReceiver<Settled>) {
    while let Some(group) = settled.recv().await {
        for waiting in group.waiting {
            // Nobody waits any more when the client has gone.
            let _ = waiting.done.send(group.written);
        }
    }
}

struct Writer {
    segment: Segment,
    settings: JournalSettings,
    folder: PathBuf,
    told: watch::Sender<u64>,
    settle: mpsc::UnboundedSender<Settled>,
}

impl Writer {
    fn run(&mut self, shared: &Shared) {
        let mut group = Vec::new();
        let mut text = Vec::new();
        loop {
            let mut queue = lock(&shared.queue);
            while queue.waiting.is_empty() && !queue.closed {
                queue = shared
                    .wake
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if queue.waiting.is_empty() {
                return;
            }
            std::mem::swap(&mut group, &mut queue.waiting);
            drop(queue);
            let written = self.write_group(&group, &mut text);
            if written.is_ok() {
                self.told.send_replace(self.segment.seq);
            }
            let waiting = std::mem::take(&mut group);
            // The releaser ends only after this thread.
            let _ = self.settle.send(Settled {
                waiting,
                written: written.is_ok(),
            });
        }
    }

    fn write_group(&mut self, group: &[Waiting], text: &mut Vec<u8>) -> io::Result<()> {
        if self.segment.offset >= self.settings.segment_bytes {
            self.segment = Segment::create(&self.folder, self.segment.seq, self.segment.chain)?;
        }
        text.clear();
        let (mut seq, mut chain) = (self.segment.seq, self.segment.chain);
        for (position, waiting) in group.iter().enumerate() {
            seq += 1;
            chain = chain.after(seq, &waiting.record);
            line::write(text, position == 0, seq, chain, &waiting.record);
        }
        self.segment.write(text, self.settings.sync)?;
        self.segment.seq = seq;
        self.segment.chain = chain;
        Ok(())
    }
}

/// The segment that is being written.
#[derive(Debug)]
struct Segment {
    file: File,
    offset: u64,
    seq: u64,
    chain: Chain,
    /// A write has failed: there may be more in the file than `offset` says.
    untidy: bool,
}

impl Segment {
    /// Finds the end of the journal and makes it ready to be written on.
    fn recover(folder: &Path) -> io::Result<(Self, Recovery)> {
        let paths = line::segments(folder)?;
        let Some(path) = paths.last() else {
            let recovery = Recovery {
                last_seq: 0,
                torn_bytes: 0,
                damaged: None,
            };
            return Ok((Self::create(folder, 0, Chain::GENESIS)?, recovery));
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
                Self::create(folder, seq, chain)?
            }
        };
        Ok((segment, recovery))
    }

    /// Begins a segment. It gets its name only when its first line is durable, and never the
    /// name of one that is there.
    fn create(folder: &Path, seq: u64, chain: Chain) -> io::Result<Self> {
        let path = folder.join(line::segment_name(seq + 1));
        let draft = folder.join("segment.new");
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        let header = line::header(seq + 1, chain);
        file.write_all(header.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&draft, &path).map_err(named)?;
        fs::remove_file(&draft)?;
        File::open(folder)?.sync_all()?;
        Ok(Self {
            file,
            offset: header.len() as u64,
            seq,
            chain,
            untidy: false,
        })
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

    fn write(&mut self, text: &[u8], sync: bool) -> io::Result<()> {
        if self.untidy {
            // What a failed group left behind was never answered. It must be gone before
            // anything is written behind it.
            self.file.set_len(self.offset)?;
            self.file.seek(SeekFrom::Start(self.offset))?;
        }
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
