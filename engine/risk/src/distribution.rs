//! How the features of the events that a model was fitted on were distributed, and how far what
//! is seen now lies from it.
//!
//! Kept in the manifest as bins about the deciles. The measure is the population stability
//! index, the sum over bins of `(live − training) · ln(live / training)`: 0 for the same shares,
//! by long custom in credit scoring stable below 0.1 and drifted above 0.25.

use serde::{Deserialize, Serialize};

use crate::features::{CATALOGUE, FEATURES};

/// Fewest rows that a verdict may rest on: with a dozen bins, 200 rows of the very same
/// distribution already give an index of about 0.05.
pub const ROWS_MIN: u64 = 200;

/// A share below this counts as this: a bin that is hardly ever met must not decide by the
/// logarithm of almost nothing.
const SHARE_MIN: f64 = 1e-3;

/// The distribution of every feature, in the catalogue's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// How many events it rests on.
    pub events: usize,
    /// The bins of each feature.
    pub features: Vec<Bins>,
}

/// The distribution of one feature, in its own unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bins {
    /// The feature's name.
    pub feature: String,
    /// Upper limits of all bins but the last, rising; a value at the limit belongs to the bin.
    pub edges: Vec<f64>,
    /// Share of the events in each bin; one more than there are edges.
    pub shares: Vec<f64>,
    /// Share of the events in which the feature was unknown.
    pub unknown: f64,
}

impl Bins {
    /// Bins between the deciles of these values, with one more below the least and one above the
    /// greatest, where nothing has been seen yet. `unknown` says in how many events more there
    /// was no value.
    #[must_use]
    pub fn of(feature: &str, mut values: Vec<f64>, unknown: usize) -> Self {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let mut edges = Vec::new();
        if let (Some(least), Some(greatest)) = (values.first(), values.last()) {
            // Features are single precision: the next lower one is the highest below the least.
            #[expect(clippy::cast_possible_truncation, reason = "they have no more digits")]
            edges.push(f64::from((*least as f32).next_down()));
            let decile = |tenth: usize| values.get((values.len() * tenth / 10).saturating_sub(1));
            edges.extend((1..10).filter_map(decile));
            edges.push(*greatest);
            edges.dedup();
        }
        let mut bins = Self {
            feature: feature.to_owned(),
            shares: vec![0.0; edges.len() + 1],
            edges,
            unknown: 0.0,
        };
        let all = (values.len() + unknown).max(1) as f64;
        for value in &values {
            let bin = bins.bin(*value);
            if let Some(share) = bins.shares.get_mut(bin) {
                *share += 1.0;
            }
        }
        for share in &mut bins.shares {
            *share /= all;
        }
        bins.unknown = unknown as f64 / all;
        bins
    }

    /// Which bin a known value falls into.
    fn bin(&self, value: f64) -> usize {
        self.edges.partition_point(|edge| *edge < value)
    }

    fn is_sound(&self) -> bool {
        let share = |share: &f64| (0.0..=1.0).contains(share);
        self.shares.len() == self.edges.len() + 1
            && self.edges.iter().all(|edge| edge.is_finite())
            && self.edges.is_sorted_by(|a, b| a < b)
            && self.shares.iter().all(share)
            && share(&self.unknown)
    }

    /// The limits of a bin in words.
    fn limits(&self, bin: usize) -> String {
        let edge = |position: usize| self.edges.get(position);
        match (bin.checked_sub(1).and_then(edge), edge(bin)) {
            (Some(above), Some(to)) => format!("{above:.3} to {to:.3}"),
            (None, Some(to)) => format!("up to {to:.3}"),
            (Some(above), None) => format!("above {above:.3}"),
            (None, None) => "known".to_owned(),
        }
    }
}

impl Distribution {
    /// Whether it is one of this engine's features, and its numbers make sense.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.features.len() == FEATURES
            && self
                .features
                .iter()
                .zip(&CATALOGUE)
                .all(|(bins, description)| bins.feature == description.name && bins.is_sound())
    }
}

