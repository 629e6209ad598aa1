use std::collections::BTreeMap;

use domain::request::{Action, Party, RequestContext};
use domain::{AccessRequest, Assurance, EntityRef, Facts, Name, Rung, Timestamp};

use crate::source::SourceFile;
use crate::{Directory, Policies, Question};

const SCHEMA: &str =
    "entity Group; entity User in [Group]; entity Folder; entity Document in [Folder];
action read, write appliesTo { principal: User, resource: Document };";

const TEMPLATES: &str = "@id(\"reads\")
@reason(\"It was shared with you.\")
permit (principal == ?principal, action == Action::\"read\", resource in ?resource);

@id(\"bans\")
forbid (principal in ?principal, action, resource);
";

fn load(links: &str) -> Result<Policies, String> {
    Policies::load(&[
        SourceFile::new("s.cedarschema", SCHEMA),
        SourceFile::new("t.cedar", TEMPLATES),
        SourceFile::new("t.links.json", links),
    ])
    .map_err(|problems| problems.to_string())
}

const GOOD: &str = r#"[
  {"template_id": "reads", "link_id": "ann-reads", "args": {"?principal": "User::\"ann\"", "?resource": "Folder::\"f\""}},
  {"template_id": "reads", "link_id": "bob-reads-one", "args": {"?principal": "User::\"bob\"", "?resource": "Document::\"d\""}},
  {"template_id": "bans", "link_id": "ban", "args": {"?principal": "Group::\"out\""}}
]"#;

const ENTITIES: &str = r#"[
  {"uid": {"type": "User", "id": "ann"}, "attrs": {}, "parents": []},
  {"uid": {"type": "User", "id": "bob"}, "attrs": {}, "parents": []},
  {"uid": {"type": "User", "id": "eve"}, "attrs": {}, "parents": []},
  {"uid": {"type": "Group", "id": "out"}, "attrs": {}, "parents": []},
  {"uid": {"type": "User", "id": "ann-banned"}, "attrs": {}, "parents": [{"type": "Group", "id": "out"}]},
  {"uid": {"type": "Document", "id": "d"}, "attrs": {}, "parents": [{"type": "Folder", "id": "f"}]},
  {"uid": {"type": "Document", "id": "e"}, "attrs": {}, "parents": []}
]"#;

fn asked(policies: &Policies, who: &str, action: &str, what: &str) -> (Rung, Vec<String>) {
    let directory = Directory::load(&SourceFile::new("e.json", ENTITIES), policies).unwrap();
    let party = |kind: &str, id: &str| Party {
        entity: EntityRef::new(kind, id).unwrap(),
        properties: BTreeMap::new(),
    };
    let request = AccessRequest {
        subject: party("User", who),
        action: Action {
            name: Name::new(action).unwrap(),
            properties: BTreeMap::new(),
        },
        resource: party("Document", what),
        context: RequestContext::default(),
        result: None,
    };
    let question = Question {
        request: &request,
        facts: &Facts::default(),
        assurance: Assurance::default(),
        now: Timestamp::MIN,
        interactive: false,
    };
    let climb = policies.climb(&directory, &question);
    let ids = climb.policies.iter().map(|policy| policy.id.to_string());
    (climb.rung, ids.collect())
}

#[test]
fn a_link_is_a_policy_with_the_scope_that_its_slots_make() {
    let policies = load(GOOD).unwrap();
    assert_eq!(policies.len(), 3, "templates are none");
    for (who, action, what, rung, by) in [
        ("ann", "read", "d", Rung::Allow, &["ann-reads"][..]),
        ("ann", "read", "e", Rung::Deny, &[]),
        ("ann", "write", "d", Rung::Deny, &[]),
        ("bob", "read", "d", Rung::Allow, &["bob-reads-one"]),
        ("eve", "read", "d", Rung::Deny, &[]),
        ("ann-banned", "read", "d", Rung::Deny, &["ban"]),
    ] {
        let wanted: Vec<String> = by.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(
            asked(&policies, who, action, what),
            (rung, wanted),
            "{who} {action} {what}"
        );
    }
    let told = &policies.policies[0].told;
    assert_eq!(told.reason.as_deref(), Some("It was shared with you."));
}

/// A mistake, the place where it is told, and what its message has in it.
fn check(links: &str, place: &str, words: &[&str]) {
    let Err(told) = load(links) else {
        panic!("nothing is wrong with {links}");
    };
    let first = told.lines().next().unwrap();
    assert!(first.starts_with(place), "{links}\n{told}");
    for word in words {
        assert!(told.contains(word), "no `{word}` in\n{told}");
    }
}

#[test]
fn what_is_wrong_with_a_link_is_said_with_its_place_and_what_to_do() {
    let with = |last: &str| {
        GOOD.replace(r#"{"template_id": "bans", "link_id": "ban", "args": {"?principal": "Group::\"out\""}}"#, last)
    };
    let bans = |args: &str| {
        with(&format!(
            r#"{{"template_id": "bans", "link_id": "ban", "args": {args}}}"#
        ))
    };
    for (links, place, words) in [
        (
            with(r#"{"template_id": "bun", "link_id": "x", "args": {}}"#),
            "t.links.json:4:3: error: there is no template `bun`",
            &["`bans`, `reads`"][..],
        ),
        (
            bans("{}"),
            "t.links.json:4:3: error: `args` leave out `?principal`",
            &["add \"?principal\""],
        ),
        (
            bans(r#"{"?principal": "Group::\"out\"", "?resource": "Document::\"d\""}"#),
            "t.links.json:4:3: error: the template `bans` has no slot `?resource`",
            &["it has `?principal`"],
        ),
        (
            bans(r#"{"?user": "Group::\"out\""}"#),
            "t.links.json:4:",
            &["unknown field `?user`", "links are a JSON array"],
        ),
        (
            bans(r#"{"?principal": "Group::out"}"#),
            "t.links.json:4:3: error: `?principal` is no entity: `Group::out`",
            &["its id in quotes"],
        ),
        (
            bans(r#"{"?principal": "Gruop::\"out\""}"#),
            "t.links.json:4:3: error:",
            &["Gruop"],
        ),
        (
            with(
                r#"{"template_id": "bans", "link_id": "ann-reads", "args": {"?principal": "Group::\"out\""}}"#,
            ),
            "t.links.json:4:3: error: `link_id` `ann-reads` is taken",
            &["it stands at t.links.json:2 already"],
        ),
        (
            with(
                r#"{"template_id": "bans", "link_id": "reads", "args": {"?principal": "Group::\"out\""}}"#,
            ),
            "t.links.json:4:3: error: `link_id` `reads` is taken",
            &["t.cedar:1 already"],
        ),
        (
            with(
                r#"{"template_id": "bans", "link_id": " ", "args": {"?principal": "Group::\"out\""}}"#,
            ),
            "t.links.json:4:3: error: `link_id` is empty",
            &["records name it"],
        ),
        (
            with(r#"{"template_id": "ann-reads", "link_id": "x", "args": {}}"#),
            "t.links.json:4:3: error: `ann-reads` is a policy without slots",
            &["?principal"],
        ),
        (
            with(r#"{"template_id": "bans", "link_id": "x"}"#),
            "t.links.json:4:",
            &["missing field `args`"],
        ),
        (
            "{}".to_owned(),
            "t.links.json:1:",
            &["links are a JSON array"],
        ),
        ("[".to_owned(), "t.links.json:1:", &["EOF"]),
        (
            "[]".to_owned(),
            "t.cedar:1:1: error: nothing links the template `reads`",
            &[
                "t.cedar:5:1: error: nothing links the template `bans`",
                "in place of the slot",
            ],
        ),
    ] {
        check(&links, place, words);
    }
}

#[test]
fn a_slot_filled_with_what_can_never_match_is_a_warning_at_the_link() {
    let nobody = GOOD.replace(r#"Group::\"out\""#, r#"Document::\"d\""#);
    let policies = load(&nobody).unwrap();
    let told = policies.warnings().to_string();
    assert!(
        told.starts_with(
            "t.links.json:4:3: warning: for policy `ban`, unable to find an applicable action"
        ),
        "{told}"
    );
}

#[test]
fn a_window_that_is_too_short_is_told_once_and_where_the_template_has_it() {
    let files = [
        SourceFile::new(
            "s.cedarschema",
            "entity User; entity Document;
             action read appliesTo { principal: User, resource: Document,
               context: { assurance: { level: Long, mfa_age_seconds?: Long } } };",
        ),
        SourceFile::new(
            "t.cedar",
            "@id(\"t\")\npermit (principal == ?principal, action, resource)\nwhen { context.assurance has mfa_age_seconds && context.assurance.mfa_age_seconds < 5 };",
        ),
        SourceFile::new(
            "t.links.json",
            r#"[{"template_id":"t","link_id":"a","args":{"?principal":"User::\"a\""}},
                {"template_id":"t","link_id":"b","args":{"?principal":"User::\"b\""}}]"#,
        ),
    ];
    let told = Policies::load(&files).unwrap_err();
    let told: Vec<String> = told.0.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("t.cedar:3:"), "{told:?}");
}
