//! What is usual: the features that hold a request against the past of its subject, of its
//! group, and of where it comes from.

use domain::Timestamp;
use domain::facts::SignalFacts;

use super::{Evidence, IMPOSSIBLE_KM, IMPOSSIBLE_KMH, Signals, Story, knows, place_name, whole};
use crate::abuse::Tally;
use crate::counts::Belief;
use crate::crowd::{Crowd, Peers};
use crate::features::Feature;
use crate::key::Key;
use crate::profile::{HISTORY_MIN, Habit, Profile, Window, hour_of_week};
use crate::travel;

/// What says nothing of who comes from one of the organisation's own exits.
const OF_NETWORKS: [Feature; 3] = [
    Feature::AsnSurprise,
    Feature::AsnRarity,
    Feature::AddressSurprise,
];
/// An hour whose log-ratio against an even week lies above this is unusual: some eight times
/// rarer than chance.
const UNUSUAL_HOUR_NATS: f64 = 2.0;

impl Evidence {
    pub(super) fn note_habits(&mut self, profile: &Profile, peers: Peers<'_>, now: Timestamp) {
        let seen = &self.observation;
        let words: &mut SignalFacts = &mut self.facts.signals;
        words.history = Some(i64::from(profile.history()));
        if let Some(last) = profile.last_trusted() {
            let days = now.seconds_since(last) / 86_400.0;
            self.features.set(Feature::DormantDays, days);
            words.dormant_days = Some(now.whole_seconds_since(last) / 86_400);
        }
        let chain = Chain {
            profile,
            peers,
            now,
        };
        let country = seen.country.filter(|_| !seen.hides_place);
        let in_country = chain.step(Belief::CERTAIN, Habit::Country, country);
        let in_asn = chain.step(in_country, Habit::Asn, seen.asn);
        if let Some(asn) = seen.asn
            && peers.everyone.history() >= HISTORY_MIN
        {
            // What nobody else uses may be somebody's usual network.
            let rarity = if profile.knows(Habit::Asn, asn) {
                0.0
            } else {
                in_asn.rarity()
            };
            self.features.set(Feature::AsnRarity, rarity);
        }
        if !profile.is_settled() {
            return;
        }
        if country.is_some() {
            self.features
                .set(Feature::CountrySurprise, in_country.surprise());
        }
        // The organisation's own networks are usual for whoever is in it.
        let at_own_exit = words.corporate_exit == Some(true);
        if at_own_exit {
            for feature in OF_NETWORKS {
                self.features.set(feature, 0.0);
            }
        } else if seen.asn.is_some() {
            self.features.set(Feature::AsnSurprise, in_asn.surprise());
            let in_prefix = chain.step(in_asn, Habit::Prefix, seen.prefix);
            let address = chain.step(in_prefix, Habit::Address, seen.address);
            self.features
                .set(Feature::AddressSurprise, address.surprise());
        }
        if seen.agent.is_some() {
            let on_type = chain.step(Belief::CERTAIN, Habit::DeviceType, seen.device_type);
            let on_system = chain.step(on_type, Habit::System, seen.system);
            let agent = chain.step(on_system, Habit::Agent, seen.agent);
            self.features.set(Feature::AgentSurprise, agent.surprise());
        }
        if let Some(device) = seen.device {
            let surprise = chain.step(Belief::CERTAIN, Habit::Device, Some(device));
            self.features
                .set(Feature::DeviceSurprise, surprise.surprise());
            let age = profile.device_age_days(device, now);
            if device != Key::NOTHING || !profile.knows(Habit::Device, device) {
                self.features
                    .set(Feature::DeviceYouth, 1.0 / (1.0 + age.unwrap_or_default()));
            }
            words.device_age_days = age.and_then(whole);
            let changed = seen
                .fingerprint
                .and_then(|fingerprint| profile.fingerprint_changed(device, fingerprint));
            if let Some(changed) = changed {
                self.features
                    .set(Feature::FingerprintChanged, f64::from(u8::from(changed)));
                words.device_fingerprint_changed = Some(changed);
            }
        }
        for (habit, key, feature) in [
            (Habit::Resource, seen.resource, Feature::ResourceSurprise),
            (Habit::Action, seen.action, Feature::ActionSurprise),
        ] {
            // A session itself is nothing that one could be used to.
            if key != Key::NOTHING {
                let expected = peers.expected(habit, key, now);
                self.features
                    .set(feature, profile.surprise(habit, key, expected, now));
            }
        }
        if let (Some(millis), Some(usual)) = (
            seen.round_trip_ms,
            profile
                .usual_round_trip(seen.asn)
                .filter(|usual| *usual > 0.0),
        ) {
            let shift = f64::from(millis / usual).ln().abs();
            self.features.set(Feature::RoundTripShift, shift);
        }
        let is_new = |habit, key: Option<Key>| {
            key.filter(|key| *key != Key::NOTHING)
                .map(|key| !profile.knows(habit, key))
        };
        words.known_device = is_new(Habit::Device, seen.device).map(|new| !new);
        words.new_agent = is_new(Habit::Agent, seen.agent);
        words.new_country = is_new(Habit::Country, country);
        words.new_network = is_new(Habit::Asn, seen.asn);
        words.new_resource = is_new(Habit::Resource, Some(seen.resource));
        words.new_action = is_new(Habit::Action, Some(seen.action));
        let hour = profile.hour_surprise(hour_of_week(now), peers.group);
        self.features.set(Feature::HourSurprise, hour);
        words.unusual_hour = Some(hour > UNUSUAL_HOUR_NATS);
    }

