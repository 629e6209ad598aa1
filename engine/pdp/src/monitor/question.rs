//! A live session as a question: the one that `decide` is asked, for [`risk::extract::CONTINUE`].

use std::collections::HashMap;
use std::sync::Arc;

use domain::{
    AccessRequest, Action, Assurance, DeviceClaim, DeviceRecord, EntityRef, Name, Party,
    RequestContext, SessionRecord, Signal, Timestamp,
};
use risk::extract::CONTINUE;
use risk::{Evidence, Profile, Signals, extract_live};

use crate::app::App;
use crate::engine::Snapshot;
use crate::pip;
use crate::sessions::opening::RESOURCE_TYPE;
use crate::sessions::seen_by;

/// What was looked up for many sessions.
pub(super) struct LookedUp {
    pub(super) profiles: HashMap<EntityRef, Signal<Arc<Profile>>>,
    pub(super) devices: HashMap<String, Signal<Arc<DeviceRecord>>>,
}

/// A session and what is known of it.
pub(super) struct Asked<'a> {
    pub(super) session: &'a Arc<SessionRecord>,
    pub(super) request: AccessRequest,
    pub(super) signals: Signals,
    pub(super) evidence: Evidence,
    /// What is recorded of the device that it was last seen on.
    pub(super) device: Signal<Arc<DeviceRecord>>,
}

/// Puts the question for one session together. None when it cannot be one.
pub(super) fn ask<'a>(
    app: &App,
    snapshot: &Snapshot,
    session: &'a Arc<SessionRecord>,
    looked_up: &LookedUp,
    now: Timestamp,
) -> Option<Asked<'a>> {
    let request = request(session)?;
    let profile = looked_up.profiles.get(&session.subject);
    let device = request
        .context
        .device
        .as_ref()
        .and_then(|device| device.id.as_ref())
        .map_or(Signal::Absent, |id| {
            looked_up
                .devices
                .get(id)
                .cloned()
                .unwrap_or(Signal::Unavailable)
        });
    let signals = pip::put_together(
        app,
        &request,
        snapshot,
        (
            profile.cloned().unwrap_or(Signal::Unavailable),
            device.clone(),
            Signal::Known(seen_by(session, &session.id, true, now)),
        ),
        now,
    );
    let seen_at = session
        .sight
        .as_ref()
        .map_or(session.birth.at, |sight| sight.at);
    let mut evidence = extract_live(&request, &signals, &snapshot.settings, seen_at, now);
    // What was proven only grows old while nobody is there: whoever comes next is asked then.
    let idle_seconds = now.whole_seconds_since(seen_at).max(0);
    evidence.assurance = later(evidence.assurance, idle_seconds);
    Some(Asked {
        session,
        request,
        signals,
        evidence,
        device,
    })
}

/// The id of the device that a session was last seen on.
pub(super) fn device_id(session: &SessionRecord) -> Option<String> {
    session.device_id().map(str::to_owned)
}

fn request(session: &SessionRecord) -> Option<AccessRequest> {
    let party = |entity| Party {
        entity,
        properties: Default::default(),
    };
    let sight = session.sight.as_deref();
    let birth = &session.birth;
    let born_on = || DeviceClaim {
        id: birth.device_id.clone(),
        os: birth.os.clone(),
        os_version: birth.os_version.clone(),
        fingerprint: birth.fingerprint.clone(),
        ..DeviceClaim::default()
    };
    let device = match sight {
        Some(sight) => sight.device.clone(),
        None => Some(born_on()).filter(|device| *device != DeviceClaim::default()),
    };
    Some(AccessRequest {
        subject: party(session.subject.clone()),
        action: Action {
            name: Name::new(CONTINUE).ok()?,
            properties: Default::default(),
        },
        resource: party(EntityRef::new(RESOURCE_TYPE, session.id.as_str()).ok()?),
        context: RequestContext {
            ip: sight.map_or(birth.ip, |sight| sight.ip),
            user_agent: sight
                .and_then(|sight| sight.user_agent.as_deref())
                .map(str::to_owned),
            session_id: Some(session.id.clone()),
            device,
            ..RequestContext::default()
        },
        result: None,
    })
}

fn later(assurance: Assurance, seconds: i64) -> Assurance {
    let later = |at: Option<Timestamp>| at.map(|at| at.plus_seconds(seconds));
    Assurance {
        level: assurance.level,
        at: later(assurance.at),
        challenge_at: later(assurance.challenge_at),
        mfa_at: later(assurance.mfa_at),
    }
}
