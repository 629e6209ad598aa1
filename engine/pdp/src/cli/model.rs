//! `portreeve model`: train a model, read its card.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use ::geo::{Geo, GeoPaths};
use clap::Subcommand;
use indicatif::ProgressBar;
use risk::artifact;
use serde_json::json;
use trainer::TrainingPlan;
use trainer::train::Step;

use super::Failure;
use super::bench;
use super::output::{Output, bar, counter};
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
        #[arg(long, default_value_t = 500)]
        trees: usize,
        /// One database for places, networks and anonymisers instead of those in the settings
        #[arg(long, value_name = "FILE")]
        geo: Option<PathBuf>,
        /// Folder of models instead of the one in the settings
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Judge a model by events, under the policies in force, against the simple rules
    Evaluate {
        /// Files of events in order of time; `.gz` is unpacked
        #[arg(long, required = true, num_args = 1..)]
        events: Vec<PathBuf>,
        /// `name` or `name@version`; the champion by default
        #[arg(long)]
        model: Option<String>,
        /// Share of the events' time that only teaches, before decisions count
        #[arg(long, default_value_t = 0.5)]
        warm_up: f64,
        /// One database for places, networks and anonymisers instead of those in the settings
        #[arg(long, value_name = "FILE")]
        geo: Option<PathBuf>,
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
            let geo = open_geo(geo, settings)?;
            let version = version.unwrap_or_else(|| next_version(&models, &name));
            let plan = TrainingPlan {
                name,
                version,
                seed,
                trees,
                ..TrainingPlan::default()
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
                "{}\n{model} is in {}; set `models.champion = \"{model}\"` to use it",
                training.card,
                folder.display()
            );
            output.print(&report, &text)
        }
        ModelCommand::Evaluate {
            events,
            model,
            warm_up,
            geo,
        } => {
            if !(0.0..1.0).contains(&warm_up) {
                return Err(Failure::Unable(format!(
                    "`--warm-up` is {warm_up}: a share from 0 to less than 1"
                )));
            }
            let geo = open_geo(geo, settings)?;
            let name = model.unwrap_or_else(|| settings.champion.clone());
            let folder = artifact::locate(&settings.models, &name)
                .map_err(|error| Failure::Unable(format!("{name}: {error}")))?;
            let (model, manifest) = artifact::load(&folder).map_err(Failure::unable)?;
            let mut progress = Progress::default();
            let report = trainer::evaluate::run(
                || trainer::events::read(&events),
                &geo,
                &Arc::new(model),
                manifest.budget,
                warm_up,
                &|model, survey| bench::judge(settings, model, survey),
                |step| progress.show(step),
            )
            .map_err(Failure::unable)?;
            progress.done();
            output.print(&report, &report.text())
        }
        ModelCommand::Card { model } => {
            let name = model.unwrap_or_else(|| settings.champion.clone());
            let folder = artifact::locate(&settings.models, &name)
                .map_err(|error| Failure::Unable(format!("{name}: {error}")))?;
            let (_, manifest) = artifact::load(&folder).map_err(Failure::unable)?;
            let card = fs::read_to_string(folder.join(artifact::CARD)).map_err(|error| {
                Failure::Unable(format!(
                    "{}: {error}",
                    folder.join(artifact::CARD).display()
                ))
            })?;
            output.print(&manifest, card.trim_end())
        }
    }
}

fn open_geo(one: Option<PathBuf>, settings: &Settings) -> Result<Geo, Failure> {
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

/// What a person sees of a long training.
#[derive(Default)]
struct Progress {
    looking: Option<ProgressBar>,
    learning: Option<ProgressBar>,
}

impl Progress {
    fn show(&mut self, step: Step) {
        match step {
            Step::Looking(seen) => self
                .looking
                .get_or_insert_with(|| counter("looking at"))
                .set_position(seen as u64),
            Step::Learning(seen, of) => {
                if let Some(looking) = self.looking.take() {
                    looking.finish_and_clear();
                }
                self.learning
                    .get_or_insert_with(|| bar(of as u64, "learning"))
                    .set_position(seen as u64);
            }
            Step::Measuring => {
                if let Some(learning) = &self.learning {
                    learning.set_message("measuring");
                }
            }
        }
    }

    fn done(self) {
        for bar in [self.looking, self.learning].into_iter().flatten() {
            bar.finish_and_clear();
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
