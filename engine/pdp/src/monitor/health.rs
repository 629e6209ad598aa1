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
    of_device(device, session)
}

/// What is wrong with the device that a session was last seen on.
fn of_device(device: &Signal<Arc<DeviceRecord>>, session: &SessionRecord) -> Option<&'static str> {
    let sight = session.sight.as_ref();
    match device {
        Signal::Known(device) if device.revoked => Some("its device may not be used any more"),
        Signal::Known(device) => {
            let since = sight.and_then(|sight| sight.enrolled_at)?;
            if device.owner.as_ref() != Some(&session.subject) {
                return Some("the device is no longer enrolled to its subject");
            }
            (device.enrolled_at != Some(since)).then_some("the device was enrolled anew")
        }
        Signal::Absent if sight.is_some_and(|sight| sight.is_enrolled) => {
            Some("the device is no longer enrolled")
        }
        Signal::Absent | Signal::Unavailable => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::{Assurance, EntityRef, SessionBirth, SessionSight};

    use super::*;

    const AT: Timestamp = Timestamp::from_seconds(1000);
    const LATER: Timestamp = Timestamp::from_seconds(2000);

    fn session(is_enrolled: bool, enrolled_at: Option<Timestamp>) -> SessionRecord {
        SessionRecord {
            id: "ses_1".to_owned(),
            subject: EntityRef::new("User", "alice").unwrap(),
            birth: SessionBirth::default(),
            last_seen: LATER,
            sight: Some(Arc::new(SessionSight {
                at: LATER,
                ip: None,
                user_agent: None,
                device: None,
                is_enrolled,
                enrolled_at,
            })),
            assurance: Assurance::default(),
            ended: false,
            terms: None,
        }
    }

    fn device(owner: Option<&str>, enrolled_at: Option<Timestamp>) -> Signal<Arc<DeviceRecord>> {
        Signal::Known(Arc::new(DeviceRecord {
            id: "laptop".to_owned(),
            owner: owner.map(|id| EntityRef::new("User", id).unwrap()),
            trust: None,
            managed: None,
            compliant: None,
            os: None,
            os_version: None,
            revoked: false,
            enrolled_at,
            key: None,
            checked_at: None,
            posture_source: None,
            updated_at: AT,
        }))
    }

    #[test]
    fn m9_only_what_is_known_to_be_gone_ends_a_session() {
        for is_enrolled in [true, false] {
            let session = session(is_enrolled, Some(AT));
            assert_eq!(of_device(&Signal::Unavailable, &session), None);
        }
        let never = session(false, None);
        assert_eq!(of_device(&Signal::Absent, &never), None, "it never was");
        assert!(of_device(&Signal::Absent, &session(true, None)).is_some());
    }

    #[test]
    fn m9_a_session_stands_on_the_enrolment_that_it_began_with() {
        let began = session(true, Some(AT));
        for (owner, enrolled_at, ends) in [
            (Some("alice"), Some(AT), false),
            (Some("alice"), Some(LATER), true),
            (Some("alice"), None, true),
            (Some("mallory"), Some(AT), true),
            (None, None, true),
        ] {
            let fault = of_device(&device(owner, enrolled_at), &began);
            assert_eq!(
                fault.is_some(),
                ends,
                "{owner:?} {enrolled_at:?}: {fault:?}"
            );
        }
        // On somebody else's, or on one that was nobody's: no enrolment of its own to lose.
        let others = session(true, None);
        assert_eq!(of_device(&device(Some("bob"), Some(AT)), &others), None);
        assert_eq!(
            of_device(&device(Some("alice"), Some(LATER)), &others),
            None
        );
    }
}
