//! `kill -9` under load, and what is left.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Engine, Site, alice_reads, eventually, run};

/// Asks as fast as it can over several connections until the engine is gone; the ids of all
/// decisions that were answered.
fn load(
    engine: &Engine,
    key: &str,
    stop: &Arc<AtomicBool>,
) -> Vec<std::thread::JoinHandle<Vec<String>>> {
    (0..8)
        .map(|number| {
            let mut client = engine.client(key);
            let stop = Arc::clone(stop);
            std::thread::spawn(move || {
                let mut question = alice_reads();
                question["subject"]["id"] = json!(["alice", "bob", "erin", "grace"][number % 4]);
                question["context"]["session_id"] = json!(format!("s-{number}"));
                let body = question.to_string();
                let headers = [("Content-Type", "application/json")];
                let mut answered = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let response =
                        client.try_send("POST", "/access/v1/evaluation", &headers, body.as_bytes());
                    let Some(response) = response.filter(|response| response.status == 200) else {
                        break;
                    };
                    let id = response.json()["context"]["decision_id"].clone();
                    answered.push(id.as_str().unwrap().to_owned());
                }
                answered
            })
        })
        .collect()
}

fn recorded(site: &Site) -> BTreeSet<String> {
    let ran = run(site
        .command()
        .args(["audit", "tail", "-n", "1000000", "--json"]));
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    ran.out
        .lines()
        .filter_map(|line| {
            // What was done with models is on record too.
            let record: Value = serde_json::from_str(line).unwrap();
            record["decision_id"].as_str().map(str::to_owned)
        })
        .collect()
}

fn verify(site: &Site) -> Value {
    let ran = run(site.command().args(["audit", "verify", "--json"]));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn kill_9_under_load_loses_no_answered_decision() {
    let site = Site::with("[audit]\nsegment_bytes = 262144");
    let key = site.key("admin");
    let mut answered = BTreeSet::new();
    for round in 0..3 {
        let mut engine = site.start();
        let stop = Arc::new(AtomicBool::new(false));
        let clients = load(&engine, &key, &stop);
        std::thread::sleep(Duration::from_millis(400 + 150 * round));
        engine.signal("KILL");
        engine.wait();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            answered.extend(client.join().unwrap());
        }
        let report = verify(&site);
        assert_eq!(report["ok"], true, "{report}");
        let missing: Vec<_> = answered.difference(&recorded(&site)).cloned().collect();
        assert!(
            missing.is_empty(),
            "{} of {} lost",
            missing.len(),
            answered.len()
        );
    }
    assert!(
        answered.len() > 100,
        "only {} answered: that shows nothing",
        answered.len()
    );
    let engine = site.start();
    let report = verify(&site);
    assert_eq!(
        (&report["ok"], &report["torn_bytes"]),
        (&json!(true), &json!(0)),
        "{report}"
    );
    // Drained into the store as well, in order and whole.
    let mut client = engine.client(&key);
    let last = answered.iter().next_back().unwrap();
    eventually("the last answered decision is in the store", || {
        (client.get(&format!("/v1/decisions/{last}")).status == 200).then_some(())
    });
    for id in answered.iter().step_by(50) {
        assert_eq!(
            client.get(&format!("/v1/decisions/{id}")).status,
            200,
            "{id}"
        );
    }
}

#[test]
fn what_was_learnt_survives_a_stop_and_a_kill() {
    let site = Site::new();
    let key = site.key("admin");
    let history = |engine: &Engine| {
        let mut client = engine.client(&key);
        let mut question = alice_reads();
        question["context"]["dry_run"] = json!(true);
        let id = client.ask(&question)["context"]["decision_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let record = eventually("the record is drained", || {
            let response = client.get(&format!("/v1/decisions/{id}"));
            (response.status == 200).then(|| response.json())
        });
        record["facts"]["signals"]["history"].as_i64().unwrap()
    };
    let engine = site.start();
    for _ in 0..12 {
        engine.client(&key).ask(&alice_reads());
    }
    assert_eq!(history(&engine), 12);
    engine.stop();
    let mut engine = site.start();
    assert_eq!(history(&engine), 12, "an orderly stop loses nothing");
    engine.client(&key).ask(&alice_reads());
    // Written behind within a second; then nothing can take it away.
    std::thread::sleep(Duration::from_millis(1500));
    engine.signal("KILL");
    engine.wait();
    let engine = site.start();
    assert_eq!(history(&engine), 13);
}

#[test]
fn sigterm_finishes_what_was_accepted() {
    let site = Site::new();
    let key = site.key("gateway");
    let mut engine = site.start();
    let stop = Arc::new(AtomicBool::new(false));
    let clients = load(&engine, &key, &stop);
    std::thread::sleep(Duration::from_millis(200));
    engine.signal("TERM");
    let (status, log) = engine.wait();
    assert!(status.success(), "{status} {log}");
    stop.store(true, Ordering::Relaxed);
    let answered: BTreeSet<String> = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect();
    let on_record = recorded(&site);
    assert!(answered.is_subset(&on_record));
    assert_eq!(verify(&site)["torn_bytes"], 0);
}

