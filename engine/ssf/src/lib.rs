//! Shared signals (OpenID SSF 1.0): what is said between engines, identity providers and device
//! management about sessions, credentials, devices and risk.
//!
//! Pure: [`subject`] says whom an event is about (RFC 9493), [`event`] what happened (CAEP 1.0,
//! RISC 1.0), [`set`] is the token that carries it (RFC 8417), [`stream`] what a receiver may ask
//! of a transmitter, [`delivery`] how a token travels (RFC 8935, RFC 8936). Signing, sending and
//! acting on it happen elsewhere.

pub mod delivery;
pub mod event;
pub mod set;
pub mod stream;
pub mod subject;

pub use event::Event;
pub use set::SecurityEvent;
pub use stream::Stream;
pub use subject::Subject;
