//! An organisation, simulated: people who commute, travel, move house and replace their phones,
//! programs that run by night, attacks on both, and honest days that look like attacks; each
//! attack and each such day with its label.
//!
//! What happens follows from a readable [`Scenario`] and a [`World`]. The same scenario and
//! world give the same events, byte for byte. Every person's every day has randomness of its
//! own, so that one more person changes nobody else's days.

mod agents;
mod atlas;
mod attacks;
mod calendar;
mod chance;
mod day;
mod draft;
mod line;
mod people;
pub mod scenario;
mod services;
mod sitting;
mod stream;
#[cfg(test)]
mod tests;
mod trips;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use geo::World;
use geo::world::WorldError;
use jiff::civil::Date;
use rand::SeedableRng as _;
use wire::Event;

use atlas::{Atlas, Carrier, Ground, PlaceId};
use chance::{Dice, mix};
use people::Duties;

pub use agents::Gear;
pub use atlas::UnusableWorld;
pub use attacks::Attack;
pub use calendar::number_of;
pub use draft::Sitting;
pub use people::Person;
pub use scenario::{Scenario, ScenarioError};
pub use services::Service;
pub use stream::{Page, Stream};
pub use work::{Resource, documents};

/// The world that the shipped scenarios live in, and that `data/geo/demo.mmdb` is built from.
const WORLD: &str = include_str!("../../../../data/geo/demo.toml");

/// That world.
///
/// # Errors
/// Never in a build whose tests have passed.
pub fn shipped_world() -> Result<World, WorldError> {
    World::parse(Path::new("demo.toml"), WORLD)
}

/// People, programs, and the networks they move in.
#[derive(Clone, Debug)]
pub struct Organisation {
    scenario: Scenario,
    atlas: Atlas,
    /// The people.
    pub people: Vec<Person>,
    /// The programs.
    pub services: Vec<Service>,
    /// Shared addresses of each office.
    offices: BTreeMap<PlaceId, u64>,
    /// Hotels elsewhere, from near to far, for each home.
    hotels: BTreeMap<PlaceId, Vec<PlaceId>>,
    /// Its own data centres, the usual one first.
    regions: Vec<Arc<Carrier>>,
    /// Its own VPN's exits.
    vpn: Vec<Arc<Carrier>>,
    /// All documents, by department.
    libraries: Vec<Arc<[Arc<Resource>]>>,
    words: Words,
}

/// What people and programs are made from.
struct Foundation<'a> {
    scenario: &'a Scenario,
    /// The first day.
    from: i64,
    libraries: BTreeMap<String, Arc<[Arc<Resource>]>>,
    /// Of each role, in the scenario's order.
    duties: Vec<Arc<Duties>>,
}

/// Names that many events share.
#[derive(Clone, Debug)]
struct Words {
    login: Arc<str>,
    mfa: Arc<str>,
    read: Arc<str>,
    write: Arc<str>,
    download: Arc<str>,
    share: Arc<str>,
    list: Arc<str>,
    delete: Arc<str>,
    door: Arc<Resource>,
}

impl Organisation {
    /// Peoples a world as a scenario wants it.
    ///
    /// # Errors
    /// When the world lacks a place or a network that the scenario needs.
    pub fn new(scenario: &Scenario, world: &World) -> Result<Self, UnusableWorld> {
        let mut organisation = Self::over(scenario.clone(), world)?;
        organisation.found(scenario)?;
        let departments = scenario.role.iter().map(|role| role.department.as_str());
        let shared = work::library("shared", scenario.work.documents);
        let foundation = Foundation {
            scenario,
            from: number_of(scenario.organisation.from),
            libraries: departments
                .map(|department| {
                    let mut library = work::library(department, scenario.work.documents);
                    library.extend(shared.iter().cloned());
                    (department.to_owned(), library.into())
                })
                .collect(),
            duties: scenario
                .role
                .iter()
                .map(|role| Arc::new(Duties::new(role)))
                .collect(),
        };
        organisation.libraries = foundation.libraries.values().cloned().collect();
        organisation.people = (0..scenario.organisation.people)
            .filter_map(|number| Person::generate(number, &foundation))
            .collect();
        organisation.services = (0..scenario.organisation.programs)
            .filter_map(|number| Service::generate(number, &foundation))
            .collect();
        Ok(organisation)
    }

    /// A world without people, to be filled by hand; the shipped scenario holds, except for
    /// the places it names: people have an office where they live, and the VPN and the data
    /// centres are wherever the world has such.
    ///
    /// # Errors
    /// When the world lacks a kind of network that simulated people need.
    pub fn empty(seed: u64, world: &World) -> Result<Self, UnusableWorld> {
        let mut scenario = Scenario::shipped()?;
        scenario.organisation.seed = seed;
        Self::over(scenario, world)
    }

