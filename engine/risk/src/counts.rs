//! Counting that forgets: what profiles, crowds and tallies are made of.

use domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::key::Key;

/// Days after which what was usual counts half.
const HALF_LIFE_DAYS: f64 = 30.0;
/// Weight of the latest window in what is usual, once there is history.
const LEARNING_RATE: f32 = 0.02;
/// Factor by which a usual height may rise within a day: who wants to make a theft usual has to
/// take weeks over it.
const RISE_PER_DAY: f32 = 1.1;
/// Windows that a usual height rests on before its rise is held back.
const WINDOWS_FREE: u16 = 20;
const DAY_SECONDS: u32 = 86_400;

/// A count that fades with a mean life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fading {
    value: f32,
    at: u32,
}

impl Fading {
    pub(crate) fn at(self, now: Timestamp, mean_life: f64) -> f64 {
        let gap = (now.seconds() - i64::from(self.at)).max(0);
        f64::from(self.value) * (-(gap as f64) / mean_life).exp()
    }

    pub(crate) fn add(&mut self, now: Timestamp, mean_life: f64) {
        self.add_some(1.0, now, mean_life);
    }

    /// Adds what happened at a moment, which may lie before the last: then it has faded since.
    pub(crate) fn add_some(&mut self, amount: f64, now: Timestamp, mean_life: f64) {
        let late = (i64::from(self.at) - now.seconds()).max(0);
        let faded = amount * (-(late as f64) / mean_life).exp();
        self.value = narrow(self.at(now, mean_life) + faded);
        self.at = self.at.max(seconds(now));
    }

    /// Raises it to an amount, if it is lower.
    pub(crate) fn raise(&mut self, amount: f64, now: Timestamp, mean_life: f64) {
        if self.at(now, mean_life) < amount {
            self.value = narrow(amount);
            self.at = self.at.max(seconds(now));
        }
    }

    /// Adds one, or as much of it as the time since it last grew is of `gain_seconds`; says how
    /// much that was.
    pub(crate) fn gain(&mut self, now: Timestamp, gain_seconds: f64, mean_life: f64) -> f64 {
        let since = (now.seconds() - i64::from(self.at)).max(0) as f64;
        let gain = (since / gain_seconds).min(1.0);
        // Too little to be worth a write: it is made good with the next.
        if gain < 0.01 {
            return 0.0;
        }
        self.add_some(gain, now, mean_life);
        gain
    }
}

/// What is believed of a value: how likely it is for anybody, and for this subject.
///
/// The chain of Freeman et al. (NDSS 2016): an address backs off to its network, that to its
/// country, so that a new address in a usual network is less of a surprise than a new network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Belief {
    anybody: f64,
    subject: f64,
}

impl Belief {
    /// Before anything is looked at.
    pub(crate) const CERTAIN: Self = Self {
        anybody: 1.0,
        subject: 1.0,
    };

    /// Log-ratio of the two, nats: below 0 usual for the subject, above 0 unusual.
    pub(crate) fn surprise(self) -> f64 {
        (self.anybody / self.subject).ln()
    }

    /// How rare the value is for anybody, nats, 0 or more.
    pub(crate) fn rarity(self) -> f64 {
        -self.anybody.ln()
    }
}

/// How often each of a few values occurred, fading, the rarest dropped first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usual {
    total: Fading,
    /// In the order of the keys.
    values: Vec<(Key, Fading)>,
}

/// How much a table may hold and how fast it may learn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// Values kept.
    pub(crate) most: usize,
    /// Seconds that one count of a value stands for: more within that time adds only its share
    /// of it. A burst cannot make itself usual, and a value that is seen all day long gains no
    /// more than a day's worth.
    pub(crate) gain_seconds: f64,
}

impl Usual {
    pub(crate) const LIFE: f64 = HALF_LIFE_DAYS * 86_400.0 / std::f64::consts::LN_2;

    pub(crate) fn add(&mut self, key: Key, now: Timestamp, bound: Bound) {
        match self.position(key) {
            Ok(position) => {
                if let Some((_, weight)) = self.values.get_mut(position) {
                    let gained = weight.gain(now, bound.gain_seconds, Self::LIFE);
                    if gained > 0.0 {
                        self.total.add_some(gained, now, Self::LIFE);
                    }
                }
            }
            Err(position) => {
                let mut weight = Fading::default();
                weight.add_some(1.0, now, Self::LIFE);
                self.total.add_some(1.0, now, Self::LIFE);
                self.values.insert(position, (key, weight));
                if self.values.len() > bound.most {
                    self.drop_rarest(key, now);
                }
            }
        }
    }

