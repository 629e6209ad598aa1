//! The model keeper's side: simulate traffic, import logs, train models, measure them.
//!
//! Offline. It sees the same features as the service, computed by the same code, and never the
//! service itself.

pub mod card;
pub mod chart;
pub mod distribution;
pub mod evaluate;
pub mod events;
pub mod guard;
pub mod import;
pub mod pseudonym;
pub mod replay;
mod sample;
pub mod simulate;
pub mod stability;
pub mod survey;
pub mod train;
pub mod versus;
pub mod windows;

pub use replay::Replay;
pub use simulate::{Organisation, Scenario};
pub use train::{Training, TrainingPlan};
