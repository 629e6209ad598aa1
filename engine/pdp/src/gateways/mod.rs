//! What gateways ask about requests of their clients: who the client is, which route its request
//! takes, what the engine decides of it, and what the gateway gets back.
//!
//! ```text
//! http::gateway, grpc ─▶ Asked ─▶ subject     whose credential came, verified
//!                                 route       the first that matches: gateway::Routes
//!                                 flow        administrator, as for any other question
//!                              ◀─ answer      status and headers: gateway::Door::reply
//! ```
//!
//! [`check`] never fails: every trouble is a reply, and none of them is 2xx. Nothing but an allow
//! that is on record is answered 200.

mod answer;
pub(crate) mod certificate;
mod complaints;
mod cookie;
pub(crate) mod routes;
mod subject;
mod token;

use std::sync::Arc;

use ::token::certificate::ClientCertificate;
use axum::http::{HeaderMap, HeaderValue};
use domain::request::RequestContext;
use domain::{AccessRequest, EntityRef, Name, Rung};
use gateway::{
    Door, NoRoute, Original, OriginalFault, Peer, Question, Reply, Verdict, forwarded, pages,
};

use crate::access::{Caller, Permission};
use crate::administrator::{Admitted, Answered, Unanswered, answer_admitted};
use crate::app::App;
use crate::client::Client;
use crate::http::authn::Entered;
use crate::http::to_the_end::to_the_end;
use crate::load::Overloaded;
use crate::sessions::name::is_engines;

pub(crate) use complaints::{Complaint, Complaints};
use subject::{NotKnown, Resolved};

/// What callers need to ask here: the permissions that an access takes.
const NEEDED: [Permission; 2] = [Permission::Evaluate, Permission::Access];

/// A question of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    /// The gateway.
    pub(crate) caller: &'a Caller,
    /// What holds for it: [`door`].
    pub(crate) door: &'a Door,
    /// The client's request, as far as it has one reading.
    pub(crate) original: Result<Original, OriginalFault>,
    /// Who connected, and to whom.
    pub(crate) peer: Peer,
    /// The client's headers, as the gateway passes them on.
    pub(crate) headers: &'a HeaderMap,
    /// The client's certificate, verified: [`certificate::shown`] or [`certificate::verified`].
    pub(crate) client_certificate: Option<Arc<ClientCertificate>>,
    /// What ties question, record and log together.
    pub(crate) request_id: &'a str,
}

/// What a gateway gets back.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// The answer.
    pub(crate) reply: Reply,
    /// What was decided, where anything was.
    pub(crate) told: Option<Told>,
}

/// What was decided, for a gateway's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The outcome.
    pub(crate) outcome: Rung,
    /// The decision, as the journal names it.
    pub(crate) decision_id: String,
    /// 0 to 100; none where the caller may not see risk.
    pub(crate) score: Option<u8>,
    /// `LOW`, `MEDIUM` or `HIGH`; none where the caller may not see risk.
    pub(crate) level: Option<&'static str>,
    /// The policies that settled it.
    pub(crate) policies: Vec<String>,
    /// Who was asked about.
    pub(crate) subject: EntityRef,
    /// The session's public id.
    pub(crate) session: Option<String>,
}

/// What holds for a caller: what the settings say of the name of its key, or what they say of all.
pub(crate) fn door<'a>(app: &'a App, caller: &Caller) -> &'a Door {
    let gateway = &app.settings.gateway;
    if gateway.callers().next().is_none() {
        return gateway.door(None);
    }
    gateway.door(app.keys.name(caller).as_deref())
}

/// What is answered to whoever is no gateway here, whatever they sent: the client cannot mend it,
/// so it is never a 401. Where it cannot be told whether they are one, it is a 503.
pub(crate) fn not_a_gateway(app: &App, complaint: Complaint) -> Reply {
    not_a_gateway_since(app, complaint, None)
}

/// The same, with what operators are told of it.
pub(crate) fn not_a_gateway_since(app: &App, complaint: Complaint, why: Option<&str>) -> Reply {
    app.gateway_complaints
        .note_why(complaint, app.inputs.clock.now(), why);
    let door = app.settings.gateway.door(None);
    if complaint == Complaint::KeyUnknown {
        let verdict = Verdict::Unavailable("who asks cannot be told at the moment; try again");
        return refused(app, door, &verdict).reply;
    }
    app.metrics.door.gateway_answered("not_a_gateway");
    let verdict = Verdict::Refused("whoever asks is no gateway here");
    door.reply(None, None, &verdict)
}

