//! The vocabulary that policies are written in: every word the engine offers, once.
//!
//! A word has a group (`context.signals`), a name, a kind and a meaning. Policies see it under
//! that name, records hold it under that name, the schema check and the documentation are made
//! from the same table. To add a word, add a line here and fill it in where it is known.

use std::net::IpAddr;

use crate::signal::Source;
use crate::time::Timestamp;

/// The kind of a word, and with it its Cedar type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Cedar `Bool`.
    Bool,
    /// Cedar `Long`.
    Long,
    /// Cedar `String`.
    Text,
    /// Cedar `ipaddr`.
    Address,
    /// Cedar `datetime`.
    Moment,
}

/// The value of a word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fact<'a> {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// A string.
    Text(&'a str),
    /// An address.
    Address(IpAddr),
    /// A point in time.
    Moment(Timestamp),
}

/// One word of the vocabulary.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Its name within the group.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Whether it is always there. Where not, policies ask with `has` first.
    pub always: bool,
    /// What it means, with unit and range.
    pub doc: &'static str,
    /// Its value in these facts.
    pub get: fn(&Facts) -> Option<Fact<'_>>,
    /// Puts a value in; false when the kind is wrong.
    pub set: fn(&mut Facts, Fact<'_>) -> bool,
}

/// The groups of words, each one attribute of Cedar's `context`.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The attribute's name.
    pub name: &'static str,
    /// What it is about.
    pub doc: &'static str,
    /// Its words.
    pub words: &'static [Word],
}

/// A type that a word's value can have in [`Facts`].
trait Spoken: Sized {
    fn say(&self) -> Fact<'_>;
    fn hear(fact: Fact<'_>) -> Option<Self>;
}

macro_rules! spoken {
    ($type:ty, $variant:ident, $from:expr) => {
        impl Spoken for $type {
            fn say(&self) -> Fact<'_> {
                Fact::$variant($from(self))
            }
            fn hear(fact: Fact<'_>) -> Option<Self> {
                match fact {
                    Fact::$variant(value) => Some(value.into()),
                    _ => None,
                }
            }
        }
    };
}
spoken!(bool, Bool, |value: &bool| *value);
spoken!(i64, Long, |value: &i64| *value);
spoken!(String, Text, String::as_str);
spoken!(IpAddr, Address, |value: &IpAddr| *value);
spoken!(Timestamp, Moment, |value: &Timestamp| *value);

