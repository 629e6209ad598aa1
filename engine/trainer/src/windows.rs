//! How often the last five minutes of a session show a suspicious pattern, by what they really
//! were: what the thresholds of [`risk::behaviour`] are calibrated on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::{ActionResult, Cause, Rung, Signal, Timestamp};
use geo::Geo;
use risk::behaviour::{
    ACTS_LEAST, Act, Activity, Answer, Baseline, Pattern, Recommendation, Thresholds,
    WINDOW_SECONDS, analyse_by,
};
use risk::{Key, Lesson, Model, Profile, Settings};
use wire::Event;
use wire::event::Label;

use crate::replay::{Replay, Verdict};

/// What windows of one label came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Windows: one for each access that is not the first or second of its session within five
    /// minutes.
    pub windows: u64,
    /// Those that show a pattern, whichever.
    pub suspicious: u64,
    /// Those that show each, in the order of [`Pattern::ALL`].
    pub by_pattern: [u64; Pattern::ALL.len()],
    /// Those after which somebody should be asked, or worse.
    pub asked: u64,
    /// Sessions with a window.
    sessions: BTreeSet<Key>,
    /// Those that ever showed a pattern.
    caught: BTreeSet<Key>,
}

impl Seen {
    /// Sessions with a window.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Sessions that ever showed a pattern.
    #[must_use]
    pub fn caught(&self) -> usize {
        self.caught.len()
    }

    /// Share of windows that show a pattern, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.suspicious as f64 / self.windows.max(1) as f64
    }
}

/// Counts windows by label; those of ordinary events have none.
#[derive(Debug)]
pub struct Windows<'a> {
    replay: Replay<'a>,
    settings: &'a Settings,
    model: &'a Model,
    activities: HashMap<String, Activity>,
    /// The last event of a session that had a label.
    labelled: HashMap<String, (Timestamp, String)>,
    trials: Vec<(Thresholds, BTreeMap<String, Seen>)>,
}

impl<'a> Windows<'a> {
    /// Nothing has been seen yet.
    #[must_use]
    pub fn new(
        geo: &'a Geo,
        settings: &'a Settings,
        model: &'a Model,
        trials: impl IntoIterator<Item = Thresholds>,
    ) -> Self {
        Self {
            replay: Replay::new(geo, settings),
            settings,
            model,
            activities: HashMap::new(),
            labelled: HashMap::new(),
            trials: trials
                .into_iter()
                .map(|thresholds| (thresholds, BTreeMap::new()))
                .collect(),
        }
    }

    /// What was counted by each of the thresholds, by the label of the last event in the window that
    /// has one; the empty one is of ordinary windows.
    #[must_use]
    pub fn seen(&self) -> &[(Thresholds, BTreeMap<String, Seen>)] {
        &self.trials
    }

