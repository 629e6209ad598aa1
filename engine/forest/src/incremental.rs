//! A forest's later life: forgetting old trees for new ones, and growing together.

use crate::error::{IsolationForestError, MergeError};
use crate::forest::IsolationForest;
use crate::hyperparams::{IsolationForestParams, IsolationForestValidParams};
use crate::trees::{MOST_NODES, Trees};
use linfa::traits::FitWith;
use linfa::{DatasetBase, Float, ParamGuard};
use ndarray::{ArrayBase, ArrayView2, Data, Ix2};
use rand::{RngCore, SeedableRng};

impl<F: Float> IsolationForest<F> {
    /// Forgets the `count` oldest trees and grows as many on new records (all of them if there
    /// are not that many), so that the forest follows its data at the cost of those trees alone.
    ///
    /// `params` are those of the new trees; their `n_trees` is not looked at. The trees get
    /// serial numbers no tree of this forest had before, so the same seed may be used each time.
    /// If `params` have a contamination or a threshold, the forest's threshold is set anew, with
    /// the new records; else it stays as it is.
    ///
    /// # Errors
    ///
    /// As for fitting, and [`IsolationForestError::WrongWidth`] or
    /// [`IsolationForestError::Merge`] if the new trees do not fit. The forest is then unchanged.
    pub fn replace_oldest<R, D, T>(
        &mut self,
        count: usize,
        params: &IsolationForestParams<F, R>,
        dataset: &DatasetBase<ArrayBase<D, Ix2>, T>,
    ) -> Result<(), IsolationForestError>
    where
        R: RngCore + SeedableRng + Clone,
        D: Data<Elem = F>,
    {
        self.replace(count, params.check_ref()?, dataset.records.view())
    }

    fn replace<R: RngCore + SeedableRng + Clone>(
        &mut self,
        count: usize,
        params: &IsolationForestValidParams<F, R>,
        records: ArrayView2<'_, F>,
    ) -> Result<(), IsolationForestError> {
        let (expected, found) = (self.n_features(), records.ncols());
        if expected != found {
            return Err(IsolationForestError::WrongWidth { expected, found });
        }
        let count = count.min(self.n_trees());
        let fresh = params.grow(self.next_serial, count, records)?;
        let mut trees = self.trees();
        joinable(&trees, &fresh)?;
        trees.forget(count);
        trees.append(fresh);
        *self = Self {
            next_serial: self.next_serial.wrapping_add(count as u64),
            threshold: self.threshold,
            ..Self::from_trees(trees)
        };
        params.settle(self, records);
        Ok(())
    }

    /// Takes in the trees of another forest, as younger than its own. The scores are then those
    /// of one forest of all trees; each tree keeps to the sub-sample it was grown on.
    ///
    /// Threshold and threads stay those of `self`. The two should have been fitted with different
    /// seeds, or their trees are drawn alike.
    ///
    /// # Errors
    ///
    /// [`MergeError`] if the two differ in features or extension level, or are too large
    /// together. The forest is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        let (mut trees, others) = (self.trees(), other.trees());
        joinable(&trees, &others)?;
        trees.append(others);
        *self = Self {
            next_serial: self.next_serial.max(other.next_serial),
            threshold: self.threshold,
            n_threads: self.n_threads,
            ..Self::from_trees(trees)
        };
        Ok(())
    }
}

/// Whether trees can be part of one forest.
fn joinable<F: Float>(left: &Trees<F>, right: &Trees<F>) -> Result<(), MergeError> {
    if left.n_features != right.n_features {
        return Err(MergeError::Features {
            left: left.n_features,
            right: right.n_features,
        });
    }
    if left.extension != right.extension {
        return Err(MergeError::Extension {
            left: left.extension,
            right: right.extension,
        });
    }
    let most = (left.nodes.len() + right.nodes.len()).max(left.terms.len() + right.terms.len());
    if most > MOST_NODES {
        Err(MergeError::TooLarge)
    } else {
        Ok(())
    }
}

/// linfa's incremental fit: the `n_trees` of the parameters are grown on the dataset and take the
/// place of as many of the oldest trees of the forest; without a forest, one is fitted.
///
/// # Errors
///
/// As for [`IsolationForest::replace_oldest`].
impl<'a, F, R, D, T> FitWith<'a, ArrayBase<D, Ix2>, T, IsolationForestError>
    for IsolationForestValidParams<F, R>
where
    F: Float + 'a,
    R: RngCore + SeedableRng + Clone,
    D: Data<Elem = F>,
{
    type ObjectIn = Option<IsolationForest<F>>;
    type ObjectOut = IsolationForest<F>;

    fn fit_with(
        &self,
        forest: Self::ObjectIn,
        dataset: &'a DatasetBase<ArrayBase<D, Ix2>, T>,
    ) -> Result<Self::ObjectOut, IsolationForestError> {
        match forest {
            None => linfa::traits::Fit::fit(self, dataset),
            Some(mut forest) => {
                forest.replace(self.n_trees, self, dataset.records.view())?;
                Ok(forest)
            }
        }
    }
}
