//! `portreeve policy …`: for those who write policies.

mod replay;

use clap::Subcommand;

use super::Failure;
use super::output::Output;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Decide again what is on record, by other policies, entities or another model
    Replay(replay::ReplayArgs),
}

pub(super) fn run(
    command: PolicyCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    match command {
        PolicyCommand::Replay(args) => replay::run(args, settings, output),
    }
}
