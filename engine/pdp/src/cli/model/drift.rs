//! How far the decision log lies from what a model was made from.

use std::collections::HashMap;
use std::path::Path;

use clap::Args;
use risk::distribution::{Drift, ROWS_MIN, Stability, Tally};
use risk::features::FEATURES;
use serde_json::json;
use store::Store;
use store::journal;
use wire::record::RecordFeatures;

use super::super::output::{Output, bar, table};
use super::{Failure, runtime};
use crate::models::open::{self, Opened};
use crate::settings::Settings;

/// Places that are asked for at once.
const PAGE: usize = 1000;

#[derive(Debug, Args)]
pub(in crate::cli) struct DriftArgs {
    /// `name` or `name@version`; the champion by default
    model: Option<String>,
    /// Accesses to look at, the last ones
    #[arg(long, default_value_t = 10_000)]
    last: usize,
}

/// What was read of the log.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    /// Batches and dry runs: questions, and no accesses.
    questions: usize,
    /// Scored by a model that is not there, or for features of another engine.
    of_others: usize,
    /// In the store, and not in the journal any more.
    gone: usize,
}

pub(super) fn run(args: &DriftArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let opened = opened(args, settings)?;
    let model = &opened.choice.model;
    let Some(training) = &opened.manifest.distribution else {
        return Err(Failure::Unable(format!(
            "{model} does not say how its features were distributed: it was made by an earlier \
             version; retrain it with `portreeve model train`"
        )));
    };
    let mut tally = Tally::new(training);
    let read = read(args.last, settings, &mut tally)?;
    let Some(drift) = tally.drift() else {
        return Err(Failure::Unable(format!(
            "{} accesses on record are too few to say: {ROWS_MIN} are needed ({} batch items and \
             dry runs, {} for other features or of models that are gone, {} no longer in the \
             journal)",
            tally.rows(),
            read.questions,
            read.of_others,
            read.gone
        )));
    };
    let drifted: Vec<&str> = drift
        .iter()
        .filter(|drift| drift.verdict == Stability::Drifted)
        .map(|drift| drift.feature)
        .collect();
    let value = json!({
        "model": model,
        "trained_on": training.events,
        "accesses": tally.rows(),
        "passed_over": {
            "questions": read.questions,
            "of_others": read.of_others,
            "gone": read.gone,
        },
        "features": drift,
        "drifted": drifted,
    });
    let text = format!(
        "{}\n{} accesses against the {} events that {model} was fitted on; below 0.1 stable, \
         above 0.25 drifted",
        rows(&drift),
        tally.rows(),
        training.events
    );
    output.print(&value, &text)?;
    if drifted.is_empty() {
        Ok(())
    } else {
        Err(Failure::No(format!(
            "drifted: {}; see whether the traffic has changed or is under attack, then retrain on \
             it and compare",
            drifted.join(", ")
        )))
    }
}

fn opened(args: &DriftArgs, settings: &Settings) -> Result<Opened, Failure> {
    match &args.model {
        Some(model) => open::open(&settings.models, model).map_err(Failure::unable),
        None => runtime()?
            .block_on(crate::models::foresee(settings))
            .map_err(Failure::Unable),
    }
}

/// Counts the last accesses of the log, the newest first.
fn read(last: usize, settings: &Settings, tally: &mut Tally<'_>) -> Result<Read, Failure> {
    if !settings.store.is_file() {
        return Err(Failure::Unable(format!(
            "{}: no decisions; `portreeve serve` records them, or set `data_dir`",
            settings.store.display()
        )));
    }
    let folder = settings.data_dir.join("journal");
    let runtime = runtime()?;
    let store = runtime.block_on(Store::open(&settings.store));
    let store = store.map_err(Failure::unable)?;
    let mut known = Known::of(&settings.models);
    let mut read = Read::default();
    let mut before = None;
    let bar = bar(last as u64, "reading");
    while tally.rows() < last as u64 {
        let places = runtime
            .block_on(store.last_decisions(before, PAGE))
            .map_err(Failure::unable)?;
        let Some((oldest, _)) = places.last() else {
            break;
        };
        before = Some(*oldest);
        for (_, place) in places {
            if tally.rows() >= last as u64 {
                break;
            }
            let Ok(text) = journal::read_at(&folder, &place) else {
                read.gone += 1;
                continue;
            };
            match RecordFeatures::read(&text) {
                Some(record) if !known.has(&record) => read.of_others += 1,
                Some(record) if record.manner == "access" => {
                    tally.add(record.features);
                    bar.inc(1);
                }
                _ => read.questions += 1,
            }
        }
    }
    bar.finish_and_clear();
    runtime.block_on(store.close());
    Ok(read)
}

/// The models whose features are this engine's: a record alone does not say what its numbers
/// mean.
struct Known<'a> {
    models: &'a Path,
    /// Content hashes by name.
    hashes: HashMap<String, Option<String>>,
}

impl<'a> Known<'a> {
    fn of(models: &'a Path) -> Self {
        Self {
            models,
            hashes: HashMap::new(),
        }
    }

    fn has(&mut self, record: &RecordFeatures) -> bool {
        let hash = self
            .hashes
            .entry(record.model.clone())
            .or_insert_with_key(|name| {
                let opened = open::open(self.models, name).ok()?;
                Some(opened.model.hash().to_string())
            });
        record.features.len() == FEATURES && hash.as_deref() == Some(record.model_hash.as_str())
    }
}

fn rows(drift: &[Drift]) -> comfy_table::Table {
    let mut rows = table(&[
        "feature",
        "PSI",
        "verdict",
        "unknown then",
        "unknown now",
        "moved most",
        "then",
        "now",
    ]);
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let mut drift: Vec<&Drift> = drift.iter().collect();
    drift.sort_by(|a, b| b.psi.total_cmp(&a.psi));
    for drift in drift {
        let [unknown_then, unknown_now] = drift.unknown.map(percent);
        let [then, now] = drift.most_share.map(percent);
        rows.add_row([
            drift.feature.to_owned(),
            format!("{:.3}", drift.psi),
            drift.verdict.as_str().to_owned(),
            unknown_then,
            unknown_now,
            drift.most.clone(),
            then,
            now,
        ]);
    }
    rows
}
