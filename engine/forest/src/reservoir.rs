//! Fitting on a stream: chunk by chunk, without ever holding the data.

use crate::error::IsolationForestError;
use crate::fit::{first_infinite, in_parts, quantile};
use crate::forest::IsolationForest;
use crate::grow::Grower;
use crate::hyperparams::IsolationForestValidParams;
use crate::sample::{below, tree_rng, unit};
use crate::trees::Trees;
use linfa::{Float, ParamGuard};
use ndarray::{Array1, ArrayBase, ArrayView2, Data, Ix2};
use rand::{RngCore, SeedableRng};
use std::num::NonZeroUsize;

/// Sub-samples of a stream of rows, one for each tree, from which a forest can be fitted.
///
/// Each tree keeps a uniform sample without replacement of all rows seen (reservoir sampling by
/// Li's algorithm L, ACM TOMS 1994), as if it had drawn from the whole table; the result does not
/// depend on how the stream was cut into chunks. (The gaps between rows taken come from the
/// platform's logarithm: where its last digit differs, so might, once in very many rows, a sample.)
/// Memory is `n_trees × sample_size` rows however
/// long the stream, and the work beyond reading it grows with its logarithm.
///
/// ```
/// use forest::{IsolationForest, Reservoir};
/// use ndarray::Array2;
///
/// # fn main() -> Result<(), forest::IsolationForestError> {
/// let params = IsolationForest::params().n_trees(50).seed(7);
/// let mut reservoir = Reservoir::new(params)?;
/// for chunk in 0..20 {
///     let rows = Array2::from_shape_fn((1000, 3), |(i, j)| ((chunk * 1000 + i) * (j + 7) % 101) as f64);
///     reservoir.push(&rows)?;
/// }
/// assert_eq!(reservoir.rows_seen(), 20_000);
/// let forest = reservoir.fit()?;
/// assert_eq!(forest.sample_size(), 256);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Reservoir<F, R> {
    params: IsolationForestValidParams<F, R>,
    width: usize,
    seen: u64,
    samples: Vec<Sample<F, R>>,
}

/// The reservoir of one tree.
#[derive(Debug, Clone)]
struct Sample<F, R> {
    rng: R,
    /// Rows kept, one after the other.
    rows: Vec<F>,
    /// Number of the next row to take.
    next: u64,
    /// Largest of as many uniforms as rows are kept: algorithm L's state.
    largest: f64,
}

impl<F: Float, R: RngCore + SeedableRng + Clone> Reservoir<F, R> {
    /// An empty reservoir for a forest with the given parameters. The first chunk says how wide
    /// rows are.
    ///
    /// # Errors
    ///
    /// If a parameter is outside its range.
    pub fn new(
        params: impl ParamGuard<
            Checked = IsolationForestValidParams<F, R>,
            Error = IsolationForestError,
        >,
    ) -> Result<Self, IsolationForestError> {
        Ok(Self {
            params: params.check()?,
            width: 0,
            seen: 0,
            samples: Vec::new(),
        })
    }

    /// Rows offered so far.
    pub fn rows_seen(&self) -> u64 {
        self.seen
    }

    /// Offers rows; any number, also none.
    ///
    /// # Errors
    ///
    /// [`IsolationForestError::WrongWidth`] if they are not as wide as the first ones,
    /// [`IsolationForestError::Infinite`] if a value is infinite, with its row counted from the
    /// start of the stream, or as for fitting. The reservoir is then as before the call.
    pub fn push<D: Data<Elem = F>>(
        &mut self,
        rows: &ArrayBase<D, Ix2>,
    ) -> Result<(), IsolationForestError> {
        let rows = rows.view();
        if rows.nrows() == 0 {
            return Ok(());
        }
        let width = rows.ncols();
        if self.samples.is_empty() {
            if width == 0 {
                return Err(IsolationForestError::NoData {
                    rows: rows.nrows(),
                    columns: 0,
                });
            }
            self.params
                .plan(self.params.n_trees, self.params.sample_size, width)?;
        } else if width != self.width {
            return Err(IsolationForestError::WrongWidth {
                expected: self.width,
                found: width,
            });
        }
        if let Some((row, column)) = first_infinite(rows) {
            let row = usize::try_from(self.seen)
                .unwrap_or(usize::MAX)
                .saturating_add(row);
            return Err(IsolationForestError::Infinite { row, column });
        }
        if self.samples.is_empty() {
            self.width = width;
            let seed = self.params.forest_seed();
            self.samples = (0..self.params.n_trees as u64)
                .map(|serial| Sample {
                    rng: tree_rng(seed, serial),
                    rows: Vec::new(),
                    next: 0,
                    largest: 1.0,
                })
                .collect();
        }
        for sample in &mut self.samples {
            sample.offer(rows, self.seen, self.params.sample_size);
        }
        self.seen += rows.nrows() as u64;
        Ok(())
    }

