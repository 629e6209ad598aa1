//! What is usual for a subject: small, bounded, decaying, and learnt only from what was trusted.
//!
//! A profile never decides anything. It is read by [`crate::extract`] and changed by
//! [`Profile::apply`] alone, once for each event.

mod forms;
mod learn;

use domain::Timestamp;
use domain::signal::Spot;
use serde::{Deserialize, Serialize};

use crate::abuse::Attempt;
use crate::counts::{Bound, Fading, Peaks, Usual};
use crate::crowd::Crowd;
use crate::distinct::Distinct;
use crate::key::Key;
use crate::stamp;

pub use forms::{FORM, FormError};
pub use learn::PENDING_SECONDS;

/// Accesses that a profile must have learnt before "new" is more than "not yet seen".
pub const HISTORY_MIN: u32 = 10;

/// Mean life of the count of failures, seconds: "about the last fifteen minutes".
const FAILURES_SECONDS: f64 = 900.0;
/// Window in which resources are counted that were not known, seconds.
const FRESH_SECONDS: u32 = 60;
/// Mean life of the count of refused prompts, and of what risk was lately, seconds.
const DENIALS_SECONDS: f64 = 3600.0;
/// Seconds that one count of a value stands for in a profile: what is seen all day long gains
/// twelve counts a day, however often it is seen.
const GAIN_SECONDS: f64 = 7200.0;

/// One event as a profile sees it: keys and numbers, no names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When it happened.
    #[serde(with = "stamp")]
    pub at: Timestamp,
    /// Where, if the address gives the place away.
    pub spot: Option<(f32, f32, f32)>,
    /// The place's name, for sentences.
    pub place: Option<String>,
    /// Whether the address hides the true place.
    pub hides_place: bool,
    /// Country of the address.
    pub country: Option<Key>,
    /// ASN of the address.
    pub asn: Option<Key>,
    /// /24 or /64 of the address.
    pub prefix: Option<Key>,
    /// The address itself.
    pub address: Option<Key>,
    /// Family of the client program.
    pub agent: Option<Key>,
    /// Its operating system.
    pub system: Option<Key>,
    /// What kind of device it runs on.
    pub device_type: Option<Key>,
    /// Id of the device.
    pub device: Option<Key>,
    /// A fingerprint that the caller took of the device.
    pub fingerprint: Option<Key>,
    /// Round-trip time to the client, milliseconds.
    pub round_trip_ms: Option<f32>,
    /// What was accessed.
    pub resource: Key,
    /// How.
    pub action: Key,
    /// Whether it failed.
    pub failed: bool,
    /// Whether it is a prompt that somebody refused.
    pub refused_prompt: bool,
    /// Size of what was accessed, bytes. It counts at once, so what waits need not keep it.
    #[serde(skip)]
    pub bytes: Option<f32>,
}

impl Observation {
    /// What is counted in tables of what is usual.
    pub(crate) fn keys(&self) -> [(Habit, Option<Key>); 10] {
        [
            // An address that hides its place says nothing of the country that somebody is in.
            (Habit::Country, self.country.filter(|_| !self.hides_place)),
            (Habit::Asn, self.asn),
            (Habit::Prefix, self.prefix),
            (Habit::Address, self.address),
            (Habit::Agent, self.agent),
            (Habit::System, self.system),
            (Habit::DeviceType, self.device_type),
            (Habit::Device, self.device),
            (Habit::Resource, Some(self.resource)),
            (Habit::Action, Some(self.action)),
        ]
    }
}

/// What may be learnt from an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// Counters and baselines: it was allowed and did not fail.
    Baselines,
    /// Counters, and baselines if it is the retry of one that waits, from the same device and
    /// network and with a second factor passed since: at high risk it was allowed for a second
    /// factor that somebody had passed anyway. A code that was phished along with the password
    /// would otherwise make its thief usual at once.
    Reserved,
    /// Counters now, baselines if a step-up follows.
    Wait,
    /// Counters only: it was denied, or it failed.
    Counters,
}

/// What one decision changes in a profile. Deltas of different events may be applied in any
/// order; one applied twice counts once.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// The event's id: a decision id.
    pub event: Key,
    /// What happened.
    pub observation: Observation,
    /// What may be learnt from it.
    pub lesson: Lesson,
    /// What its sources are to remember.
    pub attempt: Attempt,
    /// The score it had, 0 to 100.
    pub score: u8,
    /// When the second factor that it came with was passed.
    pub mfa_at: Option<Timestamp>,
}