macro_rules! vocabulary {
    ($(
        $(#[doc = $group_doc:literal])+
        $group:ident: $record:ident {
            $($(#[doc = $doc:literal])+ $name:ident: $type:ty = $kind:ident $(, $always:ident)?;)+
        }
    )+) => {
        $(
            $(#[doc = $group_doc])+
            #[derive(Clone, Debug, Default, PartialEq)]
            pub struct $record {
                $($(#[doc = $doc])+ pub $name: Option<$type>,)+
            }
        )+

        /// Everything known about one request, in the words of the vocabulary.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Facts {
            $($(#[doc = $group_doc])+ pub $group: $record,)+
            /// The sources that failed: `context.unavailable`.
            pub unavailable: Vec<Source>,
        }

        /// The whole vocabulary.
        pub static GROUPS: &[Group] = &[$(
            Group {
                name: stringify!($group),
                doc: concat!($($group_doc),+),
                words: &[$(
                    Word {
                        name: stringify!($name),
                        kind: Kind::$kind,
                        always: vocabulary!(@always $($always)?),
                        doc: concat!($($doc),+),
                        get: |facts| facts.$group.$name.as_ref().map(Spoken::say),
                        set: |facts, fact| {
                            let heard = Spoken::hear(fact);
                            let fits = heard.is_some();
                            if fits {
                                facts.$group.$name = heard;
                            }
                            fits
                        },
                    },
                )+],
            },
        )+];
    };
    (@always) => { false };
    (@always always) => { true };
}

vocabulary! {
    /// How unusual the request is.
    risk: RiskFacts {
        /// The blended score, 0 to 100; 100 is the riskiest.
        score: i64 = Long, always;
        /// The part of the isolation forest, 0 to 100.
        model_score: i64 = Long, always;
        /// The part of the named rules, 0 to 100.
        rule_score: i64 = Long, always;
        /// `LOW`, `MEDIUM` or `HIGH` (CAEP 1.0 risk-level-change), by `risk.levels`.
        level: String = Text, always;
    }
    /// What was found out; each word is there exactly when it is known.
    signals: SignalFacts {
        /// The subject has used this device before.
        known_device: bool = Bool;
        /// Trust in the device, 0 to 100, from its record.
        device_trust: i64 = Long;
        /// Whole days since the subject was first trusted on this device.
        device_age_days: i64 = Long;
        /// The device has another fingerprint than when it was first trusted.
        device_fingerprint_changed: bool = Bool;
        /// The device's record says that it must no longer be used.
        device_revoked: bool = Bool;
        /// The device is recorded as somebody else's.
        device_of_another: bool = Bool;
        /// The request proved the key that the device was enrolled with; false where there is
        /// such a key and it was not proven.
        device_proven: bool = Bool;
        /// What is recorded of the device's posture is older than `devices.posture_max_age`: it is
        /// not believed any more.
        device_posture_stale: bool = Bool;
        /// The subject has not been seen in this country before.
        new_country: bool = Bool;
        /// The subject has not been seen in this network (ASN) before.
        new_network: bool = Bool;
        /// The subject has not used this kind of client program before.
        new_agent: bool = Bool;
        /// Kilometres to the nearest usual place, accuracy radii taken off.
        distance_km: i64 = Long;
        /// Kilometres per hour since the last trusted place, accuracy radii taken off.
        implied_speed_kmh: i64 = Long;
        /// Over 900 km/h and over 500 km, between two places that no VPN or relay disguises.
        impossible_travel: bool = Bool;
        /// The address belongs to a VPN, a proxy or Tor.
        anonymiser: bool = Bool;
        /// The address is a Tor exit.
        tor: bool = Bool;
        /// The address belongs to a privacy relay.
        relay: bool = Bool;
        /// The address belongs to a data centre.
        hosting: bool = Bool;
        /// One of the organisation's own exits.
        corporate_exit: bool = Bool;
        /// The address is on a list of those that are known to attack.
        threat_address: bool = Bool;
        /// An hour of the week at which the subject is hardly ever seen.
        unusual_hour: bool = Bool;
        /// Different subjects that failed from this address within about an hour, times its share
        /// of failures: high for a spray, near 0 for an office; 0 or more.
        address_abuse: i64 = Long;
        /// The same of the address's /24 (IPv4) or /64 (IPv6); 0 or more.
        prefix_abuse: i64 = Long;
        /// The same of the address's network (ASN); 0 or more.
        asn_abuse: i64 = Long;
        /// Requests of the subject in about the last five minutes.
        requests_5m: i64 = Long;
        /// Those requests against how high they usually get, in per cent; 100 is as usual.
        request_rate_percent: i64 = Long;
        /// Requests of the subject in about the last hour.
        requests_1h: i64 = Long;
        /// Those requests against how high they usually get, in per cent.
        request_rate_1h_percent: i64 = Long;
        /// Those requests against how high they get in the subject's group, in per cent.
        peer_request_percent: i64 = Long;
        /// Requests of the subject in about the last day.
        requests_1d: i64 = Long;
        /// Those requests against how high they usually get, in per cent.
        request_rate_1d_percent: i64 = Long;
        /// Different resources that the subject touched in about the last minute and never before.
        new_objects_1m: i64 = Long;
        /// Different resources that the subject touched in about the last five minutes.
        objects_5m: i64 = Long;
        /// Those resources against how many they usually get, in per cent.
        object_rate_5m_percent: i64 = Long;
        /// Different resources that the subject touched in about the last hour.
        objects_1h: i64 = Long;
        /// Those resources against how many they usually get, in per cent; 100 is as usual.
        object_rate_percent: i64 = Long;
        /// Those resources against how many they get in the subject's group, in per cent.
        peer_object_percent: i64 = Long;
        /// Different resources that the subject touched in about the last day.
        objects_1d: i64 = Long;
        /// Those resources against how many they usually get, in per cent.
        object_rate_1d_percent: i64 = Long;
        /// Bytes of what the subject was let through to in about the last five minutes.
        bytes_5m: i64 = Long;
        /// Bytes of what the subject was let through to in about the last hour.
        bytes_1h: i64 = Long;
        /// Bytes of what the subject was let through to in about the last day.
        bytes_1d: i64 = Long;
        /// Those bytes against how many they usually get, in per cent, in the window in which
        /// that is most.
        byte_rate_percent: i64 = Long;
        /// Those of an hour against how many they get in the subject's group, in per cent.
        peer_byte_percent: i64 = Long;
        /// Failures of the subject in about the last fifteen minutes.
        recent_failures: i64 = Long;
        /// Challenges and second factors that the subject refused in about the last hour.
        refused_prompts: i64 = Long;
        /// The highest score of the subject lately, 0 to 100, fading over about an hour.
        recent_risk: i64 = Long;
        /// The highest score of anybody from this address lately, 0 to 100, fading over about an
        /// hour.
        address_recent_risk: i64 = Long;
        /// How risky those who tell the engine of the subject call it: `LOW`, `MEDIUM` or `HIGH`
        /// (CAEP 1.0 risk-level-change). It fades by a level a day.
        idp_risk: String = Text;
        /// Somebody who tells the engine of the subject has disabled its account; false where it
        /// was enabled again.
        external_account_disabled: bool = Bool;
        /// Whole hours since a credential of the subject was made, changed or taken back, as far
        /// as it was told.
        credential_age_hours: i64 = Long;
        /// How sensitive the resource is: 0 public, 1 internal, 2 confidential, 3 secret.
        resource_sensitivity: i64 = Long;
        /// The subject has not touched this resource before.
        new_resource: bool = Bool;
        /// The subject has not done this action before.
        new_action: bool = Bool;
        /// The session is in another network (ASN) than at its birth.
        session_network_changed: bool = Bool;
        /// The session is in another country than at its birth.
        session_country_changed: bool = Bool;
        /// The session is on another device than at its birth.
        session_device_changed: bool = Bool;
        /// The session is in another kind of client program than at its birth.
        session_agent_changed: bool = Bool;
        /// The session moved to another network and to another device or client program at
        /// once: what a stolen cookie looks like.
        session_moved: bool = Bool;
        /// The session is in another /24 (IPv4) or /64 (IPv6) than at its birth; not known between
        /// an IPv4 and an IPv6 address.
        session_prefix_changed: bool = Bool;
        /// The session is in an older major version of the client program that it began in.
        session_agent_downgraded: bool = Bool;
        /// How like the device at the session's birth the device is, 0 to 100: the weighted share
        /// of what is known of both that agrees. Under 50 it looks like another.
        session_device_similarity: i64 = Long;
        /// What the last five minutes of the session look like, the gravest first: `enumeration`,
        /// `privilege-probing`, `lateral-movement`, `bulk-read`, `off-hours-burst`, with a space
        /// between them. There only while something is found; ask with `like`.
        session_patterns: String = Text;
        /// Mean part of the isolation forest in the last five minutes of the session, 0 to 100.
        session_anomaly: i64 = Long;
        /// Whole days since the subject was last seen.
        dormant_days: i64 = Long;
        /// Accesses that the profile has learnt from; under 10, what is new is not known.
        history: i64 = Long;
    }
    /// How sure one may be of who the subject is.
    assurance: AssuranceFacts {
        /// 0 none, 1 single factor, 2 challenge, 3 MFA.
        level: i64 = Long, always;
        /// Seconds since what gave the level; a hundred years when that is not known.
        age_seconds: i64 = Long, always;
        /// Seconds since a challenge, or anything stronger, was passed.
        challenge_age_seconds: i64 = Long;
        /// Seconds since MFA was passed.
        mfa_age_seconds: i64 = Long;
    }
    /// The device; a stored record wins over what the caller says, and one that is too old makes
    /// nothing better.
    device: DeviceFacts {
        /// Its id, as the caller sends it.
        id: String = Text;
        /// Under management of the organisation.
        managed: bool = Bool;
        /// In line with the organisation's rules.
        compliant: bool = Bool;
        /// Operating system, for example `macOS`.
        os: String = Text;
        /// Version of the operating system, for example `15.1`.
        os_version: String = Text;
        /// Trust in the device, 0 to 100, from its record.
        trust: i64 = Long;
    }
    /// The session.
    session: SessionFacts {
        /// Its public id, or the caller's own correlation id.
        id: String = Text;
        /// Seconds since its birth.
        age_seconds: i64 = Long;
        /// `standard`, `restricted` or `strict`, by the risk at which it was granted; only of
        /// sessions that were opened with the engine.
        tier: String = Text;
        /// What has to be proven anew in the session before anything else, 2 challenge or 3 MFA;
        /// there only as long as the request does not bring it.
        required_level: i64 = Long;
    }
    /// The network that the request came from.
    network: NetworkFacts {
        /// The client's address; IPv4-mapped IPv6 is IPv4 by now.
        ip: IpAddr = Address;
        /// Country of the address, ISO 3166-1 alpha-2.
        country: String = Text;
        /// City of the address, in English, for example `Paris`.
        city: String = Text;
        /// Autonomous system number of the address.
        asn: i64 = Long;
    }
    /// Who acts for the subject, where somebody does: the client of a token exchange.
    actor: ActorFacts {
        /// Its type, for example `Service`.
        kind: String = Text;
        /// Its id, for example `intranet`.
        id: String = Text;
    }
    /// The moment of the request.
    time: TimeFacts {
        /// The moment itself, to the millisecond.
        now: Timestamp = Moment, always;
        /// Seconds since 1970-01-01T00:00:00Z.
        epoch_seconds: i64 = Long, always;
        /// Hour of the day in UTC, 0 to 23.
        hour: i64 = Long, always;
        /// Day of the week in UTC, 1 Monday to 7 Sunday (ISO 8601).
        weekday: i64 = Long, always;
        /// The subject's own time zone, for example `Europe/Paris`: the one stored with the
        /// subject, or that of the settings.
        time_zone: String = Text;
        /// Hour of the day by the clock there, 0 to 23, summer time included.
        local_hour: i64 = Long;
        /// Minutes since midnight by the clock there, 0 to 1439; 1050 is 17:30.
        local_minute_of_day: i64 = Long;
        /// Day of the week there, 1 Monday to 7 Sunday.
        local_weekday: i64 = Long;
    }
}

/// The group of this name.
#[must_use]
pub fn group(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

impl TimeFacts {
    /// The words of one moment, as far as it is the same everywhere; the subject's own clock is
    /// read by `policy::clock`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        const DAY: i64 = 86_400;
        let seconds = now.seconds();
        Self {
            now: Some(now),
            epoch_seconds: Some(seconds),
            hour: Some(seconds.rem_euclid(DAY) / 3600),
            // 1970-01-01 was a Thursday, day 4.
            weekday: Some((seconds.div_euclid(DAY) + 3).rem_euclid(7) + 1),
            ..Self::default()
        }
    }
}

impl ActorFacts {
    /// The words of whoever acts; none of them where the subject acts itself.
    #[must_use]
    pub fn of(actor: Option<&crate::EntityRef>) -> Self {
        Self {
            kind: actor.map(|actor| actor.kind.as_str().to_owned()),
            id: actor.map(|actor| actor.id.as_str().to_owned()),
        }
    }
}

impl AssuranceFacts {
    /// The words of an assurance, seen at one moment.
    #[must_use]
    pub fn of(assurance: &crate::Assurance, now: Timestamp) -> Self {
        let age = |at: Option<Timestamp>| at.map(|at| now.whole_seconds_since(at));
        Self {
            level: Some(assurance.level.number()),
            age_seconds: Some(assurance.age_seconds(now)),
            challenge_age_seconds: age(assurance.challenge_at),
            mfa_age_seconds: age(assurance.mfa_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_gives_back_what_was_put_in() {
        for group in GROUPS {
            for word in group.words {
                let mut facts = Facts::default();
                assert_eq!((word.get)(&facts), None);
                let fact = match word.kind {
                    Kind::Bool => Fact::Bool(true),
                    Kind::Long => Fact::Long(7),
                    Kind::Text => Fact::Text("seven"),
                    Kind::Address => Fact::Address(IpAddr::from([192, 0, 2, 7])),
                    Kind::Moment => Fact::Moment(Timestamp::from_seconds(7)),
                };
                assert!((word.set)(&mut facts, fact), "{}.{}", group.name, word.name);
                assert_eq!(
                    (word.get)(&facts),
                    Some(fact),
                    "{}.{}",
                    group.name,
                    word.name
                );
                let wrong = if word.kind == Kind::Bool {
                    Fact::Long(1)
                } else {
                    Fact::Bool(true)
                };
                assert!(
                    !(word.set)(&mut facts, wrong),
                    "{}.{}",
                    group.name,
                    word.name
                );
            }
        }
    }

    #[test]
    fn the_hour_and_weekday_are_those_of_the_calendar() {
        // 2026-11-20T23:01:00Z is a Friday.
        let time = TimeFacts::at(Timestamp::from_seconds(1_795_215_660));
        assert_eq!((time.hour, time.weekday), (Some(23), Some(5)));
        let epoch = TimeFacts::at(Timestamp::MIN);
        assert_eq!((epoch.hour, epoch.weekday), (Some(0), Some(4)));
    }
}