#[test]
fn one_engine_at_a_time_writes_a_journal() {
    let site = Site::new();
    let _engine = site.start();
    let second = run(site.command().arg("serve"));
    assert_eq!(second.status, Some(2));
    assert!(second.err.contains("another engine"), "{second:?}");
    // Nor does it help to keep the journal elsewhere, and to call the store by another name.
    let other = Site::new();
    std::fs::create_dir_all(other.data()).unwrap();
    let link = other.data().join("link.db");
    std::os::unix::fs::symlink(site.data().join("portreeve.db"), &link).unwrap();
    let url = format!("sqlite:{}", link.display());
    let second = run(other
        .command()
        .env("PORTREEVE_STORE__URL", url)
        .arg("serve"));
    assert_eq!(second.status, Some(2), "{second:?}");
    assert!(second.err.contains("another engine"), "{second:?}");
}

#[test]
fn what_the_engine_keeps_only_its_owner_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    // As a package or a volume may have made it.
    std::fs::create_dir(site.data()).unwrap();
    std::fs::set_permissions(site.data(), PermissionsExt::from_mode(0o755)).unwrap();
    let key = site.key("gateway");
    let engine = site.start();
    engine.client(&key).ask(&alice_reads());
    let mut folders = vec![site.data()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let mode = metadata.permissions().mode();
            assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
            seen += 1;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert!(seen > 5);
}

#[test]
fn an_engine_whose_log_nobody_reads_goes_on() {
    let site = Site::new();
    let mut child = site
        .command()
        .arg("serve")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0);
    }
    drop(log);
    let id = child.id().to_string();
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &id]).status();
        assert!(sent.unwrap().success());
    };
    // Each reload is told in the log.
    signal("-HUP");
    std::thread::sleep(Duration::from_millis(500));
    signal("-HUP");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(child.try_wait().unwrap(), None, "it goes on");
    signal("-TERM");
    assert!(child.wait().unwrap().success());
}

#[test]
fn verify_says_where_the_chain_breaks() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    for _ in 0..20 {
        engine.client(&key).ask(&alice_reads());
    }
    engine.stop();
    let segment = std::fs::read_dir(site.data().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "log"))
        .unwrap();
    let text = std::fs::read_to_string(&segment).unwrap();
    let changed: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(number, line)| {
            if number == 7 {
                line.replace("\"allow\"", "\"denyy\"")
            } else {
                line.to_owned()
            }
        })
        .collect();
    std::fs::write(&segment, changed.join("\n") + "\n").unwrap();
    let ran = run(site.command().args(["audit", "verify"]));
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(
        ran.err.contains(":8: the chain breaks at record 7"),
        "{}",
        ran.err
    );
    // The end cut off: the store knows better.
    let lines: Vec<&str> = text.lines().take(10).collect();
    std::fs::write(&segment, lines.join("\n") + "\n").unwrap();
    let ran = run(site.command().args(["audit", "verify"]));
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.err.contains("cut off"), "{}", ran.err);
}

fn segments(site: &Site) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(site.data().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    paths.sort();
    paths
}

fn line_of(lines: &[&str], decision_id: &str) -> usize {
    lines
        .iter()
        .position(|line| line.contains(decision_id))
        .unwrap()
}

