//! From signals to facts and features. Pure: the profile and the clock are arguments.

use std::net::IpAddr;
use std::sync::Arc;

use domain::facts::{DeviceFacts, NetworkFacts, SessionFacts, SignalFacts, TimeFacts};
use domain::signal::Source;
use domain::{
    AccessRequest, ActionResult, Anonymity, Assurance, DeviceRecord, Facts, Network, Place,
    SessionRecord, Signal, Timestamp,
};

use crate::agent::Agent;
use crate::features::{Feature, Features};
use crate::key::Key;
use crate::profile::{Delta, Habit, Lesson, Observation, Profile, hour_of_week};
use crate::travel;

/// Over this speed, and this distance, nobody travels between two honest requests (Panther:
/// 900 km/h; Elastic: 500 km).
pub const IMPOSSIBLE_KMH: f64 = 900.0;
/// See [`IMPOSSIBLE_KMH`].
pub const IMPOSSIBLE_KM: f64 = 500.0;
/// An hour whose log-ratio against an even week lies above this is unusual: some eight times
/// rarer than chance.
const UNUSUAL_HOUR_NATS: f64 = 2.0;

/// Everything gathered about a request, each signal with what became of its source.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Where the address is.
    pub place: Signal<Place>,
    /// Whose network it is in.
    pub network: Signal<Network>,
    /// What it hides.
    pub anonymity: Signal<Anonymity>,
    /// The client program behind the `User-Agent`, if it names one.
    pub agent: Option<Arc<Agent>>,
    /// What is usual for the subject. Absent: a subject never seen before.
    pub profile: Signal<Arc<Profile>>,
    /// The device's record.
    pub device: Signal<DeviceRecord>,
    /// The session.
    pub session: Signal<SessionRecord>,
    /// The stored sensitivity of the resource, 0 to 3.
    pub sensitivity: Signal<i64>,
    /// Sources have been failing for longer than decisions may go on without them.
    pub given_up: bool,
}

/// What the signals come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// In the words of the vocabulary; `risk` is filled in by the score.
    pub facts: Facts,
    /// In numbers.
    pub features: Features,
    /// What sentences need and no number holds.
    pub story: Story,
    /// What a profile may learn from it.
    pub observation: Observation,
    /// The assurance that the request really has: the caller's word and the session's.
    pub assurance: Assurance,
    /// Family of the client program, for the birth of a session.
    pub agent_family: Option<String>,
}

/// The journey behind an implied speed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Where the subject was last trusted to be.
    pub from: Option<String>,
    /// Where the request comes from.
    pub to: Option<String>,
    /// Seconds between the two.
    pub seconds: i64,
}

/// Works out facts and features (R1 to R8, R17, R18).
#[must_use]
pub fn extract(request: &AccessRequest, signals: &Signals, now: Timestamp) -> Evidence {
    let unseen = Arc::default();
    let profile: Option<&Profile> = match &signals.profile {
        Signal::Known(profile) => Some(profile),
        // Nothing is usual yet; rates and failures still count from zero.
        Signal::Absent => Some(&unseen),
        Signal::Unavailable => None,
    };
    let context = &request.context;
    let agent = signals.agent.as_deref();
    let assurance = known_assurance(request, signals);
    let observation = observe(request, signals, agent, now);
    let mut evidence = Evidence {
        facts: Facts {
            time: TimeFacts::at(now),
            ..Facts::default()
        },
        features: Features::default(),
        story: Story::default(),
        observation,
        assurance,
        agent_family: agent.map(|agent| agent.family.clone()),
    };
    evidence.note_unavailable(signals);
    evidence.note_network(context.ip, signals);
    evidence.note_device(request, signals);
    evidence.note_session(signals, agent, request, now);
    if let Some(profile) = profile {
        evidence.note_habits(profile, now);
        evidence.note_travel(profile, signals, now);
        evidence.note_volume(profile, now);
    }
    evidence.note_request(signals, now);
    evidence
}

