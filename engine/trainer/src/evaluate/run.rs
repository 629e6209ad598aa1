//! An evaluation of a model that is there already.

use std::sync::Arc;

use geo::Geo;
use risk::calibration::Budget;
use risk::{Key, Model, Settings};
use wire::Event;

use super::{Bench, Evaluation, Report, is_attack};
use crate::events::ReadError;
use crate::replay::Replay;
use crate::sample::Sample;
use crate::survey::Survey;
use crate::train::{Step, TrainError, decide, fit_plain};

/// Rows that the plain forest of a baseline is fitted on, at most.
const ROWS_MAX: usize = 100_000;
/// Seed of the plain forest: of no account but that it is always the same.
const SEED: u64 = 7;

/// What is judged, and how.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The model.
    pub model: &'a Arc<Model>,
    /// What the engine is set to.
    pub settings: &'a Settings,
    /// What the model's calibration promises.
    pub budget: Budget,
    /// Share of the events' time that only teaches, 0 to less than 1.
    pub warm_up: f64,
    /// Share of subjects that are met only after it, 0 to 1: nothing is known of them then.
    pub cold: f64,
}

/// Judges a model by events.
///
/// # Errors
/// When the events cannot be read or are not in order, or the policies cannot be loaded.
pub fn run<I>(
    events: impl Fn() -> I,
    geo: &Geo,
    trial: &Trial<'_>,
    bench: &Bench<'_>,
    mut progress: impl FnMut(Step),
) -> Result<Report, TrainError>
where
    I: Iterator<Item = Result<Event, ReadError>>,
{
    let survey = Survey::of(events(), geo, |seen| progress(Step::Looking(seen)))?;
    let judge = bench(trial.model, &survey).map_err(TrainError::Policies)?;
    let from = survey.at(trial.warm_up);
    let mut replay = Replay::new(geo, trial.settings);
    let mut before = Sample::new(ROWS_MAX, SEED);
    let mut evaluation = None;
    for (seen, event) in events().enumerate() {
        let mut event = event?;
        if seen % 1000 == 0 {
            progress(Step::Learning(seen, survey.events));
        }
        if event.time < from {
            let who = &event.request.subject.entity;
            if Key::of_pair(who.kind.as_str(), who.id.as_str()).unit() < trial.cold {
                continue;
            }
            let features = replay.step(&mut event).features;
            if event.is_question() && !is_attack(&event) {
                before.push(features);
            }
            continue;
        }
        let evaluation = match &mut evaluation {
            Some(evaluation) => evaluation,
            None => {
                // With nothing to fit it on, that baseline knows nothing.
                let plain = fit_plain(before.kept(), SEED).ok();
                evaluation.insert(Evaluation::new(
                    Arc::clone(trial.model),
                    plain,
                    replay.who(),
                    event.time,
                    survey.events - seen,
                ))
            }
        };
        decide(&mut replay, &mut event, judge.as_ref(), evaluation);
    }
    progress(Step::Measuring);
    let budget = trial.budget;
    let promise = [(30, budget.challenge), (60, budget.mfa), (80, budget.deny)];
    evaluation
        .map(|evaluation| Report::of(&evaluation, promise))
        .ok_or(TrainError::TooFew {
            found: 0,
            purpose: "judge by",
            needed: 1,
        })
}
