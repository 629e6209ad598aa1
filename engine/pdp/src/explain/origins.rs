//! Where each word of the facts came from.

use domain::Value;
use domain::facts::{Fact, Facts, GROUPS};
use domain::signal::Source;
use wire::record::replay::Recorded;

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The caller, in the request.
    Caller,
    /// A source of its own.
    Source(Source),
    /// The caller or the device's record; both would say the same.
    CallerOrDevice,
    /// The caller or the stored entities; a stored label wins.
    CallerOrEntities,
    /// Tallies of what came from the same address, range or network.
    Tallies,
    /// The caller's word and the session's, whichever is higher.
    CallerAndSession,
    /// Others, in shared signals.
    Heard,
    /// The engine's clock, or the moment that was asked for.
    Clock,
}

impl Origin {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Source(source) => source_name(source),
            Self::CallerOrDevice => "caller or device record",
            Self::CallerOrEntities => "caller or stored entities",
            Self::Tallies => "what came from there lately",
            Self::CallerAndSession => "caller and session",
            Self::Heard => "shared signals",
            Self::Clock => "clock",
        }
    }
}

/// What a source is, in words.
#[must_use]
pub(super) const fn source_name(source: Source) -> &'static str {
    match source {
        Source::GeoCity => "places database",
        Source::GeoAsn => "networks database",
        Source::GeoAnonymous => "anonymisers database",
        Source::Profile => "profile",
        Source::Device => "device record",
        Source::Session => "session",
        Source::Entities => "stored entities",
    }
}

/// One word that was known.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownWord {
    /// `signals.tor`.
    pub name: String,
    /// As a policy would write it.
    pub value: String,
    /// For machines.
    pub json: serde_json::Value,
    /// Who said so.
    pub origin: Origin,
    /// What the word means.
    pub doc: &'static str,
}

/// Every word that was known but the score's own.
#[must_use]
pub(super) fn known_words(recorded: &Recorded) -> Vec<KnownWord> {
    let facts = &recorded.facts;
    let mut known = Vec::new();
    for group in GROUPS.iter().filter(|group| group.name != "risk") {
        for word in group.words {
            let Some(fact) = (word.get)(facts) else {
                continue;
            };
            let (value, json) = told(fact);
            known.push(KnownWord {
                name: format!("{}.{}", group.name, word.name),
                value,
                json,
                origin: origin(group.name, word.name, recorded),
                doc: word.doc.trim(),
            });
        }
    }
    known
}

fn told(fact: Fact<'_>) -> (String, serde_json::Value) {
    match fact {
        Fact::Bool(value) => (value.to_string(), value.into()),
        Fact::Long(value) => (value.to_string(), value.into()),
        Fact::Text(value) => (format!("{value:?}"), value.into()),
        Fact::Address(value) => (value.to_string(), value.to_string().into()),
        Fact::Moment(value) => {
            let text = wire::time::format(value);
            (text.clone(), text.into())
        }
    }
}

fn origin(group: &str, word: &str, recorded: &Recorded) -> Origin {
    let source = Origin::Source;
    match (group, word) {
        ("network", "ip") => Origin::Caller,
        ("network", "asn") => source(Source::GeoAsn),
        ("network", _) => source(Source::GeoCity),
        ("device", "trust") => source(Source::Device),
        ("device", _) => device(word, recorded),
        ("session", "id") if recorded.facts.session.age_seconds.is_none() => Origin::Caller,
        ("session", _) => source(Source::Session),
        ("assurance", _) => Origin::CallerAndSession,
        ("time", _) => Origin::Clock,
        ("signals", "anonymiser" | "tor" | "relay" | "hosting" | "corporate_exit") => {
            source(Source::GeoAnonymous)
        }
        ("signals", "threat_address") => source(Source::GeoAnonymous),
        (
            "signals",
            "device_trust"
            | "device_revoked"
            | "device_of_another"
            | "device_proven"
            | "device_posture_stale",
        ) => source(Source::Device),
        ("signals", "resource_sensitivity") => {
            // Which attribute is the label is a setting; whether the caller named that number shows.
            let label = recorded.facts.signals.resource_sensitivity;
            let mut said = recorded.request.resource.properties.values();
            let is_said = said.any(|value| match value {
                Value::Long(number) => Some((*number).clamp(0, 3)) == label,
                _ => false,
            });
            if is_said {
                Origin::CallerOrEntities
            } else {
                source(Source::Entities)
            }
        }
        ("signals", "idp_risk" | "external_account_disabled" | "credential_age_hours") => {
            Origin::Heard
        }
        ("signals", "address_abuse" | "prefix_abuse" | "asn_abuse") => Origin::Tallies,
        ("signals", word) if word.starts_with("session_") => source(Source::Session),
        _ => source(Source::Profile),
    }
}

/// A stored record wins over the caller; whether there was one shows in what only it can say.
fn device(word: &str, recorded: &Recorded) -> Origin {
    let claim = recorded.request.context.device.as_ref();
    let claimed = claim.is_some_and(|claim| match word {
        "id" => claim.id.is_some(),
        "managed" => claim.managed == recorded.facts.device.managed,
        "compliant" => claim.compliant == recorded.facts.device.compliant,
        "os" => claim.os == recorded.facts.device.os,
        "os_version" => claim.os_version == recorded.facts.device.os_version,
        _ => false,
    });
    let is_stored = recorded.facts.signals.device_revoked.is_some();
    match (claimed, is_stored) {
        (true, true) if word != "id" => Origin::CallerOrDevice,
        (true, _) => Origin::Caller,
        (false, _) => Origin::Source(Source::Device),
    }
}

/// Why a source said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It failed, or did not answer in time.
    Failed,
    /// It had nothing to say, or nobody sent what it takes.
    NothingToSay,
}

impl Silence {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "did not answer",
            Self::NothingToSay => "had nothing to say",
        }
    }
}

/// The sources that said nothing.
#[must_use]
pub(super) fn silent(facts: &Facts, known: &[KnownWord]) -> Vec<(Source, Silence)> {
    let said = |source| {
        known.iter().any(|word| match word.origin {
            Origin::Source(known) => known == source,
            // Which of the two it was is not on record; that it was silent cannot be told.
            Origin::CallerOrDevice => source == Source::Device,
            Origin::CallerOrEntities => source == Source::Entities,
            _ => false,
        })
    };
    Source::ALL
        .into_iter()
        .filter_map(|source| {
            if facts.unavailable.contains(&source) {
                Some((source, Silence::Failed))
            } else {
                (!said(source)).then_some((source, Silence::NothingToSay))
            }
        })
        .collect()
}
