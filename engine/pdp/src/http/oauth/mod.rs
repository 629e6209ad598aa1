//! OAuth 2.0: tokens over the wire (RFC 6749, 7009, 7662, 8693, 8414).
//!
//! Each request goes the same way: the form is read ([`form`]), the client recognised
//! ([`client`]), and only then is anything looked at that it brought. Errors are of RFC 6749's
//! form ([`error`]), never problems of RFC 9457, because OAuth clients read nothing else.

mod asked;
pub(crate) mod client;
mod client_credentials;
pub(crate) mod error;
mod exchange;
mod foreign;
mod form;
pub(super) mod introspect;
pub(super) mod metadata;
pub(crate) mod proof;
mod refresh;
pub(crate) mod revoke;
pub(crate) mod status_list;
pub(super) mod token;
