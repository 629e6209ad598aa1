//! Stories about tests: what is written, and what the report must say.

use proptest::prelude::*;

use super::*;

const SCHEMA: &str = r#"
type Circumstances = {
  risk: {score: Long, level: String},
  signals: {tor?: Bool, objects_1h?: Long},
  assurance: {level: Long, age_seconds: Long, challenge_age_seconds?: Long, mfa_age_seconds?: Long},
  device: {compliant?: Bool},
  network: {ip?: ipaddr, asn?: Long},
  session: {age_seconds?: Long},
  unavailable: Set<String>,
  time: {hour: Long, weekday: Long},
  action?: {amount?: Long},
  ticket?: String,
};
@stored entity User in [Group] { frozen?: Bool };
entity Group;
entity Service;
entity Page;
action view appliesTo { principal: [User, Service], resource: [Page], context: Circumstances };
"#;

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"staff", action, resource);
@id("robot") permit (principal is Service, action, resource);
@id("ladder") forbid (principal, action, resource) when { context.risk.score >= 30 }
unless { context.assurance has challenge_age_seconds && context.assurance.challenge_age_seconds <= 900 };
@id("tor") forbid (principal, action, resource) when { context.signals has tor && context.signals.tor };
@id("frozen") forbid (principal is User, action, resource) when { principal has frozen && principal.frozen };
@id("network") forbid (principal, action, resource)
when { context.network has ip && context.network.ip.isInRange(ip("192.0.2.0/24")) };
@id("night") forbid (principal, action, resource) when { context.time.hour < 6 };
@id("amount") forbid (principal, action, resource)
when { context has action && context.action has amount && context.action.amount * 9223372036854775807 < 0 };
@id("ticket") forbid (principal, action, resource) when { context has ticket && context.ticket == "closed" };
@id("blind") forbid (principal, action, resource) when { context.unavailable.contains("profile") };
"#;

const ENTITIES: &str = r#"[
  {"uid": {"type": "Group", "id": "staff"}, "attrs": {}, "parents": []},
  {"uid": {"type": "User", "id": "ann"}, "attrs": {}, "parents": [{"type": "Group", "id": "staff"}]}
]"#;

fn report(files: &[SourceFile], filter: Option<&str>) -> Report {
    let policies = Policies::load(&[
        SourceFile::new("a.cedarschema", SCHEMA),
        SourceFile::new("a.cedar", POLICIES),
    ])
    .unwrap();
    let set = Set {
        policies: &policies,
        entities: &SourceFile::new("entities.json", ENTITIES),
        settings: &risk::Settings::default(),
    };
    run(files, &set, filter)
}

/// What is said of one test by ann in YAML, and whether it passes.
fn ann(rest: &str) -> (bool, String) {
    let request = r#"principal: 'User::"ann"', action: 'Action::"view"', resource: 'Page::"p"'"#;
    let context = match rest.split_once("context ") {
        Some((_, context)) => format!(", context: {context}"),
        None => String::new(),
    };
    let rest = rest.split("context ").next().unwrap();
    let rest = rest.replace("; ", "\n  ");
    let text = format!("- name: story\n  request: {{{request}{context}}}\n  {rest}\n");
    let report = report(&[SourceFile::new("tests/a.yaml", text)], None);
    (report.passes(), report.reasons().join("\n"))
}

