//! The session cookie: its value is the session's handle, and nothing else will do.

use domain::value::Attributes;
use domain::{SessionRecord, Signal, Timestamp, Value};

use super::subject::{NotKnown, Resolved, Session};
use crate::app::App;
use crate::sessions::handle::Handle;

/// Whose session a cookie names.
///
/// # Errors
/// When it is no handle that the engine gave out, its session is over, or that cannot be told.
pub(super) async fn resolve(app: &App, value: &str, now: Timestamp) -> Result<Resolved, NotKnown> {
    let invalid = |why: &'static str| NotKnown::cookie(why);
    let handle = Handle::read(value, &app.refresh_key);
    let handle = handle.ok_or_else(|| invalid("the cookie holds no handle of a session"))?;
    let id = handle.session();
    let session = match app.state.session(&id, now).await {
        Signal::Known(session) if session.is_over(now) => {
            return Err(invalid("the session of the cookie is over"));
        }
        Signal::Known(session) => session,
        Signal::Absent => return Err(invalid("the session of the cookie is not known")),
        Signal::Unavailable => return Err(NotKnown::Unavailable),
    };
    // What the handle is good for is judged with the decision, and goes on record with it.
    Ok(Resolved {
        claims: claims(&session),
        is_sent_by_browsers: true,
        session: Some(Session::Handle(value.to_owned())),
        ..Resolved::named(session.subject.clone())
    })
}

fn claims(session: &SessionRecord) -> Attributes {
    let text = |text: &str| Value::Text(text.to_owned());
    let mut claims: Attributes = [("sid".to_owned(), text(&session.id))].into();
    if let Some(terms) = &session.terms {
        claims.insert("client_id".to_owned(), text(&terms.client_id));
        claims.insert("tier".to_owned(), text(terms.tier.as_str()));
    }
    claims
}
