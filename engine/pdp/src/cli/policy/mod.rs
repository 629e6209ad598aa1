//! `portreeve policy …`: for those who write policies.

mod explain;
mod live;
mod replay;
mod test;

use clap::Subcommand;

use live::Deed;

use super::Failure;
use super::output::Output;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
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
    }
}
