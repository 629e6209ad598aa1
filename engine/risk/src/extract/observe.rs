//! What profiles, crowds and tallies see of a request: keys and numbers.

use domain::{AccessRequest, ActionResult, Signal, Timestamp, Value};

use super::live::is_about_session;
use super::{Signals, place_name};
use crate::abuse::Attempt;
use crate::agent::Agent;
use crate::key::Key;
use crate::profile::Observation;

/// A round trip beyond this is no measurement, milliseconds.
const ROUND_TRIP_MAX_MS: i64 = 60_000;

/// What a profile would see of this request.
pub(super) fn observe(
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
    let device = request.context.device.as_ref();
    let ip = request.context.ip;
    let failed = request.result == Some(ActionResult::Failure);
    Observation {
        at: now,
        spot,
        place: place.and_then(place_name),
        hides_place: signals
            .anonymity
            .known()
            .is_some_and(|known| known.hides_place()),
        country: or_nothing(&signals.place, |place| {
            place
                .country
                .map(|country| Key::number(u64::from(country.number())))
        }),
        asn: or_nothing(&signals.network, |network| {
            Some(Key::number(u64::from(network.asn)))
        }),
        prefix: Some(ip.map_or(Key::NOTHING, Key::of_prefix)),
        address: Some(ip.map_or(Key::NOTHING, Key::of_address)),
        agent: Some(agent.map_or(Key::NOTHING, |agent| Key::of(&agent.family))),
        system: agent.and_then(|agent| agent.os.as_deref()).map(Key::of),
        device_type: agent
            .and_then(|agent| agent.device_type.as_deref())
            .map(Key::of),
        device: Some(
            device
                .and_then(|device| device.id.as_deref())
                .map_or(Key::NOTHING, Key::of),
        ),
        fingerprint: device
            .and_then(|device| device.fingerprint.as_deref())
            .map(Key::of),
        round_trip_ms: round_trip(request),
        resource: if is_about_session(request) {
            Key::NOTHING
        } else {
            Key::of_pair(resource.kind.as_str(), resource.id.as_str())
        },
        action: Key::of(request.action.name.as_str()),
        failed,
        bytes: bytes_of(request, signals),
        refused_prompt: failed && matches!(request.action.name.as_str(), "challenge" | "mfa"),
    }
}

/// What a source says; nothing, when it has nothing to say; unknown, when it failed.
fn or_nothing<T>(signal: &Signal<T>, key: impl FnOnce(&T) -> Option<Key>) -> Option<Key> {
    match signal {
        Signal::Known(value) => Some(key(value).unwrap_or(Key::NOTHING)),
        Signal::Absent => Some(Key::NOTHING),
        Signal::Unavailable => None,
    }
}

/// `context.rtt_ms`: what the gateway measured on its way to the client.
fn round_trip(request: &AccessRequest) -> Option<f32> {
    match request.context.extra.get("rtt_ms") {
        Some(Value::Long(millis)) if (1..=ROUND_TRIP_MAX_MS).contains(millis) =>
        {
            #[expect(clippy::cast_precision_loss, reason = "at most 60,000")]
            Some(*millis as f32)
        }
        _ => None,
    }
}

/// The size of the resource; an access that failed by itself moved nothing.
fn bytes_of(request: &AccessRequest, signals: &Signals) -> Option<f32> {
    let size = signals.size.known().copied().filter(|size| *size >= 0)?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "statistics need no more than 24 bits"
    )]
    let bytes = size as f32;
    (request.result != Some(ActionResult::Failure)).then_some(bytes)
}

/// What the sources of this request are to remember of it.
pub(super) fn attempt_of(request: &AccessRequest, seen: &Observation) -> Attempt {
    let subject = &request.subject.entity;
    // What is in no database is no source.
    let sources = [seen.address, seen.prefix, seen.asn];
    Attempt {
        at: seen.at,
        sources: sources.map(|source| source.filter(|key| *key != Key::NOTHING)),
        subject: Key::of_pair(subject.kind.as_str(), subject.id.as_str()),
        failed: seen.failed,
        score: 0,
    }
}
