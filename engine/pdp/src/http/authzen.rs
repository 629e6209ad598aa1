//! OpenID AuthZEN Authorization API 1.0: one question, many questions, metadata.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::batch::BatchError;
use wire::{AnswerView, Batch, Incoming, Malformed, Semantic};

use super::Problem;
use super::authn::Authenticated;
use super::body;
use super::client_certificate::Shown;
use super::guard::RequestId;
use super::oauth::proof;
use super::to_the_end::to_the_end;
use crate::access::Permission;
use crate::administrator::{Answered, answer};
use crate::app::App;
use crate::sessions::name::is_engines;

/// Paths, as proofs name them.
const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";

/// `POST /access/v1/evaluation` (AuthZEN §6).
pub(super) async fn evaluation(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::Evaluate)?;
    let headers = request.headers().clone();
    let shown = request.extensions().get::<Shown>().cloned();
    let body = read_json(&app, request).await?;
    let mut incoming =
        wire::request::parse(&body).map_err(|Malformed(why)| Problem::malformed(why))?;
    bind(&app, (&headers, shown.as_ref()), EVALUATION, &mut incoming)?;
    let answered = answer_one(app, asker, incoming, id.to_text()).await?;
    json(&answered.view())
}

/// Answers one question. What a decision does to a session of the engine's (it ends, tightens, has
/// another handle) is done to its end once it is decided, whether or not anybody waits; all other
/// decisions change the memory alone, and a task of their own would cost each of them more than it
/// is worth.
async fn answer_one(
    app: Arc<App>,
    asker: Authenticated,
    incoming: Incoming,
    id: String,
) -> Result<Answered, Problem> {
    let named = incoming.request.context.session_id.as_deref();
    if !named.is_some_and(is_engines) {
        return Ok(answer(&app, &asker.caller, incoming, false, &id).await?);
    }
    let work = async move { answer(&app, &asker.caller, incoming, false, &id).await };
    Ok(to_the_end("a decision in a session", work).await??)
}

/// `POST /access/v1/evaluations` (AuthZEN §7). A batch asks, it does not access: nothing is
/// learnt from it, and no token is minted.
pub(super) async fn evaluations(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::Evaluate)?;
    let headers = request.headers().clone();
    let shown = request.extensions().get::<Shown>().cloned();
    let body = read_json(&app, request).await?;
    let batch = wire::batch::parse(&body, app.settings.limits.batch).map_err(|why| match why {
        BatchError::Malformed(Malformed(why)) => Problem::malformed(why),
        BatchError::TooMany(..) | BatchError::TooLarge(..) => Problem::too_large(why.to_string()),
    })?;
    match batch {
        Batch::Single(mut incoming) => {
            bind(&app, (&headers, shown.as_ref()), EVALUATIONS, &mut incoming)?;
            let answered = answer_one(app, asker, *incoming, id.to_text()).await?;
            json(&answered.view())
        }
        Batch::Items { semantic, items } => {
            let answers = answer_all(&app, &asker, &id, semantic, items).await?;
            let evaluations = answers.iter().map(Item::written).collect();
            json(&Evaluations { evaluations })
        }
    }
}

/// Takes the key that came with a question: it proves the device that is named, and the token that
/// is wished for is bound to it.
fn bind(
    app: &App,
    came: (&HeaderMap, Option<&Shown>),
    path: &str,
    incoming: &mut Incoming,
) -> Result<(), Problem> {
    let context = &mut incoming.request.context;
    if context.token.is_none() && context.device.is_none() {
        return Ok(());
    }
    incoming.proven = proof::bind(app, came, path, context.token.as_mut())
        .map_err(|error| Problem::malformed(error.description()))?;
    Ok(())
}

enum Item {
    Answered(Box<Answered>),
    Failed(Problem),
}

impl Item {
    fn is_allowed(&self) -> bool {
        match self {
            Self::Answered(answered) => answered.outcome.decision.rung == domain::Rung::Allow,
            Self::Failed(_) => false,
        }
    }

    fn written(&self) -> WrittenItem<'_> {
        match self {
            Self::Answered(answered) => WrittenItem::Answer(answered.view()),
            Self::Failed(problem) => {
                let (status, message) = problem.item();
                let error = ItemError { status, message };
                WrittenItem::Failed {
                    decision: false,
                    context: FailedContext { error },
                }
            }
        }
    }
}

