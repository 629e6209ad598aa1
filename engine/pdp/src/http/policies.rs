//! The policy sets: which is live, and changing that.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::Problem;
use super::authn::Authenticated;
use super::authzen::{json, read_object, read_object_up_to};
use super::query::{limit, query};
use crate::access::Permission;
use crate::app::App;
use crate::publishing::acts::{Doer, RefusedError};
use crate::publishing::report::{Act, Report, Seen};
use crate::publishing::take_up::Deed;
use crate::publishing::upload::Upload;
use crate::snapshot::Fault;

/// Acts on one page at most.
const ACTS_MAX: usize = 1000;
/// Acts on one page, where nobody says how many.
const ACTS: usize = 100;

impl From<RefusedError> for Problem {
    fn from(why: RefusedError) -> Self {
        match why {
            RefusedError::NoWhy => Self::malformed(why.to_string()),
            RefusedError::Faults(faults) => refused(&faults),
            RefusedError::Unexpected { .. } => Self::condition_failed(why.to_string()),
            RefusedError::Store(_) | RefusedError::Broken(_) => {
                tracing::error!(error = %why, "nothing was done with policies");
                Self::unavailable("the policies cannot be changed at the moment; ask again")
            }
            RefusedError::LiveAlready(_)
            | RefusedError::NoShadow
            | RefusedError::NothingBefore(_)
            | RefusedError::NeverLive
            | RefusedError::Gone(_)
            | RefusedError::Overtaken => Self::conflict(why.to_string()),
        }
    }
}

/// 422 with everything that is wrong.
fn refused(faults: &[Fault]) -> Problem {
    let count = match faults.len() {
        1 => "1 finding".to_owned(),
        more => format!("{more} findings"),
    };
    let first = faults.first().map_or_else(String::new, ToString::to_string);
    let detail = format!("the set is refused, and what was live before goes on: {count}; {first}");
    Problem::unfit(detail).with_errors(faults.iter().map(told_of).collect())
}

fn told_of(fault: &Fault) -> Value {
    match fault {
        Fault::InFile(problem) => json!({
            "severity": problem.severity.word(),
            "code": problem.code,
            "file": problem.file,
            "line": problem.place.map(|(line, _)| line),
            "column": problem.place.map(|(_, column)| column),
            "message": problem.message,
            "help": problem.help,
            "text": problem.to_string(),
        }),
        Fault::Other(words) => json!({ "severity": "error", "message": words, "text": words }),
    }
}

/// Which set is live, which in the shadow, and how often they differ.
pub(super) fn report(app: &App) -> Report {
    let publishing = &app.publishing;
    let mut report = Report::of(&publishing.standing());
    let snapshot = app.live.current();
    if let Some(live) = &mut report.live {
        // What decides, whatever was chosen.
        live.revision = snapshot.revisions.policies.to_string();
        live.policies = Some(snapshot.policies.len());
    }
    if let Some(shadow) = &mut report.shadow {
        shadow.fault = publishing.shadow_fault().map(|fault| fault.to_string());
        shadow.seen = publishing
            .shadow()
            .filter(|running| *running.revision == *shadow.revision)
            .map(|running| Seen::of(&running));
    }
    report
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    after: Option<u64>,
    #[serde(default)]
    limit: Option<usize>,
}

