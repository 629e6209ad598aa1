//! Reasons in words that a person can read.

use std::f64::consts::LN_2;

use domain::Facts;
use domain::facts::SignalFacts;

use crate::behaviour::Pattern;
use crate::binding::UNLIKE;
use crate::extract::Evidence;
use crate::features::Feature;
use crate::rules::Circumstances;

/// Why this feature moved the score.
#[must_use]
pub fn sentence(feature: Feature, evidence: &Evidence, on: &Circumstances<'_>) -> String {
    let facts = &evidence.facts;
    let words = &facts.signals;
    let value = evidence.features.get(feature);
    let number = value.unwrap_or_default();
    // Seen before, but not twice as likely for this subject as for anybody.
    let often = if number < -LN_2 { "often" } else { "seldom" };
    match feature {
        Feature::DeviceSurprise => match (words.device_of_another, words.known_device) {
            (Some(true), _) => "The device is recorded as somebody else's.".to_owned(),
            (_, Some(false)) => "A device that was not used before.".to_owned(),
            (_, Some(true)) => format!("A device that is {often} used."),
            _ if on.request.context.device.is_none() => "No device was named.".to_owned(),
            _ => "A device without history.".to_owned(),
        },
        Feature::DeviceDistrust => match (facts.device.compliant, words.device_trust) {
            (Some(false), _) => "The device does not meet the rules.".to_owned(),
            (_, Some(trust)) => format!("Trust in the device is {trust} of 100."),
            _ => "Nothing is recorded about the device.".to_owned(),
        },
        Feature::AgentSurprise => match words.new_agent {
            Some(true) => "A client program that was not used before.".to_owned(),
            Some(false) => format!("A client program that is {often} used."),
            None => "No client program was named.".to_owned(),
        },
        Feature::CountrySurprise => match (words.new_country, &facts.network.country) {
            (Some(true), Some(country)) => format!("Never seen in {country} before."),
            (Some(false), Some(country)) => format!("Seen {often} in {country}."),
            _ => "The country is not known.".to_owned(),
        },
        Feature::AsnSurprise => match (words.new_network, facts.network.asn) {
            (Some(true), Some(asn)) => format!("Never seen in network AS{asn} before."),
            (Some(false), Some(asn)) => format!("Seen {often} in network AS{asn}."),
            _ => "The network is not known.".to_owned(),
        },
        Feature::DeviceYouth => match words.device_age_days {
            Some(days) => format!("The device has been used for {days} d."),
            None => "A device that was not used before.".to_owned(),
        },
        Feature::FingerprintChanged => if number > 0.0 {
            "The device has another fingerprint than before."
        } else {
            "The device has the fingerprint it always had."
        }
        .to_owned(),
        Feature::PostureGaps => posture(facts, number),
        Feature::AsnRarity => match facts.network.asn {
            Some(asn) => format!("Network AS{asn} is rare among all subjects."),
            None => "The network is not known.".to_owned(),
        },
        Feature::RoundTripShift => {
            format!(
                "The round trip takes {:.1} times as long or as short as usual.",
                number.exp()
            )
        }
        Feature::AddressAbuse => match words.threat_address {
            Some(true) => "The address is known to attack.".to_owned(),
            _ => abuse(number, "from this address"),
        },
        Feature::PrefixAbuse => abuse(number, "from this address range"),
        Feature::AsnAbuse => abuse(number, "from this network"),
        Feature::AddressSurprise => match (facts.network.ip, value) {
            (None, _) => "No client address was sent.".to_owned(),
            (Some(_), Some(number)) if number > 0.0 => {
                "An address range not seen before.".to_owned()
            }
            _ => "A usual address range.".to_owned(),
        },
        Feature::UsualDistanceKm => {
            format!(
                "{} km from the nearest usual place{}.",
                rounded(number),
                place(facts)
            )
        }
        Feature::ImpliedSpeedKmh => journey(evidence, number),
        Feature::Anonymiser => match number {
            n if n >= 4.0 => "Through Tor.",
            n if n >= 3.0 => "Through a proxy.",
            n if n >= 2.0 => "Through a VPN.",
            n if n >= 1.0 => "Through a privacy relay.",
            _ => "No VPN, proxy or Tor.",
        }
        .to_owned(),
        Feature::Hosting => if number > 0.0 {
            "From a data centre."
        } else {
            "Not from a data centre."
        }
        .to_owned(),
        Feature::HourSurprise => match words.unusual_hour {
            Some(true) => "An hour at which the subject is hardly ever seen.",
            _ => "A usual hour.",
        }
        .to_owned(),
        Feature::RequestRate => match &words.session_patterns {
            Some(names) => format!("{} {}", busiest(words), Pattern::sentence(names)),
            None => busiest(words),
        },
        Feature::ObjectRateMinutes => volume(
            words.objects_5m,
            "different resources in 5 minutes",
            words.object_rate_5m_percent,
        ),
        Feature::ObjectRate => volume(
            words.objects_1h,
            "different resources in an hour",
            words.object_rate_percent,
        ),
        Feature::ObjectRateDay => volume(
            words.objects_1d,
            "different resources in a day",
            words.object_rate_1d_percent,
        ),
        Feature::ObjectRatePeers => peers(
            words.objects_1h,
            "different resources in an hour",
            words.peer_object_percent,
        ),
        Feature::ByteRate => taken(words),
        Feature::NewObjects => volume(
            words.new_objects_1m,
            "resources in a minute that were not touched before",
            None,
        ),
        Feature::RecentFailures => match number.round() {
            1.0 => "1 failure in 15 minutes.".to_owned(),
            _ => format!("{} failures in 15 minutes.", rounded(number)),
        },
        Feature::RefusedPrompts => match number.round() {
            1.0 => "1 refused prompt in an hour.".to_owned(),
            _ => format!("{} refused prompts in an hour.", rounded(number)),
        },
        Feature::ResourceSensitivity => match words.resource_sensitivity {
            Some(3) => "The resource is secret.",
            Some(2) => "The resource is confidential.",
            Some(1) => "The resource is internal.",
            Some(_) => "The resource is public.",
            None => "The resource has no label.",
        }
        .to_owned(),
        Feature::ResourceSurprise => match words.new_resource {
            Some(true) => "A resource that was not touched before.".to_owned(),
            _ => format!("A resource that is {often} used."),
        },
        Feature::ActionSurprise => match words.new_action {
            Some(true) => "An action that was not done before.".to_owned(),
            _ => format!("An action that is {often} done."),
        },
        Feature::SessionAgeSeconds => match value {
            Some(seconds) => format!("The session is {} old.", duration(seconds)),
            None => "No session was named.".to_owned(),
        },
        Feature::SessionDrift => drift(facts),
        Feature::AssuranceAgeSeconds => match value {
            _ if matches!(words.idp_risk.as_deref(), Some("HIGH" | "MEDIUM")) => format!(
                "The identity provider says that the risk is {}.",
                words.idp_risk.as_deref().unwrap_or_default()
            ),
            _ if words.credential_age_hours.is_some_and(|hours| hours < 24) => {
                "A credential was changed within a day.".to_owned()
            }
            Some(seconds) => format!("Last authenticated {} ago.", duration(seconds)),
            None => "No authentication is known.".to_owned(),
        },
        Feature::DormantDays => match value {
            Some(days) if days >= 1.5 => format!("Not seen for {} days.", rounded(days)),
            Some(_) => "Seen within a day or so.".to_owned(),
            None => "Never seen before.".to_owned(),
        },
    }
}

