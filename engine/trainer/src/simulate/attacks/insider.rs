//! The account's own owner.

use rand::Rng as _;
use rand::seq::SliceRandom as _;

use super::super::chance::{Dice, between, happens};
use super::super::draft::{Draft, later};
use super::{Attack, Scene};

/// Takes along whatever there is, one document after the other, each once.
pub(super) fn takes_everything(scene: &Scene<'_>, dice: &mut Dice) -> Option<Vec<Draft>> {
    let attacks = &scene.organisation.scenario.attacks;
    let home = scene.organisation.atlas.find(&scene.person.place)?;
    let at_work = |draft: &&Draft| draft.seat.sitting.session.is_some() && draft.seat.place == home;
    let at_work: Vec<&Draft> = scene.ordinary.iter().filter(at_work).collect();
    let seen = *at_work.choose(dice)?;
    let seat = seen.seat.labelled(Attack::BulkDownload.label());
    let [few, many] = attacks.bulk_documents;
    let count = dice.gen_range(few..=many);
    let pace = between(attacks.bulk_pause_seconds, dice);
    let mut at = later(seen.at, dice.gen_range(1.0..120.0));
    let everything = scene.person.library.choose_multiple(dice, count);
    let everything: Vec<_> = everything.cloned().collect();
    let words = &scene.organisation.words;
    // Some copy what they see, others press the button.
    let downloads = dice.gen_range(0.3..1.0);
    let taken = everything.into_iter().map(|resource| {
        at = later(at, pace * dice.gen_range(0.3..1.7));
        let action = if happens(downloads, dice) {
            &words.download
        } else {
            &words.read
        };
        Draft {
            at,
            seat: seat.clone(),
            action: action.clone(),
            resource,
            result: None,
        }
    });
    Some(taken.collect())
}
