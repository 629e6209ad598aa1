//! An ordinary day of a person: where they are, when they sit down, with what.

use jiff::civil::{Date, Weekday};
use rand::Rng as _;

use super::agents::Gear;
use super::atlas::{Ground, PlaceId};
use super::calendar::{is_month_end, is_weekend, number_of};
use super::chance::{Dice, happens};
use super::draft::Draft;
use super::people::Person;
use super::trips::{self, Trip};
use super::{Organisation, sitting};

/// A stretch of time in one place; from and until are milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay<'a> {
    pub(super) place: PlaceId,
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) trip: Option<&'a Trip>,
}

/// When somebody sits down, with what, on whose network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chair {
    /// Local hour.
    pub(super) hour: f64,
    pub(super) gear: Gear,
    pub(super) ground: Ground,
    /// Whether a VPN of their own is switched on on the way.
    pub(super) hides: bool,
    /// Whether a network abroad hands the traffic over at home.
    pub(super) roams: bool,
}

/// Rare things of a day, each to happen at the first chance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surprises {
    pub(super) typos: bool,
    pub(super) handover: bool,
    pub(super) ip_flip: bool,
    pub(super) geo_error: bool,
    pub(super) report: bool,
    pub(super) welcome_back: bool,
}

/// A day of somebody, under way.
#[derive(Debug)]
pub(super) struct Today<'a> {
    pub(super) organisation: &'a Organisation,
    pub(super) person: &'a Person,
    pub(super) home: PlaceId,
    pub(super) date: Date,
    pub(super) day: i64,
}

/// The events of one person on one local day, in no particular order.
pub(super) fn of_person(
    organisation: &Organisation,
    person: &Person,
    date: Date,
    dice: &mut Dice,
    drafts: &mut Vec<Draft>,
) {
    let day = number_of(date);
    let Some(home) = organisation.atlas.find(&person.place) else {
        return;
    };
    if !person.is_here(day) {
        return;
    }
    let today = Today {
        organisation,
        person,
        home,
        date,
        day,
    };
    let trip = trips::around(organisation, person, home, date);
    let leave = organisation.scenario.leave.weeks_per_year;
    if trip.is_none() && !today.comes_back() && person.is_on_leave(day, leave) {
        return;
    }
    let mut surprises = today.surprises(dice);
    let mut sessions = sitting::Sessions::default();
    for stay in today.stays(trip.as_ref()) {
        for chair in today.chairs(&stay, dice) {
            sitting::sit(
                &today,
                &stay,
                &chair,
                &mut surprises,
                &mut sessions,
                dice,
                drafts,
            );
        }
    }
}

