//! The corners: ties, constants, duplicates, few rows, many columns, missing values.

use crate::data::normal;
use forest::IsolationForest;
use linfa::prelude::*;
use ndarray::{Array1, Array2, Axis, Slice, array, concatenate};

fn fit(records: &Array2<f64>) -> IsolationForest<f64> {
    IsolationForest::params()
        .seed(1)
        .fit(&DatasetBase::from(records.view()))
        .unwrap()
}

#[test]
fn a_single_row_is_average() {
    let forest = fit(&array![[1.0, 2.0]]);
    assert_eq!(
        (forest.sample_size(), forest.n_nodes(), forest.depth()),
        (1, 100, 0)
    );
    assert_eq!(forest.score_one(&[1.0, 2.0]), Ok(0.5));
    assert_eq!(forest.score_one(&[9.0, f64::NAN]), Ok(0.5));
    assert_eq!(forest.base_score(), 0.5);
}

#[test]
fn equal_rows_cannot_be_told_apart() {
    let forest = fit(&Array2::from_elem((1000, 3), 4.25));
    assert_eq!(forest.n_nodes(), 100);
    // One leaf of ψ rows: the path length is c(ψ), the score ½, whatever the row.
    assert_eq!(forest.score_one(&[4.25, 4.25, 4.25]), Ok(0.5));
    assert_eq!(forest.score_one(&[0.0, 1e9, -3.0]), Ok(0.5));
    let nothing_known = fit(&Array2::from_elem((100, 3), f64::NAN));
    assert_eq!(nothing_known.score_one(&[1.0, 2.0, 3.0]), Ok(0.5));
}

#[test]
fn two_rows_are_one_cut_apart() {
    let forest = fit(&array![[0.0], [1.0]]);
    assert_eq!(
        (forest.sample_size(), forest.n_nodes(), forest.depth()),
        (2, 300, 1)
    );
    assert_eq!(forest.score_one(&[0.0]), Ok(0.5));
    let three = fit(&array![[0.0], [1.0], [10.0]]);
    assert_eq!(three.depth(), 2);
    assert!(three.score_one(&[10.0]).unwrap() > three.score_one(&[1.0]).unwrap());
}

#[test]
fn fewer_rows_than_the_sub_sample_are_all_taken() {
    let records = normal(100, 3, 1);
    let forest = fit(&records);
    assert_eq!(forest.sample_size(), 100);
    assert_eq!(forest.depth(), 7);
    let scores: Array1<f64> = forest.predict(&records);
    assert!(scores.iter().all(|&score| score > 0.0 && score <= 1.0));
}

#[test]
fn constant_columns_are_never_cut() {
    let records = normal(500, 2, 1);
    let constant = Array2::from_elem((500, 200), 3.5);
    let wide = concatenate![
        Axis(1),
        constant.slice_axis(Axis(1), (..70).into()),
        records,
        constant
    ];
    for columns in [74, 272] {
        let forest = fit(&wide.slice_axis(Axis(1), (..columns).into()).to_owned());
        let mut row = vec![3.5; columns];
        row[70..72].copy_from_slice(&[0.1, -0.2]);
        let ordinary = forest.score_one(&row).unwrap();
        let explained = forest.explain(&row).unwrap();
        assert!((0..columns).all(|c| (70..72).contains(&c) || explained.contributions[c] == 0.0));
        row[3] = 1e9;
        assert_eq!(forest.score_one(&row), Ok(ordinary));
        row[70] = 9.0;
        assert!(forest.score_one(&row).unwrap() > ordinary + 0.05);
    }
}

#[test]
fn ties_end_where_nothing_differs() {
    // 90 % of the rows are one and the same; the others are all different.
    let mut records = Array2::zeros((1000, 2));
    records
        .slice_axis_mut(Axis(0), (..100).into())
        .assign(&normal(100, 2, 1));
    let forest = fit(&records);
    let scores: Array1<f64> = forest.predict(&records);
    assert!(scores.iter().take(100).all(|&score| score >= scores[999]));
    assert!(scores[999] < 0.5);
}

#[test]
fn one_column_and_ten_thousand() {
    let narrow = normal(600, 1, 1);
    let forest = fit(&narrow);
    assert!(forest.score_one(&[8.0]).unwrap() > forest.score_one(&[0.0]).unwrap() + 0.1);
    let wide = normal(300, 10_000, 1);
    let forest = fit(&wide);
    let mut row = wide.row(0).to_vec();
    let ordinary = forest.score_one(&row).unwrap();
    row.fill(9.0);
    assert!(forest.score_one(&row).unwrap() > ordinary + 0.1);
}