/// What an index means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stability {
    /// Below 0.1.
    Stable,
    /// 0.1 to 0.25: look at it.
    Shifting,
    /// Above 0.25: the model was made for other traffic.
    Drifted,
}

impl Stability {
    /// From where on a feature is shifting.
    pub const SHIFTING_FROM: f64 = 0.1;
    /// Past this it has drifted.
    pub const DRIFTED_PAST: f64 = 0.25;

    /// The verdict on an index.
    #[must_use]
    pub fn of(index: f64) -> Self {
        if index > Self::DRIFTED_PAST {
            Self::Drifted
        } else if index >= Self::SHIFTING_FROM {
            Self::Shifting
        } else {
            Self::Stable
        }
    }

    /// The word itself.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Shifting => "shifting",
            Self::Drifted => "drifted",
        }
    }
}

/// How far one feature has moved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// The feature.
    pub feature: &'static str,
    /// The population stability index, 0 or more.
    pub psi: f64,
    /// What it means.
    pub verdict: Stability,
    /// Share in which it was unknown: in training, and now.
    pub unknown: [f64; 2],
    /// Where most of the index comes from: the limits of that bin, or `unknown`.
    pub most: String,
    /// The share of that bin in training, and now.
    pub most_share: [f64; 2],
}

/// Rows counted into the bins of a distribution.
#[derive(Clone, Debug)]
pub struct Tally<'a> {
    training: &'a Distribution,
    /// By feature: the bins, and at the end the unknown.
    counts: Vec<Vec<u64>>,
    rows: u64,
}

impl<'a> Tally<'a> {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(training: &'a Distribution) -> Self {
        let counts = training
            .features
            .iter()
            .map(|bins| vec![0; bins.shares.len() + 1])
            .collect();
        Self {
            training,
            counts,
            rows: 0,
        }
    }

    /// Counts one row: values in the catalogue's order and in the features' own units, as
    /// records hold them; what is not finite is unknown.
    pub fn add(&mut self, values: impl IntoIterator<Item = f64>) {
        let bins = self.training.features.iter().zip(&mut self.counts);
        for (value, (bins, counts)) in values.into_iter().zip(bins) {
            let position = if value.is_finite() {
                bins.bin(value)
            } else {
                bins.shares.len()
            };
            if let Some(count) = counts.get_mut(position) {
                *count += 1;
            }
        }
        self.rows += 1;
    }