/// A window of time that volumes are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// About five minutes.
    Minutes,
    /// About an hour.
    Hour,
    /// About a day.
    Day,
}

impl Window {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Minutes, Self::Hour, Self::Day];

    /// Its length, seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Minutes => 300,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }
}

/// A usual place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Home {
    latitude: f32,
    longitude: f32,
    radius_km: f32,
    weight: Fading,
}

impl Home {
    fn spot(&self) -> Spot {
        to_spot((self.latitude, self.longitude, self.radius_km))
    }
}

/// The last place that was trusted and not hidden.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fix {
    spot: (f32, f32, f32),
    /// When.
    #[serde(with = "stamp")]
    pub at: Timestamp,
    /// What the place is called.
    pub place: Option<String>,
}

impl Fix {
    /// The point.
    #[must_use]
    pub fn spot(&self) -> Spot {
        to_spot(self.spot)
    }
}

/// An event that waits for its step-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    event: Key,
    observation: Observation,
}

/// A device that the subject has used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Bond {
    device: Key,
    /// When it was first trusted, seconds.
    since: u32,
    /// The fingerprint it had then.
    fingerprint: Option<Key>,
}

/// Everything usual about one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    learnt: u32,
    #[serde(with = "stamp::option")]
    last_trusted: Option<Timestamp>,
    last_fix: Option<Fix>,
    countries: Usual,
    asns: Usual,
    prefixes: Usual,
    addresses: Usual,
    agents: Usual,
    systems: Usual,
    device_types: Usual,
    devices: Usual,
    resources: Usual,
    actions: Usual,
    bonds: Vec<Bond>,
    homes: Vec<Home>,
    /// Accesses in each hour of the week, UTC, Monday first; halved when one is full.
    hours: Vec<u8>,
    /// Requests, by window.
    requests: [Fading; Window::ALL.len()],
    objects: Objects,
    failures: Fading,
    denials: Fading,
    /// The highest score lately, fading.
    risk: Fading,
    usual_requests: [Peaks; Window::ALL.len()],
    usual_objects: [Peaks; Window::ALL.len()],
    /// Usual round-trip time in milliseconds, by autonomous system.
    round_trips: Vec<(Key, f32)>,
    recent_events: Vec<Key>,
    pending: Vec<Pending>,
    /// Bytes of what was let through, by window. Form 2 ended before them.
    bytes: [Fading; Window::ALL.len()],
    usual_bytes: [Peaks; Window::ALL.len()],
}

/// Different resources touched, by window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Objects {
    /// Those that were not known, in about a minute.
    fresh: Distinct<1>,
    minutes: Distinct<1>,
    hour: Distinct<4>,
    day: Distinct<8>,
}

/// Hours in a week.
pub const WEEK_HOURS: usize = 168;

impl Default for Profile {
    fn default() -> Self {
        Self {
            learnt: 0,
            last_trusted: None,
            last_fix: None,
            countries: Usual::default(),
            asns: Usual::default(),
            prefixes: Usual::default(),
            addresses: Usual::default(),
            agents: Usual::default(),
            systems: Usual::default(),
            device_types: Usual::default(),
            devices: Usual::default(),
            resources: Usual::default(),
            actions: Usual::default(),
            bonds: Vec::new(),
            homes: Vec::new(),
            hours: vec![0; WEEK_HOURS],
            requests: Default::default(),
            objects: Objects::default(),
            failures: Fading::default(),
            denials: Fading::default(),
            risk: Fading::default(),
            usual_requests: Default::default(),
            usual_objects: Default::default(),
            round_trips: Vec::new(),
            recent_events: Vec::new(),
            pending: Vec::new(),
            bytes: Default::default(),
            usual_bytes: Default::default(),
        }
    }
}

/// What a profile can be asked about a value: which of its histories to look in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Countries.
    Country,
    /// Autonomous systems.
    Asn,
    /// Networks (/24, /64).
    Prefix,
    /// Addresses.
    Address,
    /// Families of client programs.
    Agent,
    /// Operating systems.
    System,
    /// Kinds of devices: computer, phone, program.
    DeviceType,
    /// Devices.
    Device,
    /// Resources.
    Resource,
    /// Actions.
    Action,
}

