//! `portreeve model`: train a model, read its card, and choose which one scores.

mod compare;
mod drift;
mod registry;

use std::fs;
use std::path::PathBuf;

use ::geo::{Geo, GeoPaths};
use clap::Subcommand;
use risk::artifact;
use serde_json::json;
use trainer::TrainingPlan;

use super::Failure;
use super::output::{Output, counter};
use super::{os_user, runtime};
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
    /// List all models: which scores, which is compared with it, which cannot be used and why
    List,
    /// Score the same events with two models, and show where they disagree
    Compare(compare::CompareArgs),
    /// Let a model score beside the champion, unheard; its agreement shows in /metrics
    Shadow {
        /// `name@version`, or `off`
        model: String,
    },
    /// Let another model score. Refused when it does worse; a running engine takes it up within
    /// a second
    Promote(registry::PromoteArgs),
    /// Go back to the model before the last promotion; again, further back
    Rollback {
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
    },
    /// How far the last recorded decisions lie from what a model was made from; 1 when drifted
    Drift(drift::DriftArgs),
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
            let geo = open_geo(settings, geo)?;
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
                "{}\n{model} is in {}; `portreeve model promote {model}` lets it score",
                training.card,
                folder.display()
            );
            output.print(&report, &text)
        }
        ModelCommand::Card { model } => {
            let name = match model {
                Some(model) => model,
                None => {
                    let champion = runtime()?.block_on(crate::models::foresee(settings));
                    champion.map_err(Failure::Unable)?.choice.model
                }
            };
            let folder = artifact::locate(&settings.models, &name)
                .map_err(|error| Failure::Unable(format!("{name}: {error}")))?;
            let (_, manifest) = artifact::load(&folder).map_err(Failure::unable)?;
            let card = fs::read_to_string(folder.join(artifact::CARD))
                .unwrap_or_else(|_| trainer::card::write(&manifest));
            output.print(&manifest, card.trim_end())
        }
        ModelCommand::List => registry::list(settings, output),
        ModelCommand::Compare(args) => compare::run(&args, settings, output),
        ModelCommand::Shadow { model } => registry::shadow(model, settings, output),
        ModelCommand::Promote(args) => registry::promote(args, settings, output),
        ModelCommand::Rollback { reason } => registry::rollback(reason, settings, output),
        ModelCommand::Drift(args) => drift::run(&args, settings, output),
    }
}

/// The databases of the settings, or one for all of them.
fn open_geo(settings: &Settings, one: Option<PathBuf>) -> Result<Geo, Failure> {
    let paths = one.map_or_else(
        || settings.geo.clone(),
        |path| GeoPaths {
            city: Some(path.clone()),
            asn: Some(path.clone()),
            anonymous: Some(path),
        },
    );
    Geo::open(&paths).map_err(Failure::unable)
}

fn next_version(models: &std::path::Path, name: &str) -> u32 {
    let versions = fs::read_dir(models.join(name)).into_iter().flatten();
    versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .map_or(1, |last| last + 1)
}
