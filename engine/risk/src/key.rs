//! Short, stable keys for what a profile remembers.
//!
//! A profile keeps hashes, not names: it stays small, and a stolen one tells less.

use std::net::IpAddr;

use xxhash_rust::xxh3::xxh3_64;

/// A 64-bit key. XXH3 is specified and the same everywhere, so a stored key stays valid.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Key(u64);

impl Key {
    /// The key of what was not sent, or is in no database. It is a value like any other: who
    /// always sends a device and now does not is as surprising as with a new one, and who never
    /// sends one is not.
    pub const NOTHING: Self = Self(u64::MAX);

    /// The key of some text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(xxh3_64(text.as_bytes()))
    }

    /// The key of a number that is its own key, such as an ASN.
    #[must_use]
    pub const fn number(number: u64) -> Self {
        Self(number)
    }

    /// As a number, to be kept.
    #[must_use]
    pub const fn as_number(self) -> u64 {
        self.0
    }

    /// The key of two texts, such as a type and an id.
    #[must_use]
    pub fn of_pair(first: &str, second: &str) -> Self {
        Self(xxh3_64(first.as_bytes()).rotate_left(1) ^ xxh3_64(second.as_bytes()))
    }

    /// Where it falls between 0 and 1, for samples that are the same each time.
    #[must_use]
    pub fn unit(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let unit = (self.0 >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }

    /// The key of an address itself.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(u64::from(address.to_bits())),
            IpAddr::V6(address) => Self(xxh3_64(&address.octets()) | 1 << 63),
        }
    }

    /// Its bits well mixed: keys that are numbers lie side by side (finaliser of SplitMix64).
    pub(crate) const fn spread(self) -> u64 {
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// The key of an address's network: /24 for IPv4, /64 for IPv6 (E7).
    #[must_use]
    pub fn of_prefix(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(u64::from(address.to_bits() >> 8)),
            // The upper half; its top bit keeps it apart from every IPv4 key.
            IpAddr::V6(address) => {
                let upper = (address.to_bits() >> 64) as u64;
                Self(upper | 1 << 63)
            }
        }
    }
}
