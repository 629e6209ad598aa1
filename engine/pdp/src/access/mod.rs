//! The callers: who they are, by their key, and what they may ask for, by Cedar.

mod by;
mod failed;
mod keys;
mod new_key;
mod permission;
mod refusals;
mod roles;

pub(crate) use by::{key_of, signed};
pub use failed::{Credential, Failed};
pub use keys::{Caller, KeyRing, NotAdmitted, Refused};
pub(crate) use new_key::sha256;
pub use new_key::{KeyWish, LIFE_MAX_DAYS, NewKey};
pub use permission::{Permission, PermissionSet};
pub use roles::{Permissions, Role};