/// What is answered where there is no question to look at.
pub(crate) fn refused(app: &App, door: &Door, verdict: &Verdict<'_>) -> Checked {
    answer::refuse(app, door, None, verdict)
}

/// What the app gets of a client's cookies where the session's is among them: the others, which may
/// be none. The session is the engine's and its gateway's alone. None: they go as they came.
pub(crate) fn cookies_of_app(door: &Door, headers: &HeaderMap) -> Option<HeaderValue> {
    let is_there = door.cookie.read(headers) != Ok(None);
    is_there.then(|| door.cookie.others(headers))
}

/// Counts a question of a caller as under way, if it may ask here and there is room for it. Needs
/// nothing of the question.
///
/// # Errors
/// What is answered instead.
pub(crate) fn enter(app: &Arc<App>, door: &Door, caller: &Caller) -> Result<Entered, Box<Checked>> {
    if !NEEDED.iter().all(|one| app.keys.permits(caller, *one)) {
        return Err(Box::new(Checked {
            reply: not_a_gateway(app, Complaint::Role),
            told: None,
        }));
    }
    if !app.load.has_room_for(&caller.client_id) {
        app.metrics.door.shed();
        let verdict = Verdict::Unavailable(&Overloaded.to_string());
        return Err(Box::new(refused(app, door, &verdict)));
    }
    Entered::client(app, &caller.client_id).map_err(|why| {
        let retry_after_seconds = why.retry_after().unwrap_or(1).into();
        let verdict = Verdict::TooMany {
            retry_after_seconds,
        };
        Box::new(refused(app, door, &verdict))
    })
}

/// Answers a gateway whose question counts as under way: [`enter`]. Every trouble is a reply.
pub(crate) async fn check(app: &Arc<App>, asked: Asked<'_>) -> Checked {
    let door = asked.door;
    let refuse = |verdict: &Verdict<'_>| answer::refuse(app, door, None, verdict);
    let now = app.inputs.clock.now();
    let original = match &asked.original {
        Ok(original) => original,
        Err(fault) => {
            if matches!(fault, OriginalFault::NotTrusted(_)) {
                app.gateway_complaints.note(Complaint::NotTrusted, now);
            }
            return refuse(&fault.verdict(&fault.to_string()));
        }
    };
    if let Err(fault) = door.identity.spelled(asked.headers) {
        return refuse(&fault.verdict(&fault.to_string()));
    }
    let ip = match forwarded::client(asked.peer, asked.headers, &door.trust) {
        Ok(ip) => ip,
        Err(fault) => return refuse(&Verdict::Malformed(&fault.to_string())),
    };
    let resolved = subject::resolve(app, &asked, original, now).await;
    let known = resolved.as_ref().ok().and_then(Option::as_ref);
    let question = Question {
        original,
        headers: asked.headers,
        credential: known.map(Resolved::credential),
    };
    let matched = match (&resolved, door.routes.find(&question)) {
        // What is not valid may be left out by anybody: it keeps nobody from what is for all.
        (Err(NotKnown::Invalid { .. }), Ok(matched)) if matched.route.is_for_anybody() => matched,
        (Err(why), found) => {
            let route = found.as_ref().ok().map(|matched| matched.route);
            return answer::not_known(app, door, (route, &question), why);
        }
        (Ok(_), Ok(matched)) => matched,
        (Ok(_), Err(why)) => {
            if why
                == (NoRoute::NoMatch {
                    needs_credential: false,
                })
            {
                app.gateway_complaints.note(Complaint::NoRoute, now);
            }
            let why_text = why.to_string();
            return answer::refuse(app, door, Some(&question), &why.verdict(&why_text));
        }
    };
    let route = matched.route;
    let mut request = match matched.evaluation(&question, ip) {
        Ok(request) => request,
        Err(fault) => {
            let why = fault.to_string();
            return answer::refuse_at(app, door, route, &question, &fault.verdict(&why));
        }
    };
    let known = known.filter(|_| !route.is_for_anybody());
    if let Some(refused) = known.and_then(|known| answer::out_of_scope(known, &request)) {
        return answer::refuse_scope(app, door, (route, &question), &refused);
    }
    if known.is_some_and(|known| known.is_sent_by_browsers)
        && let Err(why) = pages::check(original, asked.headers, &door.credentials.origins)
    {
        let why = why.to_string();
        return answer::refuse_at(app, door, route, &question, &Verdict::Refused(&why));
    }
    let subject = request.subject.entity.clone();
    let mut client = take_over(app, &mut request, known);
    client.comes_from = ip.filter(|_| route.is_for_anybody());
    let admitted = Admitted {
        request,
        now,
        moment: now,
        claims_assurance: false,
        client,
    };
    match put(app, &asked, admitted).await {
        Ok(answered) => {
            let at = answer::At {
                door,
                route,
                question: &question,
                known,
                subject: &subject,
                now,
            };
            answer::answered(app, &at, answered)
        }
        Err(why) => {
            let why = match why {
                Unanswered::Overloaded(why) => why.to_string(),
                Unanswered::TooOften(why) => {
                    let verdict = Verdict::TooMany {
                        retry_after_seconds: why.retry_after_seconds.into(),
                    };
                    return answer::refuse_at(app, door, route, &question, &verdict);
                }
                Unanswered::Proof(why) => {
                    let text = why.to_string();
                    let verdict = answer::not_proven(why, &text);
                    return answer::refuse_at(app, door, route, &question, &verdict);
                }
                Unanswered::Malformed(why) => why,
                Unanswered::NotRecorded(cause) => {
                    tracing::error!(%cause, "a gateway's question was decided and not recorded");
                    "the decision could not be recorded; ask again in a moment".to_owned()
                }
            };
            answer::refuse_at(app, door, route, &question, &Verdict::Unavailable(&why))
        }
    }
}

