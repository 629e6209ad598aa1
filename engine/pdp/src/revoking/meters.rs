//! What is measured of revocations (V16 to V18, V21).

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use token::revocation::{Kind, RevokedBy};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// `layer`: who had the answer. With one engine that is its own list, always; a filter and a
/// shared store come with clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabel {
    layer: &'static str,
    result: &'static str,
}

/// Counters and histograms of revocations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Meters {
    revocations: Family<KindLabel, Counter>,
    checks: Family<CheckLabel, Counter>,
    /// What nearly every check ends as, looked up once.
    clear: Counter,
    check_seconds: Histogram,
    lag_seconds: Histogram,
    entries: Gauge,
}

impl Default for Meters {
    fn default() -> Self {
        let checks = Family::<CheckLabel, Counter>::default();
        let clear = CheckLabel {
            layer: "local",
            result: "clear",
        };
        let clear = checks.get_or_create(&clear).clone();
        Self {
            revocations: Family::default(),
            clear,
            checks,
            // From a look into memory to one into a shared store, and V16's 8, 10 and 15 ms.
            check_seconds: Histogram::new([
                1e-7, 2.5e-7, 5e-7, 1e-6, 2.5e-6, 1e-5, 1e-4, 1e-3, 2e-3, 5e-3, 8e-3, 1e-2, 1.5e-2,
                0.1,
            ]),
            lag_seconds: Histogram::new([
                5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 5.0,
            ]),
            entries: Gauge::default(),
        }
    }
}

impl Meters {
    /// Registers all of them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "token_revocations",
            "Revocations by what was revoked",
            self.revocations.clone(),
        );
        registry.register(
            "revocation_checks",
            "Tokens and grants held against the list, by who had the answer and what it was",
            self.checks.clone(),
        );
        registry.register_with_unit(
            "revocation_check_duration",
            "Time that one of them took",
            Unit::Seconds,
            self.check_seconds.clone(),
        );
        registry.register_with_unit(
            "revocation_lag",
            "From when a revocation was asked for to when it was in effect, durable by then",
            Unit::Seconds,
            self.lag_seconds.clone(),
        );
        registry.register(
            "revocation_entries",
            "Revocations in memory",
            self.entries.clone(),
        );
    }

    pub(super) fn revoked(&self, kind: Kind) {
        let kind = kind.as_str();
        self.revocations.get_or_create(&KindLabel { kind }).inc();
    }

    pub(super) fn checked(&self, by: Option<RevokedBy>, took: Duration) {
        match by {
            None => {
                self.clear.inc();
            }
            Some(by) => {
                let label = CheckLabel {
                    layer: "local",
                    result: by.as_str(),
                };
                self.checks.get_or_create(&label).inc();
            }
        }
        self.check_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn in_effect_after(&self, lag: Duration) {
        self.lag_seconds.observe(lag.as_secs_f64());
    }

    pub(super) fn set_entries(&self, entries: usize) {
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }
}
