//! Reading databases.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use domain::signal::{Country, Spot};
use domain::{Anonymity, Network, Place, Signal};
use maxminddb::Reader;
use memmap2::{Mmap, MmapMut};
use serde::Deserialize;

use crate::threats::Threats;

/// Larger than any database that MaxMind sells, with room to grow.
const DATABASE_MAX: u64 = 2 << 30;

/// A database in memory.
///
/// The pages are mapped, private and read-only, and filled from the file once. A map of the file
/// itself would need `unsafe`, and would end the process with SIGBUS when somebody shortens the
/// file under it.
#[derive(Debug)]
struct Database {
    reader: Reader<Mmap>,
    path: PathBuf,
}

/// Where the databases are. One file may serve as several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GeoPaths {
    /// City, country or enterprise.
    pub city: Option<PathBuf>,
    /// ASN or ISP.
    pub asn: Option<PathBuf>,
    /// Anonymous-IP.
    pub anonymous: Option<PathBuf>,
    /// Lists of addresses that are known to attack: text, an address or network a line.
    pub threats: Vec<PathBuf>,
}

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is no sound database.
    #[error(
        "{path}: not a sound MaxMind database: {what}; download it again, or build one with `portreeve geo build`"
    )]
    Unsound {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A line of a list is no address.
    #[error("{path}:{line}: `{text}` is no address and no network such as 192.0.2.0/24")]
    BadLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What it begins with.
        text: String,
    },
}

/// The databases that are configured. Opened whole, swapped whole.
#[derive(Debug, Default)]
pub struct Geo {
    city: Option<Database>,
    asn: Option<Database>,
    anonymous: Option<Database>,
    threats: Option<Threats>,
}

/// What the databases say of one address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Located {
    /// Where it is.
    pub place: Signal<Place>,
    /// Whose network it is in.
    pub network: Signal<Network>,
    /// What it hides.
    pub anonymity: Signal<Anonymity>,
}

impl Database {
    fn open(path: &Path) -> Result<Self, OpenError> {
        let unreadable = |cause| OpenError::Unreadable {
            path: path.to_owned(),
            cause,
        };
        let unsound = |what: String| OpenError::Unsound {
            path: path.to_owned(),
            what,
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        if size == 0 || size > DATABASE_MAX {
            return Err(unsound(format!("it has {size} bytes")));
        }
        let length = usize::try_from(size).map_err(|error| unsound(error.to_string()))?;
        let mut pages = MmapMut::map_anon(length).map_err(unreadable)?;
        file.read_exact(&mut pages).map_err(unreadable)?;
        let pages = pages.make_read_only().map_err(unreadable)?;
        let reader = Reader::from_source(pages).map_err(|error| unsound(error.to_string()))?;
        reader
            .verify()
            .map_err(|error| unsound(error.to_string()))?;
        Ok(Self {
            reader,
            path: path.to_owned(),
        })
    }

    /// Whether the database could know an address of this kind.
    fn covers(&self, address: IpAddr) -> bool {
        address.is_ipv4() || self.reader.metadata().ip_version == 6
    }

    fn find<'de, T: Deserialize<'de>>(&'de self, address: IpAddr) -> Signal<T> {
        match self
            .reader
            .lookup(address)
            .and_then(|found| found.decode::<T>())
        {
            Ok(found) => Signal::from(found),
            // An IPv4-only database has nothing to say about IPv6.
            Err(maxminddb::MaxMindDbError::InvalidInput { .. }) => Signal::Absent,
            Err(_) => Signal::Unavailable,
        }
    }
}

impl Geo {
    /// Opens what is configured and verifies every byte of it.
    ///
    /// # Errors
    /// When a file cannot be read or is not sound. Verified once here, so that a damaged file
    /// shows when it is loaded and not on some request.
    pub fn open(paths: &GeoPaths) -> Result<Self, OpenError> {
        let open = |path: &Option<PathBuf>| path.as_deref().map(Database::open).transpose();
        Ok(Self {
            city: open(&paths.city)?,
            asn: open(&paths.asn)?,
            anonymous: open(&paths.anonymous)?,
            threats: Threats::open(&paths.threats)?,
        })
    }

