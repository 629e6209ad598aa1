//! Sessions that are opened with the engine: open, read, list, end, end all of a subject.

use std::sync::Arc;

use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::{IntoResponse, Response};
use domain::{EntityRef, Rung, SessionRecord, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use store::sqlite::{SessionFilter, SessionsOf, StoredSession};
use wire::Malformed;

use super::Problem;
use super::authn::{Asker, Authenticated};
use super::authzen::{json as answer, read_body, read_object};
use super::entities::query;
use super::guard::RequestId;
use super::path::Id;
use crate::access::{Caller, Permission};
use crate::administrator::{Admitted, admit};
use crate::app::App;
use crate::revoking::{REASON_MAX, RevokeError};
use crate::sessions::granting::{Grant, NoGrant, grant, refresh_in};
use crate::sessions::opening::{self, NotOpened, Opened};
use crate::sessions::{ending, name};

/// Sessions on one page at most, and where nobody says how many.
const PAGE_MAX: usize = 1000;
const PAGE: usize = 100;

const FORM: &str = r#"{"subject": {"type": …, "id": …}, "context": {"ip": …, "user_agent": …,
"device": {…}, "assurance": {…}, "token": {"audience": …, "scope": …}}}"#;

/// What a session is opened with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted<'a> {
    #[serde(borrow, default)]
    subject: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "wire::object")]
    context: Option<serde_json::Map<String, Value>>,
}

/// `POST /v1/sessions`: a decision by the same `decide` as every other, then a session, and tokens
/// if they are wished for.
pub(super) async fn open(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::CreateSessions)?;
    let body = read_body(&app, request).await?;
    let request_id = request_id.to_text();
    // To its end, whether or not the client waits: half of it would be a session nobody has.
    let work = async move { open_session(&app, &asker.caller, &body, &request_id).await };
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => {
            tracing::error!(%error, "the opening of a session broke off");
            Err(Problem::unavailable("no session was opened; ask again"))
        }
    }
}

async fn open_session(
    app: &App,
    caller: &Caller,
    body: &[u8],
    request_id: &str,
) -> Result<Response, Problem> {
    let Admitted { request, .. } = wanted(app, caller, body)?;
    let context = request.context.clone();
    let opened = opening::open(app, caller, request, request_id)
        .await
        .map_err(|why| not_opened(app, caller, why))?;
    let mut told = view(&opened.session, app.inputs.clock.now());
    let mut put = |name: &str, value: Value| {
        if let Some(members) = told.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
    };
    put("handle", opened.handle.as_str().into());
    if let Some(decision) = &opened.decision {
        put("decision_id", decision.decision_id.as_str().into());
    }
    if let Some(wish) = &context.token {
        let session = &opened.session;
        let granted = if app.keys.permits(caller, Permission::MintTokens) {
            grant(app, caller, session, context.clone(), wish, request_id).await
        } else {
            Err(NoGrant {
                error: "unauthorized_client",
                why: "the key may not get tokens".to_owned(),
                acr_values: None,
            })
        };
        match granted {
            Ok(grant) => put("token", tokens(&grant, app.inputs.clock.now())),
            Err(why) => put("token_error", no_tokens(&why)),
        }
    }
    created(&opened, &told)
}

fn created(opened: &Opened, told: &Value) -> Result<Response, Problem> {
    let mut response = answer(told)?;
    *response.status_mut() = StatusCode::CREATED;
    let place = format!("/v1/sessions/{}", opened.session.id);
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(LOCATION, place);
    }
    Ok(response)
}

/// The question that a wish for a session is, without what the caller may not say.
fn wanted(app: &App, caller: &Caller, body: &[u8]) -> Result<Admitted, Problem> {
    let malformed = |Malformed(why): Malformed| Problem::malformed(format!("{why}; write {FORM}"));
    let Wanted { subject, context } = wire::read::<Wanted<'_>>(body).map_err(malformed)?;
    let subject = subject.ok_or_else(|| malformed(Malformed("`subject` is missing".to_owned())))?;
    let mut context = context.unwrap_or_default();
    // The engine gives the id, and nobody else (E5, F21): what the caller called it before is
    // none of it.
    context.remove("session_id");
    if context.remove("dry_run").is_some_and(|dry| dry != false) {
        return Err(Problem::malformed(
            "a session cannot be opened as a dry run; ask with `/access/v1/evaluation`",
        ));
    }
    // It goes by the engine's clock.
    context.remove("time");
    let id = name::new_id(&*app.inputs.randomness);
    let question = json!({
        "subject": subject,
        "action": { "name": opening::ACTION },
        "resource": { "type": opening::RESOURCE_TYPE, "id": id },
        "context": context,
    });
    let incoming = wire::request::parse(question.to_string().as_bytes()).map_err(malformed)?;
    Ok(admit(app, caller, incoming, app.inputs.clock.now())?)
}