/// The caller's word and the session's, together. What the caller may not assert is gone from
/// both by now.
fn known_assurance(request: &AccessRequest, signals: &Signals) -> Assurance {
    let claimed = request.context.assurance.unwrap_or_default();
    signals
        .session
        .known()
        .map_or(claimed, |session| claimed.merged_with(session.assurance))
}

/// What a profile would see of this request.
fn observe(
    request: &AccessRequest,
    signals: &Signals,
    agent: Option<&Agent>,
    now: Timestamp,
) -> Observation {
    let place = signals.place.known();
    let spot = place.and_then(|place| place.spot);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "degrees and kilometres need no more"
    )]
    let spot = spot.map(|spot| {
        (
            spot.latitude as f32,
            spot.longitude as f32,
            spot.radius_km as f32,
        )
    });
    let resource = &request.resource.entity;
    Observation {
        at: now,
        spot,
        place: place.and_then(place_name),
        hides_place: signals
            .anonymity
            .known()
            .is_some_and(|known| known.hides_place()),
        country: place
            .and_then(|place| place.country)
            .map(|country| Key::number(u64::from(country.number()))),
        asn: signals
            .network
            .known()
            .map(|network| Key::number(u64::from(network.asn))),
        prefix: request.context.ip.map(Key::of_prefix),
        agent: agent.map(|agent| Key::of(&agent.family)),
        device: request
            .context
            .device
            .as_ref()
            .and_then(|device| device.id.as_deref())
            .map(Key::of),
        resource: Key::of_pair(resource.kind.as_str(), resource.id.as_str()),
        action: Key::of(request.action.name.as_str()),
        failed: request.result == Some(ActionResult::Failure),
    }
}

impl Evidence {
    /// The delta that this request makes in the subject's profile.
    #[must_use]
    pub fn delta(&self, event: Key, lesson: Lesson) -> Delta {
        Delta {
            event,
            observation: self.observation.clone(),
            lesson,
        }
    }

    fn note_unavailable(&mut self, signals: &Signals) {
        for (source, failed) in [
            (Source::GeoCity, signals.place.is_unavailable()),
            (Source::GeoAsn, signals.network.is_unavailable()),
            (Source::GeoAnonymous, signals.anonymity.is_unavailable()),
            (Source::Profile, signals.profile.is_unavailable()),
            (Source::Device, signals.device.is_unavailable()),
            (Source::Session, signals.session.is_unavailable()),
            (Source::Entities, signals.sensitivity.is_unavailable()),
        ] {
            if failed {
                self.facts.unavailable.push(source);
            }
        }
    }

    fn note_network(&mut self, ip: Option<IpAddr>, signals: &Signals) {
        let place = signals.place.known();
        self.facts.network = NetworkFacts {
            ip,
            country: place
                .and_then(|place| place.country)
                .map(|c| c.as_str().to_owned()),
            city: place.and_then(|place| place.city.clone()),
            asn: signals
                .network
                .known()
                .map(|network| i64::from(network.asn)),
        };
        if let Some(anonymity) = signals.anonymity.known() {
            let words = &mut self.facts.signals;
            words.anonymiser = Some(anonymity.is_anonymiser());
            words.tor = Some(anonymity.tor);
            words.relay = Some(anonymity.relay);
            words.hosting = Some(anonymity.hosting);
            words.corporate_exit = Some(anonymity.corporate_exit);
            let rank = if anonymity.tor {
                4.0
            } else if anonymity.public_proxy || anonymity.residential_proxy {
                3.0
            } else if anonymity.vpn {
                2.0
            } else if anonymity.relay {
                1.0
            } else {
                0.0
            };
            self.features.set(Feature::Anonymiser, rank);
            self.features
                .set(Feature::Hosting, f64::from(u8::from(anonymity.hosting)));
        }
    }

