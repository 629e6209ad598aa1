//! What is usual for a subject: small, bounded, decaying, and learnt only from what was trusted.
//!
//! A profile never decides anything. It is read by [`crate::extract`] and changed by
//! [`Profile::apply`] alone, once for each event.

mod counts;
mod stamp;

use domain::Timestamp;
use domain::signal::Spot;
use serde::{Deserialize, Serialize};

use crate::key::Key;
use counts::{Fading, Peaks, Usual};

/// Accesses that a profile must have learnt before "new" is more than "not yet seen".
pub const HISTORY_MIN: u32 = 10;

/// Mean life of the short counters, seconds: "about the last five minutes" and so on.
const REQUESTS_SECONDS: f64 = 300.0;
const OBJECTS_SECONDS: f64 = 3600.0;
const FAILURES_SECONDS: f64 = 900.0;

/// A step-up that takes longer than this counts for nothing any more.
pub const PENDING_SECONDS: i64 = 600;
/// Events that may wait for a step-up at once.
const PENDING_MAX: usize = 8;
/// Event ids remembered, so that one delivered twice counts once.
const EVENTS_REMEMBERED: usize = 16;
/// Resources remembered for telling a new one from one just used.
const OBJECTS_REMEMBERED: usize = 32;
/// Places kept.
const PLACES_MAX: usize = 8;
/// Two fixes this near are one place.
const SAME_PLACE_KM: f64 = 50.0;

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
    /// Family of the client program.
    pub agent: Option<Key>,
    /// Id of the device.
    pub device: Option<Key>,
    /// What was accessed.
    pub resource: Key,
    /// How.
    pub action: Key,
    /// Whether it failed.
    pub failed: bool,
}

/// What may be learnt from an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// Counters and baselines: it was allowed and did not fail.
    Baselines,
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
    agents: Usual,
    devices: Usual,
    resources: Usual,
    actions: Usual,
    homes: Vec<Home>,
    /// Accesses in each hour of the week, UTC, Monday first; halved when one is full.
    hours: Vec<u8>,
    requests: Fading,
    objects: Fading,
    failures: Fading,
    usual_requests: Peaks,
    usual_objects: Peaks,
    recent_objects: Vec<Key>,
    recent_events: Vec<Key>,
    pending: Vec<Pending>,
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
            agents: Usual::default(),
            devices: Usual::default(),
            resources: Usual::default(),
            actions: Usual::default(),
            homes: Vec::new(),
            hours: vec![0; WEEK_HOURS],
            requests: Fading::default(),
            objects: Fading::default(),
            failures: Fading::default(),
            usual_requests: Peaks::default(),
            usual_objects: Peaks::default(),
            recent_objects: Vec::new(),
            recent_events: Vec::new(),
            pending: Vec::new(),
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
    /// Families of client programs.
    Agent,
    /// Devices.
    Device,
    /// Resources.
    Resource,
    /// Actions.
    Action,
}

impl Habit {
    /// How likely a value is for anybody, where nothing better is known.
    const fn prior(self) -> f64 {
        match self {
            Self::Country | Self::Agent | Self::Action => 0.2,
            Self::Asn => 0.1,
            Self::Prefix | Self::Device | Self::Resource => 0.05,
        }
    }

