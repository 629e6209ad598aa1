//! Why a row has the score it has.

use crate::error::RowError;
use crate::forest::{IsolationForest, Layout};
use crate::packed::NO_RANKS;
use linfa::Float;
use std::f64::consts::LN_2;

/// A score with the score it is explained from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Explained {
    /// The row's score, in (0, 1]; what [`IsolationForest::score_one`] gives.
    pub score: f64,
    /// The score of a row with the average path length of the rows the forest was fitted on.
    pub base: f64,
}

/// A score and what each feature contributed to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The row's score, in (0, 1].
    pub score: f64,
    /// The score the contributions start from.
    pub base: f64,
    /// For each feature its contribution: positive makes the row more anomalous. They add up to
    /// `score − base`.
    pub contributions: Vec<f64>,
}

impl<F: Float> IsolationForest<F> {
    /// Writes to `contributions` what each feature contributed to the score of `row`.
    ///
    /// Positive contributions make the row more anomalous. They add up to `score − base` within
    /// 10⁻¹², in the order of the columns. Nothing is allocated. For a forest in the packed
    /// layout (up to 127 features, trees of up to 256 leaves) it takes less than twice as long
    /// as [`score_one`](Self::score_one), score included; for others about 3 times.
    ///
    /// # Method
    ///
    /// Path attribution on the expected path length: each split a row passes changes the path
    /// length to be expected for it, from the average over the training rows in the node to the
    /// average over those in the child, and the change is credited to the feature that was cut
    /// (Saabas, *Interpreting random forests*, 2014; Palczewska et al., *Interpreting random
    /// forest models using a feature contribution method*, IRI 2013). The changes along a path
    /// add up to the path length less the tree's average. That the cuts come in random order is
    /// what makes this fair here: averaged over the trees, no feature has the advantage of
    /// being cut first, the known bias of the method in greedy trees.
    ///
    /// The step from path length to score, 2^(−h), is not linear. Contributions are carried over
    /// by its secant: all are multiplied by `(score − base) / (h − h̄)`, where `h` and `h̄` are
    /// the normalised path length of the row and the average one. So their ratios and the
    /// signs of path lengths are kept and the sum is exact.
    ///
    /// In an extended forest the change at a hyperplane is shared among its features by
    /// how far each moves the row along it (after Arcudi et al., *ExIFFI*, 2023).
    ///
    /// A feature whose value is missing goes the way each split keeps for it and is credited like
    /// any other: the changes cancel out over the trees, and its contribution is close to zero.
    ///
    /// # Errors
    ///
    /// As for [`score_one`](Self::score_one), and [`RowError::WrongOutput`] if `contributions`
    /// has not one place for each feature. On an error `contributions` is left as it was.
    pub fn explain_into(
        &self,
        row: &[F],
        contributions: &mut [f64],
    ) -> Result<Explained, RowError> {
        if contributions.len() != self.n_features() {
            return Err(RowError::WrongOutput {
                expected: self.n_features(),
                found: contributions.len(),
            });
        }
        self.check_length(row)?;
        let sum = match &self.layout {
            Layout::Packed(packed) => {
                let mut ranked = NO_RANKS;
                packed.rank(row, &mut ranked)?;
                let walk = packed.explain(&ranked);
                contributions.copy_from_slice(
                    walk.by_feature
                        .get(..contributions.len())
                        .unwrap_or_default(),
                );
                walk.path
            }
            Layout::Plain(plain) => {
                self.check_finite(row)?;
                contributions.fill(0.0);
                plain.explain(row, contributions)
            }
        };
        let trees = self.n_trees() as f64;
        let (path, expected) = (sum / trees, self.expected_path / trees);
        // On the packed way changes are rounded to 2⁻¹⁵ of the longest path; what that leaves over
        // is spread by size, so that the sum is exact.
        let total: f64 = contributions.iter().sum();
        let size: f64 = contributions.iter().map(|change| change.abs()).sum();
        let rest = sum - self.expected_path - total;
        let slope = secant(path, expected) / trees;
        let places = contributions.len() as f64;
        for change in contributions.iter_mut() {
            let part = if size > 0.0 {
                change.abs() / size
            } else {
                1.0 / places
            };
            *change = (*change + rest * part) * slope;
        }
        Ok(Explained {
            score: self.score_of(sum),
            base: self.base_score(),
        })
    }

    /// As [`explain_into`](Self::explain_into), with the contributions in a new vector.
    ///
    /// # Errors
    ///
    /// As for [`score_one`](Self::score_one).
    pub fn explain(&self, row: &[F]) -> Result<Explanation, RowError> {
        self.check_length(row)?;
        let mut contributions = vec![0.0; row.len()];
        let Explained { score, base } = self.explain_into(row, &mut contributions)?;
        Ok(Explanation {
            score,
            base,
            contributions,
        })
    }
}

/// `(2^−h − 2^−m) / (h − m)`, also where the two are close or the same, or far from each other.
fn secant(h: f64, m: f64) -> f64 {
    let gap = LN_2 * (h - m).abs();
    let quotient = if gap == 0.0 {
        1.0
    } else {
        -(-gap).exp_m1() / gap
    };
    -LN_2 * (-h.min(m)).exp2() * quotient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secant_joins_two_scores() {
        let far = [(0.1, 5000.0), (5000.0, 0.1)];
        let near = [(0.3, 1.1), (1.1, 0.3), (1.0, 1.0 + 1e-13), (2.0, 2.0)];
        for (h, m) in near.into_iter().chain(far) {
            let wanted = f64::exp2(-h) - f64::exp2(-m);
            assert!((secant(h, m) * (h - m) - wanted).abs() < 1e-15);
        }
        let derivative = -LN_2 * 0.25;
        assert!((secant(2.0, 2.0) - derivative).abs() < 1e-15);
    }
}
