//! Fitting a model: features of events, a forest, medians, a calibration, and an honest look at
//! what it does on events that it has not seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use aws_lc_rs::digest::{Context, SHA256};
use domain::AccessRequest;
use forest::IsolationForest;
use geo::Geo;
use linfa::Dataset;
use linfa::traits::Fit as _;
use ndarray::Array2;
use risk::artifact::{self, DataSummary, Manifest, Metric, feature_names};
use risk::calibration::{Budget, Calibration, CalibrationError};
use risk::features::{FEATURES, catalogue_hash};
use risk::{Evidence, Features, Model, Settings};
use wire::Event;
use wire::event::{Label, WrittenEvent};

use crate::events::ReadError;
use crate::replay::Replay;

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
}

impl Default for TrainingPlan {
    fn default() -> Self {
        Self {
            name: "behaviour".to_owned(),
            version: 1,
            seed: 7,
            trees: 200,
            sample_size: 256,
            fit_share: 0.6,
            budget: Budget::default(),
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
    /// The calibration refused.
    #[error("{0}")]
    Calibration(#[from] CalibrationError),
    /// The model could not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// One event, with what the score needs of it.
struct Row {
    request: AccessRequest,
    evidence: Evidence,
    label: Option<Label>,
    millis: i64,
}

/// A trained model with all that is known about it.
#[derive(Debug)]
pub struct Training {
    /// The manifest.
    pub manifest: Manifest,
    /// The forest in its binary form.
    pub forest: Vec<u8>,
    /// For people.
    pub card: String,
}

/// Trains a model. `progress` is told how many events have been read.
///
/// # Errors
/// When the events cannot be read, are not in order, or are too few.
pub fn train(
    events: impl Iterator<Item = Result<Event, ReadError>>,
    geo: &Geo,
    plan: &TrainingPlan,
    mut progress: impl FnMut(usize),
) -> Result<Training, TrainError> {
    let mut replay = Replay::new(geo);
    let mut hash = Context::new(&SHA256);
    let mut rows: Vec<Row> = Vec::new();
    for event in events {
        let mut event = event?;
        let millis = event.time.millis();
        if rows.last().is_some_and(|last| last.millis > millis) {
            return Err(TrainError::OutOfOrder {
                number: rows.len() + 1,
            });
        }
        let written = WrittenEvent {
            event: &event,
            as_question: false,
        };
        hash.update(&serde_json::to_vec(&written).map_err(io::Error::from)?);
        let evidence = replay.step(&mut event);
        rows.push(Row {
            request: event.request,
            evidence,
            label: event.label,
            millis,
        });
        if rows.len().is_multiple_of(1000) {
            progress(rows.len());
        }
    }
    progress(rows.len());
    let subjects = replay.subjects();
    let slices = Slices::cut(&rows, plan.fit_share)?;

    let scaled: Vec<[f64; FEATURES]> = slices
        .fit
        .iter()
        .map(|row| row.evidence.features.scaled())
        .collect();
    let medians = medians(&scaled);
    let forest = fit(&slices.fit, &medians, plan)?;
    let raw: Vec<f64> = slices
        .calibrate
        .iter()
        .map(|row| raw_score(&forest, &row.evidence.features, &medians))
        .collect();
    let calibration = Calibration::fit(&raw, plan.budget)?;

    let bytes = forest.to_bytes();
    let data = DataSummary {
        sha256: hex::encode(hash.finish()),
        fitted: slices.fit.len(),
        calibrated: slices.calibrate.len(),
        tested: slices.test.len(),
        subjects,
        from: text_of(rows.first()),
        to: text_of(rows.last()),
    };
    let model = Model::new("trained@0", "", forest, medians, calibration.clone());
    let manifest = Manifest {
        name: plan.name.clone(),
        version: plan.version,
        features: feature_names(),
        feature_hash: catalogue_hash(),
        forest_sha256: artifact::sha256(&bytes),
        data,
        seed: plan.seed,
        trees: plan.trees,
        sample_size: plan.sample_size,
        medians: medians.to_vec(),
        budget: plan.budget,
        calibration,
        metrics: measure(&model, &slices.test),
        distribution: Some(crate::distribution::of(
            slices.fit.iter().map(|row| &row.evidence.features),
        )),
    };
    let card = crate::card::write(&manifest);
    Ok(Training {
        manifest,
        forest: bytes,
        card,
    })
}

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
    let mut text = serde_json::to_vec_pretty(manifest).map_err(io::Error::from)?;
    text.push(b'\n');
    fs::write(folder.join(artifact::MANIFEST), text)?;
    Ok(folder)
}

/// The events by time: what is fitted on, what is calibrated on, what is tested on. Attacks are
/// only in the last.
struct Slices<'a> {
    fit: Vec<&'a Row>,
    calibrate: Vec<&'a Row>,
    test: Vec<&'a Row>,
}

impl<'a> Slices<'a> {
    fn cut(rows: &'a [Row], fit_share: f64) -> Result<Self, TrainError> {
        let from = rows.first().map_or(0, |row| row.millis);
        let to = rows.last().map_or(0, |row| row.millis);
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "milliseconds of some months"
            )]
            let offset = ((to - from) as f64 * share) as i64;
            from + offset
        };
        let (fitted, calibrated) = (at(fit_share), at(f64::midpoint(fit_share, 1.0)));
        let mut slices = Self {
            fit: Vec::new(),
            calibrate: Vec::new(),
            test: Vec::new(),
        };
        for row in rows {
            let clean = !matches!(row.label, Some(Label::Attack(_)));
            if row.millis >= calibrated {
                slices.test.push(row);
            } else if clean && row.millis >= fitted {
                slices.calibrate.push(row);
            } else if clean {
                slices.fit.push(row);
            }
        }
        for (purpose, found, needed) in [
            ("fit", slices.fit.len(), 256),
            ("calibrate on", slices.calibrate.len(), 1000),
        ] {
            if found < needed {
                return Err(TrainError::TooFew {
                    found,
                    purpose,
                    needed,
                });
            }
        }
        Ok(slices)
    }
}

