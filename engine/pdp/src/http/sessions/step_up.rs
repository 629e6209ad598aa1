//! `POST /v1/sessions/{id}/step-up`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use domain::{Level, SessionRecord, Timestamp};
use serde::Deserialize;
use store::sqlite::SpentProof;

use super::open::believed;
use super::{failed, find, view};
use crate::access::{Caller, Permission};
use crate::app::App;
use crate::http::Problem;
use crate::http::authn::Asker;
use crate::http::authzen::{json as answer, read_object};
use crate::http::path::Id;
use crate::http::to_the_end::to_the_end;
use crate::sessions::stepping_up::{self, NotDone, Proof};
use crate::step_up::{self, StepUpError};

const FORM: &str =
    r#"{"level": 2 or 3} or {"subject_token": …}, and "decision_id" where it answers one"#;

/// Seconds past its end for which a spent token is remembered: longer than the clocks of issuers are
/// allowed to differ from ours.
const COMES_AGAIN_SECONDS: i64 = 60;

/// What was passed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Passed {
    #[serde(default)]
    level: Option<i64>,
    #[serde(default)]
    time: Option<String>,
    /// A token of a configured issuer, fresh from the step-up.
    #[serde(default)]
    subject_token: Option<String>,
    #[serde(default)]
    decision_id: Option<String>,
}

/// `POST /v1/sessions/{id}/step-up`: a challenge or MFA was passed in a session. From a client that
/// is trusted to say so, or with a fresh token of the issuer before whom it was passed.
pub(in crate::http) async fn step_up(
    State(app): State<Arc<App>>,
    asker: Asker,
    Id(id): Id,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::ConfirmDecisions)?;
    let session = find(&app, &asker, &id, Permission::ConfirmAnyDecisions).await?;
    let Asker::Client(asker) = asker else {
        // Nobody vouches for themselves.
        return Err(Problem::forbidden(Permission::ConfirmDecisions.action()));
    };
    let session = session.record;
    let passed: Passed = read_object(&app, request, FORM).await?;
    let proof = proof(&app, &asker.caller, &session, passed).await?;
    let work = async move {
        let done = stepping_up::step_up(&app, &asker.caller, &session, proof).await;
        done.map(|done| (done, app.inputs.clock.now()))
    };
    let done = to_the_end("a step-up", work).await?;
    let (done, now) = done.map_err(not_done)?;
    let mut told = view(&done.lifted.session, now);
    if let Some(members) = told.as_object_mut() {
        if let Some(handle) = &done.lifted.handle {
            members.insert("handle".to_owned(), handle.as_str().into());
        }
        if let Some(decision_id) = done.decision_id {
            members.insert("decision_id".to_owned(), decision_id.into());
        }
        members.insert("learnt".to_owned(), done.learnt.into());
    }
    answer(&told)
}

async fn proof(
    app: &App,
    caller: &Caller,
    session: &SessionRecord,
    passed: Passed,
) -> Result<Proof, Problem> {
    let mut proof = match (passed.level, &passed.subject_token) {
        (Some(level), None) => stated(app, caller, level, passed.time.as_deref())?,
        (None, Some(token)) if passed.time.is_none() => proven(app, caller, session, token).await?,
        _ => return Err(Problem::malformed(format!("write {FORM}"))),
    };
    proof.decision_id = passed.decision_id;
    Ok(proof)
}

/// What the caller says.
fn stated(app: &App, caller: &Caller, level: i64, time: Option<&str>) -> Result<Proof, Problem> {
    let level = Level::from_number(level)
        .filter(|level| *level >= Level::Challenge)
        .ok_or_else(|| Problem::malformed("`level` is 2 for a challenge or 3 for MFA"))?;
    let wrong = || Problem::malformed("`time` is not a time as in RFC 3339");
    let time = time
        .map(|text| wire::time::parse(text).ok_or_else(wrong))
        .transpose()?;
    let at = step_up::moment(app, caller, time);
    Ok(Proof {
        level,
        at: at.map_err(|error| not_done(error.into()))?,
        decision_id: None,
        spends: None,
    })
}

/// What the issuer says: the same subject has authenticated since the session began, and since it was
/// last stepped up, tightened, or asked for a proof. Whoever does so with one factor has confirmed
/// once more who they are: that is a challenge. A token is good for one step-up.
async fn proven(
    app: &App,
    caller: &Caller,
    session: &SessionRecord,
    token: &str,
) -> Result<Proof, Problem> {
    let now = app.inputs.clock.now();
    let external = believed(app, caller, token, now).await?;
    if external.subject != session.subject {
        return Err(Problem::refused("`subject_token` is another subject's"));
    }
    let stale = || {
        Problem::refused(
            "`subject_token` does not say that its subject has authenticated since the session \
             began and since it last took or wanted a proof (`auth_time`, and `acr` or `amr`); ask \
             the issuer with `max_age=0`",
        )
    };
    let at = external.assurance.at.ok_or_else(stale)?;
    if at.seconds() <= last_proof(session).seconds() || external.assurance.level == Level::None {
        return Err(stale());
    }
    let store = app.state.store();
    if store
        .is_spent(&external.id)
        .await
        .map_err(|error| failed(&error))?
    {
        return Err(spent());
    }
    Ok(Proof {
        level: external.assurance.level.max(Level::Challenge),
        at: at.min(now),
        decision_id: None,
        spends: Some(SpentProof {
            name: external.id,
            at: now,
            until: Timestamp::from_seconds(external.exp).plus_seconds(COMES_AGAIN_SECONDS),
        }),
    })
}

/// What an authentication must be later than, to say anything new of a session. An issuer tells
/// whole seconds: one of the same second may have been before.
fn last_proof(session: &SessionRecord) -> Timestamp {
    let terms = session.terms.as_ref();
    [
        terms.and_then(|terms| terms.stepped_up_at),
        terms.and_then(|terms| terms.tightened_at),
        terms
            .and_then(|terms| terms.wanted)
            .map(|wanted| wanted.since),
    ]
    .into_iter()
    .flatten()
    .fold(session.birth.at, Timestamp::max)
}

fn spent() -> Problem {
    Problem::refused(
        "a step-up was passed by this `subject_token` before; ask the issuer for another with \
         `max_age=0`",
    )
}

fn not_done(why: NotDone) -> Problem {
    match why {
        _ if why.is_spent() => spent(),
        NotDone::Over | NotDone::NoDecision => Problem::not_found(why.to_string()),
        NotDone::StepUp(StepUpError::InTheFuture) => Problem::malformed(why.to_string()),
        NotDone::StepUp(StepUpError::OfAnother) => Problem::refused(why.to_string()),
        NotDone::StepUp(StepUpError::Told(error)) => failed(&error),
    }
}
