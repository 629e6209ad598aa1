//! How long lives what hangs on a session: no longer than the session (T25).

use domain::{Signal, Timestamp};

use super::name::is_id;
use crate::app::App;

/// How long a token of a session may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is of no session of the engine's: as long as it says itself.
    Own,
    /// Until its session ends, as that stands now. It may end sooner.
    Until(Timestamp),
    /// The session is over.
    Over,
    /// It cannot be told at the moment.
    Unknown,
}

/// How long a token may live that names this session.
pub(crate) async fn life(app: &App, sid: Option<&String>, now: Timestamp) -> Life {
    // A caller's own word is nobody's alone.
    let Some(sid) = sid.filter(|sid| is_id(sid)) else {
        return Life::Own;
    };
    match app.state.session(sid, now).await {
        Signal::Known(session) if session.is_over(now) => Life::Over,
        Signal::Known(session) => session
            .terms
            .as_ref()
            .map_or(Life::Own, |terms| Life::Until(terms.expires_at)),
        Signal::Absent => Life::Over,
        Signal::Unavailable => Life::Unknown,
    }
}
