use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_795_215_660);

fn act(at: Timestamp, resource: u64, answer: Answer) -> Act {
    Act {
        at,
        action: Key::of("read"),
        kind: Key::of("Document"),
        resource: Key::number(resource),
        number: None,
        application: Key::of("intranet"),
        answer,
        anomaly: 10,
        bytes: 0.0,
        is_new: false,
        unusual_hour: false,
    }
}

fn baseline(profile: &Profile) -> Baseline<'_> {
    Baseline {
        profile,
        interactive: true,
        levels: [30, 60, 80],
    }
}

#[test]
fn m5_a_pattern_is_told_once_and_again_when_it_comes_back() {
    let behaviour = Behaviour::new(100);
    let profile = Profile::default();
    let baseline = baseline(&profile);
    let mut told = Vec::new();
    for number in 0..12 {
        let at = NOW.plus_seconds(i64::try_from(number).unwrap());
        let shown = behaviour.add("ses_1", act(at, number, Answer::Missing), baseline);
        told.push(shown.len());
    }
    assert_eq!(told.iter().sum::<usize>(), 1, "{told:?}");
    assert_eq!(told[7], 1, "with the eighth");
    // Sessions are kept apart, and time passes.
    assert_eq!(behaviour.look("ses_2", baseline, NOW), None);
    let later = NOW.plus_seconds(200);
    let found = behaviour.look("ses_1", baseline, later).unwrap();
    assert_eq!(found.suspicious_patterns, [Pattern::Enumeration]);
    let after = NOW.plus_seconds(400);
    assert_eq!(behaviour.look("ses_1", baseline, after), None);
    let mut told = 0;
    for number in 0..8 {
        told += behaviour
            .add("ses_1", act(after, number, Answer::Missing), baseline)
            .len();
    }
    assert_eq!(told, 1);
}

#[test]
fn what_is_kept_has_an_end() {
    let behaviour = Behaviour::new(200);
    let profile = Profile::default();
    let baseline = baseline(&profile);
    let held = || -> usize {
        let parts = behaviour.parts.iter();
        parts.map(|part| part.lock().unwrap().acts).sum()
    };
    for number in 0..10_000 {
        let key = format!("ses_{number}");
        behaviour.add(&key, act(NOW, 1, Answer::Allowed), baseline);
    }
    assert!(held() <= 200 * ACTS_EACH, "{}", held());
    // A minute later what is idle makes room for what is used.
    let later = NOW.plus_seconds(61);
    for number in 0..100 {
        let key = format!("new_{number}");
        behaviour.add(&key, act(later, 1, Answer::Allowed), baseline);
        assert!(behaviour.look(&key, baseline, later).is_some(), "{key}");
    }
    behaviour.tidy(later.plus_seconds(300));
    assert_eq!(held(), 0);
}
