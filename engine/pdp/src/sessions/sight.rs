//! The last sight of a session: in what circumstances somebody was let through in it. The monitor
//! asks by it while nobody does.

use std::sync::Arc;

use domain::{AccessRequest, DeviceRecord, Rung, SessionRecord, SessionSight, Signal, Timestamp};

use crate::app::App;
use crate::engine::Outcome;

/// What is seen of a session in a request. `is_enrolled`: its device is recorded, and may be used.
fn of(request: &AccessRequest, is_enrolled: bool, at: Timestamp) -> SessionSight {
    let context = &request.context;
    SessionSight {
        at,
        ip: context.ip,
        user_agent: context.user_agent.as_deref().map(Arc::from),
        device: context.device.clone(),
        is_enrolled,
        enrolled_at: None,
    }
}

/// The record of the device that a request names. None: it names none, none is kept, or that is
/// not known.
async fn device(app: &App, request: &AccessRequest, at: Timestamp) -> Option<Arc<DeviceRecord>> {
    let device = request.context.device.as_ref()?;
    match app.state.device(device.id.as_ref()?, at).await {
        Signal::Known(record) => Some(record),
        Signal::Absent | Signal::Unavailable => None,
    }
}

/// Since when a device is enrolled to the subject of a request itself.
fn enrolment(request: &AccessRequest, device: Option<&DeviceRecord>) -> Option<Timestamp> {
    let own = device.filter(|device| device.owner.as_ref() == Some(&request.subject.entity));
    own.and_then(|device| device.enrolled_at)
}

/// The first sight of a session, as it is opened.
pub(crate) async fn first(app: &App, request: &AccessRequest, at: Timestamp) -> SessionSight {
    let device = device(app, request, at).await;
    let usable = device.as_deref().filter(|device| !device.revoked);
    SessionSight {
        enrolled_at: enrolment(request, usable),
        ..of(request, usable.is_some(), at)
    }
}

/// Notes in what circumstances somebody was let through. Who was not let through is perhaps not
/// whose session it is: their circumstances would end it.
pub(crate) async fn note(app: &App, key: &String, request: &AccessRequest, outcome: &Outcome) {
    if outcome.decision.rung != Rung::Allow {
        return;
    }
    let at = outcome.time;
    let is_enrolled = outcome.evidence.facts.signals.device_revoked == Some(false);
    let device = device(app, request, at).await;
    let enrolled_at = enrolment(request, device.as_deref());
    let mut moved = false;
    app.state.change_session(key, |known| {
        let is_live = |known: &&mut Arc<SessionRecord>| {
            let is_newer = known.sight.as_ref().is_none_or(|sight| sight.at <= at);
            known.terms.is_some() && !known.is_over(at) && is_newer
        };
        let Some(session) = known.as_mut().filter(is_live) else {
            return false;
        };
        let sight = SessionSight {
            enrolled_at,
            ..of(request, is_enrolled, at)
        };
        let (sight, has_moved) = after(session.sight.as_deref(), sight);
        moved = has_moved;
        Arc::make_mut(session).sight = Some(Arc::new(sight));
        true
    });
    let device = request.context.device.as_ref();
    if let Some(id) = device.and_then(|device| device.id.as_ref())
        && moved
    {
        app.monitor.moved(key, id, at);
    }
}

/// A sight as it is kept after the one before, and whether the session came to another device.
fn after(before: Option<&SessionSight>, mut sight: SessionSight) -> (SessionSight, bool) {
    let Some(before) = before else {
        let is_on_one = id(&sight).is_some();
        return (sight, is_on_one);
    };
    if before.user_agent == sight.user_agent {
        sight.user_agent.clone_from(&before.user_agent);
    }
    let is_named = id(&sight).is_some();
    if !is_named && id(before).is_some() {
        // Who leaves the device out has not left it, or one such request would be enough for the
        // session to outlive its device.
        sight.device.clone_from(&before.device);
        sight.is_enrolled = before.is_enrolled;
        sight.enrolled_at = before.enrolled_at;
        return (sight, false);
    }
    let has_moved = id(before) != id(&sight);
    if !has_moved {
        // As it was when the session came to it, or a new enrolment would pass for the old one.
        sight.enrolled_at = before.enrolled_at;
    }
    (sight, has_moved)
}

fn id(sight: &SessionSight) -> Option<&String> {
    sight.device.as_ref().and_then(|device| device.id.as_ref())
}

#[cfg(test)]
mod tests {
    use domain::DeviceClaim;

    use super::*;

    /// One on a device, `-` for none, whose enrolment is of this second, 0 for none.
    fn sight((device, second): (&str, i64)) -> SessionSight {
        SessionSight {
            device: (device != "-").then(|| DeviceClaim {
                id: Some(device.to_owned()),
                ..DeviceClaim::default()
            }),
            is_enrolled: second > 0,
            enrolled_at: (second > 0).then(|| Timestamp::from_seconds(second)),
            ..SessionSight::default()
        }
    }

    #[test]
    fn m9_a_session_stands_on_the_enrolment_of_the_device_that_it_came_to() {
        let opened_on_a = ("a", 1);
        for (about, seen, kept) in [
            ("on it", vec![("a", 1)], ("a", 1)),
            ("it is enrolled anew meanwhile", vec![("a", 9)], ("a", 1)),
            ("it is left out once", vec![("-", 0)], ("a", 1)),
            ("and named again", vec![("-", 0), ("a", 9)], ("a", 1)),
            ("on another", vec![("b", 2)], ("b", 2)),
            ("on one that is nobody's", vec![("b", 0)], ("b", 0)),
            ("there and back", vec![("b", 2), ("a", 1)], ("a", 1)),
            ("another is left out", vec![("b", 2), ("-", 0)], ("b", 2)),
        ] {
            let kept_is = seen.into_iter().fold(sight(opened_on_a), |before, seen| {
                after(Some(&before), sight(seen)).0
            });
            assert_eq!(kept_is, sight(kept), "{about}");
        }
        // Opened without one, it stands on the first that it comes to.
        let (kept, has_moved) = after(Some(&sight(("-", 0))), sight(("a", 1)));
        assert_eq!((kept, has_moved), (sight(("a", 1)), true));
        let (kept, has_moved) = after(None, sight(("a", 1)));
        assert_eq!((kept, has_moved), (sight(("a", 1)), true));
    }
}
