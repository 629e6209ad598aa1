//! What authors are told of their policies: `policy check`, `policy fmt`, `policy graph`.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{BINARY, Ran, Site, root, run};

/// Rewrites what is expected: to be read in review.
const UPDATE: &str = "UPDATE_EXPECT";

fn broken() -> std::path::PathBuf {
    root().join("tests/fixtures/policies-broken")
}

/// A folder with the policies of a fixture, and the schema of all of them where it has none.
fn laid_out(fixture: &Path) -> TempDir {
    let folder = TempDir::new().unwrap();
    let schema = "schema.cedarschema";
    fs::copy(broken().join(schema), folder.path().join(schema)).unwrap();
    for entry in fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

fn policy(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(BINARY);
    run(command.current_dir(folder).arg("policy").args(arguments))
}

/// Holds what `policy check` says of a fixture against its `expected.txt`: the words, the codes
/// that machines read, and the exit status.
fn check(fixture: &Path) -> Result<(), String> {
    let folder = laid_out(fixture);
    let words = policy(folder.path(), &["check", "--dir", ".", "--notes"]);
    let json = policy(folder.path(), &["check", "--dir", ".", "--json"]);
    let report: Value = serde_json::from_str(&json.out).map_err(|error| error.to_string())?;
    let findings = report["findings"].as_array().unwrap();
    let codes: Vec<String> = findings
        .iter()
        .map(|finding| {
            let at = &finding["line"];
            format!("{} {} {at}", finding["severity"], finding["code"]).replace('"', "")
        })
        .collect();
    assert_eq!(words.status, json.status);
    assert_eq!(words.status == Some(0), report["ok"] == true);
    let found = format!(
        "{}\nexit {}\n{}\n",
        words.out.trim_end(),
        words.status.unwrap(),
        codes.join("\n")
    );
    let expected = fixture.join("expected.txt");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&expected, &found).unwrap();
    }
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    if wanted == found {
        return Ok(());
    }
    Err(format!(
        "{}: {UPDATE}=1 rewrites it\n--- wanted\n{wanted}--- found\n{found}",
        expected.display()
    ))
}

#[test]
fn each_mistake_is_told_with_its_place_and_what_to_write_instead() {
    let mut fixtures: Vec<_> = fs::read_dir(broken())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    fixtures.sort();
    assert!(fixtures.len() >= 40);
    let faults: Vec<String> = fixtures
        .iter()
        .filter_map(|fixture| check(fixture).err())
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_shipped_policies_have_nothing_to_be_told_of() {
    let site = Site::new();
    let ran = run(site
        .command()
        .args(["policy", "check", "--strict", "--json"]));
    assert_eq!(ran.status, Some(0), "{}", ran.out);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["errors"], 0);
    assert_eq!(report["warnings"], 0);
    assert!(report["entities"].as_u64().unwrap() > 0);
}

#[test]
fn check_says_what_policy_check_says() {
    let folder = laid_out(&broken().join("contradiction"));
    let site = Site::with(&format!("[policies]\ndir = {:?}", folder.path()));
    let ran = run(site.command().args(["check", "--json"]));
    assert_eq!(ran.status, Some(1));
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(
        report["faults"][0]
            .as_str()
            .unwrap()
            .contains("`between` never matches"),
        "{report}"
    );
}

#[test]
fn warnings_are_a_no_only_when_asked_and_wrong_use_is_2() {
    let folder = laid_out(&broken().join("forbid-without-reason"));
    for (arguments, wanted) in [
        (vec!["check", "--dir", "."], 0),
        (vec!["check", "--dir", ".", "--strict"], 1),
        (vec!["check", "--dir", "nowhere"], 2),
        (vec!["check", "--dir", ".", "--entities", "nothing.json"], 2),
        (vec!["check", "--loudly"], 2),
        (vec!["fmt", "nothing.cedar"], 2),
        (vec!["fmt", "--stdin", "."], 2),
        (vec!["graph", "--dir", "."], 0),
        (vec!["graph", "--dir", ".", "--action", "fly"], 1),
        (vec!["graph", "--dir", ".", "--principal", "Robot"], 1),
        (vec!["graph", "--dir", ".", "--principal", "User::\"a"], 2),
        (vec!["graph", "--dir", ".", "--format", "png"], 2),
    ] {
        let ran = policy(folder.path(), &arguments);
        assert_eq!(ran.status, Some(wanted), "{arguments:?}: {ran:?}");
    }
}

const UNTIDY: &str = "// Why this is here.\n@id(\"a\")\npermit(principal,action,resource) // all\n\
                      when{resource has owner&& // or nobody\nresource.owner==principal};\n// End\n";

