//! `portreeve model train`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tempfile::NamedTempFile;
use trainer::TrainingPlan;

use super::super::bench;
use super::super::data::export;
use super::super::output::Output;
use super::{Failure, Progress, open_geo};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(in crate::cli) struct TrainArgs {
    /// Files of events in order of time, `.jsonl`, `.jsonl.gz` or `.parquet`; the decision log in
    /// `data_dir` by default
    #[arg(long, num_args = 1..)]
    events: Vec<PathBuf>,
    /// Name of the model
    #[arg(long, default_value = "behaviour")]
    name: String,
    /// Its version; the next one by default
    #[arg(long)]
    version: Option<u32>,
    /// Same seed and events, same bytes
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Trees
    #[arg(long, default_value_t = 500)]
    trees: usize,
    /// One database for places, networks and anonymisers instead of those in the settings
    #[arg(long, value_name = "FILE")]
    geo: Option<PathBuf>,
    /// Folder of models instead of the one in the settings
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: TrainArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let models = args.out.unwrap_or_else(|| settings.models.clone());
    let geo = open_geo(settings, args.geo)?;
    let version = args
        .version
        .unwrap_or_else(|| next_version(&models, &args.name));
    let plan = TrainingPlan {
        name: args.name,
        version,
        seed: args.seed,
        trees: args.trees,
        settings: settings.risk.clone(),
        ..TrainingPlan::default()
    };
    // Training reads its events twice, and the log is not in order of time.
    let log = args
        .events
        .is_empty()
        .then(|| exported(settings))
        .transpose()?;
    let events = match &log {
        Some(file) => vec![file.path().to_owned()],
        None => args.events,
    };
    let mut progress = Progress::default();
    let training = trainer::train::train(
        || trainer::events::read(&events),
        &geo,
        &plan,
        &|model, survey| bench::judge(settings, model, survey),
        |step| progress.show(step),
    )
    .map_err(Failure::unable)?;
    progress.done();
    let folder = trainer::train::write(&training, &models).map_err(Failure::unable)?;
    let model = format!("{}@{}", plan.name, plan.version);
    let report = json!({
        "model": model,
        "folder": folder,
        "metrics": training.manifest.metrics,
    });
    let text = format!(
        "{}\n{model} is in {}; let it score with `portreeve model promote {model}`, or set \
         `models.champion = \"{model}\"`",
        training.card,
        folder.display()
    );
    output.print(&report, &text)
}

fn next_version(models: &Path, name: &str) -> u32 {
    let versions = fs::read_dir(models.join(name)).into_iter().flatten();
    versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .map_or(1, |last| last + 1)
}

fn exported(settings: &Settings) -> Result<NamedTempFile, Failure> {
    let file = tempfile::Builder::new()
        .prefix("portreeve-log-")
        .suffix(".jsonl.gz")
        .tempfile()?;
    export::whole(settings, file.path())?;
    Ok(file)
}
