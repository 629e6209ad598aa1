//! `/v1/revocations`: what those who run the engine take back, and what was taken back.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use domain::{EntityRef, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use store::sqlite::{RevocationRow, SessionsOf, StoreError};
use token::claims::{parse_subject, subject};
use token::revocation::{Entry, Kind};

use super::Problem;
use super::authn::Authenticated;
use super::authzen::{json, read_object};
use super::query::{limit, query};
use super::to_the_end::to_the_end;
use crate::access::Permission;
use crate::administrator::CLOCK_SKEW_SECONDS;
use crate::app::App;
use crate::revoking::{NAME_MAX, REASON_MAX, Revocation, RevokeError, revoke_with};
use crate::sessions::ending::{self, By};
use crate::sessions::name::is_id;

const FORM: &str = r#"one of {"session": "ses_…"}, {"subject": {"type": "User", "id": "alice"}}, {"family": "…"}, {"client": "sk_…"}, {"issuer_before": "2026-01-31T12:00:00Z"} and {"jti": "…"}, with a "reason" if there is one"#;

/// Revocations on a page.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1000;

/// Who: as AuthZEN writes it, or as `sub` does.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Subject {
    Named(Named),
    Claim(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    subject: Option<Subject>,
    #[serde(default)]
    family: Option<String>,
    #[serde(default)]
    client: Option<String>,
    #[serde(default)]
    issuer_before: Option<String>,
    #[serde(default)]
    jti: Option<String>,
    /// With `subject` or `client`: up to when, instead of up to now.
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// `POST /v1/revocations`: durable and in effect when it is answered.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    request: Request,
) -> Result<Response, Problem> {
    asker.require(Permission::RevokeAnyTokens)?;
    let sent: Sent = read_object(&app, request, FORM).await?;
    let reason = sent.reason.clone();
    if reason
        .as_ref()
        .is_some_and(|reason| reason.len() > REASON_MAX)
    {
        return Err(Problem::malformed(format!(
            "`reason` is longer than {REASON_MAX} bytes"
        )));
    }
    let is_up_to_now = sent.before.is_none();
    let entry = entry(&app, sent)?;
    let revocation = Revocation {
        entry,
        by: asker.caller.by(),
        subject: None,
        reason: reason.clone(),
        ends_at: None,
        is_own: false,
    };
    // To its end, whether or not the client waits: half of it would be durable and not in effect.
    let work = async move {
        let by = revocation.by.clone();
        let done = revoke_with(&app, revocation).await?;
        let by = By::client(&asker.caller, &by);
        end_sessions(&app, &done.entry, is_up_to_now, by, reason).await?;
        Ok::<_, RevokeError>(done)
    };
    let done = to_the_end("a revocation", work).await?.map_err(refused)?;
    let mut body = named(
        done.entry.kind().as_str(),
        done.entry.id(),
        done.entry.before(),
    );
    if let Some(members) = body.as_object_mut() {
        members.insert(
            "kept_until".to_owned(),
            wire::time::format(done.until).into(),
        );
        members.insert("already".to_owned(), done.already.into());
    }
    json(&body)
}

/// Sessions end with what they stand for, so that the next access in them is denied: the one, those
/// that a token of another issuer opened, or all of the subject. With a moment that is past it is not told which of them began by then, and
/// none ends.
async fn end_sessions(
    app: &App,
    entry: &Entry,
    is_up_to_now: bool,
    by: By<'_>,
    reason: Option<String>,
) -> Result<(), StoreError> {
    let why = reason.as_deref().unwrap_or("revoked");
    match entry {
        Entry::Session(id) => {
            ending::end(app, id, by, why).await?;
        }
        Entry::SubjectNotBefore { subject, .. } => {
            if let Some(subject) = parse_subject(subject).filter(|_| is_up_to_now) {
                let of = SessionsOf {
                    subject: &subject,
                    client_id: None,
                };
                ending::end_live(app, of, by, why).await?;
            }
        }
        // Of another issuer's token: what it opened.
        Entry::Jti(name) => {
            for id in app.state.store().sessions_proven_by(name).await? {
                ending::end(app, &id, by, why).await?;
            }
        }
        Entry::Family(_) | Entry::Client { .. } | Entry::IssuerEpoch { .. } => {}
    }
    Ok(())
}

fn refused(error: RevokeError) -> Problem {
    tracing::error!(%error, "nothing was revoked");
    match error {
        RevokeError::Full | RevokeError::Share => Problem::unavailable(error.to_string()),
        RevokeError::Store(_) => {
            Problem::unavailable("the revocation could not be recorded; send it again")
        }
    }
}

