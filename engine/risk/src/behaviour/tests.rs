use domain::{ActionResult, Cause, Rung};
use proptest::prelude::*;

use super::*;
use crate::abuse::Attempt;
use crate::key::Key;
use crate::profile::{Delta, Lesson, Observation};

const NOW: Timestamp = Timestamp::from_seconds(1_795_215_660);

/// An ordinary access, some seconds before now.
fn act(ago: i64, resource: u64) -> Act {
    Act {
        at: NOW.plus_seconds(-ago),
        action: Key::of("read"),
        kind: Key::of("Document"),
        resource: Key::number(resource),
        number: None,
        application: Key::of("intranet"),
        answer: Answer::Allowed,
        anomaly: 10,
        bytes: 0.0,
        is_new: false,
        unusual_hour: false,
    }
}

/// Somebody who reads three documents every five minutes, on ten mornings.
fn reader() -> Profile {
    let mut profile = Profile::default();
    for number in 0..300_u64 {
        let (day, visit) = (number / 30, number % 30);
        let at = NOW
            .plus_seconds(i64::try_from(day).unwrap() * 86_400 - 864_000)
            .plus_seconds(i64::try_from(visit).unwrap() * 100);
        let resource = Key::number(visit % 10);
        let observation = Observation {
            at,
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
            resource,
            action: Key::of("read"),
            failed: false,
            refused_prompt: false,
            bytes: Some(100_000.0),
        };
        let attempt = Attempt {
            at,
            sources: [None; 3],
            subject: Key::of("alice"),
            failed: false,
            score: 0,
        };
        profile.apply(&Delta {
            event: Key::number(number),
            observation,
            lesson: Lesson::Baselines,
            attempt,
            score: 0,
            mfa_at: None,
        });
    }
    profile
}

fn look(acts: impl IntoIterator<Item = Act>, profile: &Profile, interactive: bool) -> Analysis {
    let mut activity = Activity::default();
    acts.into_iter().for_each(|act| activity.add(act));
    let baseline = Baseline {
        profile,
        interactive,
        levels: [30, 60, 80],
    };
    analyse(&activity, baseline, NOW)
}

