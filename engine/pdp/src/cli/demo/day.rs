//! The built-in day: three quiet weeks to learn from, then a Wednesday with five attacks in it,
//! and two honest people who look a little like attackers.

use std::net::IpAddr;

use ::geo::World;
use domain::{ActionResult, DeviceClaim, DeviceRecord, EntityRef, Rung, Timestamp};
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _};
use trainer::Organisation;
use trainer::simulate::{Gear, Person, Resource, Sitting, UnusableWorld, documents};
use wire::event::Label;
use wire::{AssuranceClaim, Event};

use super::cast;

/// Days of history.
const HISTORY_DAYS: i32 = 21;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// One scene of the day, and how it must end.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// The label of its events.
    pub(super) label: Label,
    /// What happens.
    pub(super) title: &'static str,
    /// The rungs on which it may end, worst answer of its events.
    pub(super) ends: &'static [Rung],
}

/// The whole play.
#[derive(Clone, Debug)]
pub(super) struct Day {
    pub(super) history: Vec<Event>,
    pub(super) today: Vec<Event>,
    pub(super) scenes: Vec<Scene>,
    pub(super) devices: Vec<DeviceRecord>,
}

impl Day {
    pub(super) fn build(world: &World, now: Timestamp) -> Result<Self, UnusableWorld> {
        let today = last_wednesday(now);
        let mut organisation = Organisation::empty(7, world)?;
        organisation.people = cast::people();
        organisation.services = vec![cast::service()];
        let mut history = Vec::new();
        for before in (1..=HISTORY_DAYS).rev() {
            if let Ok(date) = today.checked_sub(Span::new().days(before)) {
                history.extend(organisation.day(date));
            }
        }
        let mut events = organisation.day(today);
        let stage = Stage {
            date: today,
            organisation: &organisation,
        };
        for scene in [
            stage.takeover(),
            stage.impossible_travel(),
            stage.stolen_session(&events),
            stage.bulk_download(),
            stage.service_key(),
            stage.business_trip(),
            stage.vpn(),
        ] {
            events.extend(scene);
        }
        events.sort_by_key(|event| event.time);
        let devices = organisation
            .people
            .iter()
            .map(|person| DeviceRecord {
                id: stage.laptop(person),
                owner: EntityRef::new("User", person.id.as_str()).ok(),
                trust: Some(90),
                managed: Some(true),
                compliant: Some(true),
                os: None,
                os_version: None,
                revoked: false,
                enrolled_at: Some(now),
                key: None,
                checked_at: Some(now),
                posture_source: Some("demo".to_owned()),
                updated_at: now,
            })
            .collect();
        Ok(Self {
            history,
            today: events,
            scenes: scenes(),
            devices,
        })
    }
}

fn scenes() -> Vec<Scene> {
    let attack = |name: &str| Label::Attack(name.to_owned());
    let honest = |name: &str| Label::Benign(name.to_owned());
    vec![
        Scene {
            label: attack("takeover"),
            title: "carol's password is used from Lagos",
            ends: &[Rung::Mfa, Rung::Deny],
        },
        Scene {
            label: attack("impossible-travel"),
            title: "bob, just seen in Berlin, appears in Osaka",
            ends: &[Rung::Mfa, Rung::Deny],
        },
        Scene {
            label: attack("stolen-session"),
            title: "erin's session goes on in a data centre",
            ends: &[Rung::Mfa, Rung::Deny],
        },
        Scene {
            label: attack("bulk-download"),
            title: "frank downloads one contract after the other",
            ends: &[Rung::Mfa, Rung::Deny],
        },
        Scene {
            label: attack("service-key"),
            title: "the key of nightly-report is used elsewhere",
            ends: &[Rung::Deny],
        },
        Scene {
            label: honest("business-trip"),
            title: "grace is in New York with a new phone",
            ends: &[Rung::Allow, Rung::Challenge, Rung::Mfa],
        },
        Scene {
            label: honest("vpn"),
            title: "dave switches a VPN on",
            ends: &[Rung::Allow, Rung::Challenge, Rung::Mfa],
        },
    ]
}

/// What the scenes are set on.
struct Stage<'a> {
    date: Date,
    organisation: &'a Organisation,
}

