//! The world as simulated people see it: places with their clocks, and who carries traffic there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use domain::signal::Spot;
use geo::World;
use geo::world::{Flag, NetworkEntry, Use};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::chance::{index, mix};

/// Why a world does not do for a simulation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableWorld {
    /// The shipped scenario, in a build whose tests have not passed.
    #[error("{0}")]
    Scenario(#[from] super::ScenarioError),
    /// A kind of network is missing.
    #[error("the world has no network that is used as {what}; give one `used_as = \"{what}\"`")]
    NoNetwork {
        /// Which kind.
        what: &'static str,
    },
    /// The scenario names a place that the world lacks.
    #[error("{key}: the world has no place `{place}`; it has {known}")]
    NoPlace {
        /// Where in the scenario.
        key: &'static str,
        /// What it names.
        place: String,
        /// What there is.
        known: String,
    },
    /// The scenario wants a network in a place that has none of its kind.
    #[error("{key}: the world has no network in {place} that is used as {what}")]
    NotThere {
        /// Where in the scenario.
        key: &'static str,
        /// Which place.
        place: String,
        /// Which kind.
        what: &'static str,
    },
    /// A place without a clock.
    #[error("place.{place} needs a `time_zone` that exists, for people to live by")]
    NoClock {
        /// Which place.
        place: String,
    },
}

/// What a network is, to the people who use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ground {
    Home,
    Mobile,
    Office,
    Hotel,
    Vpn,
    CorporateVpn,
    Hosting,
    DataCentre,
    /// Privacy relays of device makers.
    Relay,
    /// Homes whose traffic is sold, and known for it.
    FlaggedHome,
}

impl Ground {
    const fn word(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Mobile => "mobile",
            Self::Office => "office",
            Self::Hotel => "hotel",
            Self::Vpn => "vpn",
            Self::CorporateVpn => "corporate-vpn",
            Self::Hosting => "hosting",
            Self::DataCentre => "data-centre",
            Self::Relay => "relay",
            Self::FlaggedHome => "residential-proxy",
        }
    }

    fn of(network: &NetworkEntry) -> Option<Self> {
        Some(match network.used_as {
            Some(Use::Home) => Self::Home,
            Some(Use::Mobile) => Self::Mobile,
            Some(Use::Office) => Self::Office,
            Some(Use::Hotel) => Self::Hotel,
            Some(Use::Vpn) => Self::Vpn,
            Some(Use::CorporateVpn) => Self::CorporateVpn,
            Some(Use::Hosting) => Self::Hosting,
            Some(Use::DataCentre) => Self::DataCentre,
            Some(Use::Tor | Use::Proxy) => return None,
            None if network.flags.contains(&Flag::Relay) => Self::Relay,
            None if network.flags.contains(&Flag::ResidentialProxy) => Self::FlaggedHome,
            None => return None,
        })
    }
}

/// One of the atlas's places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlaceId(usize);

#[derive(Clone, Debug)]
struct Place {
    country: String,
    spot: Spot,
    zone: TimeZone,
}

/// Somebody's network in one place.
#[derive(Clone, Debug)]
pub(super) struct Carrier {
    pub(super) place: PlaceId,
    pub(super) asn: u32,
    /// Narrow ranges first.
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

impl Carrier {
    /// Whether it gives addresses of both versions.
    pub(super) fn is_dual(&self) -> bool {
        !self.v4.is_empty() && !self.v6.is_empty()
    }

    /// An address in it: of IPv6 if wanted and there, of IPv4 otherwise. In IPv4 a household
    /// has one address; in IPv6 it has one /64, and every host an address of its own.
    pub(super) fn address(&self, wants_v6: bool, household: u64, host: u64) -> IpAddr {
        let v6 = self.v6.get(index(mix(household), self.v6.len()));
        if let Some(range) = v6.filter(|_| wants_v6 || self.v4.is_empty()) {
            return within_v6(range, household, host);
        }
        match self.v4.get(index(mix(household), self.v4.len())) {
            Some(range) => within_v4(range, household),
            None => IpAddr::from([0, 0, 0, 0]),
        }
    }