#[test]
fn what_is_given_reaches_the_ladder() {
    for given in [
        "outcome: allow; policies: [staff]",
        "outcome: allow; score: 29",
        "outcome: challenge; score: 30; policies: [ladder]; decision: deny; reason: [ladder]",
        "outcome: challenge; risk: {score: 99, level: HIGH}",
        "outcome: allow; score: 99; assurance: {level: 2, age_seconds: 900}",
        "outcome: challenge; score: 99; assurance: {level: 2, age_seconds: 901}",
        "outcome: challenge; score: 99; assurance: {level: 3}",
        "outcome: allow; score: 99; assurance: {mfa_age_seconds: 5}",
        "outcome: deny; signals: {tor: true}; policies: [tor]; cause: policies",
        "outcome: allow; signals: {tor: false, objects_1h: 3}",
        "outcome: deny; network: {ip: 192.0.2.7}; policies: [network]",
        "outcome: deny; network: {ip: '::ffff:192.0.2.7'}",
        "outcome: deny; policies: [network]context {ip: 192.0.2.7}",
        "outcome: deny; time: 2026-02-03T05:59:59Z; policies: [night]",
        "outcome: allow; time: 2026-02-03T06:00:00Z",
        "outcome: deny; unavailable: [profile]; policies: [blind]",
        "outcome: deny; policies: [ticket]context {ticket: closed}",
        "outcome: deny; cause: policy_error; decision: deny; num_errors: 1context {action: {amount: 2}}",
        "outcome: allow; context {action: {amount: 1}}",
        "outcome: deny; cause: unknown_subject; entities: []",
        "outcome: deny; policies: [frozen]; more_entities: [{uid: {type: User, id: ann}, \
         attrs: {frozen: true}, parents: [{type: Group, id: staff}]}]",
    ] {
        let (passes, said) = ann(given);
        assert!(passes, "{given}: {said}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (given, wanted) in [
        (
            "outcom: allow",
            "tests/a.yaml:3:3: error: [0]: unknown field `outcom`",
        ),
        (
            "outcome: perhaps",
            "`perhaps` is no outcome: allow, challenge, mfa or deny",
        ),
        (
            "outcome: allow; signals: {tro: true}",
            "`signals` has no word `tro`; is `tor` meant?",
        ),
        (
            "outcome: allow; signals: {colour: red}",
            "`signals` has no word `colour`; it has known_device",
        ),
        (
            "outcome: allow; signals: {tor: yes please}",
            "tests/a.yaml:4:18: error: [0].signals.tor: invalid type",
        ),
        (
            "outcome: allow; signals: {tor: true, tor: false}",
            "comes twice",
        ),
        ("outcome: allow; score: 101", "the score is 101: 0 to 100"),
        ("outcome: allow; score: 1; risk: {score: 1}", "give one"),
        ("outcome: allow; risk: {level: SOME}", "LOW, MEDIUM or HIGH"),
        (
            "outcome: allow; assurance: {level: 4}",
            "`assurance.level` is 4: 0 to 3",
        ),
        (
            "outcome: allow; assurance: {level: 1, mfa_age_seconds: 3}",
            "says that level 3 was reached",
        ),
        (
            "outcome: allow; assurance: {level: 1, age_seconds: -3}",
            "0 or more",
        ),
        (
            "outcome: allow; time: noon",
            "`noon` is no time as in RFC 3339",
        ),
        (
            "outcome: allow; unavailable: [moon]",
            "there is no source `moon`; there are geo.city",
        ),
        (
            "outcome: allow; network: {ip: home}",
            "`home` is no IPv4 or IPv6 address",
        ),
        ("score: 3", "it wants nothing"),
        (
            "outcome: allow; context {risk: {score: 3}}",
            "give `risk` beside `request`",
        ),
        (
            "outcome: allow; entities: others.json",
            "there is no `others.json` beside the test",
        ),
        (
            "outcome: allow; entities: {}",
            "an array, or the name of a file",
        ),
        (
            "outcome: allow; entities: [{uid: {type: Moon, id: x}, attrs: {}, parents: []}]",
            "Moon",
        ),
        (
            "outcome: allow; policies: [stuff]",
            "no such policy; is staff meant?",
        ),
        (
            "outcome: mfa; score: 50",
            "outcome    - mfa\n               + challenge",
        ),
        ("outcome: mfa; score: 50", "allow: no, forbidden by ladder"),
        (
            "outcome: allow; cause: nothing_permits",
            "cause      - nothing_permits",
        ),
        ("decision: allow; reason: [staff]", "request.context"),
        ("outcome: allow; num_errors: -1", "num_errors"),
    ] {
        let (passes, said) = ann(given);
        assert!(!passes && said.contains(wanted), "{given}: {said}");
    }
}

/// The form of `cedar run-tests`: Cedar's whole context, its own authorizer, errors skipped.
#[test]
fn plain_tests_of_cedar_run_unchanged() {
    let context = r#"{"risk": {"score": 3, "level": "LOW"}, "signals": {},
        "assurance": {"level": 0, "age_seconds": 0}, "device": {}, "network": {}, "session": {},
        "unavailable": [], "time": {"hour": 12, "weekday": 1}, "action": {"amount": 2}}"#;
    let case = |principal: &str, entities: &str, decision: &str, reason: &str, errors: usize| {
        format!(
            r#"[{{"name": "plain", "request": {{"principal": "User::\"{principal}\"",
            "action": "Action::\"view\"", "resource": "Page::\"p\"", "context": {context}}},
            "entities": {entities}, "decision": "{decision}", "reason": [{reason}],
            "num_errors": {errors}}}]"#
        )
    };
    let entities = SourceFile::new("tests/people.json", ENTITIES);
    for (text, passes) in [
        (
            case("ann", "\"people.json\"", "allow", "\"staff\"", 1),
            true,
        ),
        (case("ann", ENTITIES, "allow", "\"staff\"", 1), true),
        (case("ann", ENTITIES, "allow", "", 0), false),
        (case("ann", ENTITIES, "allow", "\"robot\"", 1), false),
        (case("ann", ENTITIES, "deny", "", 1), false),
        (case("eve", ENTITIES, "deny", "", 1), true),
        (case("o'brien", ENTITIES, "deny", "", 1), true),
    ] {
        let files = [
            SourceFile::new("tests/a.json", text.as_str()),
            entities.clone(),
        ];
        let report = report(&files, None);
        assert_eq!(report.passes(), passes, "{text}: {report:?}");
        assert!(
            report
                .tests
                .iter()
                .all(|test| test.plain && test.line == Some(1))
        );
    }
}

