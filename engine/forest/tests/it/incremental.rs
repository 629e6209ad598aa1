//! Forgetting, merging, streaming.

use crate::data::{extended, holed, normal, small};
use forest::{IsolationForest, IsolationForestError, MergeError, Reservoir};
use linfa::prelude::*;
use ndarray::{Array1, Array2, Axis};

fn mean_apart(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    (a - b).mapv(f64::abs).mean().unwrap()
}

#[test]
fn replacing_all_trees_is_fitting_anew() {
    let (old, new) = (
        DatasetBase::from(normal(500, 3, 1)),
        DatasetBase::from(normal(500, 3, 2)),
    );
    let params = IsolationForest::params().n_trees(10).seed(1);
    let mut forest = params.fit(&old).unwrap();
    forest.replace_oldest(10, &params, &new).unwrap();
    // Numbers 10 to 19 of a forest on the new data.
    let mut twenty = params.clone().n_trees(20).fit(&new).unwrap();
    assert_eq!(forest.n_trees(), 10);
    let fresh: Array1<f64> = forest.predict(&new);
    twenty.replace_oldest(0, &params, &new).unwrap();
    let scores: Array1<f64> = twenty.predict(&new);
    assert!(mean_apart(&fresh, &scores) < 0.05);
    assert_ne!(
        fresh,
        params.fit(&new).unwrap().predict(&new),
        "the new trees repeat old draws"
    );
}

/// The forest follows its data: what was odd becomes ordinary as trees are replaced.
#[test]
fn forgetting_follows_the_data() {
    let old = DatasetBase::from(normal(1000, 2, 1));
    let moved = DatasetBase::from(normal(1000, 2, 2) + 20.0);
    let params = IsolationForest::params().n_trees(100).seed(1);
    let mut forest = params.fit(&old).unwrap();
    let mut last = forest.score_one(&[20.0, 20.0]).unwrap();
    assert!(last > 0.6);
    for _ in 0..5 {
        forest.replace_oldest(20, &params, &moved).unwrap();
        let score = forest.score_one(&[20.0, 20.0]).unwrap();
        assert!(score < last);
        last = score;
    }
    assert!(last < 0.5);
    assert!(forest.score_one(&[0.0, 0.0]).unwrap() > 0.6);
}

#[test]
fn replacing_keeps_the_younger_trees_as_they_were() {
    for mut forest in [small(1), extended(1)] {
        let params = IsolationForest::params().sample_size(40).seed(1);
        let params = params.extension_level(forest.extension_level());
        let trees = forest.n_trees();
        let dataset = DatasetBase::from(holed(100, 4, 9));
        let before = forest.clone();
        forest.replace_oldest(trees - 1, &params, &dataset).unwrap();
        assert_eq!(forest.n_trees(), trees);
        // Twice half of it and once the whole leave the same young trees.
        let mut twice = before.clone();
        twice.replace_oldest(1, &params, &dataset).unwrap();
        twice.replace_oldest(trees - 2, &params, &dataset).unwrap();
        assert_eq!(forest, twice);
        assert_eq!(forest.threshold(), before.threshold());
        let reloaded = IsolationForest::<f64>::from_bytes(&forest.to_bytes()).unwrap();
        assert_eq!(reloaded, forest);
    }
}

#[test]
fn replacing_sets_a_threshold_only_if_asked() {
    let dataset = DatasetBase::from(normal(500, 4, 9));
    let mut forest = small(1);
    let before = forest.threshold();
    forest
        .replace_oldest(3, &IsolationForest::params(), &dataset)
        .unwrap();
    assert_eq!(forest.threshold(), before);
    forest
        .replace_oldest(3, &IsolationForest::params().threshold(0.7), &dataset)
        .unwrap();
    assert_eq!(forest.threshold(), Some(0.7));
    forest
        .replace_oldest(3, &IsolationForest::params().contamination(0.5), &dataset)
        .unwrap();
    assert!(forest.threshold().unwrap() < 0.6);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut forest = small(1);
    let before = forest.clone();
    let params = IsolationForest::params();
    let wide = forest.replace_oldest(2, &params, &DatasetBase::from(normal(50, 5, 1)));
    assert!(matches!(
        wide,
        Err(IsolationForestError::WrongWidth {
            expected: 4,
            found: 5
        })
    ));
    let bent = params.clone().extension_level(1);
    let bent = forest.replace_oldest(2, &bent, &DatasetBase::from(normal(50, 4, 1)));
    let refused = MergeError::Extension { left: 0, right: 1 };
    assert!(matches!(bent, Err(IsolationForestError::Merge(error)) if error == refused));
    assert_eq!(
        forest.merge(&extended(1)),
        Err(MergeError::Extension { left: 0, right: 2 })
    );
    let other = params.fit(&DatasetBase::from(normal(50, 5, 1))).unwrap();
    assert_eq!(
        forest.merge(&other),
        Err(MergeError::Features { left: 4, right: 5 })
    );
    assert_eq!(forest, before);
}

/// linfa's own way to go on with a model.
#[test]
fn fit_with_replaces_as_many_as_it_grows() {
    let dataset = DatasetBase::from(normal(300, 4, 9));
    let params = IsolationForest::params().n_trees(3).seed(5);
    let forest = params.fit_with(Some(small(1)), &dataset).unwrap();
    let mut by_hand = small(1);
    by_hand.replace_oldest(3, &params, &dataset).unwrap();
    assert_eq!(forest, by_hand);
    assert_eq!(
        params.fit_with(None, &dataset).unwrap(),
        params.fit(&dataset).unwrap()
    );
}

