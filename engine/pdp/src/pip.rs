//! Gathering signals: everything that is known about a request besides its own words.
//!
//! Concurrently, each within its time, each with what became of its source. Nothing here
//! decides, and nothing here can fail a request.

use std::sync::Arc;

use domain::{AccessRequest, DeviceRecord, SessionRecord, Signal, Timestamp, Value};
use geo::database::Located;
use risk::agent::Agent;
use risk::{CrowdKeys, Key, Profile, Signals};

use crate::app::App;
use crate::behaviour;
use crate::engine::Snapshot;
use crate::sessions::name::is_id;
use crate::sessions::{Named, gone, seen_by};

/// Profile, device and session.
pub(crate) type LookedUp = (
    Signal<Arc<Profile>>,
    Signal<Arc<DeviceRecord>>,
    Signal<SessionRecord>,
);

/// Gathers the signals of a request (R17).
///
/// `now` is the engine's clock: it tells how long a source has been failing. Whether the
/// assurance of the session counts is the caller's permission, and which session is meant depends
/// on who names it.
pub(crate) async fn gather(
    app: &App,
    request: &AccessRequest,
    named: &Named,
    snapshot: &Snapshot,
    may_assert: bool,
    now: Timestamp,
) -> Signals {
    let context = &request.context;
    let device_id = context
        .device
        .as_ref()
        .and_then(|device| device.id.as_ref());
    let (profile, device, session) = tokio::join!(
        app.state.profile(&request.subject.entity, now),
        async {
            match device_id {
                Some(id) => app.state.device(id, now).await,
                None => Signal::Absent,
            }
        },
        async {
            match named {
                Named::Kept { key, .. } => {
                    let may_assert = named.brings_assurance(may_assert);
                    let found = app.state.session(key, now).await;
                    let name = context.session_id.as_deref().unwrap_or_default();
                    match found {
                        Signal::Known(known) => {
                            Signal::Known(seen_by(&known, name, may_assert, now))
                        }
                        // The engine gives such ids to nothing else.
                        Signal::Absent if is_id(name) => {
                            Signal::Known(gone(name, &request.subject.entity, now))
                        }
                        Signal::Absent => Signal::Absent,
                        Signal::Unavailable => Signal::Unavailable,
                    }
                }
                Named::Unknown => {
                    let name = context.session_id.as_deref().unwrap_or_default();
                    Signal::Known(gone(name, &request.subject.entity, now))
                }
                Named::Unavailable => Signal::Unavailable,
                Named::Nothing => Signal::Absent,
            }
        },
    );
    let looked_up = (profile, device, session);
    let mut signals = put_together(app, request, snapshot, looked_up, now);
    signals.handle_superseded = named.is_superseded();
    // One that a caller has a word of its own for is kept under another key.
    if let Named::Kept { key, .. } = named
        && !is_id(key)
    {
        let profile = &signals.profile;
        signals.behaviour = behaviour::gathered(app, key, request, profile, snapshot, now);
    }
    signals
}

/// The same where profile, device and session were looked up before.
pub(crate) fn put_together(
    app: &App,
    request: &AccessRequest,
    snapshot: &Snapshot,
    (profile, device, session): LookedUp,
    now: Timestamp,
) -> Signals {
    let context = &request.context;
    let located = context
        .ip
        .map_or_else(Located::default, |ip| app.geo.load().locate(ip));
    let name = context.session_id.as_deref().filter(|name| is_id(name));
    let behaviour =
        name.and_then(|id| behaviour::gathered(app, id, request, &profile, snapshot, now));
    let asn = located.network.known().map(|network| network.asn);
    let tallies = app.state.tallies([
        context.ip.map(Key::of_address),
        context.ip.map(Key::of_prefix),
        asn.map(|asn| Key::number(u64::from(asn))),
    ]);
    Signals {
        crowds: app.state.crowds(crowds(app, request, snapshot)),
        tallies,
        place: located.place,
        network: located.network,
        anonymity: located.anonymity,
        agent: context
            .user_agent
            .as_deref()
            .and_then(|text| agent(app, text)),
        profile,
        device: match device {
            Signal::Known(device) => Signal::Known((*device).clone()),
            Signal::Absent => Signal::Absent,
            Signal::Unavailable => Signal::Unavailable,
        },
        session,
        sensitivity: of_resource(request, snapshot, &app.settings.sensitivity_attribute),
        size: of_resource(request, snapshot, &app.settings.size_attribute),
        behaviour,
        handle_superseded: false,
        heard: app.hearing.of(&request.subject.entity, now),
        given_up: app.state.has_given_up(now),
    }
}

/// The client program that a `User-Agent` names; there are few of them, and each comes often.
pub(crate) fn agent(app: &App, user_agent: &str) -> Option<Arc<Agent>> {
    if let Some(known) = app.agents.get(user_agent) {
        return known;
    }
    let agent = Agent::parse(user_agent).map(Arc::new);
    app.agents.insert(user_agent.to_owned(), agent.clone());
    agent
}

/// The crowds that the subject belongs to: the stored word counts; the caller's fills in only
/// what is not stored.
pub(crate) fn crowds(app: &App, request: &AccessRequest, snapshot: &Snapshot) -> CrowdKeys {
    let subject = &request.subject;
    let attribute = app.settings.peer_attribute.as_str();
    let stored = snapshot
        .directory
        .stored_text(&snapshot.policies, &subject.entity, attribute);
    let told = || match subject.properties.get(attribute) {
        Some(Value::Text(word)) => Some(word.clone()),
        _ => None,
    };
    let peers = stored.or_else(told);
    CrowdKeys::of(subject.entity.kind.as_str(), peers.as_deref())
}

/// A whole number of the resource, its label or size: what is stored; the caller's word fills in
/// only what is not.
pub(crate) fn of_resource(
    request: &AccessRequest,
    snapshot: &Snapshot,
    attribute: &str,
) -> Signal<i64> {
    let resource = &request.resource;
    match snapshot
        .directory
        .stored_long(&snapshot.policies, &resource.entity, attribute)
    {
        Signal::Absent => match resource.properties.get(attribute) {
            Some(Value::Long(number)) => Signal::Known(*number),
            _ => Signal::Absent,
        },
        stored => stored,
    }
}
