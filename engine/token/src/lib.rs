//! Scoped short-lived access tokens (RFC 9068).
//!
//! A token says what was decided a moment ago and no more: one audience, the scopes that the
//! policies allow, minutes of life. The private key never leaves [`keys::SigningKey`].

pub mod certificate;
pub mod claims;
pub mod dpop;
pub mod foreign;
pub mod jws;
pub mod keys;
pub mod mint;
pub mod refusal;
pub mod revocation;
pub mod status_list;
pub mod strict_json;
pub mod verify;

#[cfg(test)]
mod tests;

pub use claims::Claims;
pub use foreign::{Foreign, ForeignExpected, verify_foreign};
pub use keys::{KeyError, KeySet, SigningKey, VerifyingKey};
pub use mint::mint;
pub use refusal::Refusal;
pub use verify::{Expected, verify};