#[test]
fn extreme_values_do_not_overflow() {
    let column = [
        f64::MAX,
        f64::MIN,
        0.0,
        f64::MIN_POSITIVE,
        -1e-310,
        1e300,
        -1e300,
        5e-324,
    ];
    let records = Array2::from_shape_fn((64, 2), |(i, j)| column[(i + j * i / 8) % 8]);
    for level in [0, 1] {
        let params = IsolationForest::params().extension_level(level);
        let forest = params.fit(&DatasetBase::from(records.view())).unwrap();
        let scores: Array1<f64> = forest.predict(&records);
        assert!(
            scores.iter().all(|&score| score > 0.0 && score <= 1.0),
            "{scores}"
        );
        for row in records.rows() {
            let explained = forest.explain(row.as_slice().unwrap()).unwrap();
            let sum: f64 = explained.contributions.iter().sum();
            assert!((sum - (explained.score - explained.base)).abs() < 1e-12);
        }
    }
}

/// Columns far from zero keep all their digits: cuts are made and compared in `F`.
#[test]
fn small_differences_of_large_numbers_count() {
    let offset = 1_700_000_000.0;
    let records = normal(500, 2, 1) + offset;
    let forest = fit(&records);
    let usual = forest.score_one(&[offset, offset]).unwrap();
    assert!(forest.score_one(&[offset + 9.0, offset]).unwrap() > usual + 0.1);
}

/// A missing value goes either way with the chances of the others: it counts for nothing.
#[test]
fn missing_values_are_no_evidence() {
    let mut records = normal(1000, 3, 1);
    let complete = fit(&records);
    let outlier = complete.score_one(&[8.0, 0.0, 0.0]).unwrap();
    let unknown = complete.score_one(&[f64::NAN, 0.0, 0.0]).unwrap();
    let ordinary = complete.score_one(&[0.0, 0.0, 0.0]).unwrap();
    assert!(
        unknown < ordinary + 0.03 && unknown < outlier - 0.1,
        "{unknown} {ordinary}"
    );
    let all: f64 = complete.score_one(&[f64::NAN; 3]).unwrap();
    assert!(all < 0.5, "{all}");
    // The same where missing values were seen in fitting.
    records
        .column_mut(0)
        .slice_axis_mut(Axis(0), (..200).into())
        .fill(f64::NAN);
    let holed = fit(&records);
    let scores: Array1<f64> = holed.predict(&records);
    let mean = |range: Slice| scores.slice_axis(Axis(0), range).mean().unwrap();
    let (missing, known) = (mean((..200).into()), mean((200..).into()));
    assert!((missing - known).abs() < 0.05, "{missing} {known}");
    assert!(holed.score_one(&[8.0, 0.0, 0.0]).unwrap() > 0.55);
}

#[test]
fn depth_and_sample_are_as_asked() {
    let dataset = DatasetBase::from(normal(3000, 3, 1));
    let fit = |depth: Option<usize>, sample: usize| {
        let params = IsolationForest::<f64>::params()
            .n_trees(10)
            .sample_size(sample);
        let params = match depth {
            Some(depth) => params.max_depth(depth),
            None => params,
        };
        params.fit(&dataset).unwrap()
    };
    for (sample, height) in [(2, 1), (3, 2), (256, 8), (257, 9), (1000, 10)] {
        let forest = fit(None, sample);
        assert_eq!((forest.depth(), forest.sample_size()), (height, sample));
    }
    assert_eq!(fit(Some(3), 256).depth(), 3);
    // To the end: as many leaves as rows.
    assert_eq!(fit(Some(usize::MAX), 1000).n_nodes(), 10 * 1999);
}

#[test]
fn column_fraction_limits_each_tree() {
    let records = normal(500, 20, 1);
    let dataset = DatasetBase::from(records);
    let fit = |fraction| {
        let params = IsolationForest::params()
            .n_trees(1)
            .column_fraction(fraction);
        params.fit(&dataset).unwrap()
    };
    let used = |forest: IsolationForest<f64>| {
        let explained = forest.explain(&[7.0; 20]).unwrap();
        explained
            .contributions
            .iter()
            .filter(|&&share| share != 0.0)
            .count()
    };
    assert!(used(fit(0.05)) == 1);
    assert!(used(fit(0.1)) <= 2);
    assert!(used(fit(1e-9)) == 1);
}