    fn note_device(&mut self, request: &AccessRequest, signals: &Signals) {
        let claim = request.context.device.as_ref();
        let record = signals.device.known();
        let trust = record.and_then(|record| record.trust);
        // A stored record wins; the caller's word fills in what is not stored.
        let stored_or_claimed = |stored: Option<bool>, claimed: Option<bool>| stored.or(claimed);
        let text = |stored: Option<&String>, claimed: Option<&String>| stored.or(claimed).cloned();
        self.facts.device = DeviceFacts {
            id: claim.and_then(|claim| claim.id.clone()),
            managed: stored_or_claimed(
                record.and_then(|record| record.managed),
                claim.and_then(|claim| claim.managed),
            ),
            compliant: stored_or_claimed(
                record.and_then(|record| record.compliant),
                claim.and_then(|claim| claim.compliant),
            ),
            os: text(
                record.and_then(|record| record.os.as_ref()),
                claim.and_then(|claim| claim.os.as_ref()),
            ),
            os_version: text(
                record.and_then(|record| record.os_version.as_ref()),
                claim.and_then(|claim| claim.os_version.as_ref()),
            ),
            trust: trust.map(i64::from),
        };
        let words = &mut self.facts.signals;
        words.device_trust = trust.map(i64::from);
        words.device_revoked = record.map(|record| record.revoked);
        words.device_of_another = record
            .and_then(|record| record.owner.as_ref())
            .map(|owner| *owner != request.subject.entity);
        if let Some(trust) = trust {
            self.features
                .set(Feature::DeviceDistrust, 100.0 - f64::from(trust.min(100)));
        }
    }

    fn note_session(
        &mut self,
        signals: &Signals,
        agent: Option<&Agent>,
        request: &AccessRequest,
        now: Timestamp,
    ) {
        let Some(session) = signals.session.known() else {
            self.facts
                .session
                .id
                .clone_from(&request.context.session_id);
            return;
        };
        let birth = &session.birth;
        let age = now.whole_seconds_since(birth.at);
        self.facts.session = SessionFacts {
            id: Some(session.id.clone()),
            age_seconds: Some(age),
        };
        self.features
            .set(Feature::SessionAgeSeconds, now.seconds_since(birth.at));

        let place = signals.place.known();
        let asn = signals.network.known().map(|network| network.asn);
        let country = place.and_then(|place| place.country);
        let device = request
            .context
            .device
            .as_ref()
            .and_then(|device| device.id.as_ref());
        let words = &mut self.facts.signals;
        words.session_network_changed = changed(birth.asn, asn);
        words.session_country_changed = changed(birth.country, country);
        words.session_device_changed = changed(birth.device_id.as_ref(), device);
        words.session_agent_changed = changed(
            birth.agent_family.as_ref(),
            agent.map(|agent| &agent.family),
        );
        let changes = [
            words.session_network_changed,
            words.session_country_changed,
            words.session_device_changed,
            words.session_agent_changed,
        ];
        let is = |change: Option<bool>| change == Some(true);
        if changes.iter().any(Option::is_some) {
            let moved_network =
                is(words.session_network_changed) || is(words.session_country_changed);
            let moved_client = is(words.session_device_changed) || is(words.session_agent_changed);
            words.session_moved = Some(moved_network && moved_client);
            let count = changes.into_iter().filter(|change| is(*change)).count();
            self.features.set(Feature::SessionDrift, count as f64);
        }
    }

    fn note_habits(&mut self, profile: &Profile, now: Timestamp) {
        let words: &mut SignalFacts = &mut self.facts.signals;
        words.history = Some(i64::from(profile.history()));
        if let Some(last) = profile.last_trusted() {
            let days = now.seconds_since(last) / 86_400.0;
            self.features.set(Feature::DormantDays, days);
            words.dormant_days = Some(now.whole_seconds_since(last) / 86_400);
        }
        if !profile.is_settled() {
            return;
        }
        // An address that hides its place says nothing of the country that somebody is in.
        let seen = &self.observation;
        let country = seen.country.filter(|_| !seen.hides_place);
        for (habit, key, feature) in [
            (Habit::Device, seen.device, Feature::DeviceSurprise),
            (Habit::Agent, seen.agent, Feature::AgentSurprise),
            (Habit::Country, country, Feature::CountrySurprise),
            (Habit::Asn, seen.asn, Feature::AsnSurprise),
            (Habit::Prefix, seen.prefix, Feature::PrefixSurprise),
            (
                Habit::Resource,
                Some(seen.resource),
                Feature::ResourceSurprise,
            ),
            (Habit::Action, Some(seen.action), Feature::ActionSurprise),
        ] {
            if let Some(key) = key {
                self.features
                    .set(feature, profile.surprise(habit, key, now));
            }
        }
        let is_new = |habit, key: Option<Key>| key.map(|key| !profile.knows(habit, key));
        words.known_device = is_new(Habit::Device, seen.device).map(|new| !new);
        words.new_agent = is_new(Habit::Agent, seen.agent);
        words.new_country = is_new(Habit::Country, country);
        words.new_network = is_new(Habit::Asn, seen.asn);
        words.new_resource = is_new(Habit::Resource, Some(seen.resource));
        words.new_action = is_new(Habit::Action, Some(seen.action));
        let hour = profile.hour_surprise(hour_of_week(now));
        self.features.set(Feature::HourSurprise, hour);
        words.unusual_hour = Some(hour > UNUSUAL_HOUR_NATS);
    }