fn journey(evidence: &Evidence, speed: f64) -> String {
    let story = &evidence.story;
    match (&story.from, &story.to) {
        (Some(from), Some(to)) if from != to => format!(
            "{from} to {to} in {}, {} km/h.",
            duration(story.seconds as f64),
            rounded(speed)
        ),
        _ => format!("{} km/h since the last trusted place.", rounded(speed)),
    }
}

fn drift(facts: &Facts) -> String {
    let words = &facts.signals;
    let changed: Vec<&str> = [
        (words.session_network_changed, "network"),
        (words.session_country_changed, "country"),
        (words.session_device_changed, "device"),
        (words.session_agent_changed, "client program"),
        (
            words
                .session_prefix_changed
                .filter(|_| words.session_network_changed != Some(true)),
            "address range",
        ),
        (words.session_agent_downgraded, "client program's version"),
        (
            words.session_device_similarity.map(|share| share < UNLIKE),
            "kind of device",
        ),
    ]
    .into_iter()
    .filter(|(changed, _)| *changed == Some(true))
    .map(|(_, what)| what)
    .collect();
    match changed.as_slice() {
        [] => "The session is where it began.".to_owned(),
        [only] => format!("The session has changed its {only}."),
        [first @ .., last] => {
            format!(
                "The session has changed its {} and {last}.",
                first.join(", ")
            )
        }
    }
}