#[test]
fn m15_patterns_by_name_and_their_recommendations() {
    use Pattern::{BulkRead, Enumeration, LateralMovement, OffHoursBurst, PrivilegeProbing};
    use Recommendation::{End, None as Nothing, Reauthenticate, Watch};

    let reader = reader();
    let each = |count: i64, change: fn(u64, &mut Act)| -> Vec<Act> {
        (0..count)
            .map(|number| {
                let mut act = act(count - number, number.unsigned_abs());
                change(number.unsigned_abs(), &mut act);
                act
            })
            .collect()
    };
    let same = |_: u64, _: &mut Act| {};
    // What is done, the patterns it shows, what follows, the same for a program.
    let of_program: &[Pattern] = &[];
    for (about, acts, wanted, follows, program) in [
        ("nothing", each(0, same), vec![], Nothing, of_program),
        ("an ordinary morning", each(5, same), vec![], Nothing, &[]),
        (
            "forty documents",
            each(40, same),
            vec![BulkRead],
            Reauthenticate,
            &[],
        ),
        (
            "forty times the same document",
            each(40, |_, act| act.resource = Key::number(1)),
            vec![],
            Nothing,
            &[],
        ),
        (
            "one film and four letters",
            each(5, |number, act| {
                act.bytes = if number == 0 { 4e8 } else { 1e5 }
            }),
            vec![BulkRead],
            Reauthenticate,
            &[],
        ),
        (
            "invoices in their order, all new",
            each(15, |number, act| {
                (act.number, act.is_new) = (Some(1000 + number), true)
            }),
            vec![Enumeration],
            Reauthenticate,
            &[],
        ),
        (
            "invoices in their order, all known",
            each(15, |number, act| act.number = Some(1000 + number)),
            vec![],
            Nothing,
            &[],
        ),
        (
            "what does not exist",
            each(10, |_, act| act.answer = Answer::Missing),
            vec![Enumeration],
            Reauthenticate,
            &[Enumeration],
        ),
        (
            "what is not permitted, on two documents",
            each(10, |number, act| {
                act.answer = Answer::NotPermitted;
                act.resource = Key::number(number % 2);
                act.action = Key::number(number);
            }),
            vec![PrivilegeProbing],
            Reauthenticate,
            &[PrivilegeProbing],
        ),
        (
            "from one application to the next, nothing of it known",
            each(5, |number, act| {
                (act.application, act.is_new) = (Key::number(number), true)
            }),
            vec![LateralMovement],
            Reauthenticate,
            &[LateralMovement],
        ),
        (
            "the same applications as every morning",
            each(8, |number, act| act.application = Key::number(number)),
            vec![],
            Nothing,
            &[],
        ),
        (
            "late at night",
            each(15, |_, act| {
                act.unusual_hour = true;
                act.resource = Key::number(1);
            }),
            vec![OffHoursBurst],
            Watch,
            &[],
        ),
        (
            "late at night, and nothing of it like the subject",
            each(15, |_, act| {
                (act.unusual_hour, act.anomaly) = (true, 70);
                act.resource = Key::number(1);
            }),
            vec![OffHoursBurst],
            Reauthenticate,
            &[],
        ),
        (
            "forty documents, and nothing of it like the subject",
            each(40, |_, act| act.anomaly = 90),
            vec![BulkRead],
            End,
            &[],
        ),
        (
            "unusual, without a pattern",
            each(4, |_, act| act.anomaly = 90),
            vec![],
            Watch,
            &[],
        ),
    ] {
        let found = look(acts.clone(), &reader, true);
        assert_eq!(found.suspicious_patterns, wanted, "{about}: {found:?}");
        assert_eq!(found.recommendation, follows, "{about}");
        let found = look(acts.clone(), &reader, false);
        assert_eq!(found.suspicious_patterns, program, "{about}, by a program");
        // M13: nothing is far above what nobody knows.
        let found = look(acts, &Profile::default(), true);
        let of_volume = [BulkRead, OffHoursBurst];
        assert!(
            !found
                .suspicious_patterns
                .iter()
                .any(|it| of_volume.contains(it)),
            "{about}, by somebody new"
        );
    }
}

#[test]
fn m14_deviations_have_their_size() {
    let reader = reader();
    let found = look(
        (0..40_i64).map(|number| act(200 - number, number.unsigned_abs())),
        &reader,
        true,
    );
    let told: Vec<&str> = found.deviations.iter().map(|it| it.feature).collect();
    assert!(
        told.contains(&"accesses") && told.contains(&"resources"),
        "{found:?}"
    );
    for deviation in &found.deviations {
        assert!(deviation.times >= 2.0 && deviation.usual > 0.0);
        let times = deviation.value / deviation.usual.max(1.0);
        assert!((deviation.times - times).abs() < 1e-9, "{deviation:?}");
    }
    let mut in_order = found.deviations.clone();
    in_order.sort_by(|one, other| other.times.total_cmp(&one.times));
    assert_eq!(in_order, found.deviations);
    assert_eq!(look([act(1, 1)], &reader, true).deviations, []);
}

#[test]
fn b18_the_anomaly_score_is_the_mean_of_the_model() {
    let profile = Profile::default();
    let scored = |scores: &[u8]| {
        let acts = scores.iter().map(|score| Act {
            anomaly: *score,
            ..act(1, 1)
        });
        look(acts, &profile, true).anomaly_score
    };
    assert_eq!(scored(&[]), None);
    assert_eq!(scored(&[40]), Some(40));
    assert_eq!(scored(&[0, 1]), Some(1));
    assert_eq!(scored(&[100; 128]), Some(100));
}

#[test]
fn m2_the_window_is_five_minutes_and_has_an_end() {
    let profile = Profile::default();
    let found = look([act(301, 1), act(300, 2), act(299, 3)], &profile, true);
    assert_eq!(found.features.accesses, 1);
    let mut activity = Activity::default();
    for number in 0..1000 {
        activity.add(act(200, number));
    }
    assert_eq!(activity.len(), ACTS_MOST);
    assert!(!activity.is_quiet(NOW) && activity.is_quiet(NOW.plus_seconds(100)));
}

