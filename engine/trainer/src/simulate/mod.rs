//! A small organisation, simulated: people who commute, travel and replace their phones,
//! programs that run by night, and attacks on both, each with its label.
//!
//! The same plan and seed give the same events, byte for byte. Every person's every day has
//! randomness of its own, so that one more person changes nobody else's days.

mod attacks;
mod day;
mod people;

use std::collections::BTreeMap;
use std::net::IpAddr;

use geo::World;
use geo::world::{NetworkEntry, Use};
use jiff::civil::Date;
use rand::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use wire::Event;

pub use attacks::Attack;
pub use day::{Sitting, number_of};
pub use people::{Person, Resource, Service, documents};

/// The randomness of one subject on one day.
pub(crate) type Dice = Xoshiro256PlusPlus;

/// What is simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Same seed, same events.
    pub seed: u64,
    /// First day.
    pub from: Date,
    /// Number of days.
    pub days: u32,
    /// Number of people.
    pub people: usize,
    /// Number of programs.
    pub services: usize,
    /// Attacks of each kind for every thousand days of a person, from `attacks_after` on.
    pub attacks_per_thousand: f64,
    /// Day from which on there are attacks: what is fitted on before it is clean.
    pub attacks_after: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 7,
            from: Date::constant(2026, 3, 2),
            days: 60,
            people: 200,
            services: 10,
            attacks_per_thousand: 3.0,
            attacks_after: 0,
        }
    }
}

/// Why a world does not do for a simulation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the world has no network that is used as {what}; give one `used_as = \"{what}\"`")]
pub struct UnusableWorld {
    what: String,
}

/// People, programs, and the networks they move in.
#[derive(Clone, Debug)]
pub struct Organisation {
    seed: u64,
    networks: BTreeMap<String, Vec<NetworkEntry>>,
    /// The people.
    pub people: Vec<Person>,
    /// The programs.
    pub services: Vec<Service>,
    zones: BTreeMap<String, jiff::tz::TimeZone>,
}

impl Organisation {
    /// Peoples a world.
    ///
    /// # Errors
    /// When the world lacks a kind of network that simulated people need.
    pub fn new(plan: &Plan, world: &World) -> Result<Self, UnusableWorld> {
        let mut organisation = Self::empty(plan.seed, world)?;
        organisation.people = (0..plan.people)
            .map(|number| Person::generate(number, &organisation, plan.seed))
            .collect();
        organisation.services = (0..plan.services).map(Service::generate).collect();
        Ok(organisation)
    }

