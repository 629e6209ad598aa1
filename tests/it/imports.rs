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
    assert_eq!(
        first["context"]["unknown_user"], true,
        "the bucket of no accounts"
    );
    assert!(events[2]["context"].get("unknown_user").is_none());
    nothing_is_lost(&report);
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
    assert!(lines("passed_over") > 5000, "{report}");
    nothing_is_lost(&report);
    assert_eq!(report["records"], 7121, "{report}");
}

/// Each record became events, or was passed over or rejected for a reason.
fn nothing_is_lost(report: &Value) {
    let counted = |what: &str| -> u64 {
        let words = report[what].as_object().unwrap();
        words.values().map(|count| count.as_u64().unwrap()).sum()
    };
    let taken = report["taken"].as_u64().unwrap();
    let all = taken + counted("passed_over") + counted("rejected");
    assert_eq!(report["records"], all, "{report}");
}

/// Imports a sample; the report, and each event in few words.
fn sample(format: &str, name: &str) -> (Value, Vec<String>, Vec<Value>) {
    let site = Site::new();
    let log = root().join("tests/fixtures").join(name);
    let (report, events, _) = import(&site, format, &log);
    nothing_is_lost(&report);
    let words = events.iter().map(|event| {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or("-");
        format!(
            "{} {}::{} {} {} {}",
            &text("/time")[11..19],
            text("/subject/type"),
            text("/subject/id"),
            text("/action/name"),
            text("/resource/id"),
            text("/result"),
        )
    });
    (report, words.collect(), events)
}

#[test]
fn okta_tells_of_sign_ins_and_refused_prompts() {
    let (report, words, events) = sample("okta", "okta.json");
    assert_eq!(
        words,
        [
            "08:00:00 User::alice@example.com login okta success",
            "08:00:09 User::alice@example.com mfa okta success",
            "08:00:10 User::alice@example.com read Wiki success",
            "08:05:00 User::admin login okta failure",
            "08:06:00 User::alice@example.com mfa okta failure",
            // Okta says SUCCESS of it: the refusal succeeded.
            "08:06:30 User::alice@example.com mfa okta failure",
            "08:07:00 User::alice@example.com challenge okta failure",
            "08:10:00 Service::0oaReportExample login okta success",
            "08:11:00 User::alice@example.com administer okta success",
        ]
    );
    assert_eq!(report["records"], 13);
    let passed = report["passed_over"].as_object().unwrap();
    assert_eq!(passed["`policy.evaluate_sign_on`, which is no access"], 1);
    assert_eq!(passed["what Okta did by itself"], 1);
    assert_eq!(passed.len(), 3, "and a push that was only sent: {report}");
    let rejected = report["rejected"].as_object().unwrap();
    assert!(
        rejected
            .keys()
            .all(|why| why.starts_with("`context.ip` is not"))
    );
    let context = &events[0]["context"];
    assert_eq!(context["ip"], "192.0.2.7");
    assert_eq!(context["session_id"], "idxExampleSession1");
    assert_eq!(context["device"]["id"], "aliceBrowserToken");
    assert_eq!(context["source"]["asn"], 64496);
    assert!(context.get("unknown_user").is_none());
    let stranger = &events[3]["context"];
    assert_eq!(stranger["unknown_user"], true);
    assert!(stranger.get("session_id").is_none() && stranger["device"].get("id").is_none());
}

