//! Somebody else, with the right password.

use std::sync::Arc;

use domain::{ActionResult, DeviceClaim, Timestamp};
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use wire::AssuranceClaim;

use super::super::agents::{STRANGERS, system_of};
use super::super::atlas::{Carrier, Ground, PlaceId};
use super::super::calendar::number_of;
use super::super::chance::{Dice, happens, luck, mix};
use super::super::draft::{Draft, Seat, Sitting, later};
use super::super::people::{device_id, session_id};
use super::{Attack, Scene, at_the_door};

/// A purpose of luck.
const SESSION: u64 = 91;

/// A journey faster than this is none, kilometres per hour.
const IMPOSSIBLE_KMH: f64 = 1200.0;
const HOUR: f64 = 3600.0;

/// By night, from a country where the account's owner never was.
pub(super) fn from_afar(scene: &Scene<'_>, dice: &mut Dice) -> Option<Vec<Draft>> {
    let seen = scene.seen(dice)?;
    let carrier = scene.far(seen.seat.place, 0.5, dice)?;
    let at = later(seen.at, dice.gen_range(10.0..14.0) * HOUR);
    let seat = scene.stranger(Attack::Takeover, carrier, Some(seen), dice)?;
    Some(scene.break_in(seat, at, 3, dice))
}

/// Sooner than the owner could have come there.
pub(super) fn too_fast(scene: &Scene<'_>, dice: &mut Dice) -> Option<Vec<Draft>> {
    // Where the owner's traffic hides where they are, there is no journey to be seen.
    let plain = |draft: &&Draft| {
        let seat = &draft.seat;
        let hidden = [Ground::Vpn, Ground::CorporateVpn, Ground::Relay].contains(&seat.ground);
        let carrier_is_there = seat.ground != Ground::Mobile || seat.sitting.label.is_none();
        !hidden && carrier_is_there
    };
    let plain: Vec<&Draft> = scene.ordinary.iter().filter(plain).collect();
    let seen = *plain.choose(dice)?;
    let carrier = scene.far(seen.seat.place, 0.25, dice)?;
    let distance = scene
        .organisation
        .atlas
        .distance_km(seen.seat.place, carrier.place);
    let most = (distance / IMPOSSIBLE_KMH * HOUR).clamp(1000.0, 5400.0);
    let seat = scene.stranger(Attack::ImpossibleTravel, carrier, Some(seen), dice)?;
    let at = later(seen.at, dice.gen_range(600.0..most));
    // At the latest attempt it would still be too soon.
    Some(scene.break_in(seat, at, 2, dice))
}

/// From the victim's own city, through somebody's home.
pub(super) fn from_next_door(scene: &Scene<'_>, dice: &mut Dice) -> Option<Vec<Draft>> {
    let Scene {
        organisation,
        person,
        ..
    } = *scene;
    let seen = scene.seen(dice)?;
    let home = organisation.atlas.find(&person.place)?;
    let known = happens(organisation.scenario.attacks.flagged_proxy, dice)
        && organisation.atlas.has(Ground::FlaggedHome, home);
    let ground = if known {
        Ground::FlaggedHome
    } else {
        Ground::Home
    };
    let carriers = organisation.atlas.carriers_in(ground, home);
    let carrier = carriers.choose(dice)?;
    let at = later(seen.at, dice.gen_range(1.0..14.0) * HOUR);
    let mut seat = scene.stranger(Attack::TargetedStuffing, carrier, Some(seen), dice)?;
    // Who knows the city knows what its people use.
    if happens(0.5, dice) {
        let browser = Browser::of(seen);
        if let Some(device) = &mut seat.sitting.device {
            device.os.clone_from(&browser.os);
        }
        seat.sitting.agent = browser.agent;
    }
    Some(scene.break_in(seat, at, 2, dice))
}

/// By night, prompt after prompt, until somebody gives in who has such prompts.
pub(super) fn asks_again_and_again(scene: &Scene<'_>, dice: &mut Dice) -> Option<Vec<Draft>> {
    let Scene {
        organisation,
        person,
        date,
        ..
    } = *scene;
    if !person.mfa {
        return None;
    }
    let seen = scene.seen(dice)?;
    let home = organisation.atlas.find(&person.place)?;
    let carrier = scene.anywhere(dice)?;
    let mut at = organisation
        .atlas
        .local(home, date, 24.0 + dice.gen_range(0.5..5.0));
    let seat = scene.stranger(Attack::PushFatigue, carrier, Some(seen), dice)?;
    let before = Arc::new(seat.clone());
    let words = &organisation.words;
    let passed = ActionResult::Success;
    let mut drafts = vec![at_the_door(organisation, &before, at, &words.login, passed)];
    let [few, many] = organisation.scenario.attacks.prompts;
    for _ in 0..dice.gen_range(few..=many) {
        at = later(at, dice.gen_range(15.0..150.0));
        drafts.push(at_the_door(
            organisation,
            &before,
            at,
            &words.mfa,
            ActionResult::Failure,
        ));
    }
    at = later(at, dice.gen_range(15.0..150.0));
    drafts.push(at_the_door(organisation, &before, at, &words.mfa, passed));
    let inside = scene.signed_in(seat, at, 3);
    drafts.extend(scene.inside(inside, at, 3.0..60.0, dice));
    Some(drafts)
}

