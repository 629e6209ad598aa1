//! Labelled tables, where the data folder is beside the workspace.

#[path = "../../examples/support/mod.rs"]
mod support;

use forest::IsolationForest;
use linfa::prelude::*;
use ndarray::Array1;

/// scikit-learn's figures, as the example has them.
const SKLEARN: &str = include_str!("../../benches/sklearn_accuracy.csv");

/// A guard against mishaps, with room for two seeds' luck; `cargo run --release --example
/// accuracy` measures properly.
#[test]
fn labelled_tables_are_ranked_as_scikit_learn_does() {
    let Some(folder) = support::folder() else {
        println!("skipped: no ../shared/data/anomaly beside the workspace");
        return;
    };
    for name in support::TABLES {
        let table = match support::read(&folder, name) {
            Ok(table) => table,
            Err(reason) => {
                println!("skipped: {reason}");
                return;
            }
        };
        let dataset = DatasetBase::from(table.records.view());
        let mean = [1, 2].map(|seed| {
            let forest = IsolationForest::params()
                .n_threads(2)
                .seed(seed)
                .fit(&dataset)
                .unwrap();
            let scores: Array1<f64> = forest.predict(&table.records);
            support::rank(scores.into_iter(), &table.anomalous).auc / 2.0
        });
        let line = SKLEARN
            .lines()
            .find(|line| line.starts_with(&format!("{name},")))
            .unwrap();
        let figures: Vec<f64> = line
            .split(',')
            .skip(1)
            .map(|n| n.parse().unwrap())
            .collect();
        let (ours, theirs, room) = (mean[0] + mean[1], figures[0], 3.0 * figures[1].max(0.005));
        assert!(
            (ours - theirs).abs() < room,
            "{name}: {ours} beside {theirs} ± {room}"
        );
    }
}

/// The measures themselves, on a ranking small enough to count by hand.
#[test]
fn measures_are_exact() {
    let scores = [0.9, 0.8, 0.8, 0.7, 0.1];
    let ranking = support::rank(scores.into_iter(), &[true, false, true, false, false]);
    // Of six pairs five are in order and one is tied.
    assert!((ranking.auc - 5.5 / 6.0).abs() < 1e-15, "{ranking:?}");
    assert!((ranking.average_precision - (0.5 * 1.0 + 0.5 * 2.0 / 3.0)).abs() < 1e-15);
    assert_eq!(ranking.recall_at_1_percent, 0.5);
    let (mean, sd) = support::mean_and_sd(&[1.0, 2.0, 3.0]);
    assert_eq!((mean, sd), (2.0, 1.0));
}
