//! A uniform sample of a stream, of bounded size.

use rand::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Keeps at most so many of what is pushed, each equally likely (algorithm R, Vitter 1985).
#[derive(Clone, Debug)]
pub(crate) struct Sample<T> {
    kept: Vec<T>,
    most: usize,
    seen: usize,
    dice: Xoshiro256PlusPlus,
}

impl<T> Sample<T> {
    /// An empty one. The same seed and pushes keep the same.
    #[must_use]
    pub(crate) fn new(most: usize, seed: u64) -> Self {
        Self {
            kept: Vec::new(),
            most,
            seen: 0,
            dice: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }

    /// Takes one in, maybe.
    pub(crate) fn push(&mut self, item: T) {
        self.seen += 1;
        if self.kept.len() < self.most {
            self.kept.push(item);
        } else {
            let place = self.dice.gen_range(0..self.seen);
            if let Some(slot) = self.kept.get_mut(place) {
                *slot = item;
            }
        }
    }

    /// What was kept.
    #[must_use]
    pub(crate) fn kept(&self) -> &[T] {
        &self.kept
    }

    /// How many were pushed.
    #[must_use]
    pub(crate) const fn seen(&self) -> usize {
        self.seen
    }
}