    /// Fits a forest on the rows kept. The reservoir can go on and be fitted again later.
    ///
    /// A contamination is taken as a part of the rows kept, over all trees: the others are gone.
    ///
    /// # Errors
    ///
    /// [`IsolationForestError::NoData`] if no row was offered.
    pub fn fit(&self) -> Result<IsolationForest<F>, IsolationForestError>
    where
        R: Sync,
    {
        if self.samples.is_empty() {
            return Err(IsolationForestError::NoData {
                rows: 0,
                columns: self.width,
            });
        }
        let kept = self.params.sample_size;
        let plan = self.params.plan(self.params.n_trees, kept, self.width)?;
        let trees = in_parts(self.params.n_threads, self.samples.len(), |from, to| {
            let mut trees = Trees::empty(self.width, plan.extension);
            let mut grower = Grower::default();
            for sample in self.samples.get(from..to).unwrap_or_default() {
                let Some(rows) = sample.view(self.width) else {
                    continue;
                };
                let mut order: Vec<u32> = (0..rows.nrows() as u32).collect();
                // A copy, so that fitting again after more rows draws afresh from the same state.
                let mut rng = sample.rng.clone();
                grower.grow(&plan, &mut rng, rows, &mut order, &mut trees);
            }
            trees
        });
        let mut forest = IsolationForest::from_trees(trees);
        forest.n_threads = NonZeroUsize::new(self.params.n_threads).unwrap_or(NonZeroUsize::MIN);
        forest.threshold = self.params.threshold;
        if let Some(contamination) = self.params.contamination {
            let mut all = Vec::new();
            for rows in self
                .samples
                .iter()
                .filter_map(|sample| sample.view(self.width))
            {
                let mut scores = Array1::zeros(rows.nrows());
                forest.score_table(rows, scores.view_mut());
                all.extend(scores);
            }
            forest.threshold = quantile(all, contamination);
        }
        Ok(forest)
    }
}

impl<F: Float, R: RngCore> Sample<F, R> {
    /// Takes what it wants of rows that are numbers `seen` and following of the stream.
    fn offer(&mut self, rows: ArrayView2<'_, F>, seen: u64, capacity: usize) {
        let width = rows.ncols();
        let end = seen + rows.nrows() as u64;
        while self.next < end {
            let row = rows.row((self.next - seen) as usize);
            let kept = self.rows.len() / width;
            if kept < capacity {
                self.rows.extend(row.iter().copied());
                self.next += 1;
                if kept + 1 == capacity {
                    self.skip(capacity);
                }
            } else {
                let place = below(&mut self.rng, capacity as u32) as usize * width;
                for (old, &new) in self.rows.iter_mut().skip(place).zip(row.iter()) {
                    *old = new;
                }
                self.next += 1;
                self.skip(capacity);
            }
        }
    }

    /// Decides how many rows to let pass.
    fn skip(&mut self, capacity: usize) {
        // In (0, 1]: a logarithm of zero would end the sampling.
        let mut draw = || 1.0 - unit(&mut self.rng);
        self.largest *= (draw().ln() / capacity as f64).exp();
        let passed = (draw().ln() / (-self.largest).ln_1p()).floor();
        // Saturates: from some length on, no stream is long enough.
        self.next = self.next.saturating_add(passed as u64);
    }

    fn view(&self, width: usize) -> Option<ArrayView2<'_, F>> {
        ArrayView2::from_shape((self.rows.len().checked_div(width)?, width), &self.rows).ok()
    }
}
