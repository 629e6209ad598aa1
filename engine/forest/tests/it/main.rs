//! What the crate promises, tried from outside. One binary; a module for each promise.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may stop a test as tests do"
)]

mod data;
mod edges;
mod explain;
mod format;
mod fuzzed;
mod incremental;
mod linfa_way;
mod properties;
mod tables;
