//! The readable file that a database is built from, and that simulated people live in.

use std::collections::BTreeMap;
use std::path::Path;

use domain::Anonymity;
use ipnet::IpNet;
use serde::Deserialize;

/// Places and the networks in them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// Places by a short name that networks refer to.
    #[serde(default)]
    pub place: BTreeMap<String, PlaceEntry>,
    /// Networks. Where two overlap, the narrower one holds.
    #[serde(default)]
    pub network: Vec<NetworkEntry>,
}

/// A city, an office, a data centre.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceEntry {
    /// Its name, for people.
    pub city: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// How far from the point the truth may lie, kilometres.
    #[serde(default = "default_radius")]
    pub accuracy_radius_km: u16,
    /// IANA name.
    pub time_zone: Option<String>,
}

/// A range of addresses.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkEntry {
    /// In CIDR form.
    pub range: IpNet,
    /// Which place it is in; none for a network without one.
    pub place: Option<String>,
    /// Autonomous system number.
    pub asn: Option<u32>,
    /// Whose it is.
    pub organisation: Option<String>,
    /// What it hides.
    #[serde(default)]
    pub flags: Vec<Flag>,
    /// What simulated people use it for.
    #[serde(default)]
    pub used_as: Option<Use>,
}

/// Something that an address hides, or is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as in `Anonymity`")]
pub enum Flag {
    Vpn,
    PublicProxy,
    ResidentialProxy,
    Tor,
    Hosting,
    Relay,
    CorporateExit,
}

/// What a network is used for in a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "plain words")]
pub enum Use {
    Home,
    Mobile,
    Office,
    Hotel,
    Vpn,
    CorporateVpn,
    Tor,
    Proxy,
    Hosting,
    DataCentre,
}

const fn default_radius() -> u16 {
    50
}

/// Why a world was refused.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Not TOML, or not of this form; the message has line and column.
    #[error("{file}: {message}")]
    Malformed {
        /// Which file.
        file: String,
        /// What is wrong, where.
        message: String,
    },
    /// A value makes no sense.
    #[error("{file}: {what}")]
    Nonsense {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
    },
}

impl World {
    /// Reads a world from its text.
    ///
    /// # Errors
    /// With line and column when the text is malformed; naming the entry when it makes no
    /// sense.
    pub fn parse(file: &Path, text: &str) -> Result<Self, WorldError> {
        let file = file.display().to_string();
        let world: Self = toml::from_str(text).map_err(|error| WorldError::Malformed {
            file: file.clone(),
            message: error.to_string(),
        })?;
        world
            .check()
            .map_err(|what| WorldError::Nonsense { file, what })?;
        Ok(world)
    }

    fn check(&self) -> Result<(), String> {
        for (key, place) in &self.place {
            if domain::signal::Country::new(&place.country).is_none() {
                return Err(format!(
                    "place.{key}: country `{}` is not a two-letter code",
                    place.country
                ));
            }
            if !(place.latitude.abs() <= 90.0 && place.longitude.abs() <= 180.0) {
                return Err(format!(
                    "place.{key}: latitude or longitude is not on the earth"
                ));
            }
        }
        for network in &self.network {
            if let Some(place) = &network.place
                && !self.place.contains_key(place)
            {
                return Err(format!(
                    "network {}: there is no place.{place}",
                    network.range
                ));
            }
        }
        if self.network.is_empty() {
            return Err("there is no [[network]]".to_owned());
        }
        Ok(())
    }
}

impl NetworkEntry {
    /// Its flags as the engine knows them.
    #[must_use]
    pub fn anonymity(&self) -> Anonymity {
        let has = |flag| self.flags.contains(&flag);
        Anonymity {
            vpn: has(Flag::Vpn),
            public_proxy: has(Flag::PublicProxy),
            residential_proxy: has(Flag::ResidentialProxy),
            tor: has(Flag::Tor),
            hosting: has(Flag::Hosting),
            relay: has(Flag::Relay),
            corporate_exit: has(Flag::CorporateExit),
            threat: false,
        }
    }
}
