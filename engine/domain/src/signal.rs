//! What can be known about a request beyond its own words.
//!
//! Each signal comes from a source of its own that may have nothing to say or may have failed;
//! the two are never mixed up, and neither is ever a silent `false`.

use std::net::IpAddr;

use crate::assurance::Assurance;
use crate::name::EntityRef;
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
    /// When the record was last written.
    pub updated_at: Timestamp,
}

/// The circumstances in which a session began; later requests are held against them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionBirth {
    /// When it was first seen.
    pub at: Timestamp,
    /// The address.
    pub ip: Option<IpAddr>,
    /// Its country.
    pub country: Option<Country>,
    /// Its network.
    pub asn: Option<u32>,
    /// Family of the client program, for example `Firefox`.
    pub agent_family: Option<String>,
    /// The device.
    pub device_id: Option<String>,
}

/// A session as far as the engine knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    /// The public id, or the caller's own correlation id.
    pub id: String,
    /// Whose it is.
    pub subject: EntityRef,
    /// How it began.
    pub birth: SessionBirth,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// What was proven in it, and when.
    pub assurance: Assurance,
    /// Whether it has ended. An ended session never lives again.
    pub ended: bool,
    /// What holds for a session that was opened with the engine. None: a caller's own word for
    /// one.
    pub terms: Option<SessionTerms>,
}

/// What holds for a session that was opened with the engine (E1, E2, E14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTerms {
    /// The client that opened it.
    pub client_id: String,
    /// It ends then at the latest, however busy it is.
    pub expires_at: Timestamp,
    /// Seconds without use after which it ends.
    pub idle_seconds: i64,
    /// How often it was used.
    pub accesses: u64,
}

impl SessionRecord {
    /// Whether it is over at a moment: ended, or expired by the one or the other clock.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ended || self.live_until().is_some_and(|until| now >= until)
    }

    /// Until when it lives if nobody uses it any more. None: nothing limits it.
    #[must_use]
    pub fn live_until(&self) -> Option<Timestamp> {
        let terms = self.terms.as_ref()?;
        Some(self.idle_until(terms).min(terms.expires_at))
    }

    fn idle_until(&self, terms: &SessionTerms) -> Timestamp {
        self.last_seen.plus_seconds(terms.idle_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e1_e2_a_session_ends_when_it_is_idle_and_when_it_is_old() {
        let born = Timestamp::from_seconds(1_795_215_660);
        let mut session = SessionRecord {
            id: "ses_1".to_owned(),
            subject: EntityRef::new("User", "alice").unwrap(),
            birth: SessionBirth {
                at: born,
                ..SessionBirth::default()
            },
            last_seen: born,
            assurance: Assurance::default(),
            ended: false,
            terms: Some(SessionTerms {
                client_id: "sk_1".to_owned(),
                expires_at: born.plus_seconds(28_800),
                idle_seconds: 1800,
                accesses: 0,
            }),
        };
        // Seconds since it began, when it was last seen, whether it is over.
        for (now, seen, wanted) in [
            (0, 0, false),
            (1799, 0, false),
            (1800, 0, true),
            (1801, 1, true),
            (28_799, 28_000, false),
            (28_800, 28_799, true),
            // A clock that was put back ends nothing.
            (-60, 0, false),
        ] {
            session.last_seen = born.plus_seconds(seen);
            assert_eq!(session.is_over(born.plus_seconds(now)), wanted, "{now}");
        }
        session.ended = true;
        assert!(session.is_over(born));
        // A caller's own word for a session ends only when it is ended.
        session.ended = false;
        session.terms = None;
        assert!(!session.is_over(born.plus_seconds(1_000_000)));
    }
}
