//! One sitting: signing in if need be, and the requests that follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{ActionResult, DeviceClaim, Timestamp};
use rand::Rng as _;
use wire::AssuranceClaim;
use wire::event::Label;

use super::agents::Gear;
use super::atlas::Ground;
use super::chance::{Dice, happens, luck};
use super::day::{Chair, Stay, Surprises, Today};
use super::draft::{Draft, Seat, Sitting, benign, later};
use super::line::Line;
use super::people::{device_id, session_id};

/// The session that a device has open.
#[derive(Clone, Debug)]
struct Open {
    id: String,
    born: i64,
    assurance: AssuranceClaim,
    asn: u32,
}

/// The open sessions of a day, by device.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(BTreeMap<Gear, Open>);

/// Sits down, if they are there at that hour, and works until the sitting or the stay is over.
pub(super) fn sit(
    today: &Today<'_>,
    stay: &Stay<'_>,
    chair: &Chair,
    surprises: &mut Surprises,
    sessions: &mut Sessions,
    dice: &mut Dice,
    drafts: &mut Vec<Draft>,
) {
    let start = today
        .organisation
        .atlas
        .local(stay.place, today.date, chair.hour);
    if start < stay.from || start >= stay.until {
        return;
    }
    let first = !sessions.0.contains_key(&chair.gear);
    let Some(mut seat) = today.seat(stay, chair, first, surprises, dice) else {
        return;
    };
    let scenario = &today.organisation.scenario;
    let mut writer = Writer {
        today,
        until: stay.until,
        at: start,
        drafts,
    };
    let age = |open: &Open| (start - open.born) as f64 / 3_600_000.0;
    let open = sessions.0.get(&chair.gear);
    let open = open.filter(|open| age(open) < scenario.sessions.hours);
    match open.filter(|_| happens(scenario.sessions.kept, dice)) {
        Some(open) => {
            if open.asn != seat.asn && seat.sitting.label.is_none() {
                seat.sitting.label = Some(benign("handover"));
            }
            seat.sitting.session = Some(open.id.clone());
            seat.sitting.assurance = Some(open.assurance.clone());
        }
        None => {
            let open = writer.sign_in(&seat, chair, stay, surprises, dice);
            seat.sitting.session = Some(open.id.clone());
            seat.sitting.assurance = Some(open.assurance.clone());
            sessions.0.insert(chair.gear, open);
        }
    }
    let change = today.change(stay, chair, &seat, surprises, dice);
    let seat = Arc::new(seat);
    if surprises.report && chair.gear == Gear::Laptop {
        surprises.report = false;
        writer.report(&seat, dice);
    } else {
        writer.work(&seat, change, dice);
    }
}

/// What becomes of a seat within a sitting, and whether it is undone before its end.
struct Change {
    seat: Arc<Seat>,
    undone: bool,
}

struct Writer<'a, 'b> {
    today: &'a Today<'a>,
    until: i64,
    at: i64,
    drafts: &'b mut Vec<Draft>,
}

impl Writer<'_, '_> {
    fn put(
        &mut self,
        seat: &Arc<Seat>,
        action: &Arc<str>,
        resource: &Arc<super::Resource>,
        result: Option<ActionResult>,
    ) {
        if self.at < self.until {
            self.drafts.push(Draft {
                at: self.at,
                seat: seat.clone(),
                action: action.clone(),
                resource: resource.clone(),
                result,
            });
        }
    }

