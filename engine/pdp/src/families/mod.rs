//! Families of refresh tokens (T8 to T11): begun with a grant, rotated at each use, revoked whole.
//!
//! A refresh has two steps. [`look`] says what would come of it and spends nothing, so that proof,
//! scope and policy can be asked first; [`rotate`] does it, as one transaction that judges anew.
//! What is decided is [`judge::judge`], a function of the row alone.

pub mod form;
pub mod judge;
pub(crate) mod key_file;

#[cfg(test)]
mod tests;

use std::time::Duration;

use domain::{EntityRef, Signal, Timestamp};
use serde::{Deserialize, Serialize};
use store::sqlite::{
    FamilyChange, Initiator, NewSecurityEvent, RefreshFamily, SessionEnded, StoreError,
};
use token::revocation::Lineage;

pub use form::{Genuine, RefreshKey, RefreshToken};
pub use judge::{Confirmation, Refusal, Verdict, judge};

use crate::app::App;
use crate::sessions;
use crate::sessions::ending::{self, By};
use crate::settings::RefreshSettings;
use crate::telling::body::{Alert, Body, Severity};

/// A grant that may be renewed.
#[derive(Clone, Debug)]
pub struct NewFamily {
    /// The client that it is granted to.
    pub client_id: String,
    /// Whose it is.
    pub subject: EntityRef,
    /// The session that it lives and dies with.
    pub session: Option<OfSession>,
    /// What its access tokens are for.
    pub audience: String,
    /// What was granted, apart by spaces.
    pub scope: String,
    /// The keys that it is bound to.
    pub bound_to: Confirmation,
    /// In what circumstances it is granted.
    pub birth: Birth,
}

/// The session of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfSession {
    /// Its id.
    pub id: String,
    /// When it ends, as things are.
    pub ends_at: Timestamp,
    /// When it ends at the latest, whatever is proven in it.
    pub ends_at_most: Timestamp,
}

/// In what circumstances a family was granted: what access tokens say again at each refresh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<std::net::IpAddr>,
    /// The device, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Authentication context class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// When the subject authenticated, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
}

/// A family that was begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its id: `family_id` of its access tokens.
    pub family: String,
    /// Its first token.
    pub refresh_token: RefreshToken,
    /// When it ends, however often it is used.
    pub expires_at: Timestamp,
}

/// What would come of a refresh. Nothing is spent yet.
#[derive(Clone, Debug)]
pub struct Look {
    /// The family as it was.
    pub family: RefreshFamily,
    /// In what circumstances it was granted.
    pub birth: Birth,
    presented: Genuine,
    proven: Confirmation,
}

/// A refresh that was done. Durable.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The family, as it was before.
    pub family: RefreshFamily,
    /// The next token.
    pub refresh_token: RefreshToken,
    /// The same answer was given a moment before.
    pub repeated: bool,
}

/// Why there is no refresh.
#[derive(Debug, thiserror::Error)]
pub enum RefreshRefused {
    /// The token is refused, and nothing has changed.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The token was used up before: family, session and access tokens are revoked (T9).
    #[error("token reuse detected")]
    Reused,
    /// It could not be made durable; nothing has changed, the token is as good as before.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Its session cannot be looked up at the moment; nothing has changed.
    #[error("the session of the refresh token cannot be looked up at the moment")]
    Unavailable,
}

/// Begins a family. Durable when this returns. It never outlives its session.
///
/// # Errors
/// When it could not be made durable.
pub async fn begin(app: &App, new: NewFamily, now: Timestamp) -> Result<Begun, StoreError> {
    let settings = &app.settings.refresh;
    let (family, refresh_token) = app.refresh_key.first(&*app.inputs.randomness);
    let longest = after(now, settings.ttl);
    let session = new.session.as_ref();
    let expires_at = session.map_or(longest, |session| session.ends_at_most.min(longest));
    // What binds it by then is the session's end as it is at that moment: the store sees to it.
    let as_things_are = session.map_or(expires_at, |session| session.ends_at.min(expires_at));
    let birth = serde_json::to_string(&new.birth).unwrap_or_else(|_| "{}".to_owned());
    let row = RefreshFamily {
        id: family.clone(),
        client_id: new.client_id,
        subject: new.subject,
        session: new.session.map(|session| session.id),
        audience: new.audience,
        scope: new.scope,
        jkt: new.bound_to.jkt,
        x5t_s256: new.bound_to.x5t_s256,
        birth,
        created_at: now,
        generation: 0,
        current_sha256: refresh_token.sha256(),
        previous_sha256: None,
        rotated_at: None,
        repeats: 0,
        idle_expires_at: after(now, settings.idle).min(expires_at),
        expires_at,
        revoked: None,
    };
    app.state.store().insert_refresh_family(&row).await?;
    Ok(Begun {
        family,
        refresh_token,
        expires_at: as_things_are,
    })
}

