//! The named rules: what a person can point at, each with its points.
//!
//! Rules read the same facts as policies. A rule on something unknown does not fire, except the
//! ones that are about what was withheld: to say nothing must not be the cheap way in.

use domain::{AccessRequest, Facts};

use crate::binding::UNLIKE;
use crate::features::Feature;

/// A rule that the score knows.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name in answers, and in `risk.rules`.
    pub id: &'static str,
    /// Points of the rule score, before the cap at 100.
    pub points: u8,
    /// The feature it is counted under in the factors.
    pub feature: Feature,
    /// When it fires, for people.
    pub doc: &'static str,
    /// When it fires.
    pub fires: fn(&Circumstances<'_>) -> bool,
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The request as it was sent.
    pub request: &'a AccessRequest,
    /// What is known about it.
    pub facts: &'a Facts,
    /// Whether the subject is a person who could be asked for a step-up.
    pub interactive: bool,
}

impl Circumstances<'_> {
    fn at_least(value: Option<i64>, least: i64) -> bool {
        value.is_some_and(|value| value >= least)
    }
}

const fn is(word: Option<bool>) -> bool {
    matches!(word, Some(true))
}

/// Every rule (R10, R18).
pub const RULES: [Rule; 34] = [
    Rule {
        id: "impossible-travel",
        points: 40,
        feature: Feature::ImpliedSpeedKmh,
        doc: "a person at over 900 km/h and over 500 km since the last trusted place",
        fires: |on| on.interactive && is(on.facts.signals.impossible_travel),
    },
    Rule {
        id: "new-device",
        points: 15,
        feature: Feature::DeviceSurprise,
        doc: "a device not used before by a subject with history",
        fires: |on| on.facts.signals.known_device == Some(false),
    },
    Rule {
        id: "device-of-another",
        points: 30,
        feature: Feature::DeviceSurprise,
        doc: "a device recorded as somebody else's",
        fires: |on| is(on.facts.signals.device_of_another),
    },
    Rule {
        id: "device-not-compliant",
        points: 10,
        feature: Feature::DeviceDistrust,
        doc: "a device that does not meet the organisation's rules",
        fires: |on| on.facts.device.compliant == Some(false),
    },
    Rule {
        id: "device-not-proven",
        points: 15,
        feature: Feature::DeviceSurprise,
        doc: "a device that was enrolled with a key, which the request does not prove",
        fires: |on| on.facts.signals.device_proven == Some(false),
    },
    Rule {
        id: "idp-risk-high",
        points: 60,
        feature: Feature::AssuranceAgeSeconds,
        doc: "somebody who tells the engine of the subject calls its risk HIGH",
        fires: |on| on.facts.signals.idp_risk.as_deref() == Some("HIGH"),
    },
    Rule {
        id: "idp-risk-medium",
        points: 25,
        feature: Feature::AssuranceAgeSeconds,
        doc: "the same, MEDIUM",
        fires: |on| on.facts.signals.idp_risk.as_deref() == Some("MEDIUM"),
    },
    Rule {
        id: "new-credential",
        points: 10,
        feature: Feature::AssuranceAgeSeconds,
        doc: "a credential of the subject that was changed within a day, as it was told",
        fires: |on| {
            on.facts
                .signals
                .credential_age_hours
                .is_some_and(|hours| hours < 24)
        },
    },
    Rule {
        id: "new-country",
        points: 15,
        feature: Feature::CountrySurprise,
        doc: "a person's request from a country not seen before",
        fires: |on| on.interactive && is(on.facts.signals.new_country),
    },
    Rule {
        id: "new-network",
        points: 5,
        feature: Feature::AsnSurprise,
        doc: "a network (ASN) not seen before that is none of the organisation's own",
        fires: |on| is_elsewhere(on),
    },
    Rule {
        id: "new-agent",
        points: 5,
        feature: Feature::AgentSurprise,
        doc: "a client program not used before",
        fires: |on| is(on.facts.signals.new_agent),
    },
    Rule {
        id: "far-away",
        points: 5,
        feature: Feature::UsualDistanceKm,
        doc: "over 500 km from every usual place",
        fires: |on| Circumstances::at_least(on.facts.signals.distance_km, 500),
    },
    Rule {
        id: "anonymiser",
        points: 20,
        feature: Feature::Anonymiser,
        doc: "a VPN, a proxy or Tor that is not the subject's usual one",
        fires: |on| {
            let signals = &on.facts.signals;
            is(signals.anonymiser) && signals.new_network != Some(false)
        },
    },
    Rule {
        id: "tor",
        points: 40,
        feature: Feature::Anonymiser,
        doc: "a Tor exit",
        fires: |on| is(on.facts.signals.tor),
    },
    Rule {
        id: "threat-address",
        points: 60,
        feature: Feature::AddressAbuse,
        doc: "an address on a list of those that are known to attack",
        fires: |on| is(on.facts.signals.threat_address),
    },
    Rule {
        id: "hosting",
        points: 25,
        feature: Feature::Hosting,
        doc: "a person's request from a data centre that is no anonymiser's and no own exit",
        fires: |on| {
            on.interactive
                && is(on.facts.signals.hosting)
                && !is(on.facts.signals.anonymiser)
                && !is(on.facts.signals.corporate_exit)
        },
    },
    Rule {
        id: "failures",
        points: 30,
        feature: Feature::RecentFailures,
        doc: "five or more failures in about 15 minutes",
        fires: |on| Circumstances::at_least(on.facts.signals.recent_failures, 5),
    },
    Rule {
        id: "abusive-source",
        points: 40,
        feature: Feature::AddressAbuse,
        doc: "an address, or the /24 or /64 in a network new to the subject, from which five or more subjects have failed",
        fires: |on| {
            let signals = &on.facts.signals;
            Circumstances::at_least(signals.address_abuse, 5)
                || Circumstances::at_least(signals.prefix_abuse, 5)
                    && signals.new_network != Some(false)
        },
    },
    Rule {
        id: "push-fatigue",
        points: 40,
        feature: Feature::RefusedPrompts,
        doc: "three or more refused prompts in about an hour",
        fires: |on| Circumstances::at_least(on.facts.signals.refused_prompts, 3),
    },
    Rule {
        id: "fingerprint-changed",
        points: 30,
        feature: Feature::FingerprintChanged,
        doc: "a known device with another fingerprint than before",
        fires: |on| is(on.facts.signals.device_fingerprint_changed),
    },
    Rule {
        id: "request-burst",
        points: 10,
        feature: Feature::RequestRate,
        doc: "a person's 30 or more requests in about 5 minutes, eight times the usual number",
        fires: |on| {
            on.interactive
                && Circumstances::at_least(on.facts.signals.requests_5m, 30)
                && Circumstances::at_least(on.facts.signals.request_rate_percent, 800)
        },
    },
    Rule {
        id: "bulk-access",
        points: 20,
        feature: Feature::ObjectRate,
        doc: "a person's 20 or more different resources in about an hour, four times the usual number",
        fires: |on| {
            on.interactive
                && Circumstances::at_least(on.facts.signals.objects_1h, 20)
                && Circumstances::at_least(on.facts.signals.object_rate_percent, 400)
        },
    },
    Rule {
        id: "unusual-hour",
        points: 5,
        feature: Feature::HourSurprise,
        doc: "an hour of the week at which the subject is hardly ever seen",
        fires: |on| is(on.facts.signals.unusual_hour),
    },
    Rule {
        id: "new-sensitive-resource",
        points: 5,
        feature: Feature::ResourceSurprise,
        doc: "a confidential or secret resource not touched before",
        fires: |on| {
            is(on.facts.signals.new_resource)
                && Circumstances::at_least(on.facts.signals.resource_sensitivity, 2)
        },
    },
    Rule {
        id: "session-moved",
        points: 60,
        feature: Feature::SessionDrift,
        doc: "a session in another network and in another client at once",
        fires: |on| is(on.facts.signals.session_moved),
    },
    Rule {
        id: "session-prefix-changed",
        points: 5,
        feature: Feature::SessionDrift,
        doc: "a session in another /24 or /64 than at its birth, unless the network (ASN) is the same or one that is usual",
        fires: |on| {
            let signals = &on.facts.signals;
            is(signals.session_prefix_changed)
                && signals.session_network_changed != Some(false)
                && signals.new_network != Some(false)
                && !is(signals.corporate_exit)
        },
    },
    Rule {
        id: "session-agent-downgraded",
        points: 30,
        feature: Feature::SessionDrift,
        doc: "a session in an older version of the client program that it began in",
        fires: |on| is(on.facts.signals.session_agent_downgraded),
    },
    Rule {
        id: "session-device-unlike",
        points: 30,
        feature: Feature::SessionDrift,
        doc: "a session on a device that is unlike the one at its birth in most of what is known of both, and is no other usual one",
        fires: |on| {
            let signals = &on.facts.signals;
            // Who claims the device at birth has that id as usual, and nothing else of it.
            let other_usual = is(signals.session_device_changed) && is(signals.known_device);
            let similarity = signals.session_device_similarity;
            similarity.is_some_and(|share| share < UNLIKE) && !other_usual
        },
    },
    Rule {
        id: "suspicious-pattern",
        points: 30,
        feature: Feature::RequestRate,
        doc: "the last five minutes of the session look like bulk reading, enumeration, privilege probing, a burst at an unusual hour, or movement across applications",
        fires: |on| on.facts.signals.session_patterns.is_some(),
    },
    Rule {
        id: "service-drift",
        points: 60,
        feature: Feature::AsnSurprise,
        doc: "a service's request from a network that is new and none of the organisation's own, or from a client program not seen before",
        fires: |on| !on.interactive && (is_elsewhere(on) || is(on.facts.signals.new_agent)),
    },
    Rule {
        id: "dormant",
        points: 20,
        feature: Feature::DormantDays,
        doc: "nothing trusted for 90 days",
        fires: |on| Circumstances::at_least(on.facts.signals.dormant_days, 90),
    },
    Rule {
        id: "address-withheld",
        points: 25,
        feature: Feature::AddressSurprise,
        doc: "no client address was sent",
        fires: |on| on.request.context.ip.is_none(),
    },
    Rule {
        id: "device-withheld",
        points: 15,
        feature: Feature::DeviceSurprise,
        doc: "no device id was sent for a person",
        fires: |on| {
            on.interactive
                && on
                    .request
                    .context
                    .device
                    .as_ref()
                    .is_none_or(|device| device.id.is_none())
        },
    },
    Rule {
        id: "agent-withheld",
        points: 10,
        feature: Feature::AgentSurprise,
        doc: "no user agent was sent",
        fires: |on| {
            on.request
                .context
                .user_agent
                .as_deref()
                .is_none_or(|agent| agent.trim().is_empty())
        },
    },
];

/// In a network that is new to the subject and none of the organisation's own.
fn is_elsewhere(on: &Circumstances<'_>) -> bool {
    let signals = &on.facts.signals;
    is(signals.new_network) && !is(signals.corporate_exit)
}

/// The rule of this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}
