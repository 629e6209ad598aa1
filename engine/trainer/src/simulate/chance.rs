//! Chance that follows from numbers, so that the same numbers have the same luck.

use rand::Rng as _;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::scenario::Between;

/// The randomness of one subject on one day.
pub(crate) type Dice = Xoshiro256PlusPlus;

/// A good mix of all bits (the finaliser of SplitMix64).
pub(crate) const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What follows from a key for a purpose and a number, for example a day.
pub(super) const fn luck(key: u64, purpose: u64, number: i64) -> u64 {
    mix(key ^ mix(purpose ^ mix(number.cast_unsigned())))
}

/// A position in a list of this length.
pub(crate) fn index(random: u64, length: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "the remainder of a usize")]
    let position = (random % length.max(1) as u64) as usize;
    position
}

/// From 0 to below 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
pub(super) fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// Whether something of this share comes to pass.
pub(super) fn falls(random: u64, share: f64) -> bool {
    unit(random) < share
}

/// Between the two.
pub(super) fn between([low, high]: Between, dice: &mut Dice) -> f64 {
    low + (high - low) * dice.r#gen::<f64>()
}

/// Whether something of this chance comes to pass; a chance beyond 1 is 1.
pub(super) fn happens(chance: f64, dice: &mut Dice) -> bool {
    dice.r#gen::<f64>() < chance
}

/// The position that a number from 0 to 1 falls on, among weights.
pub(super) fn weighted(unit: f64, weights: impl Iterator<Item = f64> + Clone) -> usize {
    let mut left = unit * weights.clone().sum::<f64>();
    let mut last = 0;
    for (position, weight) in weights.enumerate() {
        if weight > 0.0 {
            if left < weight {
                return position;
            }
            last = position;
        }
        left -= weight;
    }
    last
}