    /// One of the few public addresses that everybody behind it shares.
    pub(super) fn exit(&self, number: u64) -> IpAddr {
        match (self.v4.first(), self.v6.first()) {
            (Some(range), _) => within_v4(range, number),
            (None, Some(range)) => within_v6(range, number, number),
            (None, None) => IpAddr::from([0, 0, 0, 0]),
        }
    }

    /// An address of one's own in its widest range.
    pub(super) fn desk(&self, host: u64) -> IpAddr {
        self.v4
            .last()
            .map_or_else(|| self.exit(host), |range| within_v4(range, host))
    }
}

fn within_v4(range: &Ipv4Net, household: u64) -> IpAddr {
    let free = 32 - u32::from(range.prefix_len());
    let mask = 1_u64.checked_shl(free).map_or(u64::MAX, |size| size - 1);
    #[expect(clippy::cast_possible_truncation, reason = "masked to at most 32 bits")]
    let offset = (mix(household ^ 0x1B4) & mask) as u32;
    IpAddr::V4((range.network().to_bits() | offset).into())
}

fn within_v6(range: &Ipv6Net, household: u64, host: u64) -> IpAddr {
    let free = 64_u32.saturating_sub(u32::from(range.prefix_len()));
    let mask = 1_u64.checked_shl(free).map_or(u64::MAX, |size| size - 1);
    let upper = u128::from(mix(household ^ 0x1B6) & mask) << 64;
    IpAddr::V6((range.network().to_bits() | upper | u128::from(mix(host))).into())
}

/// Places and carriers.
#[derive(Clone, Debug)]
pub(super) struct Atlas {
    places: Vec<Place>,
    by_name: BTreeMap<String, PlaceId>,
    everywhere: BTreeMap<Ground, Vec<Arc<Carrier>>>,
    there: BTreeMap<(Ground, PlaceId), Vec<Arc<Carrier>>>,
}

impl Atlas {
    /// Reads a world.
    pub(super) fn new(world: &World) -> Result<Self, UnusableWorld> {
        let mut atlas = Self {
            places: Vec::new(),
            by_name: BTreeMap::new(),
            everywhere: BTreeMap::new(),
            there: BTreeMap::new(),
        };
        for (name, place) in &world.place {
            let zone = place.time_zone.as_deref();
            let zone = zone.and_then(|zone| TimeZone::get(zone).ok());
            let no_clock = || UnusableWorld::NoClock {
                place: name.clone(),
            };
            atlas
                .by_name
                .insert(name.clone(), PlaceId(atlas.places.len()));
            atlas.places.push(Place {
                country: place.country.clone(),
                spot: Spot {
                    latitude: place.latitude,
                    longitude: place.longitude,
                    radius_km: f64::from(place.accuracy_radius_km),
                },
                zone: zone.ok_or_else(no_clock)?,
            });
        }
        atlas.fill(world);
        for needed in [
            Ground::Home,
            Ground::Mobile,
            Ground::Office,
            Ground::Hotel,
            Ground::Vpn,
            Ground::CorporateVpn,
            Ground::Hosting,
            Ground::DataCentre,
        ] {
            if !atlas.everywhere.contains_key(&needed) {
                return Err(UnusableWorld::NoNetwork {
                    what: needed.word(),
                });
            }
        }
        Ok(atlas)
    }

