//! The card of a model: what it is, what it was made from, what it does, where it would fail.

use risk::artifact::Manifest;
use risk::features::CATALOGUE;

use crate::evaluate::Report;
use crate::guard::Dominant;
use crate::stability::Stability;

/// Writes the card of a model, in Markdown.
#[must_use]
pub fn write(
    manifest: &Manifest,
    report: &Report,
    stability: Option<&Stability>,
    dominant: &[Dominant],
    charts: &[(String, String)],
) -> String {
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
    if !dominant.is_empty() {
        card.push_str("Who had too large a part in the events was thinned before the fit:\n\n");
        for who in dominant {
            card.push_str(&format!(
                "- {} `{}`: {} of {} events kept\n",
                who.kind, who.name, who.kept, who.events
            ));
        }
        card.push('\n');
    }
    card.push_str("## What it does on the test slice\n\n");
    card.push_str(&report.text());
    if let Some(stability) = stability {
        card.push_str(&format!(
            "\n### How much is luck\n\n\
             Of {} honest events, {:.2} % get another level of the score with another seed: the mean\n\
             over the pairs of {} seeds, {:.2} % to {:.2} % by pair.\n",
            stability.flips.count,
            stability.flips.value * 100.0,
            stability.seeds,
            stability.flips.low * 100.0,
            stability.flips.high * 100.0,
        ));
    }
    if !charts.is_empty() {
        card.push_str("\n## Pictures\n\n");
        for (name, _) in charts {
            card.push_str(&format!("![{}]({name})\n", name.trim_end_matches(".svg")));
        }
    }
    card.push_str(&failing(report));
    card.push_str("\n## Features\n\n| feature | unit | median | meaning |\n|---|---|---|---|\n");
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

/// Where it would fail: what the figures say, and what no figure of simulated traffic can.
fn failing(report: &Report) -> String {
    let mut text = String::from("\n## Where it would fail\n\n");
    for attack in &report.scenarios {
        if attack.stopped.value < 0.9 {
            text.push_str(&format!(
                "- `{}`: {:.0} % of its requests were let through.\n",
                attack.name.trim_start_matches("attack."),
                (1.0 - attack.stopped.value) * 100.0
            ));
        }
    }
    for honest in &report.honest {
        if honest.denied.value > 0.0001 {
            text.push_str(&format!(
                "- Honest `{}`: {:.1} % were denied.\n",
                honest.name.trim_start_matches("benign."),
                honest.denied.value * 100.0
            ));
        }
    }
    text.push_str(
        "- Who holds a second factor that is minutes old, by phishing or by wearing somebody out,\n  \
           is let through below 80, and what is let through below 60 becomes usual.\n\
         - A program that moves to a network where it never ran is denied, planned or not: tell\n  \
           the address database of your standby regions (`corporate-exit`).\n\
         - Events that were labelled as attacks were left out of the fit, the calibration and what\n  \
           is usual. Your log has no such labels: what hides in it is learnt as usual.\n\
         - Few subjects of the test slice are new; `model evaluate --cold 0.5` measures with half of\n  \
           them unknown.\n\
         - It knows nothing yet of how your people work: retrain it on your own decision log\n  \
           before you rely on its budget, and look at `model drift`.\n\
         - An attacker in the victim's own city, on a usual network, with a copy of the device\n  \
           id, looks like the victim.\n\
         - A slow theft, a few documents a day, stays below every volume.\n\
         - Subjects with fewer than ten accesses are judged against everybody, not themselves.\n",
    );
    text
}
