//! How the figures of a report come about.

use super::super::baseline::BASELINES;
use super::super::measure::{Draws, Histogram, STEPS, Steps, share_from};
use super::super::rows::{Evaluation, Instance, Row};
use super::{Figure, Honest, Rival, Scenario};

/// What a step-up leaves of an attack that meets it (Doerfler et al., WWW 2019, targeted
/// attacks: a code by SMS stops 76 %, a prompt on the device 90 %).
const LEFT: [f64; 4] = [1.0, 0.24, 0.10, 0.0];
/// The share of settled honest events that may be asked for a step-up.
const BUDGET: f64 = 0.01;
/// The first requests of a theft, within which it has to be caught: the first part in twenty.
const EARLY: f64 = 0.05;

/// Figures of one kind of attack, from draws by [`Row::gravity`] and by [`Row::answer`].
pub(super) fn scenario(
    evaluation: &Evaluation,
    [by_gravity, by_answer]: [&[Histogram]; 2],
    kind: usize,
) -> Scenario {
    let over_all = |of: &dyn Fn(&Histogram) -> f64, histograms: &[Histogram]| -> Vec<f64> {
        histograms.iter().map(of).collect()
    };
    let over = |of: &dyn Fn(&Histogram) -> f64| over_all(of, by_gravity);
    let answered = |of: &dyn Fn(&Histogram) -> f64| over_all(of, by_answer);
    let kind_number = u16::try_from(kind).unwrap_or_default();
    let count = evaluation
        .rows
        .iter()
        .filter(|row| row.kind == kind_number)
        .count();
    let attacks: Vec<_> = evaluation
        .instances
        .iter()
        .filter(|instance| instance.kind == kind_number)
        .collect();
    let of_attacks = |holds: &dyn Fn(&Instance) -> bool| {
        let held = attacks.iter().filter(|instance| holds(instance)).count();
        share(held, attacks.len())
    };
    let middle = |of: &dyn Fn((u32, i64)) -> f64| {
        let mut values: Vec<f64> = attacks
            .iter()
            .filter_map(|instance| instance.caught.map(of))
            .collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Scenario {
        name: evaluation.kinds.get(kind).cloned().unwrap_or_default(),
        stopped: Figure::of(&answered(&|h| h.share(kind, 50)), count),
        denied: Figure::of(&answered(&|h| h.share(kind, 150)), count),
        caught: of_attacks(&|instance| instance.caught.is_some()),
        caught_early: of_attacks(&|instance| {
            instance.caught.is_some_and(|(before, _)| {
                before == 0 || f64::from(before) < EARLY * f64::from(instance.requests)
            })
        }),
        requests_before: middle(&|(requests, _)| f64::from(requests)),
        seconds_before: middle(&|(_, seconds)| seconds as f64),
        at_one_percent: Figure::of(&over(&|h| h.share(kind, h.limit(BUDGET))), count),
        at_one_permille: Figure::of(&over(&|h| h.share(kind, h.limit(BUDGET / 10.0))), count),
        auc: Figure::of(&over(&|h| h.auc(kind)), count),
        average_precision: Figure::of(&over(&|h| h.average_precision(kind)), count),
        residual: Figure::of(
            &answered(&|h| {
                let from = [0, 50, 100, 150].map(|limit| h.share(kind, limit));
                let [all, asked, mfa, deny] = from;
                let shares = [all - asked, asked - mfa, mfa - deny, deny];
                shares
                    .iter()
                    .zip(LEFT)
                    .map(|(share, left)| share * left)
                    .sum()
            }),
            count,
        ),
    }
}

/// A share of attacks, with the interval of Wilson (1927): attacks are on different subjects.
fn share(held: usize, of: usize) -> Figure {
    const Z: f64 = 1.96;
    let (held, n) = (held as f64, of as f64);
    if of == 0 {
        return Figure::of(&[], 0);
    }
    let p = held / n;
    let centre = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt() / (1.0 + Z * Z / n);
    Figure {
        value: p,
        low: (centre - half).max(0.0),
        high: (centre + half).min(1.0),
        count: of,
    }
}

pub(super) fn rate(
    evaluation: &Evaluation,
    draws: &Draws,
    among: &dyn Fn(&Row) -> bool,
    holds: &dyn Fn(&Row) -> bool,
) -> Figure {
    // The sums of each subject once: a draw only weighs them.
    let rows: Vec<&Row> = evaluation.rows.iter().filter(|row| among(row)).collect();
    let mut sums: std::collections::BTreeMap<u32, (f64, f64, Row)> =
        std::collections::BTreeMap::new();
    for row in &rows {
        let sum = sums.entry(row.subject).or_insert((0.0, 0.0, **row));
        sum.1 += 1.0;
        if holds(row) {
            sum.0 += 1.0;
        }
    }
    draws.figure(rows.len(), |weight| {
        let (mut held, mut all) = (0.0, 0.0);
        for (yes, count, row) in sums.values() {
            let weight = weight(row);
            held += weight * yes;
            all += weight * count;
        }
        held / all
    })
}

pub(super) fn honest(
    evaluation: &Evaluation,
    draws: &Draws,
    name: &str,
    among: &dyn Fn(&Row) -> bool,
) -> Honest {
    let from = |rung: u8| rate(evaluation, draws, among, &move |row: &Row| row.rung >= rung);
    Honest {
        name: name.to_owned(),
        bothered: from(1),
        more_than_challenge: from(2),
        denied: from(3),
    }
}

pub(super) fn rivals(
    evaluation: &Evaluation,
    draws: &Draws,
    own: &[Histogram],
    attacks: &[usize],
) -> Vec<Rival> {
    let rival = |name: &str, histograms: &[Histogram]| {
        let mean = |of: &dyn Fn(&Histogram, usize) -> f64| -> Vec<f64> {
            let over = |histogram: &Histogram| {
                let values = attacks.iter().map(|kind| of(histogram, *kind));
                let known: Vec<f64> = values.filter(|value| value.is_finite()).collect();
                known.iter().sum::<f64>() / known.len() as f64
            };
            histograms.iter().map(over).collect()
        };
        Rival {
            name: name.to_owned(),
            at_one_percent: Figure::of(
                &mean(&|h, kind| h.share(kind, h.limit(BUDGET))),
                evaluation.rows.len(),
            ),
            auc: Figure::of(&mean(&|h, kind| h.auc(kind)), evaluation.rows.len()),
            by_scenario: histograms.first().map_or_else(Vec::new, |h| {
                let limit = h.limit(BUDGET);
                attacks.iter().map(|kind| h.share(*kind, limit)).collect()
            }),
        }
    };
    let mut rivals = vec![rival("portreeve", own)];
    for (position, baseline) in BASELINES.into_iter().enumerate() {
        let of = |row: &Row| row.baselines.get(position).copied().unwrap_or_default();
        let steps = Steps::new(
            evaluation
                .rows
                .iter()
                .filter(|row| !evaluation.is_attack(row.kind))
                .map(of)
                .collect(),
        );
        let histograms = draws.histograms(evaluation, |row| steps.of(of(row)));
        rivals.push(rival(baseline.name(), &histograms));
    }
    rivals
}

pub(super) fn brier(evaluation: &Evaluation) -> f64 {
    let sum: f64 = evaluation
        .rows
        .iter()
        .map(|row| {
            let truth = f64::from(u8::from(evaluation.is_attack(row.kind)));
            (f64::from(row.score) / 100.0 - truth).powi(2)
        })
        .sum();
    sum / evaluation.rows.len().max(1) as f64
}

pub(super) fn reliability(evaluation: &Evaluation) -> Vec<(u8, f64, usize)> {
    (0..10_u8)
        .map(|tenth| {
            let within: Vec<&Row> = evaluation
                .rows
                .iter()
                .filter(|row| (row.score / 10).min(9) == tenth)
                .collect();
            let attacks = within
                .iter()
                .filter(|row| evaluation.is_attack(row.kind))
                .count();
            let share = attacks as f64 / within.len().max(1) as f64;
            (tenth * 10, share, within.len())
        })
        .collect()
}

/// How many decisions had each score, in fives, for the honest and for each kind of attack.
pub(super) fn scores(evaluation: &Evaluation) -> Vec<(String, Vec<usize>)> {
    let mut lines: Vec<(String, Vec<usize>)> = vec![("honest".to_owned(), vec![0; 21])];
    let mut place = vec![0; evaluation.kinds.len()];
    for (kind, name) in evaluation.kinds.iter().enumerate() {
        if name.starts_with("attack.") {
            if let Some(place) = place.get_mut(kind) {
                *place = lines.len();
            }
            lines.push((name.clone(), vec![0; 21]));
        }
    }
    for row in &evaluation.rows {
        let line = place
            .get(usize::from(row.kind))
            .copied()
            .unwrap_or_default();
        if let Some(count) = lines
            .get_mut(line)
            .and_then(|(_, counts)| counts.get_mut(usize::from(row.score / 5)))
        {
            *count += 1;
        }
    }
    lines
}

pub(super) fn roc(
    evaluation: &Evaluation,
    histograms: &[Histogram],
    attacks: &[usize],
) -> Vec<(String, Vec<(f64, f64)>)> {
    let Some(histogram) = histograms.first() else {
        return Vec::new();
    };
    attacks
        .iter()
        .map(|kind| {
            let name = evaluation.kinds.get(*kind).cloned().unwrap_or_default();
            let mut points: Vec<(f64, f64)> = (0..=STEPS)
                .rev()
                .map(|limit| {
                    let honest = share_from(&histogram.honest, limit);
                    (honest, histogram.share(*kind, limit))
                })
                .collect();
            points.dedup();
            (name, points)
        })
        .collect()
}
