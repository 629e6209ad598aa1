//! `portreeve policy`: the policy author's tools.

mod test;

use clap::Subcommand;

use super::Failure;
use super::output::Output;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Run the tests in the policies' `tests` folder; 1 when one fails
    Test(test::TestArgs),
    /// Print the schema of every word that the engine offers to policies
    Vocabulary,
}

pub(super) fn run(
    command: PolicyCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    match command {
        PolicyCommand::Test(args) => test::run(&args, settings, output),
        PolicyCommand::Vocabulary => {
            let schema = ::policy::vocabulary::schema();
            output.print(&schema, schema.trim_end())
        }
    }
}
