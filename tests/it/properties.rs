//! What holds of every request, not only of those somebody thought of.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use domain::request::{Action, DeviceClaim, Party, RequestContext};
use domain::value::Attributes;
use domain::{
    AccessRequest, ActionResult, Anonymity, Assurance, Cause, DeviceRecord, EntityRef, Heard,
    Level, Name, Network, RiskLevel, Rung, SessionBirth, SessionRecord, Signal, Timestamp,
};
use pdp::engine::{Snapshot, decide};
use proptest::option;
use proptest::prelude::*;
use risk::agent::Agent;
use risk::behaviour::{Analysis, Pattern};
use risk::features::CATALOGUE;
use risk::{Attempt, Crowd, Crowds, Key, Lesson, Profile, Signals, Standing, Tally};

use crate::scenarios::{place, replays, shipped};

pub(crate) static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(shipped);

const START: i64 = 1_772_442_000_000;

/// A signal in each of its three states.
fn signal<T: Clone + std::fmt::Debug + 'static>(
    known: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Signal<T>> {
    prop_oneof![
        3 => known.prop_map(Signal::Known),
        1 => Just(Signal::Absent),
        1 => Just(Signal::Unavailable),
    ]
    .boxed()
}

fn party(kinds: &'static [&'static str], ids: &'static str) -> impl Strategy<Value = Party> {
    (proptest::sample::select(kinds), ids).prop_filter_map("a name", |(kind, id)| {
        Some(Party {
            entity: EntityRef::new(kind, id).ok()?,
            properties: Attributes::new(),
        })
    })
}

pub(crate) fn moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        4 => (0..10_000_000_000_i64).prop_map(|later| Timestamp::from_millis(START + later)),
        1 => any::<i64>().prop_map(Timestamp::from_millis),
    ]
}

fn assurance() -> impl Strategy<Value = Assurance> {
    (0..4_i64, option::of(moment()))
        .prop_map(|(level, at)| Assurance::of(Level::from_number(level).unwrap_or_default(), at))
}

const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "curl/8.5.0",
    "\u{fffd} nothing known",
];

const ACTIONS: [&str; 7] = [
    "read",
    "write",
    "download",
    "share",
    "administer",
    "login",
    "fly",
];

const PLACES: [&str; 5] = ["paris", "versailles", "osaka", "new-york", "lagos"];

pub(crate) fn request() -> impl Strategy<Value = AccessRequest> {
    let device =
        (option::of("[a-z]{1,8}"), option::of(any::<bool>())).prop_map(|(id, compliant)| {
            DeviceClaim {
                id,
                compliant,
                ..DeviceClaim::default()
            }
        });
    let context = (
        option::of(any::<u32>().prop_map(|bits| IpAddr::from(bits.to_be_bytes()))),
        option::of(proptest::sample::select(&AGENTS[..])),
        option::of(device),
        option::of(assurance()),
        option::of(moment()),
    )
        .prop_map(|(ip, agent, device, assurance, time)| RequestContext {
            ip,
            user_agent: agent.map(str::to_owned),
            device,
            assurance,
            time,
            ..RequestContext::default()
        });
    let result = prop_oneof![Just(ActionResult::Success), Just(ActionResult::Failure)];
    (
        party(
            &["User", "Service", "Group", "Stranger"],
            "(alice|dave|mallory|nightly-report|[!-~éß]{1,9})",
        ),
        proptest::sample::select(&ACTIONS[..]),
        party(
            &["Document", "Application", "Nothing"],
            "(handbook|payroll|wiki|[!-~éß]{1,9})",
        ),
        context,
        option::weighted(0.2, result),
    )
        .prop_map(
            |(subject, action, resource, context, result)| AccessRequest {
                subject,
                action: Action {
                    name: Name::new(action).unwrap(),
                    properties: Attributes::new(),
                },
                resource,
                context,
                result,
            },
        )
}

fn spot() -> impl Strategy<Value = domain::Place> {
    proptest::sample::select(&PLACES[..]).prop_map(|name| place(name).unwrap())
}

fn network() -> impl Strategy<Value = Network> {
    (64_490..64_500_u32).prop_map(|asn| Network {
        asn,
        organisation: None,
    })
}

fn anonymity() -> impl Strategy<Value = Anonymity> {
    any::<[bool; 8]>().prop_map(
        |[
            vpn,
            public_proxy,
            residential_proxy,
            tor,
            hosting,
            relay,
            corporate_exit,
            threat,
        ]| {
            Anonymity {
                vpn,
                public_proxy,
                residential_proxy,
                tor,
                hosting,
                relay,
                corporate_exit,
                threat,
            }
        },
    )
}

fn heard() -> impl Strategy<Value = Heard> {
    let level = prop_oneof![
        Just(RiskLevel::Low),
        Just(RiskLevel::Medium),
        Just(RiskLevel::High)
    ];
    (
        option::of((any::<bool>(), moment())),
        option::of(moment()),
        option::of((level, moment())),
    )
        .prop_map(|(disabled, credential_at, risk)| Heard {
            disabled,
            credential_at,
            risk,
        })
}

