//! Scoped short-lived access tokens (RFC 9068).
//!
//! A token says what was decided a moment ago and no more: one audience, the scopes that the
//! policies allow, minutes of life. The private key never leaves [`keys::SigningKey`].

pub mod claims;
pub mod keys;

pub use claims::{AccessClaims, mint};
pub use keys::{KeyError, SigningKey};