impl Stage<'_> {
    /// A time of the day, in UTC.
    fn at(&self, hour: i8, minute: i8) -> Timestamp {
        let at = self.date.at(hour, minute, 0, 0).to_zoned(TimeZone::UTC);
        at.map_or(Timestamp::MIN, |at| {
            Timestamp::from_millis(at.timestamp().as_millisecond())
        })
    }

    fn person(&self, id: &str) -> Option<&Person> {
        self.organisation
            .people
            .iter()
            .find(|person| person.id == id)
    }

    fn laptop(&self, person: &Person) -> String {
        person.device(Gear::Laptop, trainer::simulate::number_of(self.date))
    }

    fn takeover(&self) -> Vec<Event> {
        let Some(carol) = self.person("carol") else {
            return Vec::new();
        };
        let stranger = Sitting {
            agent: FIREFOX.to_owned(),
            device: device("unknown-laptop"),
            label: Some(Label::Attack("takeover".to_owned())),
            ..sitting(carol, [198, 51, 100, 201].into())
        };
        let inside = signed_in(&stranger, "s-takeover", 1, self.at(22, 41));
        let mut events = Vec::new();
        for minute in 38..41 {
            let failed = Some(ActionResult::Failure);
            events.extend(stranger.event(self.at(22, minute), "login", &mail(), failed));
        }
        events.extend(stranger.event(self.at(22, 41), "login", &mail(), None));
        for (number, document) in carol.favourites.iter().take(5).enumerate() {
            let minute = 42 + i8::try_from(number).unwrap_or_default();
            events.extend(inside.event(self.at(22, minute), "read", document, None));
        }
        events
    }

    fn impossible_travel(&self) -> Vec<Event> {
        let Some(bob) = self.person("bob") else {
            return Vec::new();
        };
        let label = Some(Label::Attack("impossible-travel".to_owned()));
        let home = Sitting {
            agent: bob.agent(Gear::Laptop, trainer::simulate::number_of(self.date)),
            device: device(&self.laptop(bob)),
            ..sitting(bob, [10, 20, 7, 7].into())
        };
        let home = signed_in(&home, "s-bob-noon", 1, self.at(11, 50));
        // The same client program and even the id of his laptop: all copied.
        let away = Sitting {
            ip: [203, 0, 113, 199].into(),
            label,
            ..home.clone()
        };
        let away = signed_in(&away, "s-bob-osaka", 1, self.at(13, 9));
        let mut events: Vec<Event> = home
            .event(self.at(11, 51), "read", &cast::handbook(), None)
            .into_iter()
            .collect();
        for (number, document) in bob.favourites.iter().take(4).enumerate() {
            let minute = 10 + i8::try_from(number).unwrap_or_default();
            events.extend(away.event(self.at(13, minute), "read", document, None));
        }
        events
    }

    fn stolen_session(&self, ordinary: &[Event]) -> Vec<Event> {
        let Some(erin) = self.person("erin") else {
            return Vec::new();
        };
        // A session that lives in the morning; if she is off sick, one of her own.
        let living = ordinary.iter().find(|event| {
            event.request.subject.entity.id.as_str() == "erin"
                && event.request.context.session_id.is_some()
        });
        let mut events = Vec::new();
        let (session, at, assurance) = match living {
            Some(event) => (
                event.request.context.session_id.clone(),
                event.time.plus_seconds(1500),
                event.assurance.clone(),
            ),
            None => {
                let own = Sitting {
                    agent: erin.agent(Gear::Laptop, trainer::simulate::number_of(self.date)),
                    device: device(&self.laptop(erin)),
                    ..sitting(erin, [10, 10, 8, 8].into())
                };
                let own = signed_in(&own, "s-erin", 1, self.at(9, 0));
                events.extend(own.event(self.at(9, 1), "read", &cast::handbook(), None));
                (own.session, self.at(9, 26), own.assurance)
            }
        };
        let thief = Sitting {
            agent: FIREFOX.to_owned(),
            session,
            assurance,
            label: Some(Label::Attack("stolen-session".to_owned())),
            ..sitting(erin, [198, 51, 100, 170].into())
        };
        for (number, document) in erin.favourites.iter().take(5).enumerate() {
            let at = at.plus_seconds(20 * i64::try_from(number).unwrap_or_default());
            events.extend(thief.event(at, "read", document, None));
        }
        events
    }

    fn bulk_download(&self) -> Vec<Event> {
        let Some(frank) = self.person("frank") else {
            return Vec::new();
        };
        let own = Sitting {
            agent: frank.agent(Gear::Laptop, trainer::simulate::number_of(self.date)),
            device: device(&self.laptop(frank)),
            label: Some(Label::Attack("bulk-download".to_owned())),
            ..sitting(frank, [10, 30, 9, 9].into())
        };
        let own = signed_in(&own, "s-frank-bulk", 1, self.at(16, 30));
        let start = self.at(16, 31);
        documents("sales")
            .iter()
            .take(80)
            .enumerate()
            .filter_map(|(number, document)| {
                let at = start.plus_seconds(7 * i64::try_from(number).unwrap_or_default());
                own.event(at, "download", document, None)
            })
            .collect()
    }

    fn service_key(&self) -> Vec<Event> {
        let service = cast::service();
        let Some(subject) = service.party() else {
            return Vec::new();
        };
        let thief = Sitting {
            subject,
            ip: [198, 51, 100, 180].into(),
            agent: "Boto3/1.34.0 Python/3.11.7".to_owned(),
            device: None,
            session: None,
            assurance: None,
            label: Some(Label::Attack("service-key".to_owned())),
        };
        service
            .resources
            .iter()
            .enumerate()
            .filter_map(|(number, document)| {
                let at = self
                    .at(3, 17)
                    .plus_seconds(i64::try_from(number).unwrap_or_default());
                thief.event(at, "read", document, None)
            })
            .collect()
    }

    fn business_trip(&self) -> Vec<Event> {
        let Some(grace) = self.person("grace") else {
            return Vec::new();
        };
        let label = Some(Label::Benign("business-trip".to_owned()));
        let hotel = Sitting {
            agent: grace.agent(Gear::Phone, trainer::simulate::number_of(self.date)),
            device: device("grace-new-phone"),
            label,
            ..sitting(grace, [198, 51, 100, 40].into())
        };
        let hotel = signed_in(&hotel, "s-grace-nyc", 3, self.at(23, 9));
        let mut events: Vec<Event> = hotel
            .event(self.at(23, 10), "read", &cast::handbook(), None)
            .into_iter()
            .collect();
        for (number, document) in grace.favourites.iter().take(4).enumerate() {
            let minute = 11 + i8::try_from(number).unwrap_or_default();
            events.extend(hotel.event(self.at(23, minute), "read", document, None));
        }
        events
    }

    fn vpn(&self) -> Vec<Event> {
        let Some(dave) = self.person("dave") else {
            return Vec::new();
        };
        let own = Sitting {
            agent: dave.agent(Gear::Laptop, trainer::simulate::number_of(self.date)),
            device: device(&self.laptop(dave)),
            ..sitting(dave, [10, 20, 6, 6].into())
        };
        let own = signed_in(&own, "s-dave-vpn", 3, self.at(10, 0));
        let hidden = Sitting {
            ip: [198, 51, 100, 100].into(),
            label: Some(Label::Benign("vpn".to_owned())),
            ..own.clone()
        };
        let mut events: Vec<Event> = own
            .event(self.at(10, 1), "read", &cast::handbook(), None)
            .into_iter()
            .collect();
        for (number, document) in dave.favourites.iter().take(5).enumerate() {
            let minute = 20 + i8::try_from(number).unwrap_or_default();
            events.extend(hidden.event(self.at(10, minute), "read", document, None));
        }
        events
    }
}

