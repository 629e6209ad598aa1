//! What others are told of sessions.

use domain::{SecurityEventKind, SessionRecord, Timestamp};
use serde_json::Value;
use store::sqlite::NewSecurityEvent;

use super::ending::By;

/// Something that happened in a session. `body` is what its kind has beside.
pub(crate) fn event(
    session: &SessionRecord,
    kind: SecurityEventKind,
    by: By<'_>,
    why: &str,
    at: Timestamp,
    body: Option<&Value>,
) -> NewSecurityEvent {
    NewSecurityEvent {
        at,
        kind,
        subject: Some(session.subject.clone()),
        session_id: Some(session.id.clone()),
        device_id: session.device_id().map(str::to_owned),
        initiator: by.initiator,
        by: by.name.to_owned(),
        why: why.to_owned(),
        body: body.map(Value::to_string),
        record: None,
    }
}
