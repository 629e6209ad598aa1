//! Deciding again what is on record: the archive, `policy replay`, `policy explain`, and the same
//! over HTTP.

use std::fs;
use std::path::{Path, PathBuf};

use domain::Timestamp;
use serde_json::{Value, json};
use store::Store;

use crate::harness::{Client, Ran, Site, alice_reads, eventually, root, run};

/// A site whose policies are its own, to be changed.
fn site() -> Site {
    let site = Site::with("[policies]\ndir = \"POLICIES\"\n");
    let policies = site.folder.path().join("policies");
    fs::create_dir(&policies).unwrap();
    for entry in fs::read_dir(root().join("policies")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, policies.join(path.file_name().unwrap())).unwrap();
        }
    }
    let config = fs::read_to_string(site.config()).unwrap();
    let config = config.replace("POLICIES", &policies.display().to_string());
    fs::write(site.config(), config).unwrap();
    site
}

fn policies(site: &Site) -> PathBuf {
    site.folder.path().join("policies")
}

/// Questions of many kinds, with every outcome among their answers. The ids of the decisions.
fn ask_much(client: &mut Client) -> Vec<(String, String)> {
    let mut answers = Vec::new();
    let mut ask = |changes: &[(&str, Value)]| {
        let mut question = alice_reads();
        for (pointer, value) in changes {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            question.pointer_mut(parent).unwrap()[name] = value.clone();
        }
        let answer = client.ask(&question);
        let text = |member: &str| answer["context"][member].as_str().unwrap().to_owned();
        answers.push((text("decision_id"), text("outcome")));
    };
    for number in 0..12 {
        ask(&[("/context/shift", json!(number))]);
    }
    ask(&[("/resource/id", json!("payroll"))]);
    ask(&[("/subject/id", json!("nobody"))]);
    ask(&[("/action/name", json!("fly"))]);
    ask(&[
        ("/action/name", json!("administer")),
        ("/resource", json!({"type": "Application", "id": "wiki"})),
    ]);
    ask(&[
        ("/context/ip", json!("203.0.113.7")),
        ("/context/device", json!({"id": "x"})),
    ]);
    ask(&[
        ("/context/ip", Value::Null),
        ("/context/user_agent", Value::Null),
    ]);
    ask(&[
        ("/context/assurance", json!({"level": 3})),
        ("/context/session_id", json!("s-1")),
    ]);
    ask(&[
        ("/context/session_id", json!("s-1")),
        ("/subject/id", json!("dave")),
    ]);
    answers
}

fn replay(site: &Site, args: &[&str]) -> (Ran, Value) {
    let mut command = site.command();
    let ran = run(command.args(["policy", "replay", "--json"]).args(args));
    let value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    (ran, value)
}

