//! Whether what a session stands on is still there (M9). Only what is known to be gone ends a
//! session: a source that does not answer says nothing.

use std::sync::Arc;

use domain::{DeviceRecord, SessionRecord, Signal, Timestamp};

use crate::app::App;
use crate::engine::Snapshot;

/// What is wrong with a session, in words; none when nothing is.
pub(super) fn fault(
    app: &App,
    snapshot: &Snapshot,
    session: &SessionRecord,
    device: &Signal<Arc<DeviceRecord>>,
    now: Timestamp,
) -> Option<&'static str> {
    if !snapshot
        .directory
        .admits(&snapshot.policies, &session.subject)
    {
        return Some("the subject is not stored any more");
    }
    let client = session.terms.as_ref().map(|terms| terms.client_id.as_str());
    if client.is_some_and(|client| app.keys.client(client, now).is_none()) {
        return Some("the client that opened it has no valid key any more");
    }
    let sight = session.sight.as_ref();
    of_device(device, sight.is_some_and(|sight| sight.is_enrolled))
}

/// What is wrong with the device that a session was last seen on.
fn of_device(device: &Signal<Arc<DeviceRecord>>, was_enrolled: bool) -> Option<&'static str> {
    match device {
        Signal::Known(device) if device.revoked => Some("its device may not be used any more"),
        Signal::Absent if was_enrolled => Some("the device is no longer enrolled"),
        Signal::Known(_) | Signal::Absent | Signal::Unavailable => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m9_only_what_is_known_to_be_gone_ends_a_session() {
        for was_enrolled in [true, false] {
            assert_eq!(of_device(&Signal::Unavailable, was_enrolled), None);
        }
        assert_eq!(of_device(&Signal::Absent, false), None, "it never was");
        assert!(of_device(&Signal::Absent, true).is_some());
    }
}