/// `GET /v1/policies/acts?after=&limit=`: who did what, when and why; the oldest first.
pub(super) async fn acts(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadPolicies)?;
    let asked = query(asked)?;
    let limit = limit(asked.limit, ACTS, ACTS_MAX)?;
    let acts = app.state.store().policy_acts().await.map_err(|error| {
        tracing::error!(%error, "acts could not be read");
        Problem::unavailable("the acts cannot be read at the moment; ask again")
    })?;
    let after = asked.after.unwrap_or_default();
    let mut later = acts.into_iter().filter(|act| act.number > after);
    let page: Vec<Act> = later.by_ref().take(limit).map(Act::from).collect();
    let next = page.last().map(|act| act.number);
    json(&json!({ "acts": page, "next": later.next().and(next) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    #[serde(deserialize_with = "once_each")]
    files: BTreeMap<String, String>,
    why: String,
    #[serde(default)]
    expected_revision: Option<String>,
}

/// An object whose members come once each.
fn once_each<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Files;

    impl<'de> serde::de::Visitor<'de> for Files {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of names and texts")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut members: A,
        ) -> Result<Self::Value, A::Error> {
            let mut files = BTreeMap::new();
            while let Some((name, text)) = members.next_entry::<String, String>()? {
                if files.contains_key(&name) {
                    let twice = format!("`{name}` comes twice");
                    return Err(serde::de::Error::custom(twice));
                }
                files.insert(name, text);
            }
            Ok(files)
        }
    }

    from.deserialize_map(Files)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    why: String,
    #[serde(default)]
    expected_revision: Option<String>,
}

/// `PUT /v1/policies`.
pub(super) async fn publish(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    take_in(&app, &asker, request, Deed::Publish).await
}

/// `PUT /v1/policies/shadow`.
pub(super) async fn shadow(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    take_in(&app, &asker, request, Deed::Shadow).await
}

async fn take_in(
    app: &Arc<App>,
    asker: &Authenticated,
    request: Request,
    deed: fn(Upload) -> Deed,
) -> Result<Response, Problem> {
    asker.require(Permission::WritePolicies)?;
    let form = r#"{"files": {"NAME.cedar": "TEXT", …}, "why": …}"#;
    let most = app.settings.limits.upload_bytes;
    let sent: Sent = read_object_up_to(most, request, form).await?;
    let upload = Upload::sorted(sent.files).map_err(|faults| refused(&faults))?;
    act(app, asker, deed(upload), sent.why, sent.expected_revision).await
}

/// `POST /v1/policies/promote`.
pub(super) async fn promote(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    because(&app, &asker, request, Deed::Promote).await
}

/// `DELETE /v1/policies/shadow`.
pub(super) async fn drop_shadow(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    because(&app, &asker, request, Deed::Drop).await
}

/// `POST /v1/policies/rollback`.
pub(super) async fn rollback(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    because(&app, &asker, request, Deed::Rollback).await
}

async fn because(
    app: &Arc<App>,
    asker: &Authenticated,
    request: Request,
    deed: Deed,
) -> Result<Response, Problem> {
    asker.require(Permission::WritePolicies)?;
    let told: Because = read_object(app, request, r#"{"why": …}"#).await?;
    act(app, asker, deed, told.why, told.expected_revision).await
}

async fn act(
    app: &Arc<App>,
    asker: &Authenticated,
    deed: Deed,
    why: String,
    expected: Option<String>,
) -> Result<Response, Problem> {
    let doer = Doer {
        by: asker.caller.by(),
        at: app.inputs.clock.now(),
        why,
        expected,
    };
    let one = Arc::clone(&app.changing_policies).try_acquire_owned();
    let one = one.map_err(|_| {
        Problem::unavailable("policies are being changed for somebody else; ask again")
    })?;
    let doing = Arc::clone(app);
    // To the end, whether or not the client waits.
    let done = tokio::spawn(async move {
        let _one = one;
        doing.do_with_policies(deed, doer).await
    })
    .await;
    let (done, taken_up) = done.map_err(|error| {
        tracing::error!(%error, "policies: the work broke off");
        Problem::unavailable("the work broke off; look at `GET /v1/policies/acts`, then ask again")
    })??;
    taken_up.map_err(|error| {
        tracing::error!(%error, "what was done with policies was not taken up; trying again");
        Problem::unavailable(
            "it is kept, but not on record yet or does not count yet; the engine goes on trying",
        )
    })?;
    json(&json!({
        "revision": done.revision,
        "live": &*app.live.current().revisions.policies,
        "previous": done.previous,
        "shadow": app.publishing.standing().shadow(),
        "changed": done.changed,
        "warnings": done.warnings,
    }))
}
