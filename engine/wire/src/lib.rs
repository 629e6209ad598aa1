//! JSON in and out: what callers send, what they get, what files and journals hold.
//!
//! This crate alone knows the JSON of the public API (AuthZEN 1.0), of events and of decision
//! records. It turns text into the domain's words, checked, or into an error that names the
//! member that is wrong; and the domain's words into text. It decides nothing.
//!
//! A crate of its own because the service and the trainer speak the same forms, and neither may
//! import the other.

pub mod answer;
pub mod batch;
pub mod event;
pub mod found;
pub mod json;
pub mod record;
pub mod request;
pub mod row;
pub mod search;
pub mod time;
pub mod told;

pub use answer::{AnswerView, Sight};
pub use batch::{Batch, Semantic};
pub use event::{Event, Label};
pub use json::object;
pub use request::{AssuranceClaim, Incoming, Malformed, read};
