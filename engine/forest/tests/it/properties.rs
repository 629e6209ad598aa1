//! What holds for any table and any parameters.

use crate::data::{holed, normal};
use forest::{IsolationForest, Reservoir};
use linfa::prelude::*;
use ndarray::{Array1, Array2, Axis};
use proptest::prelude::*;

/// Values of all sizes, with ties and holes.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -10.0..10.0,
        3 => (-3_i8..4).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
    ]
}

fn table(value: impl Strategy<Value = f64>) -> impl Strategy<Value = Array2<f64>> {
    let shape = (1_usize..40, 1_usize..6);
    let values = prop::collection::vec(value, 40 * 6);
    (shape, values).prop_map(|((rows, columns), values)| {
        Array2::from_shape_fn((rows, columns), |(i, j)| values[i * columns + j])
    })
}

prop_compose! {
    /// Any forest, and any rows for it.
    fn fitted()(
        records in table(value()),
        trees in 1_usize..12,
        sample in 1_usize..50,
        depth in prop::option::of(1_usize..20),
        level in 0_usize..3,
        fraction in 0.01..1.0_f64,
        seed: u64,
    ) -> (Array2<f64>, IsolationForest<f64>) {
        let seen = (fraction * records.ncols() as f64).ceil() as usize;
        let params = IsolationForest::params()
            .n_trees(trees)
            .sample_size(sample)
            .column_fraction(fraction)
            .extension_level(level.min(seen - 1))
            .seed(seed);
        let params = if let Some(depth) = depth { params.max_depth(depth) } else { params };
        let forest = params.fit(&DatasetBase::from(records.view())).unwrap();
        (records, forest)
    }
}

fn predict(forest: &IsolationForest<f64>, records: &Array2<f64>) -> Array1<f64> {
    forest.predict(records)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scores_are_above_zero_and_at_most_one((records, forest) in fitted(), odd in prop::collection::vec(value(), 6)) {
        let row = &odd[..records.ncols()];
        let score = forest.score_one(row).unwrap();
        prop_assert!(score > 0.0 && score <= 1.0);
        for score in predict(&forest, &records) {
            prop_assert!(score > 0.0 && score <= 1.0);
        }
        // Also where the narrower float has no such small numbers.
        let narrow = records.mapv(|x| if x.abs() > 1e30 { 0.0 } else { x as f32 });
        let params = IsolationForest::params().n_trees(3).max_depth(1000);
        let forest = params.fit(&DatasetBase::from(narrow.view())).unwrap();
        let scores: Array1<f32> = forest.predict(&narrow);
        for score in scores {
            prop_assert!(score > 0.0 && score <= 1.0);
        }
    }

    #[test]
    fn contributions_add_up((records, forest) in fitted(), odd in prop::collection::vec(value(), 6)) {
        let rows = records.rows().into_iter().map(|row| row.to_vec());
        for row in rows.chain([odd[..records.ncols()].to_vec()]) {
            let explained = forest.explain(&row).unwrap();
            let sum: f64 = explained.contributions.iter().sum();
            prop_assert!((sum - (explained.score - explained.base)).abs() < 1e-12);
            prop_assert_eq!(Ok(explained.score), forest.score_one(&row));
        }
    }

    /// Saved and loaded is the same forest, and so are the bytes and the scores' bits.
    #[test]
    fn saved_is_loaded((records, forest) in fitted()) {
        let bytes = forest.to_bytes();
        let loaded = IsolationForest::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&loaded, &forest);
        prop_assert_eq!(loaded.to_bytes(), bytes);
        let bits = |forest| predict(forest, &records).mapv(f64::to_bits);
        prop_assert_eq!(bits(&loaded), bits(&forest));
    }

    /// The unit of a column does not matter: exactly so for powers of two.
    #[test]
    fn scaling_a_column_changes_nothing(
        records in table(prop_oneof![9 => -1e3..1e3, 1 => Just(f64::NAN)]),
        power in -40_i32..40,
        level in 0_usize..2,
        column in 0_usize..6,
    ) {
        let level = level.min(records.ncols() - 1);
        let params = IsolationForest::params().n_trees(5).extension_level(level).seed(3);
        let mut scaled = records.clone();
        let column = column % records.ncols();
        scaled.column_mut(column).mapv_inplace(|x| x * 2_f64.powi(power));
        let before = params.fit(&DatasetBase::from(records.view())).unwrap();
        let after = params.fit(&DatasetBase::from(scaled.view())).unwrap();
        prop_assert_eq!(predict(&before, &records), predict(&after, &scaled));
    }

    /// Rows are scored one by one: in another order, the same scores in that order.
    #[test]
    fn rows_do_not_see_each_other((records, forest) in fitted(), shift in 0_usize..40) {
        let rows = records.nrows();
        let order: Vec<usize> = (0..rows).map(|row| (row * 7 + shift) % rows).collect();
        let scores = predict(&forest, &records).select(Axis(0), &order);
        prop_assert_eq!(scores, predict(&forest, &records.select(Axis(0), &order)));
    }

    /// M11: same seed, same forest, same bytes, on any number of threads: fitted, with trees
    /// replaced, and from a stream.
    #[test]
    fn threads_leave_no_trace(seed: u64, threads in 2_usize..9, level in 0_usize..2) {
        let dataset = DatasetBase::from(holed(200, 3, 1));
        let params = || IsolationForest::params().n_trees(11).sample_size(32).seed(seed).extension_level(level).contamination(0.2);
        let fresh = DatasetBase::from(holed(200, 3, 2));
        let lives = [1, threads].map(|threads| {
            let params = params().n_threads(threads);
            let mut forest = params.fit(&dataset).unwrap();
            let fitted = forest.to_bytes();
            forest.replace_oldest(7, &params, &fresh).unwrap();
            let mut reservoir = Reservoir::new(params).unwrap();
            reservoir.push(&dataset.records).unwrap();
            [fitted, forest.to_bytes(), reservoir.fit().unwrap().to_bytes()]
        });
        prop_assert_eq!(&lives[0], &lives[1]);
    }
}