impl Habit {
    /// How likely a value is for anybody, where nothing better is known; of a habit that lies
    /// in another (an ASN in a country), how likely within that.
    pub(crate) const fn prior(self) -> f64 {
        match self {
            Self::DeviceType => 0.4,
            Self::Country | Self::Agent | Self::System | Self::Action | Self::Prefix => 0.2,
            Self::Asn | Self::Address => 0.1,
            Self::Device | Self::Resource => 0.05,
        }
    }

    /// How a profile's table of it is bounded.
    const fn bound(self) -> Bound {
        let most = match self {
            Self::DeviceType => 4,
            Self::System => 6,
            Self::Country | Self::Agent | Self::Device => 8,
            Self::Asn | Self::Action => 12,
            Self::Prefix | Self::Address => 16,
            Self::Resource => 32,
        };
        Bound {
            most,
            gain_seconds: GAIN_SECONDS,
        }
    }
}

impl Profile {
    /// Accesses learnt from.
    #[must_use]
    pub const fn history(&self) -> u32 {
        self.learnt
    }

    /// Whether it has learnt enough for novelty to mean something.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.learnt >= HISTORY_MIN
    }

    /// When a trusted access was last seen.
    #[must_use]
    pub const fn last_trusted(&self) -> Option<Timestamp> {
        self.last_trusted
    }

    /// The last trusted place that no VPN or relay disguised.
    #[must_use]
    pub const fn last_fix(&self) -> Option<&Fix> {
        self.last_fix.as_ref()
    }

    pub(crate) const fn habit(&self, habit: Habit) -> &Usual {
        match habit {
            Habit::Country => &self.countries,
            Habit::Asn => &self.asns,
            Habit::Prefix => &self.prefixes,
            Habit::Address => &self.addresses,
            Habit::Agent => &self.agents,
            Habit::System => &self.systems,
            Habit::DeviceType => &self.device_types,
            Habit::Device => &self.devices,
            Habit::Resource => &self.resources,
            Habit::Action => &self.actions,
        }
    }

    /// Whether a value was seen in a trusted access.
    #[must_use]
    pub fn knows(&self, habit: Habit, key: Key) -> bool {
        self.habit(habit).knows(key)
    }

    /// How unusual a value is, nats against its prior; `expected` is how likely it is for one
    /// of whom nothing is known but the group.
    pub(crate) fn surprise(&self, habit: Habit, key: Key, expected: f64, now: Timestamp) -> f64 {
        let share = self.habit(habit).share(key, expected, now);
        (habit.prior() / share).ln()
    }

    /// Days since the subject was first trusted on this device.
    #[must_use]
    pub fn device_age_days(&self, device: Key, now: Timestamp) -> Option<f64> {
        let bond = self.bond(device)?;
        let seconds = (now.seconds() - i64::from(bond.since)).max(0);
        Some(seconds as f64 / 86_400.0)
    }

    /// Whether the device has another fingerprint than when it was first trusted. None when
    /// either is not known.
    #[must_use]
    pub fn fingerprint_changed(&self, device: Key, fingerprint: Key) -> Option<bool> {
        Some(self.bond(device)?.fingerprint? != fingerprint)
    }

    fn bond(&self, device: Key) -> Option<&Bond> {
        self.bonds.iter().find(|bond| bond.device == device)
    }

    /// Kilometres from the nearest usual place, radii taken off. None without a usual place.
    #[must_use]
    pub fn distance_km(&self, spot: Spot) -> Option<f64> {
        self.homes
            .iter()
            .map(|home| crate::travel::sure_distance_km(home.spot(), spot))
            .min_by(f64::total_cmp)
    }

    /// How unusual an hour of the week is, nats against an even spread: smoothed over the hours
    /// beside it and backed off to the hour of any day, and that to the hours of the group.
    #[must_use]
    pub fn hour_surprise(&self, hour_of_week: usize, group: &Crowd) -> f64 {
        const BACK_OFF: f64 = 8.0;
        let hour = hour_of_week % WEEK_HOURS;
        let count = |hour: usize| {
            self.hours
                .get(hour % WEEK_HOURS)
                .copied()
                .map_or(0.0, f64::from)
        };
        let around = |at: &dyn Fn(usize) -> f64, ring: usize| {
            0.25 * at(hour + ring - 1) + 0.5 * at(hour) + 0.25 * at(hour + 1)
        };
        let of_day = |hour: usize| (0..7).map(|day| count(hour % 24 + day * 24)).sum();
        let total: f64 = self.hours.iter().copied().map(f64::from).sum();
        let any_day = around(&of_day, 24) / 7.0;
        let expected = (any_day + BACK_OFF * group.hour_share(hour)) / (total + BACK_OFF);
        let this_hour = (around(&count, WEEK_HOURS) + BACK_OFF * expected) / (total + BACK_OFF);
        (1.0 / WEEK_HOURS as f64 / this_hour).ln()
    }

    /// Requests in about a window's time, the one at hand among them.
    #[must_use]
    pub fn requests(&self, window: Window, now: Timestamp) -> f64 {
        let counted = self.requests.get(window as usize);
        counted.map_or(0.0, |count| count.at(now, f64::from(window.seconds()))) + 1.0
    }

    /// How high that number usually gets.
    #[must_use]
    pub fn usual_requests(&self, window: Window) -> Option<f32> {
        self.usual_requests
            .get(window as usize)
            .and_then(|peaks| peaks.usual())
    }

    /// Different resources in about a window's time, the one at hand among them.
    #[must_use]
    pub fn objects(&self, window: Window, resource: Key, now: Timestamp) -> f64 {
        let seconds = window.seconds();
        match window {
            Window::Minutes => self.objects.minutes.with(resource, now, seconds),
            Window::Hour => self.objects.hour.with(resource, now, seconds),
            Window::Day => self.objects.day.with(resource, now, seconds),
        }
    }

    /// Different resources in about a minute that were not known then, the one at hand among
    /// them if it is not.
    #[must_use]
    pub fn new_objects(&self, resource: Key, now: Timestamp) -> f64 {
        let fresh = &self.objects.fresh;
        if self.resources.knows(resource) {
            fresh.count(now, FRESH_SECONDS)
        } else {
            fresh.with(resource, now, FRESH_SECONDS)
        }
    }

    /// How high that number usually gets.
    #[must_use]
    pub fn usual_objects(&self, window: Window) -> Option<f32> {
        self.usual_objects
            .get(window as usize)
            .and_then(|peaks| peaks.usual())
    }

    /// Bytes of what was accessed in about a window's time.
    #[must_use]
    pub fn bytes(&self, window: Window, now: Timestamp) -> f64 {
        let counted = self.bytes.get(window as usize);
        counted.map_or(0.0, |count| count.at(now, f64::from(window.seconds())))
    }

    /// How high that number usually gets.
    #[must_use]
    pub fn usual_bytes(&self, window: Window) -> Option<f32> {
        self.usual_bytes
            .get(window as usize)
            .and_then(|peaks| peaks.usual())
    }

    /// Failures in about the last fifteen minutes.
    #[must_use]
    pub fn failures(&self, now: Timestamp) -> f64 {
        self.failures.at(now, FAILURES_SECONDS)
    }

    /// Refused prompts in about the last hour.
    #[must_use]
    pub fn denials(&self, now: Timestamp) -> f64 {
        self.denials.at(now, DENIALS_SECONDS)
    }

    /// The highest score lately, 0 to 100, fading over about an hour.
    #[must_use]
    pub fn recent_risk(&self, now: Timestamp) -> f64 {
        self.risk.at(now, DENIALS_SECONDS)
    }

    /// The usual round-trip time within an autonomous system, milliseconds.
    #[must_use]
    pub fn usual_round_trip(&self, asn: Option<Key>) -> Option<f32> {
        let asn = asn?;
        let known = self.round_trips.iter().find(|(known, _)| *known == asn)?;
        Some(known.1)
    }
}
/// The hour of the week in UTC, 0 for Monday midnight.
#[must_use]
pub fn hour_of_week(at: Timestamp) -> usize {
    const WEEK: i64 = WEEK_HOURS as i64;
    // 1970-01-01 was a Thursday: three days after a Monday.
    let hours = at.seconds().div_euclid(3600) + 3 * 24;
    usize::try_from(hours.rem_euclid(WEEK)).unwrap_or_default()
}

fn to_spot((latitude, longitude, radius_km): (f32, f32, f32)) -> Spot {
    Spot {
        latitude: f64::from(latitude),
        longitude: f64::from(longitude),
        radius_km: f64::from(radius_km),
    }
}
