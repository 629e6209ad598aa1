//! Who they are and what they usually do.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{EntityRef, Name, Party, Value};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::Foundation;
use super::agents::{Gear, Platform, platform};
use super::chance::{Dice, between, falls, happens, index, luck, mix, unit, weighted};
use super::scenario::Role;
use super::work::Resource;

/// Purposes of luck: numbers that only have to differ.
const PLATFORM: u64 = 11;
const ROLE: u64 = 12;
const OFFICE: u64 = 13;
const REMOTE: u64 = 14;
const PROJECT: u64 = 15;
const CARRIER: u64 = 16;
const LEAVE: u64 = 17;

/// Documents that somebody of the demo keeps coming back to.
const FAVOURITES: usize = 14;

/// What a role asks of its people.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Duties {
    pub(super) role: String,
    pub(super) hours: f64,
    pub(super) shifts: Vec<f64>,
    pub(super) travel: f64,
    pub(super) actions: Vec<(Arc<str>, f64)>,
}

impl Duties {
    pub(super) fn new(role: &Role) -> Self {
        let actions = role.actions.iter();
        Self {
            role: role.name.clone(),
            hours: role.hours,
            shifts: role.shifts.clone(),
            travel: role.travel,
            actions: actions
                .map(|(name, weight)| (name.as_str().into(), *weight))
                .collect(),
        }
    }

    /// Those of the demo's people.
    fn plain() -> Self {
        let actions = [
            ("read", 80.0),
            ("write", 15.0),
            ("download", 4.0),
            ("share", 1.0),
        ];
        Self {
            role: String::new(),
            hours: 9.0,
            shifts: Vec::new(),
            travel: 1.0,
            actions: actions.map(|(name, weight)| (name.into(), weight)).into(),
        }
    }
}

/// An account that falls silent; days since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    /// First day of all.
    pub(super) works_from: i64,
    /// First silent day.
    pub(super) from: i64,
    /// Day on which its owner comes back.
    pub(super) back: Option<i64>,
    /// Day on which somebody else uses it.
    pub(super) taken: Option<i64>,
}

/// Somebody who works here.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// Their id.
    pub id: String,
    /// Their own randomness: habits follow from it.
    pub key: u64,
    /// Where they live.
    pub place: String,
    /// Their department.
    pub department: String,
    /// What they work with.
    pub favourites: Vec<Arc<Resource>>,
    /// Hour of the day at which they begin, local time.
    pub begins: f64,
    /// Requests in an ordinary working day.
    pub requests: f64,
    /// Share of days at home.
    pub at_home: f64,
    /// Whether they reach the office by its VPN when at home.
    pub office_vpn: bool,
    /// Whether they sometimes switch a VPN of their own on.
    pub own_vpn: bool,
    /// Whether they use MFA when they sign in.
    pub mfa: bool,
    /// Whether nothing ever happens to them: they never travel, forget a password, are on
    /// leave, or get a new device.
    pub settled: bool,
    /// Whether they have an office where they live.
    pub(super) has_office: bool,
    /// Which of the office's shared addresses they come from; none: their own.
    pub(super) exit: Option<u64>,
    /// One to three.
    pub(super) devices: usize,
    /// Whether the organisation manages their phone and tablet as well.
    pub(super) managed_phone: bool,
    /// Share of days on which a device's id does not reach the gateway.
    pub(super) silent_devices: f64,
    /// Days that a device of each kind lives.
    pub(super) lifetimes: [i64; 3],
    pub(super) browser_update_days: i64,
    /// Whether their phone's maker relays its traffic.
    pub(super) relay: bool,
    /// Days after which their home has another address.
    pub(super) lease_days: i64,
    /// Share of these changes that are to another carrier.
    pub(super) other_carrier: f64,
    /// Whether their home has IPv6 where the carrier has.
    pub(super) ipv6: bool,
    pub(super) project_days: i64,
    /// First day, if it is not long ago.
    pub(super) joined: Option<i64>,
    /// First day on which they are gone.
    pub(super) left: Option<i64>,
    pub(super) silence: Option<Silence>,
    pub(super) duties: Arc<Duties>,
    /// All that they may touch.
    pub(super) library: Arc<[Arc<Resource>]>,
}