fn candidate(site: &Site, name: &str, text: &str) -> String {
    let folder = site.folder.path().join(name);
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(policies(site)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    fs::write(folder.join("99-candidate.cedar"), text).unwrap();
    folder.display().to_string()
}

const NO_READING: &str = "@id(\"no-reading\")\n@reason(\"Reading is over.\")\n\
    forbid (principal, action == Action::\"read\", resource == Document::\"handbook\");\n";

#[test]
fn what_decided_decides_the_same_again_and_a_candidate_shows_what_it_changes() {
    let site = site();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let first = ask_much(&mut client);
    // The same questions under another revision, which the first records must not be held to.
    fs::write(policies(&site).join("99-more.cedar"), NO_READING).unwrap();
    engine.signal("HUP");
    eventually("the new policies decide", || {
        (client.ask(&alice_reads())["context"]["policies"] == json!(["no-reading"])).then_some(())
    });
    let second = ask_much(&mut client);
    fs::remove_file(policies(&site).join("99-more.cedar")).unwrap();

    // The engine need not stop.
    let (ran, report) = replay(&site, &[]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(report["self_check"], json!(true));
    assert_eq!(report["differing"], json!(0), "{report}");
    assert_eq!(report["changed"], json!(0));
    assert_eq!(report["not_comparable"], json!(0), "{report}");
    let decisions = report["decisions"].as_u64().unwrap();
    assert!(decisions > (first.len() + second.len()) as u64);
    let outcomes: Vec<&str> = first.iter().map(|(_, outcome)| outcome.as_str()).collect();
    for outcome in ["allow", "mfa", "deny"] {
        assert!(outcomes.contains(&outcome), "no {outcome} in {outcomes:?}");
    }

    // What is in force now changes nothing of the first half, and eases the second.
    let folder = policies(&site).display().to_string();
    let (_, report) = replay(&site, &["--candidate", &folder]);
    assert!(report["eased"].as_u64().unwrap() >= 12, "{report}");
    assert_eq!(report["newly_denied"], json!(0));
    assert_eq!(report["policies"][0]["policy"], json!("no-reading"));
    assert_eq!(report["policies"][0]["part"], json!("forbids no longer"));

    let folder = candidate(&site, "candidate", NO_READING);
    let args = ["--candidate", &folder, "--fail-if", "newly_denied > 0.1%"];
    let (ran, report) = replay(&site, &args);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.err.contains("newly_denied > 0.1%"), "{}", ran.err);
    assert!(report["newly_denied"].as_u64().unwrap() >= 12, "{report}");
    assert_eq!(
        report["subjects"]["top"][0]["name"],
        json!("User::\"alice\"")
    );
    assert_eq!(
        report["resources"]["top"][0]["name"],
        json!("Document::\"handbook\"")
    );
    let due = &report["policies"][0];
    assert_eq!(
        (&due["policy"], &due["part"]),
        (&json!("no-reading"), &json!("forbids now"))
    );
    let example = report["examples"][0]["decision_id"].as_str().unwrap();
    assert!(first.iter().any(|(id, _)| id == example));

    // Nothing to see before the first decision; nothing can be well where nothing was compared.
    let (ran, report) = replay(&site, &["--to", "2020-01-01", "--fail-if", "changed > 0"]);
    assert_eq!((ran.status, &report["decisions"]), (Some(1), &json!(0)));
    // The shipped model in place of itself.
    let (ran, report) = replay(
        &site,
        &["--model", "behaviour@1", "--fail-if", "changed > 0"],
    );
    assert_eq!(ran.status, Some(0), "{report}");
    engine.stop();
}

#[test]
fn what_is_gone_is_not_comparable_and_never_guessed() {
    let site = site();
    let key = site.key("gateway");
    let engine = site.start();
    let asked = ask_much(&mut engine.client(&key)).len() as u64;
    engine.stop();
    let (_, report) = replay(&site, &[]);
    assert_eq!(report["compared"].as_u64(), Some(asked), "{report}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(&site.data().join("portreeve.db"))
            .await
            .unwrap();
        assert_eq!(store.forget_revisions(Timestamp::MAX).await.unwrap(), 3);
        store.close().await;
    });
    let (ran, report) = replay(&site, &["--fail-if", "not_comparable > 0"]);
    assert_eq!(ran.status, Some(1));
    assert_eq!(report["compared"], json!(0));
    assert_eq!(report["not_comparable"].as_u64(), Some(asked));
    let because = report["not_comparable_because"].as_object().unwrap();
    assert!(
        because
            .keys()
            .all(|why| why.contains("are not in the archive")),
        "{report}"
    );
}

fn explain(site: &Site, id: &str, args: &[&str]) -> Ran {
    run(site.command().args(["policy", "explain", id]).args(args))
}

