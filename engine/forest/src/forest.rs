//! The fitted forest: what it knows of itself, and scores for rows and tables.

use crate::error::RowError;
use crate::hyperparams::IsolationForestParams;
use crate::packed::{BLOCK, NO_RANKS, Packed};
use crate::plain::Plain;
use crate::ranking::Ranking;
use crate::trees::Trees;
use linfa::Float;
use linfa::traits::PredictInplace;
use ndarray::{Array1, ArrayBase, ArrayView2, ArrayViewMut1, Axis, Data, Ix2};
use rand_xoshiro::Xoshiro256Plus;
use std::fmt;
use std::num::NonZeroUsize;

/// Rows below which a second thread costs more than it saves.
const ROWS_PER_THREAD: usize = 2048;

/// A fitted isolation forest: scores rows by how few random cuts set them apart.
///
/// The score of a row is `2^(−E(h) / c(ψ))`, where `E(h)` is its path length averaged over the
/// trees and `c(ψ)` the average path length in a tree of `ψ` rows (Liu, Ting and Zhou, *Isolation
/// Forest*, ICDM 2008, equation 2). It is in (0, 1], without unit: close to 1 for rows that are
/// cut off at once, about .5 for rows that are like most, less for the most ordinary ones.
///
/// `NaN` is a missing value. Each split has a side for rows whose value is missing, drawn when the
/// tree was grown with the chances of the training rows; over many trees not knowing a value is
/// no evidence, neither for nor against a row. `∞` is an error.
///
/// ```
/// use forest::IsolationForest;
/// use linfa::prelude::*;
/// use ndarray::{Array1, Array2, array};
///
/// # fn main() -> Result<(), forest::IsolationForestError> {
/// let mut records = Array2::from_shape_fn((500, 2), |(row, column)| ((row * (column + 3)) % 23) as f64);
/// records.row_mut(123).assign(&array![70.0, -50.0]);
/// let dataset = DatasetBase::from(records.clone());
///
/// let forest = IsolationForest::params().n_trees(100).sample_size(256).seed(7).fit(&dataset)?;
/// let scores: Array1<f64> = forest.predict(&records);
/// assert!(scores.iter().all(|&score| score <= scores[123]));
/// assert_eq!(Ok(scores[123]), forest.score_one(&[70.0, -50.0]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct IsolationForest<F> {
    pub(crate) layout: Layout<F>,
    /// Sum over the trees of the expected normalised path length.
    pub(crate) expected_path: f64,
    pub(crate) threshold: Option<f64>,
    /// Trees ever grown for this forest: the serial number of the next one.
    pub(crate) next_serial: u64,
    pub(crate) n_threads: NonZeroUsize,
}

/// How the trees lie in memory: whichever is faster of those that can hold them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Layout<F> {
    Packed(Packed<F>),
    Plain(Plain<F>),
}

impl<F: Float> IsolationForest<F> {
    /// Parameters to fit with, at their defaults: 100 trees, 256 rows each, one thread, a fixed
    /// seed.
    pub fn params() -> IsolationForestParams<F, Xoshiro256Plus> {
        IsolationForestParams::new()
    }

    /// Lays trees out for scoring. INVARIANT: there is at least one.
    pub(crate) fn from_trees(trees: Trees<F>) -> Self {
        let (ranking, ranks) = if Self::may_pack(&trees) {
            Ranking::of(&trees)
        } else {
            (
                Ranking {
                    offsets: Vec::new(),
                    thresholds: Vec::new(),
                },
                Vec::new(),
            )
        };
        Self::from_ranked(trees, ranking, &ranks)
    }

    /// The same where thresholds are already sorted; `ranks` has an entry for each node.
    pub(crate) fn from_ranked(trees: Trees<F>, ranking: Ranking<F>, ranks: &[u32]) -> Self {
        let next_serial = trees.roots.len() as u64;
        let packed = match Self::may_pack(&trees) {
            true => Packed::new(&trees, ranking, ranks),
            false => None,
        };
        let (layout, expected_path) = match packed {
            Some(packed) => {
                let expected = packed.expected();
                (Layout::Packed(packed), expected)
            }
            None => {
                let plain = Plain::new(trees);
                let expected = plain.expected();
                (Layout::Plain(plain), expected)
            }
        };
        Self {
            layout,
            expected_path,
            threshold: None,
            next_serial,
            n_threads: NonZeroUsize::MIN,
        }
    }

    fn may_pack(trees: &Trees<F>) -> bool {
        trees.extension == 0 && trees.n_features <= Packed::<F>::MOST_FEATURES
    }

    /// The trees as they were grown.
    pub(crate) fn trees(&self) -> Trees<F> {
        match &self.layout {
            Layout::Packed(packed) => packed.trees(),
            Layout::Plain(plain) => plain.trees.clone(),
        }
    }

    /// Number of trees.
    pub fn n_trees(&self) -> usize {
        match &self.layout {
            Layout::Packed(packed) => packed.n_trees(),
            Layout::Plain(plain) => plain.trees.roots.len(),
        }
    }

