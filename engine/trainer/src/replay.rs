//! Events through the features, in order of time, as the engine would have seen them.
//!
//! One pass, causal: a profile knows only what came before. What is learnt is what the engine
//! would learn from requests that it allows.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{
    ActionResult, Assurance, EntityRef, Level, SessionBirth, SessionRecord, Signal, Value,
};
use geo::Geo;
use risk::agent::Agent;
use risk::{Evidence, Key, Lesson, Profile, Signals};
use wire::Event;
use wire::event::Label;

/// The state that events leave behind: profiles and sessions.
#[derive(Debug)]
pub struct Replay<'a> {
    geo: &'a Geo,
    profiles: HashMap<EntityRef, Arc<Profile>>,
    sessions: HashMap<String, SessionRecord>,
    seen: u64,
}

impl<'a> Replay<'a> {
    /// Nobody has been seen yet.
    #[must_use]
    pub fn new(geo: &'a Geo) -> Self {
        Self {
            geo,
            profiles: HashMap::new(),
            sessions: HashMap::new(),
            seen: 0,
        }
    }

    /// Subjects seen.
    #[must_use]
    pub fn subjects(&self) -> usize {
        self.profiles.len()
    }

    /// What the engine would know of an event, and then learn from it.
    pub fn step(&mut self, event: &mut Event) -> Evidence {
        believe(event);
        let signals = self.signals(event);
        let evidence = risk::extract(&event.request, &signals, event.time);
        self.learn(event, &signals, &evidence);
        evidence
    }

    fn signals(&self, event: &Event) -> Signals {
        let request = &event.request;
        let located = request
            .context
            .ip
            .map(|ip| self.geo.locate(ip))
            .unwrap_or_default();
        let session = request
            .context
            .session_id
            .as_ref()
            .and_then(|id| self.sessions.get(id))
            .filter(|session| session.subject == request.subject.entity);
        Signals {
            place: located.place,
            network: located.network,
            anonymity: located.anonymity,
            agent: request
                .context
                .user_agent
                .as_deref()
                .and_then(Agent::parse)
                .map(Arc::new),
            profile: Signal::from(self.profiles.get(&request.subject.entity).cloned()),
            device: Signal::Absent,
            session: Signal::from(session.cloned()),
            sensitivity: match request.resource.properties.get("sensitivity") {
                Some(Value::Long(label)) => Signal::Known(*label),
                _ => Signal::Absent,
            },
            given_up: false,
        }
    }

    fn learn(&mut self, event: &Event, signals: &Signals, evidence: &Evidence) {
        let request = &event.request;
        let lesson = match (&event.label, request.result) {
            // An attack was not trusted, or is not to be: labels are there to say so.
            (Some(Label::Attack(_)), _) | (_, Some(ActionResult::Failure)) => Lesson::Counters,
            _ => Lesson::Baselines,
        };
        self.seen += 1;
        let delta = evidence.delta(Key::number(self.seen), lesson);
        let profile = self
            .profiles
            .entry(request.subject.entity.clone())
            .or_default();
        Arc::make_mut(profile).apply(&delta);
        if let (Signal::Absent, Some(id)) = (&signals.session, &request.context.session_id) {
            self.sessions
                .entry(id.clone())
                .or_insert_with(|| SessionRecord {
                    id: id.clone(),
                    subject: request.subject.entity.clone(),
                    birth: SessionBirth {
                        at: event.time,
                        ip: request.context.ip,
                        country: signals.place.known().and_then(|place| place.country),
                        asn: signals.network.known().map(|network| network.asn),
                        agent_family: evidence.agent_family.clone(),
                        device_id: evidence.facts.device.id.clone(),
                    },
                    last_seen: event.time,
                    assurance: Assurance::default(),
                    ended: false,
                });
        }
        // Sessions of days ago say nothing any more.
        if self.seen.is_multiple_of(100_000) {
            let old = event.time.plus_seconds(-2 * 86_400);
            self.sessions.retain(|_, session| session.birth.at >= old);
        }
    }
}

/// Takes the event's own word on the authentication.
fn believe(event: &mut Event) {
    if let Some(claim) = &event.assurance {
        let level = claim.level.and_then(Level::from_number).unwrap_or_default();
        event.request.context.assurance = Some(Assurance::of(level, claim.auth_time));
    }
}
