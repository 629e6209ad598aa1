//! What each feature is worth: the score again, as if it were unknown.

use risk::Features;
use risk::features::{CATALOGUE, Description};

use super::rows::Evaluation;

/// What the score loses without a feature.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loss {
    pub(super) feature: &'static str,
    /// Mean over the kinds of attack of the share at or above the score that one settled honest
    /// event in a hundred reaches, less the same without the feature.
    pub(super) worth: f64,
}

/// The mean share of attacks that the score alone finds, with all features and without each.
pub(super) fn losses(evaluation: &Evaluation) -> (f64, Vec<Loss>) {
    let whole = found(evaluation, None);
    let mut losses: Vec<Loss> = CATALOGUE
        .iter()
        .map(|description| Loss {
            feature: description.name,
            worth: whole - found(evaluation, Some(description)),
        })
        .collect();
    losses.sort_by(|a, b| b.worth.total_cmp(&a.worth));
    (whole, losses)
}

fn found(evaluation: &Evaluation, without: Option<&Description>) -> f64 {
    let kinds = evaluation.kinds.len();
    let mut attacks = vec![[0_u32; 1001]; kinds];
    let mut settled = [0_u32; 1001];
    for scored in &evaluation.scored {
        let mut features: Features = scored.features();
        if let Some(description) = without {
            features.set(description.feature, f64::NAN);
        }
        let Some(reading) = evaluation.model.read(&features) else {
            continue;
        };
        let tenths = 7 * usize::from(reading.points) + 3 * usize::from(scored.rule_score);
        let place = tenths.min(1000);
        if evaluation.is_attack(scored.kind) {
            if let Some(count) = attacks
                .get_mut(usize::from(scored.kind))
                .and_then(|counts| counts.get_mut(place))
            {
                *count += 1;
            }
        } else if scored.settled
            && let Some(count) = settled.get_mut(place)
        {
            *count += 1;
        }
    }
    let total: u32 = settled.iter().sum();
    let mut above = 0;
    let mut limit = 0;
    for (place, count) in settled.iter().enumerate().rev() {
        above += count;
        if f64::from(above) > 0.01 * f64::from(total) {
            limit = place + 1;
            break;
        }
    }
    let shares: Vec<f64> = attacks
        .iter()
        .filter_map(|counts| {
            let all: u32 = counts.iter().sum();
            let above: u32 = counts.iter().skip(limit).sum();
            (all > 0).then(|| f64::from(above) / f64::from(all))
        })
        .collect();
    if shares.is_empty() {
        return f64::NAN;
    }
    shares.iter().sum::<f64>() / shares.len() as f64
}
