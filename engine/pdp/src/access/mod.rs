//! The callers: who they are, by their key, and what they may ask for, by Cedar.

mod keys;
mod refusals;
mod roles;

pub use keys::{Caller, KeyRing, LIFE_MAX_DAYS, NewKey, NotAdmitted, Refused};
pub use roles::{Permission, Permissions, Role};
