//! A stolen session cookie. Its thief need not sign in.

use rand::Rng as _;
use rand::seq::SliceRandom as _;

use super::super::atlas::{Carrier, Ground};
use super::super::chance::{Dice, happens};
use super::super::draft::{Draft, Seat, later};
use super::stranger::Browser;
use super::{Attack, Scene};

/// From another network, with another program on another device.
pub(super) fn elsewhere(scene: &Scene<'_>, dice: &mut Dice) -> Option<Vec<Draft>> {
    let stolen = scene.session(dice)?;
    let near = happens(scene.organisation.scenario.attacks.near_by, dice);
    let carrier = near.then(|| scene.same_country(stolen, dice)).flatten();
    let carrier = carrier.or_else(|| scene.cloud(stolen, dice))?;
    let mut seat = thief(Attack::StolenSession, stolen, carrier, dice);
    let browser = scene.browser(dice)?;
    // Half of the thieves' programs have a device id of their own; scripts have none.
    let number = dice.r#gen();
    seat.sitting.device = happens(0.5, dice).then(|| browser.device(number));
    seat.sitting.agent = browser.agent;
    let at = later(stolen.at, dice.gen_range(60.0..1800.0));
    Some(scene.inside(seat, at, 2.0..40.0, dice))
}

/// From the same country, with the program that the victim uses.
pub(super) fn alike(scene: &Scene<'_>, dice: &mut Dice) -> Option<Vec<Draft>> {
    let stolen = scene.session(dice)?;
    let carrier = scene.same_country(stolen, dice)?;
    let mut seat = thief(Attack::StolenSessionAlike, stolen, carrier, dice);
    if !happens(scene.organisation.scenario.attacks.same_device_id, dice) {
        let number = dice.r#gen();
        let own = happens(0.5, dice).then(|| Browser::of(stolen).device(number));
        seat.sitting.device = own;
    }
    let at = later(stolen.at, dice.gen_range(60.0..1800.0));
    Some(scene.inside(seat, at, 2.0..40.0, dice))
}

fn thief(attack: Attack, stolen: &Draft, carrier: &Carrier, dice: &mut Dice) -> Seat {
    let number: u64 = dice.r#gen();
    let mut seat = Seat::clone(&stolen.seat);
    seat.sitting.ip = carrier.address(dice.r#gen(), number, number);
    seat.sitting.label = Some(attack.label());
    seat.asn = carrier.asn;
    seat.place = carrier.place;
    seat
}

impl<'a> Scene<'a> {
    /// An event in a session.
    fn session(&self, dice: &mut Dice) -> Option<&'a Draft> {
        let living = |draft: &&Draft| draft.seat.sitting.session.is_some();
        let living: Vec<&Draft> = self.ordinary.iter().filter(living).collect();
        living.choose(dice).copied()
    }

    /// Another home network of the victim's country.
    fn same_country(&self, stolen: &Draft, dice: &mut Dice) -> Option<&'a Carrier> {
        let atlas = &self.organisation.atlas;
        let country = atlas.country(stolen.seat.place);
        atlas.pick(Ground::Home, dice.r#gen(), |carrier| {
            carrier.asn != stolen.seat.asn && atlas.country(carrier.place) == country
        })
    }

    /// A cloud, wherever.
    fn cloud(&self, stolen: &Draft, dice: &mut Dice) -> Option<&'a Carrier> {
        let atlas = &self.organisation.atlas;
        atlas.pick(Ground::Hosting, dice.r#gen(), |carrier| {
            carrier.asn != stolen.seat.asn
        })
    }
}
