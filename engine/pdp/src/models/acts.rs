//! Promoting, rolling back, shadowing: decided here for the command line and HTTP alike, and
//! added to what the store knows. A running engine takes up what was added.

use std::path::{Path, PathBuf};

use domain::Timestamp;
use risk::artifact::Metric;
use serde_json::json;
use store::Store;
use store::sqlite::{ModelAct, ModelActKind, StoreError};

use super::gate::{self, Compared};
use super::open::{self, OpenError, Opened};
use super::standing::{Choice, Standing};

/// Longest reason that is kept, bytes.
const REASON_MAX: usize = 1000;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum RefusedError {
    /// The model cannot be used; what scored before goes on.
    #[error("{0}")]
    Model(#[from] OpenError),
    /// It scores already.
    #[error("{0} is the champion already")]
    AlreadyChampion(String),
    /// By its figures it would do worse.
    #[error("{model} would do worse than the champion {champion}:\n  {}\n{advice}", .objections.join("\n  "))]
    Worse {
        /// The model.
        model: String,
        /// The champion.
        champion: String,
        /// What speaks against it.
        objections: Vec<String>,
        /// What to do next.
        advice: &'static str,
    },
    /// Forced, and no reason given.
    #[error(
        "say why it is forced: the reason is kept with the promotion (1 to {REASON_MAX} bytes)"
    )]
    NoReason,
    /// Nothing is promoted.
    #[error("nothing is promoted: {0} scores because the settings say so")]
    NothingToRollBack(String),
    /// The settings' name was never settled and cannot be.
    #[error("no champion is known; set `models.champion`")]
    NoChampion,
    /// Somebody else was faster.
    #[error("somebody else has just changed what scores; look again with `portreeve model list`")]
    Overtaken,
    /// The store refused.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The work broke off.
    #[error("the work broke off: {0}")]
    Broken(String),
}

/// Where models are, and where it is kept which of them scores.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The folder of models.
    pub models: PathBuf,
    /// `models.champion` of the settings.
    pub setting: String,
    /// `models.margin`.
    pub margin: f64,
    /// The store.
    pub store: Store,
}

/// What somebody wants promoted.
#[derive(Clone, Debug)]
pub struct Wish {
    /// `name` or `name@version`.
    pub model: String,
    /// Whatever the figures say.
    pub force: bool,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// Figures of the champion and of this model on the same events; without them, those of the
    /// manifests count.
    pub measured: Option<[Vec<Metric>; 2]>,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// The model that scores from now on, or that is compared; none when none is compared.
    pub model: Option<String>,
    /// The champion before.
    pub previous: String,
    /// The figures that were compared.
    pub compared: Vec<Compared>,
    /// What was said against it, and overruled.
    pub overruled: Vec<String>,
}

/// What both figures came from, for the record.
const fn measured_on(measured: Option<&[Vec<Metric>; 2]>) -> &'static str {
    match measured {
        Some(_) => "the same events",
        None => "each model's own test slice",
    }
}