/// Puts the question. What a decision does to a session of the engine's is done to its end, whether
/// or not the gateway waits.
async fn put(
    app: &Arc<App>,
    asked: &Asked<'_>,
    admitted: Admitted,
) -> Result<Answered, Unanswered> {
    let named = admitted.request.context.session_id.as_deref();
    if !named.is_some_and(is_engines) {
        return answer_admitted(app, asked.caller, admitted, false, asked.request_id).await;
    }
    let (app, caller) = (Arc::clone(app), asked.caller.clone());
    let id = asked.request_id.to_owned();
    let work = async move { answer_admitted(&app, &caller, admitted, false, &id).await };
    let done = to_the_end("a gateway's decision in a session", work).await;
    done.unwrap_or_else(|_| Err(store::journal::AppendError::NotWritten.into()))
}

/// Says in the question what is known of the client: assurance, actor, session, proven key.
fn take_over(app: &App, request: &mut AccessRequest, known: Option<&Resolved>) -> Client {
    let subject = &request.subject.entity;
    let context = &mut request.context;
    let mut client = Client::default();
    let Some(known) = known else { return client };
    context.assurance = known.assurance;
    context.actor.clone_from(&known.actor);
    if let Some(device) = &mut context.device {
        device.proven.clone_from(&known.proven);
    }
    client.proof.clone_from(&known.proof);
    let is_another = *subject != known.subject;
    // Where a route asks about another, the engine's own sessions hold all the same: they must be
    // neither over nor wait for anything. An issuer's word is none of that other's.
    let named = known.session.as_ref();
    if let Some(session) = named.filter(|session| !is_another || session.is_engines()) {
        client.names_session_by_token = name_session(context, session);
        client.holder = is_another.then(|| known.subject.clone());
    }
    if let (Some(wish), Some(scope)) = (&mut context.token, &known.scope) {
        // What comes of a token is never more than that one.
        wish.scope.retain(|word| is_in(scope, word));
        if wish.scope.is_empty() {
            wish.scope.push(request.action.name.clone());
        }
    }
    if let (Some(wish), Some(original)) = (&context.token, &known.original) {
        let mut original = original.clone();
        // The gateway has seen the proof, and the app cannot: it is for the gateway's URL and the
        // client's token. What opens a gateway again needs it again.
        if !opens_a_gateway(app, &wish.audience) {
            original.cnf = None;
        }
        client.original = Some(original);
    }
    client
}

/// Whether a token of ours for this audience counts at any gateway, or at the engine itself.
fn opens_a_gateway(app: &App, audience: &str) -> bool {
    let gateway = &app.settings.gateway;
    let doors = [None].into_iter().chain(gateway.callers().map(Some));
    let mut doors = doors.map(|caller| gateway.door(caller));
    audience == app.public_url() || doors.any(|door| door.credentials.has_audience(audience))
}

fn name_session(context: &mut RequestContext, session: &subject::Session) -> bool {
    match session {
        subject::Session::Handle(handle) => {
            context.session_id = Some(handle.clone());
            false
        }
        subject::Session::Token(id) => {
            context.session_id = Some(id.clone());
            true
        }
        subject::Session::Word(word) => {
            context.session_id = Some(word.clone());
            false
        }
    }
}

/// Whether a scope has this word.
fn is_in(scope: &str, word: &Name) -> bool {
    scope.split(' ').any(|known| known == word.as_str())
}