#[test]
fn a_decision_is_explained_from_what_it_was_decided_by() {
    let site = site();
    fs::write(policies(&site).join("99-more.cedar"), NO_READING).unwrap();
    let key = site.key("gateway");
    let engine = site.start();
    let answers = ask_much(&mut engine.client(&key));
    engine.stop();
    // The text that decided is gone from the folder, and in the archive.
    fs::remove_file(policies(&site).join("99-more.cedar")).unwrap();
    let (id, _) = &answers[0];
    let ran = explain(&site, id, &[]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for wanted in [
        "deny for User::\"alice\", `read` on Document::\"handbook\"",
        "forbidden by no-reading",
        "99-more.cedar:1",
        "Reading is over.",
        "network.country",
        "places database",
        "baseline",
        "no single change would have made it an allow",
    ] {
        assert!(ran.out.contains(wanted), "no {wanted} in\n{}", ran.out);
    }
    for (id, outcome) in &answers {
        let ran = explain(&site, id, &["--json"]);
        let story: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(story["outcome"], json!(outcome));
        assert_eq!(
            (&story["comparable"], &story["difference"]),
            (&json!(true), &Value::Null)
        );
        let risk = &story["risk"];
        let points = |value: &Value| value.as_i64().unwrap();
        let factors: i64 = risk["factors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| points(&it["contribution"]))
            .sum();
        assert_eq!(
            points(&risk["baseline"]) + points(&risk["other"]) + factors,
            points(&risk["score"])
        );
        if outcome == "mfa" {
            let ways = story["ways"].as_array().unwrap();
            let mfa = json!({ "change": "MFA just passed", "becomes": "allow" });
            assert!(ways.contains(&mfa), "{story}");
        }
    }
    let ran = explain(&site, "nothing", &[]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.err.contains("audit tail"));
}

#[test]
fn authors_read_and_replay_policies_over_http() {
    let site = site();
    let [gateway, author, operator] = ["gateway", "author", "operator"].map(|role| site.key(role));
    let engine = site.start();
    let asked = ask_much(&mut engine.client(&gateway)).len();
    let mut author = engine.client(&author);

    let live = author.get("/v1/policies");
    assert_eq!(live.status, 200);
    let live = live.json();
    let revision = live["revision"].as_str().unwrap().to_owned();
    assert_eq!(live["kept"][0]["revision"], json!(revision));
    let ids: Vec<&str> = live["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert!(
        ids.contains(&"impossible-travel") || ids.len() > 10,
        "{ids:?}"
    );
    let kept = author.get(&format!("/v1/policies/{revision}"));
    assert_eq!(kept.status, 200);
    let mut files = kept.json()["files"].clone();
    let on_disk =
        fs::read_to_string(Path::new(&policies(&site)).join("10-staff-documents.cedar")).unwrap();
    assert_eq!(files["10-staff-documents.cedar"], json!(on_disk));
    assert_eq!(author.get("/v1/policies/0000").status, 404);

    // Nothing changes by what decides anyway; a forbid more shows.
    eventually("all decisions are drained", || {
        let answer = author.post("/v1/policies/replay", &json!({}));
        (answer.json()["compared"] == json!(asked)).then(|| {
            assert_eq!(answer.json()["differing"], json!(0));
        })
    });
    let same = author
        .post("/v1/policies/replay", &json!({ "files": files }))
        .json();
    assert_eq!(same["changed"], json!(0), "{same}");
    files["99-more.cedar"] = json!(NO_READING);
    let body = json!({ "files": files, "limit": 1000 });
    let report = author.post("/v1/policies/replay", &body).json();
    assert!(report["newly_denied"].as_u64().unwrap() >= 12, "{report}");
    assert_eq!(report["cut_short"], json!(false));
    let few = author
        .post(
            "/v1/policies/replay",
            &json!({ "files": files, "limit": 3 }),
        )
        .json();
    assert_eq!(
        (&few["decisions"], &few["cut_short"]),
        (&json!(3), &json!(true)),
        "{few}"
    );
    let none = json!({ "to": "2020-01-01T00:00:00Z" });
    assert_eq!(
        author.post("/v1/policies/replay", &none).json()["decisions"],
        json!(0)
    );

    for (body, told) in [
        (json!({ "files": { "a.cedar": "permit (" } }), "do not load"),
        (json!({ "files": { "../a.cedar": "" } }), "without folders"),
        (json!({ "files": { "a.txt": "" } }), "named"),
        (json!({ "limit": 0 }), "limit"),
        (json!({ "limit": 1_000_000 }), "limit"),
        (json!({ "from": "yesterday" }), "RFC 3339"),
        (json!({ "candidate": {} }), "candidate"),
        (json!([]), "JSON object"),
    ] {
        let refused = author.post("/v1/policies/replay", &body);
        let detail = refused.json()["detail"].to_string();
        assert_eq!(refused.status, 400, "{body}: {detail}");
        assert!(detail.contains(told), "{body}: {detail}");
    }
    let mut operator = engine.client(&operator);
    assert_eq!(operator.get("/v1/policies").status, 200);
    assert_eq!(operator.post("/v1/policies/replay", &json!({})).status, 403);
    let mut gateway = engine.client(&gateway);
    assert_eq!(gateway.get("/v1/policies").status, 403);
    assert_eq!(gateway.get(&format!("/v1/policies/{revision}")).status, 403);
    assert_eq!(gateway.post("/v1/policies/replay", &json!({})).status, 403);
    engine.stop();
}
