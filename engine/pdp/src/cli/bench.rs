//! The judge of the model keeper's commands: the engine's own `decide`, with a model and the
//! policies in force, over the subjects of a file.

use std::fs;
use std::sync::Arc;

use domain::record::Revisions;
use domain::{AccessRequest, Cause, Rung, Timestamp};
use policy::source::SourceFile;
use policy::{Directory, Policies};
use risk::{Model, Signals};
use trainer::evaluate::{Judge, Judged};
use trainer::survey::Survey;

use super::strangers;
use crate::engine::{Snapshot, decide};
use crate::settings::Settings;

/// Decides as the engine would.
struct Engine {
    snapshot: Snapshot,
}

/// Makes the judge of a model. Subjects and resources of the events that are not stored are
/// added, and may do what risk lets them.
///
/// # Errors
/// When the policies of the settings cannot be loaded.
pub(super) fn judge(
    settings: &Settings,
    model: &Arc<Model>,
    survey: &Survey,
) -> Result<Box<dyn Judge>, String> {
    let folder = &settings.policies;
    let files = policy::source::read_folder(folder).map_err(|error| {
        format!(
            "{}: {error}; set `policies.dir`: a model is judged by what the policies make of its \
             score",
            folder.display()
        )
    })?;
    let stored = match settings.entities_file().as_deref() {
        Some(path) => {
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => "[]".to_owned(),
    };
    let (policies, directory) = match with_strangers(&files, &stored, survey) {
        Some(loaded) => loaded,
        // A schema without the demo's types: its own entities are all there is.
        None => load(&files, &stored).map_err(|problems| problems.to_string())?,
    };
    let revisions = Revisions {
        policies: Arc::from(policies.revision()),
        entities: Arc::from(directory.revision()),
        model: Arc::clone(model.name()),
        model_hash: Arc::clone(model.hash()),
        settings: Arc::from(settings.risk.revision()),
    };
    Ok(Box::new(Engine {
        snapshot: Snapshot {
            policies: Arc::new(policies),
            directory: Arc::new(directory),
            model: Arc::clone(model),
            settings: Arc::new(settings.risk.clone()),
            revisions: Arc::new(revisions),
            deny_from: None,
        },
    }))
}

fn with_strangers(
    files: &[SourceFile],
    stored: &str,
    survey: &Survey,
) -> Option<(Policies, Directory)> {
    let mut files = files.to_vec();
    files.push(SourceFile::new(
        "imported.cedar".to_owned(),
        strangers::POLICY.to_owned(),
    ));
    let mut entities: Vec<serde_json::Value> = serde_json::from_str(stored).ok()?;
    strangers::add(&mut entities, &survey.subjects, &survey.resources);
    load(&files, &serde_json::to_string(&entities).ok()?).ok()
}

fn load(files: &[SourceFile], entities: &str) -> Result<(Policies, Directory), policy::Problems> {
    let policies = Policies::load(files)?;
    let file = SourceFile::new("entities.json".to_owned(), entities.to_owned());
    let directory = Directory::load(&file, &policies)?;
    Ok((policies, directory))
}

impl Judge for Engine {
    fn judge(&self, request: &AccessRequest, signals: &Signals, now: Timestamp) -> Judged {
        let mut outcome = decide(request, signals, &self.snapshot, now);
        let risk = &outcome.decision.risk;
        let mut rung = outcome.decision.rung;
        if has_no_word(outcome.decision.cause) {
            // Policies that do not know the action cannot tell what risk would have made of it:
            // the levels of the settings do.
            let [challenge, mfa, deny] = self.snapshot.settings.levels;
            rung = match risk.score.points() {
                score if score >= deny => Rung::Deny,
                score if score >= mfa => Rung::Mfa,
                score if score >= challenge => Rung::Challenge,
                _ => Rung::Allow,
            };
            outcome.lesson = crate::engine::lesson(rung, risk.level, request.result);
        }
        let kind = request.subject.entity.kind.as_str();
        Judged {
            interactive: self.snapshot.settings.is_interactive(kind),
            rung,
            score: risk.score.points(),
            rule_score: risk.rule_score.points(),
            model_score: risk.model_score.points(),
            policies: outcome.decision.policies,
            factors: outcome.decision.risk.factors,
            lesson: outcome.lesson,
            evidence: outcome.evidence,
        }
    }
}

/// Whether the policies were never asked, because they have no word for the request.
const fn has_no_word(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::UnknownAction
            | Cause::ActionDoesNotApply
            | Cause::UnknownSubject
            | Cause::UnknownResource
            | Cause::NothingPermits
    )
}
