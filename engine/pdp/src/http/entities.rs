//! Stored entities: who is in which group, what a document's label is.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use axum::http::{StatusCode, request::Parts};
use axum::response::{IntoResponse, Response};
use domain::EntityRef;
use policy::{Finding, Shown, Source};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wire::Malformed;
use wire::json::Object;

use super::Problem;
use super::authn::Authenticated;
use super::authzen::{json, read_body_up_to};
use super::query::{limit, query};
use crate::access::Permission;
use crate::app::App;
use crate::entities::{Condition, Done, RefusedError, Wish};

/// Entities on one page at most.
const PAGE_MAX: usize = 1000;
/// Entities on one page, where nobody says how many.
const PAGE: usize = 100;
/// Where people are told how many entities there are to a line.
const FORM: &str =
    r#"{"uid": {"type": …, "id": …}, "attrs": {…}, "parents": [{"type": …, "id": …}]}"#;

/// Type and id in a path, decoded.
pub(super) struct Named(EntityRef);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((kind, id)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| {
                Problem::malformed("type and id in the path are not UTF-8 in percent-encoding")
            })?;
        EntityRef::new(kind, id)
            .map(Self)
            .map_err(|error| Problem::malformed(format!("type or id in the path {error}")))
    }
}

/// The reason of a change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    #[serde(default)]
    why: Option<String>,
}

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

impl From<RefusedError> for Problem {
    fn from(why: RefusedError) -> Self {
        match why {
            RefusedError::Unfit(findings) => {
                let told = findings.first().map_or_else(String::new, |(_, finding)| {
                    format!("{finding}; see `errors`")
                });
                Self::unfit(told).with_errors(findings.iter().map(|(_, f)| told_of(f)).collect())
            }
            RefusedError::Change(_) | RefusedError::TooMany(..) => Self::unfit(why.to_string()),
            RefusedError::InFile(_) => Self::conflict(why.to_string()),
            RefusedError::NotStored => Self::not_found(why.to_string()),
            RefusedError::Condition => Self::condition_failed(why.to_string()),
            RefusedError::LongWhy => Self::malformed(why.to_string()),
            RefusedError::Store(_) | RefusedError::Broken(_) => {
                tracing::error!(error = %why, "entities were not changed");
                Self::unavailable("the entities cannot be changed at the moment; send it again")
            }
        }
    }
}

fn told_of(finding: &Finding) -> Value {
    json!({ "path": finding.path, "message": finding.message, "help": finding.help })
}

fn failed(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "entities could not be read");
    Problem::unavailable("the entities cannot be read at the moment; ask again")
}

/// An entity as it is shown.
fn view(shown: &Shown) -> Value {
    let mut body: Value = serde_json::from_str(&shown.text).unwrap_or_default();
    if let Some(members) = body.as_object_mut() {
        members.insert(
            "uid".to_owned(),
            json!({ "type": shown.kind, "id": shown.id }),
        );
        members.insert("source".to_owned(), json!(shown.source.as_str()));
        if shown.over_file {
            members.insert("over_file".to_owned(), json!(true));
        }
    }
    body
}

fn with_tag(mut response: Response, tag: Option<&str>) -> Response {
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(tag).ok()) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// `GET /v1/entities/{type}/{id}`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Named(name): Named,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadEntities)?;
    let snapshot = Arc::clone(&app.live.current());
    let not_found = || Problem::not_found("no such entity is stored");
    let shown = snapshot.directory.shown(&snapshot.policies, &name);
    let shown = shown.ok_or_else(not_found)?;
    let tag = app.entity_tag(&snapshot, &name).await;
    let tag = tag.map_err(|error| failed(&error))?;
    Ok(with_tag(json(&view(&shown))?, tag.as_deref()))
}