    /// Number of features, the length of a row.
    pub fn n_features(&self) -> usize {
        match &self.layout {
            Layout::Packed(packed) => packed.n_features(),
            Layout::Plain(plain) => plain.trees.n_features,
        }
    }

    /// Rows each tree was grown from, ψ: the parameter, or all rows if there were fewer. After
    /// merging forests of different sub-samples, the largest.
    pub fn sample_size(&self) -> usize {
        let rows = match &self.layout {
            Layout::Packed(packed) => packed.sample_size(),
            Layout::Plain(plain) => plain
                .trees
                .roots
                .iter()
                .map(|root| root.sample)
                .max()
                .unwrap_or(0),
        };
        rows as usize
    }

    /// 0 if each cut is on one feature; above that, cuts are hyperplanes over one feature more.
    pub fn extension_level(&self) -> usize {
        match &self.layout {
            Layout::Packed(_) => 0,
            Layout::Plain(plain) => plain.trees.extension,
        }
    }

    /// Splits and leaves of all trees.
    pub fn n_nodes(&self) -> usize {
        match &self.layout {
            Layout::Packed(packed) => packed.n_nodes(),
            Layout::Plain(plain) => plain.trees.nodes.len(),
        }
    }

    /// Splits on the longest path from a root to a leaf.
    pub fn depth(&self) -> usize {
        let levels = match &self.layout {
            Layout::Packed(packed) => packed.depth(),
            Layout::Plain(plain) => plain.depth(),
        };
        levels as usize
    }

    /// Bytes of memory that scoring, explaining and saving need, all told.
    pub fn memory_bytes(&self) -> usize {
        let heap = match &self.layout {
            Layout::Packed(packed) => packed.heap_bytes(),
            Layout::Plain(plain) => plain.heap_bytes(),
        };
        size_of_val(self) + heap
    }

    /// The score above which a row counts as an anomaly, in (0, 1]; `None` if neither a
    /// contamination nor a threshold was set.
    pub fn threshold(&self) -> Option<f64> {
        self.threshold
    }

    /// Whether a score is above the [threshold](Self::threshold); `None` if there is none.
    /// `NaN`, which [`predict`](linfa::traits::Predict) gives for rows it cannot score, is above.
    pub fn is_anomaly(&self, score: F) -> Option<bool> {
        let score = score.to_f64().unwrap_or(f64::NAN);
        self.threshold
            .map(|threshold| score > threshold || score.is_nan())
    }

    /// The score of a row that is as long on its way as the training rows are on average: what
    /// explanations start from.
    pub fn base_score(&self) -> f64 {
        self.score_of(self.expected_path)
    }

