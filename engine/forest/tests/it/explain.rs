//! Contributions name the right feature and add up.

use crate::data::{holed, normal};
use forest::{IsolationForest, RowError};
use linfa::prelude::*;
use ndarray::Array2;

/// Contributions over the ways there are to lay a forest out: packed, wide, extended.
fn forests(records: &Array2<f64>) -> Vec<IsolationForest<f64>> {
    let dataset = DatasetBase::from(records.view());
    let params = || IsolationForest::params().seed(3);
    [
        params(),
        params().sample_size(1000),
        params().extension_level(1),
    ]
    .map(|params| params.fit(&dataset).unwrap())
    .into()
}

/// Rows that are odd in one column: that column has the largest contribution, by far.
#[test]
fn the_odd_feature_is_named() {
    let records = normal(2000, 8, 1);
    for forest in forests(&records) {
        for odd in 0..8 {
            let mut row = [0.1, -0.2, 0.3, 0.0, -0.1, 0.2, 0.1, -0.3];
            row[odd] = if odd % 2 == 0 { 7.0 } else { -7.0 };
            let explained = forest.explain(&row).unwrap();
            let others = (0..8)
                .filter(|&c| c != odd)
                .map(|c| explained.contributions[c].abs());
            let most = others.fold(0.0, f64::max);
            // A hyperplane over two columns moves the row along both.
            let margin = if forest.extension_level() == 0 {
                3.0
            } else {
                2.0
            };
            assert!(
                explained.contributions[odd] > margin * most,
                "{odd}: {explained:?}"
            );
            row[odd] = 0.0;
            assert!(explained.score > forest.score_one(&row).unwrap() + 0.05);
        }
    }
}

/// Two odd columns share.
#[test]
fn two_odd_features_share() {
    let forest = &forests(&normal(2000, 6, 1))[0];
    let explained = forest.explain(&[0.0, 9.0, 0.0, 0.0, 4.5, 0.0]).unwrap();
    let by = &explained.contributions;
    assert!([1, 4].iter().all(|&c| by[c] > 0.04), "{explained:?}");
    assert!(
        [0, 2, 3, 5].iter().all(|&c| by[c].abs() < 0.02),
        "{explained:?}"
    );
}

/// An anomaly in the combination only: both columns of the pair, none of the others.
#[test]
fn an_odd_combination_is_found() {
    let mut records = normal(4000, 5, 1);
    for mut row in records.rows_mut() {
        row[3] = row[1] + 0.1 * row[3];
    }
    let forest = &forests(&records)[0];
    let explained = forest.explain(&[0.0, 2.0, 0.0, -2.0, 0.0]).unwrap();
    let by = &explained.contributions;
    let others = [0, 2, 4].iter().map(|&c| by[c]).fold(f64::MIN, f64::max);
    assert!(by[1] > others && by[3] > others, "{explained:?}");
}

#[test]
fn contributions_add_up_and_scores_agree() {
    let records = holed(1500, 6, 1);
    for forest in forests(&records) {
        for row in records.rows() {
            let row = row.as_slice().unwrap();
            let explained = forest.explain(row).unwrap();
            assert_eq!(Ok(explained.score), forest.score_one(row));
            assert_eq!(explained.base, forest.base_score());
            let sum: f64 = explained.contributions.iter().sum();
            assert!((sum - (explained.score - explained.base)).abs() < 1e-12);
        }
    }
}

/// The base is what the training rows have on average; an ordinary row is near it.
#[test]
fn the_base_is_the_average_path() {
    let records = normal(3000, 4, 1);
    let forest = &forests(&records)[0];
    let paths = records
        .rows()
        .into_iter()
        .map(|row| -forest.score_one(row.as_slice().unwrap()).unwrap().log2());
    let mean = paths.sum::<f64>() / 3000.0;
    let base = -forest.base_score().log2();
    assert!((mean - base).abs() < 0.03, "{mean} {base}");
}

#[test]
fn missing_values_contribute_little() {
    let forest = &forests(&normal(2000, 4, 1))[0];
    let explained = forest.explain(&[f64::NAN, 6.0, f64::NAN, 0.0]).unwrap();
    assert!(
        explained.contributions[0].abs() < 0.1 * explained.contributions[1],
        "{explained:?}"
    );
}

#[test]
fn a_refused_row_leaves_the_buffer_alone() {
    for forest in forests(&normal(500, 3, 1)) {
        let mut out = [7.0; 3];
        let length = RowError::WrongLength {
            expected: 3,
            found: 1,
        };
        assert_eq!(forest.explain_into(&[1.0], &mut out), Err(length));
        let infinite = RowError::Infinite { column: 1 };
        assert_eq!(
            forest.explain_into(&[1.0, f64::INFINITY, 0.0], &mut out),
            Err(infinite)
        );
        assert_eq!(out, [7.0; 3]);
        let room = RowError::WrongOutput {
            expected: 3,
            found: 2,
        };
        assert_eq!(forest.explain_into(&[0.0; 3], &mut out[..2]), Err(room));
        assert_eq!(forest.explain(&[1.0]).unwrap_err(), length);
    }
}
