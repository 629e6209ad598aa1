//! linfa's conventions: parameters, guards, fitting, predicting, errors.

use crate::data::{holed, normal};
use forest::{IsolationForest, IsolationForestError, IsolationForestParams, RowError};
use linfa::prelude::*;
use ndarray::{Array1, Array2, ArrayView2, Axis, array};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;

/// M11, and the call to be compiled. B18: what comes out are scores, not ±1.
#[test]
fn fit_and_predict() -> Result<(), IsolationForestError> {
    let records: Array2<f64> = normal(500, 3, 1);
    let dataset = linfa::Dataset::new(records.clone(), Array1::from_elem(500, ()));
    let forest = IsolationForest::params()
        .n_trees(100)
        .sample_size(256)
        .seed(7)
        .fit(&dataset)?;
    let scores: Array1<f64> = forest.predict(&records);
    assert!(scores.iter().all(|&score| score > 0.0 && score < 1.0));
    let distinct = scores
        .iter()
        .map(|score| score.to_bits())
        .collect::<std::collections::HashSet<_>>();
    assert!(distinct.len() > 400);
    Ok(())
}

#[test]
fn all_four_ways_to_predict() {
    let dataset = DatasetBase::from(normal(50, 3, 1));
    let forest = IsolationForest::params().n_trees(10).fit(&dataset).unwrap();
    let from_view: Array1<f64> = forest.predict(&dataset.records);
    let from_dataset: Array1<f64> = forest.predict(&dataset);
    let owned = forest.predict(dataset.records.clone()).targets;
    let owned_dataset = forest.predict(dataset.clone()).targets;
    assert_eq!(from_view, from_dataset);
    assert_eq!(from_view, owned);
    assert_eq!(from_view, owned_dataset);
    let view: ArrayView2<'_, f64> = dataset.records.view();
    let viewed = IsolationForest::params()
        .n_trees(10)
        .fit(&DatasetBase::from(view))
        .unwrap();
    assert_eq!(forest, viewed);
}

#[test]
fn both_floats() {
    let wide = normal(400, 3, 2);
    let narrow = wide.mapv(|x| x as f32);
    let fit64 = IsolationForest::<f64>::params()
        .seed(7)
        .fit(&DatasetBase::from(wide.clone()));
    let fit32 = IsolationForest::<f32>::params()
        .seed(7)
        .fit(&DatasetBase::from(narrow.clone()));
    let scores64: Array1<f64> = fit64.unwrap().predict(&wide);
    let scores32: Array1<f32> = fit32.unwrap().predict(&narrow);
    let apart = scores64
        .iter()
        .zip(&scores32)
        .map(|(a, &b)| (a - f64::from(b)).abs());
    // The same forest but for rounding, which moves a row to the other side now and then.
    assert!(apart.fold(0.0, f64::max) < 0.02);
}

#[test]
fn any_generator_will_do() {
    let dataset = DatasetBase::from(normal(300, 3, 1));
    let base = || IsolationForest::<f64>::params().n_trees(20);
    let small = base()
        .with_rng(SmallRng::seed_from_u64(3))
        .fit(&dataset)
        .unwrap();
    let again = base()
        .with_rng(SmallRng::seed_from_u64(0))
        .seed(3)
        .fit(&dataset)
        .unwrap();
    let other = base().seed(3).fit(&dataset).unwrap();
    assert_eq!(small, again);
    assert_ne!(small, other);
    // The state of the generator counts, not only its seed.
    let mut moved = Xoshiro256Plus::seed_from_u64(3);
    moved.next_u64();
    assert_ne!(other, base().with_rng(moved).fit(&dataset).unwrap());
}

#[test]
fn errors_name_parameter_value_and_range() {
    type Params = IsolationForestParams<f64, Xoshiro256Plus>;
    let base = IsolationForest::<f64>::params;
    let cases: [(Params, &str); 14] = [
        (
            base().n_trees(0),
            "parameter `n_trees` must be at least 1, but is `0`",
        ),
        (
            base().sample_size(0),
            "parameter `sample_size` must be at least 1, but is `0`",
        ),
        (
            base().max_depth(0),
            "parameter `max_depth` must be at least 1, but is `0`",
        ),
        (
            base().n_threads(0),
            "parameter `n_threads` must be 1 to 1024, but is `0`",
        ),
        (
            base().column_fraction(0.0),
            "`column_fraction` must be above 0 and at most 1, but is `0`",
        ),
        (
            base().column_fraction(f64::NAN),
            "`column_fraction` must be above 0 and at most 1, but is `NaN`",
        ),
        (
            base().contamination(0.6),
            "`contamination` must be above 0 and at most 0.5, but is `0.6`",
        ),
        (
            base().contamination(-0.1),
            "`contamination` must be above 0 and at most 0.5, but is `-0.1`",
        ),
        (
            base().threshold(1.5),
            "`threshold` must be above 0 and at most 1, but is `1.5`",
        ),
        (
            base().threshold(f64::INFINITY),
            "`threshold` must be above 0 and at most 1, but is `inf`",
        ),
        (
            base().extension_level(3),
            "`extension_level` must be below 3, the number of columns each tree sees, but is `3`",
        ),
        (
            base().extension_level(1).column_fraction(0.3),
            "`extension_level` must be below 1, the number of columns each tree sees, but is `1`",
        ),
        (
            base().n_threads(1025),
            "`n_threads` must be 1 to 1024, but is `1025`",
        ),
        (
            base().contamination(0.1).threshold(0.5),
            "`contamination` (`0.1`) and `threshold` (`0.5`) exclude each other",
        ),
    ];
    let dataset = DatasetBase::from(normal(20, 3, 1));
    for (params, wanted) in cases {
        let message = params.fit(&dataset).unwrap_err().to_string();
        assert!(message.contains(wanted), "`{message}` lacks `{wanted}`");
    }
    assert!(base().check().is_ok());
    let checked = base().n_trees(3).max_depth(4).check_unwrap();
    assert_eq!(
        (
            checked.n_trees(),
            checked.sample_size(),
            checked.max_depth()
        ),
        (3, 256, Some(4))
    );
}

