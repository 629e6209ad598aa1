//! What is kept of each decision while an evaluation runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::{EntityRef, Rung, Timestamp};
use forest::IsolationForest;
use risk::features::FEATURES;
use risk::{Features, Model};
use wire::Event;
use wire::event::Label;

use super::Judged;
use super::baseline::BASELINES;
use super::mistakes::Mistakes;

/// Kinds that are told apart; events of further ones count as `other`. Labels are anybody's text.
const KINDS_MAX: usize = 200;
/// Decisions on honest events that are kept, at most: beyond it whole subjects are left out.
const ORDINARY_MAX: usize = 2_000_000;
/// Rows whose features are kept, of honest events and of each kind of attack.
const FEATURES_MAX: usize = 20_000;
/// An attack on one subject that pauses for so long is another one.
const PAUSE_SECONDS: i64 = 6 * 3600;

/// One decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) subject: u32,
    pub(super) kind: u16,
    /// 0 allow to 3 deny.
    pub(super) rung: u8,
    pub(super) score: u8,
    pub(super) model_score: u8,
    /// Accesses learnt before it, up to 255.
    pub(super) history: u8,
    /// The subject is a person.
    pub(super) person: bool,
    /// The subject was never seen before the evaluation began.
    pub(super) cold: bool,
    pub(super) baselines: [f32; BASELINES.len()],
}

impl Row {
    /// The answer, as a step on the scale of [`Self::gravity`].
    pub(super) const fn answer(&self) -> u8 {
        self.rung * 50
    }

    /// How grave the engine finds it, rungs apart and scores within: 0 to 200. Whoever has just
    /// passed a step-up is let through at scores that others are not; that makes the request no
    /// less grave.
    pub(super) fn gravity(&self) -> u8 {
        let by_score = [30, 60, 80]
            .into_iter()
            .filter(|least| self.score >= *least);
        let rung = usize::from(self.rung).max(by_score.count());
        u8::try_from(rung).unwrap_or_default() * 50 + self.score / 2
    }
}

/// One attack on one subject, from its first request to its last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instance {
    pub(super) kind: u16,
    pub(super) began: Timestamp,
    pub(super) last: Timestamp,
    pub(super) requests: u32,
    /// Requests that were let through before the first that was not, and seconds until then.
    pub(super) caught: Option<(u32, i64)>,
}

/// A decision whose features are kept, to be scored again.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    pub(super) kind: u16,
    pub(super) settled: bool,
    pub(super) rule_score: u8,
    pub(super) features: [f32; FEATURES],
}

/// A running evaluation.
#[derive(Debug)]
pub struct Evaluation {
    pub(super) model: Arc<Model>,
    plain: Option<IsolationForest<f64>>,
    pub(super) began: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) kinds: Vec<String>,
    kind_numbers: HashMap<String, u16>,
    subjects: HashMap<EntityRef, (u32, bool)>,
    pub(super) rows: Vec<Row>,
    pub(super) instances: Vec<Instance>,
    open: BTreeMap<(u16, u32), usize>,
    pub(super) scored: Vec<Scored>,
    scored_by_kind: HashMap<u16, usize>,
    /// One subject in so many is kept, of the honest.
    thin: u32,
    /// The features of one honest event in so many are kept.
    stride: usize,
    pub(super) left_out: usize,
    pub(super) mistakes: Mistakes,
}

impl Evaluation {
    /// Begins one. `expected` says about how many events will come; `known` are the subjects
    /// that were seen before; `plain` is the forest that a baseline needs.
    #[must_use]
    pub fn new(
        model: Arc<Model>,
        plain: Option<IsolationForest<f64>>,
        known: impl Iterator<Item = EntityRef>,
        began: Timestamp,
        expected: usize,
    ) -> Self {
        // In order, so that the draws of the intervals fall on the same subjects each time.
        let mut known: Vec<EntityRef> = known.collect();
        known.sort_unstable();
        let subjects = known.into_iter().zip(0..);
        let subjects = subjects.map(|(who, number)| (who, (number, false)));
        Self {
            model,
            plain,
            began,
            ended: began,
            kinds: Vec::new(),
            kind_numbers: HashMap::new(),
            subjects: subjects.collect(),
            rows: Vec::new(),
            instances: Vec::new(),
            open: BTreeMap::new(),
            scored: Vec::new(),
            scored_by_kind: HashMap::new(),
            stride: expected.min(ORDINARY_MAX) / FEATURES_MAX + 1,
            thin: u32::try_from(expected / ORDINARY_MAX + 1).unwrap_or(u32::MAX),
            left_out: 0,
            mistakes: Mistakes::default(),
        }
    }

