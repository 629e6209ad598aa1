//! The features of the last accesses, and how far they lie from what the champion was made from.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use domain::Timestamp;
use risk::Features;
use risk::distribution::{Distribution, Drift, Stability, Tally};
use risk::features::FEATURES;

/// Accesses that are held at most: 4 bytes for each feature of each.
const HELD_MAX: usize = 5000;

/// How far back they are to reach, seconds. Where there is more traffic than [`HELD_MAX`] in
/// this time, every second, fourth, eighth… access is held.
const REACH_SECONDS: i64 = 24 * 3600;

/// A feature that has drifted is told of again only after it was below this.
const CALM_BELOW: f64 = 0.2;

/// The last accesses. Bounded in memory, whatever the traffic.
#[derive(Debug)]
pub struct Recent {
    seen: AtomicU64,
    /// Of how many accesses one is held: a power of two.
    stride: AtomicU64,
    rows: Mutex<VecDeque<(Timestamp, [f32; FEATURES])>>,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            seen: AtomicU64::new(0),
            stride: AtomicU64::new(1),
            rows: Mutex::default(),
        }
    }
}

impl Recent {
    /// Notes an access.
    pub fn note(&self, features: &Features, now: Timestamp) {
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        let stride = self.stride.load(Ordering::Relaxed);
        if !number.is_multiple_of(stride) {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "they have no more digits")]
        let row = features.values().map(|value| value as f32);
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= HELD_MAX {
            let reach = rows
                .front()
                .map_or(0, |(oldest, _)| now.whole_seconds_since(*oldest));
            if reach < REACH_SECONDS {
                let mut position = 0_usize;
                rows.retain(|_| {
                    position += 1;
                    position.is_multiple_of(2)
                });
                self.stride.store(stride * 2, Ordering::Relaxed);
            } else {
                rows.pop_front();
                if reach > 4 * REACH_SECONDS && stride > 1 {
                    self.stride.store(stride / 2, Ordering::Relaxed);
                }
            }
        }
        rows.push_back((now, row));
    }

    /// How many accesses there were.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// How far each feature of the accesses held lies from its training. None when there are too
    /// few of them to say.
    #[must_use]
    pub fn drift(&self, training: &Distribution) -> Option<Vec<Drift>> {
        // Copied, so that nobody waits for the counting.
        let rows = self
            .rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut tally = Tally::new(training);
        for (_, row) in &rows {
            tally.add(row.iter().map(|value| f64::from(*value)));
        }
        tally.drift()
    }
}

/// Which features have been told of.
#[derive(Debug, Default)]
pub struct Alarm {
    told: BTreeMap<&'static str, bool>,
}

impl Alarm {
    /// The features that have drifted and were not told of since they last had not.
    pub fn news<'a>(&mut self, drift: &'a [Drift]) -> Vec<&'a Drift> {
        drift
            .iter()
            .filter(|drift| {
                let told = self.told.entry(drift.feature).or_default();
                let news = drift.verdict == Stability::Drifted && !*told;
                if news {
                    *told = true;
                } else if drift.psi < CALM_BELOW {
                    *told = false;
                }
                news
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use risk::distribution::Bins;
    use risk::features::CATALOGUE;

    use super::*;

    fn even() -> Distribution {
        let features = CATALOGUE
            .iter()
            .map(|description| Bins::of(description.name, (0..100).map(f64::from).collect(), 0));
        Distribution {
            events: 100,
            features: features.collect(),
        }
    }

    fn note(recent: &Recent, value: u32, at: i64) {
        let features = Features::new([f64::from(value); FEATURES]);
        recent.note(&features, Timestamp::from_seconds(at));
    }

    #[test]
    fn memory_is_bounded_and_reaches_back_a_day_under_any_traffic() {
        let recent = Recent::default();
        // A hundred a second for three hours, then one a minute for six days.
        for number in 0..1_080_000_u32 {
            note(&recent, number % 100, i64::from(number / 100));
        }
        for minute in 0..8640 {
            note(&recent, minute % 100, 10_800 + i64::from(minute) * 60);
        }
        let rows = recent.rows.lock().unwrap();
        assert!(rows.len() <= HELD_MAX, "{}", rows.len());
        let reach = rows.back().unwrap().0.whole_seconds_since(rows[0].0);
        assert!(reach >= REACH_SECONDS, "{reach}");
        drop(rows);
        let drift = recent.drift(&even()).unwrap();
        assert!(
            drift.iter().all(|it| it.verdict == Stability::Stable),
            "{drift:?}"
        );
        assert_eq!(recent.seen(), 1_088_640);
    }

    #[test]
    fn a_feature_that_drifts_is_told_of_once_until_it_is_calm_again() {
        let training = even();
        let mut alarm = Alarm::default();
        let mut told = Vec::new();
        for (shifted, rows) in [
            (true, 400),
            (true, 100),
            (false, 5000),
            (false, 100),
            (true, 5000),
        ] {
            // A fresh memory each time stands for one that has moved on.
            let recent = Recent::default();
            for row in 0..rows {
                note(
                    &recent,
                    if shifted { 95 } else { row * 7 % 100 },
                    i64::from(row),
                );
            }
            let news = recent
                .drift(&training)
                .map_or(0, |drift| alarm.news(&drift).len());
            told.push(news);
        }
        assert_eq!(told, [FEATURES, 0, 0, 0, FEATURES]);
    }
}
