//! Records on their way to the writer, and those of which it is known that they will come.
//!
//! To flush costs the disk and the processor the same for one record as for a hundred. So whoever
//! begins something that will be on record announces it, and the writer waits for those who are on
//! their way before it flushes: for no longer than a flush takes, so that nobody waits for more
//! than twice as long as without, and not at all where nobody is. (PostgreSQL's `commit_delay` and
//! `commit_siblings`, but for who is on their way and how long being known.)

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::AppendError;

/// What waits for the writer.
#[derive(Debug)]
pub(super) struct Queue {
    line: Mutex<Line>,
    wake: Condvar,
    /// How many have announced a record that is not here yet.
    announced: AtomicUsize,
    most: usize,
}

#[derive(Debug, Default)]
struct Line {
    waiting: Vec<Waiting>,
    /// With how many the writer is to be woken. None: it is at work and will look.
    enough: Option<usize>,
    closed: bool,
}

/// A record, and who waits for it to be durable.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) record: Vec<u8>,
    pub(super) done: oneshot::Sender<bool>,
}

/// A record that is announced, until it comes or is not to come any more.
#[derive(Debug)]
pub struct Announced(Arc<Queue>);

impl Announced {
    /// The record, a single line of text. Done when it is durable.
    ///
    /// # Errors
    /// When it is not, and will not be.
    pub async fn append(self, record: Vec<u8>) -> Result<(), AppendError> {
        let (done, written) = oneshot::channel();
        let queue = Arc::clone(&self.0);
        queue.push(Waiting { record, done }, self)?;
        match written.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(AppendError::NotWritten),
            Err(_) => Err(AppendError::Closed),
        }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.announced.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            line: Mutex::default(),
            wake: Condvar::new(),
            announced: AtomicUsize::new(0),
            most,
        })
    }

    /// Says that somebody will come.
    pub(super) fn announce(self: &Arc<Self>) -> Announced {
        self.announced.fetch_add(1, Ordering::Relaxed);
        Announced(Arc::clone(self))
    }

    fn push(&self, waiting: Waiting, announced: Announced) -> Result<(), AppendError> {
        let mut line = self.lock();
        if line.closed {
            return Err(AppendError::Closed);
        }
        if line.waiting.len() >= self.most {
            return Err(AppendError::QueueFull);
        }
        line.waiting.push(waiting);
        drop(announced);
        let are = line.waiting.len();
        let is_enough = line.enough.take_if(|enough| are >= *enough).is_some();
        drop(line);
        if is_enough {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Takes what is to be written together. `patience` is for those who are on their way. Nothing:
    /// it is closed, and all is taken.
    pub(super) fn take(&self, into: &mut Vec<Waiting>, patience: Duration) {
        let mut line = self.lock();
        line.enough = Some(1);
        line = self
            .wake
            .wait_while(line, |line| line.waiting.is_empty() && !line.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let coming = self.announced.load(Ordering::Relaxed);
        if coming > 0 && !patience.is_zero() {
            let enough = line.waiting.len() + coming;
            line.enough = Some(enough);
            let waited = self.wake.wait_timeout_while(line, patience, |line| {
                line.waiting.len() < enough && !line.closed
            });
            (line, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        line.enough = None;
        std::mem::swap(into, &mut line.waiting);
    }

    /// Has the writer take what waits, and nobody come any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// The lock guards plain data that every holder leaves whole.
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn queue() -> Arc<Queue> {
        Queue::new(100)
    }

    fn taken(queue: &Queue, patience: Duration) -> Vec<Vec<u8>> {
        let mut group = Vec::new();
        queue.take(&mut group, patience);
        group.into_iter().map(|waiting| waiting.record).collect()
    }

    /// Puts one in without waiting for it.
    fn push(announced: Announced, record: &[u8]) -> Result<(), AppendError> {
        let (done, _) = oneshot::channel();
        let record = record.to_vec();
        let queue = Arc::clone(&announced.0);
        queue.push(Waiting { record, done }, announced)
    }

    #[test]
    fn who_is_alone_waits_for_nobody_and_who_is_not_for_those_who_are_on_their_way() {
        let queue = queue();
        push(queue.announce(), b"1").unwrap();
        assert_eq!(taken(&queue, LONG), [b"1"]);

        let (first, second, third) = (queue.announce(), queue.announce(), queue.announce());
        push(first, b"2").unwrap();
        // Nothing will come of this one.
        drop(third);
        let taking = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || taken(&queue, LONG)
        });
        while queue.lock().enough != Some(2) {
            std::thread::yield_now();
        }
        // Who begins now is waited for by the next group.
        let fourth = queue.announce();
        push(second, b"3").unwrap();
        assert_eq!(taking.join().unwrap(), [b"2", b"3"]);

        // As long as a flush takes, and no longer.
        push(queue.announce(), b"4").unwrap();
        assert_eq!(taken(&queue, Duration::from_millis(1)), [b"4"]);
        push(fourth, b"5").unwrap();
        assert_eq!(queue.announced.load(Ordering::Relaxed), 0);
        assert_eq!(taken(&queue, LONG), [b"5"]);
    }

    #[test]
    fn what_waits_at_the_end_is_taken_and_nothing_comes_after_it() {
        let queue = queue();
        let late = queue.announce();
        push(queue.announce(), b"1").unwrap();
        queue.close();
        assert_eq!(taken(&queue, LONG), [b"1"]);
        assert_eq!(push(late, b"2"), Err(AppendError::Closed));
        assert_eq!(taken(&queue, LONG), [] as [&[u8]; 0]);
        assert_eq!(queue.announced.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn more_than_may_wait_are_refused() {
        let queue = Queue::new(1);
        push(queue.announce(), b"1").unwrap();
        let refused = push(queue.announce(), b"2");
        assert_eq!(refused, Err(AppendError::QueueFull));
        assert_eq!(taken(&queue, LONG), [b"1"]);
    }
}