#[test]
fn data_that_cannot_be_learnt_from() {
    let fit = |records: Array2<f64>| {
        IsolationForest::params()
            .fit(&DatasetBase::from(records))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        fit(Array2::zeros((0, 3))),
        "cannot fit on 0 rows of 3 columns: at least one of each is needed"
    );
    assert!(fit(Array2::zeros((3, 0))).contains("3 rows of 0 columns"));
    assert_eq!(
        fit(array![[1.0, 2.0], [3.0, f64::NEG_INFINITY]]),
        "value in row 1, column 1 is infinite"
    );
    let huge = IsolationForest::params()
        .n_trees(usize::MAX)
        .fit(&DatasetBase::from(normal(9, 2, 1)));
    let error = huge.unwrap_err().to_string();
    assert!(
        error.contains("9 rows each may need more than 2³¹ nodes"),
        "{error}"
    );
}

#[test]
fn rows_that_cannot_be_scored() {
    let records = normal(100, 3, 1);
    for level in [0, 1] {
        let params = IsolationForest::params().n_trees(10).extension_level(level);
        let forest = params.fit(&DatasetBase::from(records.clone())).unwrap();
        let wrong = RowError::WrongLength {
            expected: 3,
            found: 2,
        };
        assert_eq!(forest.score_one(&[1.0, 2.0]), Err(wrong));
        assert_eq!(
            forest.score_one(&[]),
            Err(RowError::WrongLength {
                expected: 3,
                found: 0
            })
        );
        let infinite = Err(RowError::Infinite { column: 2 });
        assert_eq!(forest.score_one(&[1.0, 2.0, f64::INFINITY]), infinite);

        let mut table = records.clone();
        assert_eq!(forest.try_predict(&table), Ok(forest.predict(&table)));
        table[(41, 2)] = f64::INFINITY;
        let scores: Array1<f64> = forest.predict(&table);
        assert!(
            scores
                .iter()
                .enumerate()
                .all(|(row, score)| score.is_nan() == (row == 41))
        );
        let refused = forest.try_predict(&table).unwrap_err();
        assert_eq!(refused, (41, RowError::Infinite { column: 2 }));
        let narrow = forest
            .try_predict(&table.slice_axis(Axis(1), (..2).into()))
            .unwrap_err();
        assert_eq!(narrow, (0, wrong));
    }
}

#[test]
#[should_panic(expected = "number of columns")]
fn predicting_another_width_panics_as_in_linfa() {
    let forest = IsolationForest::params()
        .fit(&DatasetBase::from(normal(20, 3, 1)))
        .unwrap();
    let _: Array1<f64> = forest.predict(&normal(20, 4, 1));
}

/// M12, B18: a contamination becomes a threshold on the score.
#[test]
fn contamination_flags_its_part_of_the_training_rows() {
    let records = normal(1000, 3, 5);
    let dataset = DatasetBase::from(records.clone());
    for part in [0.01, 0.1, 0.5] {
        let forest = IsolationForest::params()
            .contamination(part)
            .fit(&dataset)
            .unwrap();
        let scores: Array1<f64> = forest.predict(&records);
        let flagged = scores
            .iter()
            .filter(|&&s| forest.is_anomaly(s) == Some(true))
            .count();
        assert_eq!(flagged, (1000.0 * part) as usize);
        assert_eq!(forest.is_anomaly(f64::NAN), Some(true));
    }
    let set = IsolationForest::params()
        .threshold(0.6)
        .fit(&dataset)
        .unwrap();
    assert_eq!(
        (set.threshold(), set.is_anomaly(0.6), set.is_anomaly(0.61)),
        (Some(0.6), Some(false), Some(true))
    );
    let unset = IsolationForest::<f64>::params().fit(&dataset).unwrap();
    assert_eq!((unset.threshold(), unset.is_anomaly(0.9)), (None, None));
}

/// Single rows, tables, tables in any memory order and any number of threads: one score.
#[test]
fn every_way_to_score_gives_the_same_bits() {
    for (records, level) in [
        (holed(5000, 5, 3), 0),
        (holed(5000, 5, 3), 2),
        (normal(4200, 140, 3), 0),
    ] {
        let params = IsolationForest::params().n_trees(23).extension_level(level);
        let forest = params.fit(&DatasetBase::from(records.clone())).unwrap();
        let whole: Array1<f64> = forest.predict(&records);
        for (row, &score) in records.rows().into_iter().zip(&whole).step_by(97) {
            assert_eq!(forest.score_one(row.as_slice().unwrap()), Ok(score));
        }
        let fortran = records.t().as_standard_layout().reversed_axes().to_owned();
        assert_eq!(whole, forest.predict(&fortran));
        let threaded = forest.clone().with_n_threads(3);
        assert_eq!(whole, threaded.predict(&records));
        assert_eq!(forest, threaded);
        let mut backwards = records.clone();
        backwards.invert_axis(Axis(0));
        let scores: Array1<f64> = forest.predict(&backwards);
        assert!(whole.iter().eq(scores.iter().rev()));
    }
}
