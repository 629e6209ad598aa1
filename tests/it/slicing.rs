//! Slicing changes nothing: for generated schemas, policy sets, links, entities and requests, the
//! candidates say what Cedar's own authorizer says of all policies: the decision, the policies
//! that determined it, and those that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, EntityUid, Request,
};
use domain::request::{Action, Party, RequestContext};
use domain::value::Attributes;
use domain::{AccessRequest, Assurance, EntityRef, Facts, Name, Timestamp, Value};
use policy::{Directory, Policies, Question, SourceFile};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// Requests put to one generated set. A case is one request against one set.
const REQUESTS: usize = 100;
/// Cases when `PROPTEST_CASES` does not say otherwise.
const CASES: u32 = 10_000;

type Kinds = &'static [(&'static str, usize)];

/// Types with their numbers of entities; groups hold groups, folders hold folders.
const PRINCIPALS: [(&str, usize); 2] = [("User", 6), ("App::Robot", 3)];
const GROUPS: [(&str, usize); 2] = [("Group", 5), ("App::Team", 3)];
const RESOURCES: [(&str, usize); 2] = [("Document", 6), ("App::File", 4)];
const FOLDERS: [(&str, usize); 1] = [("Folder", 5)];

/// Actions by their Cedar names, and the two groups of actions, one in the other.
pub(crate) const ACTIONS: [&str; 5] = [
    "Action::\"read\"",
    "Action::\"write\"",
    "Action::\"share\"",
    "App::Action::\"run\"",
    "App::Action::\"stop\"",
];
const ACTION_GROUPS: [&str; 3] = [
    "Action::\"viewing\"",
    "Action::\"everything\"",
    "App::Action::\"driving\"",
];

/// Everything is in the schema or not by the bits of one number.
fn schema(bits: u16) -> String {
    let on = |bit: u32| bits >> bit & 1 == 1;
    let robots = if on(0) { ", App::Robot" } else { "" };
    let files = if on(1) { ", App::File" } else { "" };
    let share_in = if on(2) {
        "in [\"viewing\"]"
    } else {
        "in [\"everything\"]"
    };
    let stop_in = if on(3) { "in [\"driving\"]" } else { "" };
    format!(
        r#"
        entity Group in [Group];
        entity User in [Group, App::Team] {{ level?: Long, friends?: Set<User> }};
        entity Folder in [Folder];
        entity Document in [Folder] {{ owner?: User, size?: Long, secret?: Bool }};
        action everything;
        action viewing in ["everything"];
        action read in ["viewing"] appliesTo {{ principal: [User{robots}], resource: [Document{files}], context: Asked }};
        action write in ["everything"] appliesTo {{ principal: [User{robots}], resource: [Document{files}], context: Asked }};
        action share {share_in} appliesTo {{ principal: [User], resource: [Document], context: Asked }};
        type Asked = {{ depth?: Long, from?: String }};
        namespace App {{
            entity Team in [Team];
            entity Robot in [Team, Group] {{ level?: Long }};
            entity File in [Folder] {{ size?: Long }};
            action driving;
            action run in ["driving"] appliesTo {{ principal: [Robot, User], resource: [File, Document], context: {{ depth?: Long }} }};
            action stop {stop_in} appliesTo {{ principal: [Robot], resource: [File], context: {{ depth?: Long }} }};
        }}
        "#
    )
}

