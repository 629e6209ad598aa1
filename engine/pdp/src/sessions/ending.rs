//! The end of sessions: durable before it is answered, and in effect at once for the session, its
//! refresh tokens and its access tokens (T25).

use domain::{EntityRef, Timestamp};
use store::sqlite::{EndedSession, Ending, Initiator, NewSecurityEvent, SessionsOf, StoreError};
use token::revocation::Entry;

use crate::access::{Caller, Role};
use crate::app::App;
use crate::revoking::{self, RevokeError};

/// Why a session ended that had to make room for a newer one of its subject.
pub(crate) const DISPLACED: &str = "displaced";

/// Who ends something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By<'a> {
    /// A key's id, a subject as tokens say it, or `engine`.
    pub(crate) name: &'a str,
    /// What others are told of it.
    pub(crate) initiator: Initiator,
}

impl<'a> By<'a> {
    /// The engine, because of a policy or of the risk.
    pub(crate) const POLICY: By<'static> = By {
        name: "engine",
        initiator: Initiator::Policy,
    };
    /// The engine by itself, or because another system said so.
    pub(crate) const SYSTEM: By<'static> = By {
        name: "engine",
        initiator: Initiator::System,
    };

    /// A client, under this name. An application acts for its user, who signed out there.
    pub(crate) const fn client(caller: &Caller, name: &'a str) -> Self {
        let initiator = match caller.role {
            Role::Admin | Role::Operator => Initiator::Admin,
            Role::Gateway | Role::Service => Initiator::User,
            Role::Author | Role::Keeper | Role::Receiver => Initiator::System,
        };
        Self { name, initiator }
    }

    /// A subject, of its own sessions.
    pub(crate) const fn holder(name: &'a str) -> Self {
        Self {
            name,
            initiator: Initiator::User,
        }
    }
}

/// How something ends now.
pub(crate) fn now<'a>(app: &App, at: Timestamp, by: By<'a>, why: &'a str) -> Ending<'a> {
    Ending {
        at,
        why,
        by: by.name,
        initiator: by.initiator,
        until: app.revocations.last_token_ends(at),
        written,
        tells: &[],
    }
}

fn written(subject: &EntityRef) -> String {
    token::claims::subject(subject.kind.as_str(), subject.id.as_str())
}

/// Ends one session that was opened with the engine. False when there is none that lives. Durable
/// and in effect when this returns.
///
/// # Errors
/// When it could not be made durable.
pub(crate) async fn end(app: &App, id: &str, by: By<'_>, why: &str) -> Result<bool, StoreError> {
    end_telling(app, id, by, why, &[]).await
}

/// The same, and tells something beside the end, in one transaction with it: an alert. Nothing is
/// told where nothing ends.
///
/// # Errors
/// When it could not be made durable.
pub(crate) async fn end_telling(
    app: &App,
    id: &str,
    by: By<'_>,
    why: &str,
    tells: &[NewSecurityEvent],
) -> Result<bool, StoreError> {
    let at = app.inputs.clock.now();
    let ending = Ending {
        tells,
        ..now(app, at, by, why)
    };
    let ended = app.state.store().end_session(id, &ending).await?;
    follow(app, ended.as_slice(), by.name, why).await;
    if ended.is_none() {
        // Ended before, by whomever: what is in memory agrees from here on.
        let stored = app.state.store().session(id).await?;
        let over = stored.filter(|session| session.ended);
        app.state
            .sessions_ended(over.as_ref().map(|session| &session.id));
    }
    Ok(ended.is_some())
}

/// Ends every session of a subject: of one client, or of all, with everything that the subject
/// was given. Returns how many lived. Durable and in effect when this returns.
///
/// # Errors
/// When it could not be made durable.
pub(crate) async fn end_all(
    app: &App,
    of: SessionsOf<'_>,
    by: By<'_>,
    why: &str,
) -> Result<usize, RevokeError> {
    let mut revoked = Ok(());
    if of.client_id.is_none() {
        let everything = Entry::SubjectNotBefore {
            subject: written(of.subject),
            before: Timestamp::MAX,
        };
        let done = revoking::revoke(app, by.name, everything, Some(why)).await;
        revoked = done.map(|_| ());
    }
    // Whatever became of the rest.
    let ended = end_live(app, of, by, why).await?;
    revoked.map(|()| ended)
}

/// The same for the sessions alone.
///
/// # Errors
/// When it could not be made durable.
pub(crate) async fn end_live(
    app: &App,
    of: SessionsOf<'_>,
    by: By<'_>,
    why: &str,
) -> Result<usize, StoreError> {
    let at = app.inputs.clock.now();
    // Callers' own sessions may be in memory alone.
    app.state.flush(at).await?;
    let ending = now(app, at, by, why);
    let ended = app.state.store().end_sessions_of(of, &ending).await?;
    follow(app, &ended, by.name, why).await;
    // Those that ended before too, by whomever.
    let over = app.state.store().ended_sessions_of(of).await?;
    app.state.sessions_ended(&over);
    Ok(ended.iter().filter(|session| session.was_live).count())
}

/// Takes over into memory and the journal what has ended in the store (E12).
pub(crate) async fn follow(app: &App, ended: &[EndedSession], by: &str, why: &str) {
    app.state
        .sessions_ended(ended.iter().map(|ended| &ended.id));
    app.take_up_revocations().await;
    for session in ended {
        if let Some(client_id) = session.client_id.as_deref().filter(|_| session.was_live) {
            app.metrics.session_ended(client_id);
        }
        tracing::info!(
            event = "session_destroyed",
            session = %session.id,
            subject = %session.subject,
            by,
            reason = why,
            "a session was ended"
        );
    }
}
