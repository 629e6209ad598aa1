//! How a profile changes: by events, once for each, in whatever order they come.

use domain::Timestamp;

use super::{
    Bond, DENIALS_SECONDS, Delta, FAILURES_SECONDS, FRESH_SECONDS, Fix, GAIN_SECONDS, Habit, Home,
    Lesson, Observation, Pending, Profile, Window, hour_of_week, to_spot,
};
use crate::counts::{Usual, seconds};
use crate::key::Key;
use crate::travel;

/// A step-up that takes longer than this counts for nothing any more.
pub const PENDING_SECONDS: i64 = 600;
/// Events that may wait for a step-up at once.
const PENDING_MAX: usize = 8;
/// Event ids remembered, so that one delivered twice counts once.
const EVENTS_REMEMBERED: usize = 16;
/// Devices whose beginning is remembered.
const BONDS_MAX: usize = 8;
/// Places kept.
const PLACES_MAX: usize = 8;
/// Two fixes this near are one place.
const SAME_PLACE_KM: f64 = 50.0;
/// Autonomous systems whose round-trip time is kept, and how fast it follows.
const ROUND_TRIPS_MAX: usize = 8;
const ROUND_TRIP_RATE: f32 = 0.05;

impl Profile {
    /// Takes one event in. False when it was taken in before.
    pub fn apply(&mut self, delta: &Delta) -> bool {
        if self.recent_events.contains(&delta.event) {
            return false;
        }
        push_bounded(&mut self.recent_events, delta.event, EVENTS_REMEMBERED);
        let seen = &delta.observation;
        self.count(seen, delta.score);
        if matches!(delta.lesson, Lesson::Baselines | Lesson::Reserved) {
            self.count_bytes(seen);
        }
        let now = seen.at;
        self.pending
            .retain(|pending| now.whole_seconds_since(pending.observation.at) <= PENDING_SECONDS);
        match delta.lesson {
            Lesson::Baselines | Lesson::Reserved => {
                // The retry that was allowed stands for the attempt that was not.
                let (retried, waiting) = self.pending.drain(..).partition(|pending: &Pending| {
                    let waiting = &pending.observation;
                    (waiting.resource, waiting.action) == (seen.resource, seen.action)
                });
                self.pending = waiting;
                let retried: Vec<Pending> = retried;
                let was_asked = retried.iter().any(|pending| {
                    let asked = &pending.observation;
                    (asked.device, asked.asn) == (seen.device, seen.asn)
                        && delta.mfa_at.is_some_and(|at| at >= asked.at)
                });
                if delta.lesson == Lesson::Baselines || was_asked {
                    self.learn(seen);
                }
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

    /// What counts whatever came of it.
    fn count(&mut self, seen: &Observation, score: u8) {
        let now = seen.at;
        for (count, window) in self.requests.iter_mut().zip(Window::ALL) {
            count.add(now, f64::from(window.seconds()));
        }
        if seen.failed {
            self.failures.add(now, FAILURES_SECONDS);
        }
        if seen.refused_prompt {
            self.denials.add(now, DENIALS_SECONDS);
        }
        self.risk.raise(f64::from(score), now, DENIALS_SECONDS);
        let resource = seen.resource;
        let is_new = !self.resources.knows(resource);
        let objects = &mut self.objects;
        if is_new {
            objects.fresh.add(resource, now, FRESH_SECONDS);
        }
        objects
            .minutes
            .add(resource, now, Window::Minutes.seconds());
        objects.hour.add(resource, now, Window::Hour.seconds());
        objects.day.add(resource, now, Window::Day.seconds());
    }

    /// Bytes of what was let through: a download that was asked for twice moved once.
    fn count_bytes(&mut self, seen: &Observation) {
        if let Some(bytes) = seen.bytes {
            for (count, window) in self.bytes.iter_mut().zip(Window::ALL) {
                count.add_some(f64::from(bytes), seen.at, f64::from(window.seconds()));
            }
        }
    }

    /// What only a trusted event teaches.
    fn learn(&mut self, seen: &Observation) {
        let now = seen.at;
        self.learnt = self.learnt.saturating_add(1);
        self.last_trusted = self.last_trusted.max(Some(now));
        for (habit, key) in seen.keys() {
            if let Some(key) = key {
                self.habit_mut(habit).add(key, now, habit.bound());
            }
        }
        self.learn_hour(now);
        self.learn_volume(now);
        self.learn_device(seen);
        self.learn_round_trip(seen);
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
            Habit::Address => &mut self.addresses,
            Habit::Agent => &mut self.agents,
            Habit::System => &mut self.systems,
            Habit::DeviceType => &mut self.device_types,
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

    fn learn_volume(&mut self, now: Timestamp) {
        for (position, window) in Window::ALL.into_iter().enumerate() {
            let length = window.seconds();
            let requests = self
                .requests
                .get(position)
                .map_or(0.0, |count| count.at(now, f64::from(length)));
            let objects = match window {
                Window::Minutes => self.objects.minutes.count(now, length),
                Window::Hour => self.objects.hour.count(now, length),
                Window::Day => self.objects.day.count(now, length),
            };
            let bytes = self.bytes(window, now);
            for (peaks, count) in [
                (self.usual_requests.get_mut(position), requests),
                (self.usual_objects.get_mut(position), objects),
                // Where nobody tells sizes, nothing is usual of them.
                (
                    self.usual_bytes.get_mut(position).filter(|_| bytes > 0.0),
                    bytes,
                ),
            ] {
                if let Some(peaks) = peaks {
                    peaks.add(count, now, f64::from(length));
                }
            }
        }
    }

    fn learn_device(&mut self, seen: &Observation) {
        let Some(device) = seen.device.filter(|device| *device != Key::NOTHING) else {
            return;
        };
        match self.bonds.iter_mut().find(|bond| bond.device == device) {
            Some(bond) => bond.fingerprint = bond.fingerprint.or(seen.fingerprint),
            None => push_bounded(
                &mut self.bonds,
                Bond {
                    device,
                    since: seconds(seen.at),
                    fingerprint: seen.fingerprint,
                },
                BONDS_MAX,
            ),
        }
    }

    fn learn_round_trip(&mut self, seen: &Observation) {
        let (Some(asn), Some(millis)) = (seen.asn, seen.round_trip_ms) else {
            return;
        };
        match self.round_trips.iter_mut().find(|(known, _)| *known == asn) {
            Some((_, usual)) => *usual += (millis - *usual) * ROUND_TRIP_RATE,
            None => push_bounded(&mut self.round_trips, (asn, millis), ROUND_TRIPS_MAX),
        }
    }

    fn learn_place(&mut self, spot: (f32, f32, f32), now: Timestamp) {
        let here = to_spot(spot);
        let near = self
            .homes
            .iter_mut()
            .find(|home| travel::distance_km(home.spot(), here) <= SAME_PLACE_KM);
        if let Some(home) = near {
            home.weight.gain(now, GAIN_SECONDS, Usual::LIFE);
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
        let (latitude, longitude, radius_km) = spot;
        let mut home = Home {
            latitude,
            longitude,
            radius_km,
            weight: Default::default(),
        };
        home.weight.add(now, Usual::LIFE);
        self.homes.push(home);
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T, most: usize) {
    if list.len() >= most {
        list.remove(0);
    }
    list.push(item);
}
