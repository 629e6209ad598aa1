//! Events through the features, in order of time, as the engine would have seen them.
//!
//! One pass, causal: a profile knows only what came before. What is learnt is what the engine
//! would learn from requests that it allows.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{AccessRequest, Assurance, EntityRef, Level, SessionRecord, Signal, Value};
use geo::Geo;
use risk::agent::Agent;
use risk::{
    Attempt, Crowd, CrowdKeys, Crowds, Evidence, Key, Lesson, Profile, Settings, Signals, Standing,
    Tally, binding,
};
use wire::Event;
use wire::event::Label;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What may be learnt from it.
    pub lesson: Lesson,
    /// The step-up that followed, and was passed: it lifts the session.
    pub passed: Option<Level>,
}

/// The state that events leave behind: profiles, crowds, sources and sessions.
#[derive(Debug)]
pub struct Replay<'a> {
    geo: &'a Geo,
    settings: &'a Settings,
    profiles: HashMap<EntityRef, Arc<Profile>>,
    crowds: HashMap<Key, Arc<Crowd>>,
    tallies: [HashMap<Key, Tally>; 3],
    sessions: HashMap<String, SessionRecord>,
    seen: u64,
}

impl<'a> Replay<'a> {
    /// Nobody has been seen yet.
    #[must_use]
    pub fn new(geo: &'a Geo, settings: &'a Settings) -> Self {
        Self {
            geo,
            settings,
            profiles: HashMap::new(),
            crowds: HashMap::new(),
            tallies: Default::default(),
            sessions: HashMap::new(),
            seen: 0,
        }
    }

    /// Subjects seen.
    #[must_use]
    pub fn subjects(&self) -> usize {
        self.profiles.len()
    }

    /// Everybody who was seen.
    pub fn who(&self) -> impl Iterator<Item = EntityRef> + '_ {
        self.profiles.keys().cloned()
    }

    /// What the engine would know of an event. Learns from it what an engine would that told
    /// every attack from an honest event: labels say which is which.
    pub fn step(&mut self, event: &mut Event) -> Evidence {
        let settings = self.settings;
        self.step_with(event, |event, signals| {
            let lesson = match &event.label {
                Some(Label::Attack(_)) => Lesson::Counters,
                _ if !event.is_question() => Lesson::Counters,
                _ => Lesson::Baselines,
            };
            let evidence = risk::extract(&event.request, signals, settings, event.time);
            let verdict = Verdict {
                lesson,
                passed: None,
            };
            (evidence, verdict, ())
        })
        .0
    }

    /// The same, but what is learnt is up to `decide`.
    pub fn step_with<T>(
        &mut self,
        event: &mut Event,
        decide: impl FnOnce(&Event, &Signals) -> (Evidence, Verdict, T),
    ) -> (Evidence, T) {
        believe(event);
        let signals = self.signals(event);
        let (evidence, verdict, told) = decide(event, &signals);
        self.learn(event, signals, &evidence, verdict);
        (evidence, told)
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
        let sources = [
            request.context.ip.map(Key::of_address),
            request.context.ip.map(Key::of_prefix),
            located
                .network
                .known()
                .map(|network| Key::number(u64::from(network.asn))),
        ];
        let mut tallies = [None; 3];
        for ((slot, source), known) in tallies.iter_mut().zip(sources).zip(&self.tallies) {
            *slot = source.and_then(|key| known.get(&key)).copied();
        }
        Signals {
            crowds: self.crowds_of(crowd_keys(request)),
            tallies,
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
            sensitivity: of_resource(request, "sensitivity"),
            size: of_resource(request, "size_bytes"),
            behaviour: None,
            handle_superseded: false,
            heard: None,
            given_up: false,
        }
    }

    fn crowds_of(&self, keys: CrowdKeys) -> Crowds {
        let everyone = self.crowds.get(&keys.everyone).cloned().unwrap_or_default();
        Crowds {
            group: self
                .crowds
                .get(&keys.group)
                .map_or_else(|| Arc::clone(&everyone), Arc::clone),
            everyone,
        }
    }

    fn learn(&mut self, event: &Event, signals: Signals, evidence: &Evidence, verdict: Verdict) {
        let request = &event.request;
        self.seen += 1;
        let delta = evidence.delta(Key::number(self.seen), verdict.lesson);
        // What was read goes now, so that what is changed need not be copied.
        let (session, place, network) = (signals.session, signals.place, signals.network);
        let agent = signals.agent;
        drop(signals.profile);
        drop(signals.crowds);
        let profile = self
            .profiles
            .entry(request.subject.entity.clone())
            .or_default();
        let profile = Arc::make_mut(profile);
        profile.apply(&delta);
        if delta.lesson == Lesson::Baselines {
            let standing = Standing::of(profile);
            for key in crowd_keys(request).each() {
                let crowd = self.crowds.entry(key).or_default();
                Arc::make_mut(crowd).learn(&delta.observation, &standing);
            }
        }
        self.count(&delta.attempt);
        if let (Some(level), Some(id)) = (verdict.passed, &request.context.session_id)
            && let Some(session) = self.sessions.get_mut(id)
        {
            let passed = Assurance::of(level, Some(event.time));
            session.assurance = session.assurance.merged_with(passed);
        }
        if let (Signal::Absent, Some(id)) = (&session, &request.context.session_id) {
            self.sessions
                .entry(id.clone())
                .or_insert_with(|| SessionRecord {
                    id: id.clone(),
                    subject: request.subject.entity.clone(),
                    birth: binding::birth(
                        &request.context,
                        &place,
                        &network,
                        agent.as_deref(),
                        event.time,
                    ),
                    last_seen: event.time,
                    sight: None,
                    assurance: Assurance::default(),
                    ended: false,
                    terms: None,
                });
        }
        // Sessions of days ago say nothing any more.
        if self.seen.is_multiple_of(100_000) {
            let old = event.time.plus_seconds(-2 * 86_400);
            self.sessions.retain(|_, session| session.birth.at >= old);
            for known in &mut self.tallies {
                known.retain(|_, tally| !tally.is_quiet(event.time));
            }
        }
    }

    fn count(&mut self, attempt: &Attempt) {
        for (source, known) in attempt.sources.into_iter().zip(&mut self.tallies) {
            if let Some(key) = source {
                known.entry(key).or_default().add(attempt);
            }
        }
    }
}

/// Those who do the same work, by the word that the demo organisation has for it.
fn crowd_keys(request: &AccessRequest) -> CrowdKeys {
    let peers = match request.subject.properties.get("department") {
        Some(Value::Text(word)) => Some(word.as_str()),
        _ => None,
    };
    CrowdKeys::of(request.subject.entity.kind.as_str(), peers)
}

/// Takes the event's own word on the authentication.
fn believe(event: &mut Event) {
    if let Some(claim) = &event.assurance {
        let level = claim.level.and_then(Level::from_number).unwrap_or_default();
        event.request.context.assurance = Some(Assurance::of(level, claim.auth_time));
    }
}

/// A whole number that an event tells of its resource.
fn of_resource(request: &AccessRequest, property: &str) -> Signal<i64> {
    match request.resource.properties.get(property) {
        Some(Value::Long(number)) => Signal::Known(*number),
        _ => Signal::Absent,
    }
}