    fn over(scenario: Scenario, world: &World) -> Result<Self, UnusableWorld> {
        let atlas = Atlas::new(world)?;
        let homes: Vec<PlaceId> = atlas.places(Ground::Home).collect();
        let hotels = homes.into_iter().map(|home| {
            let mut hotels: Vec<PlaceId> = atlas.places(Ground::Hotel).collect();
            hotels.retain(|place| *place != home);
            let distance = |place: &PlaceId| atlas.distance_km(home, *place);
            hotels.sort_by(|one, other| distance(one).total_cmp(&distance(other)));
            (home, hotels)
        });
        Ok(Self {
            hotels: hotels.collect(),
            regions: atlas.carriers(Ground::DataCentre).to_vec(),
            vpn: atlas.carriers(Ground::CorporateVpn).to_vec(),
            offices: BTreeMap::new(),
            libraries: Vec::new(),
            people: Vec::new(),
            services: Vec::new(),
            words: Words {
                login: "login".into(),
                mfa: "mfa".into(),
                read: "read".into(),
                write: "write".into(),
                download: "download".into(),
                share: "share".into(),
                list: "list".into(),
                delete: "delete".into(),
                door: Arc::new(work::front_door()),
            },
            scenario,
            atlas,
        })
    }

    /// Takes the places that a scenario names.
    fn found(&mut self, scenario: &Scenario) -> Result<(), UnusableWorld> {
        let atlas = &self.atlas;
        for office in &scenario.office {
            let place = atlas.demand("office.place", &office.place, Ground::Office)?;
            self.offices.insert(place, office.exits);
            for home in office.remote.iter().chain([&office.place]) {
                atlas.demand("office.remote", home, Ground::Home)?;
                atlas.demand("office.remote", home, Ground::Mobile)?;
            }
        }
        let carriers = |key, names: &[String], ground| {
            let mut found = Vec::new();
            for name in names {
                let place = atlas.demand(key, name, ground)?;
                found.extend(atlas.carriers_in(ground, place).first().cloned());
            }
            Ok::<_, UnusableWorld>(found)
        };
        self.vpn = carriers("vpn.places", &scenario.vpn.places, Ground::CorporateVpn)?;
        let regions = &scenario.programs.regions;
        self.regions = carriers("programs.regions", regions, Ground::DataCentre)?;
        Ok(())
    }

    /// The ordinary events of one local day, in order of time.
    #[must_use]
    pub fn day(&self, date: Date) -> Vec<Event> {
        let mut drafts = Vec::new();
        self.write_day(date, false, &mut drafts);
        drafts.sort_by_key(|draft| draft.at);
        drafts.iter().filter_map(draft::Draft::event).collect()
    }

    /// Appends what happens on one local day, in no order.
    fn write_day(&self, date: Date, attacked: bool, drafts: &mut Vec<draft::Draft>) {
        let campaign = attacks::spray::of_day(self, date).filter(|_| attacked);
        for (number, person) in self.people.iter().enumerate() {
            let mut dice = self.dice(number as u64, date);
            let begin = drafts.len();
            day::of_person(self, person, date, &mut dice, drafts);
            if attacked {
                attacks::on_person(self, person, date, begin, &mut dice, drafts);
            }
            if let Some(campaign) = &campaign {
                campaign.try_account(self, person, &mut dice, drafts);
            }
        }
        for (number, service) in self.services.iter().enumerate() {
            let mut dice = self.dice(u64::MAX - number as u64, date);
            let begin = drafts.len();
            services::of_service(self, service, date, &mut dice, drafts);
            if attacked {
                attacks::keys::on_service(self, service, begin, &mut dice, drafts);
            }
        }
    }

    /// Appends what happens before the first day, to those accounts that will have been silent.
    fn write_prologue(&self, date: Date, drafts: &mut Vec<draft::Draft>) {
        for (number, person) in self.people.iter().enumerate() {
            if person.silence.is_some() {
                let mut dice = self.dice(number as u64, date);
                day::of_person(self, person, date, &mut dice, drafts);
            }
        }
    }

    fn dice(&self, subject: u64, date: Date) -> Dice {
        let day = i64::from(date.year()) * 512 + i64::from(date.day_of_year());
        // Hashed as one: a generator whose state differs in a part only begins alike.
        let seed = self.scenario.organisation.seed;
        Dice::seed_from_u64(mix(seed ^ mix(subject ^ mix(day.unsigned_abs()))))
    }

    fn is_holiday(&self, date: Date) -> bool {
        self.scenario.organisation.holidays.contains(&date)
    }

    fn has_office(&self, place: PlaceId) -> bool {
        self.offices.contains_key(&place)
    }

    /// How many addresses an office shares; 0: everybody has their own.
    fn exits(&self, place: PlaceId) -> u64 {
        self.offices.get(&place).copied().unwrap_or_default()
    }

    fn hotels(&self, home: PlaceId) -> &[PlaceId] {
        self.hotels.get(&home).map_or(&[], Vec::as_slice)
    }

    /// The own VPN's exit that is nearest.
    fn corporate_vpn(&self, place: PlaceId) -> Option<&Carrier> {
        self.nearest_of(&self.vpn, place)
    }

    /// The carrier of a kind that is nearest.
    fn nearest(&self, ground: Ground, place: PlaceId) -> Option<&Carrier> {
        self.nearest_of(self.atlas.carriers(ground), place)
    }

    fn nearest_of<'a>(&self, carriers: &'a [Arc<Carrier>], place: PlaceId) -> Option<&'a Carrier> {
        let distance = |carrier: &Arc<Carrier>| self.atlas.distance_km(place, carrier.place);
        carriers
            .iter()
            .min_by(|one, other| distance(one).total_cmp(&distance(other)))
            .map(Arc::as_ref)
    }
}
