//! The commands of the policies' READMEs, pasted one after the other into a shell.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::harness::{BINARY, Engine, alice_reads, eventually, root, run};

/// A fenced `sh` block, and the subcommand of `policy` that it needs, if it says so:
/// ```` ```sh needs=replay ````.
#[derive(Debug)]
struct Block {
    needs: Option<String>,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line.strip_prefix("```")) {
            (false, Some(info)) if info.split(' ').next() == Some("sh") => {
                let needs = info.split_once("needs=").map(|(_, needs)| needs.to_owned());
                let text = String::new();
                found.push(Block { needs, text });
                inside = true;
            }
            (true, Some(_)) => inside = false,
            (true, None) => {
                let block = found.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
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

/// Blocks that need a subcommand that is not there are skipped, and said to be.
fn is_there(block: &Block) -> bool {
    let Some(needs) = &block.needs else {
        return true;
    };
    let help = run(Command::new(BINARY).args(["policy", needs, "--help"]));
    if help.status != Some(0) {
        println!("SKIPPED: there is no `portreeve policy {needs}` yet");
    }
    help.status == Some(0)
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
    for block in blocks.iter().filter(|block| is_there(block)) {
        script.push_str(&block.text);
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
