//! Speed and size in one run, as CSV: what `benches/compare.py` puts beside other libraries.
//!
//! ```text
//! cargo run --release -p forest --example speed [ROWS]
//! ```
//!
//! ROWS is a file of 100,000 × 10 little-endian `f64`; without it the rows are made here. One
//! thread. Times are the best of several rounds; p50 and p99 are over single calls, each on
//! another row, the cost of reading the clock (`timer_us`) included.
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an example prints, and may stop"
)]

use forest::{IsolationForest, IsolationForestError};
use linfa::prelude::*;
use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use std::hint::black_box;
use std::time::Instant;

const ROWS: usize = 100_000;
const COLUMNS: usize = 10;
const ROUNDS: usize = 7;
const CALLS: usize = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wide = match std::env::args().nth(1) {
        Some(path) => {
            let bytes = std::fs::read(path)?;
            let values = bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|&word| f64::from_le_bytes(word));
            Array2::from_shape_vec((ROWS, COLUMNS), values.collect())?
        }
        None => normal(ROWS, COLUMNS),
    };
    let timer = latency(|_| 0.0);
    print("timer_us", timer.0);
    print("timer_p99_us", timer.1);
    measure("f64", &wide, 0)?;
    measure("f32", &wide.mapv(|x| x as f32), 0)?;
    measure("extended", &wide, 1)?;
    // What a scoring service asks: one row of 32 features, score and explanation together.
    let wide = normal(20_000, 32);
    for trees in [100, 300] {
        let params = IsolationForest::params().n_trees(trees);
        let forest = params.fit(&DatasetBase::from(wide.view()))?;
        let rows: Vec<&[f64]> = wide
            .rows()
            .into_iter()
            .filter_map(|row| row.to_slice())
            .collect();
        single(&format!("32x{trees}"), &forest, &rows);
    }
    Ok(())
}

fn measure<F: Float>(
    name: &str,
    records: &Array2<F>,
    level: usize,
) -> Result<(), IsolationForestError> {
    let dataset = DatasetBase::from(records.view());
    let params = IsolationForest::params()
        .n_trees(100)
        .sample_size(256)
        .extension_level(level);
    let params = params.seed(7);
    let forest = params.fit(&dataset)?;
    print(
        &format!("{name}_fit_ms"),
        1e3 * best(|| params.fit(&dataset).map(|f| f.n_nodes())),
    );
    let batch = best(|| -> Array1<F> { forest.predict(records) });
    print(
        &format!("{name}_batch_rows_per_s"),
        records.nrows() as f64 / batch,
    );
    let bytes = forest.to_bytes();
    print(
        &format!("{name}_load_us"),
        1e6 * best(|| IsolationForest::<F>::from_bytes(&bytes)),
    );
    print(&format!("{name}_save_us"), 1e6 * best(|| forest.to_bytes()));
    print(&format!("{name}_file_kib"), bytes.len() as f64 / 1024.0);
    print(
        &format!("{name}_memory_kib"),
        forest.memory_bytes() as f64 / 1024.0,
    );
    let rows: Vec<&[F]> = records
        .rows()
        .into_iter()
        .filter_map(|row| row.to_slice())
        .collect();
    single(name, &forest, &rows);
    Ok(())
}

fn single<F: Float>(name: &str, forest: &IsolationForest<F>, rows: &[&[F]]) {
    let mut contributions = vec![0.0; forest.n_features()];
    let scored = latency(|call| {
        let score = forest.score_one(rows[call % rows.len()]);
        score
            .ok()
            .and_then(|score| score.to_f64())
            .unwrap_or(f64::NAN)
    });
    let explained = latency(|call| {
        let explained = forest.explain_into(rows[call % rows.len()], &mut contributions);
        explained.map_or(f64::NAN, |explained| explained.score)
    });
    for (what, (p50, p99)) in [("row", scored), ("explain", explained)] {
        print(&format!("{name}_{what}_p50_us"), p50);
        print(&format!("{name}_{what}_p99_us"), p99);
    }
}

/// Seconds of the fastest round.
fn best<T>(work: impl Fn() -> T) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        black_box(work());
        start.elapsed().as_secs_f64()
    });
    rounds.fold(f64::INFINITY, f64::min)
}

/// Median and 99th percentile of single calls in µs: those of the round with the best median.
fn latency(mut work: impl FnMut(usize) -> f64) -> (f64, f64) {
    let rounds = (0..ROUNDS).map(|round| {
        let mut times: Vec<u128> = (0..CALLS)
            .map(|call| {
                let start = Instant::now();
                black_box(work(black_box(round * CALLS + call)));
                start.elapsed().as_nanos()
            })
            .collect();
        times.sort_unstable();
        let at = |part: usize| times[(CALLS * part) / 100] as f64 / 1e3;
        (at(50), at(99))
    });
    rounds.fold((f64::INFINITY, f64::INFINITY), |a, b| {
        if b.0 < a.0 { b } else { a }
    })
}

fn normal(rows: usize, columns: usize) -> Array2<f64> {
    let mut rng = Xoshiro256Plus::seed_from_u64(1);
    Array2::from_shape_simple_fn((rows, columns), || {
        (0..12).map(|_| rng.r#gen::<f64>()).sum::<f64>() - 6.0
    })
}

fn print(name: &str, value: f64) {
    println!("{name},{value:.3}");
}