#[test]
fn answers_follow_from_decisions() {
    let told = Some(ActionResult::Failure);
    for (rung, cause, result, wanted) in [
        (Rung::Allow, Cause::Policies, None, Answer::Allowed),
        (Rung::Allow, Cause::Policies, told, Answer::Failed),
        (Rung::Mfa, Cause::Policies, None, Answer::Asked),
        (
            Rung::Deny,
            Cause::NothingPermits,
            None,
            Answer::NotPermitted,
        ),
        (Rung::Deny, Cause::UnknownResource, None, Answer::Missing),
        (Rung::Deny, Cause::Policies, None, Answer::Forbidden),
        // A source that is down makes nobody a prober.
        (Rung::Deny, Cause::SourceFailed, None, Answer::Forbidden),
    ] {
        assert_eq!(Answer::of(rung, cause, result), wanted);
    }
}

fn any_act() -> impl Strategy<Value = Act> {
    (
        0..400_i64,
        0..60_u64,
        0..6_u64,
        0..6_usize,
        any::<bool>(),
        0..=100_u8,
    )
        .prop_map(|(ago, resource, other, answer, flag, anomaly)| Act {
            action: Key::number(other),
            kind: Key::number(other / 2),
            number: flag.then_some(u64::MAX - resource),
            application: Key::number(other),
            answer: [
                Answer::Allowed,
                Answer::Asked,
                Answer::NotPermitted,
                Answer::Missing,
                Answer::Forbidden,
                Answer::Failed,
            ][answer],
            anomaly,
            bytes: if flag { 1e9 } else { 0.0 },
            is_new: flag,
            unusual_hour: flag,
            ..act(ago, resource)
        })
}

proptest! {
    #[test]
    fn what_was_found_before_is_found_again(
        acts in prop::collection::vec(any_act(), 0..40),
        moments in (-400_i64..400, -400_i64..400),
    ) {
        let mut activity = Activity::default();
        for act in acts {
            activity.add(act);
        }
        let (unseen, reader) = (Profile::default(), reader());
        let of = |profile| Baseline { profile, interactive: true, levels: [30, 60, 80] };
        let (first, then) = (NOW.plus_seconds(moments.0), NOW.plus_seconds(moments.1));
        let before = analyse(&activity, of(&unseen), first);
        let again = analyse_again(&before, &activity, of(&reader), then);
        prop_assert_eq!(again, analyse(&activity, of(&reader), then));
    }

    #[test]
    fn numbers_of_a_window_hang_together(acts in prop::collection::vec(any_act(), 0..200)) {
        let mut acts = acts;
        acts.sort_by_key(|act| act.at);
        let profile = reader();
        let found = look(acts, &profile, true);
        let features = found.features;
        prop_assert!(features.accesses <= ACTS_MOST);
        for number in [
            features.resources,
            features.new_resources,
            features.kinds,
            features.actions,
            features.applications,
            features.refused,
            features.missing,
            features.row,
            features.unusual_hour,
        ] {
            prop_assert!(number <= features.accesses);
        }
        prop_assert!(features.new_applications <= features.applications);
        prop_assert_eq!(found.anomaly_score.is_none(), features.accesses == 0);
        prop_assert!(found.anomaly_score.is_none_or(|score| score <= 100));
        // In order, each once; and a pattern never goes without a recommendation.
        prop_assert!(found.suspicious_patterns.is_sorted_by(|one, other| one < other));
        let quiet = found.recommendation == Recommendation::None;
        prop_assert!(!quiet || found.suspicious_patterns.is_empty());
        let names = Pattern::names(&found.suspicious_patterns);
        prop_assert_eq!(names.is_none(), found.suspicious_patterns.is_empty());
        for word in names.unwrap_or_default().split_whitespace() {
            prop_assert!(Pattern::from_word(word).is_some());
        }
    }
}
