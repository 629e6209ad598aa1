//! What is measured of the monitor.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

/// Counters and histograms of the monitor.
#[derive(Debug)]
pub struct MonitorMetrics {
    checked: Counter,
    actions: Family<WhatLabel, Counter>,
    due: Gauge,
    lag_seconds: Histogram,
    sweep_seconds: Histogram,
}

impl Default for MonitorMetrics {
    fn default() -> Self {
        let actions = Family::<WhatLabel, Counter>::default();
        // At zero from the start, so that a rate has something to begin with.
        for what in ["ended", "reauthentication", "tightened"] {
            let _ = actions.get_or_create(&WhatLabel { what });
        }
        Self {
            checked: Counter::default(),
            actions,
            due: Gauge::default(),
            lag_seconds: Histogram::new([
                1e-3, 2e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0,
            ]),
            sweep_seconds: Histogram::new([0.1, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0]),
        }
    }
}

impl MonitorMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "monitor_sessions_checked",
            "Looks at live sessions",
            self.checked.clone(),
        );
        registry.register(
            "monitor_actions",
            "What the monitor did with live sessions",
            self.actions.clone(),
        );
        registry.register(
            "monitor_due",
            "Sessions that were used since the round before the last one",
            self.due.clone(),
        );
        registry.register_with_unit(
            "monitor_lag",
            "From something that happened to a session to the end of the look at it: what it ends has ended then",
            Unit::Seconds,
            self.lag_seconds.clone(),
        );
        registry.register_with_unit(
            "monitor_sweep",
            "Looks at all live sessions",
            Unit::Seconds,
            self.sweep_seconds.clone(),
        );
    }

    /// So many sessions were looked at.
    pub fn checked(&self, sessions: usize) {
        self.checked.inc_by(sessions as u64);
    }

    /// Something was done.
    pub fn acted(&self, what: &'static str) {
        self.actions.get_or_create(&WhatLabel { what }).inc();
    }

    /// So many sessions were in use.
    pub fn due(&self, sessions: usize) {
        self.due.set(i64::try_from(sessions).unwrap_or(i64::MAX));
    }

    /// What happened was looked at.
    pub fn lagged(&self, lag: Duration) {
        self.lag_seconds.observe(lag.as_secs_f64());
    }

    /// All were looked at.
    pub fn swept(&self, took: Duration) {
        self.sweep_seconds.observe(took.as_secs_f64());
    }
}
