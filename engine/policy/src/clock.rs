//! The clock on the subject's own wall: hour and weekday in their time zone.
//!
//! The zone is what is stored with the subject, never what a caller says, and never that of the
//! address: whoever could choose it would choose the hour. Zones and their rules for summer time
//! are built in, so that a decision reads no file and a replay finds the same hour.

use domain::facts::TimeFacts;
use domain::{EntityRef, Timestamp};
use jiff::tz::TimeZone;

use crate::directory::{Directory, text};
use crate::load::Policies;

/// The words of `context.time` that need the zone.
pub(crate) const WORDS: [&str; 4] = [
    "time_zone",
    "local_hour",
    "local_minute_of_day",
    "local_weekday",
];

/// Where a subject's zone is found.
#[derive(Clone, Copy, Debug)]
pub struct Zones<'a> {
    /// The attribute of stored subjects that holds it, an IANA name such as `Europe/Paris`.
    pub attribute: &'a str,
    /// The zone of those who have none stored. None: their clock is not known.
    pub otherwise: Option<&'a str>,
}

/// Whether there is a time zone of this name.
#[must_use]
pub fn is_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

/// The words of a moment, with those of a zone. Where there is no such zone, its words are
/// unknown.
#[must_use]
pub fn words(now: Timestamp, zone: Option<&str>) -> TimeFacts {
    let everywhere = TimeFacts::at(now);
    let Some((name, zone)) = zone.and_then(|name| Some((name, TimeZone::get(name).ok()?))) else {
        return everywhere;
    };
    let Ok(at) = jiff::Timestamp::from_millisecond(now.millis()) else {
        return everywhere;
    };
    let there = zone.to_datetime(at);
    let (hour, minute) = (i64::from(there.hour()), i64::from(there.minute()));
    TimeFacts {
        time_zone: Some(name.to_owned()),
        local_hour: Some(hour),
        local_minute_of_day: Some(hour * 60 + minute),
        local_weekday: Some(i64::from(there.weekday().to_monday_one_offset())),
        ..everywhere
    }
}

impl Directory {
    /// The words of a moment for a subject, in their own zone.
    #[must_use]
    pub fn clock(
        &self,
        policies: &Policies,
        subject: &EntityRef,
        zones: Zones<'_>,
        now: Timestamp,
    ) -> TimeFacts {
        if !policies.sees_clock() {
            return TimeFacts::at(now);
        }
        // A stored zone that does not exist is not made up for by another: it is not known.
        let stored = self.stored_text(policies, subject, zones.attribute);
        words(now, stored.as_deref().or(zones.otherwise))
    }
}

impl Directory {
    /// A warning for people if stored entities have a time zone that does not exist, and a policy
    /// looks at their clock.
    #[must_use]
    pub fn unknown_zones(&self, policies: &Policies, attribute: &str) -> Option<String> {
        if !policies.sees_clock() {
            return None;
        }
        let mut wrong: Vec<(String, &str)> = self
            .entities()
            .filter_map(|entity| Some((entity.uid().to_string(), text(entity.get(attribute)?)?)))
            .filter(|(_, zone)| !is_zone(zone))
            .collect();
        wrong.sort();
        let (entity, zone) = wrong.first()?;
        Some(format!(
            "warning: `{attribute}` of {entity} is `{zone}`, and there is no such time zone, so the \
             hour there is not known ({} such): write an IANA name, for example `Europe/Paris`",
            wrong.len()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let at: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_millis(at.as_millisecond())
    }

    /// L3: the hour is that of the subject's own clock, through both changes of summer time.
    #[test]
    fn clocks_are_those_on_the_wall() {
        for (zone, moment, weekday, hour, minute) in [
            ("UTC", "2026-01-05T12:30:00Z", 1, 12, 30),
            // Paris goes from 1:59 to 3:00, and from 2:59 to 2:00.
            ("Europe/Paris", "2026-03-29T00:59:59Z", 7, 1, 59),
            ("Europe/Paris", "2026-03-29T01:00:00Z", 7, 3, 0),
            ("Europe/Paris", "2026-10-25T00:59:59Z", 7, 2, 59),
            ("Europe/Paris", "2026-10-25T01:00:00Z", 7, 2, 0),
            ("Europe/Paris", "2026-07-01T22:30:00Z", 4, 0, 30),
            // New York changes on other days.
            ("America/New_York", "2026-03-08T06:59:59Z", 7, 1, 59),
            ("America/New_York", "2026-03-08T07:00:00Z", 7, 3, 0),
            ("America/New_York", "2026-11-01T05:30:00Z", 7, 1, 30),
            ("America/New_York", "2026-11-01T06:30:00Z", 7, 1, 30),
            // Quarters of an hour, half an hour of summer time, the other side of the date line.
            ("Asia/Kathmandu", "2026-01-05T12:00:00Z", 1, 17, 45),
            ("Australia/Lord_Howe", "2026-01-05T12:00:00Z", 1, 23, 0),
            ("Australia/Lord_Howe", "2026-07-06T12:00:00Z", 1, 22, 30),
            ("Pacific/Kiritimati", "2026-01-05T12:00:00Z", 2, 2, 0),
            ("Pacific/Pago_Pago", "2026-01-05T10:00:00Z", 7, 23, 0),
        ] {
            let words = words(at(moment), Some(zone));
            let found = (
                words.local_weekday,
                words.local_hour,
                words.local_minute_of_day,
            );
            let wanted = (Some(weekday), Some(hour), Some(hour * 60 + minute));
            assert_eq!(found, wanted, "{zone} {moment}");
            assert_eq!(words.time_zone.as_deref(), Some(zone));
        }
    }

    #[test]
    fn a_zone_that_is_none_leaves_the_clock_unknown() {
        for zone in [None, Some(""), Some("Mars/Olympus"), Some("../etc/passwd")] {
            let noon = at("2026-01-05T12:00:00Z");
            assert_eq!(words(noon, zone), TimeFacts::at(noon), "{zone:?}");
        }
        for last in [Timestamp::MIN, Timestamp::MAX] {
            assert!(words(last, Some("Pacific/Kiritimati")).local_hour.is_some());
        }
    }
}
