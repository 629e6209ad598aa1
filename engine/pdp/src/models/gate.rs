//! Whether a model may take over by its figures: what it does worse than the champion, and
//! whether that is more than the margin allows.

use std::collections::BTreeSet;

use risk::artifact::Metric;
use serde::Serialize;

/// One figure of both models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// The champion's.
    pub champion: f64,
    /// The other's; none where it was not measured.
    pub challenger: Option<f64>,
    /// How much worse it may be.
    pub allowed: f64,
    /// Whether it is worse than that.
    pub regressed: bool,
}

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// What a figure measures, by its name: `attack.…` is a share of attacks stopped, `benign.…` a
/// share of honest look-alikes bothered, `ordinary.…` and `settled.…` of everybody. Others are
/// told and not judged by: to deny an attack is no better than to ask for what it cannot give.
fn kind_of(name: &str) -> Option<(Better, f64)> {
    let kind = name.split('.').next()?;
    let figure = name.rsplit('.').next()?;
    let level = figure
        .strip_prefix("at_or_above_")
        .map(str::parse::<u8>)
        .transpose()
        .ok()?;
    let is_deny = figure == "denied" || level.is_some_and(|least| least >= 80);
    match kind {
        "attack" if level.is_some() || matches!(figure, "stopped" | "caught") => {
            Some((Better::More, 1.0))
        }
        "benign" if level.is_some() || matches!(figure, "bothered" | "denied") => {
            Some((Better::Less, 1.0))
        }
        // There are thousands of them for each of the others, and a deny is an outage for one.
        "ordinary" | "settled" if level.is_some() || matches!(figure, "bothered" | "denied") => {
            Some((Better::Less, if is_deny { 0.01 } else { 0.1 }))
        }
        _ => None,
    }
}

/// Compares the figures that both have. `margin` is by how much the share of attacks caught may
/// fall, or of look-alikes bothered may rise, 0 to 1; for ordinary requests a tenth of it counts,
/// and for those at 80 points or more a hundredth.
///
/// What the champion was measured on and the other was not counts as regressed: what nobody has
/// looked at is not known to be no worse.
#[must_use]
pub fn compare(champion: &[Metric], challenger: &[Metric], margin: f64) -> Vec<Compared> {
    champion
        .iter()
        .filter_map(|metric| {
            let (better, scale) = kind_of(&metric.name)?;
            let other = challenger.iter().find(|other| other.name == metric.name);
            let allowed = margin * scale;
            let worse = other.map(|other| match better {
                Better::More => metric.value - other.value,
                Better::Less => other.value - metric.value,
            });
            Some(Compared {
                name: metric.name.clone(),
                champion: metric.value,
                challenger: other.map(|other| other.value),
                allowed,
                // Not a number is no better than anything.
                regressed: !worse.is_some_and(|worse| worse <= allowed + 1e-12),
            })
        })
        .collect()
}

/// What keeps a model from being promoted; empty when nothing does.
#[must_use]
pub fn objections(compared: &[Compared]) -> Vec<String> {
    if compared.is_empty() {
        return vec!["the champion has no figures to compare with".to_owned()];
    }
    let mut unmeasured = BTreeSet::new();
    let mut objections = Vec::new();
    for compared in compared.iter().filter(|compared| compared.regressed) {
        match compared.challenger {
            Some(value) => objections.push(format!(
                "{}: {:.2} % against the champion's {:.2} %; at most {:.2} points worse are allowed",
                compared.name,
                value * 100.0,
                compared.champion * 100.0,
                compared.allowed * 100.0
            )),
            None => {
                let kind = compared.name.split(".at_or_above_").next();
                unmeasured.insert(kind.unwrap_or_default());
            }
        }
    }
    if !unmeasured.is_empty() {
        let kinds: Vec<&str> = unmeasured.into_iter().collect();
        objections.push(format!("not measured on {}", kinds.join(", ")));
    }
    objections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, value: f64) -> Metric {
        Metric {
            name: name.to_owned(),
            value,
            count: 100,
            low: None,
            high: None,
        }
    }

    #[test]
    fn worse_past_the_margin_is_an_objection_and_better_never_is() {
        for (name, champion, challenger, wanted) in [
            ("attack.stuffing.at_or_above_60", 0.90, 0.88, true),
            ("attack.stuffing.at_or_above_60", 0.90, 0.87, false),
            ("attack.stuffing.at_or_above_60", 0.90, 1.0, true),
            ("benign.trip.at_or_above_30", 0.10, 0.12, true),
            ("benign.trip.at_or_above_30", 0.10, 0.13, false),
            ("ordinary.at_or_above_30", 0.010, 0.012, true),
            ("ordinary.at_or_above_30", 0.010, 0.013, false),
            ("ordinary.at_or_above_80", 0.0, 0.0002, true),
            ("ordinary.at_or_above_80", 0.0, 0.0003, false),
            ("ordinary.at_or_above_80", 0.001, 0.0, true),
            ("attack.stuffing.stopped", 0.90, 0.87, false),
            ("settled.bothered", 0.010, 0.013, false),
            ("settled.denied", 0.0, 0.0003, false),
            ("attack.stuffing.at_or_above_60", 0.90, f64::NAN, false),
        ] {
            let compared = compare(&[metric(name, champion)], &[metric(name, challenger)], 0.02);
            let objections = objections(&compared);
            assert_eq!(objections.is_empty(), wanted, "{name}: {objections:?}");
        }
    }

    #[test]
    fn what_was_not_measured_or_not_at_all_is_an_objection() {
        let attack = [metric("attack.stuffing.at_or_above_60", 0.9)];
        let compared = compare(&attack, &[], 0.02);
        assert!(objections(&compared)[0].contains("not measured"));
        assert_eq!(objections(&compare(&[], &attack, 0.02)).len(), 1);
        let told = [metric("brier", 0.9)];
        assert_eq!(
            objections(&compare(&told, &told, 0.02)).len(),
            1,
            "not judged by"
        );
    }
}
