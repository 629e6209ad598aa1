//! Passwords tried on everybody, once each, from a cloud; on accounts that do not exist as well.

use std::sync::Arc;

use domain::{ActionResult, Party};
use jiff::civil::Date;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;

use super::super::Organisation;
use super::super::agents::TOOLS;
use super::super::atlas::{Carrier, Ground};
use super::super::calendar::number_of;
use super::super::chance::{Dice, between, falls, happens, luck};
use super::super::draft::{Draft, Seat, Sitting, later};
use super::super::people::{Person, party};
use super::{Attack, Scene, at_the_door, occasions};

const SPRAY: u64 = 71;

const FIRST_NAMES: [&str; 16] = [
    "adam", "anna", "ben", "chloe", "david", "emma", "felix", "julia", "lena", "lucas", "marie",
    "nina", "oliver", "paul", "sara", "tom",
];
const LAST_NAMES: [&str; 16] = [
    "bauer", "bernard", "brown", "clarke", "davies", "dubois", "evans", "fischer", "garcia",
    "hall", "jones", "klein", "lefevre", "martin", "smith", "weber",
];

/// One spray. It knows nothing of who works here, so that nobody's coming changes what happens
/// to the others.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Campaign<'a> {
    carrier: &'a Carrier,
    begins: i64,
    seconds: f64,
    addresses: u64,
    date: Date,
}

/// The spray of a day, if there is one.
pub(in super::super) fn of_day(organisation: &Organisation, date: Date) -> Option<Campaign<'_>> {
    let attacks = &organisation.scenario.attacks;
    let random = luck(
        organisation.scenario.organisation.seed,
        SPRAY,
        number_of(date),
    );
    let wanted = organisation.scenario.rate(Attack::Spray) > 0.0;
    if !wanted || !falls(random, 1.0 / attacks.spray_every_days) {
        return None;
    }
    let mut dice = Dice::seed_from_u64(random);
    let [few, many] = attacks.spray_addresses;
    Some(Campaign {
        carrier: organisation
            .atlas
            .carriers(Ground::Hosting)
            .choose(&mut dice)?,
        begins: later(
            number_of(date) * 86_400_000,
            3600.0 * dice.gen_range(0.0..24.0),
        ),
        seconds: 3600.0 * between(attacks.spray_hours, &mut dice),
        addresses: dice.gen_range(few..=many),
        date,
    })
}

impl Campaign<'_> {
    /// Tries one person's account, and perhaps one that nobody has.
    pub(in super::super) fn try_account(
        &self,
        organisation: &Organisation,
        person: &Person,
        dice: &mut Dice,
        drafts: &mut Vec<Draft>,
    ) {
        let scenario = &organisation.scenario;
        let attacks = &scenario.attacks;
        let login = &organisation.words.login;
        let mut failed = |subject: Option<Party>, dice: &mut Dice| {
            let seat = subject.and_then(|subject| self.seat(subject, Attack::Spray, dice));
            if let Some(seat) = seat.map(Arc::new) {
                let at = self.moment(dice);
                drafts.push(at_the_door(
                    organisation,
                    &seat,
                    at,
                    login,
                    ActionResult::Failure,
                ));
            }
        };
        let day = number_of(self.date);
        if person.joined.is_some_and(|joined| day < joined) {
            return;
        }
        let known = 1.0 - attacks.unknown_users;
        if happens(attacks.spray_reach * attacks.unknown_users / known, dice) {
            failed(nobody(dice), dice);
        }
        if !happens(attacks.spray_reach, dice) {
            return;
        }
        // So that as many come in as the scenario wants in the long run.
        let every = attacks.spray_every_days / attacks.spray_reach;
        let rate = scenario.rate(Attack::Stuffing) / occasions(scenario, Attack::Stuffing);
        let fits = happens(rate * every, dice);
        // A password alone opens nothing to those who sign in with more.
        if !fits || person.mfa || !person.is_here(day) {
            return failed(person.party(), dice);
        }
        let scene = Scene {
            organisation,
            person,
            date: self.date,
            ordinary: &[],
        };
        drafts.extend(self.success(&scene, dice).unwrap_or_default());
    }

    /// A password fits: somebody comes in at once, and looks around now or within the hour.
    fn success(&self, scene: &Scene<'_>, dice: &mut Dice) -> Option<Vec<Draft>> {
        let login = &scene.organisation.words.login;
        let at = self.moment(dice);
        let seat = self.seat(scene.person.party()?, Attack::Stuffing, dice)?;
        let before = Arc::new(seat.clone());
        let passed = ActionResult::Success;
        let mut drafts = vec![at_the_door(scene.organisation, &before, at, login, passed)];
        let inside = scene.signed_in(seat, at, 1);
        let at = later(at, dice.gen_range(1.0..3000.0));
        drafts.extend(scene.inside(inside, at, 2.0..50.0, dice));
        Some(drafts)
    }

    fn moment(&self, dice: &mut Dice) -> i64 {
        later(self.begins, self.seconds * dice.r#gen::<f64>())
    }

    fn seat(&self, subject: Party, attack: Attack, dice: &mut Dice) -> Option<Seat> {
        Some(Seat {
            sitting: Sitting {
                subject,
                ip: self.carrier.exit(dice.gen_range(0..self.addresses)),
                agent: (*TOOLS.choose(dice)?).to_owned(),
                device: None,
                session: None,
                assurance: None,
                label: Some(attack.label()),
            },
            place: self.carrier.place,
            ground: Ground::Hosting,
            asn: self.carrier.asn,
        })
    }
}

/// A name that somebody guessed.
fn nobody(dice: &mut Dice) -> Option<Party> {
    let (first, last) = (FIRST_NAMES.choose(dice)?, LAST_NAMES.choose(dice)?);
    party("User", &format!("{first}.{last}{}", dice.gen_range(1..100)))
}