/// The window whose requests are furthest above the usual.
fn busiest(words: &SignalFacts) -> String {
    let own = [
        (
            words.requests_5m,
            "requests in 5 minutes",
            words.request_rate_percent,
        ),
        (
            words.requests_1h,
            "requests in an hour",
            words.request_rate_1h_percent,
        ),
        (
            words.requests_1d,
            "requests in a day",
            words.request_rate_1d_percent,
        ),
    ];
    let furthest = own.into_iter().max_by_key(|(_, _, percent)| *percent);
    match furthest {
        Some((_, _, percent)) if percent < words.peer_request_percent => peers(
            words.requests_1h,
            "requests in an hour",
            words.peer_request_percent,
        ),
        Some((number, what, percent)) => volume(number, what, percent),
        None => volume(None, "requests", None),
    }
}

/// How much was asked for in an hour, as people say it.
fn taken(words: &SignalFacts) -> String {
    let bytes = words.bytes_1h.unwrap_or_default() as f64;
    let (number, unit) = match bytes {
        b if b >= 1e9 => (b / 1e9, "GB"),
        b if b >= 1e6 => (b / 1e6, "MB"),
        b => (b / 1e3, "kB"),
    };
    let taken = format!("{number:.1} {unit} in an hour");
    match (words.byte_rate_percent, words.peer_byte_percent) {
        (own, Some(peers)) if peers >= 150 && own < Some(peers) => format!(
            "{taken}, {:.1} times what colleagues get to.",
            peers as f64 / 100.0
        ),
        (Some(own), _) if own >= 150 => {
            format!("{taken}; up to {:.1} times the usual.", own as f64 / 100.0)
        }
        _ => format!("{taken}."),
    }
}

fn volume(number: Option<i64>, what: &str, percent: Option<i64>) -> String {
    let number = number.unwrap_or_default();
    match percent {
        Some(percent) if percent >= 150 => {
            format!(
                "{number} {what}, {:.1} times the usual.",
                percent as f64 / 100.0
            )
        }
        _ => format!("{number} {what}."),
    }
}

fn peers(number: Option<i64>, what: &str, percent: Option<i64>) -> String {
    let number = number.unwrap_or_default();
    let times = percent.unwrap_or_default() as f64 / 100.0;
    format!("{number} {what}, {times:.1} times what colleagues get to.")
}

fn abuse(number: f64, from: &str) -> String {
    match rounded(number).as_str() {
        "1" => format!("About one subject has just failed {from}."),
        number => format!("About {number} subjects have just failed {from}."),
    }
}

fn posture(facts: &Facts, gaps_known: f64) -> String {
    let device = &facts.device;
    let gaps: Vec<&str> = [
        (device.managed == Some(false), "not managed"),
        (device.compliant == Some(false), "not compliant"),
        (
            facts.signals.device_posture_stale == Some(true),
            "not checked for long",
        ),
    ]
    .into_iter()
    .filter(|(is, _)| *is)
    .map(|(_, what)| what)
    .collect();
    match gaps.as_slice() {
        [] if gaps_known > 0.0 => "The device has not been checked for long.".to_owned(),
        [] => "The device is as it should be.".to_owned(),
        gaps => format!("The device is {}.", gaps.join(" and ")),
    }
}

fn place(facts: &Facts) -> String {
    match (&facts.network.city, &facts.network.country) {
        (Some(city), Some(country)) => format!(", in {city} ({country})"),
        (None, Some(country)) => format!(", in {country}"),
        _ => String::new(),
    }
}

/// Thousands apart, no decimals.
fn rounded(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::with_capacity(digits.len() * 2);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push('\u{202F}');
        }
        text.push(digit);
    }
    text
}

/// The two largest units: `2 h 18 min`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what a u64 holds"
    )]
    let seconds = seconds.clamp(0.0, 1e12) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_read_well() {
        assert_eq!(rounded(4210.4), "4\u{202F}210");
        assert_eq!(rounded(999.0), "999");
        assert_eq!(rounded(1_234_567.0), "1\u{202F}234\u{202F}567");
        for (seconds, wanted) in [
            (42.0, "42 s"),
            (8280.0, "2 h 18 min"),
            (3600.0, "1 h"),
            (90_000.0, "1 d 1 h"),
            (f64::NAN, "0 s"),
        ] {
            assert_eq!(duration(seconds), wanted);
        }
    }
}