fn not_opened(app: &App, caller: &Caller, why: NotOpened) -> Problem {
    let error_type = match &why {
        NotOpened::NotAllowed(_) | NotOpened::UnknownSubject => "not_allowed",
        NotOpened::Unanswered(_) => "not_decided",
        NotOpened::Store(_) | NotOpened::Journal(_) => "unavailable",
    };
    app.metrics.session_error(&caller.client_id, error_type);
    match why {
        NotOpened::Unanswered(why) => why.into(),
        NotOpened::UnknownSubject => Problem::refused("the subject is not known here"),
        NotOpened::NotAllowed(answered) => {
            let decision = &answered.outcome.decision;
            let told = json!({
                "decision_id": answered.decision_id,
                "outcome": decision.rung.as_str(),
            });
            let problem = match (decision.rung, answered.acr_values()) {
                (Rung::Challenge | Rung::Mfa, Some(acr_values)) => {
                    Problem::step_up(&decision.reason.user, acr_values)
                }
                _ => Problem::refused(&decision.reason.user),
            };
            problem.with_errors(vec![told])
        }
        NotOpened::Store(error) => failed(&error),
        NotOpened::Journal(error) => failed(&error),
    }
}

fn failed(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "sessions cannot be read or written");
    Problem::unavailable("the sessions cannot be reached; ask again in a moment")
}

/// RFC 6749 §5.1, and when to refresh (T13).
fn tokens(grant: &Grant, now: Timestamp) -> Value {
    let access = &grant.access;
    json!({
        "access_token": access.text,
        "token_type": access.token_type,
        "expires_in": access.life_seconds,
        "scope": access.scope,
        "refresh_token": grant.refresh.refresh_token.as_str(),
        "refresh_expires_in": grant.refresh.expires_at.whole_seconds_since(now),
        "refresh_in": refresh_in(access.life_seconds),
    })
}

fn no_tokens(why: &NoGrant) -> Value {
    let mut told = json!({ "error": why.error, "error_description": why.why });
    if let (Some(members), Some(acr_values)) = (told.as_object_mut(), &why.acr_values) {
        members.insert("acr_values".to_owned(), acr_values.as_str().into());
        members.insert("max_age".to_owned(), 0.into());
    }
    told
}

/// A session as its owner may see it. Never its handle.
fn view(session: &SessionRecord, now: Timestamp) -> Value {
    let subject = &session.subject;
    let birth = &session.birth;
    let assurance = &session.assurance;
    let time = wire::time::format;
    let terms = session.terms.as_ref();
    let idle_until = terms.map(|terms| {
        session
            .last_seen
            .plus_seconds(terms.idle_seconds)
            .min(terms.expires_at)
    });
    json!({
        "id": session.id,
        "subject": { "type": subject.kind.as_str(), "id": subject.id.as_str() },
        "client_id": terms.map(|terms| terms.client_id.as_str()),
        "active": !session.is_over(now),
        "created_at": time(birth.at),
        "last_seen_at": time(session.last_seen),
        "expires_at": terms.map(|terms| time(terms.expires_at)),
        "idle_expires_at": idle_until.map(time),
        "accesses": terms.map(|terms| terms.accesses),
        "elevated": assurance.level >= domain::Level::Challenge,
        "assurance": {
            "level": assurance.level.number(),
            "since": assurance.at.map(time),
        },
        "birth": {
            "ip": birth.ip,
            "country": birth.country.as_ref().map(domain::signal::Country::as_str),
            "asn": birth.asn,
            "agent": birth.agent_family,
            "device_id": birth.device_id,
        },
    })
}

