//! An ordinary day, of a person and of a program.

use std::collections::BTreeMap;

use domain::{
    AccessRequest, Action, ActionResult, DeviceClaim, Name, Party, RequestContext, Timestamp,
};
use geo::world::Use;
use jiff::civil::Date;
use rand::Rng as _;
use wire::event::Label;
use wire::{AssuranceClaim, Event};

use super::people::{Person, Resource, Service};
use super::{Dice, Organisation, index, mix};

/// Where somebody is on a day, and through what they reach the applications.
#[derive(Clone, Debug)]
struct Whereabouts {
    place: String,
    used_as: Use,
    label: Option<Label>,
    /// Local hour before which nothing is done: one is still on the way.
    not_before: f64,
}

/// What the requests of one sitting have in common.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the members of a request, by the same names")]
pub struct Sitting {
    pub subject: Party,
    pub ip: std::net::IpAddr,
    pub agent: String,
    pub device: Option<DeviceClaim>,
    pub session: Option<String>,
    pub assurance: Option<AssuranceClaim>,
    pub label: Option<Label>,
}

impl Sitting {
    /// One request of it. None when the action's or the resource's name is no name.
    #[must_use]
    pub fn event(
        &self,
        at: Timestamp,
        action: &str,
        resource: &Resource,
        result: Option<ActionResult>,
    ) -> Option<Event> {
        Some(Event {
            request: AccessRequest {
                subject: self.subject.clone(),
                action: Action {
                    name: Name::new(action).ok()?,
                    properties: BTreeMap::new(),
                },
                resource: resource.party()?,
                context: RequestContext {
                    ip: Some(self.ip),
                    user_agent: Some(self.agent.clone()),
                    session_id: self.session.clone(),
                    device: self.device.clone(),
                    ..RequestContext::default()
                },
                result,
            },
            time: at,
            assurance: self.assurance.clone(),
            label: self.label.clone(),
        })
    }
}

/// The application that people sign in to.
pub(super) fn front_door() -> Resource {
    Resource {
        kind: "Application".to_owned(),
        id: "mail".to_owned(),
        sensitivity: 1,
    }
}

/// Days since 1970-01-01.
#[must_use]
pub fn number_of(date: Date) -> i64 {
    let epoch = Date::constant(1970, 1, 1);
    epoch
        .until(date)
        .map_or(0, |span| i64::from(span.get_days()))
}

pub(super) fn of_person(
    organisation: &Organisation,
    person: &Person,
    date: Date,
    dice: &mut Dice,
) -> Vec<Event> {
    let day = number_of(date);
    let weekend = matches!(date.weekday().to_monday_one_offset(), 6 | 7);
    let works = dice.gen_bool(if weekend { 0.06 } else { 0.94 });
    if !works || on_leave(person, day) {
        return Vec::new();
    }
    let whereabouts = whereabouts(organisation, person, day, dice);
    let zone = organisation.zone(&whereabouts.place);
    let sittings = if weekend { 1 } else { dice.gen_range(3..6) };
    let mut events = Vec::new();
    for number in 0..sittings {
        let spread = 9.0 / f64::from(sittings);
        let hour = person.begins + spread * f64::from(number) + dice.gen_range(-0.6..0.8);
        if hour < whereabouts.not_before {
            continue;
        }
        let Some(start) = local(date, hour.clamp(0.0, 23.5), &zone) else {
            continue;
        };
        let requests = person.requests / f64::from(sittings);
        events.extend(sitting(
            organisation,
            person,
            &whereabouts,
            day,
            start,
            requests,
            dice,
        ));
    }
    events
}

/// Two weeks away, once or twice a year.
fn on_leave(person: &Person, day: i64) -> bool {
    let block = day.div_euclid(14).unsigned_abs();
    !person.settled && mix(person.key ^ mix(block ^ 0x0001_EA7E)).is_multiple_of(17)
}

/// Trips of three days or so: they follow from the person and the week, so that each of their
/// days knows of them.
fn trip(organisation: &Organisation, person: &Person, day: i64) -> Option<(String, bool)> {
    let week = day.div_euclid(7).unsigned_abs();
    let luck = mix(person.key ^ mix(week ^ 0x7121));
    if person.settled || !luck.is_multiple_of(24) {
        return None;
    }
    // Away from Monday to Wednesday; weeks counted from 1970-01-01 begin with a Thursday.
    let weekday = day.rem_euclid(7);
    let days_away = [4, 5, 6];
    let position = days_away.iter().position(|away| *away == weekday)?;
    let hotels = organisation.places(Use::Hotel);
    let place = hotels.get(index(luck >> 20, hotels.len()))?;
    Some(((*place).to_owned(), position == 0))
}

fn whereabouts(
    organisation: &Organisation,
    person: &Person,
    day: i64,
    dice: &mut Dice,
) -> Whereabouts {
    if let Some((place, first_day)) = trip(organisation, person, day) {
        return Whereabouts {
            place,
            used_as: Use::Hotel,
            label: Some(Label::Benign("trip".to_owned())),
            not_before: if first_day { 15.0 } else { 0.0 },
        };
    }
    let (used_as, label) = if dice.gen_bool(person.at_home) {
        if person.own_vpn && dice.gen_bool(0.25) {
            (Use::Vpn, Some(Label::Benign("vpn".to_owned())))
        } else if person.office_vpn {
            (Use::CorporateVpn, None)
        } else {
            (Use::Home, None)
        }
    } else {
        (Use::Office, None)
    };
    Whereabouts {
        place: person.place.clone(),
        used_as,
        label,
        not_before: 0.0,
    }
}

