//! `portreeve model`: train a model, read its card, and choose which one scores.

mod compare;
mod drift;
mod evaluate;
mod registry;
mod train;

use std::fs;
use std::path::PathBuf;

use ::geo::{Geo, GeoPaths};
use clap::Subcommand;
use indicatif::ProgressBar;
use risk::artifact;
use risk::features::{self, CATALOGUE};
use trainer::train::Step;

use super::Failure;
use super::output::{Output, bar, counter};
use super::{os_user, runtime};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum ModelCommand {
    /// Fit a model on events, calibrate it on later ones, measure it on the last
    Train(train::TrainArgs),
    /// Judge a model by events, under the policies in force, against the simple rules
    Evaluate(evaluate::EvaluateArgs),
    /// Show a model's card
    Card {
        /// `name` or `name@version`; the champion by default
        model: Option<String>,
    },
    /// Every feature of the score: unit, meaning, cold start, memory, source
    Features,
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
        ModelCommand::Train(args) => train::run(args, settings, output),
        ModelCommand::Evaluate(args) => evaluate::run(args, settings, output),
        ModelCommand::Card { model } => {
            let folder = folder_of(model, settings)?;
            let (_, manifest) = artifact::load(&folder).map_err(Failure::unable)?;
            let card = fs::read_to_string(folder.join(artifact::CARD)).map_err(|error| {
                Failure::Unable(format!(
                    "{}: {error}",
                    folder.join(artifact::CARD).display()
                ))
            })?;
            output.print(&manifest, card.trim_end())
        }
        ModelCommand::Features => {
            let names: Vec<&str> = CATALOGUE.iter().map(|feature| feature.name).collect();
            output.print(&names, features::table().trim_end())
        }
        ModelCommand::List => registry::list(settings, output),
        ModelCommand::Compare(args) => compare::run(&args, settings, output),
        ModelCommand::Shadow { model } => registry::shadow(model, settings, output),
        ModelCommand::Promote(args) => registry::promote(args, settings, output),
        ModelCommand::Rollback { reason } => registry::rollback(reason, settings, output),
        ModelCommand::Drift(args) => drift::run(&args, settings, output),
    }
}

/// The folder of a model; of the one that scores if none is named.
fn folder_of(model: Option<String>, settings: &Settings) -> Result<PathBuf, Failure> {
    let name = match model {
        Some(model) => model,
        None => {
            let champion = runtime()?.block_on(crate::models::foresee(settings));
            champion.map_err(Failure::Unable)?.choice.model
        }
    };
    artifact::locate(&settings.models, &name)
        .map_err(|error| Failure::Unable(format!("{name}: {error}")))
}

/// The databases of the settings, or one for all of them.
fn open_geo(settings: &Settings, one: Option<PathBuf>) -> Result<Geo, Failure> {
    let paths = one.map_or_else(
        || settings.geo.clone(),
        |path| GeoPaths {
            city: Some(path.clone()),
            asn: Some(path.clone()),
            anonymous: Some(path),
            threats: settings.geo.threats.clone(),
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
