//! A stream too long to hold, then one that drifts.
//!
//! ```text
//! cargo run --release -p forest --example streaming
//! ```
#![expect(clippy::print_stdout, reason = "an example prints")]

use forest::{IsolationForest, IsolationForestError, Reservoir};
use linfa::prelude::*;
use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;

/// An hour's rows, around a centre that moves.
fn hour(number: u64) -> Array2<f64> {
    let mut rng = Xoshiro256Plus::seed_from_u64(number);
    let centre = number as f64 / 10.0;
    Array2::from_shape_simple_fn((5000, 3), || {
        centre + (0..4).map(|_| rng.gen_range(-1.0..1.0)).sum::<f64>()
    })
}

fn main() -> Result<(), IsolationForestError> {
    let params = IsolationForest::params().n_trees(100).seed(7);

    // A day, hour by hour: the reservoir holds 100 × 256 rows however long it gets.
    let mut reservoir = Reservoir::new(params.clone())?;
    for number in 0..24 {
        reservoir.push(&hour(number))?;
    }
    let mut forest = reservoir.fit()?;
    println!("fitted on {} rows of a stream", reservoir.rows_seen());

    // Then the forest follows: each hour ten of its hundred trees are replaced.
    println!(
        "\n{:>5} {:>16} {:>16}",
        "hour", "score of its own", "score of hour 0"
    );
    for number in 24..60 {
        let rows = hour(number);
        forest.replace_oldest(10, &params, &DatasetBase::from(rows.view()))?;
        if number % 6 == 0 {
            let mean = |rows: &Array2<f64>| forest.predict(rows).mean().unwrap_or(f64::NAN);
            println!("{number:>5} {:>16.3} {:>16.3}", mean(&rows), mean(&hour(0)));
        }
    }
    Ok(())
}
