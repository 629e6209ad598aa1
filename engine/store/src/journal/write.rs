//! Appending, in groups, each durable before anybody is told.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::ahead::{self, Ahead};
use super::line::{self, Position};
use super::queue::{Announced, Queue, Waiting};
use super::segment::{Draft, Folder, Segment};

/// Those who are on their way are waited for no longer than this, however slow the disk.
const PATIENCE_MAX: Duration = Duration::from_millis(1);

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
    /// The record after which the journal goes on.
    pub last_seq: u64,
    /// Bytes that were durable in the write-ahead file alone, and that were put where they belong.
    pub restored: u64,
    /// Bytes of a torn group that were cut off; none of it was answered.
    pub torn_bytes: u64,
    /// What was durable is damaged or gone. What is left stays as it is, for `verify` to show;
    /// where the last segment is concerned, a new one was begun.
    pub damaged: Option<String>,
}

/// The open journal. Cheap to share; one thread of its own writes.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Queue>,
    durable: watch::Receiver<u64>,
    end: watch::Receiver<Position>,
    writer: Mutex<Option<JoinHandle<()>>>,
    folder: PathBuf,
    /// Held as long as the journal is open: two writers would tear the chain.
    _lock: File,
}

/// A group that is settled: those who wait for it, and whether it is durable.
struct Settled {
    waiting: Vec<Waiting>,
    written: bool,
}

impl Journal {
    /// Opens the journal in a folder, repairing what a crash has torn, and starts its writer.
    /// Within a runtime of tokio. `drained` is how far the store has taken it over: so far it
    /// must be there and be the same, and no number is given out again.
    ///
    /// # Errors
    /// When the folder or its files cannot be read or written.
    pub fn open(
        folder: &Path,
        settings: JournalSettings,
        drained: Option<&Position>,
    ) -> io::Result<(Self, Recovery)> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join("lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("{}: another engine writes here", folder.display()),
            )
        })?;
        let opened = Folder::open(folder)?;
        let (mut segment, recovery) = Segment::recover(&opened, drained)?;
        if settings.sync {
            match Ahead::open(&opened) {
                Ok(ahead) => segment.ahead = Some(ahead),
                Err(error) => tracing::warn!(
                    "the journal: there is no write-ahead file, so that each group is flushed by \
                     itself: {error}"
                ),
            }
        } else {
            ahead::remove(&opened)?;
        }
        let queue = Queue::new(settings.queue_max);
        let (told, durable) = watch::channel(segment.end.seq);
        let (ends, end) = watch::channel(segment.end.clone());
        let (settle, settled) = mpsc::unbounded_channel();
        tokio::spawn(release(settled));
        let mut writer = Writer {
            segment,
            settings,
            folder: opened,
            told,
            ends,
            settle,
            between_segments: false,
            trouble: Trouble::default(),
            flush_takes: Duration::ZERO,
        };
        let written = Arc::clone(&queue);
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&written))?;
        let journal = Self {
            queue,
            durable,
            end,
            writer: Mutex::new(Some(writer)),
            folder: folder.to_owned(),
            _lock: lock,
        };
        Ok((journal, recovery))
    }

    /// Says that a record will come soon, so that others are flushed together with it.
    #[must_use]
    pub fn announce(&self) -> Announced {
        self.queue.announce()
    }

    /// Appends one record, a single line of text. Done when it is durable.
    ///
    /// # Errors
    /// When it is not, and will not be.
    pub async fn append(&self, record: Vec<u8>) -> Result<(), AppendError> {
        self.announce().append(record).await
    }

    /// The sequence number of the last durable record, as it grows.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// The place after the last durable record, as this process has written it: what is read from
    /// the disk may be what somebody else has put there.
    #[must_use]
    pub fn end(&self) -> Position {
        self.end.borrow().clone()
    }

    /// Where the segments are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes what waits and stops. Later appends are refused.
    pub fn close(&self) {
        self.queue.close();
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = writer.take();
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
    folder: Folder,
    told: watch::Sender<u64>,
    ends: watch::Sender<Position>,
    settle: mpsc::UnboundedSender<Settled>,
    /// The next segment may have its name already, so nothing more may go into this one.
    between_segments: bool,
    trouble: Trouble,
    /// How long a flush takes, about; nothing where there is none.
    flush_takes: Duration,
}

/// What goes wrong, told once and not for every group.
#[derive(Debug, Default)]
struct Trouble(Option<String>);

impl Trouble {
    fn is(&mut self, what: &str, error: &io::Error) {
        let told = format!("{what}: {error}");
        if self.0.as_ref() != Some(&told) {
            tracing::error!("the journal: {told}");
            self.0 = Some(told);
        }
    }

    fn is_over(&mut self) {
        if self.0.take().is_some() {
            tracing::info!("the journal is written again as it should be");
        }
    }
}

impl Writer {
    fn run(&mut self, queue: &Queue) {
        let mut group = Vec::new();
        let mut text = Vec::new();
        loop {
            queue.take(&mut group, self.flush_takes.min(PATIENCE_MAX));
            if group.is_empty() {
                return self.ends_whole();
            }
            let written = match self.write_group(&group, &mut text) {
                Ok(()) => {
                    self.ends.send_replace(self.segment.end.clone());
                    self.told.send_replace(self.segment.end.seq);
                    true
                }
                Err(error) => {
                    self.trouble
                        .is("a group of records could not be written", &error);
                    false
                }
            };
            let waiting = std::mem::take(&mut group);
            // The releaser ends only after this thread.
            let _ = self.settle.send(Settled { waiting, written });
        }
    }

    fn write_group(&mut self, group: &[Waiting], text: &mut Vec<u8>) -> io::Result<()> {
        let rotated = self.rotate()?;
        text.clear();
        let Position {
            mut seq, mut chain, ..
        } = self.segment.end;
        for (position, waiting) in group.iter().enumerate() {
            seq += 1;
            let first = position == 0;
            chain = chain.after(first, seq, &waiting.record);
            line::write(text, first, seq, chain, &waiting.record);
        }
        let began = Instant::now();
        self.segment.write(text, (seq, chain), self.settings.sync)?;
        if self.settings.sync {
            self.flush_takes = (self.flush_takes * 7 + began.elapsed()) / 8;
        }
        if rotated {
            self.trouble.is_over();
        }
        Ok(())
    }

    /// Leaves a journal that is durable without the write-ahead file.
    fn ends_whole(&mut self) {
        let tidy = self.segment.tidy().and_then(|()| self.segment.settle());
        if let Err(error) = tidy.and_then(|()| ahead::remove(&self.folder)) {
            self.trouble
                .is("it could not be flushed at the end", &error);
        }
    }

    /// Goes on to the next segment when this one is full; false when it should have and could
    /// not. A full segment takes more without harm, so that is no reason to refuse a group,
    /// unless the next one may have its name already: then its first record must go there.
    fn rotate(&mut self) -> io::Result<bool> {
        let Position {
            offset, seq, chain, ..
        } = self.segment.end;
        if offset < self.settings.segment_bytes {
            return Ok(true);
        }
        self.segment.tidy()?;
        self.segment.settle()?;
        match Draft::make(&self.folder, seq, chain) {
            Ok(draft) => {
                self.between_segments = true;
                let mut next = draft.publish(&self.folder)?;
                self.between_segments = false;
                next.ahead = self.segment.ahead.take();
                self.segment = next;
                Ok(true)
            }
            Err(error) if self.between_segments => Err(error),
            Err(error) => {
                self.trouble.is("no new segment could be begun", &error);
                Ok(false)
            }
        }
    }
}
