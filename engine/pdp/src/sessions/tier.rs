//! Tiers (A1 to A3): how long a session may live and how many a subject may have, by the risk at
//! which it was granted. What is here is a function of its arguments alone.
//!
//! A tier tightens at once and relaxes only by a step-up that is passed in the session. It ends no
//! other session: that would let a thief shut out whom he stole from.

use domain::{SessionTerms, Tier, Timestamp};

use crate::settings::SessionSettings;

/// The end of a session of a tier that begins, or tightens, at a moment.
#[must_use]
pub(crate) fn end(tier: Tier, from: Timestamp, settings: &SessionSettings) -> Timestamp {
    let lasts = settings.tier(tier).absolute.as_secs();
    from.plus_seconds(i64::try_from(lasts).unwrap_or(i64::MAX))
}

/// Tightens to a tier. False when it is as tight already.
pub(crate) fn tighten(
    terms: &mut SessionTerms,
    to: Tier,
    settings: &SessionSettings,
    now: Timestamp,
) -> bool {
    if to <= terms.tier {
        return false;
    }
    terms.tier = to;
    terms.expires_at = terms.expires_at.min(end(to, now, settings));
    true
}
