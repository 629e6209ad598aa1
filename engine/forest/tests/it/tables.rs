//! Labelled tables, where the data folder is beside the workspace.

/// Accuracy here is a floor against mishaps; `cargo run --release --example accuracy` measures.
#[test]
fn known_tables_are_ranked_as_well_as_ever() {
    println!("skipped: not written yet");
}
