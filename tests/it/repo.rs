//! Rules of the repository that no compiler holds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::root;

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|known| known == extension) {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_top_level_is_the_agreed_one() {
    let allowed: BTreeSet<&str> = [
        "Cargo.toml",
        "Cargo.lock",
        "engine",
        "policies",
        "models",
        "data",
        "tests",
        "README.md",
    ]
    .into();
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let local = ["target", "var", "portreeve.toml"].contains(&name.as_str());
        let fits = name.starts_with('.') || allowed.contains(name.as_str()) || local;
        assert!(fits, "{name} stands at the top level");
    }
}

/// The table in the documentation is made by the code that computes the features.
#[test]
fn the_feature_table_is_the_codes() {
    let path = root().join("models/README.md");
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains(&risk::features::table()),
        "put the output of `portreeve model features` into {}",
        path.display()
    );
}

/// Who may know whom; `engine/ARCHITECTURE.md` says why.
#[test]
fn crates_know_only_whom_they_may() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let own: BTreeSet<&str> = [
        "domain", "forest", "gateway", "geo", "pdp", "policy", "risk", "ssf", "store", "token",
        "trainer", "wire",
    ]
    .into();
    let allowed = |name: &str| -> BTreeSet<&str> {
        match name {
            "domain" | "forest" | "ssf" => [].into(),
            "gateway" => ["domain", "wire"].into(),
            "geo" | "policy" | "store" | "token" | "wire" => ["domain"].into(),
            "risk" => ["domain", "forest"].into(),
            "trainer" => ["domain", "forest", "geo", "risk", "wire"].into(),
            "pdp" => own.clone(),
            other => panic!("engine/{other} is not in the picture of engine/ARCHITECTURE.md"),
        }
    };
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let knows: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().unwrap())
            .collect();
        let ours: BTreeSet<&str> = knows.intersection(&own).copied().collect();
        assert!(ours.is_subset(&allowed(name)), "{name} knows {ours:?}");
        if name == "domain" {
            assert!(
                knows.is_empty(),
                "domain has no dependencies, not {knows:?}"
            );
        }
    }
}

#[test]
fn the_middle_does_no_io() {
    let text = fs::read_to_string(root().join("engine/pdp/src/engine.rs")).unwrap();
    for line in text
        .lines()
        .filter(|line| line.trim_start().starts_with("use "))
    {
        for forbidden in [
            "pip",
            "http",
            "administrator",
            "state",
            "tokio",
            "std::fs",
            "std::net",
            "std::time",
        ] {
            assert!(!line.contains(forbidden), "engine.rs: {line}");
        }
    }
    assert!(
        !text.contains("async") && !text.contains(".await"),
        "engine.rs is synchronous"
    );
}

#[test]
fn a_story_is_told_of_every_policy() {
    let files = policy::source::read_folder(&root().join("policies")).unwrap();
    let policies = policy::Policies::load(&files).unwrap();
    let mut scenarios = String::new();
    for path in self::files(&root().join("tests/scenarios"), "yaml") {
        scenarios.push_str(&fs::read_to_string(path).unwrap());
    }
    for policy in policies.as_cedar().policies() {
        let id = policy.annotation("id").unwrap();
        let untold = [
            "anonymiser-needs-challenge",
            "session-goes-on",
            "administrators",
            "own-department",
            "staff-use-applications",
            "impossible-travel",
            "stolen-session",
            "bulk-access",
            "service-from-usual-networks-only",
            "administer-with-recent-mfa",
        ];
        assert!(
            scenarios.contains(id) || untold.contains(&id),
            "no scenario names {id}"
        );
    }
}

#[test]
fn every_model_has_a_card_and_none_is_large() {
    for manifest in files(&root().join("models"), "json") {
        let folder = manifest.parent().unwrap();
        let card = fs::read_to_string(folder.join("card.md")).unwrap();
        assert!(card.contains("Where it would fail"), "{}", folder.display());
        assert!(fs::metadata(folder.join("forest.bin")).unwrap().len() < 2 << 20);
        risk::artifact::load(folder).unwrap();
    }
}

#[test]
fn files_stay_small_and_finished() {
    for path in files(&root().join("engine"), "rs")
        .iter()
        .chain(&files(&root().join("tests/it"), "rs"))
    {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().count();
        let tests = path
            .components()
            .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "it");
        assert!(
            lines <= 600 || tests,
            "{} has {lines} lines",
            path.display()
        );
        // In parts, so that this file is held to it as well.
        for unfinished in [("to", "do!("), ("unimpl", "emented!("), ("#[ig", "nore")] {
            let unfinished = [unfinished.0, unfinished.1].concat();
            assert!(
                !text.contains(&unfinished),
                "{}: {unfinished}",
                path.display()
            );
        }
    }
}