    /// How many rows were counted.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// How far each feature has moved, in the catalogue's order. None with fewer than
    /// [`ROWS_MIN`] rows, of which no index says anything.
    #[must_use]
    pub fn drift(&self) -> Option<Vec<Drift>> {
        if self.rows < ROWS_MIN {
            return None;
        }
        let rows = self.rows as f64;
        let features = self.training.features.iter().zip(&self.counts);
        let drift = features
            .zip(&CATALOGUE)
            .map(|((bins, counts), description)| {
                let then = bins.shares.iter().chain(std::iter::once(&bins.unknown));
                let mut psi = 0.0;
                let mut most = (0.0, 0, [0.0; 2]);
                let mut unknown = [0.0; 2];
                for (position, (then, count)) in then.zip(counts).enumerate() {
                    let now = *count as f64 / rows;
                    let (low, high) = (then.max(SHARE_MIN), now.max(SHARE_MIN));
                    let part = (high - low) * (high / low).ln();
                    psi += part;
                    if part >= most.0 {
                        most = (part, position, [*then, now]);
                    }
                    unknown = [*then, now];
                }
                Drift {
                    feature: description.name,
                    psi,
                    verdict: Stability::of(psi),
                    unknown,
                    most: if most.1 == bins.shares.len() {
                        "unknown".to_owned()
                    } else {
                        bins.limits(most.1)
                    },
                    most_share: most.2,
                }
            });
        Some(drift.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training(values: impl Fn(usize, usize) -> f64) -> Distribution {
        let features = CATALOGUE.iter().enumerate().map(|(feature, description)| {
            let column: Vec<f64> = (0..1000).map(|row| values(feature, row)).collect();
            let unknown = column.iter().filter(|value| value.is_nan()).count();
            Bins::of(description.name, column, unknown)
        });
        Distribution {
            events: 1000,
            features: features.collect(),
        }
    }

    fn drift_of(
        training: &Distribution,
        rows: usize,
        value: impl Fn(usize) -> f64,
    ) -> Option<Drift> {
        let mut tally = Tally::new(training);
        for row in 0..rows {
            tally.add(std::iter::repeat_n(value(row), FEATURES));
        }
        tally.drift().map(|drift| drift[0].clone())
    }

    #[test]
    fn each_change_is_told_for_what_it_is() {
        let even = training(|_, row| row as f64);
        let constant = training(|_, _| 1.0);
        let unknown = training(|_, _| f64::NAN);
        type Case<'a> = (
            &'a str,
            &'a Distribution,
            fn(usize) -> f64,
            Stability,
            &'a str,
        );
        let cases: &[Case<'_>] = &[
            (
                "the same",
                &even,
                |row| (row * 7 % 1000) as f64,
                Stability::Stable,
                "",
            ),
            (
                "one in five is high",
                &even,
                |row| {
                    if row % 5 == 0 {
                        950.0
                    } else {
                        (row * 7 % 1000) as f64
                    }
                },
                Stability::Shifting,
                "",
            ),
            (
                "all high",
                &even,
                |_| 950.0,
                Stability::Drifted,
                "899.000 to 999.000",
            ),
            (
                "beyond what was seen",
                &even,
                |row| {
                    if row % 10 == 0 {
                        5e3
                    } else {
                        (row % 1000) as f64
                    }
                },
                Stability::Drifted,
                "above 999.000",
            ),
            (
                "nothing any more",
                &even,
                |_| f64::NAN,
                Stability::Drifted,
                "unknown",
            ),
            (
                "a constant stays",
                &constant,
                |_| 1.0,
                Stability::Stable,
                "",
            ),
            (
                "a constant falls",
                &constant,
                |_| 0.0,
                Stability::Drifted,
                "",
            ),
            (
                "a constant rises",
                &constant,
                |_| 2.0,
                Stability::Drifted,
                "",
            ),
            ("never known", &unknown, |_| f64::NAN, Stability::Stable, ""),
            ("known at last", &unknown, |_| 3.0, Stability::Drifted, ""),
        ];
        for (what, training, value, verdict, most) in cases {
            assert!(training.is_sound(), "{what}");
            let drift = drift_of(training, 1000, value).unwrap();
            assert_eq!(drift.verdict, *verdict, "{what}: {drift:?}");
            assert!(drift.psi >= 0.0 && drift.psi.is_finite(), "{what}");
            assert!(most.is_empty() || drift.most == *most, "{what}: {drift:?}");
        }
    }

    #[test]
    fn few_rows_give_no_verdict_and_shares_add_up() {
        let even = training(|_, row| if row % 4 == 0 { f64::NAN } else { row as f64 });
        assert!(drift_of(&even, 199, |_| 1.0).is_none());
        assert!(drift_of(&even, 200, |_| 1.0).is_some());
        for bins in &even.features {
            let sum: f64 = bins.shares.iter().sum::<f64>() + bins.unknown;
            assert!((sum - 1.0).abs() < 1e-9, "{bins:?}");
            assert!((bins.unknown - 0.25).abs() < 1e-9);
        }
    }

    #[test]
    fn nonsense_is_not_sound() {
        let sound = training(|_, row| row as f64);
        type Harm = fn(&mut Distribution);
        let harms: [Harm; 5] = [
            |it| it.features[0].edges.swap(0, 1),
            |it| it.features[0].shares[0] = f64::NAN,
            |it| it.features[0].shares.truncate(1),
            |it| it.features[0].feature = "other".to_owned(),
            |it| it.features.truncate(1),
        ];
        for harm in harms {
            let mut harmed = sound.clone();
            harm(&mut harmed);
            assert!(!harmed.is_sound());
        }
    }
}