/// Says what would come of a refresh by this client, who has proven to hold these keys. Spends
/// nothing; but a token that was used up before is dealt with at once.
///
/// # Errors
/// When the token is refused.
pub async fn look(
    app: &App,
    client_id: &str,
    presented: &str,
    proven: Confirmation,
    now: Timestamp,
) -> Result<Look, RefreshRefused> {
    let presented = app.refresh_key.read(presented).ok_or(Refusal::Unknown)?;
    let store = app.state.store();
    let family = store.refresh_family(&presented.family).await?;
    let family = family.ok_or(Refusal::Unknown)?;
    match judge(&family, &presented, client_id, &proven, grace(app), now) {
        Verdict::Rotate | Verdict::Repeat => {}
        Verdict::Refuse(why) => return Err(why.into()),
        // As it is under the lock, not as it was read.
        Verdict::Reuse => {
            settle(app, client_id, &presented, &proven, now).await?;
            return Err(RefreshRefused::Reused);
        }
    }
    if is_revoked(app, &family, now) {
        return Err(Refusal::Revoked.into());
    }
    if let Some(session) = &family.session {
        match app.state.session(session, now).await {
            Signal::Known(session) if !session.is_over(now) => {}
            Signal::Known(_) | Signal::Absent => return Err(Refusal::SessionOver.into()),
            Signal::Unavailable => return Err(RefreshRefused::Unavailable),
        }
    }
    let birth = serde_json::from_str(&family.birth).unwrap_or_default();
    Ok(Look {
        family,
        birth,
        presented,
        proven,
    })
}

