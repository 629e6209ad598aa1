//! The challenger: scores what the champion has decided, is never heard, and is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use domain::{RiskScore, Timestamp};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use risk::{Model, Settings};

use super::standing::Choice;
use crate::engine::Outcome;

/// Names of the levels in metrics, as a score reaches none, one, two or all of `risk.levels`.
pub const LEVELS: [&str; 4] = ["low", "medium", "high", "critical"];

/// The meters of one challenger, looked up once.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    /// Accesses that both scored: by the champion's level, then the challenger's.
    pub compared: [[Counter; LEVELS.len()]; LEVELS.len()],
    /// The challenger's score less the champion's.
    pub difference: Option<Histogram>,
    /// Accesses that the challenger could not score.
    pub failures: Counter,
}

/// A challenger at work.
#[derive(Debug)]
pub struct Shadow {
    model: Arc<Model>,
    /// Which one it is.
    pub choice: Choice,
    /// Since when it is compared by this process.
    pub since: Timestamp,
    meters: Meters,
    agreed: AtomicU64,
    compared: AtomicU64,
    difference: AtomicI64,
    distance: AtomicU64,
}

/// What has come of it so far, in this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Accesses that both scored.
    pub compared: u64,
    /// Of these, on the same level.
    pub agreed: u64,
    /// Mean of the challenger's score less the champion's, points.
    pub mean_difference: f64,
    /// Mean distance between the scores, points.
    pub mean_distance: f64,
}

impl Shadow {
    /// Nothing compared yet.
    #[must_use]
    pub fn new(model: Arc<Model>, choice: Choice, since: Timestamp, meters: Meters) -> Self {
        Self {
            model,
            choice,
            since,
            meters,
            agreed: AtomicU64::new(0),
            compared: AtomicU64::new(0),
            difference: AtomicI64::new(0),
            distance: AtomicU64::new(0),
        }
    }

    /// Scores what the champion has just decided. Takes what it needs by reference and gives
    /// nothing back: whatever comes of it, the answer is made.
    pub fn look(&self, outcome: &Outcome, settings: &Settings) {
        let risk = &outcome.decision.risk;
        let features = &outcome.evidence.features;
        let Some(score) = risk::score::rescore(&self.model, features, risk.rule_score, settings)
        else {
            self.meters.failures.inc();
            return;
        };
        let level = |score: RiskScore| settings.levels_reached(score.points());
        let (mine, its) = (level(score), level(risk.score));
        if let Some(counter) = self.meters.compared.get(its).and_then(|row| row.get(mine)) {
            counter.inc();
        }
        let difference = i64::from(score) - i64::from(risk.score);
        if let Some(histogram) = &self.meters.difference {
            #[expect(clippy::cast_precision_loss, reason = "within ±100")]
            histogram.observe(difference as f64);
        }
        self.compared.fetch_add(1, Ordering::Relaxed);
        self.agreed
            .fetch_add(u64::from(mine == its), Ordering::Relaxed);
        self.difference.fetch_add(difference, Ordering::Relaxed);
        self.distance
            .fetch_add(difference.unsigned_abs(), Ordering::Relaxed);
    }

    /// What has come of it so far.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a mean of some billions is exact enough"
    )]
    pub fn agreement(&self) -> Agreement {
        let compared = self.compared.load(Ordering::Relaxed);
        let of_each = compared.max(1) as f64;
        Agreement {
            compared,
            agreed: self.agreed.load(Ordering::Relaxed),
            mean_difference: self.difference.load(Ordering::Relaxed) as f64 / of_each,
            mean_distance: self.distance.load(Ordering::Relaxed) as f64 / of_each,
        }
    }
}
