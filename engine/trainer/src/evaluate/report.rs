//! The report of an evaluation: figures with intervals, the losing scenarios first.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::ablation;
use super::baseline::BASELINES;
use super::measure::{Draws, Histogram, STEPS, Steps, share_from};
use super::rows::{Evaluation, Row, is_settled};

/// What a step-up leaves of an attack that meets it (Doerfler et al., WWW 2019, targeted
/// attacks: a code by SMS stops 76 %, a prompt on the device 90 %).
const LEFT: [f64; 4] = [1.0, 0.24, 0.10, 0.0];
/// The share of settled honest events that may be asked for a step-up.
const BUDGET: f64 = 0.01;
/// The first requests of a theft, within which it has to be caught: the first part in twenty.
const EARLY: f64 = 0.05;

/// A figure, how sure it is, and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The value.
    pub value: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Events, or attacks, that it rests on.
    pub count: usize,
}

impl Figure {
    /// From the value itself, first, and what draws made of it.
    pub(super) fn of(values: &[f64], count: usize) -> Self {
        let mut drawn: Vec<f64> = values
            .iter()
            .skip(1)
            .copied()
            .filter(|value| value.is_finite())
            .collect();
        drawn.sort_by(f64::total_cmp);
        let at = |place: usize| drawn.get(place).copied();
        let value = values.first().copied().unwrap_or_default();
        let edge = drawn.len() / 40;
        Self {
            value: if value.is_finite() { value } else { 0.0 },
            low: at(edge).unwrap_or(value),
            high: at(drawn.len().saturating_sub(1 + edge)).unwrap_or(value),
            count,
        }
    }

    fn percent(self) -> String {
        format!(
            "{:.2} % [{:.2}, {:.2}]",
            self.value * 100.0,
            self.low * 100.0,
            self.high * 100.0
        )
    }
}

/// What became of one kind of attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// `attack.…`.
    pub name: String,
    /// Requests that were not let through, by the policies that are in force.
    pub stopped: Figure,
    /// Requests that were denied.
    pub denied: Figure,
    /// Attacks of which some request was not let through.
    pub caught: Figure,
    /// Attacks caught within the first twentieth of their requests, or at the first.
    pub caught_early: Figure,
    /// Middle number of requests let through before the first that was not.
    pub requests_before: f64,
    /// Middle number of seconds until then.
    pub seconds_before: f64,
    /// Requests at or above what one settled honest event in a hundred reaches.
    pub at_one_percent: Figure,
    /// The same for one in a thousand.
    pub at_one_permille: Figure,
    /// Area under the ROC curve.
    pub auc: Figure,
    /// Average precision.
    pub average_precision: Figure,
    /// Share of the attack that is expected to succeed, step-ups being what they are.
    pub residual: Figure,
}

/// Honest events of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Honest {
    /// `ordinary` or `benign.…`; or which of them, by history.
    pub name: String,
    /// Asked for a step-up, or denied.
    pub bothered: Figure,
    /// Asked for more than a challenge, or denied.
    pub more_than_challenge: Figure,
    /// Denied.
    pub denied: Figure,
}

/// What a simple rule makes of the same events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rival {
    /// The model itself, or a baseline.
    pub name: String,
    /// Mean over the kinds of attack, at one settled honest event in a hundred.
    pub at_one_percent: Figure,
    /// Mean over the kinds of attack.
    pub auc: Figure,
    /// Each kind of attack, at one settled honest event in a hundred.
    pub by_scenario: Vec<f64>,
}

/// What a feature is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worth {
    /// The feature.
    pub feature: String,
    /// How much of the attacks the score finds less without it, at one honest event in a hundred.
    pub worth: f64,
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// From when on decisions were counted (RFC 3339).
    pub from: String,
    /// Until when.
    pub to: String,
    /// Decisions counted.
    pub decisions: usize,
    /// Honest decisions that were left out, whole subjects of them, to bound the memory.
    pub left_out: usize,
    /// Subjects.
    pub subjects: usize,
    /// Kinds of attack, the one that fares worst first.
    pub scenarios: Vec<Scenario>,
    /// Honest events with a history of twelve, all of them.
    pub settled: Honest,
    /// Honest events by kind.
    pub honest: Vec<Honest>,
    /// Honest events by the history of the subject: under 5, 12, 40, and from 40.
    pub by_history: Vec<Honest>,
    /// Honest events of subjects that were never seen before the slice.
    pub cold: Honest,
    /// Step-ups for each subject and week.
    pub step_ups_per_week: f64,
    /// What the model's points promise of honest events, and what came: points, promised, seen.
    pub budget: Vec<(u8, f64, Figure)>,
    /// Mean square of score over 100 against whether it was an attack.
    pub brier: f64,
    /// Share of attacks in each tenth of the score.
    pub reliability: Vec<(u8, f64, usize)>,
    /// The model and the baselines on the same events.
    pub rivals: Vec<Rival>,
    /// Mean over kinds of attack of what the score alone finds at one honest event in a hundred.
    pub score_alone: f64,
    /// The features, the weightiest first.
    pub features: Vec<Worth>,
    /// Honest and attack events by score: the columns of a chart.
    pub scores: Vec<(String, Vec<usize>)>,
    /// Points of the ROC curve by kind of attack: share of honest, share of attack.
    pub roc: Vec<(String, Vec<(f64, f64)>)>,
}