impl Person {
    /// The person of this number.
    pub(super) fn generate(number: usize, foundation: &Foundation<'_>) -> Option<Self> {
        let scenario = foundation.scenario;
        let key = mix(scenario.organisation.seed ^ mix(number as u64));
        let offices = scenario.office.iter().map(|office| office.share);
        let office = scenario
            .office
            .get(weighted(unit(luck(key, OFFICE, 0)), offices))?;
        let roles = scenario.role.iter().map(|role| role.share);
        let role = weighted(unit(luck(key, ROLE, 0)), roles);
        let (role, duties) = (scenario.role.get(role)?, foundation.duties.get(role)?);
        let library = foundation.libraries.get(&role.department)?;
        let remote = office
            .remote
            .get(index(luck(key, REMOTE, 1), office.remote.len()));
        let remote = remote.filter(|_| falls(luck(key, REMOTE, 0), scenario.homes.remote));
        let mut dice = Dice::seed_from_u64(key);
        let [few, many] = scenario.work.favourites;
        let favourites = dice.gen_range(few..=many);
        let counts = scenario.devices.counts.iter().copied();
        let mut person = Self {
            place: remote.unwrap_or(&office.place).clone(),
            has_office: remote.is_none(),
            exit: (office.exits > 0).then(|| key % office.exits.max(1)),
            begins: (role.begins + role.spread * dice.gen_range(-1.0..1.0)).clamp(0.0, 23.9),
            requests: between(role.requests, &mut dice),
            at_home: between(role.at_home, &mut dice),
            office_vpn: happens(scenario.vpn.office, &mut dice),
            own_vpn: happens(scenario.vpn.own, &mut dice),
            mfa: happens(scenario.sessions.mfa, &mut dice),
            devices: 1 + weighted(dice.r#gen(), counts),
            managed_phone: happens(scenario.devices.managed_phones, &mut dice),
            silent_devices: scenario.devices.silent,
            lifetimes: [0; 3].map(|_: i64| days(scenario.devices.replaced_days, &mut dice)),
            browser_update_days: scenario.devices.browser_update_days,
            relay: happens(scenario.devices.relay, &mut dice),
            lease_days: days(scenario.homes.lease_days, &mut dice),
            other_carrier: scenario.homes.other_carrier,
            ipv6: happens(scenario.homes.ipv6, &mut dice),
            project_days: scenario.work.project_days,
            duties: duties.clone(),
            ..Self::of(
                format!("user-{number:04}"),
                key,
                &role.department,
                library.clone(),
                favourites,
            )
        };
        person.employ(foundation, &mut dice);
        Some(person)
    }

    /// A person of this name, with plain habits that follow from the key.
    #[must_use]
    pub fn new(
        id: String,
        key: u64,
        place: &str,
        department: &str,
        documents: &[Arc<Resource>],
    ) -> Self {
        Self {
            place: place.to_owned(),
            ..Self::of(id, key, department, documents.into(), FAVOURITES)
        }
    }

    fn of(
        id: String,
        key: u64,
        department: &str,
        library: Arc<[Arc<Resource>]>,
        favourites: usize,
    ) -> Self {
        let mut dice = Dice::seed_from_u64(mix(key));
        Self {
            id,
            key,
            place: String::new(),
            department: department.to_owned(),
            favourites: library
                .choose_multiple(&mut dice, favourites)
                .cloned()
                .collect(),
            begins: 8.6 + dice.gen_range(-1.2..1.4),
            requests: dice.gen_range(12.0..50.0),
            at_home: dice.gen_range(0.1..0.7),
            office_vpn: false,
            own_vpn: false,
            mfa: dice.gen_bool(0.5),
            settled: false,
            has_office: true,
            exit: None,
            devices: 2,
            managed_phone: false,
            silent_devices: 0.0,
            lifetimes: [500; 3],
            browser_update_days: 28,
            relay: false,
            lease_days: 90,
            other_carrier: 0.0,
            ipv6: true,
            project_days: 45,
            joined: None,
            left: None,
            silence: None,
            duties: Arc::new(Duties::plain()),
            library,
        }
    }

    /// When they work here, and whether their account falls silent.
    fn employ(&mut self, foundation: &Foundation<'_>, dice: &mut Dice) {
        let scenario = foundation.scenario;
        let from = foundation.from;
        if happens(scenario.turnover.joined, dice) {
            self.joined = Some(from + dice.gen_range(0..365));
        }
        if happens(scenario.turnover.left, dice) {
            let earliest = self.joined.map_or(from, |joined| joined + 1);
            self.left = Some(earliest + dice.gen_range(0..365));
        }
        let dormancy = &scenario.dormancy;
        if happens(dormancy.share, dice) {
            let [few, many] = dormancy.active_days;
            let works_from = from - i64::from(dormancy.prologue_days) + dice.gen_range(0..4);
            let silent = works_from + dice.gen_range(few..=many);
            let wakes = silent + dormancy.silent_days + dice.gen_range(0..=dormancy.wakes_within);
            let fate: f64 = dice.r#gen();
            let taken = fate < dormancy.taken;
            let back = !taken && fate < dormancy.taken + dormancy.back;
            (self.joined, self.left) = (None, None);
            self.silence = Some(Silence {
                works_from,
                from: silent,
                back: back.then_some(wakes),
                taken: taken.then_some(wakes),
            });
        }
    }

    /// Whether they use their account on a day, if nothing else keeps them from it.
    pub(super) fn is_here(&self, day: i64) -> bool {
        let employed = self.joined.is_none_or(|joined| joined <= day)
            && self.left.is_none_or(|left| day < left);
        let awake = self.silence.is_none_or(|silence| {
            (silence.works_from..silence.from).contains(&day)
                || silence.back.is_some_and(|back| back <= day)
        });
        employed && awake
    }

    /// Whether they are away for two weeks.
    pub(super) fn is_on_leave(&self, day: i64, weeks_per_year: f64) -> bool {
        let offset = i64::try_from(index(self.key, 14)).unwrap_or_default();
        let block = (day + offset).div_euclid(14);
        // Who was never seen could not be missed.
        let about_to_leave = self.silence.is_some_and(|silence| day < silence.from);
        let leave = falls(luck(self.key, LEAVE, block), weeks_per_year / 52.0);
        leave && !self.settled && !about_to_leave
    }

    /// The id of their laptop, phone or tablet in use on a day. It says nothing of its owner, as
    /// a stranger's does not.
    #[must_use]
    pub fn device(&self, gear: Gear, day: i64) -> String {
        device_id(luck(
            self.key,
            gear.of([24, 25, 26]),
            self.generation(gear, day),
        ))
    }

    /// Whether the device keeps its id to itself on a day: a private window, a broken agent.
    pub(super) fn is_silent(&self, gear: Gear, day: i64) -> bool {
        falls(
            luck(self.key, gear.of([27, 28, 29]), day),
            self.silent_devices,
        )
    }

    /// How many devices of this kind they have had by a day.
    pub(super) fn generation(&self, gear: Gear, day: i64) -> i64 {
        if self.settled {
            return 1;
        }
        let lifetime = gear.of(self.lifetimes);
        (day + self.offset(gear, lifetime)) / lifetime.max(1)
    }

    /// The `User-Agent` of a device on a day; browsers are updated every few weeks.
    #[must_use]
    pub fn agent(&self, gear: Gear, day: i64) -> String {
        let period = self.browser_update_days.max(1);
        let updated = (day + self.offset(gear, period)) / period * period;
        self.platform(gear).agent_of(updated)
    }

    pub(super) fn platform(&self, gear: Gear) -> Platform {
        platform(gear, luck(self.key, PLATFORM, 0))
    }

    fn offset(&self, gear: Gear, period: i64) -> i64 {
        let size = usize::try_from(period).unwrap_or(1);
        i64::try_from(index(luck(self.key, gear.of([21, 22, 23]), 0), size)).unwrap_or_default()
    }

    /// Which address their home has on a day, counted.
    pub(super) fn lease(&self, day: i64) -> i64 {
        if self.settled {
            return 0;
        }
        let offset = i64::try_from(index(mix(self.key), 1000)).unwrap_or_default();
        (day + offset) / self.lease_days.max(1)
    }

    /// What chooses the carrier of their home on a day.
    pub(super) fn carrier(&self, day: i64) -> u64 {
        let lease = self.lease(day);
        // The last lease that came with another carrier, as far as one can remember.
        let changed = (lease - 40..=lease)
            .rev()
            .find(|lease| falls(luck(self.key, CARRIER, *lease), self.other_carrier));
        luck(self.key, CARRIER, changed.unwrap_or(-1) + 1_000_000)
    }

    /// Something that they work with on a day: half of it changes with the project.
    pub(super) fn usual(&self, day: i64, dice: &mut Dice) -> Option<&Arc<Resource>> {
        let skew: f64 = dice.r#gen::<f64>().powi(2);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a small list's length"
        )]
        let position = (skew * self.favourites.len() as f64) as usize;
        let project = if self.settled {
            0
        } else {
            day / self.project_days.max(1)
        };
        if position % 2 == 1 && project > 0 {
            let purpose = PROJECT + 1000 * (position as u64 + 1);
            let random = luck(self.key, purpose, project);
            return self.library.get(index(random, self.library.len()));
        }
        self.favourites.get(position)
    }

    /// Anything that they may touch.
    pub(super) fn anything(&self, dice: &mut Dice) -> Option<&Arc<Resource>> {
        self.library.get(index(dice.r#gen(), self.library.len()))
    }

    /// One of the actions of their role.
    pub(super) fn action(&self, dice: &mut Dice) -> Option<&Arc<str>> {
        let actions = &self.duties.actions;
        let weights = actions.iter().map(|(_, weight)| *weight);
        actions
            .get(weighted(dice.r#gen(), weights))
            .map(|(name, _)| name)
    }

    /// As a request names them.
    #[must_use]
    pub fn party(&self) -> Option<Party> {
        let mut party = party("User", &self.id)?;
        let text = |text: &str| Value::Text(text.to_owned());
        party
            .properties
            .insert("department".to_owned(), text(&self.department));
        if !self.duties.role.is_empty() {
            party
                .properties
                .insert("role".to_owned(), text(&self.duties.role));
        }
        Some(party)
    }
}

/// The id of some device.
pub(super) fn device_id(random: u64) -> String {
    format!("d-{random:016x}")
}

/// The id of some session.
pub(super) fn session_id(random: u64) -> String {
    format!("s-{random:016x}")
}

/// A whole number of days between the two.
#[expect(clippy::cast_possible_truncation, reason = "days of a few years")]
fn days(range: [f64; 2], dice: &mut Dice) -> i64 {
    between(range, dice) as i64
}

pub(super) fn party(kind: &str, id: &str) -> Option<Party> {
    let entity = EntityRef {
        kind: Name::new(kind).ok()?,
        id: Name::new(id).ok()?,
    };
    Some(Party {
        entity,
        properties: BTreeMap::new(),
    })
}