    /// How many values are kept.
    const fn most(self) -> usize {
        match self {
            Self::Country | Self::Agent | Self::Device => 8,
            Self::Asn | Self::Action => 12,
            Self::Prefix => 16,
            Self::Resource => 32,
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

    const fn habit(&self, habit: Habit) -> &Usual {
        match habit {
            Habit::Country => &self.countries,
            Habit::Asn => &self.asns,
            Habit::Prefix => &self.prefixes,
            Habit::Agent => &self.agents,
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

    /// How unusual a value is, nats; see [`Usual::surprise`].
    #[must_use]
    pub fn surprise(&self, habit: Habit, key: Key, now: Timestamp) -> f64 {
        self.habit(habit).surprise(key, habit.prior(), now)
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
    /// beside it and backed off to the hour of any day.
    #[must_use]
    pub fn hour_surprise(&self, hour_of_week: usize) -> f64 {
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
        let any_day = (around(&of_day, 24) + 1.0) / (total + 24.0);
        let this_hour =
            (around(&count, WEEK_HOURS) + BACK_OFF * any_day / 7.0) / (total + BACK_OFF);
        (1.0 / WEEK_HOURS as f64 / this_hour).ln()
    }

    /// Requests in about the last five minutes, the one at hand among them.
    #[must_use]
    pub fn requests(&self, now: Timestamp) -> f64 {
        self.requests.at(now, REQUESTS_SECONDS) + 1.0
    }

    /// How high that number usually gets.
    #[must_use]
    pub const fn usual_requests(&self) -> Option<f32> {
        self.usual_requests.usual()
    }

    /// Different resources in about the last hour, the one at hand among them.
    #[must_use]
    pub fn objects(&self, resource: Key, now: Timestamp) -> f64 {
        let new = if self.recent_objects.contains(&resource) {
            0.0
        } else {
            1.0
        };
        (self.objects.at(now, OBJECTS_SECONDS) + new).max(1.0)
    }

    /// How high that number usually gets.
    #[must_use]
    pub const fn usual_objects(&self) -> Option<f32> {
        self.usual_objects.usual()
    }

    /// Failures in about the last fifteen minutes.
    #[must_use]
    pub fn failures(&self, now: Timestamp) -> f64 {
        self.failures.at(now, FAILURES_SECONDS)
    }

    /// Takes one event in. False when it was taken in before.
    pub fn apply(&mut self, delta: &Delta) -> bool {
        if self.recent_events.contains(&delta.event) {
            return false;
        }
        push_bounded(&mut self.recent_events, delta.event, EVENTS_REMEMBERED);
        let seen = &delta.observation;
        let now = seen.at;
        self.requests.add(now, REQUESTS_SECONDS);
        if seen.failed {
            self.failures.add(now, FAILURES_SECONDS);
        }
        if !self.recent_objects.contains(&seen.resource) {
            self.objects.add(now, OBJECTS_SECONDS);
            push_bounded(&mut self.recent_objects, seen.resource, OBJECTS_REMEMBERED);
        }
        self.pending
            .retain(|pending| now.whole_seconds_since(pending.observation.at) <= PENDING_SECONDS);
        match delta.lesson {
            Lesson::Baselines => {
                // The retry that was allowed stands for the attempt that was not.
                self.pending.retain(|pending| {
                    let waiting = &pending.observation;
                    (waiting.resource, waiting.action) != (seen.resource, seen.action)
                });
                self.learn(seen);
            }
            Lesson::Wait => push_bounded(
                &mut self.pending,
                Pending {
                    event: delta.event,
                    observation: seen.clone(),
                },
                PENDING_MAX,
            ),
            Lesson::Counters => {}
        }
        true
    }

    /// A step-up was passed for an event that waited: learn from it, once. False when nothing
    /// of that id waits any more.
    pub fn confirm(&mut self, event: Key, now: Timestamp) -> bool {
        let Some(position) = self
            .pending
            .iter()
            .position(|pending| pending.event == event)
        else {
            return false;
        };
        let pending = self.pending.remove(position);
        let in_time = now.whole_seconds_since(pending.observation.at) <= PENDING_SECONDS;
        if in_time {
            self.learn(&pending.observation);
        }
        in_time
    }

    /// The subject says that an event was not theirs: it counts as a failure, and what waited for
    /// a step-up is dropped. What a baseline has learnt already fades by itself.
    pub fn disown(&mut self, event: Key, now: Timestamp) {
        self.pending.retain(|pending| pending.event != event);
        self.failures.add(now, FAILURES_SECONDS);
    }

    fn learn(&mut self, seen: &Observation) {
        let now = seen.at;
        self.learnt = self.learnt.saturating_add(1);
        self.last_trusted = self.last_trusted.max(Some(now));
        for (habit, key) in [
            (Habit::Country, seen.country.filter(|_| !seen.hides_place)),
            (Habit::Asn, seen.asn),
            (Habit::Prefix, seen.prefix),
            (Habit::Agent, seen.agent),
            (Habit::Device, seen.device),
            (Habit::Resource, Some(seen.resource)),
            (Habit::Action, Some(seen.action)),
        ] {
            if let Some(key) = key {
                self.habit_mut(habit).add(key, now, habit.most());
            }
        }
        self.learn_hour(now);
        let requests = self.requests.at(now, REQUESTS_SECONDS);
        self.usual_requests.add(requests, now, REQUESTS_SECONDS);
        let objects = self.objects.at(now, OBJECTS_SECONDS);
        self.usual_objects.add(objects, now, OBJECTS_SECONDS);
        if let Some(spot) = seen.spot.filter(|_| !seen.hides_place) {
            self.learn_place(spot, now);
            if self.last_fix.as_ref().is_none_or(|fix| fix.at <= now) {
                self.last_fix = Some(Fix {
                    spot,
                    at: now,
                    place: seen.place.clone(),
                });
            }
        }
    }

    const fn habit_mut(&mut self, habit: Habit) -> &mut Usual {
        match habit {
            Habit::Country => &mut self.countries,
            Habit::Asn => &mut self.asns,
            Habit::Prefix => &mut self.prefixes,
            Habit::Agent => &mut self.agents,
            Habit::Device => &mut self.devices,
            Habit::Resource => &mut self.resources,
            Habit::Action => &mut self.actions,
        }
    }

    fn learn_hour(&mut self, now: Timestamp) {
        if let Some(count) = self.hours.get_mut(hour_of_week(now)) {
            *count = count.saturating_add(1);
            if *count == u8::MAX {
                self.hours.iter_mut().for_each(|count| *count /= 2);
            }
        }
    }

    fn learn_place(&mut self, spot: (f32, f32, f32), now: Timestamp) {
        let here = to_spot(spot);
        let near = self
            .homes
            .iter_mut()
            .find(|home| crate::travel::distance_km(home.spot(), here) <= SAME_PLACE_KM);
        if let Some(home) = near {
            home.weight.add(now, Usual::LIFE);
            return;
        }
        if self.homes.len() >= PLACES_MAX {
            let rarest = self
                .homes
                .iter()
                .enumerate()
                .map(|(position, home)| (position, home.weight.at(now, Usual::LIFE)))
                .min_by(|a, b| a.1.total_cmp(&b.1));
            if let Some((position, _)) = rarest {
                self.homes.swap_remove(position);
            }
        }
        let mut weight = Fading::default();
        weight.add(now, Usual::LIFE);
        let (latitude, longitude, radius_km) = spot;
        self.homes.push(Home {
            latitude,
            longitude,
            radius_km,
            weight,
        });
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

fn push_bounded<T>(list: &mut Vec<T>, item: T, most: usize) {
    if list.len() >= most {
        list.remove(0);
    }
    list.push(item);
}

fn to_spot((latitude, longitude, radius_km): (f32, f32, f32)) -> Spot {
    Spot {
        latitude: f64::from(latitude),
        longitude: f64::from(longitude),
        radius_km: f64::from(radius_km),
    }
}