    /// Signs in, at the first attempt or a later one.
    fn sign_in(
        &mut self,
        seat: &Seat,
        chair: &Chair,
        stay: &Stay<'_>,
        surprises: &mut Surprises,
        dice: &mut Dice,
    ) -> Open {
        let Today {
            organisation,
            person,
            ..
        } = *self.today;
        let words = &organisation.words;
        let sessions = &organisation.scenario.sessions;
        let (failed, passed) = (Some(ActionResult::Failure), Some(ActionResult::Success));
        let mut slips = 0;
        while slips < 3 && happens(sessions.typo, dice) && !person.settled {
            slips += 1;
        }
        let mut label: Option<Label> = None;
        if surprises.typos && chair.ground == Ground::Office && stay.trip.is_none() {
            surprises.typos = false;
            slips = dice.gen_range(1..=4);
            label = Some(benign("monday-typos"));
        }
        let mfa = person.mfa || stay.trip.is_some();
        let missed = if mfa && !person.settled && happens(sessions.missed_prompt, dice) {
            label = label.or_else(|| Some(benign("missed-prompt")));
            dice.gen_range(1..=3)
        } else {
            0
        };
        let mut seat = seat.clone();
        seat.sitting.label = label.or(seat.sitting.label);
        let seat = Arc::new(seat);
        for _ in 0..slips {
            self.put(&seat, &words.login, &words.door, failed);
            self.at = later(self.at, dice.gen_range(4.0..15.0));
        }
        self.put(&seat, &words.login, &words.door, passed);
        for prompt in 0..=missed {
            self.at = later(self.at, dice.gen_range(3.0..12.0));
            if mfa {
                let result = if prompt < missed { failed } else { passed };
                self.put(&seat, &words.mfa, &words.door, result);
                self.at = later(self.at, if prompt < missed { 45.0 } else { 0.0 });
            }
        }
        let at = Timestamp::from_millis(self.at);
        Open {
            id: session_id(luck(person.key, chair.gear.of([81, 82, 83]), self.at)),
            born: self.at,
            assurance: AssuranceClaim {
                level: Some(if mfa { 3 } else { 1 }),
                auth_time: Some(at),
                ..AssuranceClaim::default()
            },
            asn: seat.asn,
        }
    }

    /// What one does all day.
    fn work(&mut self, seat: &Arc<Seat>, change: Option<Change>, dice: &mut Dice) {
        let Today {
            organisation,
            person,
            day,
            ..
        } = *self.today;
        let work = &organisation.scenario.work;
        let [few, many] = work.sittings;
        let mean = 2.0 * person.requests / f64::from(few + many);
        let count = (-mean * dice.gen_range(0.02_f64..1.0).ln()).clamp(1.0, 5.0 * mean);
        // A change comes in the middle; what is undone, is so before the last quarter.
        let (changed, undone) = (count * 0.4, count * 0.75);
        let mut number = 0.0;
        while number < count && self.at < self.until {
            let pause = -work.pause_seconds * dice.gen_range(0.001_f64..1.0).ln();
            self.at = later(self.at, pause.clamp(1.0, 900.0));
            let seat = match &change {
                Some(change) if number >= changed && !(change.undone && number >= undone) => {
                    &change.seat
                }
                _ => seat,
            };
            let resource = if happens(work.elsewhere, dice) && !person.settled {
                person.anything(dice)
            } else {
                person.usual(day, dice)
            };
            if let (Some(resource), Some(action)) = (resource, person.action(dice)) {
                self.put(seat, action, resource, None);
            }
            number += 1.0;
        }
    }

    /// Goes through everything there is: the end of a quarter.
    fn report(&mut self, seat: &Seat, dice: &mut Dice) {
        let Today {
            organisation,
            person,
            ..
        } = *self.today;
        let seat = seat.labelled(benign("quarter-end"));
        let [few, many] = organisation.scenario.twins.report_documents;
        let pace = dice.gen_range(3.0..25.0);
        for _ in 0..dice.gen_range(few..=many) {
            self.at = later(self.at, pace * dice.gen_range(0.2..2.0));
            let words = &organisation.words;
            let action = if happens(0.3, dice) {
                &words.download
            } else {
                &words.read
            };
            if let Some(resource) = person.anything(dice) {
                self.put(&seat, action, resource, None);
            }
        }
    }
}

