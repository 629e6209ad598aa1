//! Criterion benches in the shape linfa's guide asks for: several sizes and widths, fixed seeds,
//! data made outside the timed part.
//!
//! `cargo bench -p forest`, and `-- fit` or another group's name for a part. linfa's own
//! `benchmarks` helpers are tied to criterion 0.5; the settings here are in their spirit but short.
//! After the groups, p50 and p99 of single rows are printed, which criterion does not report.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench prints, and stops where something is wrong"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use forest::{IsolationForest, Reservoir};
use linfa::prelude::*;
use ndarray::{Array1, Array2, Axis};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use std::hint::black_box;
use std::time::{Duration, Instant};

fn normal(rows: usize, columns: usize) -> Array2<f64> {
    let mut rng = Xoshiro256Plus::seed_from_u64(42);
    Array2::from_shape_simple_fn((rows, columns), || {
        (0..12).map(|_| rng.r#gen::<f64>()).sum::<f64>() - 6.0
    })
}

fn fitted(records: &Array2<f64>, trees: usize, level: usize) -> IsolationForest<f64> {
    let params = IsolationForest::params()
        .n_trees(trees)
        .extension_level(level)
        .seed(7);
    params.fit(&DatasetBase::from(records.view())).unwrap()
}

fn fit(c: &mut Criterion) {
    let mut group = c.benchmark_group("fit");
    for (rows, columns) in [(1_000, 5), (10_000, 5), (100_000, 5), (100_000, 10)] {
        let dataset = DatasetBase::from(normal(rows, columns));
        for (name, level) in [("axis", 0), ("extended", 1)] {
            let params = IsolationForest::params()
                .n_trees(100)
                .extension_level(level)
                .seed(7);
            let id = BenchmarkId::new(format!("{name}-{columns}feats"), rows);
            group.bench_with_input(id, &dataset, |b, data| b.iter(|| params.fit(data).unwrap()));
        }
    }
    let dataset = normal(100_000, 10);
    group.bench_with_input(
        BenchmarkId::new("stream-10feats", 100_000),
        &dataset,
        |b, data| {
            b.iter(|| {
                let mut reservoir = Reservoir::new(IsolationForest::params().seed(7)).unwrap();
                for rows in data.axis_chunks_iter(Axis(0), 4096) {
                    reservoir.push(&rows).unwrap();
                }
                reservoir.fit().unwrap()
            });
        },
    );
    group.finish();
}

fn single(c: &mut Criterion) {
    let mut group = c.benchmark_group("single");
    for (columns, trees, level) in [
        (10, 100, 0),
        (32, 100, 0),
        (32, 300, 0),
        (10, 100, 1),
        (200, 100, 0),
    ] {
        let records = normal(5_000, columns);
        let forest = fitted(&records, trees, level);
        let rows: Vec<&[f64]> = records
            .rows()
            .into_iter()
            .map(|r| r.to_slice().unwrap())
            .collect();
        let mut contributions = vec![0.0; columns];
        let name = format!("{columns}feats-{trees}trees-level{level}");
        let mut next = rows.iter().cycle();
        group.bench_function(BenchmarkId::new("score_one", &name), |b| {
            b.iter(|| forest.score_one(next.next().unwrap()));
        });
        group.bench_function(BenchmarkId::new("explain_into", &name), |b| {
            b.iter(|| forest.explain_into(next.next().unwrap(), &mut contributions));
        });
    }
    group.finish();
}

fn batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    for (rows, columns) in [(1_000, 5), (10_000, 5), (100_000, 5), (100_000, 10)] {
        let records = normal(rows, columns);
        let forest = fitted(&records, 100, 0);
        group.throughput(Throughput::Elements(rows as u64));
        for threads in [1, 2] {
            let forest = forest.clone().with_n_threads(threads);
            let id = BenchmarkId::new(format!("predict-{columns}feats-{threads}threads"), rows);
            group.bench_with_input(id, &records, |b, records| {
                b.iter(|| -> Array1<f64> { forest.predict(records) });
            });
        }
    }
    group.finish();
}

fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    let forest = fitted(&normal(100_000, 10), 100, 0);
    let bytes = forest.to_bytes();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("from_bytes", |b| {
        b.iter(|| IsolationForest::<f64>::from_bytes(black_box(&bytes)).unwrap());
    });
    group.bench_function("to_bytes", |b| b.iter(|| forest.to_bytes()));
    group.finish();
}

/// A replacement of a tenth of the trees, as in following a stream.
fn life(c: &mut Criterion) {
    let mut group = c.benchmark_group("life");
    let dataset = DatasetBase::from(normal(10_000, 10));
    let params = IsolationForest::params().seed(7);
    let mut forest = params.fit(&dataset).unwrap();
    group.bench_function("replace_oldest-10-of-100", |b| {
        b.iter(|| forest.replace_oldest(10, &params, &dataset).unwrap());
    });
    group.finish();
}

/// p50, p99 and p99.9 of single calls, each on another row; reading the clock is included.
fn latency() {
    const CALLS: usize = 50_000;
    println!(
        "\nsingle calls, us{:>31} {:>8} {:>8}",
        "p50", "p99", "p99.9"
    );
    let report = |name: &str, work: &mut dyn FnMut(usize)| {
        let mut times: Vec<u128> = (0..CALLS)
            .map(|call| {
                let start = Instant::now();
                work(call);
                start.elapsed().as_nanos()
            })
            .collect();
        times.sort_unstable();
        let [p50, p99, p999] = [500, 990, 999].map(|part| times[CALLS * part / 1000] as f64 / 1e3);
        println!("{name:<40} {p50:>7.3} {p99:>8.3} {p999:>8.3}");
    };
    report("clock", &mut |_| {});
    for (columns, trees) in [(10, 100), (32, 100), (32, 300)] {
        let records = normal(5_000, columns);
        let forest = fitted(&records, trees, 0);
        let mut contributions = vec![0.0; columns];
        let row = |call: usize| records.row(call % 5_000).to_slice().unwrap();
        report(
            &format!("score_one, {columns} features, {trees} trees"),
            &mut |call| {
                black_box(forest.score_one(row(call)).unwrap());
            },
        );
        report(
            &format!("explain_into, {columns} features, {trees} trees"),
            &mut |call| {
                black_box(forest.explain_into(row(call), &mut contributions).unwrap());
            },
        );
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .noise_threshold(0.05);
    targets = fit, single, batch, load, life
}

fn main() {
    benches();
    // Under `cargo test --benches` the groups run once, as a check; times would mean nothing.
    if !std::env::args().any(|argument| argument == "--test") {
        latency();
    }
    Criterion::default().configure_from_args().final_summary();
}