/// The median of each feature where it is known; 0 where it never is.
fn medians(scaled: &[[f64; FEATURES]]) -> [f64; FEATURES] {
    let mut medians = [0.0; FEATURES];
    for (position, median) in medians.iter_mut().enumerate() {
        let mut known: Vec<f64> = scaled
            .iter()
            .filter_map(|row| row.get(position).copied())
            .filter(|value| value.is_finite())
            .collect();
        known.sort_by(f64::total_cmp);
        *median = known.get(known.len() / 2).copied().unwrap_or(0.0);
    }
    medians
}

fn fit(
    rows: &[&Row],
    medians: &[f64; FEATURES],
    plan: &TrainingPlan,
) -> Result<IsolationForest<f64>, TrainError> {
    let values: Vec<f64> = rows
        .iter()
        .flat_map(|row| row.evidence.features.row(medians))
        .collect();
    let records = Array2::from_shape_vec((rows.len(), FEATURES), values)
        .map_err(|error| TrainError::Forest(error.to_string()))?;
    IsolationForest::params()
        .n_trees(plan.trees)
        .sample_size(plan.sample_size)
        .seed(plan.seed)
        .fit(&Dataset::from(records))
        .map_err(|error| TrainError::Forest(error.to_string()))
}

fn raw_score(forest: &IsolationForest<f64>, features: &Features, medians: &[f64; FEATURES]) -> f64 {
    forest.score_one(&features.row(medians)).unwrap_or(1.0)
}

/// What the score does on the test slice: how often it bothers honest people, and what it sees
/// of each attack.
fn measure(model: &Model, test: &[&Row]) -> Vec<Metric> {
    let settings = Settings::default();
    let mut scores: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for row in test {
        let assessed = risk::assess(&row.request, &row.evidence, model, &settings);
        let score = assessed.map_or(100, |risk| risk.score.points());
        let kind = match &row.label {
            Some(Label::Attack(name)) => format!("attack.{name}"),
            Some(Label::Benign(name)) => format!("benign.{name}"),
            None => "ordinary".to_owned(),
        };
        scores.entry(kind).or_default().push(score);
    }
    let mut metrics = Vec::new();
    for (kind, scores) in scores {
        for least in settings.levels {
            let above = scores.iter().filter(|score| **score >= least).count();
            metrics.push(Metric {
                name: format!("{kind}.at_or_above_{least}"),
                value: above as f64 / scores.len() as f64,
                count: scores.len(),
            });
        }
    }
    metrics
}

fn text_of(row: Option<&Row>) -> String {
    row.map_or_else(String::new, |row| {
        wire::time::format(domain::Timestamp::from_millis(row.millis))
    })
}
