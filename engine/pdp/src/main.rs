//! `portreeve`: one binary for the engine and everything around it.

use std::process::ExitCode;

// A decision is some hundred small allocations across several threads; see
// `engine/ARCHITECTURE.md` for what this one saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pdp::cli::run()
}
