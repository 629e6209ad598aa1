//! A session against its birth: what has changed of where it comes from and of what it runs on
//! (B14 to B16).
//!
//! Each change is a word and some points, never a switch: addresses change behind a carrier's NAT
//! and between IPv4 and IPv6, browsers are updated. Attributes are compared one by one; what is
//! not known on both sides counts neither way.

use std::cmp::Ordering;
use std::net::IpAddr;

use domain::facts::SignalFacts;
use domain::{DeviceClaim, Network, Place, RequestContext, SessionBirth, Signal, Timestamp};

use crate::agent::Agent;
use crate::key::Key;

/// Below this similarity, in per cent, the device is taken for another.
pub const UNLIKE: i64 = 50;

/// The circumstances of a request, as the birth of the session that begins with it.
#[must_use]
pub fn birth(
    context: &RequestContext,
    place: &Signal<Place>,
    network: &Signal<Network>,
    agent: Option<&Agent>,
    at: Timestamp,
) -> SessionBirth {
    let device = context.device.as_ref();
    let of_device = |text: fn(&DeviceClaim) -> Option<&String>| device.and_then(text).cloned();
    SessionBirth {
        at,
        ip: context.ip,
        country: place.known().and_then(|place| place.country),
        asn: network.known().map(|network| network.asn),
        agent_family: agent.map(|agent| agent.family.clone()),
        agent_version: agent.and_then(|agent| agent.version),
        device_id: of_device(|device| device.id.as_ref()),
        os: of_device(|device| device.os.as_ref()),
        os_version: of_device(|device| device.os_version.as_ref()),
        fingerprint: of_device(|device| device.fingerprint.as_ref()),
    }
}

/// Fills in what the request's circumstances say against the session's birth.
pub(crate) fn note(
    words: &mut SignalFacts,
    birth: &SessionBirth,
    context: &RequestContext,
    agent: Option<&Agent>,
) {
    words.session_prefix_changed = prefix_changed(birth.ip, context.ip);
    words.session_agent_downgraded = downgraded(birth, agent);
    words.session_device_similarity = similarity(birth, context.device.as_ref(), agent);
}

/// Whether an address lies in another /24 (IPv4) or /64 (IPv6) (E7). Unknown between IPv4 and
/// IPv6: a client that has both uses either, and which one says nothing.
fn prefix_changed(birth: Option<IpAddr>, now: Option<IpAddr>) -> Option<bool> {
    let (birth, now) = (birth?.to_canonical(), now?.to_canonical());
    (birth.is_ipv4() == now.is_ipv4()).then(|| Key::of_prefix(birth) != Key::of_prefix(now))
}

/// Whether it is the same kind of program in an older version. Programs are updated within a
/// session, and hardly ever the other way (B16).
fn downgraded(birth: &SessionBirth, agent: Option<&Agent>) -> Option<bool> {
    let agent = agent?;
    let same_family = birth.agent_family.as_deref()? == agent.family;
    same_family.then_some(agent.version? < birth.agent_version?)
}

/// How like the device at birth the device is, 0 to 100: the share of the weight of what is known
/// on both sides that agrees. A version agrees unless it is older. Unknown when fewer than two
/// attributes can be compared: one alone is no picture of a device.
fn similarity(
    birth: &SessionBirth,
    device: Option<&DeviceClaim>,
    agent: Option<&Agent>,
) -> Option<i64> {
    let same = |birth: Option<&String>, now: Option<&String>| Some(birth? == now?);
    let not_older = |birth: Option<&String>, now: Option<&String>| {
        Some(version_order(now?, birth?) != Ordering::Less)
    };
    let same_os = same(birth.os.as_ref(), device.and_then(|it| it.os.as_ref()));
    let same_family = same(birth.agent_family.as_ref(), agent.map(|it| &it.family));
    // The version of one system says nothing of another.
    let os_version = not_older(
        birth.os_version.as_ref(),
        device.and_then(|it| it.os_version.as_ref()),
    )
    .filter(|_| same_os == Some(true));
    let agent_version = downgraded(birth, agent).map(|older| !older);
    let compared = [
        (
            40,
            same(
                birth.device_id.as_ref(),
                device.and_then(|it| it.id.as_ref()),
            ),
        ),
        (
            20,
            same(
                birth.fingerprint.as_ref(),
                device.and_then(|it| it.fingerprint.as_ref()),
            ),
        ),
        (15, same_os),
        (15, same_family),
        (5, os_version),
        (5, agent_version),
    ];
    let known: Vec<(i64, bool)> = compared
        .into_iter()
        .filter_map(|(weight, agrees)| Some((weight, agrees?)))
        .collect();
    if known.len() < 2 {
        return None;
    }
    let sum = |counts: fn(bool) -> bool| -> i64 {
        let counted = known.iter().filter(|(_, agrees)| counts(*agrees));
        counted.map(|(weight, _)| weight).sum()
    };
    Some(sum(|agrees| agrees) * 100 / sum(|_| true).max(1))
}

/// Versions by their numbers, from left to right: 10.9 is older than 10.15.
fn version_order(one: &str, other: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|character: char| !character.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect()
    };
    let (one, other) = (numbers(one), numbers(other));
    // `15` is not older than `15.1`: somebody says it less precisely.
    let both = one.len().min(other.len());
    one.iter().take(both).cmp(other.iter().take(both))
}

#[cfg(test)]
mod tests;