fn device() -> impl Strategy<Value = DeviceRecord> {
    (
        option::of(0..=100_u8),
        option::of(any::<bool>()),
        any::<bool>(),
    )
        .prop_map(|(trust, compliant, revoked)| DeviceRecord {
            id: "laptop-1".to_owned(),
            owner: None,
            trust,
            managed: None,
            compliant,
            os: None,
            os_version: None,
            revoked,
            enrolled_at: None,
            key: None,
            checked_at: None,
            posture_source: None,
            updated_at: Timestamp::from_millis(START),
        })
}

fn session() -> impl Strategy<Value = SessionRecord> {
    let subject = party(&["User"], "(alice|dave)").prop_map(|party| party.entity);
    (subject, moment(), moment(), assurance(), any::<bool>()).prop_map(
        |(subject, at, last_seen, assurance, ended)| SessionRecord {
            id: "s-1".to_owned(),
            subject,
            birth: SessionBirth {
                at,
                ip: Some(IpAddr::from([192, 0, 2, 7])),
                country: None,
                asn: Some(64_496),
                agent_family: Some("Firefox".to_owned()),
                agent_version: Some(130),
                device_id: None,
                ..SessionBirth::default()
            },
            last_seen,
            sight: None,
            assurance,
            ended,
            terms: None,
        },
    )
}

/// What a session's last minutes look like, once there is enough of them.
fn behaviour() -> impl Strategy<Value = Analysis> {
    let patterns = proptest::sample::subsequence(Pattern::ALL.to_vec(), 0..=Pattern::ALL.len());
    (option::of(0..=100_u8), patterns).prop_map(|(anomaly_score, suspicious_patterns)| Analysis {
        anomaly_score,
        features: Default::default(),
        deviations: Vec::new(),
        suspicious_patterns,
        recommendation: Default::default(),
    })
}

/// Profiles as they come about: from requests, in whatever order their moments are.
fn profile() -> impl Strategy<Value = Arc<Profile>> {
    let event = (request(), spot(), moment(), 0..4_u8);
    proptest::collection::vec(event, 0..24).prop_map(|events| {
        let mut profile = Profile::default();
        for (number, (request, place, now, lesson)) in events.into_iter().enumerate() {
            let signals = Signals {
                place: Signal::Known(place),
                profile: Signal::Known(Arc::new(profile.clone())),
                ..Signals::default()
            };
            let lesson = [
                Lesson::Baselines,
                Lesson::Reserved,
                Lesson::Wait,
                Lesson::Counters,
            ][usize::from(lesson)];
            let delta = risk::extract(&request, &signals, &SNAPSHOT.settings, now)
                .delta(Key::number(number as u64), lesson);
            profile.apply(&delta);
        }
        Arc::new(profile)
    })
}

/// A crowd that has learnt from requests of one member.
fn crowds() -> impl Strategy<Value = Crowds> {
    let event = (request(), spot(), moment());
    proptest::collection::vec(event, 0..12).prop_map(|events| {
        let mut crowd = Crowd::default();
        let mut profile = Profile::default();
        for (number, (request, place, now)) in events.into_iter().enumerate() {
            let signals = Signals {
                place: Signal::Known(place),
                ..Signals::default()
            };
            let evidence = risk::extract(&request, &signals, &SNAPSHOT.settings, now);
            profile.apply(&evidence.delta(Key::number(number as u64), Lesson::Baselines));
            crowd.learn(&evidence.observation, &Standing::of(&profile));
        }
        let everyone = Arc::new(crowd);
        Crowds {
            group: Arc::clone(&everyone),
            everyone,
        }
    })
}

/// What has come from the three sources: successes and failures at some moments.
fn tallies() -> impl Strategy<Value = [Option<Tally>; 3]> {
    let tally = || {
        let attempt = (moment(), 0..9_u64, proptest::bool::ANY);
        let attempts = proptest::collection::vec(attempt, 0..20);
        option::of(attempts.prop_map(|attempts| {
            let mut tally = Tally::default();
            for (at, subject, failed) in attempts {
                tally.add(&Attempt {
                    at,
                    sources: [None; 3],
                    subject: Key::number(subject),
                    failed,
                    score: (subject * 10) as u8,
                });
            }
            tally
        }))
    };
    [tally(), tally(), tally()]
}

