//! How many different things were touched, without remembering them.

use domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::counts::seconds;
use crate::key::Key;

/// A count of different keys over a sliding window: two bitmaps, of this window and of the one
/// before it (linear counting, Whang, Vander-Zanden and Taylor 1990). `WORDS` words of 64 bits
/// count some `400 · WORDS` keys before they saturate; few keys are counted almost exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Distinct<const WORDS: usize> {
    now: [u64; WORDS],
    before: [u64; WORDS],
    /// Number of the window that `now` is of.
    window: u32,
}

impl<const WORDS: usize> Default for Distinct<WORDS> {
    fn default() -> Self {
        Self {
            now: [0; WORDS],
            before: [0; WORDS],
            window: 0,
        }
    }
}

impl<const WORDS: usize> Distinct<WORDS> {
    /// Takes a key in. One that comes late counts for its own window, if that is still held.
    pub(crate) fn add(&mut self, key: Key, at: Timestamp, window_seconds: u32) {
        let window = seconds(at) / window_seconds.max(1);
        if window > self.window {
            *self = self.moved_to(window);
        }
        let bits = match self.window - window {
            0 => &mut self.now,
            1 => &mut self.before,
            _ => return,
        };
        set(bits, key);
    }

    /// About how many different keys were seen within the last window's length, this one among
    /// them.
    pub(crate) fn with(&self, key: Key, now: Timestamp, window_seconds: u32) -> f64 {
        let length = window_seconds.max(1);
        let mut here = self.moved_to((seconds(now) / length).max(self.window));
        set(&mut here.now, key);
        here.estimate(now, length)
    }

    /// About how many different keys were seen within the last window's length.
    pub(crate) fn count(&self, now: Timestamp, window_seconds: u32) -> f64 {
        let length = window_seconds.max(1);
        self.moved_to((seconds(now) / length).max(self.window))
            .estimate(now, length)
    }

    /// What the window before adds counts as far as the last window's length still reaches it.
    fn estimate(&self, now: Timestamp, length: u32) -> f64 {
        let gone = f64::from(seconds(now) % length) / f64::from(length);
        let mut both = self.now;
        for (word, before) in both.iter_mut().zip(&self.before) {
            *word |= before;
        }
        let current = linear(&self.now);
        current + (linear(&both) - current) * (1.0 - gone)
    }

    fn moved_to(&self, window: u32) -> Self {
        let before = match window.saturating_sub(self.window) {
            0 => return *self,
            1 => self.now,
            _ => [0; WORDS],
        };
        Self {
            now: [0; WORDS],
            before,
            window,
        }
    }
}

fn set<const WORDS: usize>(bits: &mut [u64; WORDS], key: Key) {
    let hash = key.spread();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a remainder of a small number"
    )]
    let position = (hash % (WORDS as u64 * 64)) as usize;
    if let Some(word) = bits.get_mut(position / 64) {
        *word |= 1 << (position % 64);
    }
}

fn linear<const WORDS: usize>(bits: &[u64; WORDS]) -> f64 {
    let size = WORDS as f64 * 64.0;
    let empty: u32 = bits.iter().map(|word| word.count_zeros()).sum();
    // A full map says "more than can be told": the highest that can.
    size * (size / f64::from(empty).max(0.5)).ln()
}

/// Serde has no arrays of a length that is a parameter.
impl<const WORDS: usize> Serialize for Distinct<WORDS> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.window, &self.now[..], &self.before[..]).serialize(to)
    }
}

impl<'de, const WORDS: usize> Deserialize<'de> for Distinct<WORDS> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let (window, now, before) = <(u32, Vec<u64>, Vec<u64>)>::deserialize(from)?;
        let whole = |words: Vec<u64>| {
            <[u64; WORDS]>::try_from(words).map_err(|_| D::Error::custom("another size of sketch"))
        };
        Ok(Self {
            now: whole(now)?,
            before: whole(before)?,
            window,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_counted_well_and_many_in_proportion() {
        for (many, tolerance) in [(1, 0.2), (20, 2.0), (100, 12.0), (600, 90.0)] {
            let mut sketch = Distinct::<4>::default();
            let at = Timestamp::from_seconds(3600 * 1000);
            for key in 0..many {
                sketch.add(Key::of(&format!("document {key}")), at, 3600);
                sketch.add(Key::of(&format!("document {key}")), at, 3600);
            }
            let told = sketch.count(at, 3600);
            assert!(
                (told - f64::from(many)).abs() <= tolerance,
                "{many}: {told}"
            );
        }
    }

    #[test]
    fn what_is_past_fades_and_what_is_late_finds_its_window() {
        let mut sketch = Distinct::<4>::default();
        let start = 3600 * 1000;
        let at = |seconds: i64| Timestamp::from_seconds(start + seconds);
        for key in 0..10 {
            sketch.add(Key::number(key), at(10), 3600);
        }
        assert!((sketch.count(at(3600), 3600) - 10.0).abs() < 1.0);
        assert!((sketch.count(at(5400), 3600) - 5.0).abs() < 0.6);
        assert!(sketch.count(at(7200), 3600).abs() < 0.1);
        sketch.add(Key::number(99), at(3700), 3600);
        let before = sketch;
        sketch.add(Key::number(99), at(20), 3600);
        sketch.add(Key::number(7), at(20), 3600);
        assert_eq!(
            sketch.with(Key::number(99), at(3700), 3600).to_bits(),
            before.with(Key::number(99), at(3700), 3600).to_bits(),
            "late and seen already"
        );
        sketch.add(Key::number(7), at(-9000), 3600);
        assert!((sketch.count(at(3700), 3600) - 11.0).abs() < 1.6);
    }
}
