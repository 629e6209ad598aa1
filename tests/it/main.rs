//! One integration binary: scenarios as data, and the real process over real sockets.

// Helpers of tests may panic like tests do; clippy allows it by itself only inside `#[test]`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on must fail"
)]

mod alerts;
mod authentication;
mod authzen;
mod bad_input;
mod behaviour;
mod checkpoints;
mod command_line;
mod databases;
mod devices;
mod door;
mod edge;
mod entities;
mod events;
mod exports;
mod forged;
mod gateway;
mod gateway_examples;
mod gateway_grpc;
mod gateway_strict;
mod hanging_up;
mod harness;
mod hearing;
mod imports;
mod keys;
mod least_privilege;
mod limits;
mod models;
mod oauth;
mod opened_sessions;
mod policies;
mod policy_check;
mod policy_replay;
mod profiles;
mod properties;
mod publishing;
mod refreshing;
mod reload;
mod repo;
mod revocation;
mod scenarios;
mod scopes;
mod search;
mod session_tiers;
mod sessions;
mod signing_keys;
mod slicing;
mod ssf;
mod status_lists;
mod survival;
mod token_callers;
mod trusted;
mod watched;
