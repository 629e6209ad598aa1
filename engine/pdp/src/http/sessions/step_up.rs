//! `POST /v1/sessions/{id}/step-up`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use domain::{Level, SessionRecord, Timestamp};
use serde::Deserialize;

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
    let (level, at) = match (passed.level, &passed.subject_token) {
        (Some(level), None) => stated(app, caller, level, passed.time.as_deref())?,
        (None, Some(token)) if passed.time.is_none() => proven(app, caller, session, token).await?,
        _ => return Err(Problem::malformed(format!("write {FORM}"))),
    };
    Ok(Proof {
        level,
        at,
        decision_id: passed.decision_id,
    })
}

/// What the caller says.
fn stated(
    app: &App,
    caller: &Caller,
    level: i64,
    time: Option<&str>,
) -> Result<(Level, Timestamp), Problem> {
    let level = Level::from_number(level)
        .filter(|level| *level >= Level::Challenge)
        .ok_or_else(|| Problem::malformed("`level` is 2 for a challenge or 3 for MFA"))?;
    let wrong = || Problem::malformed("`time` is not a time as in RFC 3339");
    let time = time
        .map(|text| wire::time::parse(text).ok_or_else(wrong))
        .transpose()?;
    let at = step_up::moment(app, caller, time);
    Ok((level, at.map_err(|error| not_done(error.into()))?))
}

/// What the issuer says: the same subject has authenticated since the session began. Whoever does
/// so with one factor has confirmed once more who they are: that is a challenge.
async fn proven(
    app: &App,
    caller: &Caller,
    session: &SessionRecord,
    token: &str,
) -> Result<(Level, Timestamp), Problem> {
    let now = app.inputs.clock.now();
    let external = believed(app, caller, token, now).await?;
    if external.subject != session.subject {
        return Err(Problem::refused("`subject_token` is another subject's"));
    }
    let stale = || {
        Problem::refused(
            "`subject_token` does not say that its subject has authenticated since the session \
             began (`auth_time`, and `acr` or `amr`); ask the issuer with `max_age=0`",
        )
    };
    let at = external.assurance.at.ok_or_else(stale)?;
    if at.seconds() < session.birth.at.seconds() {
        return Err(stale());
    }
    match external.assurance.level {
        Level::None => Err(stale()),
        level => Ok((level.max(Level::Challenge), at.min(now))),
    }
}

fn not_done(why: NotDone) -> Problem {
    match why {
        NotDone::Over | NotDone::NoDecision => Problem::not_found(why.to_string()),
        NotDone::StepUp(StepUpError::InTheFuture) => Problem::malformed(why.to_string()),
        NotDone::StepUp(StepUpError::OfAnother) => Problem::refused(why.to_string()),
        NotDone::StepUp(StepUpError::Told(error)) => failed(&error),
    }
}
