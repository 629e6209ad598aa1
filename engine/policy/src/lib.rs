//! Cedar policies: loaded whole or not at all, evaluated without a second truth.
//!
//! This crate alone knows Cedar's types. It turns a folder into [`Policies`] (or a list of
//! [`Problem`]s an author can act on), a file of entities into [`Directory`], and a question into
//! a [`Climb`]: the lowest rung of the ladder that the policies accept.
//!
//! It never formats a caller's text into Cedar source, never reads an entity or an extension
//! value out of a caller's JSON unless the schema says so there, and never lets a policy that
//! failed count as one that did not apply.
//!
//! Start reading at [`ladder`].

mod annotated;
pub mod clock;
pub mod directory;
pub mod evaluate;
pub mod format;
mod freshness;
mod glance;
mod grants;
pub mod ladder;
mod links;
pub mod lint;
pub mod load;
mod mentions;
mod nesting;
pub mod places;
pub mod plain;
pub mod problem;
mod reach;
pub mod search;
mod shape;
mod slice;
pub mod source;
mod validate;
mod value;
pub mod vocabulary;

pub use directory::{ChangeError, Directory, Entry, Finding, Shown, Source};
pub use ladder::{Climb, Question};
pub use load::Policies;
pub use problem::{Problem, Problems, Severity};
pub use reach::{Reach, RequestKind};
pub use slice::Side;
pub use source::SourceFile;
