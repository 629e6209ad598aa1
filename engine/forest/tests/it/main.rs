//! What the crate promises, tried from outside. One binary; a module for each promise.

mod data;
mod edges;
mod explain;
mod format;
mod fuzzed;
mod incremental;
mod linfa_way;
mod properties;
mod tables;