/// Into an account that nobody has used for long.
pub(super) fn wakes_an_account(scene: &Scene<'_>, dice: &mut Dice) -> Vec<Draft> {
    let Scene {
        organisation,
        person,
        date,
        ..
    } = *scene;
    let wake = |dice: &mut Dice| {
        let home = organisation.atlas.find(&person.place)?;
        let carrier = scene.anywhere(dice)?;
        let at = organisation
            .atlas
            .local(home, date, dice.gen_range(0.0..24.0));
        let seat = scene.stranger(Attack::DormantAccount, carrier, None, dice)?;
        Some(scene.break_in(seat, at, 3, dice))
    };
    wake(dice).unwrap_or_default()
}

/// A client program, and the system that it tells of.
pub(super) struct Browser {
    pub(super) agent: String,
    os: Option<String>,
}

impl Browser {
    /// The victim's.
    pub(super) fn of(seen: &Draft) -> Self {
        let agent = seen.seat.sitting.agent.clone();
        Self {
            os: system_of(&agent).map(str::to_owned),
            agent,
        }
    }

    /// The device of a stranger who has this program: as little is known of it as of a private
    /// phone.
    pub(super) fn device(&self, number: u64) -> DeviceClaim {
        DeviceClaim {
            id: Some(device_id(mix(number))),
            managed: Some(false),
            os: self.os.clone(),
            ..DeviceClaim::default()
        }
    }
}

impl<'a> Scene<'a> {
    /// A stranger's own program, of today or one or two versions old.
    pub(super) fn browser(&self, dice: &mut Dice) -> Option<Browser> {
        let platform = STRANGERS.choose(dice)?;
        let updated = number_of(self.date) - dice.gen_range(0..60);
        Some(Browser {
            agent: platform.agent_of(updated),
            os: Some(platform.os.to_owned()),
        })
    }

    /// Somebody's network far from where the victim is and lives: a cloud's with this chance,
    /// otherwise a home's.
    fn far(&self, from: PlaceId, hosted: f64, dice: &mut Dice) -> Option<&'a Carrier> {
        let ground = if happens(hosted, dice) {
            Ground::Hosting
        } else {
            Ground::Home
        };
        let atlas = &self.organisation.atlas;
        let home = atlas.find(&self.person.place)?;
        let least = self.organisation.scenario.attacks.far_km;
        atlas.pick(ground, dice.r#gen(), |carrier| {
            atlas.distance_km(from, carrier.place) >= least
                && atlas.distance_km(home, carrier.place) >= least
        })
    }

    /// Somebody's network, wherever.
    fn anywhere(&self, dice: &mut Dice) -> Option<&'a Carrier> {
        let ground = if happens(0.5, dice) {
            Ground::Hosting
        } else {
            Ground::Home
        };
        self.organisation.atlas.pick(ground, dice.r#gen(), |_| true)
    }

    /// A stranger's seat, with as much copied from the victim as the scenario says.
    fn stranger(
        &self,
        attack: Attack,
        carrier: &Carrier,
        seen: Option<&Draft>,
        dice: &mut Dice,
    ) -> Option<Seat> {
        let attacks = &self.organisation.scenario.attacks;
        let number: u64 = dice.r#gen();
        let mut browser = self.browser(dice)?;
        if let Some(seen) = seen.filter(|_| happens(attacks.same_program, dice)) {
            browser = Browser::of(seen);
        }
        let copied = seen.filter(|_| happens(attacks.same_device_id, dice));
        // What is known of a device hangs on its id: who has the one has the other.
        let copied = copied.and_then(|seen| seen.seat.sitting.device.clone());
        let device = copied.unwrap_or_else(|| browser.device(number));
        Some(Seat {
            sitting: Sitting {
                subject: self.person.party()?,
                ip: carrier.address(dice.r#gen(), number, number),
                agent: browser.agent,
                device: Some(device),
                session: None,
                assurance: None,
                label: Some(attack.label()),
            },
            place: carrier.place,
            ground: Ground::Home,
            asn: carrier.asn,
        })
    }

    /// The same after signing in.
    pub(super) fn signed_in(&self, seat: Seat, at: i64, level: i64) -> Seat {
        let at = Timestamp::from_millis(at);
        let mut inside = seat;
        let number = luck(self.person.key, SESSION, at.millis());
        inside.sitting.session = Some(session_id(number));
        inside.sitting.assurance = Some(AssuranceClaim {
            level: Some(level),
            auth_time: Some(at),
            ..AssuranceClaim::default()
        });
        inside
    }

    /// Some attempts, of which the last one succeeds, and what follows.
    fn break_in(&self, seat: Seat, start: i64, most: u32, dice: &mut Dice) -> Vec<Draft> {
        let login = &self.organisation.words.login;
        let before = Arc::new(seat.clone());
        let door = |at, result| at_the_door(self.organisation, &before, at, login, result);
        let mut at = start;
        let mut drafts = Vec::new();
        for _ in 0..dice.gen_range(0..=most) {
            drafts.push(door(at, ActionResult::Failure));
            at = later(at, dice.gen_range(2.0..20.0));
        }
        drafts.push(door(at, ActionResult::Success));
        let mut level = 1;
        if self.person.mfa {
            // The victim's code is asked for on a page that looks like the real one.
            level = 3;
            at = later(at, dice.gen_range(5.0..25.0));
            let mfa = &self.organisation.words.mfa;
            let passed = ActionResult::Success;
            drafts.push(at_the_door(self.organisation, &before, at, mfa, passed));
        }
        let inside = self.signed_in(seat, at, level);
        drafts.extend(self.inside(inside, at, 3.0..60.0, dice));
        drafts
    }
}
