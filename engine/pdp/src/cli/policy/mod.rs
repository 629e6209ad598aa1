//! `portreeve policy …`: for those who write policies.

mod explain;
mod replay;

use clap::Subcommand;

use super::Failure;
use super::output::Output;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// The whole story of one decision, and what would have made it an allow
    Explain(explain::ExplainArgs),
    /// Decide again what is on record, by other policies, entities or another model
    Replay(replay::ReplayArgs),
}

pub(super) fn run(
    command: PolicyCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    match command {
        PolicyCommand::Explain(args) => explain::run(&args, settings, output),
        PolicyCommand::Replay(args) => replay::run(args, settings, output),
    }
}
