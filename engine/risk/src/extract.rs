//! From signals to facts and features. Pure: the profile and the clock are arguments.

mod habits;
mod live;
mod observe;

use std::net::IpAddr;
use std::sync::Arc;

use domain::facts::{ActorFacts, DeviceFacts, NetworkFacts, SessionFacts, TimeFacts};
use domain::signal::Source;
use domain::{
    AccessRequest, Anonymity, Assurance, DeviceRecord, Facts, Heard, Network, Place, SessionRecord,
    Signal, Timestamp,
};

use crate::abuse::{Attempt, Tally};
use crate::agent::Agent;
use crate::behaviour::{Analysis, Pattern};
use crate::binding;
use crate::crowd::{Crowd, Peers};
use crate::features::{Feature, Features};
use crate::key::Key;
use crate::profile::{Delta, Habit, Lesson, Observation, Profile};
use crate::settings::Settings;
pub use live::{CONTINUE, CREATE, extract_live};
use observe::{attempt_of, observe};

/// Over this speed, and this distance, nobody travels between two honest requests (Panther:
/// 900 km/h; Elastic: 500 km).
pub const IMPOSSIBLE_KMH: f64 = 900.0;
/// See [`IMPOSSIBLE_KMH`].
pub const IMPOSSIBLE_KM: f64 = 500.0;
/// From here on it is a gap that the posture was not checked again: a part of what the feature
/// means, whatever the settings believe for how long.
const UNCHECKED_SECONDS: i64 = 30 * 86_400;

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
    /// What is usual for those who do the same work, and for everybody of the type.
    pub crowds: Crowds,
    /// What has come from the address, from its /24 or /64, from its autonomous system.
    pub tallies: [Option<Tally>; 3],
    /// The device's record.
    pub device: Signal<DeviceRecord>,
    /// The session.
    pub session: Signal<SessionRecord>,
    /// It was named by a handle that it had long before.
    pub handle_superseded: bool,
    /// The stored sensitivity of the resource, 0 to 3.
    pub sensitivity: Signal<i64>,
    /// How large the resource is, bytes.
    pub size: Signal<i64>,
    /// What others have said of the subject. None: nothing.
    pub heard: Option<Heard>,
    /// What the session's last five minutes look like, once there is enough to tell.
    pub behaviour: Option<Analysis>,
    /// Sources have been failing for longer than decisions may go on without them.
    pub given_up: bool,
}

/// The crowds that a subject belongs to. Empty ones know nothing and say so.
#[derive(Clone, Debug, Default)]
pub struct Crowds {
    /// Those who do the same work.
    pub group: Arc<Crowd>,
    /// Everybody of the same type.
    pub everyone: Arc<Crowd>,
}

impl Crowds {
    fn peers(&self) -> Peers<'_> {
        Peers {
            group: &self.group,
            everyone: &self.everyone,
        }
    }
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
    /// What its sources are to remember.
    pub attempt: Attempt,
    /// The assurance that the request really has: the caller's word and the session's.
    pub assurance: Assurance,
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
pub fn extract(
    request: &AccessRequest,
    signals: &Signals,
    settings: &Settings,
    now: Timestamp,
) -> Evidence {
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
    let attempt = attempt_of(request, &observation);
    let mut evidence = Evidence {
        facts: Facts {
            time: TimeFacts::at(now),
            actor: ActorFacts::of(context.actor.as_ref()),
            ..Facts::default()
        },
        features: Features::default(),
        story: Story::default(),
        observation,
        attempt,
        assurance,
    };
    evidence.note_unavailable(signals);
    evidence.note_network(context.ip, signals, profile);
    evidence.note_device(request, signals, settings, now);
    evidence.note_session(request, signals, profile, now);
    evidence.note_behaviour(signals.behaviour.as_ref());
    evidence.note_sources(&signals.tallies, profile, now);
    if let Some(profile) = profile {
        let peers = signals.crowds.peers();
        evidence.note_habits(profile, peers, now);
        evidence.note_travel(profile, signals, now);
        evidence.note_volume(profile, peers.group, now);
        evidence.note_bytes(profile, peers.group, now);
        evidence.note_failures(profile, now);
    }
    evidence.note_heard(signals.heard.as_ref(), now);
    evidence.note_request(signals, now);
    if !settings.is_interactive(request.subject.entity.kind.as_str()) {
        evidence.features.leave_people_out();
    }
    evidence
}

