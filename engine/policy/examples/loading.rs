//! How long a large set takes to load, and how much memory it keeps: `cargo run --release -p
//! policy --example loading -- 10000`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "an example that measures"
)]

use std::time::Instant;

use policy::{Policies, SourceFile};

const SCHEMA: &str = "
    entity Group in [Group];
    entity User in [Group] { department?: String, level?: Long };
    entity Folder in [Folder];
    entity Document in [Folder] { owner?: User, sensitivity?: Long, department?: String };
    action read, write, share appliesTo {
        principal: [User], resource: [Document],
        context: { risk: { score: Long, level: String }, signals: { tor?: Bool, new_country?: Bool } },
    };
";

/// A policy that grants a group something in a folder, under conditions as people write them.
fn policy(number: usize) -> String {
    format!(
        "@id(\"grant-{number}\")\n@reason(\"Your group works with this folder.\")\n\
         permit (principal in Group::\"g{number}\", action in [Action::\"read\", Action::\"write\"], \
         resource in Folder::\"f{number}\")\n\
         when {{ context.risk.score < 60 && (if resource has sensitivity then resource.sensitivity <= 2 else true) }}\n\
         unless {{ context.signals has tor && context.signals.tor }};\n\n"
    )
}

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or_default();
    pages * 4096
}

fn main() {
    let count: usize = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(10_000);
    // Fifty to a file, as a folder that people keep.
    let numbers: Vec<usize> = (0..count).collect();
    let mut files = vec![SourceFile::new("schema.cedarschema", SCHEMA)];
    for (number, some) in numbers.chunks(50).enumerate() {
        let text: String = some.iter().map(|number| policy(*number)).collect();
        files.push(SourceFile::new(format!("{number:05}.cedar"), text));
    }
    let before = resident();
    let started = Instant::now();
    let policies = Policies::load(&files)
        .map_err(|found| found.0.len())
        .unwrap();
    let took = started.elapsed();
    let kept = resident().saturating_sub(before);
    println!(
        "{} policies in {:.2} s, {} bytes of resident memory each",
        policies.len(),
        took.as_secs_f64(),
        kept / policies.len() as u64
    );
}