#[test]
fn services_are_offered_no_step_and_coverage_counts_what_passes() {
    let text = r#"[
      {"name": "a service", "request": {"principal": "Service::\"s\"", "action": "Action::\"view\"",
        "resource": "Page::\"p\""}, "score": 30, "outcome": "deny", "policies": ["ladder"]},
      {"name": "ann", "request": {"principal": "User::\"ann\"", "action": "Action::\"view\"",
        "resource": "Page::\"p\""}, "outcome": "allow"},
      {"name": "ann in vain", "request": {"principal": "User::\"ann\"", "action": "Action::\"view\"",
        "resource": "Page::\"p\""}, "signals": {"tor": true}, "outcome": "allow"}
    ]"#;
    let files = [SourceFile::new("tests/a.json", text)];
    let whole = report(&files, None);
    let lines: Vec<Option<usize>> = whole.tests.iter().map(|test| test.line).collect();
    assert_eq!(lines, [Some(2), Some(4), Some(6)]);
    assert_eq!((whole.tests.len(), whole.failed()), (3, 1), "{whole:?}");
    let covered: Vec<&str> = whole
        .coverage
        .policies
        .iter()
        .filter(|policy| policy.tests > 0)
        .map(|policy| policy.policy.as_str())
        .collect();
    assert_eq!(
        (covered, whole.coverage.percent),
        (vec!["staff", "ladder"], 20)
    );
    assert_eq!(whole.coverage.missing().count(), 8);
    let some = report(&files, Some("service"));
    assert_eq!((some.tests.len(), some.failed()), (1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// Whatever somebody puts into the folder, there is a report.
    #[test]
    fn any_text_has_a_report(text in "(?s).{0,200}", value in "[a-z{}\\[\\]:, '\"*&!0-9.-]{0,40}") {
        let yaml = format!("- name: {value}\n  request: {{principal: {value}, action: {value}, \
            resource: {value}, context: {value}}}\n  signals: {value}\n  outcome: allow\n  {text}");
        for (name, text) in [("a.json", &text), ("a.yaml", &text), ("b.yaml", &yaml)] {
            let report = report(&[SourceFile::new(name, text.as_str())], None);
            prop_assert_eq!(report.passes(), report.reasons().is_empty());
        }
    }
}
