//! What is measured of what is told to others.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HowLabel {
    how: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

/// What is measured of what is told to others.
#[derive(Debug, Default)]
pub struct TellingMetrics {
    handed_on: Counter<u64, AtomicU64>,
    told: Family<HowLabel, Counter>,
    failed: Family<HowLabel, Counter>,
    lost: Family<WhatLabel, Counter>,
    waiting: Family<WhatLabel, Gauge>,
}

impl TellingMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "security_events",
            "Security events that were handed on to streams and alert channels",
            self.handed_on.clone(),
        );
        registry.register(
            "security_events_told",
            "Tokens and alerts that others have taken, by the way they went",
            self.told.clone(),
        );
        registry.register(
            "security_events_failures",
            "Attempts to tell somebody that came to nothing and are made again",
            self.failed.clone(),
        );
        registry.register(
            "security_events_lost",
            "Tokens and alerts that were let go: too many waited, or the other side refused them",
            self.lost.clone(),
        );
        registry.register(
            "security_events_waiting",
            "Security events that are not handed on yet; tokens and alerts that are not told yet",
            self.waiting.clone(),
        );
    }

    /// Counts what was handed on.
    pub fn handed_on(&self, count: usize) {
        self.handed_on
            .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Counts what was told: `push`, `poll` or `alert`.
    pub fn told(&self, how: &'static str, count: u64) {
        self.told.get_or_create(&HowLabel { how }).inc_by(count);
    }

    /// Counts what was tried in vain.
    pub fn failed(&self, how: &'static str) {
        self.failed.get_or_create(&HowLabel { how }).inc();
    }

    /// Counts what nobody will be told: a `set` or an `alert`.
    pub fn lost(&self, what: &'static str, count: u64) {
        self.lost.get_or_create(&WhatLabel { what }).inc_by(count);
    }

    /// Says how much waits.
    pub fn set_waiting(&self, [events, sets, alerts]: [i64; 3]) {
        for (what, count) in [("event", events), ("set", sets), ("alert", alerts)] {
            self.waiting.get_or_create(&WhatLabel { what }).set(count);
        }
    }
}