    fn note_travel(&mut self, profile: &Profile, signals: &Signals, now: Timestamp) {
        let Some(place) = signals.place.known() else {
            return;
        };
        let Some(spot) = place.spot else { return };
        if self.observation.hides_place {
            return;
        }
        let words = &mut self.facts.signals;
        if let Some(distance) = profile.distance_km(spot) {
            self.features.set(Feature::UsualDistanceKm, distance);
            words.distance_km = whole(distance);
        }
        let Some(fix) = profile.last_fix() else {
            return;
        };
        self.story = Story {
            from: fix.place.clone(),
            to: place_name(place),
            seconds: now.whole_seconds_since(fix.at),
        };
        let distance = travel::sure_distance_km(fix.spot(), spot);
        let speed = travel::speed_kmh(distance, now.seconds_since(fix.at));
        self.features.set(Feature::ImpliedSpeedKmh, speed);
        words.implied_speed_kmh = whole(speed);
        words.impossible_travel = Some(speed >= IMPOSSIBLE_KMH && distance >= IMPOSSIBLE_KM);
    }

    fn note_volume(&mut self, profile: &Profile, now: Timestamp) {
        let requests = profile.requests(now);
        let objects = profile.objects(self.observation.resource, now);
        let failures = profile.failures(now);
        let words = &mut self.facts.signals;
        words.requests_5m = whole(requests);
        words.objects_1h = whole(objects);
        words.recent_failures = whole(failures);
        self.features.set(Feature::RecentFailures, failures);
        if profile.is_settled() {
            for (feature, number, usual, word) in [
                (
                    Feature::RequestRate,
                    requests,
                    profile.usual_requests(),
                    &mut words.request_rate_percent,
                ),
                (
                    Feature::ObjectRate,
                    objects,
                    profile.usual_objects(),
                    &mut words.object_rate_percent,
                ),
            ] {
                if let Some(usual) = usual {
                    let ratio = number / f64::from(usual).max(1.0);
                    self.features.set(feature, ratio.ln());
                    *word = whole(ratio * 100.0);
                }
            }
        }
    }

    fn note_request(&mut self, signals: &Signals, now: Timestamp) {
        if let Some(sensitivity) = signals.sensitivity.known() {
            let sensitivity = (*sensitivity).clamp(0, 3);
            self.facts.signals.resource_sensitivity = Some(sensitivity);
            self.features
                .set(Feature::ResourceSensitivity, sensitivity as f64);
        }
        if let Some(at) = self.assurance.at {
            self.features
                .set(Feature::AssuranceAgeSeconds, now.seconds_since(at));
        }
    }
}

/// Whether a value differs from the one at birth; unknown when either is.
fn changed<T: PartialEq>(birth: Option<T>, now: Option<T>) -> Option<bool> {
    Some(birth? != now?)
}

fn place_name(place: &Place) -> Option<String> {
    place
        .city
        .clone()
        .or_else(|| place.country.map(|country| country.as_str().to_owned()))
}

/// Rounded to a whole number that Cedar can hold.
#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to what an i64 holds"
)]
fn whole(value: f64) -> Option<i64> {
    value
        .is_finite()
        .then(|| value.round().clamp(0.0, 1e15) as i64)
}