#[test]
fn fmt_keeps_comments_and_says_what_would_change() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.cedar");
    fs::write(&file, UNTIDY).unwrap();
    fs::write(folder.path().join("b.cedarschema"), "entity   User;\n").unwrap();

    let checked = policy(folder.path(), &["fmt", "--dir", ".", "--check"]);
    assert_eq!(checked.status, Some(1), "{checked:?}");
    assert!(
        checked
            .out
            .contains("-permit(principal,action,resource) // all")
    );
    assert!(checked.out.contains("@@"), "{}", checked.out);
    assert_eq!(fs::read_to_string(&file).unwrap(), UNTIDY);

    let written = policy(folder.path(), &["fmt", "--dir", "."]);
    assert_eq!(written.status, Some(0), "{written:?}");
    let text = fs::read_to_string(&file).unwrap();
    assert_ne!(text, UNTIDY);
    for comment in ["// Why this is here.", "// all", "// or nobody", "// End"] {
        assert!(text.contains(comment), "{text}");
    }
    let again = policy(folder.path(), &["fmt", "--dir", ".", "--check"]);
    assert_eq!(again.status, Some(0), "{again:?}");
    let schema = fs::read_to_string(folder.path().join("b.cedarschema")).unwrap();
    assert_eq!(schema, "entity   User;\n");

    // By standard input the same, and what is tidy comes back as it is.
    for given in [UNTIDY, &text] {
        let mut child = Command::new(BINARY)
            .args(["policy", "fmt", "--stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(given.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    }
}

#[test]
fn fmt_leaves_what_does_not_parse_and_writes_the_rest() {
    let folder = TempDir::new().unwrap();
    let broken = "permit(principal, action);\n";
    fs::write(folder.path().join("a.cedar"), broken).unwrap();
    fs::write(folder.path().join("b.cedar"), UNTIDY).unwrap();
    let ran = policy(folder.path(), &["fmt", "--dir", "."]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.out.contains("a.cedar:1:25: error"), "{}", ran.out);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("a.cedar"), broken);
    assert_ne!(read("b.cedar"), UNTIDY);
}

#[test]
fn the_graph_has_what_scopes_leave_room_for() {
    let folder = laid_out(&broken().join("misspelt-group"));
    fs::write(
        folder.path().join("policies.cedar"),
        "@id(\"readers\") permit (principal in Group::\"readers\", action == Action::\"read\", \
         resource);\n\
         @id(\"staff\") permit (principal is User, action in [Action::\"read\", \
         Action::\"write\"], resource) when { true };\n\
         @id(\"no-programs\") @reason(\"No.\") forbid (principal is Service, action, resource);\n",
    )
    .unwrap();
    fs::write(
        folder.path().join("entities.json"),
        r#"[{"uid": {"type": "User", "id": "ann"}, "attrs": {"grade": 1},
             "parents": [{"type": "Group", "id": "readers"}]},
            {"uid": {"type": "User", "id": "bob"}, "attrs": {"grade": 1}, "parents": []}]"#,
    )
    .unwrap();
    let graph = |more: &[&str]| {
        let ran = policy(
            folder.path(),
            &[&["graph", "--dir", ".", "--json"], more].concat(),
        );
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        let requests = report["requests"].as_array().unwrap();
        let row = |request: &Value| {
            let word = |key: &str| request[key].as_str().unwrap().to_owned();
            let list = |key: &str| {
                let ids = request[key].as_array().unwrap().iter();
                ids.map(|id| id.as_str().unwrap())
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            format!(
                "{} {} {}: +{} -{}",
                word("principal"),
                word("action"),
                word("resource"),
                list("permits"),
                list("forbids")
            )
        };
        requests.iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(
        graph(&[]),
        [
            "User Action::\"administer\" Document: + -",
            "Service Action::\"read\" Document: + -no-programs",
            "User Action::\"read\" Document: +readers staff -",
            "Service Action::\"write\" Document: + -no-programs",
            "User Action::\"write\" Document: +staff -",
        ]
    );
    assert_eq!(
        graph(&["--action", "read", "--principal", "User"]),
        ["User Action::\"read\" Document: +readers staff -"]
    );
    // By name, the stored groups count.
    let of = |name: &str| graph(&["--action", "read", "--principal", name]);
    assert_eq!(
        of("User::\"ann\""),
        ["User Action::\"read\" Document: +readers staff -"]
    );
    assert_eq!(
        of("User::\"bob\""),
        ["User Action::\"read\" Document: +staff -"]
    );
    let words = |form: &str| policy(folder.path(), &["graph", "--dir", ".", "--format", form]).out;
    assert!(words("table").contains("(none: denied)"));
    assert!(words("dot").contains("p1 -> \"Action::\\\"write\\\"\" [label=\"User on Document\"];"));
    assert!(words("mermaid").contains("p1 -->|\"User on Document\"| a2"));
}