    /// Takes the next event in. An attack is taken to have been let through, which teaches it to
    /// nobody's baseline. `counts`: it is late enough for baselines to be settled.
    pub fn step(&mut self, event: &mut Event, counts: bool) {
        let Self {
            replay,
            settings,
            model,
            activities,
            labelled,
            trials,
        } = self;
        replay.step_with(event, |event, signals| {
            let (name, lesson) = match &event.label {
                Some(Label::Attack(name)) => (name.as_str(), Lesson::Counters),
                Some(Label::Benign(name)) if event.is_question() => {
                    (name.as_str(), Lesson::Baselines)
                }
                None if event.is_question() => ("", Lesson::Baselines),
                Some(Label::Benign(name)) => (name.as_str(), Lesson::Counters),
                None => ("", Lesson::Counters),
            };
            let mut evidence = risk::extract(&event.request, signals, settings, event.time);
            evidence.facts.risk.model_score = model.points(&evidence.features).map(i64::from);
            if let Some(id) = &event.request.context.session_id {
                // What comes within five minutes after it has it in its window.
                if !name.is_empty() {
                    labelled.insert(id.clone(), (event.time, name.to_owned()));
                }
                let begin = event.time.plus_seconds(-WINDOW_SECONDS);
                let label = labelled.get(id).filter(|(at, _)| *at > begin);
                let label = label.map_or(name, |(_, label)| label);
                let activity = activities.entry(id.clone()).or_default();
                let result = event.request.result;
                let failed = result == Some(ActionResult::Failure);
                let answer = Answer::of(Rung::Allow, Cause::Policies, result);
                activity.add(Act::of(&event.request, &evidence, Key::NOTHING, answer));
                let unseen = Profile::default();
                let profile = match &signals.profile {
                    Signal::Known(profile) => profile,
                    Signal::Absent | Signal::Unavailable => &unseen,
                };
                let kind = event.request.subject.entity.kind.as_str();
                let baseline = Baseline {
                    profile,
                    interactive: settings.is_interactive(kind),
                    levels: settings.levels,
                };
                let window = Window {
                    activity,
                    baseline,
                    now: event.time,
                };
                for (thresholds, seen) in trials {
                    if counts && !failed {
                        window.count(thresholds, Key::of(id), label, seen);
                    }
                }
            }
            let verdict = Verdict {
                lesson,
                passed: None,
            };
            (evidence, verdict, ())
        });
        if self.activities.len() > 200_000 {
            let now = event.time;
            self.activities
                .retain(|_, activity| !activity.is_quiet(now));
            let activities = &self.activities;
            self.labelled.retain(|id, _| activities.contains_key(id));
        }
    }
}

/// A session's last five minutes.
#[derive(Clone, Copy, Debug)]
struct Window<'a> {
    activity: &'a Activity,
    baseline: Baseline<'a>,
    now: Timestamp,
}

impl Window<'_> {
    fn count(
        self,
        thresholds: &Thresholds,
        session: Key,
        label: &str,
        seen: &mut BTreeMap<String, Seen>,
    ) {
        let found = analyse_by(thresholds, self.activity, self.baseline, self.now);
        if found.features.accesses < ACTS_LEAST {
            return;
        }
        let seen = seen.entry(label.to_owned()).or_default();
        seen.windows += 1;
        seen.sessions.insert(session);
        for (pattern, count) in Pattern::ALL.iter().zip(&mut seen.by_pattern) {
            *count += u64::from(found.suspicious_patterns.contains(pattern));
        }
        if !found.suspicious_patterns.is_empty() {
            seen.suspicious += 1;
            seen.caught.insert(session);
        }
        seen.asked += u64::from(found.recommendation >= Recommendation::Reauthenticate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Organisation, Scenario, Stream, shipped_world};

    /// The figures of `ARCHITECTURE.md`, in small: honest people are let alone, and who takes
    /// everything along is not.
    #[test]
    fn m12_honest_windows_hardly_ever_show_a_pattern() {
        let world = shipped_world().unwrap();
        let mut scenario = Scenario::shipped().unwrap();
        scenario.organisation.people = 12;
        scenario.organisation.days = 24;
        scenario.attacks.per_thousand_days = 40.0;
        scenario.twins.report_documents = [40, 60];
        let organisation = Organisation::new(&scenario, &world).unwrap();
        let database = Some(std::path::PathBuf::from("../../data/geo/demo.mmdb"));
        let geo = Geo::open(&geo::GeoPaths {
            city: database.clone(),
            asn: database.clone(),
            anonymous: database,
            threats: Vec::new(),
        })
        .unwrap();
        let model = std::path::Path::new("../../models/behaviour/1");
        let (model, _) = risk::artifact::load(model).unwrap();
        let settings = Settings::default();
        let mut windows = Windows::new(&geo, &settings, &model, [Thresholds::CALIBRATED]);
        for (day, page) in Stream::new(&organisation).enumerate() {
            for mut event in page.events() {
                windows.step(&mut event, day >= 12);
            }
        }
        let (_, seen) = &windows.seen()[0];
        let honest = &seen[""];
        assert!(honest.windows > 500, "{honest:?}");
        assert!(honest.share() <= 0.002, "{honest:?}");
        let taken = &seen["bulk-download"];
        assert!(taken.share() >= 0.7, "{taken:?}");
        assert_eq!(taken.caught(), taken.sessions());
    }
}
