//! Fitting: from checked parameters and a table to a forest.

use crate::error::IsolationForestError;
use crate::forest::IsolationForest;
use crate::grow::{Plan, grow_trees};
use crate::hyperparams::{IsolationForestValidParams, refused};
use crate::trees::{MOST_NODES, Trees};
use linfa::traits::Fit;
use linfa::{DatasetBase, Float};
use ndarray::{ArrayBase, ArrayView2, Data, Ix2};
use rand::{RngCore, SeedableRng};
use std::num::NonZeroUsize;

/// Fits on the records; targets, weights and names of the dataset are not looked at.
///
/// # Errors
///
/// [`IsolationForestError`]: a parameter out of its range, a table without rows or columns, an
/// infinite value, or a forest too large to index.
impl<F, R, D, T> Fit<ArrayBase<D, Ix2>, T, IsolationForestError>
    for IsolationForestValidParams<F, R>
where
    F: Float,
    R: RngCore + SeedableRng + Clone,
    D: Data<Elem = F>,
{
    type Object = IsolationForest<F>;

    fn fit(
        &self,
        dataset: &DatasetBase<ArrayBase<D, Ix2>, T>,
    ) -> Result<Self::Object, IsolationForestError> {
        let records = dataset.records.view();
        let trees = self.grow(0, self.n_trees, records)?;
        let mut forest = IsolationForest::from_trees(trees);
        self.settle(&mut forest, records);
        Ok(forest)
    }
}

impl<F: Float, R: RngCore + SeedableRng + Clone> IsolationForestValidParams<F, R> {
    /// The seed of all trees.
    pub(crate) fn forest_seed(&self) -> u64 {
        self.rng.clone().next_u64()
    }

    /// What growing needs to know, for a table of `width` columns of which trees of `sample` rows
    /// are to be grown.
    pub(crate) fn plan(
        &self,
        n_trees: usize,
        sample: usize,
        width: usize,
    ) -> Result<Plan, IsolationForestError> {
        // At least one column: the fraction is above 0. At most all: it is at most 1.
        let columns = (self.column_fraction * width as f64).ceil() as usize;
        if self.extension_level >= columns {
            let range = format!("below {columns}, the number of columns each tree sees");
            return Err(refused("extension_level", self.extension_level, range));
        }
        let per_row = if self.extension_level > 0 {
            self.extension_level + 1
        } else {
            2
        };
        let size = n_trees
            .checked_mul(sample)
            .and_then(|rows| rows.checked_mul(per_row));
        if size.is_none_or(|size| size > MOST_NODES) || width > MOST_NODES {
            return Err(IsolationForestError::TooLarge {
                trees: n_trees,
                sample,
            });
        }
        Ok(Plan {
            sample_size: u32::try_from(sample).unwrap_or(u32::MAX),
            max_depth: self
                .max_depth
                .map(|depth| u32::try_from(depth).unwrap_or(u32::MAX)),
            extension: self.extension_level,
            columns,
        })
    }

    /// Grows `count` trees numbered from `first` on.
    pub(crate) fn grow(
        &self,
        first: u64,
        count: usize,
        records: ArrayView2<'_, F>,
    ) -> Result<Trees<F>, IsolationForestError> {
        let (rows, columns) = records.dim();
        if rows == 0 || columns == 0 {
            return Err(IsolationForestError::NoData { rows, columns });
        }
        let plan = self.plan(count, self.sample_size.min(rows), columns)?;
        if u32::try_from(rows).is_err() {
            return Err(IsolationForestError::TooLarge {
                trees: count,
                sample: rows,
            });
        }
        if let Some((row, column)) = first_infinite(records) {
            return Err(IsolationForestError::Infinite { row, column });
        }
        let seed = self.forest_seed();
        Ok(in_parts(self.n_threads, count, |from, to| {
            // Round the end, since a saved forest may claim to have grown any number of trees.
            let serials = (from..to).map(|at| first.wrapping_add(at as u64));
            grow_trees::<F, R>(&plan, seed, serials, records)
        }))
    }

