//! `portreeve policy …`: for those who write policies.

mod check;
mod explain;
mod fmt;
mod graph;
mod live;
mod replay;
mod test;

use std::fs;
use std::path::{Path, PathBuf};

use ::policy::SourceFile;
use ::policy::source::read_folder;
use clap::{Args, Subcommand};
use live::Deed;

use super::Failure;
use super::output::Output;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Hold policies against their schema, themselves, the settings and the entities; 1 when
    /// there is an error in them
    Check(check::CheckArgs),
    /// Write policies in the one form that Cedar's formatter gives them
    Fmt(fmt::FmtArgs),
    /// Show which policies have a say in which requests, by their scopes
    Graph(graph::GraphArgs),
    /// The whole story of one decision, and what would have made it an allow
    Explain(explain::ExplainArgs),
    /// Decide again what is on record, by other policies, entities or another model
    Replay(replay::ReplayArgs),
    /// Run the tests in the policies' `tests` folder; 1 when one fails
    Test(test::TestArgs),
    /// Make a set the one that decides
    Publish(live::SetArgs),
    /// Evaluate a set beside the one that decides, unheard
    Shadow(live::SetArgs),
    /// Make the set in the shadow the one that decides
    Promote(live::WhyArgs),
    /// End the shadow
    Drop(live::WhyArgs),
    /// Go back to the set that decided before
    Rollback(live::WhyArgs),
    /// Who did what with policies, when and why
    Acts(live::ActsArgs),
    /// Print the schema of every word that the engine offers to policies
    Vocabulary,
}

pub(super) fn run(
    command: PolicyCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    match command {
        PolicyCommand::Explain(args) => explain::run(&args, settings, output),
        PolicyCommand::Replay(args) => replay::run(args, settings, output),
        PolicyCommand::Test(args) => test::run(&args, settings, output),
        PolicyCommand::Publish(args) => live::publish(args, settings, output),
        PolicyCommand::Shadow(args) => live::shadow(args, settings, output),
        PolicyCommand::Promote(why) => live::run(Deed::Promote, why, settings, output),
        PolicyCommand::Drop(why) => live::run(Deed::Drop, why, settings, output),
        PolicyCommand::Rollback(why) => live::run(Deed::Rollback, why, settings, output),
        PolicyCommand::Acts(args) => live::acts(&args, settings, output),
        PolicyCommand::Vocabulary => {
            let schema = ::policy::vocabulary::schema();
            output.print(&schema, schema.trim_end())
        }
        PolicyCommand::Check(args) => check::run(&args, settings, output),
        PolicyCommand::Fmt(args) => fmt::run(&args, settings, output),
        PolicyCommand::Graph(args) => graph::run(&args, settings, output),
    }
}

/// Where policies and entities lie.
#[derive(Debug, Args)]
struct Where {
    /// The folder with `*.cedarschema` and `*.cedar`; `policies.dir` of the settings by default
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Entities; those of the settings by default, or `entities.json` in `--dir` if it is there
    #[arg(long, value_name = "FILE")]
    entities: Option<PathBuf>,
}

impl Where {
    fn folder<'a>(&'a self, settings: &'a Settings) -> &'a Path {
        self.dir.as_deref().unwrap_or(&settings.policies)
    }

    fn policies(&self, settings: &Settings) -> Result<Vec<SourceFile>, Failure> {
        let folder = self.folder(settings);
        read_folder(folder).map_err(|error| {
            Failure::Unable(format!(
                "{}: {error}; name a folder with `*.cedarschema` and `*.cedar` by `--dir`",
                folder.display()
            ))
        })
    }

    fn entities(&self, settings: &Settings) -> Result<Option<SourceFile>, Failure> {
        let path = match (&self.entities, &self.dir) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(folder)) => {
                let beside = folder.join("entities.json");
                beside.is_file().then_some(beside)
            }
            (None, None) => settings.entities_file(),
        };
        let Some(path) = path else {
            return Ok(None);
        };
        let text = fs::read_to_string(&path)
            .map_err(|error| Failure::Unable(format!("{}: {error}", path.display())))?;
        Ok(Some(SourceFile::new(path.display().to_string(), text)))
    }
}
