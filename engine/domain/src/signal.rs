//! What can be known about a request beyond its own words.
//!
//! Each signal comes from a source of its own that may have nothing to say or may have failed;
//! the two are never mixed up, and neither is ever a silent `false`.

use crate::name::EntityRef;
use crate::request::KeyThumbprint;
use crate::time::Timestamp;

/// The answer of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal<T> {
    /// The source knows.
    Known(T),
    /// There is nothing to know: nobody sent what it takes, or the source has no entry.
    #[default]
    Absent,
    /// The source failed or did not answer in time.
    Unavailable,
}

impl<T> Signal<T> {
    /// The value, if it is known.
    #[must_use]
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unavailable => None,
        }
    }

    /// Whether the source failed.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable)
    }
}

impl<T> From<Option<T>> for Signal<T> {
    fn from(found: Option<T>) -> Self {
        found.map_or(Self::Absent, Self::Known)
    }
}

/// A source of signals, by the name that policies, records and metrics use for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Where an address is: the GeoIP city database.
    GeoCity,
    /// Whose network it is in: the ASN database.
    GeoAsn,
    /// Whether it hides someone: the anonymiser database.
    GeoAnonymous,
    /// What is usual for the subject.
    Profile,
    /// What is stored about the device.
    Device,
    /// The session.
    Session,
    /// The Cedar entities.
    Entities,
}

impl Source {
    /// The name that stands in `context.unavailable`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GeoCity => "geo.city",
            Self::GeoAsn => "geo.asn",
            Self::GeoAnonymous => "geo.anonymous",
            Self::Profile => "profile",
            Self::Device => "device",
            Self::Session => "session",
            Self::Entities => "entities",
        }
    }

    /// The source of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }

    /// Every source.
    pub const ALL: [Self; 7] = [
        Self::GeoCity,
        Self::GeoAsn,
        Self::GeoAnonymous,
        Self::Profile,
        Self::Device,
        Self::Session,
        Self::Entities,
    ];
}

/// A two-letter country code (ISO 3166-1 alpha-2), upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Two ASCII letters of either case.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        match code.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // INVARIANT: both bytes are ASCII letters.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The two letters as one number, a compact key.
    #[must_use]
    pub const fn number(self) -> u16 {
        u16::from_be_bytes(self.0)
    }
}

/// A point on the earth with the radius that is likely to hold the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot {
    /// Degrees north, −90 to 90.
    pub latitude: f64,
    /// Degrees east, −180 to 180.
    pub longitude: f64,
    /// Kilometres; the databases give 1 to 1000.
    pub radius_km: f64,
}

/// Where an address is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// The country.
    pub country: Option<Country>,
    /// The city's name, in English.
    pub city: Option<String>,
    /// The point, where the database has one.
    pub spot: Option<Spot>,
    /// The place's IANA time zone, for example `Europe/Paris`.
    pub time_zone: Option<String>,
}

/// Whose network an address is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Autonomous system number (RFC 6793).
    pub asn: u32,
    /// The organisation's name.
    pub organisation: Option<String>,
}

/// Whether an address hides the one behind it.
///
/// A known address with no flag set is `Known(Anonymity::default())`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anonymity {
    /// A commercial VPN.
    pub vpn: bool,
    /// A public proxy.
    pub public_proxy: bool,
    /// A proxy that runs in a household.
    pub residential_proxy: bool,
    /// A Tor exit.
    pub tor: bool,
    /// A data centre: servers live there, people do not.
    pub hosting: bool,
    /// A privacy relay that keeps the country, such as a phone maker's.
    pub relay: bool,
    /// One of the organisation's own exits: known, and no hiding.
    pub corporate_exit: bool,
    /// On a list of addresses that are known to attack.
    pub threat: bool,
}

impl Anonymity {
    /// Whether the place of the address says little about the place of the person.
    #[must_use]
    pub const fn hides_place(self) -> bool {
        self.vpn
            || self.public_proxy
            || self.residential_proxy
            || self.tor
            || self.relay
            || self.corporate_exit
    }

    /// Whether somebody meant to hide: all of the above but relays and the own exits.
    #[must_use]
    pub const fn is_anonymiser(self) -> bool {
        self.vpn || self.public_proxy || self.residential_proxy || self.tor
    }
}

/// What is stored about a device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceRecord {
    /// Its id, as callers send it.
    pub id: String,
    /// Whose it is.
    pub owner: Option<EntityRef>,
    /// 0 (none) to 100.
    pub trust: Option<u8>,
    /// Under management of the organisation.
    pub managed: Option<bool>,
    /// In line with the organisation's rules.
    pub compliant: Option<bool>,
    /// Operating system.
    pub os: Option<String>,
    /// Its version.
    pub os_version: Option<String>,
    /// No longer to be used by anybody: lost, stolen, retired.
    pub revoked: bool,
    /// Since when it is enrolled to its owner.
    pub enrolled_at: Option<Timestamp>,
    /// The key that it was enrolled with; whoever proves to hold it is on this device.
    pub key: Option<KeyThumbprint>,
    /// When its posture (managed, compliant, system) was found out.
    pub checked_at: Option<Timestamp>,
    /// By whom: the name of a device management, the issuer of a signal.
    pub posture_source: Option<String>,
    /// When the record was last written.
    pub updated_at: Timestamp,
}

impl DeviceRecord {
    /// Whether what is recorded of the posture is too old to be believed. None: nothing is
    /// recorded of it.
    #[must_use]
    pub fn posture_is_stale(&self, max_age_seconds: i64, now: Timestamp) -> Option<bool> {
        (self.managed.is_some() || self.compliant.is_some())
            .then(|| self.is_unchecked_for(max_age_seconds, now))
    }

    /// Whether nobody has looked at it for longer than so many seconds.
    #[must_use]
    pub fn is_unchecked_for(&self, seconds: i64, now: Timestamp) -> bool {
        let checked_at = self.checked_at.unwrap_or(self.updated_at);
        now.whole_seconds_since(checked_at) > seconds
    }

    /// Whether the key of this device was proven. None: it was enrolled without one.
    #[must_use]
    pub fn is_proven_by(&self, proven: Option<&KeyThumbprint>) -> Option<bool> {
        self.key.as_ref().map(|key| proven == Some(key))
    }
}
