//! What gateways ask and what they get back: the pure half of forward-auth and Envoy's ext_authz.
//!
//! Nothing here does I/O, reads a clock, or verifies a credential. It must never let two readings
//! of a request pass: what is ambiguous is refused, so that gateway, engine and app cannot
//! disagree about what is asked for. The way of a request:
//!
//! ```text
//! headers, peer ─▶ Original::told, or ::direct     method, scheme, host, path: one reading
//!               ─▶ Identity::spelled               nothing that an app takes for a gateway's word
//!               ─▶ forwarded::client               whose address it is
//!               ─▶ CookieName::read, or a token    a Credential, once it is verified elsewhere
//!               ─▶ Routes::find                    the first route that matches
//!               ─▶ pages::check                    with a cookie: whose page sends it
//!               ─▶ Matched::evaluation             domain::AccessRequest, to be decided elsewhere
//!               ─▶ Door::reply                     status, headers, body
//! ```
//!
//! Settings come in as [`RawGateway`] and are checked whole into a [`Gateway`], of which each
//! caller has its [`Door`]. [`explain`] tells people which route a request takes, and why.

pub mod certificate;
pub mod door;
pub mod explain;
pub mod forwarded;
pub mod host;
pub mod identity;
pub mod original;
pub mod pages;
pub mod path;
pub mod query;
pub mod reply;
pub mod routes;
#[cfg(test)]
mod stories;
mod template;

pub use door::{CertificateFrom, Credentials, Door, Gateway, GatewayFaults};
pub use forwarded::{ForwardedFault, Node, Peer, Trust};
pub use identity::{Identity, Known};
pub use original::{Original, OriginalFault, Reading, Scheme};
pub use path::{EmptySegments, Target, TargetFault};
pub use reply::{Decided, Reply, Statuses, Verdict};
pub use routes::raw::RawGateway;
pub use routes::{Case, Matched, NoRoute, Route, Routes, WhyNot};
pub use template::{Credential, MapFault, Question, Template};