/// The one thing that is to be revoked.
fn entry(app: &App, sent: Sent) -> Result<Entry, Problem> {
    let told = [
        sent.session.is_some(),
        sent.subject.is_some(),
        sent.family.is_some(),
        sent.client.is_some(),
        sent.issuer_before.is_some(),
        sent.jti.is_some(),
    ];
    if told.into_iter().filter(|told| *told).count() != 1 {
        return Err(Problem::malformed(format!("write {FORM}")));
    }
    let before = sent.before.as_deref().map(|text| time("before", text));
    let before = before.transpose()?;
    if before.is_some() && sent.subject.is_none() && sent.client.is_none() {
        return Err(Problem::malformed(
            "`before` goes with `subject` and `client`; the others end for good",
        ));
    }
    let before = before.unwrap_or(Timestamp::MAX);
    if let Some(who) = sent.subject {
        let subject = sub(&who)?;
        return Ok(Entry::SubjectNotBefore { subject, before });
    }
    if let Some(client) = sent.client {
        // A key that came by rotation stands for its client.
        let client_id = app.keys.client_of(&id("client", client)?);
        return Ok(Entry::Client { client_id, before });
    }
    if let Some(text) = sent.issuer_before {
        let before = time("issuer_before", &text)?;
        return Ok(Entry::IssuerEpoch { before });
    }
    if let Some(session) = sent.session {
        // A caller's own word is not its alone: others may use the same.
        if !is_id(&session) {
            return Err(Problem::malformed(
                "`session` is the id `ses_…` of a session that was opened with the engine; for a \
                 word of a client's own revoke `subject` or `jti`",
            ));
        }
        return Ok(Entry::Session(id("session", session)?));
    }
    if let Some(family) = sent.family {
        return Ok(Entry::Family(id("family", family)?));
    }
    let jti = sent.jti.unwrap_or_default();
    Ok(Entry::Jti(id("jti", jti)?))
}

fn time(member: &str, text: &str) -> Result<Timestamp, Problem> {
    wire::time::parse(text)
        .ok_or_else(|| Problem::malformed(format!("`{member}` is not a time as in RFC 3339")))
}

fn sub(who: &Subject) -> Result<String, Problem> {
    let wrong = || {
        Problem::malformed(
            r#"`subject` is {"type": "User", "id": "alice"}, or the text of `sub`, "User/alice""#,
        )
    };
    let named = match who {
        Subject::Named(Named { kind, id }) => {
            EntityRef::new(kind.as_str(), id.as_str()).map_err(|_| wrong())?
        }
        Subject::Claim(text) => parse_subject(text).ok_or_else(wrong)?,
    };
    Ok(subject(named.kind.as_str(), named.id.as_str()))
}

fn id(member: &str, text: String) -> Result<String, Problem> {
    let is_id = (1..=NAME_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if is_id {
        Ok(text)
    } else {
        Err(Problem::malformed(format!(
            "`{member}` is 1 to {NAME_MAX} bytes without control characters"
        )))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    before: Option<u64>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
}

/// `GET /v1/revocations?before=&kind=&id=&limit=`: what was revoked and is not over for long, the
/// newest first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asker: Authenticated,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    asker.require(Permission::RevokeAnyTokens)?;
    let asked = query(asked)?;
    let limit = limit(asked.limit, PAGE, PAGE_MAX)?;
    let kind = asked.kind.as_deref();
    if let Some(word) = kind.filter(|word| Kind::from_word(word).is_none()) {
        let words = Kind::ALL.map(Kind::as_str).join(", ");
        return Err(Problem::malformed(format!(
            "`kind` is one of {words}, not `{word}`"
        )));
    }
    let store = app.state.store();
    // One more than is shown says whether there is another page.
    let page = store.revocations_before(asked.before, kind, asked.id.as_deref(), limit + 1);
    let mut page = page.await.map_err(|error| {
        tracing::error!(%error, "revocations could not be read");
        Problem::unavailable("the revocations cannot be read at the moment; ask again")
    })?;
    let is_last = page.len() <= limit as usize;
    page.truncate(limit as usize);
    let next = page.last().filter(|_| !is_last).map(|row| row.number);
    let ahead = app.inputs.clock.now().plus_seconds(CLOCK_SKEW_SECONDS);
    json(&json!({
        "revocations": page.iter().map(|row| view(row, ahead)).collect::<Vec<_>>(),
        "next": next,
    }))
}

fn view(row: &RevocationRow, ahead: Timestamp) -> Value {
    let mut body = named(&row.kind, &row.id, row.before);
    if let Some(members) = body.as_object_mut() {
        // Made under a clock that was ahead: it refuses what is issued until then.
        if row.before.is_some_and(|before| before > ahead) {
            members.insert("ahead".to_owned(), true.into());
        }
        members.insert("number".to_owned(), row.number.into());
        members.insert("at".to_owned(), wire::time::format(row.at).into());
        members.insert("by".to_owned(), row.by.clone().into());
        members.insert("of".to_owned(), row.subject.clone().into());
        members.insert("reason".to_owned(), row.reason.clone().into());
        members.insert(
            "kept_until".to_owned(),
            wire::time::format(row.until).into(),
        );
    }
    body
}

/// What is revoked, as it was asked for.
fn named(kind: &str, id: &str, before: Option<Timestamp>) -> Value {
    let mut body = json!({});
    let before = before.map(wire::time::format);
    let value = match Kind::from_word(kind) {
        Some(Kind::Issuer) => before.clone().into(),
        _ => Value::from(id),
    };
    if let Some(members) = body.as_object_mut() {
        members.insert(kind.to_owned(), value);
        if let Some(before) = before.filter(|_| kind != Kind::Issuer.as_str()) {
            members.insert("before".to_owned(), before.into());
        }
    }
    body
}
