//! Fit a forest, find the odd rows of a table, say why they are odd, save it.
//!
//! ```text
//! cargo run --release -p forest --example isolation_forest
//! ```
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an example prints, and may stop"
)]

use forest::IsolationForest;
use linfa::prelude::*;
use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;

const FEATURES: [&str; 4] = ["length", "width", "height", "weight"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Parcels: most alike, two of them odd in two ways.
    let mut rng = Xoshiro256Plus::seed_from_u64(42);
    let mut bell = |centre: f64, spread: f64| {
        centre + spread * (0..12).map(|_| rng.gen_range(-0.5..0.5)).sum::<f64>()
    };
    let mut records = Array2::from_shape_fn((2000, 4), |(_, column)| match column {
        3 => bell(8.0, 1.0),
        _ => bell(40.0, 5.0),
    });
    for (row, odd) in [(100, [(0, 90.0), (1, 85.0)]), (200, [(3, 25.0), (2, 5.0)])] {
        odd.iter()
            .for_each(|&(column, value)| records[(row, column)] = value);
    }

    let dataset = DatasetBase::from(records.view()).with_feature_names(FEATURES.to_vec());
    let forest = IsolationForest::params()
        .n_trees(200)
        .contamination(0.002)
        .seed(7)
        .fit(&dataset)?;

    let scores: Array1<f64> = forest.predict(&dataset);
    let mut order: Vec<usize> = (0..records.nrows()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    println!(
        "flagged above a score of {:.3}:",
        forest.threshold().unwrap_or(1.0)
    );
    for &row in order
        .iter()
        .take_while(|&&row| forest.is_anomaly(scores[row]) == Some(true))
    {
        let why = forest.explain(&records.row(row).to_vec())?;
        let shares = FEATURES.iter().zip(&why.contributions);
        let shares: Vec<String> = shares
            .map(|(name, share)| format!("{name} {share:+.3}"))
            .collect();
        println!(
            "row {row:>4}: {:.3} = {:.3} {}",
            why.score,
            why.base,
            shares.join("  ")
        );
    }

    let bytes = forest.to_bytes();
    let loaded = IsolationForest::from_bytes(&bytes)?;
    println!(
        "\nsaved in {} KiB, loaded the same: {}",
        bytes.len() / 1024,
        loaded == forest
    );
    Ok(())
}