    pub(super) fn note_travel(&mut self, profile: &Profile, signals: &Signals, now: Timestamp) {
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
            seconds: now.whole_seconds_since(fix.at).saturating_abs(),
        };
        let distance = travel::sure_distance_km(fix.spot(), spot);
        // What is told late may be from before: it is as far in the one direction as in the other.
        let speed = travel::speed_kmh(distance, now.seconds_since(fix.at).abs());
        self.features.set(Feature::ImpliedSpeedKmh, speed);
        words.implied_speed_kmh = whole(speed);
        words.impossible_travel = Some(speed >= IMPOSSIBLE_KMH && distance >= IMPOSSIBLE_KM);
    }

    pub(super) fn note_volume(&mut self, profile: &Profile, group: &Crowd, now: Timestamp) {
        let resource = self.observation.resource;
        let requests = Window::ALL.map(|window| profile.requests(window, now));
        let objects = Window::ALL.map(|window| profile.objects(window, resource, now));
        let words = &mut self.facts.signals;
        [words.requests_5m, words.requests_1h, words.requests_1d] = requests.map(whole);
        [words.objects_5m, words.objects_1h, words.objects_1d] = objects.map(whole);
        let [requests_5m, requests_1h, requests_1d] = requests;
        let [objects_5m, objects_1h, objects_1d] = objects;

        let settled = profile.is_settled();
        let usual_requests = |window| profile.usual_requests(window).filter(|_| settled);
        let usual_objects = |window| profile.usual_objects(window).filter(|_| settled);
        if settled {
            let fresh = profile.new_objects(resource, now);
            self.features.set(Feature::NewObjects, fresh);
            words.new_objects_1m = whole(fresh);
        }
        for (feature, number, usual, word) in [
            (
                Feature::RequestRate,
                requests_5m,
                usual_requests(Window::Minutes),
                &mut words.request_rate_percent,
            ),
            (
                Feature::RequestRate,
                requests_1h,
                usual_requests(Window::Hour),
                &mut words.request_rate_1h_percent,
            ),
            (
                Feature::RequestRate,
                requests_1d,
                usual_requests(Window::Day),
                &mut words.request_rate_1d_percent,
            ),
            (
                Feature::ObjectRateMinutes,
                objects_5m,
                usual_objects(Window::Minutes),
                &mut words.object_rate_5m_percent,
            ),
            (
                Feature::ObjectRate,
                objects_1h,
                usual_objects(Window::Hour),
                &mut words.object_rate_percent,
            ),
            (
                Feature::ObjectRateDay,
                objects_1d,
                usual_objects(Window::Day),
                &mut words.object_rate_1d_percent,
            ),
            // Against the group, as soon as anything is known of it.
            (
                Feature::RequestRate,
                requests_1h,
                group.usual_requests(Window::Hour),
                &mut words.peer_request_percent,
            ),
            (
                Feature::ObjectRatePeers,
                objects_1h,
                group.usual_objects(Window::Hour),
                &mut words.peer_object_percent,
            ),
        ] {
            if let Some(usual) = usual {
                let ratio = against(number, usual);
                // Where windows share a feature, the busiest speaks.
                self.features.raise(feature, ratio.ln());
                *word = whole(ratio * 100.0);
            }
        }
    }

    pub(super) fn note_bytes(&mut self, profile: &Profile, group: &Crowd, now: Timestamp) {
        let asked = self.observation.bytes;
        let counted = Window::ALL.map(|window| profile.bytes(window, now));
        if asked.is_none() && counted.iter().all(|bytes| *bytes <= 0.0) {
            return;
        }
        let bytes = counted.map(|bytes| bytes + f64::from(asked.unwrap_or_default()));
        let [minutes, hour, day] = bytes.map(whole);
        let words = &mut self.facts.signals;
        (words.bytes_5m, words.bytes_1h, words.bytes_1d) = (minutes, hour, day);
        let [_, bytes_1h, _] = bytes;
        let peers = group
            .usual_bytes(Window::Hour)
            .map(|usual| against_bytes(bytes_1h, usual));
        words.peer_byte_percent = peers.and_then(|ratio| whole(ratio * 100.0));
        let own = Window::ALL
            .into_iter()
            .zip(bytes)
            .filter(|_| profile.is_settled())
            .filter_map(|(window, bytes)| Some(against_bytes(bytes, profile.usual_bytes(window)?)))
            .max_by(f64::total_cmp);
        words.byte_rate_percent = own.and_then(|ratio| whole(ratio * 100.0));
        for ratio in peers.into_iter().chain(own) {
            self.features.raise(Feature::ByteRate, ratio.ln());
        }
    }

    pub(super) fn note_failures(&mut self, profile: &Profile, now: Timestamp) {
        let words = &mut self.facts.signals;
        for (feature, number, word) in [
            (
                Feature::RecentFailures,
                profile.failures(now),
                &mut words.recent_failures,
            ),
            (
                Feature::RefusedPrompts,
                profile.denials(now),
                &mut words.refused_prompts,
            ),
        ] {
            self.features.set(feature, number);
            *word = whole(number);
        }
        // For policies alone: the score must not feed on itself.
        words.recent_risk = whole(profile.recent_risk(now));
    }

    pub(super) fn note_sources(
        &mut self,
        tallies: &[Option<Tally>; 3],
        profile: Option<&Profile>,
        now: Timestamp,
    ) {
        // What the neighbours do says nothing of somebody's usual address.
        let at_home = knows(profile, Habit::Address, self.observation.address);
        let words = &mut self.facts.signals;
        let [address, prefix, asn] = tallies;
        // For policies alone, as that of the subject.
        words.address_recent_risk = address.and_then(|tally| whole(tally.recent_risk(now)));
        let [at_address, at_prefix, at_asn] = self.attempt.sources;
        for (feature, tally, source, word) in [
            (
                Feature::AddressAbuse,
                address,
                at_address,
                &mut words.address_abuse,
            ),
            (
                Feature::PrefixAbuse,
                prefix,
                at_prefix,
                &mut words.prefix_abuse,
            ),
            (Feature::AsnAbuse, asn, at_asn, &mut words.asn_abuse),
        ] {
            if source.is_some() {
                // A source that was never seen has done nothing yet.
                let abuse = tally.map_or(0.0, |tally| tally.abuse(now));
                *word = whole(abuse);
                let theirs = at_home && feature != Feature::AddressAbuse;
                // Less than one is nobody.
                let counts = abuse >= 1.0 && !theirs;
                self.features.set(feature, if counts { abuse } else { 0.0 });
            }
        }
    }
}

/// How often a number goes into what is usual; less than one of anything is taken as one.
fn against(number: f64, usual: f32) -> f64 {
    number / f64::from(usual).max(1.0)
}

/// The same of bytes; less than this is not worth a word.
fn against_bytes(number: f64, usual: f32) -> f64 {
    const LITTLE: f64 = 1_048_576.0;
    number.max(LITTLE) / f64::from(usual).max(LITTLE)
}

/// The way down from what is wide to what is narrow.
struct Chain<'a> {
    profile: &'a Profile,
    peers: Peers<'a>,
    now: Timestamp,
}

impl Chain<'_> {
    /// One step; what is not known leaves the belief as it is.
    fn step(&self, above: Belief, habit: Habit, key: Option<Key>) -> Belief {
        key.map_or(above, |key| {
            self.peers
                .descend(self.profile, habit, key, above, self.now)
        })
    }
}
