//! The policies that decide, and those that have decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use policy::places::places;
use serde_json::{Value, json};
use store::sqlite::RevisionKind;

use super::Problem;
use super::authn::Authenticated;
use super::authzen::json;
use super::path::Id;
use crate::access::Permission;
use crate::app::App;
use crate::archive::Gone;

/// Earlier revisions that are listed at most, the last used first.
const LISTED_MAX: usize = 100;

/// `GET /v1/policies`: what decides now, and which revisions are kept.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asker: Authenticated,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadPolicies)?;
    let kept = app
        .state
        .store()
        .revisions(RevisionKind::Policies, LISTED_MAX);
    let kept = kept.await.map_err(|error| {
        tracing::error!(%error, "revisions of policies could not be listed");
        Problem::unavailable("the archive cannot be read at the moment; ask again")
    })?;
    let snapshot = Arc::clone(&app.live.current());
    let policies = &snapshot.policies;
    let files: Vec<Value> = policies
        .files()
        .iter()
        .map(|file| json!({ "name": file.base_name(), "bytes": file.text.len() }))
        .collect();
    let stand: Vec<Value> = places(policies.files())
        .iter()
        .map(|place| {
            json!({
                "id": place.id,
                "file": place.file.rsplit('/').next(),
                "line": place.line,
                "effect": if place.forbids { "forbid" } else { "permit" },
                "reason": place.reason,
                "severity": place.severity,
            })
        })
        .collect();
    let warnings: Vec<String> = policies
        .warnings()
        .0
        .iter()
        .map(ToString::to_string)
        .collect();
    let report = super::policies::report(&app);
    json(&json!({
        "live": report.live,
        "before": report.before,
        "shadow": report.shadow,
        "refused": report.refused,
        "revision": policies.revision(),
        "files": files,
        "policies": stand,
        "warnings": warnings,
        "kept": kept.iter().map(|kept| json!({
            "revision": kept.revision,
            "first_used": wire::time::format(kept.first_used),
            "last_used": wire::time::format(kept.last_used),
        })).collect::<Vec<_>>(),
    }))
}

/// `GET /v1/policies/{revision}`: the files of a set that decides or has decided.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Id(revision): Id,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadPolicies)?;
    let snapshot = Arc::clone(&app.live.current());
    let files =
        if snapshot.policies.revision() == revision {
            snapshot.policies.files().to_vec()
        } else {
            app.archive.files(&revision).await.map_err(|gone| match gone {
            Gone::NotKept { .. } => {
                Problem::not_found("no policies of this revision have decided, or none are kept")
            }
            gone => {
                tracing::error!(error = %gone, "policies could not be read from the archive");
                Problem::unavailable("the archive cannot be read at the moment; ask again")
            }
        })?
        };
    let files: BTreeMap<&str, &str> = files
        .iter()
        .map(|file| (file.base_name(), file.text.as_str()))
        .collect();
    json(&json!({ "revision": revision, "files": files }))
}
