//! A model: a forest, the medians that stand in for what is unknown, and the calibration.

use std::sync::Arc;

use forest::IsolationForest;
use linfa::traits::Predict as _;
use ndarray::{Array1, Array2};

use crate::calibration::Calibration;
use crate::features::{FEATURES, Features};

/// A model that can score. Immutable; the engine swaps it whole.
#[derive(Clone, Debug)]
pub struct Model {
    name: Arc<str>,
    hash: Arc<str>,
    forest: IsolationForest<f64>,
    medians: [f64; FEATURES],
    calibration: Calibration,
    ordinary: u8,
}

/// What the model makes of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Points, 0 to 100.
    pub points: u8,
    /// What each feature pushed the raw score by; positive is towards unusual. Only their
    /// proportions are used.
    pub pushes: [f64; FEATURES],
}

impl Model {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        name: impl Into<Arc<str>>,
        hash: impl Into<Arc<str>>,
        forest: IsolationForest<f64>,
        medians: [f64; FEATURES],
        calibration: Calibration,
    ) -> Self {
        let mut model = Self {
            name: name.into(),
            hash: hash.into(),
            forest,
            medians,
            calibration,
            ordinary: 0,
        };
        model.ordinary = model
            .read(&Features::default())
            .map_or(0, |reading| reading.points);
        model
    }

    /// `name@version`.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Content hash of the model's file and its feature list.
    #[must_use]
    pub const fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    /// The forest itself.
    #[must_use]
    pub const fn forest(&self) -> &IsolationForest<f64> {
        &self.forest
    }

    /// What stands in for unknown features, in the forest's scale, in the catalogue's order.
    #[must_use]
    pub const fn medians(&self) -> &[f64; FEATURES] {
        &self.medians
    }

    /// Points of a request of which every feature is at its median: the most ordinary one.
    #[must_use]
    pub const fn ordinary(&self) -> u8 {
        self.ordinary
    }

    /// Points of a request alone, without saying why. None when the forest's answer is not a
    /// number.
    #[must_use]
    pub fn points(&self, features: &Features) -> Option<u8> {
        let raw = self.forest.score_one(&features.row(&self.medians)).ok()?;
        raw.is_finite().then(|| self.calibration.points(raw))
    }

    /// The same of many requests at once, which costs less for each than one by one.
    #[must_use]
    pub fn points_of_each<'a>(
        &self,
        all: impl ExactSizeIterator<Item = &'a Features>,
    ) -> Vec<Option<u8>> {
        if self.forest.n_features() != FEATURES {
            return all.map(|features| self.points(features)).collect();
        }
        let mut rows = Array2::zeros((all.len(), FEATURES));
        for (mut row, features) in rows.rows_mut().into_iter().zip(all) {
            for (place, value) in row.iter_mut().zip(features.row(&self.medians)) {
                *place = value;
            }
        }
        let scores: Array1<f64> = self.forest.predict(&rows);
        let points = |raw: &f64| raw.is_finite().then(|| self.calibration.points(*raw));
        scores.iter().map(points).collect()
    }

    /// Scores a request and says why. None when the forest's answer is not a number.
    #[must_use]
    pub fn read(&self, features: &Features) -> Option<Reading> {
        let row = features.row(&self.medians);
        let mut pushes = [0.0; FEATURES];
        let raw = self.forest.explain_into(&row, &mut pushes).ok()?.score;
        raw.is_finite().then(|| Reading {
            points: self.calibration.points(raw),
            pushes,
        })
    }
}
