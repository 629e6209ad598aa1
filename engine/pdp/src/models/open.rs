//! Models on the disk: opening the one that is meant, and telling what is there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use risk::Model;
use risk::artifact::{self, LoadModelError, Manifest};
use serde::Serialize;
use store::sqlite::{ModelAct, ModelActKind};

use super::standing::{Choice, Standing};

/// Models that are listed at most: the highest versions of the first names.
const LISTED_MAX: usize = 500;

/// A model that was opened, and is the one that its name says.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Ready to score.
    pub model: Arc<Model>,
    /// What it was made from.
    pub manifest: Arc<Manifest>,
    /// Name and digest.
    pub choice: Choice,
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing of that name is there.
    #[error(
        "{folder}: no model `{name}`: {cause}; `portreeve model list` shows what is there, \
         `portreeve model train` makes one, `models.champion` names the first to score"
    )]
    NotThere {
        /// The folder of models.
        folder: PathBuf,
        /// The name.
        name: String,
        /// Why.
        cause: io::Error,
    },
    /// It does not load.
    #[error("{0}")]
    Load(#[from] LoadModelError),
    /// The folder's name is not the model's.
    #[error("{folder}: its manifest says that it is {is}; a copied model needs its own manifest")]
    Misnamed {
        /// Its folder.
        folder: PathBuf,
        /// What the manifest says.
        is: String,
    },
    /// It is not the one that was chosen.
    #[error(
        "{folder}: it has changed since {model} was chosen; put the old files back, or promote it \
         again"
    )]
    Changed {
        /// Its folder.
        folder: PathBuf,
        /// Its name.
        model: String,
    },
}

/// Opens a model by its name, `name` or `name@version`.
///
/// # Errors
/// When it is not there, is damaged, or was made for other features.
pub fn open(models: &Path, name: &str) -> Result<Opened, OpenError> {
    let folder = artifact::locate(models, name)
        .and_then(|folder| {
            fs::metadata(&folder)?;
            Ok(folder)
        })
        .map_err(|cause| OpenError::NotThere {
            folder: models.to_owned(),
            name: name.to_owned(),
            cause,
        })?;
    let (model, manifest, digest) = artifact::load_with_digest(&folder)?;
    let is = model.name().to_string();
    let named =
        |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
    let parts = (
        named(folder.parent().and_then(Path::file_name)),
        named(folder.file_name()),
    );
    if parts
        != (
            Some(manifest.name.clone()),
            Some(manifest.version.to_string()),
        )
    {
        return Err(OpenError::Misnamed { folder, is });
    }
    Ok(Opened {
        model: Arc::new(model),
        manifest: Arc::new(manifest),
        choice: Choice { model: is, digest },
    })
}

/// Opens the very model that was chosen.
///
/// # Errors
/// As [`open`], and when other files have taken its place.
pub fn open_chosen(models: &Path, choice: &Choice) -> Result<Opened, OpenError> {
    let opened = open(models, &choice.model)?;
    if opened.choice.digest == choice.digest {
        Ok(opened)
    } else {
        Err(OpenError::Changed {
            folder: artifact::locate(models, &choice.model).unwrap_or_default(),
            model: choice.model.clone(),
        })
    }
}

/// What the settings' name is settled on, if it is to be settled anew.
///
/// A name without a version is settled on its newest one when it is first met, and stays there:
/// training does not change what scores, promoting does. It is settled anew when the settings
/// name another, or when what it was settled on is gone, has been replaced, or was made for the
/// features of another version of the engine.
///
/// # Errors
/// When nothing that can be used has this name.
pub fn settle(
    models: &Path,
    setting: &str,
    standing: &Standing,
) -> Result<Option<Choice>, OpenError> {
    let known = standing
        .settled()
        .filter(|_| standing.setting() == Some(setting));
    if let Some(known) = known {
        match open_chosen(models, known) {
            Ok(_) => return Ok(None),
            Err(
                OpenError::Changed { .. }
                | OpenError::NotThere { .. }
                | OpenError::Load(LoadModelError::OtherFeatures { .. }),
            ) => {}
            Err(damaged) => return Err(damaged),
        }
    }
    open(models, setting).map(|opened| Some(opened.choice))
}

