//! Everything that is done in a strict session is on record, uses of its tokens too (A3, O17).

use domain::{Signal, Tier, Timestamp};
use store::journal::AppendError;

use crate::access::{Caller, signed};
use crate::app::App;

/// Puts on record that a token of a session was used, if the session is a strict one. What is done
/// with it is a word. On the disk when it returns.
///
/// # Errors
/// When it could not be recorded: then it must not be done.
pub(crate) async fn note(
    app: &App,
    caller: &Caller,
    session: Option<&String>,
    what: &str,
    token_id: Option<&str>,
    now: Timestamp,
) -> Result<(), AppendError> {
    let Some(session) = session else {
        return Ok(());
    };
    let is_strict = match app.state.session(session, now).await {
        Signal::Known(known) => known
            .terms
            .as_ref()
            .is_some_and(|terms| terms.tier == Tier::Strict),
        Signal::Absent => false,
        // It may be one.
        Signal::Unavailable => true,
    };
    if !is_strict {
        return Ok(());
    }
    let told = signed(
        serde_json::json!({
            "v": wire::record::RECORD_VERSION,
            "kind": "session_use",
            "session": session,
            "use": what,
            "token_id": token_id,
            "at": wire::time::format(now),
        }),
        &caller.by(),
    );
    app.journal.append(told.to_string().into_bytes()).await
}
