//! Scoped short-lived access tokens (RFC 9068).
//!
//! A token says what was decided a moment ago and no more: one audience, the scopes that the
//! policies allow, minutes of life. The private key never leaves [`keys::SigningKey`].

pub mod claims;
pub mod keys;
pub mod mint;
pub mod revocation;
pub mod strict_json;

pub use claims::Claims;
pub use keys::{KeyError, KeySet, SigningKey, VerifyingKey};
pub use mint::mint;
