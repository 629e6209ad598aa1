//! Tables to learn from.

use forest::IsolationForest;
use linfa::prelude::*;
use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;

/// Rows of independent, roughly normal columns.
pub(crate) fn normal(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut rng = Xoshiro256Plus::seed_from_u64(seed);
    Array2::from_shape_simple_fn((rows, columns), || {
        (0..12).map(|_| rng.r#gen::<f64>()).sum::<f64>() - 6.0
    })
}

/// The same with some values missing and some tied.
pub(crate) fn holed(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut rng = Xoshiro256Plus::seed_from_u64(seed ^ 0xF00D);
    normal(rows, columns, seed).mapv(|x| match rng.gen_range(0..10) {
        0 => f64::NAN,
        1..=3 => x.round(),
        _ => x,
    })
}

/// A small forest with every feature of the axis-parallel kind.
pub(crate) fn small(seed: u64) -> IsolationForest<f64> {
    let dataset = DatasetBase::from(holed(300, 4, 1));
    let params = IsolationForest::params()
        .n_trees(7)
        .sample_size(64)
        .contamination(0.1);
    params.seed(seed).fit(&dataset).unwrap()
}

/// A small extended forest.
pub(crate) fn extended(seed: u64) -> IsolationForest<f64> {
    let dataset = DatasetBase::from(holed(300, 4, 1));
    let params = IsolationForest::params()
        .n_trees(5)
        .sample_size(32)
        .extension_level(2);
    params.seed(seed).fit(&dataset).unwrap()
}
