//! The report of an evaluation: figures with intervals, the losing scenarios first.

mod figures;
mod text;

use serde::{Deserialize, Serialize};

use super::ablation;
use super::measure::Draws;
use super::mistakes::Mistake;
use super::rows::{Evaluation, Row, is_settled};
use figures::{brier, honest, rate, reliability, rivals, roc, scenario, scores};

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
    /// Honest events of people, and of programs, which cannot be asked: for them each step is a
    /// deny.
    pub by_subject: Vec<Honest>,
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
    /// What it got wrong: attacks let through, honest people asked for much or denied. One for
    /// each subject and a few for each kind.
    pub mistakes: Vec<Mistake>,
}

/// What the calibration promises, in points and shares.
pub(crate) type Promise = [(u8, f64); 3];

impl Report {
    /// Works the figures out.
    #[must_use]
    pub fn of(evaluation: &Evaluation, promise: Promise) -> Self {
        let draws = Draws::new(evaluation.subjects());
        let histograms = draws.histograms(evaluation, Row::gravity);
        let answers = draws.histograms(evaluation, Row::answer);
        let attacks: Vec<usize> = (0..evaluation.kinds.len())
            .filter(|kind| evaluation.is_attack(u16::try_from(*kind).unwrap_or_default()))
            .collect();
        let mut scenarios: Vec<Scenario> = attacks
            .iter()
            .map(|kind| scenario(evaluation, [&histograms, &answers], *kind))
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
            by_subject: vec![
                honest("people", &|row| row.person),
                honest("programs", &|row| !row.person),
            ],
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
            mistakes: evaluation.mistakes.kept(),
        }
    }
}