fn sitting(
    organisation: &Organisation,
    person: &Person,
    whereabouts: &Whereabouts,
    day: i64,
    start: Timestamp,
    requests: f64,
    dice: &mut Dice,
) -> Vec<Event> {
    let phone = dice.gen_bool(0.18);
    let used_as = match whereabouts.used_as {
        Use::Home | Use::Office if phone => Use::Mobile,
        used_as => used_as,
    };
    let household = match used_as {
        Use::Home => person.key,
        // A hotel room, a cell of the mobile network, a desk: another one every day.
        _ => mix(person.key ^ day.unsigned_abs()),
    };
    let near = match used_as {
        Use::Vpn | Use::CorporateVpn => None,
        _ => Some(whereabouts.place.as_str()),
    };
    let ip = organisation.address(used_as, near, household, dice.r#gen::<u16>().into());
    let Some(subject) = person.party() else {
        return Vec::new();
    };
    let mfa = person.mfa || whereabouts.used_as == Use::Hotel;
    let mut at = start;
    let assurance = AssuranceClaim {
        level: Some(if mfa { 3 } else { 1 }),
        auth_time: Some(start),
        ..AssuranceClaim::default()
    };
    let sitting = Sitting {
        subject,
        ip,
        agent: person.agent(phone, day),
        device: Some(DeviceClaim {
            id: Some(person.device(phone, day)),
            managed: Some(!phone),
            compliant: Some(!dice.gen_bool(0.01)),
            os: None,
            os_version: None,
            fingerprint: None,
        }),
        session: Some(format!("s-{}-{}", person.id, start.seconds())),
        assurance: Some(assurance),
        label: whereabouts.label.clone(),
    };
    let mut events = Vec::new();
    let before = Sitting {
        session: None,
        assurance: None,
        ..sitting.clone()
    };
    let mut slips = 0;
    while slips < 3 && dice.gen_bool(0.06) {
        slips += 1;
        let failed = Some(ActionResult::Failure);
        events.extend(before.event(at, "login", &front_door(), failed));
        at = later(at, dice.gen_range(4.0..15.0));
    }
    events.extend(before.event(at, "login", &front_door(), Some(ActionResult::Success)));
    // Now and then somebody goes through everything there is: the end of a quarter.
    let report = dice.gen_bool(0.002);
    let count = if report {
        60.0
    } else {
        -(requests * dice.gen_range(0.02_f64..1.0).ln())
    };
    let label = report.then(|| Label::Benign("quarter-end".to_owned()));
    let sitting = Sitting {
        label: label.or(sitting.label.clone()),
        ..sitting
    };
    let mut number = 0.0;
    while number < count.min(80.0) {
        number += 1.0;
        let pause = -45.0 * dice.gen_range(0.001_f64..1.0).ln();
        at = later(at, pause.clamp(1.0, 900.0));
        let action = match dice.gen_range(0..100) {
            0..80 => "read",
            80..95 => "write",
            95..99 => "download",
            _ => "share",
        };
        let resource = pick(person, report, dice);
        events.extend(resource.and_then(|resource| sitting.event(at, action, resource, None)));
    }
    events
}

/// Mostly what one always works with, the first of it most often.
fn pick<'a>(person: &'a Person, anything: bool, dice: &mut Dice) -> Option<&'a Resource> {
    let usual = !anything && (person.others.is_empty() || dice.gen_bool(0.93));
    if usual {
        let skew: f64 = dice.gen_range(0.0_f64..1.0).powi(2);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a small list's length"
        )]
        let position = (skew * person.favourites.len() as f64) as usize;
        return person.favourites.get(position);
    }
    person.others.get(index(dice.r#gen(), person.others.len()))
}

pub(super) fn of_service(
    organisation: &Organisation,
    service: &Service,
    date: Date,
    dice: &mut Dice,
) -> Vec<Event> {
    let Some(subject) = service.party() else {
        return Vec::new();
    };
    let sitting = Sitting {
        subject,
        ip: organisation.address(Use::DataCentre, None, service.key, service.key),
        agent: service.agent.clone(),
        device: None,
        session: None,
        assurance: None,
        label: None,
    };
    let Some(midnight) = local(date, 0.0, &jiff::tz::TimeZone::UTC) else {
        return Vec::new();
    };
    let mut events = Vec::new();
    let mut minute = f64::from(service.every_minutes) * dice.gen_range(0.0..1.0);
    while minute < 1440.0 {
        let mut at = later(midnight, minute * 60.0);
        for resource in &service.resources {
            events.extend(sitting.event(at, "read", resource, None));
            at = later(at, dice.gen_range(0.2..2.0));
        }
        minute += f64::from(service.every_minutes) * dice.gen_range(0.95..1.05);
    }
    events
}

/// A local time of a day as a point in time.
pub(super) fn local(date: Date, hour: f64, zone: &jiff::tz::TimeZone) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a day")]
    let seconds = (hour * 3600.0) as i64;
    let midnight = date.to_zoned(zone.clone()).ok()?.timestamp();
    Some(Timestamp::from_millis(midnight.as_millisecond()).plus_seconds(seconds))
}

pub(super) fn later(at: Timestamp, seconds: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "pauses of at most hours")]
    let millis = (seconds * 1000.0) as i64;
    Timestamp::from_millis(at.millis() + millis)
}
