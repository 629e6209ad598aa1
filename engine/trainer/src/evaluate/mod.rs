//! The protocol by which a model is judged: on a time slice that neither fit nor calibration has
//! seen, by the decisions that came of it, against the simple rules that it has to beat.
//!
//! Every event is decided as the engine would, one after the other, and what it allowed is
//! learnt, an attack too. Honest people pass the step-ups they are asked for; attackers do not.

mod ablation;
mod baseline;
mod measure;
mod mistakes;
mod report;
mod rows;
mod run;

use std::sync::Arc;

use domain::{AccessRequest, DecidingPolicy, Factor, Level, Rung, Timestamp};
use risk::{Evidence, Lesson, Model, Signals};
use wire::Event;
use wire::event::Label;

use crate::replay::Verdict;
use crate::survey::Survey;

pub(crate) use baseline::plain_features as plain;
pub use baseline::{BASELINES, Baseline};
pub use mistakes::Mistake;
pub use report::{Figure, Report, Scenario};
pub use rows::Evaluation;
pub use run::{Trial, run};

/// What the engine said of one event.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Whether the subject is a person who can be asked for a step-up.
    pub interactive: bool,
    /// What it rests on.
    pub evidence: Evidence,
    /// The answer.
    pub rung: Rung,
    /// The score, 0 to 100.
    pub score: u8,
    /// The rules' part of it.
    pub rule_score: u8,
    /// The model's part of it.
    pub model_score: u8,
    /// The policies that settled the answer.
    pub policies: Vec<Arc<DecidingPolicy>>,
    /// What moved the score.
    pub factors: Vec<Factor>,
    /// What may be learnt, if nobody knows what it really was.
    pub lesson: Lesson,
}

/// The engine's decisions, as far as an evaluation needs them: `decide` with a model and the
/// policies it will run under.
pub trait Judge {
    /// Decides one request.
    fn judge(&self, request: &AccessRequest, signals: &Signals, now: Timestamp) -> Judged;
}

/// Makes a judge of a model, for the subjects and resources of a survey.
pub type Bench<'a> = dyn Fn(&Arc<Model>, &Survey) -> Result<Box<dyn Judge>, String> + 'a;

/// Whether it is known to be an attack.
#[must_use]
pub const fn is_attack(event: &Event) -> bool {
    matches!(event.label, Some(Label::Attack(_)))
}

/// What follows a decision: the honest pass their step-up, attackers do not.
#[must_use]
pub fn aftermath(event: &Event, judged: &Judged) -> Verdict {
    if !event.is_question() {
        return Verdict {
            lesson: Lesson::Counters,
            passed: None,
        };
    }
    match (judged.rung, is_attack(event)) {
        (Rung::Challenge, false) => Verdict {
            lesson: Lesson::Baselines,
            passed: Some(Level::Challenge),
        },
        (Rung::Mfa, false) => Verdict {
            lesson: Lesson::Baselines,
            passed: Some(Level::Mfa),
        },
        _ => Verdict {
            lesson: judged.lesson,
            passed: None,
        },
    }
}
