#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod error;
mod explain;
mod fit;
mod forest;
mod format;
mod grow;
mod hyperparams;
mod incremental;
mod leaves;
mod packed;
mod path;
mod plain;
mod ranking;
mod reservoir;
mod sample;
#[cfg(feature = "serde")]
mod serde_form;
mod trees;

pub use error::{FormatError, IsolationForestError, MergeError, RowError};
pub use explain::{Explained, Explanation};
pub use forest::IsolationForest;
pub use hyperparams::{IsolationForestParams, IsolationForestValidParams};
pub use reservoir::Reservoir;

#[cfg(test)]
mod tests;