    /// The model that is judged.
    #[must_use]
    pub const fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Takes a decision in.
    pub fn note(&mut self, event: &Event, judged: &Judged) {
        self.ended = event.time;
        if !event.is_question() {
            return;
        }
        let (name, is_attack) = match &event.label {
            Some(Label::Attack(name)) => (format!("attack.{name}"), true),
            Some(Label::Benign(name)) => (format!("benign.{name}"), false),
            None => ("ordinary".to_owned(), false),
        };
        let kind = self.kind(name);
        let next = u32::try_from(self.subjects.len()).unwrap_or(u32::MAX);
        let who = &event.request.subject.entity;
        let (subject, cold) = match self.subjects.get(who) {
            Some(known) => *known,
            None => {
                self.subjects.insert(who.clone(), (next, true));
                (next, true)
            }
        };
        if is_attack {
            self.note_instance(kind, subject, event.time, judged.rung);
        } else if !subject.wrapping_mul(0x9E37_79B9).is_multiple_of(self.thin) {
            self.left_out += 1;
            return;
        }
        let wrong = if is_attack {
            judged.rung == Rung::Allow
        } else {
            judged.rung >= Rung::Mfa
        };
        if let Some(name) = self.kinds.get(usize::from(kind)).filter(|_| wrong) {
            self.mistakes.note(name, subject, event, judged);
        }
        let history = judged.evidence.facts.signals.history.unwrap_or_default();
        let row = Row {
            subject,
            kind,
            rung: rung_number(judged.rung),
            score: judged.score,
            model_score: judged.model_score,
            history: u8::try_from(history).unwrap_or(u8::MAX),
            person: judged.interactive,
            cold,
            baselines: BASELINES
                .map(|baseline| baseline.suspicion(&judged.evidence, self.plain.as_ref())),
        };
        self.rows.push(row);
        self.keep_features(&row, judged);
    }

    fn keep_features(&mut self, row: &Row, judged: &Judged) {
        let spread = self.is_attack(row.kind) || self.rows.len().is_multiple_of(self.stride);
        let kept = self.scored_by_kind.entry(row.kind).or_default();
        if spread && *kept < FEATURES_MAX {
            *kept += 1;
            #[expect(clippy::cast_possible_truncation, reason = "they have no more digits")]
            let features = judged.evidence.features.values().map(|value| value as f32);
            self.scored.push(Scored {
                kind: row.kind,
                settled: is_settled(row),
                rule_score: judged.rule_score,
                features,
            });
        }
    }

    fn note_instance(&mut self, kind: u16, subject: u32, at: Timestamp, rung: Rung) {
        let open = self
            .open
            .get(&(kind, subject))
            .copied()
            .filter(|place| {
                self.instances
                    .get(*place)
                    .is_some_and(|last| at.whole_seconds_since(last.last) <= PAUSE_SECONDS)
            })
            .unwrap_or_else(|| {
                self.instances.push(Instance {
                    kind,
                    began: at,
                    last: at,
                    requests: 0,
                    caught: None,
                });
                let place = self.instances.len() - 1;
                self.open.insert((kind, subject), place);
                place
            });
        if let Some(instance) = self.instances.get_mut(open) {
            if rung != Rung::Allow && instance.caught.is_none() {
                let seconds = at.whole_seconds_since(instance.began);
                instance.caught = Some((instance.requests, seconds));
            }
            instance.requests += 1;
            instance.last = at;
        }
    }

    fn kind(&mut self, name: String) -> u16 {
        if let Some(number) = self.kind_numbers.get(&name) {
            return *number;
        }
        let name = if self.kinds.len() < KINDS_MAX {
            name
        } else {
            "other".to_owned()
        };
        if let Some(number) = self.kind_numbers.get(&name) {
            return *number;
        }
        let number = u16::try_from(self.kinds.len()).unwrap_or(u16::MAX);
        self.kinds.push(name.clone());
        self.kind_numbers.insert(name, number);
        number
    }

    /// The share of each kind at or above the levels of the score, and how many there were.
    pub(crate) fn above(&self, levels: [u8; 3]) -> Vec<(String, [f64; 3], usize)> {
        let mut counts = vec![([0_usize; 3], 0_usize); self.kinds.len()];
        for row in &self.rows {
            if let Some((above, all)) = counts.get_mut(usize::from(row.kind)) {
                *all += 1;
                for (count, level) in above.iter_mut().zip(levels) {
                    *count += usize::from(row.score >= level);
                }
            }
        }
        let shares = counts.into_iter().map(|(above, all)| {
            let share = |count: usize| count as f64 / all.max(1) as f64;
            (above.map(share), all)
        });
        let named = self.kinds.iter().cloned().zip(shares);
        named
            .map(|(name, (shares, all))| (name, shares, all))
            .collect()
    }

    /// The level of 30, 60 and 80 that the whole score of each kept honest event has by a model.
    pub(crate) fn levels(&self, model: &Model) -> Vec<u8> {
        self.scored
            .iter()
            .filter(|scored| !self.is_attack(scored.kind))
            .filter_map(|scored| {
                let reading = model.read(&scored.features())?;
                let tenths = 7 * u16::from(reading.points) + 3 * u16::from(scored.rule_score);
                let score = (tenths + 5) / 10;
                Some(
                    [30, 60, 80]
                        .into_iter()
                        .filter(|level| score >= *level)
                        .count(),
                )
            })
            .map(|level| u8::try_from(level).unwrap_or_default())
            .collect()
    }

    pub(super) fn is_attack(&self, kind: u16) -> bool {
        self.kinds
            .get(usize::from(kind))
            .is_some_and(|name| name.starts_with("attack."))
    }

    pub(super) fn subjects(&self) -> usize {
        self.subjects.len()
    }
}

impl Scored {
    pub(super) fn features(&self) -> Features {
        Features::new(self.features.map(f64::from))
    }
}

/// Twelve accesses: from here on the budget of step-ups is meant.
pub(super) const fn is_settled(row: &Row) -> bool {
    row.history >= 12
}

const fn rung_number(rung: Rung) -> u8 {
    match rung {
        Rung::Allow => 0,
        Rung::Challenge => 1,
        Rung::Mfa => 2,
        Rung::Deny => 3,
    }
}