/// Whether a value is usual; without a profile nothing is.
fn knows(profile: Option<&Profile>, habit: Habit, key: Option<Key>) -> bool {
    profile
        .zip(key)
        .is_some_and(|(profile, key)| profile.knows(habit, key))
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

impl Evidence {
    /// What a record holds of it: enough to decide again, nothing to learn from.
    #[must_use]
    pub fn recorded(facts: Facts, features: Features, assurance: Assurance) -> Self {
        let observation = Observation {
            at: Timestamp::MIN,
            spot: None,
            place: None,
            hides_place: false,
            country: None,
            asn: None,
            prefix: None,
            address: None,
            agent: None,
            system: None,
            device_type: None,
            device: None,
            fingerprint: None,
            round_trip_ms: None,
            resource: Key::NOTHING,
            action: Key::NOTHING,
            failed: false,
            refused_prompt: false,
            bytes: None,
        };
        let attempt = Attempt {
            at: Timestamp::MIN,
            sources: [None; 3],
            subject: Key::NOTHING,
            failed: false,
            score: 0,
        };
        Self {
            facts,
            features,
            story: Story::default(),
            observation,
            attempt,
            assurance,
        }
    }

    /// The delta that this request makes in the subject's profile.
    #[must_use]
    pub fn delta(&self, event: Key, lesson: Lesson) -> Delta {
        let score = self.facts.risk.score.unwrap_or_default();
        let score = u8::try_from(score).unwrap_or(u8::MAX);
        Delta {
            event,
            observation: self.observation.clone(),
            lesson,
            attempt: Attempt {
                score,
                ..self.attempt
            },
            score,
            mfa_at: self.assurance.mfa_at,
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

    fn note_network(&mut self, ip: Option<IpAddr>, signals: &Signals, profile: Option<&Profile>) {
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
            words.threat_address = Some(anonymity.threat);
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
            // Somebody's usual VPN or relay is no news of them; Tor always is.
            let usual = rank < 4.0 && knows(profile, Habit::Asn, self.observation.asn);
            self.features
                .set(Feature::Anonymiser, if usual { 0.0 } else { rank });
            // VPNs run in data centres: that is one fact and not two.
            let bare = anonymity.hosting && rank == 0.0;
            self.features
                .set(Feature::Hosting, f64::from(u8::from(bare)));
        }
    }

    fn note_device(
        &mut self,
        request: &AccessRequest,
        signals: &Signals,
        settings: &Settings,
        now: Timestamp,
    ) {
        let claim = request.context.device.as_ref();
        let record = signals.device.known();
        let trust = record.and_then(|record| record.trust);
        let max_age = i64::from(settings.posture_max_age_seconds);
        let stale = record.and_then(|record| record.posture_is_stale(max_age, now));
        // A stored record wins; the caller's word fills in what is not stored. What was good and
        // is too old is not known any more, and no caller's word makes up for that.
        let stored_or_claimed = |stored: Option<bool>, claimed: Option<bool>| match stored {
            Some(true) if stale == Some(true) => claimed.filter(|good| !good),
            stored => stored.or(claimed),
        };
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
        words.device_proven =
            record.and_then(|record| record.is_proven_by(claim.and_then(|c| c.proven.as_ref())));
        words.device_posture_stale = stale;
        if let Some(trust) = trust {
            self.features
                .set(Feature::DeviceDistrust, 100.0 - f64::from(trust.min(100)));
        }
        let device = &self.facts.device;
        let gaps = [
            device.managed.map(|managed| !managed),
            device.compliant.map(|compliant| !compliant),
            record.map(|record| record.is_unchecked_for(UNCHECKED_SECONDS, now)),
        ];
        if gaps.iter().any(Option::is_some) {
            let known = gaps.iter().filter(|gap| **gap == Some(true)).count();
            self.features.set(Feature::PostureGaps, known as f64);
        }
    }

    fn note_session(
        &mut self,
        request: &AccessRequest,
        signals: &Signals,
        profile: Option<&Profile>,
        now: Timestamp,
    ) {
        let agent = signals.agent.as_deref();
        let Some(session) = signals.session.known() else {
            self.facts
                .session
                .id
                .clone_from(&request.context.session_id);
            return;
        };
        let birth = &session.birth;
        let age = now.whole_seconds_since(birth.at);
        let terms = session.terms.as_ref();
        let missing = terms
            .and_then(|terms| terms.wanted)
            .filter(|wanted| !wanted.is_met_by(&self.assurance));
        self.facts.session = SessionFacts {
            id: Some(session.id.clone()),
            age_seconds: Some(age),
            tier: terms.map(|terms| terms.tier.as_str().to_owned()),
            required_level: missing.map(|wanted| wanted.level.number()),
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
        binding::note(words, birth, &request.context, agent);
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
            // From Wi-Fi to one's own phone is no drift, and who switches a VPN on has not left
            // the country.
            let seen = &self.observation;
            let drifted = [
                is(words.session_network_changed)
                    && !is(words.corporate_exit)
                    && !knows(profile, Habit::Asn, seen.asn),
                is(words.session_country_changed)
                    && !seen.hides_place
                    && !knows(profile, Habit::Country, seen.country),
                is(words.session_device_changed),
                is(words.session_agent_changed),
            ];
            let count = drifted.into_iter().filter(|drifted| *drifted).count();
            self.features.set(Feature::SessionDrift, count as f64);
        }
    }

    fn note_behaviour(&mut self, behaviour: Option<&Analysis>) {
        let Some(behaviour) = behaviour else { return };
        let words = &mut self.facts.signals;
        words.session_anomaly = behaviour.anomaly_score.map(i64::from);
        words.session_patterns = Pattern::names(&behaviour.suspicious_patterns);
    }

    fn note_heard(&mut self, heard: Option<&Heard>, now: Timestamp) {
        let Some(heard) = heard else { return };
        let words = &mut self.facts.signals;
        words.external_account_disabled = heard.disabled.map(|(disabled, _)| disabled);
        words.idp_risk = heard.risk_at(now).map(|level| level.as_str().to_owned());
        words.credential_age_hours = heard
            .credential_at
            .map(|at| now.whole_seconds_since(at) / 3600);
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
