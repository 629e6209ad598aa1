//! What policy authors get: the shipped sets, their tests, their vocabulary, and the README that
//! teaches them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pdp::policy_tests::{self, Report, Set};
use policy::{Policies, SourceFile, source};
use serde_json::{Value, json};

use crate::harness::{Site, alice_reads, eventually, root, run};

mod as_decided;
mod readme;

/// The sets that come along.
fn sets() -> [PathBuf; 2] {
    let shipped = root().join("policies");
    let bank = shipped.join("examples/financial");
    [shipped, bank]
}

fn load(folder: &Path) -> (Vec<SourceFile>, Policies) {
    let files = source::read_folder(folder).unwrap();
    let policies = Policies::load(&files).unwrap();
    (files, policies)
}

fn test(folder: &Path) -> Report {
    let (_, policies) = load(folder);
    let path = folder.join("entities.json");
    let entities = SourceFile::new("entities.json", std::fs::read_to_string(path).unwrap());
    let tests = policy_tests::read_folder(&folder.join("tests")).unwrap();
    let set = Set {
        policies: &policies,
        entities: &entities,
        settings: &risk::Settings::default(),
    };
    policy_tests::run(&tests, &set, None)
}

/// R19: the shipped sets are tested as authors test theirs, each policy of them.
#[test]
fn every_shipped_policy_decides_in_a_test_that_passes() {
    for folder in sets() {
        let report = test(&folder);
        assert!(report.passes(), "{}", report.reasons().join("\n"));
        let missing: Vec<&str> = report.coverage.missing().collect();
        assert!(missing.is_empty(), "{}: {missing:?}", folder.display());
        assert!(report.tests.len() >= 60, "{}", folder.display());
    }
}

#[test]
fn every_shipped_policy_says_what_it_is_for() {
    for folder in sets() {
        let (_, policies) = load(&folder);
        let warnings = policies.warnings();
        assert!(warnings.0.is_empty(), "{warnings}");
        for policy in policies.as_cedar().policies() {
            let id = policy.annotation("id").expect("an id");
            let reason = policy.annotation("reason").unwrap_or_default();
            assert!(reason.ends_with('.'), "{id}: {reason}");
            let severity = policy.annotation("severity");
            let known = [Some("low"), Some("medium"), Some("high")];
            assert!(known.contains(&severity), "{id}: {severity:?}");
        }
    }
}

/// R18: at least ten risk factors in use for a financial system.
#[test]
fn the_bank_uses_more_than_ten_risk_factors() {
    let (files, _) = load(&root().join("policies/examples/financial"));
    let text: String = files
        .iter()
        .filter(|file| !file.is_schema())
        .map(|file| file.text.as_str())
        .collect();
    let signals = domain::facts::group("signals").unwrap().words;
    let used: BTreeSet<&str> = signals
        .iter()
        .map(|word| word.name)
        .filter(|word| text.contains(&format!("context.signals.{word}")))
        .collect();
    assert!(used.len() >= 10, "{used:?}");
    for other in [
        "context.risk.score",
        "context.network.country",
        "context.device.compliant",
    ] {
        assert!(text.contains(other), "{other}");
    }
}

/// The vocabulary that authors read is made from the one that the engine speaks.
#[test]
fn the_vocabulary_is_the_engines() {
    for folder in sets() {
        let path = folder.join("schema.cedarschema");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text == policy::vocabulary::schema(),
            "put the output of `portreeve policy vocabulary` into {}",
            path.display()
        );
    }
    let text = policy::vocabulary::schema();
    for group in domain::facts::GROUPS {
        for word in group.words {
            let mark = if word.always { "" } else { "?" };
            let declared = format!("    {}{mark}: ", word.name);
            assert!(text.contains(&declared), "{}.{}", group.name, word.name);
            assert!(
                word.doc.trim().len() >= 8,
                "{}.{} has no meaning",
                group.name,
                word.name
            );
        }
    }
    let alone = [SourceFile::new("schema.cedarschema", text)];
    assert!(Policies::load(&alone).unwrap().warnings().0.is_empty());
}

/// What is tested and what is an example decides nothing, and has no say in the revision.
#[test]
fn a_set_is_its_own_files_alone() {
    let (files, policies) = load(&root().join("policies"));
    for file in &files {
        let inside = Path::new(&file.name).strip_prefix(root().join("policies"));
        assert_eq!(inside.unwrap().components().count(), 1, "{}", file.name);
    }
    let folder = tempfile::tempdir().unwrap();
    for file in &files {
        let name = Path::new(&file.name).file_name().unwrap();
        std::fs::write(folder.path().join(name), &file.text).unwrap();
    }
    assert_eq!(load(folder.path()).1.revision(), policies.revision());
}