/// Asks that often and stops in order, so that everything is in the store; the decisions' ids.
fn asked_and_stopped(site: &Site, key: &str, times: usize) -> Vec<String> {
    let engine = site.start();
    let mut client = engine.client(key);
    let id = |answer: Value| {
        answer["context"]["decision_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let ids = (0..times).map(|_| id(client.ask(&alice_reads()))).collect();
    engine.stop();
    ids
}

#[test]
fn a_journal_behind_the_store_is_told_of_and_no_record_takes_another_s_place() {
    let site = Site::new();
    let key = site.key("admin");
    let before = asked_and_stopped(&site, &key, 20);
    let segment = segments(&site).pop().unwrap();
    let text = std::fs::read_to_string(&segment).unwrap();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.truncate(line_of(&lines, &before[9]) + 1);
    std::fs::write(&segment, lines.concat()).unwrap();

    let engine = site.start();
    let mut client = engine.client(&key);
    let mut question = alice_reads();
    question["subject"]["id"] = json!("bob");
    let after: Vec<String> = (0..12)
        .map(|_| client.ask(&question)["context"]["decision_id"].to_string())
        .map(|id| id.trim_matches('"').to_owned())
        .collect();
    eventually("the last record is in the store", || {
        let found = client.get(&format!("/v1/decisions/{}", after[11]));
        (found.status == 200).then_some(())
    });
    for id in after {
        let found = client.get(&format!("/v1/decisions/{id}"));
        assert_eq!(found.json()["decision_id"], id);
    }
    for (number, id) in before.iter().enumerate() {
        let found = client.get(&format!("/v1/decisions/{id}"));
        if number < 10 {
            assert_eq!(found.json()["decision_id"], *id);
        } else {
            assert_ne!(found.status, 200, "record {number} is gone");
        }
    }
    let log = engine.stop();
    assert!(log.contains("its end has been cut off"), "{log}");
    let ran = run(site.command().args(["audit", "verify"]));
    assert_eq!(ran.status, Some(1), "{ran:?}");
}

#[test]
fn a_record_that_is_not_where_it_was_is_not_shown() {
    let site = Site::new();
    let key = site.key("admin");
    let ids = asked_and_stopped(&site, &key, 6);
    let segment = segments(&site).pop().unwrap();
    let text = std::fs::read_to_string(&segment).unwrap();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (one, other) = (line_of(&lines, &ids[1]), line_of(&lines, &ids[2]));
    lines.swap(one, other);
    std::fs::write(&segment, lines.concat()).unwrap();
    let engine = site.start();
    let mut client = engine.client(&key);
    for (number, id) in ids.iter().enumerate() {
        let found = client.get(&format!("/v1/decisions/{id}"));
        let wanted = if (1..3).contains(&number) { 503 } else { 200 };
        assert_eq!(found.status, wanted, "record {number}");
    }
}

/// A site whose journal has some segments, all of it in the store.
fn with_segments(more: &str) -> (Site, String) {
    let site = Site::with(&format!("[audit]\nsegment_bytes = 65536\n{more}"));
    let key = site.key("admin");
    let engine = site.start();
    let mut question = alice_reads();
    question["action"]["properties"] = json!({ "padding": "x".repeat(30_000) });
    for _ in 0..10 {
        engine.client(&key).ask(&question);
    }
    engine.stop();
    assert!(segments(&site).len() > 2);
    (site, key)
}

#[test]
fn verify_misses_the_oldest_segments_unless_their_time_was_over() {
    let (site, _) = with_segments("keep_days = 1");
    assert_eq!(verify(&site)["ok"], true);
    for path in &segments(&site)[..2] {
        let aged = Command::new("touch")
            .args(["-d", "3 days ago"])
            .arg(path)
            .status();
        assert!(aged.unwrap().success());
    }
    let first = segments(&site).remove(0);
    let text = std::fs::read(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    let ran = run(site.command().args(["audit", "verify"]));
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.err.contains("its beginning is gone"), "{}", ran.err);
    std::fs::write(&first, text).unwrap();
    Command::new("touch")
        .args(["-d", "3 days ago"])
        .arg(&first)
        .status()
        .unwrap();

    let before = segments(&site).len();
    let engine = site.start();
    eventually("the old segments are removed", || {
        (segments(&site).len() == before - 2).then_some(())
    });
    engine.stop();
    assert_eq!(verify(&site)["ok"], true);
    std::fs::remove_file(segments(&site).remove(0)).unwrap();
    let ran = run(site.command().args(["audit", "verify"]));
    assert_eq!(ran.status, Some(1), "{ran:?}");
}

#[test]
fn verify_sees_a_whole_journal_that_is_not_the_one_in_the_store() {
    let (site, _) = with_segments("");
    let other = with_segments("").0;
    for path in segments(&other) {
        let to = site.data().join("journal").join(path.file_name().unwrap());
        std::fs::copy(path, to).unwrap();
    }
    let ran = run(site.command().args(["audit", "verify"]));
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.err.contains("written anew"), "{}", ran.err);
}

#[test]
fn damage_that_is_not_drained_is_told_and_passed_over() {
    let site = Site::new();
    let key = site.key("admin");
    let ids = asked_and_stopped(&site, &key, 8);
    // As if the engine had been killed before it drained anything.
    for name in ["portreeve.db", "portreeve.db-wal", "portreeve.db-shm"] {
        let _ = std::fs::remove_file(site.data().join(name));
    }
    let key = site.key("admin");
    let segment = segments(&site).pop().unwrap();
    let text = std::fs::read_to_string(&segment).unwrap();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let one = line_of(&lines, &ids[3]);
    lines[one] = "garbage\n";
    std::fs::write(&segment, lines.concat()).unwrap();
    let engine = site.start();
    let mut client = engine.client(&key);
    eventually("the last record is in the store", || {
        let found = client.get(&format!("/v1/decisions/{}", ids[7]));
        (found.status == 200).then_some(())
    });
    for (number, id) in ids.iter().enumerate() {
        let found = client.get(&format!("/v1/decisions/{id}"));
        let wanted = if number == 3 { 404 } else { 200 };
        assert_eq!(found.status, wanted, "record {number}");
    }
    let ready = client.get("/readyz").json();
    assert!(ready["journal"]["damaged_since"].is_string(), "{ready}");
    let log = engine.stop();
    assert_eq!(log.matches("the journal is damaged").count(), 1, "{log}");
}
