//! temporary
pub mod forwarded;
pub mod host;
pub mod original;
pub mod path;
pub mod query;
pub use forwarded::{Peer, Trust};
pub use original::{Original, Reading, Scheme};
pub use path::{EmptySegments, Target};
