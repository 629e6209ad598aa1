//! Fitting a model: features of events, a forest, medians, a calibration, and an honest look at
//! what it does on events that it has not seen.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use forest::IsolationForest;
use geo::Geo;
use linfa::Dataset;
use linfa::traits::Fit as _;
use ndarray::Array2;
use risk::artifact::{self, DataSummary, Manifest, Metric, feature_names};
use risk::calibration::{Budget, Calibration, CalibrationError};
use risk::features::{CATALOGUE, FEATURES, catalogue_hash};
use risk::{Features, Model, Settings};
use wire::Event;

use crate::evaluate::{self, Bench, Evaluation, Judge, Report, aftermath, is_attack};
use crate::events::ReadError;
use crate::guard::{Dominant, Guard, Limits, source_of};
use crate::replay::Replay;
use crate::sample::Sample;
use crate::stability::{self, Stability};
use crate::survey::Survey;

/// Rows that are fitted on, and that are calibrated on, at most: a uniform sample of the slice.
const ROWS_MAX: usize = 200_000;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingPlan {
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Same seed and events, same bytes.
    pub seed: u64,
    /// Trees.
    pub trees: usize,
    /// Rows for each tree.
    pub sample_size: usize,
    /// Share of the time that is fitted on; what follows is calibrated on and tested on, half
    /// and half.
    pub fit_share: f64,
    /// What the calibration promises.
    pub budget: Budget,
    /// Who dominates the events, and is thinned.
    pub limits: Limits,
    /// Other seeds that the model is held against, to say how stable its outcomes are.
    pub stability_seeds: usize,
    /// What the engine is set to: who can be asked for a step-up.
    pub settings: Settings,
}

impl Default for TrainingPlan {
    fn default() -> Self {
        Self {
            name: "behaviour".to_owned(),
            version: 1,
            seed: 7,
            trees: 500,
            sample_size: 1024,
            fit_share: 0.6,
            budget: Budget::default(),
            limits: Limits::default(),
            stability_seeds: 5,
            settings: Settings::default(),
        }
    }
}

