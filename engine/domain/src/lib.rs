//! The words of a decision and the rules that hold between them.
//!
//! Every other crate speaks these words; this one knows nobody. It has no dependencies, does no
//! I/O, reads no clock, and knows no JSON, no SQL, no Cedar: each edge has its own form and
//! converts.
//!
//! Start reading at [`request`] (what a gateway asks), then [`signal`] (what is known about it),
//! [`risk`] (how unusual it is) and [`decision`] (what is answered).

pub mod assurance;
pub mod decision;
pub mod facts;
pub mod heard;
pub mod name;
pub mod record;
pub mod request;
pub mod risk;
pub mod security_event;
pub mod session;
pub mod signal;
pub mod time;
pub mod value;

pub use assurance::{Assurance, Level};
pub use decision::{Cause, DecidingPolicy, Decision, Reason, Rung, RungTried};
pub use facts::Facts;
pub use heard::Heard;
pub use name::{EntityRef, Name, NameError};
pub use record::DecisionRecord;
pub use request::{
    AccessRequest, Action, ActionResult, DeviceClaim, KeyThumbprint, Party, RequestContext,
    TokenWish,
};
pub use risk::{Factor, RiskAssessment, RiskLevel, RiskScore};
pub use security_event::SecurityEventKind;
pub use session::{SessionBirth, SessionRecord, SessionSight, SessionTerms, Tier, Wanted};
pub use signal::{Anonymity, DeviceRecord, Network, Place, Signal};
pub use time::Timestamp;
pub use value::Value;
