//! What a forest is fitted with.

use crate::error::IsolationForestError;
use linfa::{Float, ParamGuard};
use rand::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use std::marker::PhantomData;

/// Checked parameters of an isolation forest; see [`IsolationForestParams`] for their meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct IsolationForestValidParams<F, R> {
    pub(crate) n_trees: usize,
    pub(crate) sample_size: usize,
    pub(crate) max_depth: Option<usize>,
    pub(crate) extension_level: usize,
    pub(crate) column_fraction: f64,
    pub(crate) contamination: Option<f64>,
    pub(crate) threshold: Option<f64>,
    pub(crate) n_threads: usize,
    pub(crate) rng: R,
    pub(crate) float: PhantomData<F>,
}

impl<F: Float, R> IsolationForestValidParams<F, R> {
    /// Number of trees.
    pub fn n_trees(&self) -> usize {
        self.n_trees
    }

    /// Rows drawn for each tree, at most.
    pub fn sample_size(&self) -> usize {
        self.sample_size
    }

    /// Splits on the way to a leaf, at most; `None` for ⌈log₂ ψ⌉.
    pub fn max_depth(&self) -> Option<usize> {
        self.max_depth
    }

    /// Extension level; 0 for cuts on one column.
    pub fn extension_level(&self) -> usize {
        self.extension_level
    }

    /// Part of the columns that each tree may cut.
    pub fn column_fraction(&self) -> f64 {
        self.column_fraction
    }

    /// Part of the training rows to lie above the threshold.
    pub fn contamination(&self) -> Option<f64> {
        self.contamination
    }

    /// Score above which a row is an anomaly.
    pub fn threshold(&self) -> Option<f64> {
        self.threshold
    }

    /// Threads for fitting and for scoring tables.
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }
}

/// Parameters of an isolation forest.
///
/// Made by [`IsolationForest::params`](crate::IsolationForest::params) and fitted with linfa's
/// [`Fit`](linfa::traits::Fit), which checks them first.
///
/// | parameter | default | range | meaning |
/// |---|---|---|---|
/// | [`n_trees`](Self::n_trees) | 100 | ≥ 1 | trees; the scores' variance falls with their number |
/// | [`sample_size`](Self::sample_size) | 256 | ≥ 1 | rows drawn for each tree, ψ |
/// | [`max_depth`](Self::max_depth) | ⌈log₂ ψ⌉ | ≥ 1 | splits on the way to a leaf |
/// | [`extension_level`](Self::extension_level) | 0 | < columns | columns of a cut, less one |
/// | [`column_fraction`](Self::column_fraction) | 1 | (0, 1] | part of the columns each tree sees |
/// | [`contamination`](Self::contamination) | none | (0, 0.5] | part of the training rows to flag |
/// | [`threshold`](Self::threshold) | none | (0, 1] | score above which to flag |
/// | [`seed`](Self::seed) | fixed | any | where the randomness comes from |
/// | [`n_threads`](Self::n_threads) | 1 | 1 to 1024 | threads; no effect on any result |
#[derive(Debug, Clone, PartialEq)]
pub struct IsolationForestParams<F, R>(pub(crate) IsolationForestValidParams<F, R>);

impl<F: Float> IsolationForestParams<F, Xoshiro256Plus> {
    pub(crate) fn new() -> Self {
        Self(IsolationForestValidParams {
            n_trees: 100,
            sample_size: 256,
            max_depth: None,
            extension_level: 0,
            column_fraction: 1.0,
            contamination: None,
            threshold: None,
            n_threads: 1,
            rng: Xoshiro256Plus::seed_from_u64(42),
            float: PhantomData,
        })
    }
}

impl<F: Float, R> IsolationForestParams<F, R> {
    /// Number of trees, at least 1. Liu, Ting and Zhou found path lengths to settle well before
    /// 100; more only make the scores steadier, at proportional cost.
    pub fn n_trees(mut self, n_trees: usize) -> Self {
        self.0.n_trees = n_trees;
        self
    }

    /// Rows drawn without replacement for each tree, ψ, at least 1; all rows if there are fewer.
    /// Small on purpose: a large sub-sample lets anomalies hide each other (swamping and masking).
    pub fn sample_size(mut self, sample_size: usize) -> Self {
        self.0.sample_size = sample_size;
        self
    }

    /// Splits on the way from the root to a leaf, at least 1. If not set ⌈log₂ ψ⌉, the height of
    /// a balanced tree of the sub-sample; below that rows are more ordinary than average.
    pub fn max_depth(mut self, max_depth: usize) -> Self {
        self.0.max_depth = Some(max_depth);
        self
    }