fn apart(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    (a - b).mapv(f64::abs).mean().unwrap()
}

/// Permuting rows or columns of the table changes no more than another seed does.
#[test]
fn permutations_change_nothing_beyond_sampling() {
    let mut records = normal(1500, 5, 1);
    records.column_mut(1).mapv_inplace(f64::round);
    records.column_mut(2).mapv_inplace(f64::exp);
    let (rows, columns) = (
        (0..1500).map(|row| row * 7 % 1500).collect::<Vec<_>>(),
        [3, 0, 4, 1, 2],
    );
    for level in [0, 1] {
        let fit = |records: &Array2<f64>, seed| {
            let params = IsolationForest::params()
                .n_trees(400)
                .extension_level(level)
                .seed(seed);
            params.fit(&DatasetBase::from(records.view())).unwrap()
        };
        let scores = predict(&fit(&records, 1), &records);
        let reseeded = apart(&scores, &predict(&fit(&records, 2), &records));
        let mixed = records.select(Axis(0), &rows);
        let by_rows = apart(&scores, &predict(&fit(&mixed, 1), &records));
        let mixed = records.select(Axis(1), &columns);
        let by_columns = apart(&scores, &predict(&fit(&mixed, 1), &mixed));
        assert!(
            by_rows < 1.5 * reseeded && by_columns < 1.5 * reseeded,
            "level {level}: rows {by_rows}, columns {by_columns}, seeds {reseeded}"
        );
    }
}

/// The variance of a score over seeds falls as one over the number of trees.
#[test]
fn more_trees_less_variance() {
    let records = normal(1000, 4, 1);
    let dataset = DatasetBase::from(records.view());
    let variance = |trees: usize| {
        let scores: Vec<Array1<f64>> = (0..16)
            .map(|seed| {
                let params = IsolationForest::params()
                    .n_trees(trees)
                    .sample_size(128)
                    .seed(seed);
                predict(&params.fit(&dataset).unwrap(), &records)
            })
            .collect();
        let views: Vec<_> = scores.iter().map(Array1::view).collect();
        let all = ndarray::stack(Axis(0), &views).unwrap();
        all.var_axis(Axis(0), 1.0).mean().unwrap()
    };
    let [few, some, many] = [5, 20, 80].map(variance);
    for ratio in [few / some, some / many] {
        assert!((3.0..5.3).contains(&ratio), "{few} {some} {many}");
    }
}

/// The same bytes wherever this runs: whatever the word size, the word order or the libraries.
#[test]
fn bytes_are_the_same_on_every_platform() {
    let grid = Array2::from_shape_fn((500, 3), |(i, j)| ((i * (j + 3)) % 101) as f64 / 8.0);
    let checksum = |level: usize| {
        let params = IsolationForest::params()
            .n_trees(10)
            .extension_level(level)
            .seed(7);
        let bytes = params
            .fit(&DatasetBase::from(grid.view()))
            .unwrap()
            .to_bytes();
        u32::from_le_bytes(*bytes.last_chunk().unwrap())
    };
    assert_eq!([checksum(0), checksum(1)], [336_502_669, 1_493_255_336]);
}