/// The family of a token that would be exchanged now, if its client asked for it. None for any
/// other text. To look at a token is not to use it, so nothing changes, whatever was presented.
///
/// # Errors
/// When it cannot be told at the moment.
pub async fn current(
    app: &App,
    presented: &str,
    now: Timestamp,
) -> Result<Option<RefreshFamily>, RefreshRefused> {
    let Some(genuine) = app.refresh_key.read(presented) else {
        return Ok(None);
    };
    let found = app.state.store().refresh_family(&genuine.family).await?;
    let Some(family) = found else { return Ok(None) };
    let bound_to = Confirmation {
        jkt: family.jkt.clone(),
        x5t_s256: family.x5t_s256.clone(),
    };
    let client_id = &family.client_id;
    let verdict = judge(&family, &genuine, client_id, &bound_to, grace(app), now);
    if !matches!(verdict, Verdict::Rotate | Verdict::Repeat) {
        return Ok(None);
    }
    match look(app, client_id, presented, bound_to, now).await {
        Ok(look) => Ok(Some(look.family)),
        Err(RefreshRefused::Refused(_) | RefreshRefused::Reused) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Does the refresh, which counts as use of the session. Durable when this returns.
///
/// # Errors
/// When the token is refused by now, or the refresh could not be made durable.
pub async fn rotate(app: &App, look: Look, now: Timestamp) -> Result<Refreshed, RefreshRefused> {
    let Look {
        family,
        presented,
        proven,
        ..
    } = look;
    let refreshed = settle(app, &family.client_id, &presented, &proven, now).await?;
    if let Some(session) = &refreshed.family.session {
        sessions::touch(app, session, now);
    }
    Ok(refreshed)
}

/// Whether it was revoked with everything that its subject, its client or this engine had given.
fn is_revoked(app: &App, family: &RefreshFamily, now: Timestamp) -> bool {
    let subject = &family.subject;
    let lineage = Lineage {
        jti: "",
        original_jti: None,
        ancestors: &[],
        family: Some(&family.id),
        sid: family.session.as_deref(),
        sub: &token::claims::subject(subject.kind.as_str(), subject.id.as_str()),
        client_id: &family.client_id,
        issued_at: family.created_at,
        issued_to: &[],
    };
    app.revocations.check(&lineage, now).is_some()
}

/// Judges and does it, in one transaction.
async fn settle(
    app: &App,
    client_id: &str,
    presented: &Genuine,
    proven: &Confirmation,
    now: Timestamp,
) -> Result<Refreshed, RefreshRefused> {
    let asked = Asked {
        presented,
        next: app.refresh_key.successor(presented),
        client_id,
        proven,
    };
    let decide = |family: &RefreshFamily, ended: SessionEnded| {
        let ended = SessionEnded(ended.0 || is_revoked(app, family, now));
        let (verdict, change) = plan(family, ended, &asked, &app.settings.refresh, now);
        let change = match change {
            FamilyChange::Revoke => FamilyChange::RevokeAndTell(Box::new(alert(family, now))),
            other => other,
        };
        (change, (verdict, family.clone()))
    };
    let store = app.state.store();
    let ending = ending::now(app, now, By::POLICY, REUSE);
    let done = store
        .change_refresh_family(&presented.family, &ending, decide)
        .await?;
    let (verdict, family) = done.ok_or(Refusal::Unknown)?;
    match verdict {
        Verdict::Rotate | Verdict::Repeat => Ok(Refreshed {
            family,
            refresh_token: asked.next,
            repeated: verdict == Verdict::Repeat,
        }),
        Verdict::Refuse(why) => Err(why.into()),
        Verdict::Reuse => {
            reused(app, &family, &asked, now).await;
            Err(RefreshRefused::Reused)
        }
    }
}

/// What people are told of a token that was used twice (T9, O16).
fn alert(family: &RefreshFamily, now: Timestamp) -> NewSecurityEvent {
    let body = Body::Alert(Alert {
        alert: "token-reuse".to_owned(),
        severity: Severity::High,
        decision_id: None,
        score: None,
        factors: vec![format!(
            "a refresh token of client {} came again after it was used up: there is a copy of it",
            family.client_id
        )],
        done: "refresh tokens revoked, session ended".to_owned(),
        policies: Vec::new(),
    });
    NewSecurityEvent {
        at: now,
        kind: body.kind(),
        subject: Some(family.subject.clone()),
        session_id: family.session.clone(),
        device_id: None,
        initiator: Initiator::System,
        by: "engine".to_owned(),
        why: "Token reuse detected".to_owned(),
        body: body.to_text(),
        record: None,
    }
}

/// Somebody has a copy of a token (T9). Family, session and access tokens are revoked by now, in
/// the store; what was written there takes effect here, and those who watch are told (O16).
async fn reused(app: &App, family: &RefreshFamily, asked: &Asked<'_>, now: Timestamp) {
    app.state.sessions_ended(&family.session);
    app.take_up_revocations().await;
    app.metrics.token_reused();
    let session = family.session.as_deref();
    tracing::warn!(
        event = REUSE,
        family = %family.id,
        client = %family.client_id,
        presented_by = asked.client_id,
        subject = %family.subject,
        session,
        generation = family.generation,
        presented_generation = asked.presented.generation,
        "Token reuse detected"
    );
    let subject = &family.subject;
    let told = serde_json::json!({
        "v": wire::record::RECORD_VERSION,
        "kind": "alert",
        "alert": REUSE,
        "severity": "high",
        "message": "Token reuse detected",
        "at": wire::time::format(now),
        "family": family.id,
        "client_id": family.client_id,
        "presented_by": asked.client_id,
        "subject": { "type": subject.kind.as_str(), "id": subject.id.as_str() },
        "session": session,
        "generation": family.generation,
        "presented_generation": asked.presented.generation,
    });
    // The revocations are on record, or will be: they are tried again.
    if let Err(error) = app.journal.append(told.to_string().into_bytes()).await {
        tracing::error!(%error, "the alert could not be recorded");
    }
}

/// A refresh that is asked for.
#[derive(Clone, Debug)]
struct Asked<'a> {
    presented: &'a Genuine,
    /// What follows the token that is presented.
    next: RefreshToken,
    client_id: &'a str,
    proven: &'a Confirmation,
}

/// What becomes of a family, and of who asks. A function of its arguments alone.
fn plan(
    family: &RefreshFamily,
    session: SessionEnded,
    asked: &Asked<'_>,
    settings: &RefreshSettings,
    now: Timestamp,
) -> (Verdict, FamilyChange) {
    let (presented, grace) = (asked.presented, settings.grace);
    let mut verdict = judge(family, presented, asked.client_id, asked.proven, grace, now);
    let next_sha256 = asked.next.sha256();
    if session.0 && matches!(verdict, Verdict::Rotate | Verdict::Repeat) {
        verdict = Verdict::Refuse(Refusal::SessionOver);
    }
    // INVARIANT: what was handed out for the predecessor is what is current now.
    if verdict == Verdict::Repeat && family.current_sha256 != next_sha256 {
        verdict = Verdict::Refuse(Refusal::Unknown);
    }
    let change = match verdict {
        Verdict::Rotate => FamilyChange::Rotate {
            next_sha256,
            at: now,
            idle_expires_at: after(now, settings.idle).min(family.expires_at),
        },
        Verdict::Repeat => FamilyChange::Repeat,
        Verdict::Reuse => FamilyChange::Revoke,
        Verdict::Refuse(_) => FamilyChange::Stay,
    };
    (verdict, change)
}

/// Why a family was revoked whose token was used twice.
pub const REUSE: &str = "refresh_reuse";

/// The family of a refresh token that the engine issued, used up or not. None of one that it did
/// not issue, or does not know any more.
///
/// # Errors
/// When the store cannot be read.
pub async fn find(app: &App, presented: &str) -> Result<Option<RefreshFamily>, StoreError> {
    match app.refresh_key.read(presented) {
        Some(genuine) => app.state.store().refresh_family(&genuine.family).await,
        None => Ok(None),
    }
}

fn grace(app: &App) -> Duration {
    app.settings.refresh.grace
}

fn after(now: Timestamp, span: Duration) -> Timestamp {
    now.plus_seconds(i64::try_from(span.as_secs()).unwrap_or(i64::MAX))
}
