//! The engine's own door: who gets in, how often, at which listener, and how it is closed.

pub(crate) mod callers;
mod flooded;
mod listeners;
mod overload;
mod rates;
mod renewed;
pub(crate) mod secure;
mod stopping;
mod tls;
