//! Replaying many records over the cores: in order, and with a bounded number of them in memory.
//!
//! The calling thread feeds batches to the workers in turn, and a collector takes what they found
//! in the same turn; so the report is the same whatever the number of workers, and nobody runs
//! further ahead than a few batches.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use domain::Timestamp;
use domain::record::Revisions;
use wire::record::replay::{Glance, Recorded};

use super::report::{Change, Partial, Report, same_ids};
use super::sources::{Set, Sources};
use super::{NotComparable, difference, judge_again, settle_again};

/// Records of a batch.
const BATCH: usize = 256;
/// Batches that wait for each worker, and results that wait for the collector.
const WAITING: usize = 2;

/// Which records to replay, and how.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Decided at this moment or later.
    pub from: Option<Timestamp>,
    /// Decided before this moment.
    pub to: Option<Timestamp>,
    /// No batches and no dry runs.
    pub only_accesses: bool,
    /// Threads that decide, at least one.
    pub workers: usize,
}

/// Texts of records, one after the other in one allocation.
#[derive(Debug, Default)]
struct Batch {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    fn push(&mut self, record: &[u8]) {
        self.text.extend_from_slice(record);
        self.ends.push(self.text.len());
    }

    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins
            .zip(&self.ends)
            .filter_map(|(begin, end)| self.text.get(begin..*end))
    }
}

/// Replays what `feed` hands over, and adds what is found to the report. `feed` is given a
/// function that takes one record's text.
///
/// # Errors
/// What `feed` fails with.
pub fn run<T>(
    job: Job,
    sources: &Sources,
    report: &mut Report,
    feed: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<T>,
) -> io::Result<T> {
    let workers = job.workers.max(1);
    thread::scope(|scope| {
        let mut inboxes: Vec<SyncSender<Batch>> = Vec::with_capacity(workers);
        let mut outboxes: Vec<Receiver<Partial>> = Vec::with_capacity(workers);
        for _ in 0..workers {
            let (to_worker, batches) = sync_channel::<Batch>(WAITING);
            let (to_collector, found) = sync_channel::<Partial>(WAITING);
            inboxes.push(to_worker);
            outboxes.push(found);
            scope.spawn(move || {
                let mut worker = Worker::new(job, sources);
                for batch in batches {
                    if to_collector.send(worker.replay(&batch)).is_err() {
                        return;
                    }
                }
            });
        }
        let collector = scope.spawn(move || {
            // In the turn in which they were handed out: the first that has no more is the end.
            for found in outboxes.iter().cycle() {
                match found.recv() {
                    Ok(partial) => report.absorb(partial),
                    Err(_) => return,
                }
            }
        });
        let mut turn = inboxes.iter().cycle();
        let mut send = |batch: Batch| match turn.next().map(|inbox| inbox.send(batch)) {
            Some(Ok(())) => Ok(()),
            _ => Err(io::Error::other("a thread that replays has ended")),
        };
        let mut batch = Batch::default();
        let fed = feed(&mut |record| {
            batch.push(record);
            if batch.ends.len() < BATCH {
                return Ok(());
            }
            send(std::mem::take(&mut batch))
        });
        let sent = if batch.ends.is_empty() {
            Ok(())
        } else {
            send(batch)
        };
        drop(inboxes);
        let collected = collector.join();
        let fed = fed?;
        sent?;
        collected.map_err(|_| io::Error::other("the thread that counts has ended"))?;
        Ok(fed)
    })
}

struct Worker<'a> {
    job: Job,
    sources: &'a Sources,
    /// Most records have the revisions of the one before.
    last: Option<(Revisions, Result<Arc<Set>, NotComparable>)>,
}

impl<'a> Worker<'a> {
    fn new(job: Job, sources: &'a Sources) -> Self {
        Self {
            job,
            sources,
            last: None,
        }
    }

    fn replay(&mut self, batch: &Batch) -> Partial {
        let mut partial = Partial::default();
        for text in batch.records() {
            self.replay_one(text, &mut partial);
        }
        partial
    }

    fn replay_one(&mut self, text: &[u8], partial: &mut Partial) {
        let is_wanted = |at: Timestamp| {
            self.job.from.is_none_or(|from| at >= from) && self.job.to.is_none_or(|to| at < to)
        };
        if self.job.from.is_some() || self.job.to.is_some() {
            match Glance::at(text) {
                Ok(Glance::Decision(at) | Glance::Monitor(at)) if is_wanted(at) => {}
                Ok(_) => return,
                Err(_) => {}
            }
        }
        let recorded = match Recorded::read(text) {
            Ok(recorded) => recorded,
            Err(unreadable) => {
                let why = match Glance::at(text) {
                    Ok(Glance::Other) => return,
                    Ok(Glance::Monitor(_)) if self.job.only_accesses => return,
                    Ok(Glance::Monitor(_)) => NotComparable::Monitor,
                    _ => unreadable.into(),
                };
                *partial.not_comparable.entry(why).or_default() += 1;
                return;
            }
        };
        if self.job.only_accesses && recorded.manner != "access" {
            return;
        }
        partial.saw(recorded.at);
        if let Err(why) = self.compare(&recorded, partial) {
            *partial.not_comparable.entry(why).or_default() += 1;
        }
    }

    fn compare(&mut self, recorded: &Recorded, partial: &mut Partial) -> Result<(), NotComparable> {
        let is_self_check = self.sources.candidate().is_none();
        let set = self.set_for(&recorded.revisions)?;
        let again = match &set.model {
            Some(model) => judge_again(recorded, model, set.basis())?,
            None => settle_again(recorded, set.basis())?,
        };
        partial.compared(recorded.outcome, again.rung);
        let differs = is_self_check
            .then(|| difference(recorded, &again))
            .flatten();
        if differs.is_some() || recorded.outcome != again.rung {
            partial.changes.push(Change::of(recorded, &again, differs));
        } else if !same_ids(recorded, &again.policies) {
            partial.otherwise_settled += 1;
        }
        Ok(())
    }

    fn set_for(&mut self, revisions: &Revisions) -> Result<Arc<Set>, NotComparable> {
        match &self.last {
            Some((known, found)) if known == revisions => found.clone(),
            _ => {
                let found = self.sources.set_for(revisions).map(Arc::new);
                self.last = Some((revisions.clone(), found.clone()));
                found
            }
        }
    }
}
