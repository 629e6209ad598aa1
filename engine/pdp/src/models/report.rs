//! What there is to say about the models, for the command line and HTTP alike.

use std::io;
use std::path::Path;

use serde::Serialize;
use store::sqlite::ModelAct;

use super::open::{self, Listed};
use super::shadow::Shadow;
use super::standing::{Choice, Standing};

/// Acts that are shown, the newest first.
const HISTORY: usize = 20;

/// The models, and which of them does what.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The one that scores. None before an engine has ever started here.
    pub champion: Option<Champion>,
    /// The one that is compared with it.
    pub challenger: Option<Challenger>,
    /// All of them, by name, the newest version first.
    pub models: Vec<Listed>,
    /// What was done, the newest first.
    pub history: Vec<Act>,
}

/// The model that scores.
#[derive(Clone, Debug, Serialize)]
pub struct Champion {
    /// `name@version`.
    pub model: String,
    /// SHA-256 of its manifest.
    pub digest: String,
    /// `promotion` or `settings`.
    pub source: &'static str,
    /// Why it does not, although it was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// The model that is compared.
#[derive(Clone, Debug, Serialize)]
pub struct Challenger {
    /// `name@version`.
    pub model: String,
    /// SHA-256 of its manifest.
    pub digest: String,
    /// What has come of it since the engine began; only the engine knows.
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    pub seen: Option<Seen>,
    /// Why it is not compared, although it was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What has come of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Since when (RFC 3339).
    pub since: String,
    /// Accesses that both scored.
    pub compared: u64,
    /// Of these, at the same level.
    pub agreed: u64,
    /// Mean of the challenger's score less the champion's, points.
    pub mean_difference: f64,
    /// Mean distance between the scores, points.
    pub mean_distance: f64,
}

impl Seen {
    /// Of a challenger at work.
    #[must_use]
    pub fn of(shadow: &Shadow) -> Self {
        let agreement = shadow.agreement();
        Self {
            since: wire::time::format(shadow.since),
            compared: agreement.compared,
            agreed: agreement.agreed,
            mean_difference: agreement.mean_difference,
            mean_distance: agreement.mean_distance,
        }
    }
}

/// Something that was done.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "as in the store")]
pub struct Act {
    pub number: u64,
    pub act: &'static str,
    pub model: Option<String>,
    pub previous: Option<String>,
    pub at: String,
    pub by: String,
    pub reason: Option<String>,
    pub forced: bool,
}

impl Report {
    /// Looks at every model in the folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn of(models: &Path, acts: Vec<ModelAct>) -> io::Result<Self> {
        let standing = Standing::of(&acts);
        let models = open::list(models, &standing)?;
        let fault_of = |choice: &Choice| {
            let listed = models.iter().find(|listed| listed.model == choice.model);
            match listed {
                Some(listed) => listed.fault.clone(),
                None => Some("it is not there any more".to_owned()),
            }
        };
        Ok(Self {
            champion: standing.champion().map(|choice| Champion {
                model: choice.model.clone(),
                digest: choice.digest.clone(),
                source: standing.source().as_str(),
                fault: fault_of(choice),
            }),
            challenger: standing.challenger().map(|choice| Challenger {
                model: choice.model.clone(),
                digest: choice.digest.clone(),
                seen: None,
                fault: fault_of(choice),
            }),
            history: acts
                .into_iter()
                .rev()
                .take(HISTORY)
                .map(Act::from)
                .collect(),
            models,
        })
    }
}

impl From<ModelAct> for Act {
    fn from(act: ModelAct) -> Self {
        Self {
            number: act.number,
            act: act.kind.as_str(),
            model: act.model,
            previous: act.previous,
            at: wire::time::format(act.at),
            by: act.by,
            reason: act.reason,
            forced: act.forced,
        }
    }
}
