//! The commands of the policies' READMEs, pasted one after the other into a shell.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::harness::{BINARY, Engine, alice_reads, eventually, root, run};

/// The texts of the fenced `sh` blocks.
fn blocks(page: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line.strip_prefix("```")) {
            (false, Some("sh")) => {
                found.push(String::new());
                inside = true;
            }
            (true, Some(_)) => inside = false,
            (true, None) => {
                let block = found.last_mut().unwrap();
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a shell needs the machine's own tools beside the engine's"
)]
fn path_with(tools: &Path) -> String {
    format!("{}:{}", tools.display(), std::env::var("PATH").unwrap())
}

/// An author who pastes everything has the wanted set in force at the end, in an engine that ran
/// all the while.
#[test]
fn what_the_readme_says_can_be_pasted() {
    let page = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let mut blocks = self::blocks(&page("policies/README.md"));
    assert!(blocks.len() >= 10, "{blocks:?}");
    blocks.extend(self::blocks(&page("policies/examples/financial/README.md")));
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    copy(&root().join("policies"), &place.join("policies"));
    symlink(root().join("models"), place.join("models")).unwrap();
    std::fs::write(place.join("portreeve.toml"), "listen = \"127.0.0.1:0\"\n").unwrap();
    let tools = place.join("bin");
    std::fs::create_dir(&tools).unwrap();
    symlink(BINARY, tools.join("portreeve")).unwrap();

    let portreeve = || {
        let mut command = Command::new(BINARY);
        command.current_dir(place);
        command
    };
    let made = run(portreeve().args([
        "keys", "create", "--name", "a", "--role", "gateway", "--json",
    ]));
    let made: serde_json::Value = serde_json::from_str(&made.out).unwrap();
    let engine = Engine::start(&mut portreeve());
    let mut client = engine.client(made["key"].as_str().unwrap());
    let before = client.ask(&alice_reads())["context"]["policy_revision"].clone();

    // The engine of this test, and no other one of the machine, is the one to be told.
    let pgrep = tools.join("pgrep");
    std::fs::write(&pgrep, format!("#!/bin/sh\necho {}\n", engine.id())).unwrap();
    std::fs::set_permissions(&pgrep, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut script = String::from("set -eu\n");
    for block in &blocks {
        script.push_str(block);
    }
    let mut shell = Command::new("sh");
    let ran = run(shell
        .arg("-c")
        .arg(&script)
        .env("PATH", path_with(&tools))
        .current_dir(place));
    assert_eq!(ran.status, Some(0), "{}\n{}", ran.out, ran.err);
    assert!(!ran.out.contains("own-department` permits"), "{}", ran.out);

    let tested = run(portreeve().args(["policy", "test", "--json"]));
    let tested: serde_json::Value = serde_json::from_str(&tested.out).unwrap();
    assert_eq!(tested["coverage"]["percent"], 100);
    assert_ne!(tested["revision"], before);
    eventually("the new set is in force", || {
        let answer = client.ask(&alice_reads());
        (answer["context"]["policy_revision"] == tested["revision"]).then_some(())
    });
    drop(client);
    engine.stop();
}
