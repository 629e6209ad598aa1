//! What profiles promise: only the past counts, each event once, in whatever order, within
//! bounds, and nobody makes a theft usual by beginning small.

use domain::Timestamp;
use geo::{Geo, GeoPaths};
use proptest::prelude::*;
use risk::features::Feature;
use risk::profile::Window;
use risk::{Delta, Evidence, Key, Lesson, Profile, Settings, Signals};
use serde_json::{Value, json};
use trainer::replay::Replay;
use wire::Event;

use crate::harness::root;

/// Monday, 2 March 2026, 08:00 UTC.
const MONDAY: i64 = 1_772_438_400;
const DAY: i64 = 86_400;

fn demo_geo() -> Geo {
    let demo = Some(root().join("data/geo/demo.mmdb"));
    Geo::open(&GeoPaths {
        city: demo.clone(),
        asn: demo.clone(),
        anonymous: demo,
        threats: Vec::new(),
    })
    .unwrap()
}

/// An access as a line of a file would have it.
fn access(at: i64, subject: &str, resource: &str, changes: &Value) -> Event {
    let mut context = json!({
        "ip": "10.90.5.7",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "device": { "id": format!("{subject}-laptop") },
    });
    if let (Some(context), Some(changes)) = (context.as_object_mut(), changes.as_object()) {
        context.extend(changes.clone());
    }
    let line = json!({
        "time": wire::time::format(Timestamp::from_seconds(at)),
        "subject": { "type": "User", "id": subject },
        "action": { "name": "read" },
        "resource": { "type": "Document", "id": resource },
        "context": context,
    });
    wire::event::parse(line.to_string().as_bytes()).unwrap()
}

/// Accesses of a few people over some days, among them strange and failed ones.
fn weeks() -> Vec<Event> {
    (0..600_i64)
        .map(|number| {
            let at = MONDAY + number * 1700 + number % 7 * 60;
            let strange = number % 41 == 0;
            let changes = if strange {
                json!({ "ip": "198.51.100.9", "device": { "id": "x" } })
            } else {
                json!({ "ip": format!("10.90.{}.7", number % 3) })
            };
            let resource = format!("document-{}", number * number % 23);
            let mut event = access(at, &format!("person-{}", number % 5), &resource, &changes);
            if number % 29 == 0 {
                event.request.result = Some(domain::ActionResult::Failure);
            }
            event
        })
        .collect()
}

/// As text: what is not known is not a number, and equal to nothing.
fn told(evidence: &[Evidence]) -> Vec<String> {
    evidence
        .iter()
        .map(|evidence| format!("{evidence:?}"))
        .collect()
}

fn replay(events: &[Event]) -> Vec<Evidence> {
    let geo = demo_geo();
    let settings = Settings::default();
    let mut replay = Replay::new(&geo, &settings);
    events
        .iter()
        .map(|event| replay.step(&mut event.clone()))
        .collect()
}

/// R13: what was known of an event when it was decided does not hang on what came later.
#[test]
fn shuffling_the_future_changes_nothing_of_the_past() {
    let events = weeks();
    let now = events.len() * 2 / 3;
    let wanted = told(&replay(&events));
    for step in [1, 7, 64] {
        let mut shuffled = events.clone();
        let times: Vec<Timestamp> = events.iter().map(|event| event.time).collect();
        shuffled[now..].rotate_left(step);
        shuffled[now..].reverse();
        for (event, time) in shuffled.iter_mut().zip(times) {
            event.time = time;
        }
        let found = told(&replay(&shuffled));
        assert!(found[..now] == wanted[..now], "the past changed");
        assert!(found[now..] != wanted[now..], "the shuffle does nothing");
    }
}

/// The deltas of a subject's events, each against what was known before it.
fn deltas(events: &[Event]) -> Vec<Delta> {
    let mut profile = Profile::default();
    (0..)
        .zip(events)
        .map(|(number, event)| {
            let signals = Signals {
                profile: domain::Signal::Known(profile.clone().into()),
                ..Signals::default()
            };
            let lesson = match event.request.result {
                Some(domain::ActionResult::Failure) => Lesson::Counters,
                _ => Lesson::Baselines,
            };
            let evidence =
                risk::extract(&event.request, &signals, &Settings::default(), event.time);
            let delta = evidence.delta(Key::number(number), lesson);
            profile.apply(&delta);
            delta
        })
        .collect()
}

