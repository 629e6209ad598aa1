//! What a model has to beat: the rules that anybody would write first.

use forest::IsolationForest;
use risk::features::FEATURES;
use risk::{Evidence, Feature, Features};

/// A simple way to tell an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// The log-ratios of address and client program alone (Freeman et al., NDSS 2016).
    Freeman,
    /// Faster than 900 km/h since the last place.
    Velocity,
    /// A device not used before.
    NewDevice,
    /// An isolation forest as scikit-learn has it by default, 100 trees of 256 rows, on the same
    /// features as they are: no medians for what is ordinary, no rules, no policies.
    PlainForest,
    /// Everybody is asked for a second factor.
    AlwaysMfa,
}

/// All of them.
pub const BASELINES: [Baseline; 5] = [
    Baseline::Freeman,
    Baseline::Velocity,
    Baseline::NewDevice,
    Baseline::PlainForest,
    Baseline::AlwaysMfa,
];

impl Baseline {
    /// What it is called in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Freeman => "freeman",
            Self::Velocity => "velocity-900",
            Self::NewDevice => "new-device",
            Self::PlainForest => "plain-forest",
            Self::AlwaysMfa => "always-mfa",
        }
    }

    /// How suspicious an event is to it; the higher, the more.
    pub(super) fn suspicion(
        self,
        evidence: &Evidence,
        forest: Option<&IsolationForest<f64>>,
    ) -> f32 {
        let value = |feature| evidence.features.get(feature).unwrap_or_default();
        let suspicion = match self {
            Self::Freeman => value(Feature::AddressSurprise) + value(Feature::AgentSurprise),
            Self::Velocity => {
                let fast = value(Feature::ImpliedSpeedKmh) > 900.0;
                f64::from(u8::from(fast))
            }
            Self::NewDevice => {
                let new = evidence.facts.signals.known_device == Some(false);
                f64::from(u8::from(new))
            }
            Self::PlainForest => forest.map_or(0.0, |forest| {
                let row = plain_features(&evidence.features);
                forest.score_one(&row).unwrap_or(1.0)
            }),
            Self::AlwaysMfa => 1.0,
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an order is all that counts"
        )]
        let suspicion = suspicion as f32;
        suspicion
    }
}

/// The features as a plain forest gets them: 0 for what is unknown.
pub(crate) fn plain_features(features: &Features) -> [f64; FEATURES] {
    features
        .scaled()
        .map(|value| if value.is_nan() { 0.0 } else { value })
}