/// What the calibration promises, in points and shares.
pub(crate) type Promise = [(u8, f64); 3];

impl Report {
    /// Works the figures out.
    #[must_use]
    pub fn of(evaluation: &Evaluation, promise: Promise) -> Self {
        let draws = Draws::new(evaluation.subjects());
        let histograms = draws.histograms(evaluation, Row::gravity);
        let attacks: Vec<usize> = (0..evaluation.kinds.len())
            .filter(|kind| evaluation.is_attack(u16::try_from(*kind).unwrap_or_default()))
            .collect();
        let mut scenarios: Vec<Scenario> = attacks
            .iter()
            .map(|kind| scenario(evaluation, &histograms, *kind))
            .collect();
        scenarios.sort_by(|a, b| {
            (a.stopped.value, &a.name)
                .partial_cmp(&(b.stopped.value, &b.name))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let names: Vec<String> = (0_u16..)
            .zip(&evaluation.kinds)
            .filter(|(kind, _)| !evaluation.is_attack(*kind))
            .map(|(_, name)| name.clone())
            .collect();
        let honest = |name: &str, of: &dyn Fn(&Row) -> bool| {
            honest(evaluation, &draws, name, &|row| {
                !evaluation.is_attack(row.kind) && of(row)
            })
        };
        let mut by_kind: Vec<Honest> = names
            .iter()
            .map(|name| {
                honest(name, &|row| {
                    evaluation.kinds.get(usize::from(row.kind)) == Some(name)
                })
            })
            .collect();
        by_kind.sort_by(|a, b| a.name.cmp(&b.name));
        let (score_alone, losses) = ablation::losses(evaluation);
        let weeks = (evaluation.ended.seconds() - evaluation.began.seconds()).max(1) as f64
            / (7.0 * 86_400.0);
        let step_ups = evaluation
            .rows
            .iter()
            .filter(|row| !evaluation.is_attack(row.kind) && matches!(row.rung, 1 | 2))
            .count();
        let active = evaluation
            .rows
            .iter()
            .map(|row| row.subject)
            .collect::<std::collections::BTreeSet<_>>()
            .len();
        Self {
            from: wire::time::format(evaluation.began),
            to: wire::time::format(evaluation.ended),
            decisions: evaluation.rows.len(),
            left_out: evaluation.left_out,
            subjects: active,
            settled: honest("history of 12 or more", &is_settled),
            by_history: [(0, 5), (5, 12), (12, 40), (40, u8::MAX)]
                .into_iter()
                .map(|(from, to)| {
                    let name = match (from, to) {
                        (0, to) => format!("history under {to}"),
                        (from, u8::MAX) => format!("history of {from} or more"),
                        (from, to) => format!("history of {from} to {}", to - 1),
                    };
                    honest(&name, &|row| {
                        row.history >= from && (row.history < to || to == u8::MAX)
                    })
                })
                .collect(),
            cold: honest("first seen in the slice", &|row| row.cold),
            honest: by_kind,
            step_ups_per_week: step_ups as f64 / weeks / active.max(1) as f64,
            budget: promise
                .into_iter()
                .map(|(points, share)| {
                    let seen = rate(
                        evaluation,
                        &draws,
                        &|row| !evaluation.is_attack(row.kind),
                        &|row| row.model_score >= points,
                    );
                    (points, share, seen)
                })
                .collect(),
            brier: brier(evaluation),
            reliability: reliability(evaluation),
            rivals: rivals(evaluation, &draws, &histograms, &attacks),
            score_alone,
            features: losses
                .into_iter()
                .map(|loss| Worth {
                    feature: loss.feature.to_owned(),
                    worth: loss.worth,
                })
                .collect(),
            scores: scores(evaluation),
            roc: roc(evaluation, &histograms, &attacks),
            scenarios,
        }
    }

    /// The report as a table for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{} decisions on {} subjects, {} to {}.\n\n\
             Figures are shares with their 95 % interval over subjects.\n\n\
             ### Attacks, the ones that fare worst first\n\n\
             | attack | requests | stopped | denied | caught | caught early | requests, seconds before | at 1 % of the honest | at 0.1 % | AUC | AP | left |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|",
            self.decisions, self.subjects, self.from, self.to,
        );
        for attack in &self.scenarios {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} of {} | {} | {:.0}, {:.0} | {} | {} | {:.3} | {:.3} | {:.1} % |",
                attack.name.trim_start_matches("attack."),
                attack.stopped.count,
                attack.stopped.percent(),
                attack.denied.percent(),
                attack.caught.percent(),
                attack.caught.count,
                attack.caught_early.percent(),
                attack.requests_before,
                attack.seconds_before,
                attack.at_one_percent.percent(),
                attack.at_one_permille.percent(),
                attack.auc.value,
                attack.average_precision.value,
                attack.residual.value * 100.0,
            );
        }
        text.push_str(
            "\n*Stopped*: not answered `allow` by the policies in force. *Caught*: attacks of which a request was stopped; *early*: at the first, or within a twentieth of the requests. *Left*: what is expected to get through when a challenge stops 76 % and a second factor 90 % (Doerfler et al. 2019).\n\n\
             ### Honest people\n\n| who | decisions | asked or denied | more than a challenge | denied |\n|---|---|---|---|---|\n",
        );
        let rows = std::iter::once(&self.settled)
            .chain(&self.honest)
            .chain(&self.by_history)
            .chain(std::iter::once(&self.cold));
        for honest in rows.filter(|honest| honest.bothered.count > 0) {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                honest.name,
                honest.bothered.count,
                honest.bothered.percent(),
                honest.more_than_challenge.percent(),
                honest.denied.percent(),
            );
        }
        let _ = writeln!(
            text,
            "\n{:.2} step-ups for each subject and week.\n\n\
             ### Against simple rules, on the same events\n\n\
             Mean over the kinds of attack of what is found where one settled honest event in a hundred is.\n\n\
             | | found | AUC |\n|---|---|---|",
            self.step_ups_per_week
        );
        for rival in &self.rivals {
            let _ = writeln!(
                text,
                "| {} | {} | {:.3} |",
                rival.name,
                rival.at_one_percent.percent(),
                rival.auc.value
            );
        }
        text.push_str(
            "\n### What the model's points promise of honest events\n\n| points | promised at most | seen |\n|---|---|---|\n",
        );
        for (points, promised, seen) in &self.budget {
            let _ = writeln!(
                text,
                "| {points} | {:.2} % | {} |",
                promised * 100.0,
                seen.percent()
            );
        }
        let _ = writeln!(
            text,
            "\nBrier score of the whole score over 100: {:.4}.\n\n\
             ### What each feature is worth\n\n\
             The score alone, without policies, finds {:.1} % of the attacks at one honest event in a hundred (mean over kinds); without a feature, so much less, in points of per cent:\n",
            self.brier,
            self.score_alone * 100.0
        );
        for worth in &self.features {
            let _ = writeln!(text, "- `{}` {:+.2}", worth.feature, worth.worth * 100.0);
        }
        text
    }
}

fn scenario(evaluation: &Evaluation, histograms: &[Histogram], kind: usize) -> Scenario {
    let over = |of: &dyn Fn(&Histogram) -> f64| -> Vec<f64> { histograms.iter().map(of).collect() };
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
    let of_attacks = |holds: &dyn Fn(&super::rows::Instance) -> bool| {
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
        stopped: Figure::of(&over(&|h| h.share(kind, 50)), count),
        denied: Figure::of(&over(&|h| h.share(kind, 150)), count),
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
            &over(&|h| {
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

fn rate(
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

fn honest(
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

fn rivals(
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

fn brier(evaluation: &Evaluation) -> f64 {
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

fn reliability(evaluation: &Evaluation) -> Vec<(u8, f64, usize)> {
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
fn scores(evaluation: &Evaluation) -> Vec<(String, Vec<usize>)> {
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

fn roc(
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
