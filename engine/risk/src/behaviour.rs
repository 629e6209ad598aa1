//! What is done in a session, seen as a whole: the last five minutes of it, held against what is
//! usual for its subject (M11 to M15).
//!
//! One access may be ordinary and thirty of them not. [`Activity`] keeps the accesses of a
//! window, [`analyse`] says how they deviate from the subject's own baseline, which suspicious
//! patterns they show, and what to do about it. Nothing here decides: patterns reach policies as
//! words, the score as a rule, the monitor as a reason to look.

mod activity;
mod patterns;

use domain::Timestamp;

use crate::profile::{Profile, Window};
pub use activity::{ACTS_MOST, Act, Activity, Answer, WINDOW_SECONDS};
pub use patterns::{Pattern, Thresholds};

/// Fewer accesses than this are no behaviour yet: words and patterns begin here.
pub const ACTS_LEAST: usize = 3;
/// A deviation is worth a word from this many times the usual on.
const TIMES_LEAST: f64 = 2.0;
/// Less than this, in bytes, is taken as this much: a usual of nothing makes everything much.
const LITTLE_BYTES: f64 = 1_048_576.0;

/// What the accesses of a window are held against.
#[derive(Clone, Copy, Debug)]
pub struct Baseline<'a> {
    /// What is usual for the subject.
    pub profile: &'a Profile,
    /// Whether the subject is a person. Programs work in batches and at any hour.
    pub interactive: bool,
    /// Where MEDIUM, HIGH and critical begin.
    pub levels: [u8; 3],
}

/// What a window of accesses comes to (M15).
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// Mean of the accesses' parts of the isolation forest, 0 to 100 (B18). None without any.
    pub anomaly_score: Option<u8>,
    /// The window in numbers.
    pub features: Features,
    /// What lies at twice the usual or above, the furthest first.
    pub deviations: Vec<Deviation>,
    /// What it looks like, the gravest first.
    pub suspicious_patterns: Vec<Pattern>,
    /// What to do about it.
    pub recommendation: Recommendation,
}

/// A window in numbers. Everything is counted up to [`ACTS_MOST`] accesses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Features {
    /// Accesses, whatever came of them.
    pub accesses: usize,
    /// Different resources that were let through to.
    pub resources: usize,
    /// Different resources that the subject had not touched before.
    pub new_resources: usize,
    /// Different types of resources.
    pub kinds: usize,
    /// Different actions.
    pub actions: usize,
    /// Different applications: who asked, for whom.
    pub applications: usize,
    /// Those in which nothing was touched that the subject knew.
    pub new_applications: usize,
    /// Different pairs of action and resource that no policy permits.
    pub refused: usize,
    /// Different resources of one type that were refused or that do not exist.
    pub missing: usize,
    /// Longest row of resources whose numbers follow each other.
    pub row: usize,
    /// Bytes of what was let through.
    pub bytes: f64,
    /// Accesses at an hour at which the subject is hardly ever seen.
    pub unusual_hour: usize,
}

impl Features {
    /// Names and values, in the order in which people read them.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, f64); 12] {
        [
            ("accesses", self.accesses as f64),
            ("resources", self.resources as f64),
            ("new_resources", self.new_resources as f64),
            ("resource_types", self.kinds as f64),
            ("actions", self.actions as f64),
            ("applications", self.applications as f64),
            ("new_applications", self.new_applications as f64),
            ("refused", self.refused as f64),
            ("missing", self.missing as f64),
            ("consecutive", self.row as f64),
            ("bytes", self.bytes),
            ("at_unusual_hour", self.unusual_hour as f64),
        ]
    }
}

/// A number that is far above what is usual for the subject (M14).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// Which of [`Features::named`].
    pub feature: &'static str,
    /// What it is.
    pub value: f64,
    /// How high it usually gets for the subject within five minutes.
    pub usual: f64,
    /// How often the usual goes into it; a usual of less than one, or than a megabyte, is taken
    /// as that.
    pub times: f64,
}

/// What to do about a session by what is done in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recommendation {
    /// Nothing.
    #[default]
    None,
    /// Look at it more often.
    Watch,
    /// Have its subject prove anew who they are.
    Reauthenticate,
    /// End it.
    End,
}