    /// Makes room, but not of what has just come.
    fn drop_rarest(&mut self, newest: Key, now: Timestamp) {
        let rarest = self
            .values
            .iter()
            .enumerate()
            .filter(|(_, (key, _))| *key != newest)
            .map(|(position, (_, weight))| (position, weight.at(now, Self::LIFE)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(position, _)| position);
        if let Some(position) = rarest {
            self.values.remove(position);
        }
    }

    fn position(&self, key: Key) -> Result<usize, usize> {
        self.values.binary_search_by_key(&key, |(known, _)| *known)
    }

    pub(crate) fn knows(&self, key: Key) -> bool {
        self.position(key).is_ok()
    }

    fn weight(&self, key: Key, now: Timestamp) -> f64 {
        self.position(key)
            .ok()
            .and_then(|position| self.values.get(position))
            .map_or(0.0, |(_, weight)| weight.at(now, Self::LIFE))
    }

    /// The share of a value, smoothed by one count of what is expected of it.
    pub(crate) fn share(&self, key: Key, expected: f64, now: Timestamp) -> f64 {
        let total = self.total.at(now, Self::LIFE);
        (self.weight(key, now) + expected) / (total + 1.0)
    }

    /// One step down the chain: what is believed of a value, given what is believed of the one
    /// it lies in. `prior` is its share of that for anybody, where nothing better is known.
    pub(crate) fn descend(
        &self,
        key: Key,
        above: Belief,
        prior: f64,
        anybody: Option<&Self>,
        now: Timestamp,
    ) -> Belief {
        let expected = above.anybody * prior;
        let anybody = anybody.map_or(expected, |table| table.share(key, expected, now));
        Belief {
            anybody,
            subject: self.share(key, above.subject * anybody / above.anybody, now),
        }
    }

    /// From the order that an older form kept its values in.
    pub(crate) fn sorted(mut self) -> Self {
        self.values.sort_by_key(|(key, _)| *key);
        self
    }
}

/// How high a count usually gets: the mean of its peaks over windows of time in which something
/// trusted happened. However much happens within a window, it moves what is usual once, so that
/// a burst cannot make itself usual while it lasts; and it rises by a tenth a day at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peaks {
    mean: f32,
    windows: u16,
    peak: f32,
    began: u32,
    /// The mean when the day began, and the day.
    base: f32,
    day: u16,
}

impl Peaks {
    /// From an older form, which did not hold the rise back.
    pub(crate) const fn of(mean: f32, windows: u16, peak: f32, began: u32) -> Self {
        Self {
            mean,
            windows,
            peak,
            began,
            base: mean,
            day: 0,
        }
    }

    /// Takes a count in, after a trusted event.
    pub(crate) fn add(&mut self, count: f64, now: Timestamp, window_seconds: f64) {
        let open = f64::from(seconds(now).saturating_sub(self.began)) < window_seconds;
        if self.began > 0 && open {
            self.peak = self.peak.max(narrow(count));
            return;
        }
        if self.began > 0 {
            self.windows = self.windows.saturating_add(1);
            let rate = (1.0 / f32::from(self.windows)).max(LEARNING_RATE);
            self.mean += (self.peak - self.mean) * rate;
            self.hold_back(now);
        }
        self.began = seconds(now);
        self.peak = narrow(count);
    }

    fn hold_back(&mut self, now: Timestamp) {
        let day = u16::try_from(seconds(now) / DAY_SECONDS).unwrap_or(u16::MAX);
        let is_new = self.windows <= WINDOWS_FREE;
        if is_new || self.base <= 0.0 || self.day == 0 {
            self.base = self.mean;
            self.day = day;
            return;
        }
        let ceiling = self.base.max(1.0) * RISE_PER_DAY;
        self.mean = self.mean.min(ceiling);
        if self.day != day {
            self.base = self.mean;
            self.day = day;
        }
    }

    /// The mean peak, once there is one.
    pub(crate) const fn usual(self) -> Option<f32> {
        if self.windows > 0 {
            Some(self.mean)
        } else {
            None
        }
    }
}

pub(crate) fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.seconds()).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "statistics need no more than 24 bits"
)]
pub(crate) const fn narrow(value: f64) -> f32 {
    value as f32
}