impl Today<'_> {
    /// The seat that somebody takes, without a session yet.
    fn seat(
        &self,
        stay: &Stay<'_>,
        chair: &Chair,
        first: bool,
        surprises: &mut Surprises,
        dice: &mut Dice,
    ) -> Option<Seat> {
        let Today {
            organisation,
            person,
            day,
            ..
        } = *self;
        let mut line = self.line(stay, chair.ground, chair.gear, dice)?;
        let mut label = stay.trip.map(|_| benign("trip"));
        let elsewhere =
            surprises.geo_error && matches!(chair.ground, Ground::Mobile | Ground::Home);
        if elsewhere || (chair.roams && line.ground == Ground::Hotel) {
            surprises.geo_error &= !elsewhere;
            if let Some(carrier) = self.misplaced(stay, elsewhere, dice) {
                line = Line {
                    carrier,
                    ground: Ground::Mobile,
                    ip: carrier.exit(dice.gen_range(0..organisation.scenario.mobile.exits)),
                };
                label = Some(benign("geo-error"));
            }
        }
        let bought = stay
            .trip
            .filter(|trip| trip.new_device && chair.gear == Gear::Phone);
        let device = match bought {
            Some(trip) => {
                label = Some(benign("trip-new-device"));
                device_id(trip.key)
            }
            None => person.device(chair.gear, day),
        };
        let new = person.generation(chair.gear, day) != person.generation(chair.gear, day - 2);
        let moved = line.ground == Ground::Home && person.lease(day) != person.lease(day - 2);
        for (name, holds) in [
            ("long-leave", surprises.welcome_back),
            ("new-device", new),
            ("home-ip-change", moved),
            ("relay", line.ground == Ground::Relay),
        ] {
            if holds && label.is_none() {
                label = Some(benign(name));
            }
        }
        let platform = person.platform(chair.gear);
        let lapses = happens(organisation.scenario.devices.lapse, dice);
        // Of what nobody manages, nobody knows more than any browser tells.
        let managed = (chair.gear == Gear::Laptop || person.managed_phone) && bought.is_none();
        let claim = DeviceClaim {
            id: Some(device),
            managed: Some(managed),
            compliant: managed.then_some(!lapses),
            os: Some(platform.os.to_owned()),
            os_version: managed.then(|| platform.os_version.to_owned()),
            fingerprint: None,
            proven: None,
        };
        // A browser is updated in the middle of the day's first sitting; see `change`.
        let agent = person.agent(chair.gear, if first { day - 1 } else { day });
        Some(Seat {
            sitting: Sitting {
                subject: person.party()?,
                ip: line.ip,
                agent,
                device: Some(claim).filter(|_| !person.is_silent(chair.gear, day)),
                session: None,
                assurance: None,
                label,
            },
            place: stay.place,
            ground: line.ground,
            asn: line.carrier.asn,
        })
    }

    /// What changes in the middle of a sitting: rarely anything.
    fn change(
        &self,
        stay: &Stay<'_>,
        chair: &Chair,
        seat: &Seat,
        surprises: &mut Surprises,
        dice: &mut Dice,
    ) -> Option<Change> {
        let Today { person, day, .. } = *self;
        let moved = |line: Line<'_>, label: &str, undone| {
            let mut moved = seat.clone();
            moved.sitting.ip = line.ip;
            moved.ground = line.ground;
            moved.asn = line.carrier.asn;
            moved.sitting.label = Some(benign(label));
            Some(Change {
                seat: Arc::new(moved),
                undone,
            })
        };
        if chair.hides && seat.ground == Ground::Home {
            return moved(self.own_vpn()?, "vpn", true);
        }
        let in_town = stay.trip.is_none();
        let on_wifi = matches!(seat.ground, Ground::Home | Ground::Office);
        if surprises.handover && in_town && on_wifi {
            surprises.handover = false;
            return moved(
                self.line(stay, Ground::Mobile, chair.gear, dice)?,
                "handover",
                false,
            );
        }
        let at_home = in_town && seat.ground == Ground::Home;
        let flipped = || self.flipped(seat.sitting.ip);
        if let Some(line) = (surprises.ip_flip && at_home).then(flipped).flatten() {
            surprises.ip_flip = false;
            return moved(line, "ip-flip", false);
        }
        let now = person.agent(chair.gear, day);
        if now != seat.sitting.agent {
            let mut updated = seat.clone();
            updated.sitting.agent = now;
            return Some(Change {
                seat: updated.labelled(benign("browser-update")),
                undone: false,
            });
        }
        None
    }
}