    /// The same forest scoring tables with so many threads; scores do not change. Numbers outside
    /// the parameter's range, 1 to 1024, count as the nearer end of it.
    pub fn with_n_threads(mut self, n_threads: usize) -> Self {
        self.n_threads = NonZeroUsize::new(n_threads.min(1024)).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// The score of one row, in (0, 1]: higher is more anomalous. The fast path for single rows:
    /// it allocates nothing and never panics.
    ///
    /// # Errors
    ///
    /// [`RowError::WrongLength`] if the row has not [`n_features`](Self::n_features) values,
    /// [`RowError::Infinite`] if one of them is infinite. An error and not a made-up score, so
    /// that a caller has to decide what an unscorable row means.
    pub fn score_one(&self, row: &[F]) -> Result<F, RowError> {
        self.check_length(row)?;
        let sum = match &self.layout {
            Layout::Packed(packed) => {
                let mut ranked = NO_RANKS;
                packed.rank(row, &mut ranked)?;
                packed.path(&ranked)
            }
            Layout::Plain(plain) => {
                self.check_finite(row)?;
                plain.path(row)
            }
        };
        Ok(self.narrow(self.score_of(sum)))
    }

    /// The scores of all rows of a table, or the first row that cannot be scored and why. The
    /// trait's `predict`, which cannot fail, gives `NaN` for such a row.
    ///
    /// # Errors
    ///
    /// As for [`score_one`](Self::score_one), with the number of the row.
    pub fn try_predict<D: Data<Elem = F>>(
        &self,
        records: &ArrayBase<D, Ix2>,
    ) -> Result<Array1<F>, (usize, RowError)> {
        if records.ncols() != self.n_features() {
            let (expected, found) = (self.n_features(), records.ncols());
            return Err((0, RowError::WrongLength { expected, found }));
        }
        let mut scores = Array1::zeros(records.nrows());
        self.score_table(records.view(), scores.view_mut());
        match scores.iter().position(|score: &F| score.is_nan()) {
            None => Ok(scores),
            Some(row) => {
                let infinite = records
                    .row(row)
                    .iter()
                    .position(|value| value.is_infinite());
                Err((
                    row,
                    RowError::Infinite {
                        column: infinite.unwrap_or(0),
                    },
                ))
            }
        }
    }

    /// `2^(−mean)` for a sum over the trees of normalised path lengths.
    pub(crate) fn score_of(&self, sum: f64) -> f64 {
        (-sum / self.n_trees() as f64).exp2().max(f64::MIN_POSITIVE)
    }

    /// A score as `F`, still above 0.
    fn narrow(&self, score: f64) -> F {
        F::cast(score).max(F::min_positive_value())
    }

    pub(crate) fn check_length(&self, row: &[F]) -> Result<(), RowError> {
        let (expected, found) = (self.n_features(), row.len());
        if expected == found {
            Ok(())
        } else {
            Err(RowError::WrongLength { expected, found })
        }
    }

    pub(crate) fn check_finite(&self, row: &[F]) -> Result<(), RowError> {
        match row.iter().position(|value| value.is_infinite()) {
            None => Ok(()),
            Some(column) => Err(RowError::Infinite { column }),
        }
    }

    /// Scores a table of the right width, in parts if there are threads and rows for it.
    pub(crate) fn score_table(&self, records: ArrayView2<'_, F>, mut scores: ArrayViewMut1<'_, F>) {
        let parts = self.n_threads.get().min(records.nrows() / ROWS_PER_THREAD);
        if parts < 2 {
            return self.score_rows(records, scores);
        }
        let rows = records.nrows().div_ceil(parts);
        std::thread::scope(|scope| {
            let records = records.axis_chunks_iter(Axis(0), rows);
            for (records, scores) in records.zip(scores.axis_chunks_iter_mut(Axis(0), rows)) {
                scope.spawn(move || self.score_rows(records, scores));
            }
        });
    }

    fn score_rows(&self, records: ArrayView2<'_, F>, mut scores: ArrayViewMut1<'_, F>) {
        // Only for rows that are not contiguous in memory.
        let mut scattered = Vec::new();
        match &self.layout {
            Layout::Packed(packed) => {
                let mut ranked = [NO_RANKS; BLOCK];
                let mut sums = [0.0; BLOCK];
                let blocks = records.axis_chunks_iter(Axis(0), BLOCK);
                for (records, mut scores) in blocks.zip(scores.axis_chunks_iter_mut(Axis(0), BLOCK))
                {
                    let mut finite = [true; BLOCK];
                    let lanes = ranked.iter_mut().zip(&mut finite);
                    for (record, (ranked, finite)) in records.rows().into_iter().zip(lanes) {
                        let row = match record.to_slice() {
                            Some(row) => row,
                            None => refill(&mut scattered, record.iter()),
                        };
                        *finite = packed.rank(row, ranked).is_ok();
                    }
                    packed.path_block(&ranked, &mut sums);
                    for (score, (&sum, finite)) in scores.iter_mut().zip(sums.iter().zip(finite)) {
                        *score = if finite {
                            self.narrow(self.score_of(sum))
                        } else {
                            F::nan()
                        };
                    }
                }
            }
            Layout::Plain(plain) => {
                for (record, score) in records.rows().into_iter().zip(scores.iter_mut()) {
                    let row = match record.to_slice() {
                        Some(row) => row,
                        None => refill(&mut scattered, record.iter()),
                    };
                    *score = match self.check_finite(row) {
                        Ok(()) => self.narrow(self.score_of(plain.path(row))),
                        Err(_) => F::nan(),
                    };
                }
            }
        }
    }
}

fn refill<'a, 'b, F: Copy + 'b>(
    buffer: &'a mut Vec<F>,
    values: impl Iterator<Item = &'b F>,
) -> &'a [F] {
    buffer.clear();
    buffer.extend(values);
    buffer
}

impl<F: Float> fmt::Debug for IsolationForest<F> {
    /// What the forest is, not its thousands of nodes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsolationForest")
            .field("n_trees", &self.n_trees())
            .field("n_features", &self.n_features())
            .field("sample_size", &self.sample_size())
            .field("extension_level", &self.extension_level())
            .field("n_nodes", &self.n_nodes())
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}

impl<F: Float> PartialEq for IsolationForest<F> {
    /// Whether two forests are the same: trees, threshold and age; not how many threads they use.
    fn eq(&self, other: &Self) -> bool {
        self.layout == other.layout
            && self.threshold == other.threshold
            && self.next_serial == other.next_serial
    }
}

/// Scores: in (0, 1], higher is more anomalous; `NaN` for a row with an infinite value (see
/// [`IsolationForest::try_predict`] for an error instead).
///
/// # Panics
///
/// As everywhere in linfa, if the table has another width than the forest, or the target another
/// length than the table.
impl<F: Float, D: Data<Elem = F>> PredictInplace<ArrayBase<D, Ix2>, Array1<F>>
    for IsolationForest<F>
{
    fn predict_inplace<'a>(&'a self, records: &'a ArrayBase<D, Ix2>, scores: &mut Array1<F>) {
        assert_eq!(
            records.nrows(),
            scores.len(),
            "The number of data points must match the number of output targets."
        );
        assert_eq!(
            records.ncols(),
            self.n_features(),
            "The number of columns must match the number of features of the forest."
        );
        self.score_table(records.view(), scores.view_mut());
    }

    fn default_target(&self, records: &ArrayBase<D, Ix2>) -> Array1<F> {
        Array1::zeros(records.nrows())
    }
}
