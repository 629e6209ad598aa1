//! `POST /v1/sessions`.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::Response;
use domain::{AccessRequest, Name, Rung, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use store::sqlite::SessionProof;
use wire::Malformed;

use super::{failed, view};
use crate::access::{Caller, Permission};
use crate::administrator::admit;
use crate::app::App;
use crate::http::Problem;
use crate::http::authn::Authenticated;
use crate::http::authzen::{json as answer, read_json};
use crate::http::client_certificate::Shown;
use crate::http::guard::RequestId;
use crate::http::oauth::proof;
use crate::http::to_the_end::to_the_end;
use crate::issuers::{self, External, NotBelieved};
use crate::sessions::ending::{self, By};
use crate::sessions::granting::{Grant, NoGrant, grant, refresh_in};
use crate::sessions::name;
use crate::sessions::opening::{self, NotOpened, Opened};

/// Its path, as proofs name it.
const PATH: &str = "/v1/sessions";

const FORM: &str = r#"{"subject": {"type": …, "id": …} or "subject_token": …, "context": {"ip": …, "user_agent": …,
"device": {…}, "assurance": {…}, "token": {"audience": …, "scope": …}}}"#;

const NOT_BELIEVED: &str = "`subject_token` is not valid, or of no issuer that is configured";

/// What a session is opened with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted<'a> {
    #[serde(borrow, default)]
    subject: Option<&'a RawValue>,
    /// A token of a configured issuer, instead of a subject that the caller states.
    #[serde(default)]
    subject_token: Option<String>,
    #[serde(default, deserialize_with = "wire::object")]
    context: Option<serde_json::Map<String, Value>>,
}

/// `POST /v1/sessions`: a decision by the same `decide` as every other, then a session, and tokens
/// if they are wished for.
pub(in crate::http) async fn open(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::CreateSessions)?;
    let headers = request.headers().clone();
    let shown = request.extensions().get::<Shown>().cloned();
    let body = read_json(&app, request).await?;
    let (mut asked, proven) = wanted(&app, &asker.caller, &body).await?;
    let context = &mut asked.context;
    if context.token.is_some() || context.device.is_some() {
        let own = proof::bind(
            &app,
            (&headers, shown.as_ref()),
            PATH,
            context.token.as_mut(),
        );
        let own = own.map_err(|error| Problem::malformed(error.description()))?;
        if let Some(device) = &mut context.device {
            device.proven = device.proven.take().or(own);
        }
    }
    let request_id = request_id.to_text();
    // To its end, whether or not the client waits: half of it would be a session nobody has.
    let work =
        async move { open_session(&app, &asker.caller, asked, proven.as_ref(), &request_id).await };
    to_the_end("the opening of a session", work).await?
}

async fn open_session(
    app: &App,
    caller: &Caller,
    request: AccessRequest,
    proven: Option<&External>,
    request_id: &str,
) -> Result<Response, Problem> {
    let context = request.context.clone();
    let opened = opening::open(app, caller, request, request_id)
        .await
        .map_err(|why| not_opened(app, caller, why))?;
    let now = app.inputs.clock.now();
    if let Some(proven) = proven {
        let store = app.state.store();
        let proof = SessionProof {
            token: &proven.id,
            issuer: &proven.issuer,
            sid: proven.sid.as_deref(),
        };
        let noted = store.note_session_proof(&opened.session.id, &proof);
        noted.await.map_err(|error| failed(&error))?;
    }
    if proven.is_some_and(|proven| proven.revoked_by(app, &caller.client_id, now).is_some()) {
        // While the session was made, so whoever revoked did not see it.
        let ended = ending::end(app, &opened.session.id, By::SYSTEM, "revoked").await;
        ended.map_err(|error| failed(&error))?;
        return Err(Problem::malformed(NOT_BELIEVED));
    }
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
async fn wanted(
    app: &App,
    caller: &Caller,
    body: &[u8],
) -> Result<(AccessRequest, Option<External>), Problem> {
    let malformed = |why: String| Problem::malformed(format!("{why}; write {FORM}"));
    let wanted = wire::read::<Wanted<'_>>(body).map_err(|Malformed(why)| malformed(why))?;
    let mut context = wanted.context.unwrap_or_default();
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
    let now = app.inputs.clock.now();
    let proven = match (&wanted.subject, &wanted.subject_token) {
        (Some(_), None) => None,
        (None, Some(token)) => Some(believed(app, caller, token, now).await?),
        _ => return Err(malformed("give `subject` or `subject_token`".to_owned())),
    };
    let subject = match &proven {
        Some(proven) => json!({
            "type": proven.subject.kind.as_str(),
            "id": proven.subject.id.as_str(),
        }),
        None => json!(wanted.subject),
    };
    let id = name::new_id(&*app.inputs.randomness);
    let question = json!({
        "subject": subject,
        "action": { "name": opening::ACTION },
        "resource": { "type": opening::RESOURCE_TYPE, "id": id },
        "context": context,
    });
    let incoming = wire::request::parse(question.to_string().as_bytes());
    let incoming = incoming.map_err(|Malformed(why)| malformed(why))?;
    let mut request = admit(app, caller, incoming, now)?.request;
    if let Some(proven) = &proven {
        let context = &mut request.context;
        // The issuer's word counts, and not the caller's.
        context.assurance = Some(proven.assurance);
        if let (Some(wish), Some(scope)) = (&mut context.token, &proven.scope) {
            // No wider than what proves who it is.
            let has = |wanted: &Name| scope.split(' ').any(|own| own == wanted.as_str());
            wish.scope.retain(has);
        }
    }
    Ok((request, proven))
}

/// What a token of another issuer says of the subject.
pub(super) async fn believed(
    app: &App,
    caller: &Caller,
    token: &str,
    now: Timestamp,
) -> Result<External, Problem> {
    let external = issuers::verify(app, caller, token, now)
        .await
        .map_err(|why| match why {
            NotBelieved::NoKeys => {
                Problem::unavailable("the issuer's keys cannot be had at the moment; ask again")
            }
            _ => Problem::malformed(NOT_BELIEVED),
        })?;
    if external.cnf.is_some() {
        return Err(Problem::malformed(
            "`subject_token` is bound to a key that cannot be proven here; exchange it at \
             `/oauth2/token`",
        ));
    }
    Ok(external)
}

fn not_opened(app: &App, caller: &Caller, why: NotOpened) -> Problem {
    let error_type = match &why {
        NotOpened::NotAllowed(_) | NotOpened::UnknownSubject => "not_allowed",
        NotOpened::Unanswered(_) => "not_decided",
        NotOpened::Store(_) | NotOpened::Journal(_) | NotOpened::NoHandle => "unavailable",
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
        NotOpened::NoHandle => failed(&why),
        NotOpened::Journal(error) => failed(&error),
    }
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
