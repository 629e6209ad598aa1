//! The models: which there are, which scores, and changing that.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::Problem;
use super::authn::Authenticated;
use super::authzen::{json, read_object};
use crate::access::Permission;
use crate::app::App;
use crate::models::acts::{Done, RefusedError, Wish};
use crate::models::report::{Report, Seen};

impl From<RefusedError> for Problem {
    fn from(why: RefusedError) -> Self {
        match why {
            RefusedError::NoReason => Self::malformed(why.to_string()),
            RefusedError::Store(_) | RefusedError::Broken(_) => {
                tracing::error!(error = %why, "nothing was done with models");
                Self::unavailable("the models cannot be changed at the moment; ask again")
            }
            RefusedError::Model(_)
            | RefusedError::AlreadyChampion(_)
            | RefusedError::Worse { .. }
            | RefusedError::NothingToRollBack(_)
            | RefusedError::NoChampion
            | RefusedError::Overtaken => Self::conflict(why.to_string()),
        }
    }
}

/// `GET /v1/models`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asker: Authenticated,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadModels)?;
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the models could not be listed");
        Problem::unavailable("the models cannot be listed at the moment; ask again")
    };
    let acts = app.state.store().model_acts().await;
    let acts = acts.map_err(|error| failed(&error))?;
    let folder = app.models.registry.models.clone();
    let report = tokio::task::spawn_blocking(move || Report::of(&folder, acts))
        .await
        .map_err(|error| failed(&error))?;
    let mut report = report.map_err(|error| failed(&error))?;
    let faults = app.models.faults();
    if let (Some(champion), Some(fault)) = (&mut report.champion, &faults.champion) {
        champion.fault = Some(fault.clone());
    }
    if let Some(challenger) = &mut report.challenger {
        if let Some(fault) = &faults.challenger {
            challenger.fault = Some(fault.clone());
        }
        challenger.seen = app
            .models
            .shadow()
            .filter(|shadow| shadow.choice.model == challenger.model)
            .map(|shadow| Seen::of(&shadow));
    }
    json(&report)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Promotion {
    model: String,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    reason: Option<String>,
}

/// `POST /v1/models/promote`.
pub(super) async fn promote(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::ChooseModels)?;
    let form = r#"{"model": "name@version"}, and with "force": true a "reason""#;
    let told: Promotion = read_object(&app, request, form).await?;
    let wish = Wish {
        model: told.model,
        force: told.force,
        reason: told.reason,
        measured: None,
    };
    let (now, by) = (app.inputs.clock.now(), asker.caller.by());
    let done = app.models.registry.promote(wish, &by, now);
    answer(&app, done.await?).await
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollback {
    #[serde(default)]
    reason: Option<String>,
}

/// `POST /v1/models/rollback`.
pub(super) async fn rollback(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::ChooseModels)?;
    let told: Rollback = read_object(&app, request, r#"{} or {"reason": …}"#).await?;
    let (now, by) = (app.inputs.clock.now(), asker.caller.by());
    let registry = &app.models.registry;
    let done = registry.rollback(told.reason, &by, now);
    answer(&app, done.await?).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shadowing {
    // Required: what ends a comparison is to be written, not left out.
    #[serde(deserialize_with = "Option::deserialize")]
    model: Option<String>,
}

/// `POST /v1/models/shadow`; `null` ends it.
pub(super) async fn shadow(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::ChooseModels)?;
    let form = r#"{"model": "name@version"}, or null to end it"#;
    let told: Shadowing = read_object(&app, request, form).await?;
    let (now, by) = (app.inputs.clock.now(), asker.caller.by());
    let registry = &app.models.registry;
    let done = registry.shadow(told.model, &by, now);
    answer(&app, done.await?).await
}

/// What was done is kept; now it is put on record and counts.
async fn answer(app: &Arc<App>, done: Done) -> Result<Response, Problem> {
    app.take_up_models().await.map_err(|error| {
        tracing::error!(%error, "what was done with models was not taken up; trying again");
        Problem::unavailable(
            "it is kept, but not on record yet and does not count yet; the engine goes on trying",
        )
    })?;
    let faults = app.models.faults();
    json(&json!({
        "champion": app.models.champion().choice.model,
        "challenger": app.models.shadow().map(|shadow| shadow.choice.model.clone()),
        "previous": done.previous,
        "compared": done.compared,
        "overruled": done.overruled,
        "fault": faults.champion.as_ref().or(faults.challenger.as_ref()),
    }))
}