/// The act of settling.
#[must_use]
pub fn settling(setting: &str, choice: Choice, at: domain::Timestamp) -> ModelAct {
    ModelAct {
        number: 0,
        kind: ModelActKind::Settle,
        model: Some(choice.model),
        digest: Some(choice.digest),
        at,
        by: "settings".to_owned(),
        reason: Some(setting.to_owned()),
        forced: false,
        previous: None,
        metrics: None,
        journalled: false,
    }
}

/// One model of the list.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// `name@version`.
    pub model: String,
    /// Its name.
    pub name: String,
    /// Its version, as the folder is called.
    pub version: String,
    /// Whether this engine can use it.
    pub usable: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// It scores.
    pub is_champion: bool,
    /// It is compared with the champion.
    pub is_challenger: bool,
    /// How many features it looks at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<usize>,
    /// What it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<TrainedOn>,
    /// What was measured of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// The events that a model was made from.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "as in the manifest")]
pub struct TrainedOn {
    pub fitted: usize,
    pub calibrated: usize,
    pub tested: usize,
    pub subjects: usize,
    pub from: String,
    pub to: String,
}

/// Every model in the folder, by name, the newest version first.
///
/// # Errors
/// When the folder cannot be read. A model that cannot be is listed with what is wrong.
pub fn list(models: &Path, standing: &Standing) -> io::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for name in folders(models)? {
        for version in folders(&models.join(&name)).unwrap_or_default() {
            listed.push((name.clone(), version));
        }
    }
    listed.sort_by_key(|(name, version)| {
        (
            name.clone(),
            std::cmp::Reverse(version.parse::<u32>().unwrap_or(0)),
        )
    });
    listed.truncate(LISTED_MAX);
    let looked = |(name, version)| look(models, name, version, standing);
    Ok(listed.into_iter().map(looked).collect())
}

fn folders(within: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(within)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", within.display())))?
    {
        let entry = entry?;
        if entry.path().is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

fn look(models: &Path, name: String, version: String, standing: &Standing) -> Listed {
    let model = format!("{name}@{version}");
    let is_it = |choice: &&Choice| choice.model == model;
    let champion = standing.champion().filter(is_it);
    let challenger = standing.challenger().filter(is_it);
    let mut listed = Listed {
        is_champion: champion.is_some(),
        is_challenger: challenger.is_some(),
        name,
        version,
        usable: false,
        fault: None,
        features: None,
        trained_on: None,
        metrics: BTreeMap::new(),
        model,
    };
    let opened = match champion.or(challenger) {
        Some(choice) => open_chosen(models, choice),
        None => open(models, &listed.model),
    };
    // A manifest can be shown even where its model cannot be used.
    let manifest = match opened {
        Ok(opened) => {
            listed.usable = true;
            Some(opened.manifest)
        }
        Err(error) => {
            listed.fault = Some(error.to_string());
            artifact::locate(models, &listed.model)
                .and_then(|folder| fs::read(folder.join(artifact::MANIFEST)))
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
                .map(Arc::new)
        }
    };
    if let Some(manifest) = manifest {
        let manifest: &Manifest = &manifest;
        let data = &manifest.data;
        listed.features = Some(manifest.features.len());
        listed.trained_on = Some(TrainedOn {
            fitted: data.fitted,
            calibrated: data.calibrated,
            tested: data.tested,
            subjects: data.subjects,
            from: data.from.clone(),
            to: data.to.clone(),
        });
        let metrics = manifest.metrics.iter();
        listed.metrics = metrics.map(|it| (it.name.clone(), it.value)).collect();
    }
    listed
}