fn after(deltas: &[Delta]) -> Profile {
    let mut profile = Profile::default();
    for delta in deltas {
        profile.apply(delta);
    }
    profile
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// An event that is delivered again counts once.
    #[test]
    fn each_event_counts_once(places in proptest::collection::vec(0..400_usize, 1..16)) {
        let events = weeks();
        let events: Vec<Event> = places.iter().map(|place| events[*place].clone()).collect();
        let deltas = deltas(&events);
        let once = after(&deltas);
        let mut twice = once.clone();
        for delta in &deltas {
            prop_assert!(!twice.apply(delta));
        }
        prop_assert_eq!(once, twice);
    }

    /// Events that come late are counted for when they happened, and never turn a clock back.
    #[test]
    fn the_order_of_delivery_hardly_matters(order in Just((0..16_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let events: Vec<Event> = (0..16_i64)
            .map(|number| access(MONDAY + number * 90, "alice", &format!("d-{}", number % 5), &json!({})))
            .collect();
        let deltas = deltas(&events);
        let in_order = after(&deltas);
        let shuffled: Vec<Delta> = order.iter().map(|place| deltas[*place].clone()).collect();
        let found = after(&shuffled);
        let now = Timestamp::from_seconds(MONDAY + 16 * 90);
        prop_assert_eq!(found.history(), in_order.history());
        prop_assert_eq!(found.last_trusted(), in_order.last_trusted());
        prop_assert_eq!(found.last_fix(), in_order.last_fix());
        for window in Window::ALL {
            let (a, b) = (found.requests(window, now), in_order.requests(window, now));
            prop_assert!((a - b).abs() < 0.01, "{window:?}: {a} and {b}");
        }
    }

    /// However wild the events, a profile stays small, and survives being stored.
    #[test]
    fn a_profile_is_bounded(seed in 0..1_000_u64) {
        let mut profile = Profile::default();
        for number in 0..2_000_u64 {
            let wild = (number + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let octet = |shift: u32| (wild >> shift) & 0xff;
            let changes = json!({
                "ip": format!("{}.{}.{}.{}", octet(0) % 200 + 1, octet(8), octet(16), octet(24)),
                "user_agent": format!("agent-{}/1.0", wild % 977),
                "device": { "id": format!("device-{}", wild % 991), "fingerprint": format!("f{}", wild % 13) },
                "rtt_ms": wild % 4000,
            });
            let event = access(
                MONDAY + i64::try_from(number * 977).unwrap(),
                "alice",
                &format!("resource-{}", wild % 99_991),
                &changes,
            );
            let signals = Signals::default();
            let delta = risk::extract(&event.request, &signals, &Settings::default(), event.time)
                .delta(Key::number(number), Lesson::Baselines);
            profile.apply(&delta);
        }
        let bytes = profile.to_bytes();
        prop_assert!(bytes.len() <= 4096, "{} bytes", bytes.len());
        let (form, rest) = (risk::profile::FORM, bytes);
        prop_assert_eq!(Profile::from_bytes(form, &rest).unwrap(), profile);
    }
}

/// Somebody typical: one office, one laptop and a phone, a dozen documents. At most 2 KB.
#[test]
fn a_typical_profile_is_small() {
    let events: Vec<Event> = (0..2_000_i64)
        .map(|number| {
            let device = ["laptop", "phone"][usize::from(number % 5 == 0)];
            let changes = json!({
                "ip": format!("10.90.{}.{}", number % 2, number % 3),
                "device": { "id": device },
            });
            access(
                MONDAY + number * 1300,
                "alice",
                &format!("d-{}", number % 12),
                &changes,
            )
        })
        .collect();
    let bytes = after(&deltas(&events)).to_bytes();
    assert!(bytes.len() <= 2048, "{} bytes", bytes.len());
}

/// R15: a thief who takes a little more each day does not become usual within weeks.
#[test]
fn a_baseline_cannot_be_raised_quickly() {
    let mut events = Vec::new();
    // Six weeks of ten documents a day, then half as much again each day.
    for day in 0..42 {
        for number in 0..10 {
            let at = MONDAY + day * DAY + number * 1800;
            events.push(access(at, "alice", &format!("d-{number}"), &json!({})));
        }
    }
    let honest = events.len();
    let mut taken = 10.0;
    let mut days = Vec::new();
    for day in 42..52 {
        taken *= 1.5;
        for number in 0..taken as i64 {
            let at = MONDAY + day * DAY + number * 20_000 / taken as i64;
            events.push(access(
                at,
                "alice",
                &format!("d-{day}-{number}"),
                &json!({}),
            ));
        }
        days.push(events.len() - 1);
    }
    let evidence = replay(&events);
    let rate = |place: usize| {
        let features = &evidence[place].features;
        features.get(Feature::ObjectRate).unwrap()
    };
    let usual = rate(honest - 1);
    let ends: Vec<f64> = days.iter().map(|place| rate(*place)).collect();
    // Nats against the usual: it must stand out more each day, although each was learnt.
    assert!(ends.windows(2).all(|pair| pair[1] > pair[0]), "{ends:?}");
    assert!(ends[5] > usual + 1.0, "{usual} then {ends:?}");
}
