//! Where an address is, whose network it is in, and what it hides.
//!
//! Reads databases in MaxMind's format (GeoIP2 and GeoLite2 City, ASN or ISP, Anonymous-IP), and
//! builds such a database from a readable file, for one's own offices and exits and for the
//! demo. Looking up never fails a request: what a database does not hold is absent, what cannot
//! be read is unavailable.
//!
//! A crate of its own because both the service and the trainer look addresses up, and neither
//! may import the other.

pub mod build;
pub mod database;
mod threats;
pub mod world;

pub use database::{Geo, GeoPaths, OpenError};
pub use world::World;
