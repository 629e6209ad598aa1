//! What follows when an access came by a handle: the next one is handed out when it is due (E3), and
//! one that the session had long before is told of (E11).

use std::sync::Arc;

use domain::{Level, SecurityEventKind, Signal, Timestamp, Wanted};
use store::sqlite::{NewHandle, StoreError};

use super::ending::By;
use super::handle::{self, Handle, Standing};
use super::name::Presented;
use super::{Change, tells, tighten};
use crate::app::App;
use crate::telling::body::{Alert, Severity};

/// The alert of a handle that came although another has long taken its place.
const REUSE: &str = "handle-reuse";

/// Takes over that a handle came with an access. The one to be sent from now on, where it is
/// another. Durable before it is answered; what cannot be made durable is left as it was, and the
/// handle is as good as before.
pub(crate) async fn follow(app: &App, presented: &Presented, now: Timestamp) -> Option<Handle> {
    let Presented { handle, standing } = presented;
    let id = handle.session();
    let done = match standing {
        Standing::Current { is_due: true, .. } => {
            let next = handle.next(&app.refresh_key);
            let (from, to) = (handle.sha256(), next.sha256());
            let done = app.state.store().rotate_handle(&id, &from, &to, now).await;
            app.state.forget_handles(&id);
            // False: of two requests at once the other was quicker, and was handed the same.
            done.map(|_| Some(next))
        }
        Standing::Current { is_first: true, .. } => {
            let overlap = app.settings.sessions.handle_overlap.as_secs();
            let until = now.plus_seconds(i64::try_from(overlap).unwrap_or(i64::MAX));
            let store = app.state.store();
            let done = store.confirm_handle(&id, &handle.sha256(), until).await;
            app.state.forget_handles(&id);
            done.map(|()| None)
        }
        Standing::Previous { is_weak: false } => Ok(Some(handle.next(&app.refresh_key))),
        Standing::Current { .. }
        | Standing::Previous { is_weak: true }
        | Standing::Superseded { .. }
        | Standing::Unknown => Ok(None),
    };
    let next = done.unwrap_or_else(|error| {
        tracing::error!(%error, session = %id, "the handle of a session could not be replaced");
        None
    })?;
    // A step-up may have come between: then what follows by age is nothing any more.
    match app.state.session_handles(&id, now).await {
        Signal::Known(kept) if kept.current == next.sha256() => Some(next),
        _ => None,
    }
}

/// Tells of a handle that the session had long before: somebody has a copy, of this one or of the
/// one that the session has now. The session is not ended, or a thief could shut out whom he stole
/// from: its holder has to prove who they are, which whoever stole the one or the other cannot.
/// Once for all handles that came before the current one.
///
/// # Errors
/// When it could not be made durable; it is told when the handle comes again.
pub(crate) async fn alarm(
    app: &App,
    presented: &Presented,
    decision_id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let is_alarming = Standing::Superseded { is_alarming: true };
    if presented.standing != is_alarming {
        return Ok(());
    }
    let id = presented.handle.session();
    // One after the other: of many at once, one is told of.
    let _one = app.state.alarming().lock().await;
    let store = app.state.store();
    let Some(kept) = store.session_handles(&id).await? else {
        return Ok(());
    };
    let settings = &app.settings.sessions;
    if handle::judge(&kept, &presented.handle, settings, now) != is_alarming {
        return Ok(());
    }
    let Signal::Known(session) = app.state.session(&id, now).await else {
        return Ok(());
    };
    let alert = Alert {
        alert: REUSE.to_owned(),
        severity: Severity::High,
        decision_id: Some(decision_id.to_owned()),
        score: None,
        factors: vec![
            "A handle of the session was used although another took its place.".to_owned(),
        ],
        done: "re-authentication required".to_owned(),
        policies: Vec::new(),
    };
    let body = serde_json::to_value(&alert).ok();
    let kind = SecurityEventKind::Alert;
    let told = tells::event(&session, kind, By::POLICY, REUSE, now, body.as_ref());
    let change = Change {
        wanted: Some(Wanted {
            level: Level::Mfa,
            since: now,
        }),
        ..Change::default()
    };
    tighten(app, &id, &change, &[told]).await?;
    store.note_handle_alarm(&id).await?;
    app.state.forget_handles(&id);
    Ok(())
}

/// The handle that takes the place of a session's when more was proven in it (F15, F21), and what
/// is kept of it. None when there is no such session. Where nobody is there to be given it
/// (`is_given`), the one before goes on naming the session, and brings no assurance from then on.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn anew(
    app: &App,
    id: &str,
    is_given: bool,
    now: Timestamp,
) -> Result<Option<(Handle, NewHandle)>, StoreError> {
    let Some(kept) = app.state.store().session_handles(id).await? else {
        return Ok(None);
    };
    let number = kept.number.saturating_add(1);
    let randomness = Arc::clone(&app.inputs.randomness);
    let Some(handle) = Handle::random(id, number, &app.refresh_key, &*randomness) else {
        return Ok(None);
    };
    let overlap = app.settings.sessions.handle_overlap.as_secs();
    let new = NewHandle {
        sha256: handle.sha256(),
        number,
        at: now,
        previous_until: is_given
            .then(|| now.plus_seconds(i64::try_from(overlap).unwrap_or(i64::MAX))),
    };
    Ok(Some((handle, new)))
}
