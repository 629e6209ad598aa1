//! What is said to be so is so: findings of generated policies, held against Cedar's own
//! evaluation of generated requests.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression,
};
use rand::seq::SliceRandom as _;
use rand::{Rng, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus as Random;

use super::assurances::{is_more, telling};
use super::*;

const SCHEMA: &str = include_str!("../../../../tests/fixtures/policies-broken/schema.cedarschema");

fn condition(random: &mut Random, depth: u32) -> String {
    if depth == 0 || random.gen_bool(0.3) {
        return atom(random);
    }
    let (one, other) = (condition(random, depth - 1), condition(random, depth - 1));
    match random.gen_range(0..8) {
        0..=2 => format!("({one} && {other})"),
        3..=4 => format!("({one} || {other})"),
        5..=6 => format!("!({one})"),
        _ => format!(
            "(if {one} then {other} else {})",
            condition(random, depth - 1)
        ),
    }
}

fn atom(random: &mut Random) -> String {
    let sign = *["<", "<=", ">", ">=", "==", "!="].choose(random).unwrap();
    let score = random.gen_range(-1..=101) / 10 * 10;
    let age = *[30, 60, 900].choose(random).unwrap();
    match random.gen_range(0..17) {
        0..=2 => format!("context.risk.score {sign} {score}"),
        3 => format!("{score} {sign} context.risk.score"),
        4 => format!("context.time.hour {sign} {}", random.gen_range(-1..25)),
        5..=6 => format!("context.assurance.level {sign} {}", random.gen_range(0..5)),
        7..=8 => {
            let word = *["mfa_age_seconds", "challenge_age_seconds"]
                .choose(random)
                .unwrap();
            let guard = format!("context.assurance has {word}");
            match random.gen_range(0..3) {
                0 => guard,
                _ => format!("({guard} && context.assurance.{word} {sign} {age})"),
            }
        }
        9 => format!("context.assurance.age_seconds {sign} {age}"),
        10 => "(context.signals has tor && context.signals.tor)".to_owned(),
        11 => format!(
            "(context.signals has recent_failures && context.signals.recent_failures + 1 {sign} {})",
            random.gen_range(0..4)
        ),
        12 => {
            let level = *["LOW", "MEDIUM", "HIGH", "high"].choose(random).unwrap();
            let is = if random.gen_bool(0.5) { "==" } else { "!=" };
            format!("context.risk.level {is} \"{level}\"")
        }
        13 => {
            let group = *["staff", "frozen"].choose(random).unwrap();
            format!("principal in Group::\"{group}\"")
        }
        14 => {
            let list = *["[\"a\", \"b\"]", "[\"b\", \"c\"]", "[\"c\"]"]
                .choose(random)
                .unwrap();
            format!("(principal has department && {list}.contains(principal.department))")
        }
        15 => format!("context.risk.score * 2 - context.time.hour {sign} {score}"),
        _ => (["principal is User", "principal is Service", "true", "false"])
            .choose(random)
            .unwrap()
            .to_string(),
    }
}

/// A request that the engine could ask, but for its assurance.
struct Asked {
    principal: EntityUid,
    entities: Entities,
    score: i64,
    hour: i64,
    tor: Option<bool>,
    failures: Option<i64>,
}

fn asked(random: &mut Random) -> Asked {
    let user = random.gen_bool(0.8);
    let kind = if user { "User" } else { "Service" };
    let principal: EntityUid = format!("{kind}::\"x\"").parse().unwrap();
    let mut attributes = HashMap::new();
    let mut parents = HashSet::new();
    if user {
        attributes.insert("grade".to_owned(), RestrictedExpression::new_long(1));
        if random.gen_bool(0.7) {
            let department = *["a", "b", "c"].choose(random).unwrap();
            let department = RestrictedExpression::new_string(department.to_owned());
            attributes.insert("department".to_owned(), department);
        }
        for group in ["staff", "frozen"] {
            if random.gen_bool(0.5) {
                parents.insert(format!("Group::\"{group}\"").parse().unwrap());
            }
        }
    }
    let entity = Entity::new(principal.clone(), attributes, parents).unwrap();
    Asked {
        principal,
        entities: Entities::from_entities([entity], None).unwrap(),
        score: *[0, 9, 10, 29, 30, 31, 50, 59, 60, 79, 80, 90, 100]
            .choose(random)
            .unwrap(),
        hour: random.gen_range(0..24),
        tor: random.gen_bool(0.7).then(|| random.gen_bool(0.5)),
        failures: random.gen_bool(0.7).then(|| random.gen_range(0..4)),
    }
}

fn context(asked: &Asked, assurance: &domain::facts::AssuranceFacts) -> Context {
    let long = RestrictedExpression::new_long;
    let record = |fields: Vec<(&str, Option<RestrictedExpression>)>| {
        let fields = fields.into_iter();
        let there = fields.filter_map(|(name, value)| Some((name.to_owned(), value?)));
        RestrictedExpression::new_record(there).unwrap()
    };
    let level = match asked.score {
        0..30 => "LOW",
        30..60 => "MEDIUM",
        _ => "HIGH",
    };
    let level = RestrictedExpression::new_string(level.to_owned());
    let groups = [
        (
            "risk",
            vec![("score", Some(long(asked.score))), ("level", Some(level))],
        ),
        (
            "signals",
            vec![
                ("tor", asked.tor.map(RestrictedExpression::new_bool)),
                ("recent_failures", asked.failures.map(long)),
            ],
        ),
        (
            "assurance",
            vec![
                ("level", assurance.level.map(long)),
                ("age_seconds", assurance.age_seconds.map(long)),
                (
                    "challenge_age_seconds",
                    assurance.challenge_age_seconds.map(long),
                ),
                ("mfa_age_seconds", assurance.mfa_age_seconds.map(long)),
            ],
        ),
        ("network", vec![]),
        (
            "time",
            vec![("hour", Some(long(asked.hour))), ("weekday", Some(long(1)))],
        ),
    ];
    let groups = groups.map(|(name, fields)| (name.to_owned(), record(fields)));
    Context::from_pairs(groups).unwrap()
}

/// Whether a policy holds; None when it fails.
fn holds(
    policy: &cedar_policy::Policy,
    asked: &Asked,
    assurance: &domain::facts::AssuranceFacts,
) -> Option<bool> {
    let request = Request::new(
        asked.principal.clone(),
        "Action::\"read\"".parse().unwrap(),
        "Document::\"d\"".parse().unwrap(),
        context(asked, assurance),
        None,
    );
    let set = PolicySet::from_policies([policy.clone()]).unwrap();
    let answer = Authorizer::new().is_authorized(&request.unwrap(), &set, &asked.entities);
    let told = answer.diagnostics();
    (told.errors().next().is_none()).then(|| told.reason().next().is_some())
}

/// The policy with what is said to hold always, or never, put in place of the part.
fn rewritten(finding: &Problem) -> Option<cedar_policy::Policy> {
    let constant = match finding.code {
        "policy::always-holds" => "true",
        "policy::never-holds" => "false",
        _ => return None,
    };
    let (_, column) = finding.place?;
    let line = finding.line.as_ref()?;
    let (before, after) = line.split_at(column - 1);
    let text = format!("{before}({constant}){}", &after[finding.width..]);
    Some(text.parse().unwrap())
}

#[test]
fn what_is_said_of_generated_policies_holds_of_generated_requests() {
    const SETS: usize = 24;
    const POLICIES: usize = 8;
    let mut random = Random::seed_from_u64(5);
    let (points, _) = telling(&[30, 60, 900]);
    let mut said: HashMap<&str, usize> = HashMap::new();
    for _ in 0..SETS {
        let text: Vec<String> = (0..POLICIES)
            .map(|number| {
                let effect = if random.gen_bool(0.7) {
                    "forbid"
                } else {
                    "permit"
                };
                let condition = condition(&mut random, 4);
                format!(
                    "@id(\"p{number}\") @reason(\"x\") {effect} (principal, action, resource) \
                     when {{ {condition} }};"
                )
            })
            .collect();
        let files = [
            SourceFile::new("a.cedarschema", SCHEMA),
            SourceFile::new("a.cedar", text.join("\n")),
        ];
        // Windows that are too short, and the like.
        let Ok(policies) = Policies::load(&files) else {
            continue;
        };
        let findings = policies.lint(&files, Against::default());
        let set = policies.as_cedar();
        let by_line = |finding: &Problem| {
            let line = finding.place.map_or(0, |(line, _)| line);
            set.policy(&cedar_policy::PolicyId::new(format!("p{}", line - 1)))
        };
        let requests: Vec<Asked> = (0..10).map(|_| asked(&mut random)).collect();
        let assured: Vec<_> = (0..6)
            .map(|_| points.choose(&mut random).unwrap())
            .collect();
        let told = |code: &str, id: &str| {
            let mut findings = findings.0.iter();
            findings.any(|finding| {
                finding.code == code
                    && by_line(finding).is_some_and(|policy| policy.id().to_string() == id)
            })
        };
        for finding in &findings.0 {
            *said.entry(finding.code).or_default() += 1;
            let Some(policy) = by_line(finding) else {
                continue;
            };
            if finding.code == NEVER_MATCHES {
                for asked in &requests {
                    for assurance in &assured {
                        assert_ne!(holds(policy, asked, assurance), Some(true), "{finding}");
                    }
                }
            }
            if let Some(other) = rewritten(finding) {
                for asked in &requests {
                    for assurance in &assured {
                        if let Some(held) = holds(policy, asked, assurance) {
                            let now = holds(&other, asked, assurance);
                            assert_eq!(now, Some(held), "{finding}");
                        }
                    }
                }
            }
            if finding.code == "policy::in-shadow" {
                let by = finding.message.split('`').nth(3).unwrap();
                let by = set.policy(&cedar_policy::PolicyId::new(by)).unwrap();
                for asked in &requests {
                    for assurance in &assured {
                        if holds(policy, asked, assurance) == Some(true) {
                            assert_ne!(holds(by, asked, assurance), Some(false), "{finding}");
                        }
                    }
                }
            }
        }
        // What is not said to turn round does not.
        for policy in set.policies() {
            let id = policy.id().to_string();
            if told("policy::ladder-turns-round", &id) || told("policy::not-decided", &id) {
                continue;
            }
            let forbids = policy.effect() == cedar_policy::Effect::Forbid;
            for asked in &requests {
                for less in &assured {
                    for more in assured.iter().filter(|more| is_more(more, less)) {
                        let pair = (holds(policy, asked, less), holds(policy, asked, more));
                        assert_ne!(pair, (Some(!forbids), Some(forbids)), "{policy}");
                    }
                }
            }
        }
    }
    for (code, least) in [
        (NEVER_MATCHES, 15),
        ("policy::ladder-turns-round", 15),
        ("policy::always-holds", 25),
        ("policy::never-holds", 25),
        ("policy::in-shadow", 4),
    ] {
        let count = said.get(code).copied().unwrap_or_default();
        assert!(count >= least, "{code}: {count}, of {said:?}");
    }
}

#[test]
fn what_turns_round_does_so_on_a_real_request() {
    // The witness of a finding is a request that can be: it is made, and asked.
    let files = |condition: &str| {
        [
            SourceFile::new("a.cedarschema", SCHEMA),
            SourceFile::new(
                "a.cedar",
                format!(
                    "@id(\"p0\") @reason(\"x\") forbid (principal, action, resource) {condition};"
                ),
            ),
        ]
    };
    let (points, _) = telling(&[30, 60, 900]);
    let mut random = Random::seed_from_u64(6);
    let requests: Vec<Asked> = (0..200).map(|_| asked(&mut random)).collect();
    let mut turned = 0;
    for _ in 0..150 {
        let files = files(&format!("when {{ {} }}", condition(&mut random, 3)));
        let Ok(policies) = Policies::load(&files) else {
            continue;
        };
        let findings = policies.lint(&files, Against::default());
        let mut findings = findings.0.iter();
        let Some(finding) = findings.find(|finding| finding.code == "policy::ladder-turns-round")
        else {
            continue;
        };
        turned += 1;
        let policy = policies.as_cedar().policies().next().unwrap();
        let turns = requests.iter().any(|asked| {
            points.iter().any(|less| {
                holds(policy, asked, less) == Some(false)
                    && points
                        .iter()
                        .filter(|more| is_more(more, less))
                        .any(|more| holds(policy, asked, more) == Some(true))
            })
        });
        assert!(turns, "{finding}");
    }
    assert!(turned >= 10, "{turned}");
}

#[test]
fn advice_that_is_followed_ends_the_finding() {
    let check = |condition: &str| {
        let policy = format!(
            "@id(\"p\") @reason(\"x\") forbid (principal is User, action, resource) {condition};\n\
             @id(\"all\") permit (principal, action, resource);"
        );
        let files = [
            SourceFile::new("a.cedarschema", SCHEMA),
            SourceFile::new("a.cedar", policy),
        ];
        let policies = Policies::load(&files).unwrap();
        let findings = policies.lint(&files, Against::default()).0;
        let codes = findings.iter().map(|finding| finding.code);
        codes.collect::<Vec<_>>()
    };
    const AMOUNT: &str = "context has action && context.action has amount";
    for (condition, wanted) in [
        (
            format!("when {{ {AMOUNT} && context.action.amount * 100 > 5000 }}"),
            vec!["policy::may-overflow"],
        ),
        (
            format!(
                "when {{ {AMOUNT} && context.action.amount > 0 && \
                 context.action.amount < 1000000 && context.action.amount * 100 > 5000 }}"
            ),
            vec![],
        ),
        // The engine's own words have ranges.
        (
            "when { context.risk.score * 2 - 60 > 5 }".to_owned(),
            vec![],
        ),
        (
            "when { resource.size > 5 }".to_owned(),
            vec!["policy::may-not-be-stored"],
        ),
        (
            "when { resource has size && resource.size > 5 }".to_owned(),
            vec![],
        ),
        // A `@stored` subject is there, with all that the schema demands.
        ("when { principal.grade > 5 }".to_owned(), vec![]),
        (
            "when { resource has owner && resource.owner.grade > 5 }".to_owned(),
            vec!["policy::may-not-be-stored"],
        ),
        (
            "when { resource has owner.grade && resource.owner.grade > 5 }".to_owned(),
            vec![],
        ),
        (
            "when { context.assurance.level >= 2 }".to_owned(),
            vec!["policy::ladder-turns-round"],
        ),
        ("unless { context.assurance.level >= 2 }".to_owned(), vec![]),
        // Three is the most that there is.
        ("unless { context.assurance.level == 3 }".to_owned(), vec![]),
        (
            "unless { context.assurance.level == 2 }".to_owned(),
            vec!["policy::ladder-turns-round"],
        ),
        (
            "unless { [2, 3].contains(context.assurance.level) }".to_owned(),
            vec!["policy::not-decided"],
        ),
        (
            "when { if context.risk.score < 30 then false else !(context.assurance has \
             mfa_age_seconds && context.assurance.mfa_age_seconds <= 900) }"
                .to_owned(),
            vec![],
        ),
    ] {
        assert_eq!(check(&condition), wanted, "{condition}");
    }
}