impl Recommendation {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Watch => "watch",
            Self::Reauthenticate => "reauthenticate",
            Self::End => "end",
        }
    }
}

/// Analyses what was done in a session up to a moment.
#[must_use]
pub fn analyse(activity: &Activity, baseline: Baseline<'_>, now: Timestamp) -> Analysis {
    analyse_by(&Thresholds::CALIBRATED, activity, baseline, now)
}

/// The same by other thresholds, for whoever calibrates them.
#[must_use]
pub fn analyse_by(
    thresholds: &Thresholds,
    activity: &Activity,
    baseline: Baseline<'_>,
    now: Timestamp,
) -> Analysis {
    let features = activity.features(now);
    conclude(thresholds, features, activity.anomaly(now), baseline)
}

/// The same as [`analyse`], `before` being what was found when the activity was as it is now: while
/// nothing has left the window its numbers stand, and only what is usual may be another.
#[must_use]
pub fn analyse_again(
    before: &Analysis,
    activity: &Activity,
    baseline: Baseline<'_>,
    now: Timestamp,
) -> Analysis {
    if activity.count(now) != before.features.accesses {
        return analyse(activity, baseline, now);
    }
    let thresholds = &Thresholds::CALIBRATED;
    conclude(thresholds, before.features, before.anomaly_score, baseline)
}

fn conclude(
    thresholds: &Thresholds,
    features: Features,
    anomaly_score: Option<u8>,
    baseline: Baseline<'_>,
) -> Analysis {
    let usual = Usual::of(baseline.profile);
    let suspicious_patterns = if features.accesses < ACTS_LEAST {
        Vec::new()
    } else {
        Pattern::all_in(&features, usual, baseline, thresholds)
    };
    Analysis {
        anomaly_score,
        features,
        deviations: deviations(&features, usual),
        recommendation: recommend(anomaly_score, &suspicious_patterns, baseline.levels),
        suspicious_patterns,
    }
}

/// How high the numbers of five minutes usually get. Unknown until ten accesses were learnt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usual {
    pub(crate) accesses: Option<f64>,
    pub(crate) resources: Option<f64>,
    pub(crate) bytes: Option<f64>,
}

impl Usual {
    fn of(profile: &Profile) -> Self {
        if !profile.is_settled() {
            return Self::default();
        }
        Self {
            accesses: profile.usual_requests(Window::Minutes).map(f64::from),
            resources: profile.usual_objects(Window::Minutes).map(f64::from),
            bytes: profile.usual_bytes(Window::Minutes).map(f64::from),
        }
    }
}

/// How often the usual goes into a number.
fn times(value: f64, usual: f64, least: f64) -> f64 {
    value / usual.max(least)
}

fn deviations(features: &Features, usual: Usual) -> Vec<Deviation> {
    let mut found: Vec<Deviation> = [
        ("accesses", features.accesses as f64, usual.accesses, 1.0),
        ("resources", features.resources as f64, usual.resources, 1.0),
        ("bytes", features.bytes, usual.bytes, LITTLE_BYTES),
    ]
    .into_iter()
    .filter_map(|(feature, value, usual, least)| {
        let usual = usual?;
        let times = times(value, usual, least);
        (times >= TIMES_LEAST).then_some(Deviation {
            feature,
            value,
            usual,
            times,
        })
    })
    .collect();
    found.sort_by(|one, other| other.times.total_cmp(&one.times));
    found
}

/// The model's view and the patterns' together: either alone is worth a look, a pattern in
/// accesses that are unusual too is worth more.
fn recommend(anomaly: Option<u8>, patterns: &[Pattern], levels: [u8; 3]) -> Recommendation {
    let [_, high, critical] = levels;
    let anomaly = anomaly.unwrap_or_default();
    let grave = patterns.iter().any(|pattern| pattern.is_grave());
    match patterns.len() {
        0 if anomaly < high => Recommendation::None,
        0 => Recommendation::Watch,
        _ if anomaly >= critical => Recommendation::End,
        1 if !grave && anomaly < high => Recommendation::Watch,
        _ => Recommendation::Reauthenticate,
    }
}

#[cfg(test)]
mod tests;