    /// A world without people, to be filled by hand.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn empty(seed: u64, world: &World) -> Result<Self, UnusableWorld> {
        let mut networks: BTreeMap<String, Vec<NetworkEntry>> = BTreeMap::new();
        for network in &world.network {
            if let Some(used_as) = network.used_as {
                networks
                    .entry(word(used_as).to_owned())
                    .or_default()
                    .push(network.clone());
            }
        }
        for needed in [
            Use::Home,
            Use::Mobile,
            Use::Office,
            Use::Hotel,
            Use::Vpn,
            Use::CorporateVpn,
            Use::Hosting,
            Use::DataCentre,
        ] {
            if !networks.contains_key(word(needed)) {
                return Err(UnusableWorld {
                    what: word(needed).to_owned(),
                });
            }
        }
        let zones = world
            .place
            .iter()
            .filter_map(|(name, place)| {
                let zone = jiff::tz::TimeZone::get(place.time_zone.as_deref()?).ok()?;
                Some((name.clone(), zone))
            })
            .collect();
        Ok(Self {
            seed,
            networks,
            people: Vec::new(),
            services: Vec::new(),
            zones,
        })
    }

    /// The events of one day in order of time: ordinary ones and, at `attack_rate` for each
    /// kind and person, attacks.
    #[must_use]
    pub fn day(&self, date: Date, attack_rate: f64) -> Vec<Event> {
        let mut events = Vec::new();
        for (number, person) in self.people.iter().enumerate() {
            let mut dice = self.dice(number as u64, date);
            let ordinary = day::of_person(self, person, date, &mut dice);
            for attack in Attack::ON_PEOPLE {
                if dice.gen_bool(attack_rate.clamp(0.0, 1.0)) {
                    events.extend(attack.on_person(self, person, &ordinary, date, &mut dice));
                }
            }
            events.extend(ordinary);
        }
        for (number, service) in self.services.iter().enumerate() {
            let mut dice = self.dice(u64::MAX - number as u64, date);
            let ordinary = day::of_service(self, service, date, &mut dice);
            // There are few programs; a tenth of all attacks on them would never be seen.
            if dice.gen_bool((attack_rate * 10.0).clamp(0.0, 1.0)) {
                events.extend(attacks::on_service(self, service, &ordinary, &mut dice));
            }
            events.extend(ordinary);
        }
        events.sort_by_key(|event| event.time);
        events
    }

    fn dice(&self, subject: u64, date: Date) -> Dice {
        let day = i64::from(date.year()) * 512 + i64::from(date.day_of_year());
        // Hashed as one: a generator whose state differs in a part only begins alike.
        Dice::seed_from_u64(mix(self.seed ^ mix(subject ^ mix(day.unsigned_abs()))))
    }

    /// The networks of one use, in a place if there is one there.
    fn networks(&self, used_as: Use, place: Option<&str>) -> Vec<&NetworkEntry> {
        let all = self
            .networks
            .get(word(used_as))
            .map_or(&[][..], Vec::as_slice);
        let there: Vec<&NetworkEntry> = all
            .iter()
            .filter(|network| place.is_none() || network.place.as_deref() == place)
            .collect();
        if there.is_empty() {
            all.iter().collect()
        } else {
            there
        }
    }

    /// An address in a network of this use. The same `host` gives the same address, and in
    /// IPv6 the same `household` the same /64.
    fn address(&self, used_as: Use, place: Option<&str>, household: u64, host: u64) -> IpAddr {
        let networks = self.networks(used_as, place);
        let choice = networks.get(index(mix(household), networks.len()));
        choice.map_or(IpAddr::from([0, 0, 0, 0]), |network| {
            within(network, household, host)
        })
    }

    fn zone(&self, place: &str) -> jiff::tz::TimeZone {
        self.zones
            .get(place)
            .cloned()
            .unwrap_or(jiff::tz::TimeZone::UTC)
    }

    /// Places where people have homes, and where there are offices.
    fn places(&self, used_as: Use) -> Vec<&str> {
        let mut places: Vec<&str> = self
            .networks(used_as, None)
            .into_iter()
            .filter_map(|network| network.place.as_deref())
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// The events of a whole plan, in order of time, about a day at once.
pub fn simulate<'a>(
    organisation: &'a Organisation,
    plan: &'a Plan,
) -> impl Iterator<Item = Vec<Event>> + 'a {
    let mut waiting: Vec<Event> = Vec::new();
    (0..=plan.days).map_while(move |number| {
        let date = plan.from.checked_add(jiff::Span::new().days(number)).ok()?;
        if number == plan.days {
            return Some(std::mem::take(&mut waiting));
        }
        let attacked = number >= plan.attacks_after;
        let rate = if attacked {
            plan.attacks_per_thousand / 1000.0
        } else {
            0.0
        };
        waiting.extend(organisation.day(date, rate));
        waiting.sort_by_key(|event| event.time);
        // Some days end late and the next one begins early, by the sun of its people: what may
        // still be preceded has to wait.
        let midnight = day::local(date, 24.0, &jiff::tz::TimeZone::UTC)?;
        let settled = midnight.plus_seconds(-14 * 3600);
        let later = waiting.split_off(waiting.partition_point(|event| event.time < settled));
        Some(std::mem::replace(&mut waiting, later))
    })
}

fn within(network: &NetworkEntry, household: u64, host: u64) -> IpAddr {
    match network.range {
        ipnet::IpNet::V4(range) => {
            let free = 32 - u32::from(range.prefix_len());
            let mask = 1_u64.checked_shl(free).map_or(u64::MAX, |size| size - 1);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "masked to fewer than 32 bits"
            )]
            let offset = (mix(household ^ mix(host)) & mask) as u32;
            IpAddr::V4((range.network().to_bits() | offset).into())
        }
        ipnet::IpNet::V6(range) => {
            let free = 64_u32.saturating_sub(u32::from(range.prefix_len()));
            let mask = 1_u64.checked_shl(free).map_or(u64::MAX, |size| size - 1);
            let upper = u128::from(mix(household) & mask) << 64;
            let lower = u128::from(mix(host));
            IpAddr::V6((range.network().to_bits() | upper | lower).into())
        }
    }
}

/// A good mix of all bits (the finaliser of SplitMix64).
pub(crate) const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A position in a list of this length.
pub(crate) fn index(random: u64, length: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "the remainder of a usize")]
    let position = (random % length.max(1) as u64) as usize;
    position
}

const fn word(used_as: Use) -> &'static str {
    match used_as {
        Use::Home => "home",
        Use::Mobile => "mobile",
        Use::Office => "office",
        Use::Hotel => "hotel",
        Use::Vpn => "vpn",
        Use::CorporateVpn => "corporate-vpn",
        Use::Tor => "tor",
        Use::Proxy => "proxy",
        Use::Hosting => "hosting",
        Use::DataCentre => "data-centre",
    }
}