/// Why no model came of it.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The events.
    #[error("{0}")]
    Events(#[from] ReadError),
    /// The events are not in order of time.
    #[error("event {number} is earlier than the one before it; sort the events by time")]
    OutOfOrder {
        /// Which event, from 1.
        number: usize,
    },
    /// There is too little to learn from.
    #[error("{found} events without an attack label to {purpose}: {needed} are needed")]
    TooFew {
        /// How many there were.
        found: usize,
        /// What for.
        purpose: &'static str,
        /// How many are needed.
        needed: usize,
    },
    /// The forest refused.
    #[error("the forest could not be fitted: {0}")]
    Forest(String),
    /// The policies, or what they are about, could not be loaded.
    #[error("{0}")]
    Policies(String),
    /// The calibration refused.
    #[error("{0}")]
    Calibration(#[from] CalibrationError),
    /// The model could not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A trained model with all that is known about it.
#[derive(Debug)]
pub struct Training {
    /// The manifest.
    pub manifest: Manifest,
    /// The forest in its binary form.
    pub forest: Vec<u8>,
    /// What it does on the test slice.
    pub report: Report,
    /// How often another seed would have decided otherwise.
    pub stability: Option<Stability>,
    /// Who had too large a part in the events.
    pub dominant: Vec<Dominant>,
    /// For people.
    pub card: String,
    /// Charts of the card: file names and SVG.
    pub charts: Vec<(String, String)>,
}

/// How far a training has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Looking at the events for the first time; this many so far.
    Looking(usize),
    /// Going through them; this many of how many.
    Learning(usize, usize),
    /// Working out figures.
    Measuring,
}

/// Trains a model: looks at the events once to know who and when, and goes through them in order
/// of time to fit, to calibrate and to test, with bounded memory.
///
/// `events` opens them anew for each pass. `bench` makes the judge of the test slice.
///
/// # Errors
/// When the events cannot be read, are not in order, or are too few.
pub fn train<I>(
    events: impl Fn() -> I,
    geo: &Geo,
    plan: &TrainingPlan,
    bench: &Bench<'_>,
    mut progress: impl FnMut(Step),
) -> Result<Training, TrainError>
where
    I: Iterator<Item = Result<Event, ReadError>>,
{
    let survey = Survey::of(events(), geo, |seen| progress(Step::Looking(seen)))?;
    let fit_until = survey.at(plan.fit_share);
    let calibrate_until = survey.at(f64::midpoint(plan.fit_share, 1.0));
    let mut guard = Guard::new(&survey.counts, &plan.limits);
    let mut replay = Replay::new(geo, &plan.settings);
    let mut fit = Sample::new(ROWS_MAX, plan.seed);
    let mut calibrate = Sample::new(ROWS_MAX, plan.seed ^ 1);
    let mut test: Option<(Fitted, Box<dyn Judge>, Evaluation)> = None;
    let mut seen = 0;
    for event in events() {
        let mut event = event?;
        seen += 1;
        if seen % 1000 == 0 {
            progress(Step::Learning(seen, survey.events));
        }
        if event.time < calibrate_until {
            let keep = keeps(&mut guard, &event, geo);
            let sample = if event.time < fit_until {
                &mut fit
            } else {
                &mut calibrate
            };
            let evidence = replay.step(&mut event);
            if keep && event.is_question() && !is_attack(&event) {
                sample.push(evidence.features);
            }
            continue;
        }
        if test.is_none() {
            let fitted = Fitted::of(fit.kept(), calibrate.kept(), plan.seed, plan)?;
            let model = Arc::new(fitted.model("trained@0"));
            let judge = bench(&model, &survey).map_err(TrainError::Policies)?;
            let plain = fit_plain(fit.kept(), plan.seed)?;
            let left = survey.events.saturating_sub(seen);
            let known = replay.who();
            let evaluation = Evaluation::new(model, Some(plain), known, event.time, left);
            test = Some((fitted, judge, evaluation));
        }
        if let Some((_, judge, evaluation)) = &mut test {
            decide(&mut replay, &mut event, judge.as_ref(), evaluation);
        }
    }
    let Some((fitted, _, evaluation)) = test else {
        return Err(TrainError::TooFew {
            found: 0,
            purpose: "test on",
            needed: 1,
        });
    };
    progress(Step::Measuring);
    let budget = plan.budget;
    let promise = [(30, budget.challenge), (60, budget.mfa), (80, budget.deny)];
    let report = Report::of(&evaluation, promise);
    let others = (1..=plan.stability_seeds as u64)
        .map(|number| {
            let seed = stability::another(plan.seed, number);
            let other = Fitted::of(fit.kept(), calibrate.kept(), seed, plan)?;
            Ok(other.model("other@0"))
        })
        .collect::<Result<Vec<Model>, TrainError>>()?;
    let stability = stability::measure(&evaluation, &others);
    let forest = fitted.forest.to_bytes();
    let manifest = Manifest {
        name: plan.name.clone(),
        version: plan.version,
        features: feature_names(),
        feature_hash: catalogue_hash(),
        forest_sha256: artifact::sha256(&forest),
        data: DataSummary {
            sha256: survey.sha256.clone(),
            fitted: fit.seen(),
            calibrated: calibrate.seen(),
            tested: report.decisions + report.left_out,
            subjects: survey.subjects.len(),
            from: wire::time::format(survey.from),
            to: wire::time::format(survey.to),
        },
        seed: plan.seed,
        trees: plan.trees,
        sample_size: plan.sample_size,
        medians: fitted.medians.to_vec(),
        budget: plan.budget,
        calibration: fitted.calibration,
        metrics: metrics(&evaluation, &report, stability.as_ref()),
        distribution: Some(crate::distribution::of(fit.kept().iter())),
    };
    let dominant = guard.dominant();
    let charts = crate::chart::of(&report);
    let card = crate::card::write(&manifest, &report, stability.as_ref(), &dominant, &charts);
    Ok(Training {
        manifest,
        forest,
        report,
        stability,
        dominant,
        card,
        charts,
    })
}

/// One event of a slice that is judged.
pub(crate) fn decide(
    replay: &mut Replay<'_>,
    event: &mut Event,
    judge: &dyn Judge,
    evaluation: &mut Evaluation,
) {
    let (_, judged) = replay.step_with(event, |event, signals| {
        let judged = judge.judge(&event.request, signals, event.time);
        let verdict = aftermath(event, &judged);
        (judged.evidence.clone(), verdict, judged)
    });
    evaluation.note(event, &judged);
}

fn keeps(guard: &mut Guard, event: &Event, geo: &Geo) -> bool {
    let request = &event.request;
    let ip = request.context.ip;
    let asn = ip.and_then(|ip| geo.locate(ip).network.known().map(|network| network.asn));
    let source = source_of(ip, asn);
    guard.keeps(&request.subject.entity.to_string(), source.as_deref())
}

/// A forest with what belongs to it.
#[derive(Debug)]
pub(crate) struct Fitted {
    pub(crate) forest: IsolationForest<f64>,
    pub(crate) medians: [f64; FEATURES],
    pub(crate) calibration: Calibration,
}

impl Fitted {
    fn of(
        fit: &[Features],
        calibrate: &[Features],
        seed: u64,
        plan: &TrainingPlan,
    ) -> Result<Self, TrainError> {
        for (purpose, found, needed) in [
            ("fit", fit.len(), 256),
            ("calibrate on", calibrate.len(), 1000),
        ] {
            if found < needed {
                return Err(TrainError::TooFew {
                    found,
                    purpose,
                    needed,
                });
            }
        }
        let medians = medians(fit);
        let rows = fit.iter().map(|features| features.row(&medians));
        let forest = grow(rows, plan.trees, plan.sample_size, seed)?;
        let raw: Vec<f64> = calibrate
            .iter()
            .map(|features| forest.score_one(&features.row(&medians)).unwrap_or(1.0))
            .collect();
        let calibration = Calibration::fit(&raw, plan.budget)?;
        Ok(Self {
            forest,
            medians,
            calibration,
        })
    }

    fn model(&self, name: &str) -> Model {
        Model::new(
            name,
            "",
            self.forest.clone(),
            self.medians,
            self.calibration.clone(),
        )
    }
}

/// The forest that scikit-learn would fit by default, on the features as they are.
pub(crate) fn fit_plain(
    features: &[Features],
    seed: u64,
) -> Result<IsolationForest<f64>, TrainError> {
    let rows = features.iter().map(evaluate::plain);
    grow(rows, 100, 256, stability::another(seed, 99))
}

fn grow(
    rows: impl Iterator<Item = [f64; FEATURES]>,
    trees: usize,
    sample_size: usize,
    seed: u64,
) -> Result<IsolationForest<f64>, TrainError> {
    let values: Vec<f64> = rows.flatten().collect();
    let records = Array2::from_shape_vec((values.len() / FEATURES, FEATURES), values)
        .map_err(|error| TrainError::Forest(error.to_string()))?;
    IsolationForest::params()
        .n_trees(trees)
        .sample_size(sample_size)
        .seed(seed)
        .fit(&Dataset::from(records))
        .map_err(|error| TrainError::Forest(error.to_string()))
}

/// The median of each feature where it is known, in the forest's scale; 0 where it never is.
fn medians(rows: &[Features]) -> [f64; FEATURES] {
    let scaled: Vec<[f64; FEATURES]> = rows.iter().map(Features::scaled).collect();
    let mut medians = [0.0; FEATURES];
    for ((position, median), description) in medians.iter_mut().enumerate().zip(&CATALOGUE) {
        let mut known: Vec<f64> = scaled
            .iter()
            .filter_map(|row| row.get(position).copied())
            .filter(|value| value.is_finite())
            .collect();
        known.sort_by(f64::total_cmp);
        *median = known.get(known.len() / 2).copied().unwrap_or(0.0);
        // At 0 a value is as usual for the subject as for anybody. How far below that people lie
        // is how regular they are, which differs between organisations and is no risk.
        if description.feature.is_surprise() {
            *median = median.max(0.0);
        }
    }
    medians
}

/// The figures that stand in the manifest, by name.
fn metrics(evaluation: &Evaluation, report: &Report, stability: Option<&Stability>) -> Vec<Metric> {
    let levels = [30, 60, 80];
    let mut metrics = Vec::new();
    for (name, shares, count) in evaluation.above(levels) {
        metrics.extend(levels.iter().zip(shares).map(|(level, value)| Metric {
            name: format!("{name}.at_or_above_{level}"),
            value,
            count,
            low: None,
            high: None,
        }));
    }
    let mut add = |name: String, figure: evaluate::Figure| {
        metrics.push(Metric {
            name,
            value: figure.value,
            count: figure.count,
            low: Some(figure.low),
            high: Some(figure.high),
        });
    };
    for attack in &report.scenarios {
        let name = &attack.name;
        add(format!("{name}.stopped"), attack.stopped);
        add(format!("{name}.denied"), attack.denied);
        add(format!("{name}.caught"), attack.caught);
        add(format!("{name}.caught_early"), attack.caught_early);
        add(format!("{name}.at_one_percent"), attack.at_one_percent);
        add(format!("{name}.auc"), attack.auc);
    }
    for honest in report.honest.iter().chain(&report.by_subject) {
        let name = &honest.name;
        add(format!("{name}.bothered"), honest.bothered);
        add(format!("{name}.denied"), honest.denied);
    }
    add("settled.bothered".to_owned(), report.settled.bothered);
    add("settled.denied".to_owned(), report.settled.denied);
    if let Some(stability) = stability {
        add("stability.flips".to_owned(), stability.flips);
    }
    metrics
}

/// The figures of the test slice, for machines.
pub const REPORT: &str = "report.json";

/// Writes a model into `models/<name>/<version>/`. The manifest comes last: a folder without one
/// is no model.
///
/// # Errors
/// When a file cannot be written, or the version is there already.
pub fn write(training: &Training, models: &Path) -> io::Result<std::path::PathBuf> {
    let manifest = &training.manifest;
    let folder = models
        .join(&manifest.name)
        .join(manifest.version.to_string());
    if folder.join(artifact::MANIFEST).exists() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!(
                "{} is there already; choose another version",
                folder.display()
            ),
        ));
    }
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(artifact::FOREST), &training.forest)?;
    fs::write(folder.join(artifact::CARD), &training.card)?;
    let mut report = serde_json::to_vec_pretty(&training.report).map_err(io::Error::from)?;
    report.push(b'\n');
    fs::write(folder.join(REPORT), report)?;
    for (name, svg) in &training.charts {
        fs::write(folder.join(name), svg)?;
    }
    let mut text = serde_json::to_vec_pretty(manifest).map_err(io::Error::from)?;
    text.push(b'\n');
    fs::write(folder.join(artifact::MANIFEST), text)?;
    Ok(folder)
}
