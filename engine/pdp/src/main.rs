//! `portreeve`: one binary for the engine and everything around it.

use std::process::ExitCode;

fn main() -> ExitCode {
    pdp::cli::run()
}