pub(crate) fn signals() -> impl Strategy<Value = Signals> {
    (
        signal(spot()),
        signal(network()),
        signal(anonymity()),
        option::of(proptest::sample::select(&AGENTS[..])),
        (signal(profile()), crowds(), tallies()),
        signal(device()),
        signal(session()),
        (signal(-3..9_i64), signal(-1..1_000_000_000_000_i64)),
        (
            proptest::option::of(behaviour()),
            proptest::option::of(heard()),
        ),
        proptest::bool::weighted(0.05),
    )
        .prop_map(
            |(
                place,
                network,
                anonymity,
                agent,
                (profile, crowds, tallies),
                device,
                session,
                (sensitivity, size),
                (behaviour, heard),
                given_up,
            )| {
                Signals {
                    crowds,
                    tallies,
                    place,
                    network,
                    anonymity,
                    agent: agent.and_then(Agent::parse).map(Arc::new),
                    profile,
                    device,
                    session,
                    sensitivity,
                    size,
                    behaviour,
                    handle_superseded: false,
                    heard,
                    given_up,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// R11, R12, R16: whatever is asked, there is an answer, the same one each time; it is never
    /// an allow where something failed, and its factors add up.
    #[test]
    fn every_question_has_one_answer(request in request(), signals in signals(), now in moment()) {
        let outcome = decide(&request, &signals, &SNAPSHOT, now);
        let again = decide(&request, &signals, &SNAPSHOT, now);
        prop_assert_eq!(&outcome.decision, &again.decision);
        // What is on record decides the same once more.
        let replayed = replays(&request, &outcome, &SNAPSHOT, now);
        prop_assert!(replayed.is_ok(), "{replayed:?}");
        let decision = &outcome.decision;
        let risk = &decision.risk;
        let told: i32 = risk.factors.iter().map(|factor| factor.contribution).sum();
        prop_assert_eq!(risk.baseline + risk.other + told, i32::from(risk.score.points()));
        if signals.given_up || request.subject.entity.kind.as_str() == "Stranger" {
            prop_assert_eq!(decision.rung, Rung::Deny);
        }
        if request.subject.entity.kind.as_str() == "Service" {
            prop_assert!(matches!(decision.rung, Rung::Allow | Rung::Deny));
        }
        prop_assert!(risk.score.points() < 80 || decision.rung == Rung::Deny);
        let learns = matches!(outcome.lesson, Lesson::Baselines | Lesson::Reserved);
        prop_assert!(!learns || decision.rung == Rung::Allow && request.result != Some(ActionResult::Failure));
    }

    /// E11, F22: who comes with a handle that the session had before is never let in, whatever they
    /// bring; who can be asked is asked for a second factor. A record of it decides the same.
    #[test]
    fn an_old_handle_is_asked_for_mfa_and_never_enough(
        request in request(), signals in signals(), now in moment(), level in 0..=3_i64,
    ) {
        let (mut request, mut signals) = (request, signals);
        let Signal::Known(session) = &mut signals.session else {
            return Ok(());
        };
        (session.subject, session.ended) = (request.subject.entity.clone(), false);
        signals.handle_superseded = true;
        request.context.assurance =
            Level::from_number(level).map(|level| Assurance::of(level, Some(now)));
        let outcome = decide(&request, &signals, &SNAPSHOT, now);
        let decision = &outcome.decision;
        if signals.given_up {
            prop_assert_eq!(decision.rung, Rung::Deny);
            return Ok(());
        }
        let is_interactive =
            SNAPSHOT.settings.is_interactive(request.subject.entity.kind.as_str());
        let wanted = if is_interactive { Rung::Mfa } else { Rung::Deny };
        prop_assert_eq!((decision.rung, decision.cause), (wanted, Cause::HandleSuperseded));
        prop_assert_eq!(outcome.lesson, Lesson::Counters);
        let replayed = replays(&request, &outcome, &SNAPSHOT, now);
        prop_assert!(replayed.is_ok(), "{replayed:?}");
    }

    /// R17: a source that is lost never scores below what the most ordinary answer of it would.
    #[test]
    fn what_is_missing_is_no_better_than_the_median(request in request(), signals in signals(), now in moment()) {
        let model = &SNAPSHOT.model;
        let features = risk::extract(&request, &signals, &SNAPSHOT.settings, now).features;
        let points = model.read(&features).unwrap().points;
        for (description, median) in CATALOGUE.iter().zip(model.medians()) {
            let mut known = features;
            if known.get(description.feature).is_none() {
                let natural = if description.logarithmic { median.exp_m1() } else { *median };
                known.set(description.feature, natural);
                let with_median = model.read(&known).unwrap().points;
                prop_assert!(points >= with_median, "{}", description.name);
            }
        }
    }

    /// Passing a step-up never makes the answer worse, as long as the score stays what it was.
    #[test]
    fn more_assurance_never_turns_allow_into_deny(request in request(), signals in signals(), now in moment()) {
        let mut request = request;
        request.context.time = None;
        let rung_at = |level| {
            let mut request = request.clone();
            request.context.assurance = Some(Assurance::of(level, Some(now)));
            let outcome = decide(&request, &signals, &SNAPSHOT, now);
            (outcome.decision.risk.score, outcome.decision.rung)
        };
        let rungs = [Level::None, Level::SingleFactor, Level::Challenge, Level::Mfa].map(rung_at);
        for pair in rungs.windows(2) {
            prop_assert!(pair[0].0 != pair[1].0 || pair[1].1 <= pair[0].1, "{rungs:?}");
        }
    }
}
