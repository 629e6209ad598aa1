//! `portreeve model evaluate`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use risk::artifact;
use trainer::evaluate::Trial;

use super::super::bench;
use super::super::output::Output;
use super::{Failure, Progress, folder_of, open_geo};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(in crate::cli) struct EvaluateArgs {
    /// Files of events in order of time; `.gz` is unpacked
    #[arg(long, required = true, num_args = 1..)]
    events: Vec<PathBuf>,
    /// `name` or `name@version`; the champion by default
    #[arg(long)]
    model: Option<String>,
    /// Share of the events' time that only teaches, before decisions count
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// Share of subjects that are met only after the warm-up, as if they had just been hired
    #[arg(long, default_value_t = 0.0)]
    cold: f64,
    /// One database for places, networks and anonymisers instead of those in the settings
    #[arg(long, value_name = "FILE")]
    geo: Option<PathBuf>,
}

pub(super) fn run(args: EvaluateArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    if !(0.0..1.0).contains(&args.warm_up) {
        return Err(Failure::Unable(format!(
            "`--warm-up` is {}: a share from 0 to less than 1",
            args.warm_up
        )));
    }
    if !(0.0..=1.0).contains(&args.cold) {
        return Err(Failure::Unable(format!(
            "`--cold` is {}: a share from 0 to 1",
            args.cold
        )));
    }
    let geo = open_geo(settings, args.geo)?;
    let folder = folder_of(args.model, settings)?;
    let (model, manifest) = artifact::load(&folder).map_err(Failure::unable)?;
    let mut progress = Progress::default();
    let report = trainer::evaluate::run(
        || trainer::events::read(&args.events),
        &geo,
        &Trial {
            model: &Arc::new(model),
            settings: &settings.risk,
            budget: manifest.budget,
            warm_up: args.warm_up,
            cold: args.cold,
        },
        &|model, survey| bench::judge(settings, model, survey),
        |step| progress.show(step),
    )
    .map_err(Failure::unable)?;
    progress.done();
    output.print(&report, &report.text())
}
