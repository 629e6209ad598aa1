//! The card of a model: what it is, what it was made from, what it does, where it would fail.

use risk::artifact::{Manifest, Metric};
use risk::features::CATALOGUE;

/// Writes the card of a manifest, in Markdown.
#[must_use]
pub fn write(manifest: &Manifest) -> String {
    let data = &manifest.data;
    let budget = manifest.budget;
    let mut card = format!(
        "# {name} {version}\n\n\
         An isolation forest (Liu, Ting and Zhou 2008) over {features} features of a request. Its\n\
         raw score goes through a monotone calibration to 0–100 points, so that they mean a\n\
         budget: of ordinary traffic at most {challenge} % lie at or above 30, {mfa} % at or above\n\
         60, {deny} % at or above 80. It is 0.7 of the score; the named rules are the rest.\n\n\
         | | |\n|---|---|\n\
         | trees × rows | {trees} × {rows} |\n\
         | seed | {seed} |\n\
         | events fitted on | {fitted} |\n\
         | events calibrated on, later | {calibrated} |\n\
         | events tested on, later still | {tested} |\n\
         | subjects | {subjects} |\n\
         | from, to | {from}, {to} |\n\
         | SHA-256 of the events | `{sha}` |\n\
         | SHA-256 of the forest | `{forest}` |\n\n",
        name = manifest.name,
        version = manifest.version,
        features = manifest.features.len(),
        challenge = budget.challenge * 100.0,
        mfa = budget.mfa * 100.0,
        deny = budget.deny * 100.0,
        trees = manifest.trees,
        rows = manifest.sample_size,
        seed = manifest.seed,
        fitted = data.fitted,
        calibrated = data.calibrated,
        tested = data.tested,
        subjects = data.subjects,
        from = data.from,
        to = data.to,
        sha = data.sha256,
        forest = manifest.forest_sha256,
    );
    card.push_str(
        "## What the whole score does on the test slice\n\n\
         Share of events at or above each threshold of the ladder, by what they really were.\n\
         `benign.*` are honest events that look like an attack.\n\n\
         | kind | events | ≥ 30 | ≥ 60 | ≥ 80 |\n|---|---|---|---|---|\n",
    );
    for triple in manifest.metrics.chunks(3) {
        card.push_str(&row(triple));
    }
    card.push_str(
        "\n## Where it would fail\n\n\
         - It was made from simulated traffic. It knows nothing yet of how your people work:\n  \
           retrain it on your own decision log before you rely on its budget.\n\
         - An attacker in the victim's own city, on a usual network, with a copy of the device\n  \
           id, looks like the victim.\n\
         - A slow theft, a few documents a day, stays below every volume.\n\
         - Subjects with fewer than ten accesses are judged against everybody, not themselves.\n\n\
         ## Features\n\n| feature | unit | median | meaning |\n|---|---|---|---|\n",
    );
    for (description, median) in CATALOGUE.iter().zip(&manifest.medians) {
        let median = if description.logarithmic {
            median.exp_m1()
        } else {
            *median
        };
        card.push_str(&format!(
            "| `{}` | {} | {median:.2} | {} |\n",
            description.name, description.unit, description.doc
        ));
    }
    card
}

fn row(triple: &[Metric]) -> String {
    let Some(first) = triple.first() else {
        return String::new();
    };
    let kind = first.name.split(".at_or_above_").next().unwrap_or_default();
    let mut row = format!("| {kind} | {} |", first.count);
    for metric in triple {
        row.push_str(&format!(" {:.2} % |", metric.value * 100.0));
    }
    row.push('\n');
    row
}