    /// 0 for the isolation forest, whose cuts are on one column each. Above that the extended
    /// isolation forest (Hariri, Kind and Brunner, *Extended Isolation Forest*, IEEE TKDE 2021):
    /// cuts are hyperplanes over `extension_level + 1` random columns. Must be below the number
    /// of columns each tree sees, which fitting checks.
    ///
    /// Two choices differ from the paper, both as in isotree. Columns count in units of their
    /// range in the node, so that results do not depend on units of measure. And the cut lies
    /// uniformly between the outermost projections of the node's rows, so that both sides have
    /// some; the level 0 is then the plain isolation forest exactly.
    pub fn extension_level(mut self, extension_level: usize) -> Self {
        self.0.extension_level = extension_level;
        self
    }

    /// Part of the columns that each tree may cut, drawn for each tree, in (0, 1]; rounded up to
    /// whole columns.
    pub fn column_fraction(mut self, column_fraction: f64) -> Self {
        self.0.column_fraction = column_fraction;
        self
    }

    /// Sets the forest's [threshold](crate::IsolationForest::threshold) so that this part of the
    /// training rows, in (0, 0.5], scores above it. Fitting then also scores the training rows.
    /// Excludes [`threshold`](Self::threshold).
    pub fn contamination(mut self, contamination: f64) -> Self {
        self.0.contamination = Some(contamination);
        self
    }

    /// Sets the forest's [threshold](crate::IsolationForest::threshold), a score in (0, 1].
    /// Excludes [`contamination`](Self::contamination).
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.0.threshold = Some(threshold);
        self
    }

    /// Threads for fitting, and for scoring tables with the fitted forest; 1 to 1024. No result
    /// depends on it.
    pub fn n_threads(mut self, n_threads: usize) -> Self {
        self.0.n_threads = n_threads;
        self
    }

    /// Draws from another source. Fitting takes one number from a copy of it as the seed; each
    /// tree then has a generator of this type of its own, seeded with a hash of the seed and the
    /// number of the tree.
    pub fn with_rng<R2>(self, rng: R2) -> IsolationForestParams<F, R2> {
        let IsolationForestValidParams {
            n_trees,
            sample_size,
            max_depth,
            extension_level,
            column_fraction,
            contamination,
            threshold,
            n_threads,
            rng: _,
            float,
        } = self.0;
        IsolationForestParams(IsolationForestValidParams {
            n_trees,
            sample_size,
            max_depth,
            extension_level,
            column_fraction,
            contamination,
            threshold,
            n_threads,
            rng,
            float,
        })
    }
}

impl<F: Float, R: RngCore + SeedableRng + Clone> IsolationForestParams<F, R> {
    /// Seeds the source of randomness: the same seed, data and parameters give the same forest,
    /// whatever the number of threads or the platform.
    pub fn seed(self, seed: u64) -> Self {
        self.with_rng(R::seed_from_u64(seed))
    }
}

impl<F: Float, R> ParamGuard for IsolationForestParams<F, R> {
    type Checked = IsolationForestValidParams<F, R>;
    type Error = IsolationForestError;

    fn check_ref(&self) -> Result<&Self::Checked, Self::Error> {
        let params = &self.0;
        let counts = [
            ("n_trees", Some(params.n_trees)),
            ("sample_size", Some(params.sample_size)),
            ("max_depth", params.max_depth),
        ];
        for (name, count) in counts {
            if count == Some(0) {
                return Err(refused(name, 0, "at least 1"));
            }
        }
        if !(1..=1024).contains(&params.n_threads) {
            return Err(refused("n_threads", params.n_threads, "1 to 1024"));
        }
        // Written so that NaN is refused.
        let fraction = params.column_fraction;
        if !(fraction > 0.0 && fraction <= 1.0) {
            return Err(refused(
                "column_fraction",
                fraction,
                "above 0 and at most 1",
            ));
        }
        if let Some(part) = params.contamination
            && !(part > 0.0 && part <= 0.5)
        {
            return Err(refused("contamination", part, "above 0 and at most 0.5"));
        }
        if let Some(threshold) = params.threshold
            && !(threshold > 0.0 && threshold <= 1.0)
        {
            return Err(refused("threshold", threshold, "above 0 and at most 1"));
        }
        match (params.contamination, params.threshold) {
            (Some(contamination), Some(threshold)) => Err(IsolationForestError::TwoThresholds {
                contamination,
                threshold,
            }),
            _ => Ok(params),
        }
    }

    fn check(self) -> Result<Self::Checked, Self::Error> {
        self.check_ref()?;
        Ok(self.0)
    }
}

pub(crate) fn refused(
    name: &'static str,
    value: impl std::fmt::Display,
    range: impl Into<String>,
) -> IsolationForestError {
    IsolationForestError::InvalidParameter {
        name,
        value: value.to_string(),
        range: range.into(),
    }
}
