//! The decision journal.
//!
//! A folder of segments, each a text file that any tool can read:
//!
//! ```text
//! portreeve-journal 2 <first seq> <chain before it>
//! +<seq> <chain> <record>
//! .<seq> <chain> <record>
//! ```
//!
//! `chain` is SHA-256 over the chain before it, the mark, the sequence number (8 bytes, big
//! endian) and the record, so that no record can be changed, taken out or put in without breaking
//! every one after it. `+` marks the first record of a group: a group is written and flushed as
//! one, and the next one starts only when the last is durable. What is torn by a crash can
//! therefore only be the last group, none of which was answered; damage before a later `+` is
//! something else. Where a group is flushed is the write-ahead file, `ahead`: what a power cut
//! takes from the end of the last segment is there, and is put back by the next start. Where a
//! start goes on elsewhere, since the journal is damaged, it keeps the file as `ahead.damaged-…`.
//!
//! The chain has no key: who can write here can work it out anew. Therefore the journal is held
//! against what the store has taken over of it, number and chain of the last such record, at
//! each start and whenever it is verified. And the service signs checkpoints, which say what the
//! chain was after a record; the last one of each segment lies beside it.

mod ahead;
mod checkpoint;
mod line;
mod queue;
mod read;
mod retain;
mod segment;
mod verify;
mod write;

#[cfg(test)]
mod tests;

pub use checkpoint::{checkpoints, keep_checkpoint};
pub use line::{Chain, Link, Place, Position};
pub use queue::Announced;
pub use read::{Contents, Read, Record, read_all, read_at, read_from};
pub use retain::{Outdated, outdated};
pub use verify::{Break, Report, verify};
pub use write::{AppendError, Journal, JournalSettings, Recovery};