/// `GET /v1/entities?type=&after=&limit=`, in the order of type and id.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadEntities)?;
    let asked = query(asked)?;
    let limit = limit(asked.limit, PAGE, PAGE_MAX)?;
    let after = match &asked.after {
        None => None,
        Some(after) => {
            let after = after.split_once('/').ok_or_else(|| {
                Problem::malformed("`after` is what an earlier page gave as `next`")
            })?;
            Some((after.0.to_owned(), after.1.to_owned()))
        }
    };
    let snapshot = Arc::clone(&app.live.current());
    let page = tokio::task::spawn_blocking(move || {
        let after = after.as_ref();
        let after = after.map(|(kind, id)| (kind.as_str(), id.as_str()));
        let directory = &snapshot.directory;
        // One more than is shown says whether there is another page.
        let page = directory.page(asked.kind.as_deref(), after, limit + 1);
        (page, Arc::clone(&snapshot.revisions.entities))
    });
    let (mut page, revision) = page.await.map_err(|error| failed(&error))?;
    let is_last = page.len() <= limit;
    page.truncate(limit);
    let next = page.last().filter(|_| !is_last);
    json(&json!({
        "revision": &*revision,
        "entities": page.iter().map(view).collect::<Vec<_>>(),
        "next": next.map(|shown| format!("{}/{}", shown.kind, shown.id)),
    }))
}

/// The condition of a change, from its headers (RFC 9110 §13.1).
fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    let header = |name: &HeaderName| -> Result<Option<String>, Problem> {
        let Some(value) = headers.get(name) else {
            return Ok(None);
        };
        let text = value.to_str().map(|text| text.trim().to_owned());
        text.map(Some)
            .map_err(|_| Problem::malformed(format!("`{name}` is not an entity tag")))
    };
    let is_new = match header(&IF_NONE_MATCH)?.as_deref() {
        None => false,
        Some("*") => true,
        Some(_) => return Err(Problem::malformed("`If-None-Match` can only be `*` here")),
    };
    let tag = header(&IF_MATCH)?;
    if tag.as_deref().is_some_and(|tag| !tag.starts_with('"')) {
        return Err(Problem::malformed(
            "`If-Match` is one entity tag, as `ETag` gave it, with its quotes",
        ));
    }
    Ok(Condition { tag, is_new })
}

/// `PUT /v1/entities/{type}/{id}`.
pub(super) async fn write(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Named(name): Named,
    because: Result<Query<Because>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::WriteEntities)?;
    let because = query(because)?;
    let condition = condition(request.headers())?;
    let most = app.settings.limits.body_bytes;
    let body = read_body_up_to(most, request).await?;
    let wish = Wish {
        name: name.clone(),
        body: Some(strict(&body)?),
    };
    let by = asker.caller.by();
    let done = app.change_entities(vec![wish], condition, by, because.why);
    let done = done.await?;
    let answer = answer(&app, &name, &done).await?;
    let status = if done.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, answer).into_response())
}

/// `DELETE /v1/entities/{type}/{id}`: an entity of the file that it went over shows again.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Named(name): Named,
    because: Result<Query<Because>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::WriteEntities)?;
    let because = query(because)?;
    let condition = condition(request.headers())?;
    let wish = Wish {
        name: name.clone(),
        body: None,
    };
    let by = asker.caller.by();
    let done = app.change_entities(vec![wish], condition, by, because.why);
    answer(&app, &name, &done.await?).await
}

async fn answer(app: &App, name: &EntityRef, done: &Done) -> Result<Response, Problem> {
    on_record(done)?;
    let snapshot = Arc::clone(&app.live.current());
    let source = snapshot.directory.source(&snapshot.policies, name);
    let tag = match (done.number, source) {
        (Some(number), Some(Source::Api)) => Some(format!("\"{number}\"")),
        _ => app
            .entity_tag(&snapshot, name)
            .await
            .map_err(|error| failed(&error))?,
    };
    let body = json(&json!({
        "revision": &*done.revision,
        "changed": done.changed > 0,
        "source": source.map(Source::as_str),
    }))?;
    Ok(with_tag(body, tag.as_deref()))
}

