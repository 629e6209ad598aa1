//! The record is signed: what somebody does to it who has the disk and not the key is found.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use store::Store;
use store::journal::{self, Chain, Position};
use token::SigningKey;
use token::keys::Algorithm;

use crate::harness::{Ran, Site, alice_reads, eventually, run};

/// A site whose engine has answered so many questions and was stopped.
fn asked(times: usize) -> Site {
    let site = Site::with("[audit]\ncheckpoint_every = \"1s\"\n");
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    for _ in 0..times {
        client.ask(&alice_reads());
    }
    engine.stop();
    site
}

fn audit(site: &Site, arguments: &[&str]) -> Ran {
    run(site.command().arg("audit").args(arguments).arg("--json"))
}

/// What `audit verify` says, and the words of its "no".
fn verify(site: &Site, more: &[&str]) -> (Value, String) {
    let ran = audit(site, &[&["verify"], more].concat());
    let value: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    let status = if value["ok"] == true { 0 } else { 1 };
    assert_eq!(ran.status, Some(status), "{ran:?}");
    (value, ran.err)
}

fn refused(site: &Site, said: &str) {
    let (value, told) = verify(site, &[]);
    assert!(value["ok"] == false && told.contains(said), "{told}");
}

fn with_extension(site: &Site, wanted: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.data().join("journal")).unwrap();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == wanted))
        .collect();
    paths.sort();
    paths
}

fn segment(site: &Site) -> PathBuf {
    with_extension(site, "log").pop().unwrap()
}

/// Does something to the store.
fn in_store<F: Future<Output = ()>>(site: &Site, act: impl FnOnce(Store) -> F) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(&site.data().join("portreeve.db")).await;
        act(store.unwrap()).await;
    });
}

/// Writes a segment anew, as somebody would who knows the form: records changed and dropped, the
/// chain worked out again, and the store told that it took over just that.
fn write_anew(site: &Site, change: impl Fn(u64, &str) -> Option<String>) {
    let path = segment(site);
    let text = fs::read_to_string(&path).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let mut chain = Chain::GENESIS;
    let mut seq: u64 = header.split(' ').nth(2).unwrap().parse().unwrap();
    assert_eq!(seq, 1, "the first segment");
    let mut anew = format!("{header}\n");
    for line in lines {
        let (mark, rest) = line.split_at(1);
        let record = rest.splitn(3, ' ').nth(2).unwrap();
        let Some(record) = change(seq, record) else {
            break;
        };
        chain = chain.after(mark == "+", seq, record.as_bytes());
        anew.push_str(&format!("{mark}{seq} {chain} {record}\n"));
        seq += 1;
    }
    fs::write(&path, &anew).unwrap();
    let until = Position {
        segment: path.file_name().unwrap().to_string_lossy().into_owned(),
        offset: anew.len() as u64,
        seq: seq - 1,
        chain,
    };
    in_store(site, async |store| {
        store.drain_decisions(&[], &[], &until).await.unwrap();
        store.close().await;
    });
}

/// Writes so many records more, as somebody would who knows the form.
fn add_forged(site: &Site, number: u64) {
    let path = segment(site);
    let mut text = fs::read_to_string(&path).unwrap();
    let folder = site.data().join("journal");
    let read = journal::read_from(&folder, None, u64::MAX, 1000).unwrap();
    let last = read.records.last().unwrap().clone();
    let record = String::from_utf8(last.body).unwrap();
    let mut end = last.after;
    for _ in 0..number {
        end.seq += 1;
        end.chain = end.chain.after(true, end.seq, record.as_bytes());
        text.push_str(&format!("+{} {} {record}\n", end.seq, end.chain));
    }
    end.offset = text.len() as u64;
    fs::write(&path, text).unwrap();
    in_store(site, async |store| {
        store.drain_decisions(&[], &[], &end).await.unwrap();
        store.close().await;
    });
}

fn unchanged(_: u64, record: &str) -> Option<String> {
    Some(record.to_owned())
}

#[test]
fn what_was_answered_is_signed_at_a_stop_and_meanwhile() {
    let site = asked(12);
    let (value, _) = verify(&site, &[]);
    assert_eq!(value["signed_until"]["seq"], value["last_seq"], "{value}");
    assert_eq!(value["unsigned"], serde_json::json!([]));
    // A process that is killed has signed what is older than a second or two.
    let key = site.key("gateway");
    let engine = site.start();
    engine.client(&key).ask(&alice_reads());
    let before = value["last_seq"].as_u64().unwrap();
    eventually("what is new is signed", || {
        let (value, _) = verify(&site, &[]);
        let signed = value["signed_until"]["seq"].as_u64().unwrap();
        (value["ok"] == true && signed > before).then_some(())
    });
    drop(engine);
    assert_eq!(verify(&site, &[]).0["ok"], true);
    // What is written as it was is as good as ever.
    write_anew(&site, unchanged);
    assert_eq!(verify(&site, &[]).0["ok"], true);
}

