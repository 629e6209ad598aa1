//! What survives the process: the decision journal, and the SQLite store.
//!
//! The [`journal`] is where an answered decision is durable first: append-only, hash-chained,
//! flushed to the disk before the answers of its group leave. The [`sqlite`] store holds what is
//! looked up: keys, devices, sessions, profiles, and the decisions drained from the journal.
//!
//! Nothing here decides, and nothing here knows the form of what it keeps beyond the columns it
//! is looked up by.

pub mod journal;
pub mod sqlite;

pub use journal::{Journal, JournalSettings};
pub use sqlite::Store;