/// Path lengths average over the trees of both.
#[test]
fn merging_averages() {
    let records = holed(200, 4, 3);
    for (mut left, right) in [(small(1), small(2)), (extended(1), extended(2))] {
        let paths = |forest: &IsolationForest<f64>| {
            let scores: Array1<f64> = forest.predict(&records);
            -scores.mapv(f64::log2)
        };
        let wanted = (paths(&left) + paths(&right)) / 2.0;
        let trees = left.n_trees() + right.n_trees();
        left.merge(&right).unwrap();
        assert_eq!(left.n_trees(), trees);
        assert!(mean_apart(&paths(&left), &wanted) < 1e-12);
        assert_eq!(
            IsolationForest::<f64>::from_bytes(&left.to_bytes()).unwrap(),
            left
        );
    }
    // Of different sub-samples each keeps to its own c(ψ).
    let few = IsolationForest::params()
        .fit(&DatasetBase::from(normal(1, 4, 1)))
        .unwrap();
    let mut forest = small(1);
    forest.merge(&few).unwrap();
    assert_eq!(forest.sample_size(), 64);
    let score = forest.score_one(&[0.0; 4]).unwrap();
    assert!((score - 0.5).abs() < 0.02);
}

fn stream(records: &Array2<f64>, chunk: usize, level: usize) -> IsolationForest<f64> {
    let params = IsolationForest::params()
        .n_trees(20)
        .seed(4)
        .extension_level(level);
    let mut reservoir = Reservoir::new(params.contamination(0.1)).unwrap();
    for rows in records.axis_chunks_iter(Axis(0), chunk) {
        reservoir.push(&rows).unwrap();
    }
    assert_eq!(reservoir.rows_seen(), records.nrows() as u64);
    reservoir.fit().unwrap()
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let records = holed(5000, 3, 1);
    for level in [0, 1] {
        let whole = stream(&records, 5000, level);
        for chunk in [1, 7, 256, 4999] {
            assert_eq!(whole, stream(&records, chunk, level));
        }
        assert!(whole.threshold().is_some());
    }
}

/// Streaming draws as fitting does: the scores differ as those of two seeds do.
#[test]
fn a_stream_scores_as_a_table() {
    let records = normal(20_000, 3, 1);
    let dataset = DatasetBase::from(records.slice_axis(Axis(0), (..2000).into()));
    let all = DatasetBase::from(records.view());
    let params = || IsolationForest::params().n_trees(300);
    let fitted: Array1<f64> = params().seed(1).fit(&all).unwrap().predict(&dataset);
    let again: Array1<f64> = params().seed(2).fit(&all).unwrap().predict(&dataset);
    let mut reservoir = Reservoir::new(params().seed(3)).unwrap();
    reservoir.push(&records).unwrap();
    let streamed: Array1<f64> = reservoir.fit().unwrap().predict(&dataset);
    let (seeds, ways) = (mean_apart(&fitted, &again), mean_apart(&fitted, &streamed));
    assert!(
        ways < 1.5 * seeds,
        "{ways} between ways, {seeds} between seeds"
    );
}

/// Each row has the same chance, early or late.
#[test]
fn a_reservoir_favours_no_row() {
    // One row in twenty is odd: where in the stream it is must not matter.
    let mean_odd = |odd: usize| {
        let records = Array2::from_shape_fn((400, 1), |(row, _)| {
            if row / 20 == odd {
                50.0
            } else {
                (row % 17) as f64
            }
        });
        let params = IsolationForest::params()
            .n_trees(400)
            .sample_size(20)
            .seed(odd as u64);
        let mut reservoir = Reservoir::new(params).unwrap();
        records
            .axis_chunks_iter(Axis(0), 33)
            .for_each(|rows| reservoir.push(&rows).unwrap());
        reservoir.fit().unwrap().score_one(&[50.0]).unwrap()
    };
    let scores: Vec<f64> = [0, 1, 9, 10, 18, 19].map(mean_odd).into();
    let (low, high) = scores
        .iter()
        .fold((1.0_f64, 0.0_f64), |(l, h), &s| (l.min(s), h.max(s)));
    assert!(high - low < 0.02, "{scores:?}");
}

#[test]
fn a_stream_goes_on_after_an_error() {
    let mut reservoir = Reservoir::new(IsolationForest::params().n_trees(3).seed(1)).unwrap();
    assert!(matches!(
        reservoir.fit(),
        Err(IsolationForestError::NoData { .. })
    ));
    reservoir.push(&Array2::<f64>::zeros((0, 9))).unwrap();
    reservoir.push(&normal(300, 2, 1)).unwrap();
    let wide = reservoir.push(&normal(3, 3, 1)).unwrap_err();
    assert!(matches!(
        wide,
        IsolationForestError::WrongWidth {
            expected: 2,
            found: 3
        }
    ));
    let mut bad = normal(50, 2, 2);
    bad[(7, 1)] = f64::INFINITY;
    let infinite = reservoir.push(&bad).unwrap_err();
    assert!(matches!(
        infinite,
        IsolationForestError::Infinite {
            row: 307,
            column: 1
        }
    ));
    reservoir.push(&normal(300, 2, 2)).unwrap();
    let mut clean = Reservoir::new(IsolationForest::params().n_trees(3).seed(1)).unwrap();
    clean.push(&normal(300, 2, 1)).unwrap();
    clean.push(&normal(300, 2, 2)).unwrap();
    assert_eq!(reservoir.fit().unwrap(), clean.fit().unwrap());
    assert!(Reservoir::new(IsolationForest::<f64>::params().n_trees(0)).is_err());
}
