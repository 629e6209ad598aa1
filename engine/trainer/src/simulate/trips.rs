//! Trips: who is away when, and how long the way takes.

use jiff::civil::Date;

use super::Organisation;
use super::atlas::PlaceId;
use super::calendar::{date_of, number_of};
use super::chance::{falls, index, luck, unit};
use super::draft::later;
use super::people::Person;
use super::scenario::Trips;

const TRIP: u64 = 31;
const NIGHTS: u64 = 32;
const WEEKDAY: u64 = 33;
const WHERE: u64 = 34;
const NEAR: u64 = 35;
const MORNING: u64 = 36;
const EVENING: u64 = 37;
const DEVICE: u64 = 38;

const HALF_A_DAY: i64 = 12 * 3_600_000;
const THREE_DAYS: i64 = 6 * HALF_A_DAY;

/// A journey there and back. Moments are milliseconds since 1970; between leaving and arriving
/// nobody is online.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trip {
    /// Its first day, at home.
    pub(super) start: i64,
    pub(super) to: PlaceId,
    pub(super) leaves: i64,
    pub(super) arrives: i64,
    pub(super) returns: i64,
    pub(super) is_back: i64,
    /// A number of its own.
    pub(super) key: u64,
    /// Whether a phone is replaced on it.
    pub(super) new_device: bool,
}

/// The trip that somebody is on, on a local date of their home or of where they are. It follows
/// from the person and the week, so that each of its days knows of it.
pub(super) fn around(
    organisation: &Organisation,
    person: &Person,
    home: PlaceId,
    date: Date,
) -> Option<Trip> {
    let day = number_of(date);
    if person.settled {
        return None;
    }
    // Weeks from Monday; 1970-01-01 was a Thursday. No trip takes longer than 17 days.
    let week = (day + 3).div_euclid(7);
    (week - 2..=week).find_map(|week| {
        let trip = of_week(organisation, person, home, week)?;
        let last = trip.is_back.div_euclid(86_400_000) + 1;
        if !(trip.start..=last).contains(&day) || !person.is_here(trip.start) {
            return None;
        }
        // Who has just come back does not leave again; so no day sees two trips.
        let busy = (week - 2..week).any(|before| {
            of_week(organisation, person, home, before)
                .is_some_and(|earlier| earlier.is_back + THREE_DAYS > trip.leaves)
        });
        (!busy).then_some(trip)
    })
}

/// The trip that begins in a week, on Monday to Wednesday, if nothing is in its way.
fn of_week(organisation: &Organisation, person: &Person, home: PlaceId, week: i64) -> Option<Trip> {
    let (atlas, trips) = (&organisation.atlas, &organisation.scenario.trips);
    let share = trips.per_year * person.duties.travel / 52.0;
    if !falls(luck(person.key, TRIP, week), share) {
        return None;
    }
    let small = |purpose, size| {
        let number = index(luck(person.key, purpose, week), size);
        i64::try_from(number).unwrap_or_default()
    };
    let start = week * 7 - 3 + small(WEEKDAY, 3);
    let [few, many] = trips.nights;
    let nights = few + small(NIGHTS, usize::try_from(many - few + 1).unwrap_or(1));
    let hotels = organisation.hotels(home);
    let near = falls(luck(person.key, NEAR, week), trips.near);
    let (nearer, farther) = hotels.split_at_checked(hotels.len().div_ceil(2))?;
    let choice = if near || farther.is_empty() {
        nearer
    } else {
        farther
    };
    let to = *choice.get(index(luck(person.key, WHERE, week), choice.len()))?;
    let seconds = door_to_door(trips, atlas.distance_km(home, to)) * 3600.0;
    let hour = |purpose| 12.0 * unit(luck(person.key, purpose, week));
    let leaves = atlas.local(home, date_of(start)?, 5.0 + hour(MORNING));
    let arrives = later(leaves, seconds);
    let returns = atlas.local(
        to,
        date_of(arrives.div_euclid(86_400_000) + nights)?,
        6.0 + hour(EVENING),
    );
    // After a night's flight one stays at least half a day.
    let returns = returns.max(arrives + HALF_A_DAY);
    Some(Trip {
        start,
        to,
        leaves,
        arrives,
        returns,
        is_back: later(returns, seconds),
        key: luck(person.key, TRIP, -start),
        new_device: falls(luck(person.key, DEVICE, week), trips.new_device),
    })
}

/// Hours from the last request at one end to the first at the other.
pub(super) fn door_to_door(trips: &Trips, distance_km: f64) -> f64 {
    if distance_km < trips.rail_km {
        return 1.0 + distance_km / trips.rail_kmh;
    }
    let on_the_way = distance_km / trips.cruise_kmh + trips.on_the_ground_hours;
    // Nothing flies that far without a stop.
    let stop = if distance_km > 9000.0 { 2.0 } else { 0.0 };
    trips.before_hours + on_the_way + stop + trips.after_hours
}
