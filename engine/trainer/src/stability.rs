//! How much of an outcome is the luck of the seed.

use risk::Model;
use serde::{Deserialize, Serialize};

use crate::evaluate::{Evaluation, Figure};

/// How often another seed would have put the same event on another level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stability {
    /// Seeds that were held against each other, the model's own among them.
    pub seeds: usize,
    /// The mean over pairs of seeds of the share of events on another level of 30, 60 and 80;
    /// the interval is that of the pairs, from the least to the greatest.
    pub flips: Figure,
}

/// A seed far from another: neighbours must not share trees.
#[must_use]
pub fn another(seed: u64, number: u64) -> u64 {
    let mut bits = seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Scores the honest events that were kept of an evaluation with each model, and counts on how
/// many each pair of models disagrees about the level. None with fewer than two models.
#[must_use]
pub fn measure(evaluation: &Evaluation, others: &[Model]) -> Option<Stability> {
    let own = evaluation.model().as_ref();
    let levels: Vec<Vec<u8>> = std::iter::once(own)
        .chain(others)
        .map(|model| evaluation.levels(model))
        .collect();
    let mut shares = Vec::new();
    for (position, one) in levels.iter().enumerate() {
        for two in levels.iter().skip(position + 1) {
            let differ = one.iter().zip(two).filter(|(a, b)| a != b).count();
            shares.push(differ as f64 / one.len().max(1) as f64);
        }
    }
    let least = shares.iter().copied().min_by(f64::total_cmp)?;
    let greatest = shares.iter().copied().max_by(f64::total_cmp)?;
    Some(Stability {
        seeds: levels.len(),
        flips: Figure {
            value: shares.iter().sum::<f64>() / shares.len() as f64,
            low: least,
            high: greatest,
            count: levels.first().map_or(0, Vec::len),
        },
    })
}
