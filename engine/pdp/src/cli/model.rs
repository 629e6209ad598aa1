//! `portreeve model`: train a model, read its card.

use std::fs;
use std::path::PathBuf;

use ::geo::{Geo, GeoPaths};
use clap::Subcommand;
use risk::artifact;
use serde_json::json;
use trainer::TrainingPlan;

use super::Failure;
use super::output::{Output, counter};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum ModelCommand {
    /// Fit a model on events, calibrate it on later ones, measure it on the last
    Train {
        /// Files of events in order of time; `.gz` is unpacked
        #[arg(long, required = true, num_args = 1..)]
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
        #[arg(long, default_value_t = 200)]
        trees: usize,
        /// One database for places, networks and anonymisers instead of those in the settings
        #[arg(long, value_name = "FILE")]
        geo: Option<PathBuf>,
        /// Folder of models instead of the one in the settings
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Show a model's card
    Card {
        /// `name` or `name@version`; the champion by default
        model: Option<String>,
    },
}

pub(super) fn run(
    command: ModelCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    match command {
        ModelCommand::Train {
            events,
            name,
            version,
            seed,
            trees,
            geo,
            out,
        } => {
            let models = out.unwrap_or_else(|| settings.models.clone());
            let paths = geo.map_or_else(
                || settings.geo.clone(),
                |path| GeoPaths {
                    city: Some(path.clone()),
                    asn: Some(path.clone()),
                    anonymous: Some(path),
                },
            );
            let geo = Geo::open(&paths).map_err(Failure::unable)?;
            let version = version.unwrap_or_else(|| next_version(&models, &name));
            let plan = TrainingPlan {
                name,
                version,
                seed,
                trees,
                ..TrainingPlan::default()
            };
            let bar = counter("training on");
            let training =
                trainer::train::train(trainer::events::read(&events), &geo, &plan, |read| {
                    bar.set_position(read as u64);
                })
                .map_err(Failure::unable)?;
            bar.finish_and_clear();
            let folder = trainer::train::write(&training, &models).map_err(Failure::unable)?;
            let model = format!("{}@{}", plan.name, plan.version);
            let report = json!({
                "model": model,
                "folder": folder,
                "metrics": training.manifest.metrics,
            });
            let text = format!(
                "{}\n{model} is in {}; set `models.champion = \"{model}\"` to use it",
                training.card,
                folder.display()
            );
            output.print(&report, &text)
        }
        ModelCommand::Card { model } => {
            let name = model.unwrap_or_else(|| settings.champion.clone());
            let folder = artifact::locate(&settings.models, &name)
                .map_err(|error| Failure::Unable(format!("{name}: {error}")))?;
            let (_, manifest) = artifact::load(&folder).map_err(Failure::unable)?;
            let card = fs::read_to_string(folder.join(artifact::CARD))
                .unwrap_or_else(|_| trainer::card::write(&manifest));
            output.print(&manifest, card.trim_end())
        }
    }
}

fn next_version(models: &std::path::Path, name: &str) -> u32 {
    let versions = fs::read_dir(models.join(name)).into_iter().flatten();
    versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .map_or(1, |last| last + 1)
}