#[test]
fn a_tail_that_was_cut_off_is_missed_although_the_store_was_told_otherwise() {
    let site = asked(12);
    let end = verify(&site, &[]).0["last_seq"].as_u64().unwrap();
    write_anew(&site, |seq, record| (seq < end).then(|| record.to_owned()));
    refused(&site, "cut off");
    // What lies beside the segment is enough, and so is what the store has.
    in_store(&site, async |store| {
        store.thin_checkpoints(u64::MAX).await.unwrap();
        assert!(store.checkpoints().await.unwrap().is_empty());
        store.close().await;
    });
    refused(&site, &format!("record {end} was signed at"));
    // An engine that starts on it says so, and gives no number out again.
    let engine = site.start();
    let ready = engine.client("").get("/readyz").json();
    assert!(ready["journal"]["damaged_since"].is_string(), "{ready}");
    let log = engine.stop();
    assert!(log.contains("audit verify"), "{log}");
    let (value, _) = verify(&site, &[]);
    assert_eq!(value["ok"], false);
}

#[test]
fn records_that_were_written_anew_are_found_although_their_chain_is_whole() {
    let site = asked(12);
    let end = verify(&site, &[]).0["last_seq"].as_u64().unwrap();
    let forged = |_: u64, record: &str| Some(record.replace("\"alice\"", "\"mallory\""));
    write_anew(&site, forged);
    let (value, told) = verify(&site, &[]);
    assert!(told.contains("has signed"), "{told}");
    assert_eq!(value["broken"]["seq"], end);
    for path in with_extension(&site, "checkpoint") {
        fs::remove_file(path).unwrap();
    }
    refused(&site, "has signed");

    // With a checkpoint of his own, he has no key of ours.
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let path = segment(&site);
    let read = journal::read_from(&site.data().join("journal"), None, u64::MAX, 1000).unwrap();
    let last = &read.records.last().unwrap().after;
    let at = domain::Timestamp::from_seconds(1_795_000_000);
    let own = pdp::checkpoints::sign(&key, last, at).unwrap();
    fs::write(path.with_extension("checkpoint"), own).unwrap();
    in_store(&site, async |store| {
        store.thin_checkpoints(u64::MAX).await.unwrap();
        store.close().await;
    });
    refused(&site, "none of this engine's");

    // With none at all, the engine should have some, having its key for long.
    fs::remove_file(path.with_extension("checkpoint")).unwrap();
    let folder = fs::read_dir(site.data().join("signing-keys")).unwrap();
    let path = folder.map(|entry| entry.unwrap().path()).next().unwrap();
    let mut kept: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    kept["created_at"] = "2026-01-01T00:00:00Z".into();
    fs::write(&path, kept.to_string()).unwrap();
    refused(&site, "no checkpoint is left");

    // An engine that starts then goes on and signs, but it does not vouch for them: that has to be
    // on record, and stays wrong.
    let engine = site.start();
    let ready = engine.client("").get("/readyz").json();
    assert!(ready["journal"]["damaged_since"].is_string(), "{ready}");
    let log = engine.stop();
    assert!(log.contains("all that there was"), "{log}");
    let (value, told) = verify(&site, &[]);
    assert!(
        value["ok"] == false && told.contains("signed by nobody"),
        "{told}"
    );
    assert_eq!(value["unsigned"][0]["from"], 1, "{value}");
    assert_eq!(value["unsigned"][0]["to"], end);
    assert_eq!(value["signed_until"]["from"], end + 1);
    // Nor is it exported as if it were proven; what came later is.
    let ran = audit(&site, &["export"]);
    assert!(
        ran.status == Some(1) && ran.err.contains("nothing is exported"),
        "{ran:?}"
    );
    let from = (end + 1).to_string();
    let ran = audit(&site, &["export", "--from-seq", &from]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
}

#[test]
fn a_tail_that_was_cut_off_with_its_checkpoints_is_known_to_whoever_kept_something() {
    let site = asked(4);
    let before = verify(&site, &[]).0["last_seq"].as_u64().unwrap();
    let key = site.key("gateway");
    let engine = site.start();
    engine.client(&key).ask(&alice_reads());
    let log = engine.stop();
    // The log names what was signed last, and a log can be kept elsewhere.
    let (value, _) = verify(&site, &[]);
    let chain = value["chain"].as_str().unwrap();
    assert!(log.contains(chain), "{chain} in {log}");
    assert_eq!(value["signed_until"]["is_late"], false);
    assert!(value["signed_until"]["age_seconds"].as_i64().unwrap() < 60);
    let file = site.folder.path().join("export.jsonl");
    let path = file.to_str().unwrap();
    let ran = audit(&site, &["export", "--out", path]);
    assert_eq!(ran.status, Some(0), "{ran:?}");

    write_anew(&site, |seq, record| {
        (seq <= before).then(|| record.to_owned())
    });
    let beside = segment(&site).with_extension("checkpoint");
    in_store(&site, async |store| {
        let rows = store.checkpoints().await.unwrap();
        store.thin_checkpoints(u64::MAX).await.unwrap();
        for row in rows.iter().filter(|row| row.seq <= before) {
            store.keep_checkpoint(row).await.unwrap();
            fs::write(&beside, &row.signed).unwrap();
        }
        store.close().await;
    });
    // Nothing that is left on this disk knows better; what was kept elsewhere does.
    let (value, _) = verify(&site, &[]);
    assert_eq!(
        (&value["ok"], &value["signed_until"]["seq"]),
        (&true.into(), &before.into())
    );
    let (value, told) = verify(&site, &["--checkpoints", path]);
    assert!(value["ok"] == false && told.contains("cut off"), "{told}");
}

#[test]
fn more_unsigned_records_than_a_crash_leaves_are_damage() {
    let site = asked(2);
    let end = verify(&site, &[]).0["last_seq"].as_u64().unwrap();
    add_forged(&site, 3);
    assert_eq!(verify(&site, &[]).0["ok"], true, "a crash leaves as much");
    add_forged(&site, pdp::checkpoints::UNSIGNED_RECORDS_MAX);
    refused(&site, "signed by nobody");
    let engine = site.start();
    let ready = engine.client("").get("/readyz").json();
    assert!(ready["journal"]["damaged_since"].is_string(), "{ready}");
    engine.stop();
    let (value, told) = verify(&site, &[]);
    assert!(value["ok"] == false && told.contains("at most"), "{told}");
    assert_eq!(value["unsigned"][0]["from"], end + 1, "{value}");
}

#[test]
fn what_an_old_key_signed_is_proven_still() {
    let site = asked(4);
    let rotate = ["signing-keys", "rotate", "--now", "--json"];
    let before = verify(&site, &[]).0["signed_until"]["kid"].clone();
    let rotated = run(site.command().args(rotate));
    assert_eq!(rotated.status, Some(0), "{rotated:?}");
    let key = site.key("gateway");
    let engine = site.start();
    engine.client(&key).ask(&alice_reads());
    engine.stop();
    let (value, _) = verify(&site, &[]);
    assert_ne!(value["signed_until"]["kid"], before);
    assert!(value["checkpoints"].as_u64().unwrap() >= 2);
    // The key set that others know, given: the same; another's, given: nothing is proven.
    let set = |keys: &[Value]| {
        let path = site.folder.path().join("jwks.json");
        let text = serde_json::json!({ "keys": keys }).to_string();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let list = run(site.command().args(["signing-keys", "list", "--json"]));
    let list: Value = serde_json::from_str(&list.out).unwrap();
    let keys = list["keys"].as_array().unwrap().iter();
    let keys: Vec<Value> = keys.map(|key| key["jwk"].clone()).collect();
    assert_eq!(verify(&site, &["--keys", &set(&keys)]).0["ok"], true);
    assert_eq!(verify(&site, &["--keys", &set(&keys[..1])]).0["ok"], false);
}

#[test]
fn an_export_proves_itself_and_what_is_kept_elsewhere_proves_more() {
    let site = asked(12);
    let end = verify(&site, &[]).0["last_seq"].as_u64().unwrap();
    let file = site.folder.path().join("export.jsonl");
    let path = file.to_str().unwrap();
    let (first, wanted) = (end - 8, end - 2);
    let range = [
        &*first.to_string(),
        "--to-seq",
        &*wanted.to_string(),
        "--out",
        path,
    ];
    let ran = audit(&site, &[&["export", "--from-seq"][..], &range].concat());
    assert_eq!(ran.status, Some(0), "{ran:?}");
    // It goes on to where the engine has signed, for that is what proves it.
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let last = report["last_seq"].as_u64().unwrap();
    assert!((wanted..=end).contains(&last), "{report}");
    // By itself: with a configuration that has no data at all.
    let elsewhere = Site::new();
    let proven = |more: &[&str]| verify(&elsewhere, &[&["--export", path], more].concat());
    let (value, _) = proven(&[]);
    assert_eq!(
        (&value["ok"], &value["first_seq"], &value["signed_until"]),
        (&true.into(), &first.into(), &last.into())
    );
    assert_eq!(value["records"], last - first + 1);

    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let but = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        change(&mut lines);
        lines.join("\n") + "\n"
    };
    let other = SigningKey::generate(Algorithm::Es256).unwrap();
    let other = serde_json::json!({ "key": other.public() }).to_string();
    // Checkpoints may stand between them.
    let records: Vec<usize> = (0..lines.len())
        .filter(|at| lines[*at].contains("\"record\"") && lines[*at].contains("alice"))
        .collect();
    for (text, said) in [
        (
            but(&|lines| drop(lines.pop())),
            "its proof has been cut off",
        ),
        (but(&|lines| lines.truncate(lines.len() - 3)), "cut off"),
        (but(&|lines| drop(lines.remove(records[1]))), "stands where"),
        (
            but(&|lines| lines[records[1]] = lines[records[1]].replace("alice", "mallory")),
            "is not the one that was written",
        ),
        (
            but(&|lines| lines[1].clone_from(&other)),
            "none of this engine's",
        ),
        (
            but(&|lines| lines[records[0]].truncate(20)),
            "no line of an export",
        ),
        (but(&|lines| drop(lines.remove(0))), "begins otherwise"),
        (String::new(), "no record"),
    ] {
        fs::write(&file, text).unwrap();
        let (value, told) = proven(&[]);
        assert!(
            value["ok"] == false && told.contains(said),
            "{said}: {told}"
        );
    }
    fs::write(&file, &whole).unwrap();
    // By time, to standard output; nothing in the range is a "no".
    let all = audit(&site, &["export", "--from", "2026-01-01"]);
    assert_eq!(all.status, Some(0), "{all:?}");
    assert!(all.out.lines().count() as u64 > end);
    let none = audit(&site, &["export", "--to", "2026-01-01"]);
    assert_eq!(none.status, Some(1), "{none:?}");

    // Everything taken back to an earlier day, keys, store and all: only who kept something
    // elsewhere can know.
    let all_of = site.folder.path().join("all.jsonl");
    fs::write(&all_of, all.out).unwrap();
    write_anew(&site, |seq, record| (seq < 3).then(|| record.to_owned()));
    in_store(&site, async |store| {
        store.thin_checkpoints(u64::MAX).await.unwrap();
        store.close().await;
    });
    for path in with_extension(&site, "checkpoint") {
        fs::remove_file(path).unwrap();
    }
    assert_eq!(verify(&site, &[]).0["ok"], true);
    let kept = all_of.to_str().unwrap();
    let (value, told) = verify(&site, &["--checkpoints", kept]);
    assert!(value["ok"] == false && told.contains("cut off"), "{told}");
    // A record that is broken is not exported.
    fs::write(segment(&site), "nonsense").unwrap();
    let broken = audit(&site, &["export"]);
    assert_eq!(broken.status, Some(1), "{broken:?}");
    assert!(broken.err.contains("nothing is exported"), "{broken:?}");
}

#[test]
fn an_export_holds_nothing_that_the_engine_has_not_signed() {
    let site = asked(4);
    let end = verify(&site, &[]).0["last_seq"].as_u64().unwrap();
    add_forged(&site, 3);
    // The chain goes on, and says so; no signature does.
    let (value, _) = verify(&site, &[]);
    assert_eq!(
        (&value["last_seq"], &value["signed_until"]["seq"]),
        (&(end + 3).into(), &end.into())
    );
    let file = site.folder.path().join("export.jsonl");
    let path = file.to_str().unwrap();
    let ran = audit(&site, &["export", "--out", path]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&report["last_seq"], &report["left_out"]),
        (
            &end.into(),
            &serde_json::json!({ "from": end + 1, "to": end + 3 })
        )
    );
    let (value, _) = verify(&Site::new(), &["--export", path]);
    assert_eq!(
        (&value["ok"], &value["signed_until"]),
        (&true.into(), &end.into())
    );
    // Nothing but that.
    let from = (end + 1).to_string();
    let ran = audit(&site, &["export", "--from-seq", &from]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.err.contains("has not signed them"), "{ran:?}");
}
