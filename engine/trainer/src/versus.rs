//! Two models on the same events, through the same features and the same rules: how often they
//! agree, what each catches and whom each bothers, and where they disagree.

use std::collections::BTreeMap;

use domain::{Factor, RiskAssessment};
use geo::Geo;
use risk::artifact::Metric;
use risk::{Model, Settings};
use wire::Event;
use wire::event::Label;

use crate::events::ReadError;
use crate::replay::Replay;

/// Kinds of event that are told apart; events of further ones count as `other`. Labels are
/// anybody's text.
const KINDS_MAX: usize = 256;

/// Why two models could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum VersusError {
    /// The events.
    #[error("{0}")]
    Events(#[from] ReadError),
    /// The events are not in order of time.
    #[error("event {number} is earlier than the one before it; sort the events by time")]
    OutOfOrder {
        /// Which event, from 1.
        number: usize,
    },
    /// There were none.
    #[error("there are no events in these files")]
    Nothing,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Versus {
    /// Events that both scored.
    pub events: usize,
    /// By what the events really were: `attack.…`, `benign.…` or `ordinary`.
    pub kinds: BTreeMap<String, Tally>,
    /// One example of each way in which they disagree, the widest apart first.
    pub examples: Vec<Example>,
    levels: [u8; 3],
}

/// The events of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub events: usize,
    /// How many both put on the same level.
    pub agree: usize,
    /// How many each put at or above each level.
    pub above: [[usize; 3]; 2],
    /// Sum of the second's score less the first's.
    pub difference: i64,
}

/// An event on which they disagree.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// What it really was.
    pub kind: String,
    /// The event.
    pub event: Event,
    /// What each made of it.
    pub scores: [Opinion; 2],
    /// How many events there are of this kind with these levels.
    pub alike: usize,
}

/// What one model made of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    /// The score, 0 to 100.
    pub score: u8,
    /// The model's own part.
    pub model_score: u8,
    /// The rules' part, the same for both.
    pub rule_score: u8,
    /// How many of the levels it reached, 0 to 3.
    pub level: usize,
    /// What moved the score, the weightiest first.
    pub factors: Vec<Factor>,
}

impl Opinion {
    /// What could not be scored is denied, as at the gate.
    fn of(risk: Option<RiskAssessment>, settings: &Settings) -> Self {
        let Some(risk) = risk else {
            return Self {
                score: 100,
                model_score: 100,
                rule_score: 100,
                level: settings.levels.len(),
                factors: Vec::new(),
            };
        };
        Self {
            score: risk.score.points(),
            model_score: risk.model_score.points(),
            rule_score: risk.rule_score.points(),
            level: settings.levels_reached(risk.score.points()),
            factors: risk.factors,
        }
    }
}

impl Versus {
    /// How many events both put on the same level.
    #[must_use]
    pub fn agree(&self) -> usize {
        self.kinds.values().map(|tally| tally.agree).sum()
    }

    /// What one of them (0 or 1) does on these events, under the names that manifests use.
    #[must_use]
    pub fn metrics(&self, of: usize) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for (kind, tally) in &self.kinds {
            let above = tally.above.get(of).copied().unwrap_or_default();
            for (least, above) in self.levels.iter().zip(above) {
                metrics.push(Metric {
                    name: format!("{kind}.at_or_above_{least}"),
                    value: above as f64 / tally.events.max(1) as f64,
                    count: tally.events,
                    low: None,
                    high: None,
                });
            }
        }
        metrics
    }
}

/// Scores every event with both models. What is learnt on the way is the same for both, because
/// it does not depend on the score. `progress` is told how many events have been read.
///
/// # Errors
/// When the events cannot be read, or are not in order of time.
pub fn versus(
    events: impl Iterator<Item = Result<Event, ReadError>>,
    geo: &Geo,
    models: [&Model; 2],
    settings: &Settings,
    mut progress: impl FnMut(usize),
) -> Result<Versus, VersusError> {
    let mut replay = Replay::new(geo, settings);
    let mut kinds: BTreeMap<String, Tally> = BTreeMap::new();
    // Bounded by kinds and pairs of levels.
    let mut apart: BTreeMap<(String, usize, usize), Example> = BTreeMap::new();
    let mut count = 0;
    let mut last = None;
    for event in events {
        let mut event = event?;
        count += 1;
        if last.is_some_and(|last| event.time < last) {
            return Err(VersusError::OutOfOrder { number: count });
        }
        last = Some(event.time);
        let evidence = replay.step(&mut event);
        let scores = models.map(|model| {
            let risk = risk::assess(&event.request, &evidence, model, settings);
            Opinion::of(risk, settings)
        });
        let kind = kind_of(event.label.as_ref());
        let kind = if kinds.len() < KINDS_MAX || kinds.contains_key(&kind) {
            kind
        } else {
            "other".to_owned()
        };
        let tally = kinds.entry(kind.clone()).or_default();
        tally.count(&scores);
        let [first, second] = &scores;
        if first.level != second.level {
            let key = (kind.clone(), first.level, second.level);
            match apart.get_mut(&key) {
                Some(known) => {
                    known.alike += 1;
                    if distance(&scores) > distance(&known.scores) {
                        known.event = event;
                        known.scores = scores;
                    }
                }
                None => {
                    let example = Example {
                        kind,
                        event,
                        scores,
                        alike: 1,
                    };
                    apart.insert(key, example);
                }
            }
        }
        if count.is_multiple_of(1000) {
            progress(count);
        }
    }
    progress(count);
    if count == 0 {
        return Err(VersusError::Nothing);
    }
    let mut examples: Vec<Example> = apart.into_values().collect();
    examples.sort_by_key(|example| std::cmp::Reverse(distance(&example.scores)));
    Ok(Versus {
        events: count,
        kinds,
        examples,
        levels: settings.levels,
    })
}

impl Tally {
    fn count(&mut self, scores: &[Opinion; 2]) {
        let [first, second] = scores;
        self.events += 1;
        self.agree += usize::from(first.level == second.level);
        self.difference += i64::from(second.score) - i64::from(first.score);
        for (above, opinion) in self.above.iter_mut().zip(scores) {
            for above in above.iter_mut().take(opinion.level) {
                *above += 1;
            }
        }
    }
}

fn distance([first, second]: &[Opinion; 2]) -> u8 {
    first.score.abs_diff(second.score)
}

/// What an event really was, as metrics are named after it.
fn kind_of(label: Option<&Label>) -> String {
    match label {
        Some(Label::Attack(name)) => format!("attack.{name}"),
        Some(Label::Benign(name)) => format!("benign.{name}"),
        None => "ordinary".to_owned(),
    }
}