    fn fill(&mut self, world: &World) {
        let mut carriers: BTreeMap<(Ground, PlaceId, u32), Carrier> = BTreeMap::new();
        for network in &world.network {
            let place = network
                .place
                .as_ref()
                .and_then(|place| self.by_name.get(place));
            let (Some(ground), Some(place)) = (Ground::of(network), place) else {
                continue;
            };
            let asn = network.asn.unwrap_or_default();
            let carrier = carriers
                .entry((ground, *place, asn))
                .or_insert_with(|| Carrier {
                    place: *place,
                    asn,
                    v4: Vec::new(),
                    v6: Vec::new(),
                });
            match network.range {
                IpNet::V4(range) => carrier.v4.push(range),
                IpNet::V6(range) => carrier.v6.push(range),
            }
        }
        for ((ground, place, _), mut carrier) in carriers {
            carrier
                .v4
                .sort_by_key(|range| std::cmp::Reverse(range.prefix_len()));
            let carrier = Arc::new(carrier);
            self.everywhere
                .entry(ground)
                .or_default()
                .push(carrier.clone());
            self.there.entry((ground, place)).or_default().push(carrier);
        }
    }

    /// A place that a scenario names, and that must have networks of a kind.
    pub(super) fn demand(
        &self,
        key: &'static str,
        name: &str,
        ground: Ground,
    ) -> Result<PlaceId, UnusableWorld> {
        let place = self.find(name).ok_or_else(|| UnusableWorld::NoPlace {
            key,
            place: name.to_owned(),
            known: self.by_name.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        if self.there.contains_key(&(ground, place)) {
            Ok(place)
        } else {
            Err(UnusableWorld::NotThere {
                key,
                place: name.to_owned(),
                what: ground.word(),
            })
        }
    }

    /// The place of this name.
    pub(super) fn find(&self, name: &str) -> Option<PlaceId> {
        self.by_name.get(name).copied()
    }

    /// All carriers of a kind.
    pub(super) fn carriers(&self, ground: Ground) -> &[Arc<Carrier>] {
        self.everywhere.get(&ground).map_or(&[], Vec::as_slice)
    }

    /// The carriers of a kind in a place; all of the kind where there is none.
    pub(super) fn carriers_in(&self, ground: Ground, place: PlaceId) -> &[Arc<Carrier>] {
        match self.there.get(&(ground, place)) {
            Some(carriers) => carriers,
            None => self.carriers(ground),
        }
    }

    /// One of the carriers of a kind that fit.
    pub(super) fn pick(
        &self,
        ground: Ground,
        random: u64,
        fits: impl Fn(&Carrier) -> bool,
    ) -> Option<&Carrier> {
        let fitting = || {
            self.carriers(ground)
                .iter()
                .map(Arc::as_ref)
                .filter(|one| fits(one))
        };
        fitting().nth(index(random, fitting().count()))
    }

    /// Whether a place has a carrier of a kind.
    pub(super) fn has(&self, ground: Ground, place: PlaceId) -> bool {
        self.there.contains_key(&(ground, place))
    }

    /// Places that have a carrier of a kind, in the order of their names.
    pub(super) fn places(&self, ground: Ground) -> impl Iterator<Item = PlaceId> + '_ {
        self.there
            .keys()
            .filter(move |(there, _)| *there == ground)
            .map(|(_, place)| *place)
    }

    /// Between two places, kilometres.
    pub(super) fn distance_km(&self, from: PlaceId, to: PlaceId) -> f64 {
        match (self.places.get(from.0), self.places.get(to.0)) {
            (Some(from), Some(to)) => risk::travel::distance_km(from.spot, to.spot),
            _ => 0.0,
        }
    }

    /// The country of a place.
    pub(super) fn country(&self, place: PlaceId) -> &str {
        self.places.get(place.0).map_or("", |place| &place.country)
    }

    /// A local time of a place as milliseconds since 1970. Hours beyond 24 are the next day's;
    /// what the clock skips in spring is taken as if it had not.
    pub(super) fn local(&self, place: PlaceId, date: Date, hour: f64) -> i64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "milliseconds of a few days"
        )]
        let millis = (hour.max(0.0) * 3_600_000.0) as i64;
        let midnight = date.at(0, 0, 0, 0);
        let at = midnight.saturating_add(jiff::SignedDuration::from_millis(millis));
        let zone = self.places.get(place.0).map(|place| &place.zone);
        zone.and_then(|zone| zone.to_ambiguous_timestamp(at).compatible().ok())
            .map_or(0, jiff::Timestamp::as_millisecond)
    }
}