/// The last Wednesday that is over.
fn last_wednesday(now: Timestamp) -> Date {
    let today = jiff::Timestamp::from_millisecond(now.millis())
        .map_or(Date::constant(2026, 1, 1), |now| {
            now.to_zoned(TimeZone::UTC).date()
        });
    let yesterday = today.checked_sub(1.day()).unwrap_or(today);
    if yesterday.weekday() == Weekday::Wednesday {
        return yesterday;
    }
    yesterday
        .nth_weekday(-1, Weekday::Wednesday)
        .unwrap_or(yesterday)
}

fn sitting(person: &Person, ip: IpAddr) -> Sitting {
    Sitting {
        subject: person.party().unwrap_or_else(|| unnamed(person)),
        ip,
        agent: String::new(),
        device: None,
        session: None,
        assurance: None,
        label: None,
    }
}

/// The names of the cast are constants, and good ones.
#[expect(
    clippy::expect_used,
    reason = "constants that the demo's own test plays"
)]
fn unnamed(person: &Person) -> domain::Party {
    person.party().expect("the cast has names")
}

fn signed_in(sitting: &Sitting, session: &str, level: i64, at: Timestamp) -> Sitting {
    Sitting {
        session: Some(format!("{session}-{}", at.seconds())),
        assurance: Some(AssuranceClaim {
            level: Some(level),
            auth_time: Some(at),
            ..AssuranceClaim::default()
        }),
        ..sitting.clone()
    }
}

fn device(id: &str) -> Option<DeviceClaim> {
    Some(DeviceClaim {
        id: Some(id.to_owned()),
        ..DeviceClaim::default()
    })
}

fn mail() -> Resource {
    Resource {
        kind: "Application".to_owned(),
        id: "mail".to_owned(),
        sensitivity: 1,
        bytes: 0,
    }
}