#[test]
fn the_command_says_what_fails_and_what_is_covered() {
    let site = Site::new();
    let folder = site.folder.path().join("set");
    std::fs::create_dir_all(folder.join("tests")).unwrap();
    for file in [
        "schema.cedarschema",
        "organisation.cedarschema",
        "entities.json",
        "12-owners.cedar",
    ] {
        std::fs::copy(root().join("policies").join(file), folder.join(file)).unwrap();
    }
    let write = |text: &str| std::fs::write(folder.join("tests/a.yaml"), text).unwrap();
    let ask = |more: &[&str]| {
        let mut command = site.command();
        run(command
            .args(["policy", "test", "--dir"])
            .arg(&folder)
            .args(more))
    };
    let none = ask(&[]);
    assert_eq!(none.status, Some(0), "{none:?}");
    assert!(
        none.out.contains("no tests") && none.out.contains("(0 %)"),
        "{none:?}"
    );
    assert_eq!(ask(&["--coverage-min", "1"]).status, Some(1));
    let request = "request: {principal: 'User::\"erin\"', action: 'Action::\"read\"', \
                   resource: 'Document::\"payroll\"'}";
    write(&format!(
        "- name: the owner\n  {request}\n  outcome: allow\n"
    ));
    let passes = ask(&["--coverage-min", "100", "--json"]);
    assert_eq!(passes.status, Some(0), "{passes:?}");
    let report: Value = serde_json::from_str(&passes.out).unwrap();
    assert_eq!(
        report["coverage"],
        json!({"percent": 100, "policies": [{"policy": "owner", "tests": 1}]})
    );
    assert_eq!(report["tests"][0]["line"], 1);
    assert_eq!(ask(&["nobody"]).status, Some(2));
    write(&format!("- name: the owner\n  {request}\n  outcome: mfa\n"));
    let fails = ask(&["owner"]);
    assert_eq!(fails.status, Some(1), "{fails:?}");
    for said in [
        "tests/a.yaml:1: the owner",
        "- mfa",
        "+ allow",
        "permitted by owner",
    ] {
        assert!(fails.out.contains(said), "{said}: {fails:?}");
    }
    write(&format!("- name: the owner\n  {request}\n  outcom: mfa\n"));
    let unread = ask(&[]);
    assert_eq!(unread.status, Some(1), "{unread:?}");
    assert!(unread.out.contains("tests/a.yaml:3:3: error"), "{unread:?}");
    std::fs::write(
        folder.join("broken.cedar"),
        "permit (principal, action resource);",
    )
    .unwrap();
    let broken = ask(&[]);
    assert_eq!(broken.status, Some(1), "{broken:?}");
    assert!(broken.err.contains("broken.cedar:1:"), "{broken:?}");
    let gone = run(site
        .command()
        .args(["policy", "test", "--dir", "/no/such/set"]));
    assert_eq!(gone.status, Some(2), "{gone:?}");
}

/// Break-glass access is allowed, and heard of: in the log, in the record, in the metrics.
#[test]
fn an_alert_is_logged_recorded_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let entities = root().join("policies/entities.json");
    let mut list: Value = serde_json::from_slice(&std::fs::read(entities).unwrap()).unwrap();
    list.as_array_mut().unwrap().push(json!({
        "uid": {"type": "User", "id": "emergency-1"}, "attrs": {"department": "emergency"},
        "parents": [{"type": "Group", "id": "break-glass"}],
    }));
    let path = folder.path().join("entities.json");
    std::fs::write(&path, list.to_string()).unwrap();
    let site = Site::with(&format!("[policies]\nentities = {path:?}"));
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let mut question = alice_reads();
    assert_eq!(client.ask(&question)["decision"], true);
    question["subject"]["id"] = json!("emergency-1");
    question["context"]["session_id"] = json!("s1");
    let first = client.ask(&question);
    assert_eq!(first["context"]["outcome"], "mfa", "{first}");
    let id = first["context"]["decision_id"].as_str().unwrap();
    let passed = client.post(&format!("/v1/decisions/{id}/step-up"), &json!({"level": 3}));
    assert_eq!(passed.status, 200);
    let allowed = client.ask(&question);
    assert_eq!(allowed["context"]["outcome"], "allow", "{allowed}");
    assert_eq!(allowed["context"]["policies"], json!(["break-glass"]));
    let id = allowed["context"]["decision_id"]
        .as_str()
        .unwrap()
        .to_owned();
    eventually("the alert is counted", || {
        let text = String::from_utf8(client.get("/metrics").body).unwrap();
        let counted = "portreeve_alerts_total{policy=\"break-glass\"} 1";
        text.lines().any(|line| line == counted).then_some(())
    });
    let log = engine.stop();
    let told: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["level"] == "WARN")
        .collect();
    let [told] = told.as_slice() else {
        panic!("{log}")
    };
    assert_eq!(told["fields"]["message"], "an emergency account was used");
    assert_eq!(told["fields"]["decision_id"], id.as_str());
    assert_eq!(told["fields"]["subject"], "User::\"emergency-1\"");
    let tail = run(site.command().args(["audit", "tail", "--json"]));
    let alerts: Vec<Value> = tail
        .out
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|record| !record["alerts"].is_null())
        .map(|record| json!([record["decision_id"], record["alerts"]]))
        .collect();
    assert_eq!(
        alerts,
        [json!([id, {"break-glass": "an emergency account was used"}])],
        "{tail:?}"
    );
}