/// Answers items at the same time, in the order in which they were asked where the semantic
/// needs it.
async fn answer_all(
    app: &Arc<App>,
    asker: &Authenticated,
    id: &RequestId,
    semantic: Semantic,
    items: Vec<Result<Incoming, Malformed>>,
) -> Result<Vec<Item>, Problem> {
    let request_id = id.to_text();
    let one = async |item: Result<Incoming, Malformed>| match item {
        Err(Malformed(why)) => Ok(Item::Failed(Problem::malformed(why))),
        Ok(incoming) => match answer(app, &asker.caller, incoming, true, &request_id).await {
            Ok(answered) => Ok(Item::Answered(Box::new(answered))),
            Err(why @ crate::administrator::Unanswered::Malformed(_)) => {
                Ok(Item::Failed(why.into()))
            }
            // A record that cannot be kept is a fault of the engine, not of the item.
            Err(why) => Err(Problem::from(why)),
        },
    };
    if semantic == Semantic::ExecuteAll {
        // Together, so that their records share the journal's groups.
        return futures_util::future::try_join_all(items.into_iter().map(one)).await;
    }
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let answer = one(item).await?;
        let stop = answer.is_allowed() == (semantic == Semantic::PermitOnFirstPermit);
        answers.push(answer);
        if stop {
            break;
        }
    }
    Ok(answers)
}

#[derive(Serialize)]
struct Evaluations<'a> {
    evaluations: Vec<WrittenItem<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WrittenItem<'a> {
    Answer(AnswerView<'a>),
    Failed {
        decision: bool,
        context: FailedContext<'a>,
    },
}

#[derive(Serialize)]
struct FailedContext<'a> {
    error: ItemError<'a>,
}

#[derive(Serialize)]
struct ItemError<'a> {
    status: u16,
    message: &'a str,
}

/// `GET /.well-known/authzen-configuration` (AuthZEN §9). What is not built is left out.
pub(super) async fn configuration(State(app): State<Arc<App>>) -> Response {
    let url = app.public_url();
    let body = serde_json::json!({
        "policy_decision_point": url,
        "access_evaluation_endpoint": format!("{url}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{url}/access/v1/evaluations"),
        "search_subject_endpoint": format!("{url}/access/v1/search/subject"),
        "search_resource_endpoint": format!("{url}/access/v1/search/resource"),
        "search_action_endpoint": format!("{url}/access/v1/search/action"),
    });
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, body.to_string()).into_response()
}

/// The body of a request that must be JSON. AuthZEN wants 400 where axum would say 415 or 422.
pub(super) async fn read_json(
    app: &App,
    request: Request<Body>,
) -> Result<axum::body::Bytes, Problem> {
    read_json_up_to(app.settings.limits.body_bytes, request).await
}

async fn read_json_up_to(
    most: usize,
    request: Request<Body>,
) -> Result<axum::body::Bytes, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::malformed(
            "the Content-Type must be application/json",
        ));
    }
    read_body_up_to(most, request).await
}

/// The body of a request that must be a JSON object of some form, which people are told when it
/// is not.
pub(super) async fn read_object<T: DeserializeOwned>(
    app: &App,
    request: Request<Body>,
    form: &str,
) -> Result<T, Problem> {
    read_object_up_to(app.settings.limits.body_bytes, request, form).await
}

/// The same, of at most so many bytes.
pub(super) async fn read_object_up_to<T: DeserializeOwned>(
    most: usize,
    request: Request<Body>,
    form: &str,
) -> Result<T, Problem> {
    let body = read_json_up_to(most, request).await?;
    wire::read(&body).map_err(|Malformed(why)| Problem::malformed(format!("{why}; write {form}")))
}

/// The body of a request, whatever it is, within its limit.
pub(super) async fn read_body(
    app: &App,
    request: Request<Body>,
) -> Result<axum::body::Bytes, Problem> {
    read_body_up_to(app.settings.limits.body_bytes, request).await
}

/// The same, of at most so many bytes.
pub(super) async fn read_body_up_to(
    most: usize,
    request: Request<Body>,
) -> Result<axum::body::Bytes, Problem> {
    let too_large = || Problem::too_large(format!("the body is larger than {most} bytes"));
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let (parts, body) = request.into_parts();
    let read = body::read(&parts, body, most).await?;
    read.ok_or_else(too_large)
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
        })
}

pub(super) fn json(body: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        Problem::unavailable("the answer could not be written")
    })?;
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, text).into_response())
}
