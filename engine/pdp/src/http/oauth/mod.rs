//! OAuth 2.0: tokens over the wire (RFC 6749, 7009, 7662, 8693, 8414).
//!
//! Each request goes the same way: the form is read ([`form`]), the client recognised
//! ([`client`]), and only then is anything looked at that it brought. Errors are of RFC 6749's
//! form ([`error`]), never problems of RFC 9457, because OAuth clients read nothing else.

#![allow(dead_code, reason = "its endpoints come with the next changes")]

pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod form;