impl Today<'_> {
    /// Whether their account was silent for a long time until now.
    fn comes_back(&self) -> bool {
        let back = self.person.silence.and_then(|silence| silence.back);
        back.is_some_and(|back| (back..back + 2).contains(&self.day))
    }

    fn surprises(&self, dice: &mut Dice) -> Surprises {
        let twins = &self.organisation.scenario.twins;
        let month_end = is_month_end(self.date);
        let boost = if month_end {
            twins.quarter_end_boost
        } else {
            1.0
        };
        let mut rare =
            |per_thousand: f64| !self.person.settled && happens(per_thousand / 1000.0, dice);
        let mut surprises = Surprises {
            typos: rare(twins.monday_typos * 1000.0),
            handover: rare(twins.handover),
            ip_flip: rare(twins.ip_flip),
            geo_error: rare(twins.geo_error),
            report: rare(twins.quarter_end * boost),
            welcome_back: self.comes_back(),
        };
        surprises.typos &= self.date.weekday() == Weekday::Monday;
        surprises
    }

    fn stays<'t>(&self, trip: Option<&'t Trip>) -> Vec<Stay<'t>> {
        let home = Stay {
            place: self.home,
            from: i64::MIN,
            until: i64::MAX,
            trip: None,
        };
        let Some(away) = trip else {
            return vec![home];
        };
        vec![
            Stay {
                until: away.leaves,
                ..home
            },
            Stay {
                place: away.to,
                from: away.arrives,
                until: away.returns,
                trip,
            },
            Stay {
                from: away.is_back,
                ..home
            },
        ]
    }

    /// When they would sit down on this date, if they were in this place all day; in order.
    fn chairs(&self, stay: &Stay<'_>, dice: &mut Dice) -> Vec<Chair> {
        let work = &self.organisation.scenario.work;
        let free = is_weekend(self.date) || self.organisation.is_holiday(self.date);
        let mut chairs = Vec::new();
        if free && !self.comes_back() {
            if happens(work.weekends, dice) {
                let hour = dice.gen_range(9.0..21.0);
                let gear = self.gear(0.5, dice);
                chairs.push(self.chair(hour, gear, false, stay, dice));
            }
            return chairs;
        }
        if !self.person.settled && !self.comes_back() && happens(work.sick, dice) {
            return chairs;
        }
        self.working_day(stay, dice, &mut chairs);
        let evening = if stay.trip.is_some() {
            0.5
        } else {
            work.evenings
        };
        if happens(evening, dice) {
            let hour = dice.gen_range(20.0..22.8);
            let gear = self.gear(0.6, dice);
            chairs.push(self.chair(hour, gear, false, stay, dice));
        }
        chairs
    }

    fn working_day(&self, stay: &Stay<'_>, dice: &mut Dice, chairs: &mut Vec<Chair>) {
        let scenario = &self.organisation.scenario;
        let person = self.person;
        let in_office = match stay.trip {
            None => person.has_office && !happens(person.at_home, dice),
            Some(_) => self.organisation.has_office(stay.place) && happens(0.7, dice),
        };
        let begins = self.begins() + dice.gen_range(-0.4..0.5);
        let commutes = in_office
            && stay.trip.is_none()
            && person.devices > 1
            && happens(scenario.mobile.commute, dice);
        let on_the_way = |hour| Chair {
            hour,
            gear: Gear::Phone,
            ground: Ground::Mobile,
            hides: false,
            roams: false,
        };
        if commutes {
            chairs.push(on_the_way(begins - 0.7));
        }
        let [few, many] = scenario.work.sittings;
        let sittings = dice.gen_range(few..=many);
        let every = person.duties.hours / f64::from(sittings);
        for number in 0..sittings {
            let hour = begins + every * f64::from(number) + dice.gen_range(0.0..0.5) * every;
            let gear = self.gear(scenario.devices.phone, dice);
            chairs.push(self.chair(hour, gear, in_office, stay, dice));
        }
        if commutes {
            chairs.push(on_the_way(begins + person.duties.hours + 0.3));
        }
    }

    /// The local hour at which the working day begins: one's own, or that of this week's shift.
    fn begins(&self) -> f64 {
        let shifts = &self.person.duties.shifts;
        let week = (self.day + 3).div_euclid(7).unsigned_abs();
        let turn = super::chance::index(week.wrapping_add(self.person.key), shifts.len());
        shifts.get(turn).copied().unwrap_or(self.person.begins)
    }

    /// What they take in hand: a phone or tablet with this chance, if they have one.
    fn gear(&self, small: f64, dice: &mut Dice) -> Gear {
        let wants_small = happens(small, dice);
        let wants_tablet = happens(0.35, dice);
        match self.person.devices {
            2.. if !wants_small => Gear::Laptop,
            3.. if wants_tablet => Gear::Tablet,
            2.. => Gear::Phone,
            _ => Gear::Laptop,
        }
    }

    fn chair(
        &self,
        hour: f64,
        gear: Gear,
        in_office: bool,
        stay: &Stay<'_>,
        dice: &mut Dice,
    ) -> Chair {
        let scenario = &self.organisation.scenario;
        let person = self.person;
        let outside = happens(scenario.mobile.at_office, dice);
        let not_at_home = happens(scenario.mobile.at_home, dice);
        let hides = happens(scenario.vpn.own_on, dice) && person.own_vpn;
        let roams = happens(scenario.trips.roaming, dice);
        let ground = match (gear, in_office) {
            (Gear::Laptop, true) => Ground::Office,
            (_, true) if !outside => Ground::Office,
            (Gear::Laptop, false) if person.office_vpn => Ground::CorporateVpn,
            _ if stay.trip.is_some() => Ground::Hotel,
            (Gear::Phone, true) => Ground::Mobile,
            (Gear::Phone, false) if not_at_home => Ground::Mobile,
            (Gear::Tablet, true) => Ground::Office,
            _ => Ground::Home,
        };
        let relayed = gear != Gear::Laptop
            && person.relay
            && person.platform(gear).relayed
            && matches!(ground, Ground::Home | Ground::Mobile);
        Chair {
            hour,
            gear,
            ground: if relayed { Ground::Relay } else { ground },
            hides: hides && ground == Ground::Home && !relayed,
            roams: roams && gear == Gear::Phone && stay.trip.is_some(),
        }
    }
}