impl Registry {
    /// What holds now. Settles the settings' name first, if that was never done.
    ///
    /// # Errors
    /// When the store cannot be read, or nothing can be used that the settings name.
    pub async fn standing(&self, now: Timestamp) -> Result<Standing, RefusedError> {
        let standing = Standing::of(&self.store.model_acts().await?);
        let (models, setting, known) =
            (self.models.clone(), self.setting.clone(), standing.clone());
        let settled = apart(move || open::settle(&models, &setting, &known)).await?;
        match settled {
            Ok(None) => Ok(standing),
            Ok(Some(choice)) => {
                let act = open::settling(&self.setting, choice, now);
                // Whoever was faster has settled it.
                self.store.add_model_act(&act, standing.last()).await?;
                Ok(Standing::of(&self.store.model_acts().await?))
            }
            // What is promoted does not need what the settings name.
            Err(_) if standing.is_promoted() => Ok(standing),
            // A champion that is damaged must not keep a sound one from taking its place.
            Err(_) if standing.settled().is_some() => Ok(standing),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a model the champion.
    ///
    /// # Errors
    /// When it cannot be used, would do worse, scores already, or the store refuses.
    pub async fn promote(
        &self,
        wish: Wish,
        by: &str,
        now: Timestamp,
    ) -> Result<Done, RefusedError> {
        if wish.reason.as_ref().map_or(wish.force, |reason| {
            reason.trim().is_empty() || reason.len() > REASON_MAX
        }) {
            return Err(RefusedError::NoReason);
        }
        let standing = self.standing(now).await?;
        let champion = standing
            .champion()
            .cloned()
            .ok_or(RefusedError::NoChampion)?;
        let opened = self.open(wish.model.clone()).await?;
        if opened.choice == champion {
            return Err(RefusedError::AlreadyChampion(champion.model));
        }
        let (compared, mut objections) = self.judge(&champion, &opened, &wish).await?;
        if !wish.force && !objections.is_empty() {
            return Err(RefusedError::Worse {
                model: opened.choice.model,
                champion: champion.model,
                objections,
                advice: if wish.measured.is_some() {
                    "look at `portreeve model compare`; `--force --reason \"…\"` promotes it \
                     all the same, on record"
                } else {
                    "these are figures of different events; `--events FILE` measures both on the \
                     same, `--force --reason \"…\"` promotes it all the same, on record"
                },
            });
        }
        let metrics = json!({
            "measured_on": measured_on(wish.measured.as_ref()),
            "compared": compared,
            "overruled": objections,
        });
        let act = ModelAct {
            kind: ModelActKind::Promote,
            reason: wish.reason,
            forced: wish.force,
            metrics: Some(metrics.to_string()),
            ..self.act(Some(&opened.choice), &champion, by, now)
        };
        self.add(&act, &standing).await?;
        if !wish.force {
            objections.clear();
        }
        Ok(Done {
            model: Some(opened.choice.model),
            previous: champion.model,
            compared,
            overruled: objections,
        })
    }

    /// Takes the last promotion back that was not taken back yet.
    ///
    /// # Errors
    /// When nothing is promoted, what it would go back to cannot be used, or the store refuses.
    pub async fn rollback(
        &self,
        reason: Option<String>,
        by: &str,
        now: Timestamp,
    ) -> Result<Done, RefusedError> {
        if reason
            .as_ref()
            .is_some_and(|reason| reason.len() > REASON_MAX)
        {
            return Err(RefusedError::NoReason);
        }
        let standing = self.standing(now).await?;
        let champion = standing
            .champion()
            .cloned()
            .ok_or(RefusedError::NoChampion)?;
        if !standing.is_promoted() {
            return Err(RefusedError::NothingToRollBack(champion.model));
        }
        let before = standing.before().cloned().ok_or(RefusedError::NoChampion)?;
        let (models, chosen) = (self.models.clone(), before.clone());
        apart(move || open::open_chosen(&models, &chosen)).await??;
        let act = ModelAct {
            kind: ModelActKind::Rollback,
            reason,
            ..self.act(Some(&before), &champion, by, now)
        };
        self.add(&act, &standing).await?;
        Ok(Done {
            model: Some(before.model),
            previous: champion.model,
            compared: Vec::new(),
            overruled: Vec::new(),
        })
    }

    /// Lets a model score beside the champion, unheard; none ends that.
    ///
    /// # Errors
    /// When it cannot be used, is the champion, or the store refuses.
    pub async fn shadow(
        &self,
        model: Option<String>,
        by: &str,
        now: Timestamp,
    ) -> Result<Done, RefusedError> {
        let standing = self.standing(now).await?;
        let champion = standing
            .champion()
            .cloned()
            .ok_or(RefusedError::NoChampion)?;
        let choice = match model {
            None => None,
            Some(model) => Some(self.open(model).await?.choice),
        };
        if choice.as_ref() == Some(&champion) {
            return Err(RefusedError::AlreadyChampion(champion.model));
        }
        let act = ModelAct {
            kind: ModelActKind::Shadow,
            ..self.act(choice.as_ref(), &champion, by, now)
        };
        self.add(&act, &standing).await?;
        Ok(Done {
            model: choice.map(|choice| choice.model),
            previous: champion.model,
            compared: Vec::new(),
            overruled: Vec::new(),
        })
    }

    /// What speaks for and against a model.
    async fn judge(
        &self,
        champion: &Choice,
        opened: &Opened,
        wish: &Wish,
    ) -> Result<(Vec<Compared>, Vec<String>), RefusedError> {
        if let Some([of_champion, of_it]) = &wish.measured {
            let compared = gate::compare(of_champion, of_it, self.margin);
            let objections = gate::objections(&compared);
            return Ok((compared, objections));
        }
        let (models, chosen) = (self.models.clone(), champion.clone());
        let current = apart(move || open::open_chosen(&models, &chosen)).await?;
        Ok(match current {
            Ok(current) => {
                let compared = gate::compare(
                    &current.manifest.metrics,
                    &opened.manifest.metrics,
                    self.margin,
                );
                let objections = gate::objections(&compared);
                (compared, objections)
            }
            Err(error) => {
                let why = format!("the champion cannot be compared with: {error}");
                (Vec::new(), vec![why])
            }
        })
    }

    async fn open(&self, name: String) -> Result<Opened, RefusedError> {
        let models = self.models.clone();
        Ok(apart(move || open::open(&models, &name)).await??)
    }

    fn act(
        &self,
        choice: Option<&Choice>,
        champion: &Choice,
        by: &str,
        now: Timestamp,
    ) -> ModelAct {
        ModelAct {
            number: 0,
            kind: ModelActKind::Shadow,
            model: choice.map(|choice| choice.model.clone()),
            digest: choice.map(|choice| choice.digest.clone()),
            at: now,
            by: by.to_owned(),
            reason: None,
            forced: false,
            previous: Some(champion.model.clone()),
            metrics: None,
            journalled: false,
        }
    }

    async fn add(&self, act: &ModelAct, standing: &Standing) -> Result<(), RefusedError> {
        if self.store.add_model_act(act, standing.last()).await? {
            Ok(())
        } else {
            Err(RefusedError::Overtaken)
        }
    }
}

/// Opens the champion and another model, to measure both on the same events.
///
/// # Errors
/// When one of them cannot be used.
pub fn open_both(models: &Path, champion: &Choice, name: &str) -> Result<[Opened; 2], OpenError> {
    Ok([
        open::open_chosen(models, champion)?,
        open::open(models, name)?,
    ])
}

/// Reads files away from the threads that answer.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RefusedError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| RefusedError::Broken(error.to_string()))
}
