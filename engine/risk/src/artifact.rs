//! A model on disk: `models/<name>/<version>/` with the forest, its manifest and its card.
//!
//! The manifest says what the forest was fitted on and for, and the hashes that prove it. What
//! does not fit this engine's features, or is damaged, is refused with what to do next.

use std::path::{Path, PathBuf};
use std::{fs, io};

use forest::IsolationForest;
use serde::{Deserialize, Serialize};

use crate::calibration::{Budget, Calibration};
use crate::distribution::Distribution;
use crate::features::{CATALOGUE, FEATURES, catalogue_hash};
use crate::model::Model;

/// File names within a model's folder.
pub const MANIFEST: &str = "manifest.json";
/// The forest in its binary form.
pub const FOREST: &str = "forest.bin";
/// The card, for people.
pub const CARD: &str = "card.md";

/// Largest forest that is read, bytes.
const FOREST_MAX: u64 = 64 << 20;

/// What a model is, was made from, and is good for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name, for example `behaviour`.
    pub name: String,
    /// Version, counting up.
    pub version: u32,
    /// Names of the features, in order.
    pub features: Vec<String>,
    /// Hash of names, units and meanings of the features.
    pub feature_hash: String,
    /// SHA-256 of the forest's file.
    pub forest_sha256: String,
    /// What it was fitted on.
    pub data: DataSummary,
    /// Seed of the fit.
    pub seed: u64,
    /// Trees.
    pub trees: usize,
    /// Rows per tree.
    pub sample_size: usize,
    /// Value of each feature, in the forest's scale, where it is unknown, and below which it says
    /// nothing: the median, of log-ratios 0 at least.
    pub medians: Vec<f64>,
    /// Shares that the calibration promises.
    pub budget: Budget,
    /// From raw score to points.
    pub calibration: Calibration,
    /// What was measured on events that neither fit nor calibration has seen.
    pub metrics: Vec<Metric>,
    /// How the features were distributed in the events fitted on; what is seen later is held
    /// against it. Models of early versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
}

/// The events that a model was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSummary {
    /// SHA-256 over the events, in order.
    pub sha256: String,
    /// How many were fitted on.
    pub fitted: usize,
    /// How many were calibrated on.
    pub calibrated: usize,
    /// How many were tested on.
    pub tested: usize,
    /// Subjects among them.
    pub subjects: usize,
    /// First event (RFC 3339).
    pub from: String,
    /// Last event (RFC 3339).
    pub to: String,
}

/// One measured number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// What was measured.
    pub name: String,
    /// The value; a share is 0 to 1.
    pub value: f64,
    /// How many events it rests on.
    pub count: usize,
    /// Lower end of its 95 % interval, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// Why a model was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadModelError {
    /// A file cannot be read.
    #[error(
        "{path}: {cause}; name a folder with `{MANIFEST}` and `{FOREST}`, or train one with `portreeve model train`"
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The manifest is not one.
    #[error("{path}: not a manifest: {cause}")]
    BadManifest {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: serde_json::Error,
    },
    /// It was fitted on other features.
    #[error(
        "{path}: made for other features than this engine computes; retrain it with `portreeve model train`"
    )]
    OtherFeatures {
        /// Which file.
        path: PathBuf,
    },
    /// The forest is not the one that the manifest speaks of.
    #[error("{path}: damaged: {what}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// SHA-256 in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// The folder of `name@version`, or of the highest version when none is named.
///
/// # Errors
/// When the name is no plain name, or nothing of it is there.
pub fn locate(models: &Path, champion: &str) -> io::Result<PathBuf> {
    let (name, version) = match champion.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (champion, None),
    };
    let is_plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if !is_plain(name) || !version.is_none_or(is_plain) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{champion}` is no model: write `name` or `name@version`"),
        ));
    }
    let folder = models.join(name);
    if let Some(version) = version {
        return Ok(folder.join(version));
    }
    let mut newest: Option<u32> = None;
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        // The manifest comes last: without one, somebody is still writing.
        let version = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            .filter(|_| entry.path().join(MANIFEST).is_file());
        newest = newest.max(version);
    }
    newest
        .map(|version| folder.join(version.to_string()))
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} holds no version", folder.display()),
            )
        })
}

/// Loads a model from its folder.
///
/// # Errors
/// When a file is missing, damaged, or made for other features.
pub fn load(folder: &Path) -> Result<(Model, Manifest), LoadModelError> {
    load_with_digest(folder).map(|(model, manifest, _)| (model, manifest))
}

/// Loads a model from its folder, with the SHA-256 of its manifest: that stands for the whole
/// model, because the manifest holds the forest's own.
///
/// # Errors
/// When a file is missing, damaged, or made for other features.
pub fn load_with_digest(folder: &Path) -> Result<(Model, Manifest, String), LoadModelError> {
    let manifest_path = folder.join(MANIFEST);
    let forest_path = folder.join(FOREST);
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |cause| LoadModelError::Unreadable { path, cause }
    };
    let text = fs::read(&manifest_path).map_err(unreadable(&manifest_path))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|cause| LoadModelError::BadManifest {
            path: manifest_path.clone(),
            cause,
        })?;
    if manifest.feature_hash != catalogue_hash() {
        return Err(LoadModelError::OtherFeatures {
            path: manifest_path,
        });
    }
    let damaged = |path: &Path, what: &str| LoadModelError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let medians: [f64; FEATURES] = manifest
        .medians
        .clone()
        .try_into()
        .map_err(|_| damaged(&manifest_path, "not one median for each feature"))?;
    if !medians.iter().all(|median| median.is_finite()) || !manifest.calibration.is_sound() {
        return Err(damaged(
            &manifest_path,
            "medians or calibration make no sense",
        ));
    }
    if manifest
        .distribution
        .as_ref()
        .is_some_and(|distribution| !distribution.is_sound())
    {
        return Err(damaged(&manifest_path, "the distribution makes no sense"));
    }
    let size = fs::metadata(&forest_path)
        .map_err(unreadable(&forest_path))?
        .len();
    if size > FOREST_MAX {
        return Err(damaged(&forest_path, "larger than 64 MiB"));
    }
    let bytes = fs::read(&forest_path).map_err(unreadable(&forest_path))?;
    let hash = sha256(&bytes);
    if hash != manifest.forest_sha256 {
        return Err(damaged(
            &forest_path,
            "its SHA-256 is not the one in the manifest",
        ));
    }
    let forest = IsolationForest::<f64>::from_bytes(&bytes)
        .map_err(|error| damaged(&forest_path, &error.to_string()))?;
    if forest.n_features() != FEATURES {
        return Err(damaged(&forest_path, "it has another number of features"));
    }
    let name = format!("{}@{}", manifest.name, manifest.version);
    let hash = sha256(format!("{hash} {}", manifest.feature_hash).as_bytes());
    let short = hash.get(..16).unwrap_or_default().to_owned();
    let model = Model::new(name, short, forest, medians, manifest.calibration.clone());
    Ok((model, manifest, sha256(&text)))
}

/// The feature names of this engine, in order.
#[must_use]
pub fn feature_names() -> Vec<String> {
    CATALOGUE
        .iter()
        .map(|description| description.name.to_owned())
        .collect()
}
