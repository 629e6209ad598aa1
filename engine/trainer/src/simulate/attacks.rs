//! Attacks, each labelled with its name.

use domain::{ActionResult, DeviceClaim, Timestamp};
use geo::world::Use;
use jiff::civil::Date;
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use wire::event::Label;
use wire::{AssuranceClaim, Event};

use super::day::{Sitting, front_door, later};
use super::people::{Person, Service};
use super::{Dice, Organisation};

const STRANGERS_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// An attack on a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A stolen password, used from a country where its owner never was.
    Takeover,
    /// The same, shortly after its owner was seen elsewhere.
    ImpossibleTravel,
    /// A stolen session cookie, used from another network with another program.
    StolenSession,
    /// Its own owner takes everything along.
    BulkDownload,
    /// Passwords tried from a data centre; one of them fits.
    Stuffing,
}

impl Attack {
    /// Every attack on a person.
    pub const ON_PEOPLE: [Self; 5] = [
        Self::Takeover,
        Self::ImpossibleTravel,
        Self::StolenSession,
        Self::BulkDownload,
        Self::Stuffing,
    ];

    /// The name in labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Takeover => "takeover",
            Self::ImpossibleTravel => "impossible-travel",
            Self::StolenSession => "stolen-session",
            Self::BulkDownload => "bulk-download",
            Self::Stuffing => "stuffing",
        }
    }

    fn label(self) -> Option<Label> {
        Some(Label::Attack(self.name().to_owned()))
    }

    /// Its events, on a day of which the ordinary events are known.
    pub(super) fn on_person(
        self,
        organisation: &Organisation,
        person: &Person,
        ordinary: &[Event],
        _date: Date,
        dice: &mut Dice,
    ) -> Vec<Event> {
        let Some(seen) = ordinary.choose(dice) else {
            return Vec::new();
        };
        match self {
            Self::Takeover => {
                // By night, when its owner sleeps.
                let at = later(seen.time, dice.gen_range(10.0..14.0) * 3600.0);
                self.by_a_stranger(organisation, person, Use::Home, at, dice)
            }
            Self::ImpossibleTravel => {
                let at = later(seen.time, dice.gen_range(600.0..5400.0));
                self.by_a_stranger(organisation, person, Use::Home, at, dice)
            }
            Self::Stuffing => {
                let at = later(seen.time, dice.gen_range(0.0..12.0) * 3600.0);
                self.by_a_stranger(organisation, person, Use::Hosting, at, dice)
            }
            Self::StolenSession => self.with_a_stolen_session(organisation, person, ordinary, dice),
            Self::BulkDownload => self.by_its_owner(person, seen, dice),
        }
    }

    fn by_a_stranger(
        self,
        organisation: &Organisation,
        person: &Person,
        used_as: Use,
        start: Timestamp,
        dice: &mut Dice,
    ) -> Vec<Event> {
        let Some(subject) = person.party() else {
            return Vec::new();
        };
        let far: Vec<&str> = organisation
            .places(used_as)
            .into_iter()
            .filter(|place| ["lagos", "sao-paulo", "osaka", "ashburn"].contains(place))
            .collect();
        let place = far.choose(dice).copied();
        let number: u32 = dice.r#gen();
        let sitting = Sitting {
            subject,
            ip: organisation.address(used_as, place, number.into(), number.into()),
            agent: STRANGERS_AGENT.to_owned(),
            device: Some(DeviceClaim {
                id: Some(format!("stranger-{number:08x}")),
                ..DeviceClaim::default()
            }),
            session: None,
            assurance: None,
            label: self.label(),
        };
        let mut at = start;
        let mut events = Vec::new();
        for _ in 0..dice.gen_range(0..4) {
            let failed = Some(ActionResult::Failure);
            events.extend(sitting.event(at, "login", &front_door(), failed));
            at = later(at, dice.gen_range(2.0..20.0));
        }
        events.extend(sitting.event(at, "login", &front_door(), Some(ActionResult::Success)));
        let inside = Sitting {
            session: Some(format!("s-{}-{number:08x}", person.id)),
            assurance: Some(AssuranceClaim {
                level: Some(1),
                auth_time: Some(at),
                ..AssuranceClaim::default()
            }),
            ..sitting
        };
        for _ in 0..dice.gen_range(4..15) {
            at = later(at, dice.gen_range(3.0..60.0));
            let resource = person.favourites.choose(dice);
            events.extend(resource.and_then(|resource| inside.event(at, "read", resource, None)));
        }
        events
    }

    fn with_a_stolen_session(
        self,
        organisation: &Organisation,
        person: &Person,
        ordinary: &[Event],
        dice: &mut Dice,
    ) -> Vec<Event> {
        let living: Vec<&Event> = ordinary
            .iter()
            .filter(|event| event.request.context.session_id.is_some())
            .collect();
        let Some(stolen) = living.choose(dice) else {
            return Vec::new();
        };
        let number: u32 = dice.r#gen();
        let near = dice.gen_bool(0.5);
        let used_as = if near { Use::Home } else { Use::Hosting };
        let place = near.then_some(person.place.as_str());
        let Some(subject) = person.party() else {
            return Vec::new();
        };
        let sitting = Sitting {
            subject,
            ip: organisation.address(used_as, place, number.into(), number.into()),
            agent: STRANGERS_AGENT.to_owned(),
            device: None,
            session: stolen.request.context.session_id.clone(),
            assurance: stolen.assurance.clone(),
            label: self.label(),
        };
        let mut at = later(stolen.time, dice.gen_range(60.0..1800.0));
        let mut events = Vec::new();
        for _ in 0..dice.gen_range(3..12) {
            at = later(at, dice.gen_range(2.0..40.0));
            let resource = person.favourites.choose(dice);
            events.extend(resource.and_then(|resource| sitting.event(at, "read", resource, None)));
        }
        events
    }

    fn by_its_owner(self, person: &Person, seen: &Event, dice: &mut Dice) -> Vec<Event> {
        let context = &seen.request.context;
        let (Some(subject), Some(ip)) = (person.party(), context.ip) else {
            return Vec::new();
        };
        let sitting = Sitting {
            subject,
            ip,
            agent: context.user_agent.clone().unwrap_or_default(),
            device: context.device.clone(),
            session: context.session_id.clone(),
            assurance: seen.assurance.clone(),
            label: self.label(),
        };
        let mut everything: Vec<_> = person.favourites.iter().chain(&person.others).collect();
        everything.shuffle(dice);
        let mut at = seen.time;
        let mut events = Vec::new();
        for resource in everything {
            at = later(at, dice.gen_range(1.0..12.0));
            events.extend(sitting.event(at, "download", resource, None));
        }
        events
    }
}

/// A program's key, used by somebody else: another network, another program, other documents.
pub(super) fn on_service(
    organisation: &Organisation,
    service: &Service,
    ordinary: &[Event],
    dice: &mut Dice,
) -> Vec<Event> {
    let (Some(subject), Some(seen)) = (service.party(), ordinary.choose(dice)) else {
        return Vec::new();
    };
    let number: u32 = dice.r#gen();
    let sitting = Sitting {
        subject,
        ip: organisation.address(Use::Hosting, None, number.into(), number.into()),
        agent: "Boto3/1.34.0 Python/3.11.7".to_owned(),
        device: None,
        session: None,
        assurance: None,
        label: Some(Label::Attack("service-key".to_owned())),
    };
    let mut at = later(seen.time, dice.gen_range(30.0..3000.0));
    let mut events = Vec::new();
    for _ in 0..dice.gen_range(5..40) {
        at = later(at, dice.gen_range(0.5..8.0));
        let resource = service.resources.choose(dice);
        events.extend(resource.and_then(|resource| sitting.event(at, "read", resource, None)));
    }
    events
}
