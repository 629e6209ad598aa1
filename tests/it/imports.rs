//! Real logs, imported and played.

use serde_json::Value;

use crate::harness::{Site, root, run, shared};

/// Imports a log; the report and the events.
fn import(site: &Site, format: &str, log: &std::path::Path) -> (Value, Vec<Value>, String) {
    let (out, rejects) = (
        site.folder.path().join("events.jsonl"),
        site.folder.path().join("rejects.txt"),
    );
    let mut command = site.command();
    command
        .args([
            "data", "import", "--format", format, "--json", "--year", "2017",
        ])
        .arg(log);
    command
        .arg("--out")
        .arg(&out)
        .arg("--rejects")
        .arg(&rejects);
    let ran = run(&mut command);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let events = std::fs::read_to_string(out).unwrap();
    let events = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let rejects = std::fs::read_to_string(rejects).unwrap();
    (serde_json::from_str(&ran.out).unwrap(), events, rejects)
}

#[test]
fn the_rba_data_set_becomes_sign_ins() {
    let Some(log) = shared("login/rba-dataset-head.csv") else {
        return;
    };
    let site = Site::new();
    let (report, events, rejects) = import(&site, "rba", &log);
    let rows = std::fs::read_to_string(&log).unwrap().lines().count() - 1;
    assert_eq!(report["events"], rows, "{report}");
    assert_eq!((events.len(), rejects.as_str()), (rows, ""));
    let first = &events[0];
    assert_eq!(first["time"], "2020-02-03T12:43:30.772Z");
    assert_eq!(first["subject"]["id"], "-4324475583306591935");
    assert_eq!(
        (&first["action"]["name"], &first["result"]),
        (&"login".into(), &"failure".into())
    );
    assert_eq!(first["context"]["ip"], "10.0.65.171");
    assert_eq!(first["context"]["source"]["country"], "NO");
    assert!(
        events
            .iter()
            .any(|event| event["label"]["attack"] == "attack-ip")
    );
    assert!(events.iter().any(|event| event["result"] == "success"));
}

#[test]
fn cloudtrail_becomes_calls_of_people_and_programs() {
    let Some(log) = shared("login/cloudtrail-stratus.csv.gz") else {
        return;
    };
    let site = Site::new();
    let (report, events, _) = import(&site, "cloudtrail", &log);
    let rejected: u64 = report["rejected"]
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(
        report["events"].as_u64().unwrap() + rejected,
        2900,
        "nothing is lost: {report}"
    );
    assert!(rejected < 50, "those without any identity: {report}");
    let of = |id: &str| {
        events
            .iter()
            .filter(|event| event["subject"]["id"] == id)
            .count()
    };
    assert!(of("bert-jan") > 100 && of("benjamin") > 100, "{report}");
    assert!(
        events
            .iter()
            .any(|event| event["subject"]["type"] == "Service")
    );
    assert!(events.iter().any(|event| event["result"] == "failure"));
    let read = events
        .iter()
        .find(|event| event["action"]["properties"]["operation"] == "GetBucketAcl");
    assert_eq!(read.unwrap()["action"]["name"], "read");
}

#[test]
fn the_log_of_sshd_becomes_sign_ins() {
    let Some(log) = shared("login/elastic-ssh-auth.log.gz") else {
        return;
    };
    let site = Site::new();
    let (report, events, _) = import(&site, "sshd", &log);
    let accepted = events
        .iter()
        .filter(|event| event["result"] == "success")
        .count();
    assert_eq!(accepted, 226, "{report}");
    let failed = events.len() - accepted;
    assert!(
        failed >= 600,
        "with those that the log only counts: {failed}"
    );
    let lines = |what: &str| -> u64 {
        report[what]
            .as_object()
            .unwrap()
            .values()
            .map(|count| count.as_u64().unwrap())
            .sum()
    };
    let repeated = 84 + lines("rejected");
    assert!(lines("passed_over") > 5000 && repeated > 0, "{report}");
}

#[test]
fn a_log_of_another_form_is_refused_or_rejected_line_by_line() {
    let site = Site::new();
    let log = site.folder.path().join("log");
    std::fs::write(&log, "a,b,c\n1,2,3\n").unwrap();
    for format in ["rba", "cloudtrail"] {
        let ran = run(site
            .command()
            .args(["data", "import", "--format", format])
            .arg(&log));
        assert_eq!(ran.status, Some(2), "{ran:?}");
        assert!(ran.err.contains("names no column"), "{}", ran.err);
    }
    let csv = "Login Timestamp,User ID,IP Address,User Agent String,Login Successful\n\
               2020-02-03 12:43:30,7,10.0.0.1,Firefox,True\n\
               never,7,10.0.0.1,Firefox,True\n\
               2020-02-03 12:43:30,,10.0.0.1,Firefox,True\n\
               2020-02-03 12:43:30,7,10.0.0.300,Firefox,True\n\
               2020-02-03 12:43:30,7,10.0.0.1,Firefox,perhaps\n\
               too,few\n";
    std::fs::write(&log, csv).unwrap();
    let (report, events, rejects) = import(&site, "rba", &log);
    assert_eq!(events.len(), 1);
    assert_eq!(report["rejected"].as_object().unwrap().len(), 5, "{report}");
    assert_eq!(
        rejects.lines().count(),
        5,
        "each with its line and reason:\n{rejects}"
    );
    assert!(rejects.starts_with("3\t"), "{rejects}");
}

#[test]
fn imported_events_are_played_through_the_engine() {
    let Some(log) = shared("login/cloudtrail-s3-exfil.csv.gz") else {
        return;
    };
    let site = Site::new();
    let (report, ..) = import(&site, "cloudtrail", &log);
    let events = site.folder.path().join("events.jsonl");
    let ran = run(std::process::Command::new(crate::harness::BINARY)
        .current_dir(root())
        .args([
            "demo",
            "--once",
            "--listen",
            "127.0.0.1:0",
            "--json",
            "--events",
        ])
        .arg(&events));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let played: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(played["events"], report["events"]);
    assert!(
        played["outcomes"]["allow"].as_u64().unwrap() > 0,
        "{played}"
    );
    assert!(!played["groups"].as_array().unwrap().is_empty());
}

#[test]
fn simulated_events_meet_the_shipped_organisation_and_are_played() {
    let site = Site::new();
    let events = site.folder.path().join("events.jsonl");
    let mut command = site.command();
    command.args(["data", "simulate", "--people", "3", "--days", "2"]);
    let ran = run(command.arg("--out").arg(&events));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let mut command = std::process::Command::new(crate::harness::BINARY);
    command
        .current_dir(root())
        .args(["demo", "--once", "--listen", "127.0.0.1:0", "--events"])
        .arg(&events);
    let ran = run(&mut command);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.out.contains("allow"), "{ran:?}");
}
