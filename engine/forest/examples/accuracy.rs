//! Accuracy on ten labelled tables, beside scikit-learn's.
//!
//! ```text
//! cargo run --release -p forest --example accuracy
//! ```
//!
//! Fits on a whole table and scores it, 100 trees × 256, with ten seeds; prints mean ± standard
//! deviation of exact ROC-AUC, average precision and recall at 1 % false alarms, in `f64` and
//! `f32`. scikit-learn's figures are from `benches/compare.py accuracy` (`sklearn_accuracy.csv`).
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an example prints, and may stop"
)]

mod support;

use forest::IsolationForest;
use linfa::prelude::*;
use ndarray::{Array1, Array2};
use support::{Ranking, TABLES, Table, mean_and_sd};

const SEEDS: u64 = 10;
const SKLEARN: &str = include_str!("../benches/sklearn_accuracy.csv");
const MEASURES: [&str; 3] = ["ROC-AUC", "AP", "TPR at 1% FPR"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(folder) = support::folder() else {
        println!("skipped: no tables in ../shared/data/anomaly beside the workspace");
        return Ok(());
    };
    let tables = TABLES.iter().map(|name| support::read(&folder, name));
    let tables = tables.collect::<Result<Vec<_>, _>>()?;
    let mut all_within = true;
    for (measure, title) in MEASURES.iter().enumerate() {
        println!(
            "\n{title:<14} {:>15} {:>15} {:>15} {:>8}",
            "f64", "f32", "scikit-learn", "apart"
        );
        for (name, table) in TABLES.iter().zip(&tables) {
            let wide = measured(&table.records, table, measure)?;
            let narrow = measured(&table.records.mapv(|x| x as f32), table, measure)?;
            let theirs = sklearn(name, measure).ok_or(format!("no figures for {name}"))?;
            // In standard deviations of scikit-learn's own results over seeds.
            let apart = |ours: (f64, f64)| (ours.0 - theirs.0) / theirs.1.max(0.001);
            let within = apart(wide).abs() <= 2.0 && apart(narrow).abs() <= 2.0;
            all_within &= within || apart(wide).min(apart(narrow)) >= -2.0;
            println!(
                "{name:<14} {:>15} {:>15} {:>15} {:>+5.1} sd{}",
                show(wide),
                show(narrow),
                show(theirs),
                apart(wide),
                if within {
                    ""
                } else if apart(wide) > 0.0 {
                    "  (above)"
                } else {
                    "  (BELOW)"
                }
            );
        }
    }
    println!(
        "\nnone more than 2 sd below scikit-learn: {}",
        if all_within { "yes" } else { "NO" }
    );
    Ok(())
}

fn measured<F: Float>(
    records: &Array2<F>,
    table: &Table,
    measure: usize,
) -> Result<(f64, f64), forest::IsolationForestError> {
    let dataset = DatasetBase::from(records.view());
    let values = (0..SEEDS).map(|seed| {
        let params = IsolationForest::params()
            .n_trees(100)
            .sample_size(256)
            .n_threads(2);
        let forest = params.seed(seed).fit(&dataset)?;
        let scores: Array1<F> = forest.predict(records);
        let scores = scores
            .iter()
            .map(|score| score.to_f64().unwrap_or(f64::NAN));
        let Ranking {
            auc,
            average_precision,
            recall_at_1_percent,
        } = support::rank(scores, &table.anomalous);
        Ok([auc, average_precision, recall_at_1_percent][measure])
    });
    Ok(mean_and_sd(
        &values.collect::<Result<Vec<f64>, forest::IsolationForestError>>()?,
    ))
}

/// scikit-learn's mean and standard deviation: a line a table, two numbers a measure.
fn sklearn(name: &str, measure: usize) -> Option<(f64, f64)> {
    let line = SKLEARN
        .lines()
        .find(|line| line.split(',').next() == Some(name))?;
    let mut numbers = line
        .split(',')
        .skip(1 + 2 * measure)
        .map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn show((mean, sd): (f64, f64)) -> String {
    format!("{mean:.3} ± {sd:.3}")
}