fn on_record(done: &Done) -> Result<(), Problem> {
    done.recorded.as_ref().map_err(|error| {
        tracing::error!(%error, "entities were changed and are not on record");
        Problem::unavailable(
            "it is stored and counts, but is not on record yet; the engine tries again with the \
             next change",
        )
    })?;
    Ok(())
}

/// `POST /v1/entities`: one entity a line, all of them or none.
pub(super) async fn load(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    because: Result<Query<Because>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::WriteEntities)?;
    let because = query(because)?;
    let most = app.settings.limits.upload_bytes;
    let body = read_body_up_to(most, request).await?;
    let read = tokio::task::spawn_blocking(move || lines(&body)).await;
    let (wishes, numbers) = read.map_err(|error| failed(&error))??;
    let by = asker.caller.by();
    let taken = wishes.len();
    let done = app.change_entities(wishes, Condition::default(), by, because.why);
    let done = match done.await {
        Err(RefusedError::Unfit(findings)) => {
            let at = |position: usize| numbers.get(position).copied().unwrap_or_default();
            let told = findings.first().map_or_else(String::new, |(position, f)| {
                format!(
                    "nothing was stored; line {}: {f}; see `errors`",
                    at(*position)
                )
            });
            let errors = findings.iter().map(|(position, finding)| {
                let mut told = told_of(finding);
                if let Some(members) = told.as_object_mut() {
                    members.insert("line".to_owned(), json!(at(*position)));
                }
                told
            });
            return Err(Problem::unfit(told).with_errors(errors.collect()));
        }
        done => done?,
    };
    on_record(&done)?;
    json(&json!({
        "taken": taken,
        "changed": done.changed,
        "revision": &*done.revision,
    }))
}

#[derive(Deserialize)]
struct Uid {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

/// A line: the name, and the rest as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    uid: Uid,
    #[serde(default, borrow)]
    attrs: Option<&'a RawValue>,
    #[serde(default, borrow)]
    parents: Option<&'a RawValue>,
    #[serde(default, borrow)]
    tags: Option<&'a RawValue>,
}

/// The entities, and the line of each, from 1.
fn lines(body: &[u8]) -> Result<(Vec<Wish>, Vec<usize>), Problem> {
    let (mut wishes, mut numbers) = (Vec::new(), Vec::new());
    let mut seen = std::collections::HashSet::new();
    for (number, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let number = number + 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |why: &dyn std::fmt::Display| {
            Problem::malformed(format!(
                "nothing was stored; line {number}: {why}; write one entity a line: {FORM}"
            ))
        };
        strict(line).map_err(|problem| wrong(&problem.item().1))?;
        let read: Line<'_> = wire::read(line).map_err(|Malformed(why)| wrong(&why))?;
        let name = EntityRef::new(read.uid.kind, read.uid.id).map_err(|error| wrong(&error))?;
        if !seen.insert(name.clone()) {
            return Err(wrong(&format!("{name} comes twice")));
        }
        let members = [
            ("attrs", read.attrs),
            ("parents", read.parents),
            ("tags", read.tags),
        ];
        let members: Vec<String> = members
            .into_iter()
            .filter_map(|(name, value)| Some(format!("\"{name}\":{}", value?.get())))
            .collect();
        wishes.push(Wish {
            name,
            body: Some(format!("{{{}}}", members.join(","))),
        });
        numbers.push(number);
    }
    if wishes.is_empty() {
        return Err(Problem::malformed(format!(
            "the body is empty: write one entity a line: {FORM}"
        )));
    }
    Ok((wishes, numbers))
}

/// A JSON object without a member that comes twice, at whatever depth, as text.
fn strict(body: &[u8]) -> Result<String, Problem> {
    wire::read::<Object>(body).map_err(|Malformed(why)| Problem::malformed(why))?;
    String::from_utf8(body.to_vec()).map_err(|_| Problem::malformed("the body is not UTF-8"))
}
