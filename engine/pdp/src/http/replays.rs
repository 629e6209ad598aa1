//! What other policies would have decided, asked over HTTP: bounded, one at a time, and not on
//! the threads that answer.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use domain::Timestamp;
use policy::{Policies, SourceFile};
use serde::Deserialize;
use serde_json::json;
use store::journal::{self, Position};
use tokio::runtime::Handle;

use super::Problem;
use super::authn::Authenticated;
use super::authzen::{json, read_object};
use crate::access::Permission;
use crate::app::App;
use crate::archive::Archive;
use crate::replay::report::Report;
use crate::replay::run::{Job, run};
use crate::replay::sources::{Candidate, Sources};

/// Decisions of one call at most; `portreeve policy replay` has no such limit.
const RECORDS_MAX: u64 = 20_000;
/// Decisions of a call that names no limit.
const RECORDS: u64 = 5_000;
/// Files of a candidate at most.
const FILES_MAX: usize = 1_000;
/// Records that are read at a time.
const CHUNK: usize = 500;
/// Examples of an answer.
const EXAMPLES: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    files: Option<BTreeMap<String, String>>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    limit: Option<u64>,
}

/// `POST /v1/policies/replay`: the last decisions within a time, decided again by these files;
/// without files, held against what decided them.
pub(super) async fn replay(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::ReplayPolicies)?;
    let form = r#"{"files": {"name.cedar": "text", …}, "from": …, "to": …, "limit": …}"#;
    let wish: Wish = read_object(&app, request, form).await?;
    let limit = wish.limit.unwrap_or(RECORDS);
    if limit == 0 || limit > RECORDS_MAX {
        return Err(Problem::malformed(format!(
            "`limit` is 1 to {RECORDS_MAX}; `portreeve policy replay` has no limit"
        )));
    }
    let from = moment("from", wish.from.as_deref())?;
    let to = moment("to", wish.to.as_deref())?;
    let one = Arc::clone(&app.replaying).try_acquire_owned();
    let one = one.map_err(|_| {
        Problem::unavailable("another replay is under way; ask again when it is done")
    })?;
    let start = app.state.store().decisions_before(to, limit).await;
    let start = start.map_err(|error| {
        tracing::error!(%error, "records could not be found for a replay");
        Problem::unavailable("the records cannot be read at the moment; ask again")
    })?;
    let done = tokio::task::spawn_blocking(move || {
        let _one = one;
        let candidate = candidate(wish.files)?;
        replayed(&app, candidate, start, (from, to))
    });
    let broken = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a replay broke off");
        Problem::unavailable("the records could not be read; ask again")
    };
    done.await.map_err(|error| broken(&error))?
}

fn moment(member: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let at = wire::time::parse(text);
    at.map(Some)
        .ok_or_else(|| Problem::malformed(format!("`{member}` is not a time as in RFC 3339")))
}

/// The policies of a body. They are loaded as any set is, and what is wrong with them is told.
fn candidate(files: Option<BTreeMap<String, String>>) -> Result<Candidate, Problem> {
    let Some(files) = files else {
        return Ok(Candidate::default());
    };
    let is_name = |name: &str| {
        (name.ends_with(".cedar") || name.ends_with(".cedarschema")) && !name.contains(['/', '\\'])
    };
    if files.len() > FILES_MAX || !files.keys().all(|name| is_name(name)) {
        return Err(Problem::malformed(format!(
            "`files` are at most {FILES_MAX}, named `*.cedar` or `*.cedarschema`, without folders"
        )));
    }
    let files: Vec<SourceFile> = files
        .into_iter()
        .map(|(name, text)| SourceFile::new(name, text))
        .collect();
    let policies = Policies::load(&files)
        .map_err(|problems| Problem::malformed(format!("the policies do not load: {problems}")))?;
    Ok(Candidate {
        policies: Some(Arc::new(policies)),
        ..Candidate::default()
    })
}

fn replayed(
    app: &App,
    candidate: Candidate,
    start: Option<(Timestamp, Position)>,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
) -> Result<Response, Problem> {
    let revision = candidate.policies.as_ref();
    let revision = revision.map(|policies| policies.revision().to_owned());
    let store = app.state.store().clone();
    let sources = Sources::new(
        Archive::new(store),
        app.settings.models.clone(),
        candidate,
        Handle::current(),
    );
    let job = Job {
        from,
        to,
        only_accesses: false,
        // What answers needs the others.
        workers: 1,
    };
    // What was decided earlier and is within the time too is left out.
    let before = start.as_ref().map(|(at, _)| *at);
    let mut report = Report {
        examples_max: EXAMPLES,
        cut_short: before.is_some_and(|at| from.is_none_or(|from| at >= from)),
        ..Report::default()
    };
    let started = Instant::now();
    // Enough of the time that a request has is left to write the answer.
    let budget = app.settings.limits.request_timeout / 2;
    let done = run(job, &sources, &mut report, |each| {
        let mut position = start.map(|(_, position)| position);
        let until = *app.journal.durable().borrow();
        loop {
            let read = journal::read_from(app.journal.folder(), position.as_ref(), until, CHUNK)?;
            let Some(last) = read.records.last() else {
                return Ok(false);
            };
            position = Some(last.after.clone());
            for record in &read.records {
                each(&record.body)?;
            }
            if started.elapsed() > budget {
                return Ok(true);
            }
        }
    });
    let out_of_time = done.map_err(|error: io::Error| {
        tracing::error!(%error, "the journal could not be read for a replay");
        Problem::unavailable("the records could not be read; ask again")
    })?;
    report.cut_short |= out_of_time;
    let mut value = report.to_json();
    if let Some(members) = value.as_object_mut() {
        members.insert("candidate".to_owned(), json!({ "policies": revision }));
        members.insert("self_check".to_owned(), json!(revision.is_none()));
    }
    json(&value)
}
