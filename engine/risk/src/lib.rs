//! How unusual a request is: signals to features, features to a score, a score to reasons.
//!
//! Everything here is pure. Signals come in as values with what became of their source; the
//! clock is an argument; a profile comes in by reference and a [`profile::Delta`] goes out. This
//! crate never does I/O but for [`artifact`], which reads and writes models, and it never decides
//! anything: that is for policies.
//!
//! Start reading at [`extract`], then [`features`] for what each number means, then [`score`].

pub mod abuse;
pub mod agent;
pub mod artifact;
pub mod behaviour;
pub mod binding;
pub mod calibration;
mod counts;
pub mod crowd;
mod distinct;
pub mod distribution;
pub mod extract;
pub mod features;
pub mod key;
pub mod model;
pub mod profile;
pub mod rules;
pub mod score;
pub mod settings;
mod stamp;
pub mod travel;
pub mod words;

pub use abuse::{Attempt, Tally};
pub use crowd::{Crowd, CrowdKeys, Standing};
pub use distribution::Distribution;
pub use extract::{Crowds, Evidence, Signals, extract, extract_live};
pub use features::{Feature, Features};
pub use key::Key;
pub use model::Model;
pub use profile::{Delta, Lesson, Profile};
pub use score::assess;
pub use settings::Settings;
