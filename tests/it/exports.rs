//! The record of decisions, exported as events.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Client, Ran, Site, alice_reads, eventually, now, run};

/// Exports with these arguments; the report and the events.
fn export(site: &Site, name: &str, more: &[&str]) -> (Value, Vec<Value>) {
    let out = site.folder.path().join(name);
    let ran = try_export(site, &out, more);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let paths = [out];
    let events = trainer::events::read(&paths).map(|event| {
        let mut line = Vec::new();
        trainer::events::write(&mut line, &event.unwrap()).unwrap();
        serde_json::from_slice(&line).unwrap()
    });
    (serde_json::from_str(&ran.out).unwrap(), events.collect())
}

fn try_export(site: &Site, out: &Path, more: &[&str]) -> Ran {
    let mut command = site.command();
    command.args(["data", "export", "--json", "--out"]).arg(out);
    run(command.args(more))
}

/// A day's work of an engine: questions of all manners, and what was told about them.
fn live(client: &mut Client) {
    let id = |answer: &Value| {
        answer["context"]["decision_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // Replayed, and so not in the order of the journal.
    for time in ["2026-03-03T09:00:00Z", "2026-03-02T09:00:00Z"] {
        let mut question = alice_reads();
        question["context"]["time"] = json!(time);
        client.ask(&question);
    }
    let mut question = alice_reads();
    question["subject"]["properties"] = json!({ "department": "secret-department" });
    question["action"]["properties"] = json!({ "query": "secret-query" });
    question["resource"]["properties"] = json!({ "sensitivity": 1, "title": "secret-title" });
    question["context"]["session_id"] = json!("secret-session");
    question["context"]["ticket"] = json!("secret-ticket");
    let mine = id(&client.ask(&question));
    let not_mine = id(&client.ask(&alice_reads()));
    let mut steep = alice_reads();
    steep["subject"]["id"] = json!("dave");
    steep["action"]["name"] = json!("administer");
    steep["resource"] = json!({ "type": "Application", "id": "wiki" });
    let stepped_up = id(&client.ask(&steep));

    let mut dry = alice_reads();
    dry["context"]["dry_run"] = json!(true);
    client.ask(&dry);
    let mut batch = alice_reads();
    batch["evaluations"] = json!([{}, {}]);
    assert_eq!(client.post("/access/v1/evaluations", &batch).status, 200);
    let fact = json!({
        "time": now(),
        "subject": { "type": "User", "id": "alice" },
        "action": { "name": "mfa" },
        "resource": { "type": "Application", "id": "mail" },
        "context": { "ip": "198.51.100.77", "device": { "id": "secret-phone" } },
        "result": "failure",
    });
    assert_eq!(client.post("/v1/events", &fact).status, 200);
    let step_up = format!("/v1/decisions/{stepped_up}/step-up");
    assert_eq!(client.post(&step_up, &json!({ "level": 3 })).status, 200);
    for (id, word) in [(&mine, false), (&mine, true), (&not_mine, false)] {
        // On record once it has been drained.
        eventually("the decision is on record", || {
            let path = format!("/v1/decisions/{id}/feedback");
            let response = client.post(&path, &json!({ "legitimate": word }));
            (response.status == 200).then_some(())
        });
    }
}

#[test]
fn decisions_become_events_with_what_was_told_of_them() {
    let site = Site::new();
    let key = site.key("keeper");
    let engine = site.start();
    live(&mut engine.client(&key));

    let (report, events) = export(&site, "running.jsonl", &[]);
    assert_eq!(report["decisions"], 5, "{report}");
    assert_eq!(
        (&report["observed"], &report["labelled"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(
        report["left_out"],
        json!({ "questions of batches and dry runs": 3 })
    );
    let times: Vec<&str> = events
        .iter()
        .map(|event| event["time"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(
        times[..2],
        ["2026-03-02T09:00:00.000Z", "2026-03-03T09:00:00.000Z"]
    );
    let labels: Vec<&Value> = events
        .iter()
        .map(|event| &event["label"])
        .filter(|l| !l.is_null())
        .collect();
    assert_eq!(
        labels,
        [
            &json!({ "benign": "confirmed" }),
            &json!({ "attack": "reported" })
        ],
        "the last word counts"
    );
    let dave = events
        .iter()
        .find(|event| event["subject"]["id"] == "dave")
        .unwrap();
    let decided = &dave["context"]["decided"];
    assert_eq!(
        (&decided["outcome"], &decided["step_up"]),
        (&json!("mfa"), &json!(3))
    );
    let told = events
        .iter()
        .find(|event| event["action"]["name"] == "mfa")
        .unwrap();
    assert_eq!(told["result"], "failure");
    assert!(told["context"].get("decided").is_none());
    assert!(
        events
            .iter()
            .any(|event| event["context"]["ticket"] == "secret-ticket")
    );

    // The same in a table, and when nobody is at home.
    engine.stop();
    assert_eq!(
        export(&site, "stopped.parquet", &[]),
        (report, events.clone())
    );
    let (_, day) = export(
        &site,
        "day.jsonl",
        &["--from", "2026-03-02", "--to", "2026-03-03T09:00:00Z"],
    );
    assert_eq!(day, events[..1]);
}

#[test]
fn pseudonyms_leave_nothing_of_the_names_and_stay_the_same() {
    let site = Site::new();
    let key = site.key("keeper");
    let engine = site.start();
    live(&mut engine.client(&key));
    engine.stop();

    let path = site.folder.path().join("names.key");
    let names = ["--pseudonymise", path.to_str().unwrap()];
    let (_, plain) = export(&site, "plain.jsonl", &[]);
    let (report, events) = export(&site, "a.jsonl", &names);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        export(&site, "b.parquet", &names),
        (report, events.clone()),
        "same key, same names"
    );

    let text = std::fs::read_to_string(site.folder.path().join("a.jsonl")).unwrap();
    for gone in [
        "alice",
        "dave",
        "handbook",
        "wiki",
        "secret",
        "10.10.4.7\"",
        "198.51.100.77",
        "decision_id",
    ] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    assert!(
        text.contains("\"198.51.100.") && text.contains("\"sensitivity\":1"),
        "{text}"
    );
    assert!(text.contains("Firefox/140.0"));
    // Who is one stays one.
    let same = |events: &[Value]| -> Vec<bool> {
        let first = &events[0]["subject"]["id"];
        events
            .iter()
            .map(|event| &event["subject"]["id"] == first)
            .collect()
    };
    assert_eq!(same(&events), same(&plain));
    assert_eq!(events.len(), plain.len());

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let out = site.folder.path().join("c.jsonl");
    let ran = try_export(&site, &out, &names);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("chmod 600"), "{}", ran.err);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "secret").unwrap();
    let ran = try_export(&site, &out, &names);
    assert!(ran.err.contains("64 hexadecimal digits"), "{}", ran.err);
}

#[test]
fn what_cannot_be_exported_is_said() {
    let site = Site::new();
    let out = site.folder.path().join("x.jsonl");
    let ran = try_export(&site, &out, &[]);
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.err.contains("no journal"), "{}", ran.err);
    let ran = try_export(&site, &out, &["--from", "yesterday"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("2026-11-20"), "{}", ran.err);

    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    for _ in 0..3 {
        client.ask(&alice_reads());
    }
    engine.stop();
    let mut folder = std::fs::read_dir(site.data().join("journal")).unwrap();
    let segment = folder
        .find_map(|entry| {
            Some(entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "log"))
        })
        .unwrap();
    let text = std::fs::read_to_string(&segment).unwrap();
    // Other records stand between the decisions; one of those that were asked for is damaged.
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_decision = |line: &&mut String| line.contains("\"outcome\"");
    let second = lines.iter_mut().filter(is_decision).nth(1).unwrap();
    assert!(second.starts_with('+'), "{second}");
    second.replace_range(..1, "?");
    let damaged = lines.join("\n") + "\n";
    std::fs::write(&segment, damaged).unwrap();
    let ran = try_export(&site, &out, &[]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.err.contains("audit verify"), "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&report["decisions"], &report["unreadable"]),
        (&json!(2), &json!(1))
    );
}