#[test]
fn entra_tells_of_sign_ins_and_refused_prompts() {
    let (report, words, events) = sample("entra", "entra-graph.json");
    let program = "eeeeeeee-0000-0000-0000-000000000001";
    assert_eq!(
        words,
        [
            "09:00:12 User::bob@example.com mfa Wiki success".to_owned(),
            "09:00:00 User::bob@example.com login Wiki success".to_owned(),
            "09:10:00 User::bob@example.com login Wiki failure".to_owned(),
            "09:11:20 User::bob@example.com mfa Wiki failure".to_owned(),
            // Nobody was asked: an application in use, no sign-in.
            "09:12:00 User::bob@example.com read Microsoft Graph success".to_owned(),
            format!("09:13:00 Service::{program} login Microsoft Graph success"),
            "09:14:00 User::nobody@example.com login Wiki failure".to_owned(),
        ]
    );
    let (records, taken) = (report["records"].as_u64(), report["taken"].as_u64());
    assert_eq!((records, taken), (Some(8), Some(6)), "{report}");
    let passed = report["passed_over"].as_object().unwrap();
    assert_eq!(passed["interrupted, to be told again (50074)"], 1);
    assert_eq!(passed["a token that had run out"], 1);
    assert_eq!(report["late"], 1, "the sign-in began before its prompt");
    assert_eq!(events[1]["context"]["assurance"]["level"], 3);
    assert_eq!(events[1]["context"]["device"]["managed"], true);
    assert_eq!(events[1]["resource"]["type"], "Application");
    assert_eq!(events[2]["context"]["ip"], "2001:db8::66");
    assert_eq!(
        events[2]["context"]["device"],
        serde_json::json!({ "os": "Linux" })
    );
    assert_eq!(events[3]["label"]["attack"], "confirmed-compromised");
    assert_eq!(events[3]["context"]["method"], "Mobile app notification");
    assert!(events[4]["context"].get("assurance").is_none());
    assert_eq!(events[6]["context"]["unknown_user"], true);
}

#[test]
fn azure_monitor_tells_the_same_sign_ins() {
    let (report, words, events) = sample("entra", "entra-monitor.jsonl");
    let (_, graph, _) = sample("entra", "entra-graph.json");
    assert_eq!(words, [&graph[0..2], &graph[3..6]].concat());
    assert_eq!(
        report["passed_over"]["`AuditLogs`, which are no sign-ins"],
        1
    );
    assert_eq!(
        report["rejected"].as_object().unwrap().len(),
        1,
        "the cut line: {report}"
    );
    assert_eq!(
        events[2]["context"]["method"], "Mobile app notification",
        "parts as text"
    );
    assert_eq!(
        events[3]["context"]["ip"], "198.51.100.4",
        "without its port"
    );
}

#[test]
fn cloudtrail_comes_as_its_own_json_too() {
    let (report, words, events) = sample("cloudtrail", "cloudtrail.json");
    assert_eq!(
        words,
        [
            "10:00:01 User::carol login signin.amazonaws.com -",
            "10:00:02 User::carol login signin.amazonaws.com failure",
            "10:00:03 Service::backup read s3://payroll/2026/03.csv -",
            "10:00:04 User::dana@example.com write ec2.amazonaws.com failure",
            "10:00:05 Service::aws read kms.amazonaws.com -",
        ]
    );
    assert_eq!(report["passed_over"]["an insight, which is no call"], 1);
    assert_eq!(report["rejected"].as_object().unwrap().len(), 1);
    assert_eq!(events[0]["context"]["assurance"]["level"], 3);
    assert!(
        events[0]["context"].get("session_id").is_none(),
        "a lasting key is no session"
    );
    assert_eq!(events[2]["context"]["session_id"], "ASIAEXAMPLE");
    assert_eq!(events[2]["resource"]["properties"]["size_bytes"], 52_311);
}

#[test]
fn events_are_the_same_in_lines_and_in_tables() {
    let site = Site::new();
    let log = root().join("tests/fixtures/entra-graph.json");
    let import = |name: &str| {
        let out = site.folder.path().join(name);
        let mut command = site.command();
        command.args(["data", "import", "--format", "entra", "--sort"]);
        let ran = run(command.arg(&log).arg("--out").arg(&out));
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let paths = [out];
        let events: Result<Vec<_>, _> = trainer::events::read(&paths).collect();
        events.unwrap()
    };
    let lines = import("events.jsonl");
    assert!(lines.is_sorted_by_key(|event| event.time));
    assert_eq!(lines, import("events.parquet"));
    assert_eq!(lines, import("events.jsonl.gz"));
    assert_eq!(lines.len(), 7);

    let mut command = std::process::Command::new(crate::harness::BINARY);
    command.current_dir(root());
    command.args([
        "demo",
        "--once",
        "--listen",
        "127.0.0.1:0",
        "--json",
        "--events",
    ]);
    let ran = run(command.arg(site.folder.path().join("events.parquet")));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let played: Value = serde_json::from_str(&ran.out).unwrap();
    // Failures are told as facts, and not asked.
    let questions = lines.iter().filter(|event| event.is_question()).count();
    assert_eq!(played["events"], questions);
    assert!((1..7).contains(&questions), "{questions}");
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