fn stored_view(stored: &StoredSession, now: Timestamp) -> Value {
    let mut told = view(&stored.record, now);
    if let Some(members) = told.as_object_mut() {
        let regenerated = stored.handle_at.map(wire::time::format);
        members.insert("handle_since".to_owned(), regenerated.into());
        if let Some((at, why)) = &stored.ended {
            members.insert("ended_at".to_owned(), wire::time::format(*at).into());
            members.insert("ended_reason".to_owned(), why.as_str().into());
        }
    }
    told
}

/// A session that the asker may see or end: a client its own, or any by permission; a subject
/// its own. Others are not there.
async fn find(
    app: &App,
    asker: &Asker,
    id: &str,
    any: Permission,
) -> Result<StoredSession, Problem> {
    if name::is_handle(id) {
        return Err(Problem::malformed(
            "a handle is secret and has no place in a path; send the session's id",
        ));
    }
    let nothing = || Problem::not_found("there is no such session of this client");
    let found = app.state.store().stored_session(id).await;
    let mut stored = found.map_err(|error| failed(&error))?.ok_or_else(nothing)?;
    let owner = stored.record.terms.as_ref().map(|terms| &terms.client_id);
    let is_theirs = match asker {
        Asker::Client(asker) => {
            owner == Some(&asker.caller.client_id) || app.keys.permits(&asker.caller, any)
        }
        Asker::Holder { holder, .. } => owner.is_some() && stored.record.subject == holder.subject,
    };
    if !is_theirs {
        return Err(nothing());
    }
    // What was seen of it since it was last written.
    let now = app.inputs.clock.now();
    if let domain::Signal::Known(newer) = app.state.session(&stored.record.id, now).await {
        stored.record = SessionRecord::clone(&newer);
    }
    Ok(stored)
}

/// `GET /v1/sessions/{id}`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    asker: Asker,
    Id(id): Id,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadSessions)?;
    let stored = find(&app, &asker, &id, Permission::ReadAnySessions).await?;
    answer(&stored_view(&stored, app.inputs.clock.now()))
}

/// Which sessions, which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    client_id: Option<String>,
    /// Those that can be used, and no others.
    #[serde(default)]
    active: Option<bool>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

/// `GET /v1/sessions?subject=&client_id=&active=&after=&limit=`: those opened last first. A
/// subject is shown its own.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asker: Asker,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    asker.require(Permission::ReadSessions)?;
    let asked = query(asked)?;
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::malformed(format!("`limit` is 1 to {PAGE_MAX}")));
    }
    let subject = asked.subject.as_deref().map(subject_of).transpose()?;
    let (client_id, subject) = match &asker {
        Asker::Client(asker) => (client_of(&app, asker, asked.client_id.as_deref())?, subject),
        Asker::Holder { holder, .. } => {
            if subject.is_some_and(|subject| subject != holder.subject) {
                return Err(Problem::forbidden(Permission::ReadAnySessions.action()));
            }
            (asked.client_id.as_deref(), Some(holder.subject.clone()))
        }
    };
    let now = app.inputs.clock.now();
    let after = asked.after.as_deref().map(place_of).transpose()?;
    let filter = SessionFilter {
        client_id,
        subject: subject.as_ref(),
        live_at: asked.active.unwrap_or_default().then_some(now),
        after: after.as_ref().map(|(at, id)| (*at, id.as_str())),
    };
    let page = app.state.store().sessions_page(filter, limit + 1).await;
    let mut page = page.map_err(|error| failed(&error))?;
    let more = page.len() > limit;
    page.truncate(limit);
    let mut told = json!({
        "sessions": page.iter().map(|stored| stored_view(stored, now)).collect::<Vec<_>>(),
    });
    if let (Some(members), Some(last)) = (told.as_object_mut(), page.last().filter(|_| more)) {
        let place = format!("{}.{}", last.record.birth.at.millis(), last.record.id);
        members.insert("next".to_owned(), place.into());
    }
    answer(&told)
}

