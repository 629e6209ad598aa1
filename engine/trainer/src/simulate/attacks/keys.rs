//! A program's key in the wrong hands.

use std::sync::Arc;

use rand::Rng as _;
use rand::seq::SliceRandom as _;

use super::super::agents::KEY_TOOLS;
use super::super::atlas::{Carrier, Ground};
use super::super::chance::{Dice, happens, index};
use super::super::draft::{Draft, Seat, later};
use super::super::{Organisation, Service};
use super::Attack;

/// Sets an attack on a program's day, whose ordinary events are those from `begin` on.
pub(in super::super) fn on_service(
    organisation: &Organisation,
    service: &Service,
    begin: usize,
    dice: &mut Dice,
    drafts: &mut Vec<Draft>,
) {
    let scenario = &organisation.scenario;
    let rate = scenario.rate(Attack::ServiceKey) * scenario.attacks.on_programs;
    if happens(rate, dice) {
        let ordinary = drafts.get(begin..).unwrap_or_default();
        let stolen = misuse(organisation, service, ordinary, dice).unwrap_or_default();
        drafts.extend(stolen);
    }
}

/// Another network or another program, and documents and actions that it never asked for.
fn misuse(
    organisation: &Organisation,
    service: &Service,
    ordinary: &[Draft],
    dice: &mut Dice,
) -> Option<Vec<Draft>> {
    let attacks = &organisation.scenario.attacks;
    let seen = ordinary.choose(dice)?;
    let mut seat = Seat::clone(&seen.seat);
    if !happens(attacks.same_network, dice) {
        let atlas = &organisation.atlas;
        let elsewhere = |carrier: &Carrier| carrier.asn != seat.asn;
        let carrier = atlas.pick(Ground::Hosting, dice.r#gen(), elsewhere)?;
        seat.sitting.ip = carrier.exit(dice.r#gen());
        (seat.asn, seat.place) = (carrier.asn, carrier.place);
    }
    (*KEY_TOOLS.choose(dice)?).clone_into(&mut seat.sitting.agent);
    seat.sitting.label = Some(Attack::ServiceKey.label());
    let seat = Arc::new(seat);
    let words = &organisation.words;
    let mut at = later(seen.at, dice.gen_range(30.0..3000.0));
    let mut drafts = Vec::new();
    let [few, many] = attacks.requests;
    for _ in 0..dice.gen_range(few..=many) {
        at = later(at, dice.gen_range(0.5..8.0));
        let elsewhere = organisation.libraries.choose(dice)?;
        let resource = if happens(attacks.curious, dice) {
            elsewhere.get(index(dice.r#gen(), elsewhere.len()))
        } else {
            service.resources.choose(dice)
        };
        let action = match dice.gen_range(0..10) {
            0..2 => &words.list,
            2..8 => &words.read,
            8 => &words.write,
            _ => &words.delete,
        };
        drafts.extend(resource.map(|resource| Draft {
            at,
            seat: seat.clone(),
            action: action.clone(),
            resource: resource.clone(),
            result: None,
        }));
    }
    Some(drafts)
}
