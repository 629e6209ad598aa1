//! The model keeper's side: simulate traffic, import logs, train models, measure them.
//!
//! Offline. It sees the same features as the service, computed by the same code, and never the
//! service itself.

pub mod card;
pub mod events;
pub mod import;
pub mod replay;
pub mod simulate;
pub mod train;

pub use replay::Replay;
pub use simulate::{Organisation, Scenario};
pub use train::{Training, TrainingPlan};
