//! The policy decision point: the service that puts the crates together.
//!
//! [`engine::decide`] is the middle, pure and synchronous. Around it: [`pip`] gathers what it
//! needs, [`administrator`] carries out what follows, [`http`] speaks to callers. Start reading at
//! `engine/ARCHITECTURE.md`, then [`engine`].

pub mod access;
pub mod administrator;
pub mod app;
pub mod archive;
pub mod background;
pub(crate) mod behaviour;
pub mod certificates;
pub mod checkpoints;
pub mod cli;
pub(crate) mod client;
pub(crate) mod devices;
pub mod engine;
pub mod entities;
pub mod explain;
pub mod families;
pub mod feedback;
pub(crate) mod gateways;
mod grpc;
pub mod hearing;
pub mod http;
pub mod inputs;
pub mod issuers;
pub mod key_acts;
pub mod load;
pub mod metrics;
pub(crate) mod minting;
pub mod models;
pub mod monitor;
pub mod observer;
pub mod outbound;
pub mod pip;
pub mod policy_tests;
pub(crate) mod pool;
pub(crate) mod presented;
pub mod publishing;
pub mod rates;
pub mod recorder;
pub mod replay;
pub mod revoking;
pub mod search;
pub mod serve;
pub(crate) mod sessions;
pub mod settings;
pub mod signing;
pub mod snapshot;
pub mod state;
pub(crate) mod status_lists;
pub mod step_up;
pub mod telling;
pub mod tls;

pub use app::App;
pub use engine::{Outcome, Snapshot, decide};
