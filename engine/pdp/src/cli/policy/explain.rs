//! `portreeve policy explain`: the whole story of one decision.

use clap::Args;
use store::Store;
use wire::record::replay::Recorded;

use super::super::output::Output;
use super::super::{Failure, runtime};
use crate::archive::Archive;
use crate::explain::{self, Story};
use crate::replay::sources::{Candidate, Sources};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// `decision_id` of the answer
    decision_id: String,
}

pub(super) fn run(args: &ExplainArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let folder = settings.data_dir.join("journal");
    if !folder.is_dir() || !settings.store.is_file() {
        return Err(Failure::Unable(format!(
            "{}: no decisions are on record; `portreeve serve` makes them, or set `data_dir`",
            settings.data_dir.display()
        )));
    }
    let runtime = runtime()?;
    let store = runtime.block_on(Store::open(&settings.store));
    let store = store.map_err(Failure::unable)?;
    let found = runtime.block_on(explain::find(&store, &folder, &args.decision_id));
    let text = found.map_err(Failure::unable)?.ok_or_else(|| {
        Failure::No(format!(
            "no decision `{}` is on record; `portreeve audit tail` shows the last ones",
            args.decision_id
        ))
    })?;
    let recorded = Recorded::read(&text).map_err(Failure::unable)?;
    let sources = Sources::new(
        Archive::new(store.clone()),
        settings.models.clone(),
        Candidate::default(),
        runtime.handle().clone(),
    );
    let story = Story::of(recorded, &sources);
    runtime.block_on(store.close());
    output.print(&story.to_json(), &story.text())
}
