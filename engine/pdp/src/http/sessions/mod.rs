//! Sessions that are opened with the engine: [`open`], read and list, [`end`].

mod end;
mod open;
mod step_up;

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use domain::{EntityRef, SessionRecord, Timestamp};
use risk::behaviour::{Analysis, WINDOW_SECONDS};
use serde::Deserialize;
use serde_json::{Value, json};
use store::sqlite::{SessionFilter, StoredSession};

use super::Problem;
use super::authn::{Asker, Authenticated};
use super::authzen::json as answer;
use super::path::Id;
use super::query::{limit, query};
use crate::access::Permission;
use crate::app::App;
use crate::behaviour;
use crate::sessions::name;

pub(super) use end::{Whose, end, end_all};
pub(super) use open::open;
pub(super) use step_up::step_up;

/// Sessions on one page at most, and where nobody says how many.
const PAGE_MAX: usize = 1000;
const PAGE: usize = 100;

pub(super) fn failed(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "sessions cannot be read or written");
    Problem::unavailable("the sessions cannot be reached; ask again in a moment")
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
        "tier": terms.map(|terms| terms.tier.as_str()),
        "required_level": terms
            .and_then(|terms| terms.wanted)
            .map(|wanted| wanted.level.number()),
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
            "agent_version": birth.agent_version,
            "device_id": birth.device_id,
            "os": birth.os,
            "os_version": birth.os_version,
            "fingerprint": birth.fingerprint,
        },
    })
}

pub(crate) fn stored_view(stored: &StoredSession, now: Timestamp) -> Value {
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
    let now = app.inputs.clock.now();
    let mut told = stored_view(&stored, now);
    // Not for the subject: who probes is not told how far to go.
    let sees_risk = matches!(
        &asker,
        Asker::Client(asker) if app.keys.permits(&asker.caller, Permission::SeeRisk)
    );
    if let (Some(members), true) = (told.as_object_mut(), sees_risk) {
        let analysis = analysed(&app, &stored.record, now).await;
        members.insert("behaviour".to_owned(), behaviour_view(&analysis));
    }
    answer(&told)
}

/// What is done in a session, by now.
async fn analysed(app: &App, session: &SessionRecord, now: Timestamp) -> Analysis {
    let subject = &session.subject;
    let profile = app.state.profile(subject, now).await;
    let profile = profile.known().map(|profile| &**profile);
    behaviour::described(app, &session.id, subject.kind.as_str(), profile, now)
}

/// The window of the last five minutes (M15).
fn behaviour_view(analysis: &Analysis) -> Value {
    let features = analysis.features.named();
    let features: serde_json::Map<String, Value> = features
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(rounded(value))))
        .collect();
    let deviations = analysis.deviations.iter().map(|it| {
        json!({
            "feature": it.feature,
            "value": rounded(it.value),
            "usual": rounded(it.usual),
            "times": rounded(it.times),
        })
    });
    let patterns = analysis.suspicious_patterns.iter();
    json!({
        "window_seconds": WINDOW_SECONDS,
        "anomaly_score": analysis.anomaly_score,
        "features": features,
        "deviations": deviations.collect::<Vec<_>>(),
        "suspicious_patterns": patterns.map(|it| it.as_str()).collect::<Vec<_>>(),
        "recommendation": analysis.recommendation.as_str(),
    })
}

/// To hundredths: what is counted in single precision says no more.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
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
    let limit = limit(asked.limit, PAGE, PAGE_MAX)?;
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
pub(super) fn subject_of(text: &str) -> Result<EntityRef, Problem> {
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