fn uid(kinds: &[(&'static str, usize)]) -> BoxedStrategy<String> {
    let all: Vec<String> = kinds
        .iter()
        // One more than there are: named, and stored nowhere.
        .flat_map(|(kind, count)| (0..=*count).map(move |n| format!("{kind}::\"{n}\"")))
        .collect();
    proptest::sample::select(all).boxed()
}

fn kind(kinds: &[(&'static str, usize)]) -> BoxedStrategy<&'static str> {
    let names: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
    proptest::sample::select(names).boxed()
}

/// What a scope says of `principal` or `resource`, and the slot that it leaves open.
fn scope(
    var: &'static str,
    leaves: &[(&'static str, usize)],
    groups: &[(&'static str, usize)],
) -> BoxedStrategy<(String, Option<String>)> {
    let plain = |text: String| (text, None);
    let either = || prop_oneof![uid(leaves), uid(groups)];
    let slot = move |text: String, filled: String| (text, Some(filled));
    prop_oneof![
        3 => Just(plain(var.to_owned())),
        2 => kind(leaves).prop_map(move |kind| plain(format!("{var} is {kind}"))),
        3 => uid(leaves).prop_map(move |uid| plain(format!("{var} == {uid}"))),
        4 => either().prop_map(move |uid| plain(format!("{var} in {uid}"))),
        3 => (kind(leaves), either())
            .prop_map(move |(kind, uid)| plain(format!("{var} is {kind} in {uid}"))),
        1 => uid(leaves).prop_map(move |uid| slot(format!("{var} == ?{var}"), uid)),
        2 => either().prop_map(move |uid| slot(format!("{var} in ?{var}"), uid)),
        1 => (kind(leaves), either())
            .prop_map(move |(kind, uid)| slot(format!("{var} is {kind} in ?{var}"), uid)),
    ]
    .boxed()
}

fn action_scope() -> BoxedStrategy<String> {
    let one = || {
        let all: Vec<&str> = ACTIONS.into_iter().chain(ACTION_GROUPS).collect();
        proptest::sample::select(all)
    };
    prop_oneof![
        3 => Just("action".to_owned()),
        2 => proptest::sample::select(&ACTIONS[..]).prop_map(|uid| format!("action == {uid}")),
        2 => one().prop_map(|uid| format!("action in {uid}")),
        3 => proptest::collection::vec(one(), 1..4)
            .prop_map(|uids| format!("action in [{}]", uids.join(", "))),
    ]
    .boxed()
}

/// Conditions that hold, do not, look at what may be missing, and fail: a `Long` overflows.
fn condition() -> BoxedStrategy<&'static str> {
    proptest::sample::select(vec![
        "",
        "",
        "when { true }",
        "unless { true }",
        "when { context has depth && context.depth > 3 }",
        "unless { context has depth && context.depth > 3 }",
        "when { context has depth && context.depth + 9223372036854775807 > 0 }",
        "when { context has depth && context.depth * 4611686018427387904 > 0 } unless { false }",
        "when { context has depth && context.depth + 9223372036854775800 > 0 }",
        "when { principal in Group::\"0\" || resource in Folder::\"1\" }",
        "when { principal is User && principal has level && principal.level > 2 }",
        "when { resource in [Folder::\"2\", Folder::\"3\"] }",
        "when { context has depth && principal is User && context.depth - 9223372036854775807 < 2 }",
    ])
    .boxed()
}

/// A policy as text, and its link if its scope has slots.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    text: String,
    filled: [Option<String>; 2],
}

pub(crate) fn drawn() -> impl Strategy<Value = Drawn> {
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    let principal = scope("principal", &PRINCIPALS, &GROUPS);
    let resource = scope("resource", &RESOURCES, &FOLDERS);
    (effect, principal, action_scope(), resource, condition()).prop_map(
        |(effect, principal, action, resource, condition)| Drawn {
            text: format!(
                "{effect} ({}, {action}, {}) {condition};\n",
                principal.0, resource.0
            ),
            filled: [principal.1, resource.1],
        },
    )
}

/// Entities as JSON: each in some groups of higher numbers, so that no circle comes about.
pub(crate) fn entities() -> impl Strategy<Value = String> {
    let all: Vec<(&str, usize, Kinds)> = PRINCIPALS
        .iter()
        .chain(&GROUPS)
        .map(|(kind, count)| (*kind, *count, &GROUPS[..]))
        .chain(
            RESOURCES
                .iter()
                .chain(&FOLDERS)
                .map(|(kind, count)| (*kind, *count, &FOLDERS[..])),
        )
        .collect();
    let total: usize = all.iter().map(|(_, count, _)| count).sum();
    proptest::collection::vec(any::<u64>(), total).prop_map(move |bits| {
        let mut bits = bits.into_iter();
        let mut written = Vec::new();
        for (kind, count, above) in &all {
            for number in 0..*count {
                let bits = bits.next().unwrap_or_default();
                // Two of three are stored at all.
                if bits >> 60 < 5 {
                    continue;
                }
                let mut parents = Vec::new();
                for (position, (group, groups)) in above.iter().enumerate() {
                    let is_group = group == kind;
                    // A team holds teams, a group holds groups; both hold the rest.
                    let fits = is_group || !above.iter().any(|(other, _)| other == kind);
                    let allowed = fits && !(*kind == "App::File" && *group != "Folder");
                    for candidate in 0..*groups {
                        let bit = bits >> (8 + position * 8 + candidate) & 1 == 1;
                        if allowed && bit && (!is_group || candidate > number) {
                            parents.push(format!(r#"{{"type":"{group}","id":"{candidate}"}}"#));
                        }
                    }
                }
                let level = match *kind {
                    "User" if bits % 2 == 0 => format!(r#""level":{}"#, bits % 5),
                    _ => String::new(),
                };
                written.push(format!(
                    r#"{{"uid":{{"type":"{kind}","id":"{number}"}},"attrs":{{{level}}},"parents":[{}]}}"#,
                    parents.join(",")
                ));
            }
        }
        format!("[{}]", written.join(","))
    })
}

/// Who, what, on what, and how deep.
pub(crate) type Asked = (
    (&'static str, usize),
    usize,
    (&'static str, usize),
    Option<i64>,
);

pub(crate) fn asked() -> impl Strategy<Value = Asked> {
    // What each action is always for, and now and then something else.
    let fitting = proptest::sample::select(vec![
        ("User", 0, "Document"),
        ("User", 1, "Document"),
        ("User", 2, "Document"),
        ("App::Robot", 3, "App::File"),
        ("User", 3, "Document"),
        ("App::Robot", 4, "App::File"),
    ]);
    let any = (kind(&PRINCIPALS), 0..ACTIONS.len(), kind(&RESOURCES));
    let depth = proptest::option::weighted(0.6, -1..9_i64);
    (
        prop_oneof![6 => fitting, 1 => any],
        0..7_usize,
        0..7_usize,
        depth,
    )
        .prop_map(|((principal, action, resource), who, what, depth)| {
            let count = |kind: &str| {
                let all = PRINCIPALS.iter().chain(&RESOURCES);
                all.clone()
                    .find(|(known, _)| *known == kind)
                    .map_or(0, |(_, count)| *count)
            };
            // One more than there are: stored nowhere.
            let number = |kind, drawn: usize| drawn % (count(kind) + 1);
            (
                (principal, number(principal, who)),
                action,
                (resource, number(resource, what)),
                depth,
            )
        })
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) policies: Policies,
    pub(crate) directory: Directory,
    cedar_entities: Entities,
}

/// A set of policies with its links and entities; none when the draw makes no valid set.
pub(crate) fn world(bits: u16, drawn: &[Drawn], entities: &str) -> Option<World> {
    let schema = schema(bits);
    let mut kept: Vec<usize> = (0..drawn.len()).collect();
    // What strict validation refuses is left out, until what is left is sound.
    loop {
        let (mut text, mut links) = (String::new(), Vec::new());
        for number in &kept {
            let one = &drawn[*number];
            let [principal, resource] = &one.filled;
            let slots: BTreeMap<&str, &String> =
                [("?principal", principal), ("?resource", resource)]
                    .into_iter()
                    .filter_map(|(slot, uid)| Some((slot, uid.as_ref()?)))
                    .collect();
            write!(text, "@id(\"{number}\")\n{}", one.text).unwrap();
            if !slots.is_empty() {
                links.push(serde_json::json!({
                    "template_id": number.to_string(),
                    "link_id": format!("link-{number}"),
                    "args": slots,
                }));
            }
        }
        let files = [
            SourceFile::new("s.cedarschema", schema.as_str()),
            SourceFile::new("p.cedar", text.as_str()),
            SourceFile::new("p.links.json", serde_json::Value::from(links).to_string()),
        ];
        match Policies::load(&files) {
            Ok(policies) => {
                let directory = Directory::load(&SourceFile::new("e.json", entities), &policies);
                let directory = directory.unwrap_or_else(|why| panic!("{why}\n{entities}"));
                let cedar_entities =
                    Entities::from_json_str(entities, Some(policies.schema())).unwrap();
                return Some(World {
                    policies,
                    directory,
                    cedar_entities,
                });
            }
            Err(problems) => {
                let wrong: BTreeSet<usize> = problems
                    .0
                    .iter()
                    .filter(|problem| problem.severity == policy::Severity::Error)
                    .filter_map(|problem| {
                        let (row, _) = problem.place?;
                        // Two lines a policy; a link stands on the one line of its file.
                        (problem.file == "p.cedar").then(|| kept.get((row - 1) / 2).copied())?
                    })
                    .collect();
                if wrong.is_empty() {
                    panic!("{problems}\n{text}");
                }
                kept.retain(|number| !wrong.contains(number));
            }
        }
        if kept.is_empty() {
            return None;
        }
    }
}

/// What one of the two ways made of a request.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    allows: bool,
    determining: BTreeSet<String>,
    errors: BTreeSet<String>,
}

fn unsliced(world: &World, asked: &Asked, uids: &[EntityUid; 3]) -> Option<Said> {
    let context = match asked.3 {
        Some(depth) => {
            Context::from_pairs([("depth".to_owned(), depth.to_string().parse().unwrap())])
        }
        None => Ok(Context::empty()),
    };
    let [principal, action, resource] = uids.clone();
    let request = Request::new(
        principal,
        action,
        resource,
        context.unwrap(),
        Some(world.policies.schema()),
    )
    .ok()?;
    let response =
        Authorizer::new().is_authorized(&request, world.policies.as_cedar(), &world.cedar_entities);
    Some(Said {
        allows: response.decision() == Decision::Allow,
        determining: response
            .diagnostics()
            .reason()
            .map(ToString::to_string)
            .collect(),
        errors: response
            .diagnostics()
            .errors()
            .map(|AuthorizationError::PolicyEvaluationError(error)| error.policy_id().to_string())
            .collect(),
    })
}

/// The same in the engine's words.
pub(crate) fn request(asked: &Asked) -> AccessRequest {
    let party = |(kind, id): (&str, usize)| Party {
        entity: EntityRef::new(kind, id.to_string()).unwrap(),
        properties: Attributes::new(),
    };
    let action = ACTIONS[asked.1].split('"').nth(1).unwrap();
    let extra = asked
        .3
        .map(|depth| ("depth".to_owned(), Value::Long(depth)));
    AccessRequest {
        subject: party(asked.0),
        action: Action {
            name: Name::new(action).unwrap(),
            properties: Attributes::new(),
        },
        resource: party(asked.2),
        context: RequestContext {
            extra: extra.into_iter().collect(),
            ..RequestContext::default()
        },
        result: None,
    }
}

fn sliced(world: &World, asked: &Asked) -> Option<Said> {
    let request = request(asked);
    let question = Question {
        request: &request,
        facts: &Facts::default(),
        assurance: Assurance::default(),
        now: Timestamp::MIN,
        interactive: false,
    };
    let verdict = world.policies.ask(&world.directory, &question).ok()?;
    let climbed = world.policies.climb(&world.directory, &question);
    assert_eq!(climbed.rung == domain::Rung::Allow, verdict.allows());
    let ids = |policies: &[std::sync::Arc<domain::DecidingPolicy>]| {
        policies
            .iter()
            .map(|policy| policy.id.to_string())
            .collect()
    };
    let errors = verdict.errors.iter();
    Some(Said {
        // Cedar passes over what fails; the engine's own answer does not.
        allows: verdict.forbids.is_empty() && !verdict.permits.is_empty(),
        determining: if verdict.forbids.is_empty() {
            ids(&verdict.permits)
        } else {
            ids(&verdict.forbids)
        },
        errors: errors
            .map(|error| error.split(':').next().unwrap().to_owned())
            .collect(),
    })
}

/// How often something came about, so that the test cannot pass by asking nothing.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    refused: usize,
    allowed: usize,
    forbidden: usize,
    failed: usize,
    by_link: usize,
    policies: usize,
    links: usize,
}

#[expect(
    clippy::disallowed_methods,
    reason = "proptest's own variable, for longer runs"
)]
fn cases() -> u32 {
    let said = std::env::var("PROPTEST_CASES").ok();
    said.and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

#[test]
fn candidates_say_what_all_policies_say() {
    // A fourteenth of the requests is for types that the action does not take.
    let wanted = cases();
    let sets = (wanted + wanted / 8).div_ceil(REQUESTS as u32);
    let config = Config {
        cases: sets,
        failure_persistence: None,
        ..Config::default()
    };
    let seeded = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, seeded);
    let tally = std::cell::RefCell::new(Tally::default());
    let sets = (
        any::<u16>(),
        proptest::collection::vec(drawn(), 8..40),
        entities(),
        proptest::collection::vec(asked(), REQUESTS),
    );
    let done = runner.run(&sets, |(bits, drawn, entities, requests)| {
        let Some(world) = world(bits, &drawn, &entities) else {
            return Err(TestCaseError::reject("no policy is sound"));
        };
        let mut tally = tally.borrow_mut();
        tally.policies += world.policies.len();
        let links = world.policies.as_cedar().policies();
        tally.links += links.filter(|policy| !policy.is_static()).count();
        for asked in requests {
            let uid = |(kind, id): (&str, usize)| format!("{kind}::\"{id}\"").parse().unwrap();
            let uids = [
                uid(asked.0),
                ACTIONS[asked.1].parse().unwrap(),
                uid(asked.2),
            ];
            let (Some(whole), sliced) = (unsliced(&world, &asked, &uids), sliced(&world, &asked))
            else {
                prop_assert_eq!(sliced(&world, &asked), None);
                tally.refused += 1;
                continue;
            };
            tally.cases += 1;
            tally.allowed += usize::from(whole.allows);
            tally.forbidden += usize::from(!whole.allows && !whole.determining.is_empty());
            tally.failed += usize::from(!whole.errors.is_empty());
            tally.by_link += usize::from(whole.determining.iter().any(|id| id.starts_with("link")));
            prop_assert_eq!(Some(whole), sliced, "{:?}", asked);
        }
        Ok(())
    });
    let tally = tally.into_inner();
    println!("{tally:?}");
    done.unwrap_or_else(|failed| panic!("{failed}"));
    let share = |part: usize| part as f64 / tally.cases as f64;
    assert!(share(tally.allowed) > 0.15, "{tally:?}");
    assert!(share(tally.forbidden) > 0.05, "{tally:?}");
    assert!(share(tally.failed) > 0.05, "{tally:?}");
    assert!(share(tally.by_link) > 0.05, "{tally:?}");
    assert!(tally.links * 10 > tally.policies, "{tally:?}");
    assert!(tally.cases >= wanted as usize, "{tally:?}");
}
