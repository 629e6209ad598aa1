//! Events before they are written out: what many of them share is held once.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{
    AccessRequest, Action, ActionResult, DeviceClaim, Name, Party, RequestContext, Timestamp,
};
use wire::event::Label;
use wire::{AssuranceClaim, Event};

use super::atlas::{Ground, PlaceId};
use super::work::Resource;

/// What the requests of one sitting have in common.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the members of a request, by the same names")]
pub struct Sitting {
    pub subject: Party,
    pub ip: std::net::IpAddr,
    pub agent: String,
    pub device: Option<DeviceClaim>,
    pub session: Option<String>,
    pub assurance: Option<AssuranceClaim>,
    pub label: Option<Label>,
}

impl Sitting {
    /// One request of it. None when the action's or the resource's name is no name.
    #[must_use]
    pub fn event(
        &self,
        at: Timestamp,
        action: &str,
        resource: &Resource,
        result: Option<ActionResult>,
    ) -> Option<Event> {
        Some(Event {
            request: AccessRequest {
                subject: self.subject.clone(),
                action: Action {
                    name: Name::new(action).ok()?,
                    properties: BTreeMap::new(),
                },
                resource: resource.party()?,
                context: RequestContext {
                    ip: Some(self.ip),
                    user_agent: Some(self.agent.clone()),
                    session_id: self.session.clone(),
                    device: self.device.clone(),
                    ..RequestContext::default()
                },
                result,
            },
            time: at,
            assurance: self.assurance.clone(),
            label: self.label.clone(),
        })
    }
}

/// A sitting, and what the simulation knows of it that no event says.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) sitting: Sitting,
    /// Where its subject really is.
    pub(super) place: PlaceId,
    pub(super) ground: Ground,
    pub(super) asn: u32,
}

impl Seat {
    /// The same under a label.
    pub(super) fn labelled(&self, label: Label) -> Arc<Self> {
        let mut seat = self.clone();
        seat.sitting.label = Some(label);
        Arc::new(seat)
    }
}

/// One event to be.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Milliseconds since 1970.
    pub(super) at: i64,
    pub(super) seat: Arc<Seat>,
    pub(super) action: Arc<str>,
    pub(super) resource: Arc<Resource>,
    pub(super) result: Option<ActionResult>,
}

impl Draft {
    /// Written out.
    pub(super) fn event(&self) -> Option<Event> {
        let at = Timestamp::from_millis(self.at);
        self.seat
            .sitting
            .event(at, &self.action, &self.resource, self.result)
    }
}

/// Later by so many seconds.
pub(super) fn later(at: i64, seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "pauses of at most days")]
    let millis = (seconds * 1000.0) as i64;
    at + millis
}

/// An attack's label.
pub(super) fn attack(name: &str) -> Label {
    Label::Attack(name.to_owned())
}

/// A twin's label.
pub(super) fn benign(name: &str) -> Label {
    Label::Benign(name.to_owned())
}