/// Whose sessions a client is shown: those of the client it asks for; none: everybody's.
fn client_of<'a>(
    app: &App,
    asker: &'a Authenticated,
    asked: Option<&'a str>,
) -> Result<Option<&'a str>, Problem> {
    let own = asker.caller.client_id.as_str();
    if app.keys.permits(&asker.caller, Permission::ReadAnySessions) {
        Ok(asked)
    } else if asked.is_some_and(|other| other != own) {
        Err(Problem::forbidden(Permission::ReadAnySessions.action()))
    } else {
        Ok(Some(own))
    }
}

/// A place in the order of a list, as `next` says it.
fn place_of(text: &str) -> Result<(Timestamp, String), Problem> {
    text.split_once('.')
        .and_then(|(millis, id)| {
            let at = Timestamp::from_millis(millis.parse().ok()?);
            Some((at, id.to_owned()))
        })
        .ok_or_else(|| Problem::malformed("`after` is what `next` said on the page before"))
}

/// A subject, as tokens say it (`User/alice`) or as Cedar does (`User::"alice"`).
fn subject_of(text: &str) -> Result<EntityRef, Problem> {
    let cedar = || {
        let (kind, id) = text.rsplit_once("::")?;
        let id = id
            .strip_prefix('"')
            .map_or(id, |id| id.trim_end_matches('"'));
        EntityRef::new(kind, id).ok()
    };
    token::claims::parse_subject(text)
        .or_else(cedar)
        .ok_or_else(|| {
            Problem::malformed(
                "a subject is written as in tokens, `User/alice`; in a path `User%2Falice`",
            )
        })
}

/// Why something is ended.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    #[serde(default)]
    reason: Option<String>,
}

impl Because {
    fn word(&self) -> Result<&str, Problem> {
        match self.reason.as_deref() {
            None | Some("") => Ok("ended"),
            Some(reason) if reason.len() <= REASON_MAX => Ok(reason),
            Some(_) => Err(Problem::malformed(format!(
                "`reason` is longer than {REASON_MAX} bytes"
            ))),
        }
    }
}

/// `DELETE /v1/sessions/{id}?reason=`: ends it, its refresh tokens and its access tokens. Ended
/// again it is as ended as before.
pub(super) async fn end(
    State(app): State<Arc<App>>,
    asker: Asker,
    Id(id): Id,
    because: Result<Query<Because>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    asker.require(Permission::EndSessions)?;
    let because = query(because)?;
    because.word()?;
    let stored = find(&app, &asker, &id, Permission::EndAnySessions).await?;
    let by = asker.name().to_owned();
    to_the_end(async move {
        let why = because.word().unwrap_or_default();
        let id = &stored.record.id;
        Ok(ending::end(&app, id, &by, why).await?)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The subject of a path in one part or, type and id, in two.
pub(super) struct Whose(EntityRef);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Whose {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Problem> {
        let named = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Path(named) = named.map_err(|_| {
            Problem::malformed("the subject in the path is not percent-encoded UTF-8")
        })?;
        match named.as_slice() {
            [(_, subject)] => subject_of(subject).map(Self),
            [(_, kind), (_, id)] => EntityRef::new(kind.as_str(), id.as_str())
                .map(Self)
                .map_err(|error| Problem::malformed(format!("type or id in the path {error}"))),
            _ => Err(Problem::malformed("the path names no subject")),
        }
    }
}

/// `POST /v1/subjects/{id}/sessions/end` `{"reason"?}`: ends every session of a subject. With the
/// permission to end anybody's, everything that the subject was given is revoked with them.
pub(super) async fn end_all(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    Whose(subject): Whose,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::EndSessions)?;
    let has_body = request
        .headers()
        .contains_key(axum::http::header::CONTENT_TYPE);
    let because: Because = if has_body {
        read_object(&app, request, r#"{"reason": …}"#).await?
    } else {
        Because::default()
    };
    because.word()?;
    let caller = asker.caller.clone();
    let any = app.keys.permits(&caller, Permission::EndAnySessions);
    let ended = to_the_end(async move {
        let of = SessionsOf {
            subject: &subject,
            client_id: (!any).then_some(caller.client_id.as_str()),
        };
        let why = because.word().unwrap_or_default();
        ending::end_all(&app, of, &caller.key_id, why).await
    })
    .await?;
    answer(&json!({ "ended": ended }))
}

/// Does it, whether or not the client waits: half of it would leave the memory as it was.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, RevokeError>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}
