//! What others are told of sessions.

use domain::{Level, SecurityEventKind, SessionRecord, Timestamp};
use serde_json::Value;
use store::sqlite::NewSecurityEvent;

use super::ending::By;
use crate::telling::body::AssuranceLevelChange;

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

/// What was proven in a session is another level than it was; none where it is the same.
pub(crate) fn assurance(
    session: &SessionRecord,
    after: Level,
    by: By<'_>,
    why: &str,
    at: Timestamp,
) -> Option<NewSecurityEvent> {
    let number = |level: Level| u8::try_from(level.number()).unwrap_or_default();
    let before = session.assurance.level;
    let body = serde_json::to_value(AssuranceLevelChange {
        previous_level: number(before),
        current_level: number(after),
    });
    let kind = SecurityEventKind::AssuranceLevelChange;
    (before != after).then(|| event(session, kind, by, why, at, body.ok().as_ref()))
}