    /// Looks an address up in all databases. IPv4-mapped IPv6 must be IPv4 by now.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Located {
        let place = self.city.as_ref().map_or(Signal::Absent, |city| {
            map(city.find::<CityRecord<'_>>(address), CityRecord::into_place)
        });
        let network = self.asn.as_ref().map_or(Signal::Absent, |asn| {
            match asn.find::<AsnRecord<'_>>(address) {
                Signal::Known(record) => Signal::from(record.into_network()),
                Signal::Absent => Signal::Absent,
                Signal::Unavailable => Signal::Unavailable,
            }
        });
        let anonymity = self.anonymous.as_ref().map_or(Signal::Absent, |anonymous| {
            match anonymous.find::<AnonymityRecord>(address) {
                // An Anonymous-IP database lists only addresses with a flag; but one of IPv4 says
                // nothing of IPv6.
                Signal::Absent if anonymous.covers(address) => Signal::Known(Anonymity::default()),
                found => map(found, AnonymityRecord::into_anonymity),
            }
        });
        let listed = self
            .threats
            .as_ref()
            .is_some_and(|threats| threats.holds(address));
        let anonymity = match anonymity {
            Signal::Absent if listed => Signal::Known(Anonymity {
                threat: true,
                ..Anonymity::default()
            }),
            found => map(found, |anonymity| Anonymity {
                threat: listed,
                ..anonymity
            }),
        };
        Located {
            place,
            network,
            anonymity,
        }
    }

    /// The files that are open, with what they are and when they were built.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        [&self.city, &self.asn, &self.anonymous]
            .into_iter()
            .flatten()
            .map(|database| {
                let metadata = database.reader.metadata();
                format!(
                    "{}: {}, {} nodes",
                    database.path.display(),
                    metadata.database_type,
                    metadata.node_count
                )
            })
            .chain(
                self.threats.iter().map(|threats| {
                    format!("{} networks that are known to attack", threats.count())
                }),
            )
            .collect()
    }
}

fn map<T, U>(signal: Signal<T>, with: impl FnOnce(T) -> U) -> Signal<U> {
    match signal {
        Signal::Known(value) => Signal::Known(with(value)),
        Signal::Absent => Signal::Absent,
        Signal::Unavailable => Signal::Unavailable,
    }
}

#[derive(Deserialize)]
struct CityRecord<'a> {
    #[serde(borrow)]
    country: Option<CountryRecord<'a>>,
    #[serde(borrow)]
    city: Option<Names<'a>>,
    #[serde(borrow)]
    location: Option<Location<'a>>,
}

#[derive(Deserialize)]
struct CountryRecord<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct Names<'a> {
    #[serde(borrow)]
    names: Option<BTreeMap<&'a str, &'a str>>,
}

#[derive(Deserialize)]
struct Location<'a> {
    latitude: Option<f64>,
    longitude: Option<f64>,
    accuracy_radius: Option<u16>,
    time_zone: Option<&'a str>,
}

#[derive(Deserialize)]
struct AsnRecord<'a> {
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AnonymityRecord {
    is_anonymous_vpn: bool,
    is_hosting_provider: bool,
    is_public_proxy: bool,
    is_residential_proxy: bool,
    is_tor_exit_node: bool,
    /// Ours; MaxMind has no flag for relays.
    is_relay: bool,
    /// Ours: described by the users themselves.
    is_corporate_exit: bool,
}

impl CityRecord<'_> {
    /// A radius for records without one: a country's worth, in kilometres.
    const UNKNOWN_RADIUS_KM: f64 = 1000.0;

    fn into_place(self) -> Place {
        let location = self.location.as_ref();
        let spot = location.and_then(|location| {
            let spot = Spot {
                latitude: location.latitude?,
                longitude: location.longitude?,
                radius_km: location
                    .accuracy_radius
                    .map_or(Self::UNKNOWN_RADIUS_KM, f64::from),
            };
            let on_earth = spot.latitude.abs() <= 90.0 && spot.longitude.abs() <= 180.0;
            on_earth.then_some(spot)
        });
        Place {
            country: self
                .country
                .and_then(|country| country.iso_code)
                .and_then(Country::new),
            city: self
                .city
                .and_then(|city| city.names)
                .and_then(|names| names.get("en").map(|name| (*name).to_owned())),
            spot,
            time_zone: location
                .and_then(|location| location.time_zone)
                .map(str::to_owned),
        }
    }
}

impl AsnRecord<'_> {
    fn into_network(self) -> Option<Network> {
        Some(Network {
            asn: self.autonomous_system_number?,
            organisation: self.autonomous_system_organization.map(str::to_owned),
        })
    }
}

impl AnonymityRecord {
    const fn into_anonymity(self) -> Anonymity {
        Anonymity {
            vpn: self.is_anonymous_vpn,
            public_proxy: self.is_public_proxy,
            residential_proxy: self.is_residential_proxy,
            tor: self.is_tor_exit_node,
            hosting: self.is_hosting_provider,
            relay: self.is_relay,
            corporate_exit: self.is_corporate_exit,
            threat: false,
        }
    }
}
