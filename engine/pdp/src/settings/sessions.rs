//! What sessions of each tier may, as text and checked.

use std::time::Duration;

use serde::Deserialize;

use super::TierSettings;
use super::section::Span;

/// A tier; where nothing is said, of so many seconds and so many sessions.
#[derive(Clone, Debug)]
pub(super) struct RawTier<const SECONDS: u64, const MOST: u32> {
    absolute: Span,
    most: u32,
}

impl<const SECONDS: u64, const MOST: u32> Default for RawTier<SECONDS, MOST> {
    fn default() -> Self {
        Self {
            absolute: Span(Duration::from_secs(SECONDS)),
            most: MOST,
        }
    }
}

impl<'de, const SECONDS: u64, const MOST: u32> Deserialize<'de> for RawTier<SECONDS, MOST> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Given {
            absolute: Option<Span>,
            most: Option<u32>,
        }
        let given = Given::deserialize(from)?;
        let default = Self::default();
        Ok(Self {
            absolute: given.absolute.unwrap_or(default.absolute),
            most: given.most.unwrap_or(default.most),
        })
    }
}

impl<const SECONDS: u64, const MOST: u32> RawTier<SECONDS, MOST> {
    pub(super) const fn settings(&self) -> TierSettings {
        TierSettings {
            absolute: self.absolute.0,
            most: self.most,
        }
    }
}

/// Checks them, the least strict first. A stricter tier has never more than one less strict,
/// whatever is set for it.
pub(super) fn check_tiers(tiers: [TierSettings; 3], faults: &mut Vec<String>) -> [TierSettings; 3] {
    let most = Duration::from_secs(30 * 24 * 3600);
    for (name, tier) in ["standard", "restricted", "strict"].into_iter().zip(tiers) {
        if tier.absolute < Duration::from_secs(60) || tier.absolute > most {
            faults.push(format!("`sessions.{name}.absolute`: a minute to 30 days"));
        }
        if !(1..=1000).contains(&tier.most) {
            faults.push(format!("`sessions.{name}.most`: 1 to 1000"));
        }
    }
    let [standard, restricted, strict] = tiers;
    let within = |tier: TierSettings, looser: TierSettings| TierSettings {
        absolute: tier.absolute.min(looser.absolute),
        most: tier.most.min(looser.most),
    };
    let restricted = within(restricted, standard);
    [standard, restricted, within(strict, restricted)]
}