    /// Sets what the parameters say about using the forest: threads, and the threshold.
    pub(crate) fn settle(&self, forest: &mut IsolationForest<F>, records: ArrayView2<'_, F>) {
        forest.n_threads = NonZeroUsize::new(self.n_threads).unwrap_or(NonZeroUsize::MIN);
        if self.threshold.is_some() {
            forest.threshold = self.threshold;
        }
        if let Some(contamination) = self.contamination {
            let mut scores = ndarray::Array1::zeros(records.nrows());
            forest.score_table(records, scores.view_mut());
            forest.threshold = quantile(scores.into_raw_vec_and_offset().0, contamination);
        }
    }
}

/// Grows `count` trees in up to `n_threads` parts at once; the parts are joined in order, so their
/// number leaves no trace.
pub(crate) fn in_parts<F: Float>(
    n_threads: usize,
    count: usize,
    grow: impl Fn(usize, usize) -> Trees<F> + Sync,
) -> Trees<F> {
    let size = count.div_ceil(n_threads.clamp(1, count.max(1)));
    if size >= count {
        return grow(0, count);
    }
    let parts: Vec<_> = std::thread::scope(|scope| {
        let grow = &grow;
        let starts = (0..count).step_by(size);
        let threads: Vec<_> = starts
            .map(|from| scope.spawn(move || grow(from, count.min(from + size))))
            .collect();
        let parts = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        parts
            .map(|part| part.unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
            .collect()
    });
    let mut parts = parts.into_iter();
    let mut trees = parts.next().unwrap_or_else(|| Trees::empty(0, 0));
    parts.for_each(|part| trees.append(part));
    trees
}

/// Row and column of the first infinite value.
pub(crate) fn first_infinite<F: Float>(records: ArrayView2<'_, F>) -> Option<(usize, usize)> {
    if let Some(values) = records.as_slice() {
        // All of a part at once: without a way out of the loop it is vectorised.
        let infinite = |part: &[F]| part.iter().fold(false, |any, x| any | x.is_infinite());
        let part = values.chunks(4096).position(infinite)?;
        let rest = values.get(part * 4096..)?;
        let at = part * 4096 + rest.iter().position(|x| x.is_infinite())?;
        return Some((at / records.ncols(), at % records.ncols()));
    }
    let mut values = records.indexed_iter();
    values
        .find(|(_, value)| value.is_infinite())
        .map(|(place, _)| place)
}

/// The score that `contamination` of the given ones are above, as near as ties allow: halfway
/// between the last that is above and the first that is not.
pub(crate) fn quantile<F: Float>(mut scores: Vec<F>, contamination: f64) -> Option<f64> {
    scores.sort_unstable_by(|a, b| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal));
    let above = (contamination * scores.len() as f64).round() as usize;
    let first_below = scores
        .get(above.min(scores.len().saturating_sub(1)))?
        .to_f64()?;
    let last_above = scores.get(above.saturating_sub(1))?.to_f64()?;
    Some(if above == 0 {
        last_above
    } else {
        (last_above + first_below) / 2.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Axis, Slice};

    #[test]
    fn first_infinite_finds_the_first_whatever_the_memory_order() {
        let mut table = Array2::<f64>::zeros((3000, 3));
        assert_eq!(first_infinite(table.view()), None);
        table[(2500, 1)] = f64::NEG_INFINITY;
        table[(2999, 0)] = f64::INFINITY;
        table[(0, 0)] = f64::NAN;
        assert_eq!(first_infinite(table.view()), Some((2500, 1)));
        assert_eq!(
            first_infinite(table.slice_axis(Axis(1), Slice::new(0, None, 2))),
            Some((2999, 0))
        );
        assert_eq!(first_infinite(table.t()), Some((0, 2999)));
    }

    #[test]
    fn quantile_leaves_the_wanted_part_above() {
        let scores: Vec<f64> = (1..=100).map(|i| f64::from(i) / 100.0).collect();
        for (part, count) in [(0.1, 10), (0.5, 50), (0.004, 0), (0.25, 25)] {
            let threshold = quantile(scores.clone(), part).unwrap();
            assert_eq!(
                scores.iter().filter(|&&score| score > threshold).count(),
                count
            );
        }
        assert_eq!(quantile(vec![0.5], 0.1), Some(0.5));
    }
}
