//! Counting that forgets: what profiles are made of.

use domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::key::Key;

/// Days after which what was usual counts half.
const HALF_LIFE_DAYS: f64 = 30.0;
/// Weight of the latest window in what is usual, once there is history.
const LEARNING_RATE: f32 = 0.02;

/// A count that fades with a mean life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Fading {
    value: f32,
    at: u32,
}

impl Fading {
    pub(super) fn at(self, now: Timestamp, mean_life: f64) -> f64 {
        let gap = (now.seconds() - i64::from(self.at)).max(0);
        f64::from(self.value) * (-(gap as f64) / mean_life).exp()
    }

    pub(super) fn add(&mut self, now: Timestamp, mean_life: f64) {
        self.value = narrow(self.at(now, mean_life) + 1.0);
        self.at = self.at.max(seconds(now));
    }
}

/// How often each of a few values occurred, fading, the rarest dropped first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Usual {
    total: Fading,
    values: Vec<(Key, Fading)>,
}

impl Usual {
    pub(super) const LIFE: f64 = HALF_LIFE_DAYS * 86_400.0 / std::f64::consts::LN_2;

    pub(super) fn add(&mut self, key: Key, now: Timestamp, most: usize) {
        self.total.add(now, Self::LIFE);
        if let Some((_, weight)) = self.values.iter_mut().find(|(known, _)| *known == key) {
            weight.add(now, Self::LIFE);
            return;
        }
        if self.values.len() >= most {
            let rarest = self
                .values
                .iter()
                .enumerate()
                .map(|(position, (_, weight))| (position, weight.at(now, Self::LIFE)))
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .map(|(position, _)| position);
            if let Some(position) = rarest {
                self.values.swap_remove(position);
            }
        }
        let mut weight = Fading::default();
        weight.add(now, Self::LIFE);
        self.values.push((key, weight));
    }

    pub(super) fn knows(&self, key: Key) -> bool {
        self.values.iter().any(|(known, _)| *known == key)
    }

    /// Log-ratio of how likely the value is for anybody against how likely it is for this
    /// subject (Freeman et al., NDSS 2016), in nats: below 0 usual, above 0 unusual. One
    /// pseudo-count of the prior smooths it.
    pub(super) fn surprise(&self, key: Key, prior: f64, now: Timestamp) -> f64 {
        let weight = self
            .values
            .iter()
            .find(|(known, _)| *known == key)
            .map_or(0.0, |(_, weight)| weight.at(now, Self::LIFE));
        let total = self.total.at(now, Self::LIFE);
        (prior * (total + 1.0) / (weight + prior)).ln()
    }
}

/// How high a count usually gets: the mean of its peaks over windows of time in which something
/// trusted happened. However much happens within a window, it moves what is usual once, so that
/// a burst cannot make itself usual while it lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Peaks {
    mean: f32,
    windows: u16,
    peak: f32,
    began: u32,
}

impl Peaks {
    /// Takes a count in, after a trusted event.
    pub(super) fn add(&mut self, count: f64, now: Timestamp, window_seconds: f64) {
        let open = f64::from(seconds(now).saturating_sub(self.began)) < window_seconds;
        if self.began > 0 && open {
            self.peak = self.peak.max(narrow(count));
            return;
        }
        if self.began > 0 {
            self.windows = self.windows.saturating_add(1);
            let rate = (1.0 / f32::from(self.windows)).max(LEARNING_RATE);
            self.mean += (self.peak - self.mean) * rate;
        }
        self.began = seconds(now);
        self.peak = narrow(count);
    }

    /// The mean peak, once there is one.
    pub(super) const fn usual(self) -> Option<f32> {
        if self.windows > 0 {
            Some(self.mean)
        } else {
            None
        }
    }
}

pub(super) fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.seconds()).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "statistics need no more than 24 bits"
)]
pub(super) const fn narrow(value: f64) -> f32 {
    value as f32
}
