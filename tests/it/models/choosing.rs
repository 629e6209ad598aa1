//! Which model scores: promoted, rolled back, refused, on a running engine.

use std::fs;

use serde_json::{Value, json};

use super::*;

#[test]
fn a_promotion_counts_without_a_restart_survives_one_and_is_taken_back() {
    let shelf = Shelf::new("behaviour@1");
    for version in [2, 3] {
        shelf.put(version, |_| {});
    }
    let keeper = shelf.site.key("keeper");
    let engine = shelf.site.start();
    let mut client = engine.client(&keeper);
    assert_eq!(scored_by(&mut client), "behaviour@1");

    let done = shelf.model_json(&["promote", "behaviour@2"]);
    assert_eq!(done["previous"], "behaviour@1");
    soon_scored_by(&mut client, "behaviour@2");
    assert!(
        metrics(&engine).contains("portreeve_model{role=\"champion\",model=\"behaviour@2\"} 1")
    );

    // Over HTTP it counts with the answer.
    let response = client.post("/v1/models/promote", &json!({ "model": "behaviour@3" }));
    assert_eq!(response.status, 200, "{:?}", response.json());
    assert_eq!(response.json()["champion"], "behaviour@3");
    assert_eq!(scored_by(&mut client), "behaviour@3");
    let again = client.post("/v1/models/promote", &json!({ "model": "behaviour@3" }));
    assert_eq!(again.status, 409);

    // One command each, further and further back.
    let done = shelf.model_json(&["rollback", "--reason", "too loud"]);
    assert_eq!(done["model"], "behaviour@2");
    soon_scored_by(&mut client, "behaviour@2");
    drop(client);
    engine.stop();

    // With the engine down too, and what holds is what it starts with.
    let engine = shelf.site.start();
    let mut client = engine.client(&keeper);
    assert_eq!(
        scored_by(&mut client),
        "behaviour@2",
        "promoted before the restart"
    );
    let response = client.post("/v1/models/rollback", &json!({}));
    assert_eq!(response.json()["champion"], "behaviour@1");
    assert_eq!(scored_by(&mut client), "behaviour@1");
    let response = client.post("/v1/models/rollback", &json!({}));
    assert_eq!(response.status, 409, "nothing is left to take back");
    assert_eq!(shelf.model(&["rollback"]).status, Some(1));
    drop(client);
    engine.stop();
    shelf.model_json(&["promote", "behaviour@3"]);
    let engine = shelf.site.start();
    assert_eq!(scored_by(&mut engine.client(&keeper)), "behaviour@3");
    engine.stop();

    // All of it is on record, by whom and why, and the chain is whole.
    let tail = run(shelf
        .site
        .command()
        .args(["audit", "tail", "-n", "100", "--json"]));
    let records = tail
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let acts: Vec<Value> = records.filter(|record| record["kind"] == "model").collect();
    let told: Vec<(&str, &str)> = acts
        .iter()
        .map(|act| (act["act"].as_str().unwrap(), act["model"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("settle", "behaviour@1"),
            ("promote", "behaviour@2"),
            ("promote", "behaviour@3"),
            ("rollback", "behaviour@2"),
            ("rollback", "behaviour@1"),
            ("promote", "behaviour@3"),
        ]
    );
    assert_eq!(acts[3]["reason"], "too loud");
    assert!(acts[1]["caller"].as_str().unwrap().starts_with("os:"));
    assert!(acts[2]["caller"].as_str().unwrap().starts_with("sk_"));
    assert!(acts[2]["metrics"]["compared"].as_array().unwrap().len() > 5);
    let tail = run(shelf.site.command().args(["audit", "tail", "-n", "100"]));
    assert!(
        tail.out
            .contains("model rollback: behaviour@2 instead of behaviour@3"),
        "{tail:?}"
    );
    assert_eq!(
        run(shelf.site.command().args(["audit", "verify"])).status,
        Some(0)
    );
}

#[test]
fn every_decision_is_scored_by_one_model_from_start_to_end() {
    let shelf = Shelf::new("behaviour@1");
    // The same forest, and a calibration of its own: whoever mixed them up would be seen.
    shelf.put(2, |manifest| {
        for band in manifest["calibration"]["bands"].as_array_mut().unwrap() {
            band["from"] = json!(44);
            band["to"] = json!(44);
        }
    });
    let keeper = shelf.site.key("keeper");
    let engine = shelf.site.start();
    let mut seen = std::collections::BTreeSet::new();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut client = engine.client(&keeper);
            let mut seen = Vec::new();
            for _ in 0..300 {
                let risk = client.ask(&alice_reads())["context"]["risk"].clone();
                let own = risk["model_score"] == 44;
                seen.push((risk["model"].as_str().unwrap().to_owned(), own));
            }
            seen
        });
        let mut client = engine.client(&keeper);
        while !asking.is_finished() {
            let promote = json!({ "model": "behaviour@2", "force": true, "reason": "trial" });
            assert_eq!(client.post("/v1/models/promote", &promote).status, 200);
            assert_eq!(client.post("/v1/models/rollback", &json!({})).status, 200);
        }
        seen.extend(asking.join().unwrap());
    });
    let wanted = [
        ("behaviour@1".to_owned(), false),
        ("behaviour@2".to_owned(), true),
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), wanted);
}

#[test]
fn what_cannot_be_used_is_refused_and_the_old_model_stays() {
    let shelf = Shelf::new("behaviour@1");
    shelf.put(2, |_| {});
    let damaged = shelf.folder(2).join("forest.bin");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[5000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    shelf.put(3, |manifest| {
        manifest["forest_sha256"] = json!("00".repeat(32))
    });
    shelf.put(4, |manifest| {
        manifest["feature_hash"] = json!("11".repeat(32))
    });
    shelf.put(5, |manifest| {
        drop(manifest["medians"].as_array_mut().unwrap().pop())
    });
    shelf.put(6, |manifest| manifest["version"] = json!(1));
    shelf.put(8, |manifest| {
        manifest["distribution"] = json!({ "events": 1, "features": [] })
    });
    shelf.put(9, |manifest| {
        drop(manifest.as_object_mut().unwrap().remove("seed"))
    });
    let keeper = shelf.site.key("keeper");
    let engine = shelf.site.start();
    let mut client = engine.client(&keeper);
    for (model, why, status) in [
        ("behaviour@2", "SHA-256", 1),
        ("behaviour@3", "SHA-256", 1),
        ("behaviour@4", "other features", 1),
        ("behaviour@5", "one median", 1),
        ("behaviour@6", "its manifest says that it is behaviour@1", 1),
        ("behaviour@7", "no model `behaviour@7`", 2),
        ("behaviour@8", "distribution", 1),
        ("behaviour@9", "not a manifest", 1),
        ("../behaviour@1", "no model", 2),
    ] {
        for command in ["promote", "shadow"] {
            let ran = shelf.model(&[command, model]);
            assert_eq!(ran.status, Some(status), "{command} {model}: {ran:?}");
            assert!(ran.err.contains(why), "{command} {model}: {ran:?}");
            let force = json!({ "model": model, "force": true, "reason": "I insist" });
            let body = if command == "promote" {
                force
            } else {
                json!({ "model": model })
            };
            let response = client.post(&format!("/v1/models/{command}"), &body);
            assert_eq!(response.status, 409, "{command} {model}");
            assert!(
                response.json()["detail"].as_str().unwrap().contains(why),
                "{model}"
            );
        }
    }
    assert_eq!(scored_by(&mut client), "behaviour@1");
    let listed = shelf.model_json(&["list"]);
    let usable: Vec<&str> = listed["models"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|model| model["usable"] == true)
        .map(|model| model["model"].as_str().unwrap())
        .collect();
    assert_eq!(usable, ["behaviour@1"], "{listed}");
    assert!(
        shelf
            .model(&["list"])
            .out
            .contains("made for other features")
    );
}

#[test]
fn a_champion_that_is_damaged_later_is_not_taken_up_and_can_be_left() {
    let shelf = Shelf::new("behaviour@1");
    shelf.put(2, |_| {});
    let keeper = shelf.site.key("keeper");
    let engine = shelf.site.start();
    let mut client = engine.client(&keeper);
    shelf.model_json(&["promote", "behaviour@2"]);
    soon_scored_by(&mut client, "behaviour@2");
    // Sound, but not the one that was promoted.
    shelf.put(2, |manifest| manifest["seed"] = json!(99));
    engine.signal("HUP");
    let faults = eventually("the reload fails", || {
        let body = client.get("/readyz");
        (body.status == 503).then(|| body.json()["policies"]["faults"].to_string())
    });
    assert!(
        faults.contains("has changed since behaviour@2 was chosen"),
        "{faults}"
    );
    assert_eq!(scored_by(&mut client), "behaviour@2", "as it was");
    // A rollback heals it, with nothing more to be done.
    shelf.model_json(&["rollback"]);
    soon_scored_by(&mut client, "behaviour@1");
    eventually("it is ready", || {
        (engine.client("").get("/readyz").status == 200).then_some(())
    });
    shelf.put(2, |_| {});
    shelf.model_json(&["promote", "behaviour@2"]);
    shelf.put(2, |manifest| manifest["seed"] = json!(99));
    drop(client);
    engine.stop();
    let ran = run(shelf.site.command().arg("serve"));
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.err.contains("portreeve model rollback"), "{ran:?}");
    assert_eq!(run(shelf.site.command().arg("check")).status, Some(1));
    assert_eq!(shelf.model_json(&["rollback"])["model"], "behaviour@1");
    let engine = shelf.site.start();
    assert_eq!(scored_by(&mut engine.client(&keeper)), "behaviour@1");

    // While one that cannot be used is chosen behind its back, the old one goes on.
    shelf.put(2, |_| {});
    shelf.model_json(&["promote", "behaviour@2"]);
    soon_scored_by(&mut engine.client(&keeper), "behaviour@2");
    fs::write(shelf.folder(1).join("forest.bin"), b"nothing").unwrap();
    let ran = shelf.model(&["rollback"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.err.contains("damaged"), "{ran:?}");
    assert_eq!(scored_by(&mut engine.client(&keeper)), "behaviour@2");
}

/// A margin in figures, as manifests have them.
/// Takes something off a figure.
fn worsen(manifest: &mut Value, name: &str, by: f64) {
    let metrics = manifest["metrics"].as_array().unwrap();
    let metric = metrics
        .iter()
        .find(|metric| metric["name"] == name)
        .unwrap();
    let value = metric["value"].as_f64().unwrap();
    set(manifest, name, value - by);
}

fn set(manifest: &mut Value, name: &str, value: f64) {
    let metrics = manifest["metrics"].as_array_mut().unwrap();
    let metric = metrics.iter_mut().find(|metric| metric["name"] == name);
    metric.unwrap()["value"] = json!(value);
}

#[test]
fn a_worse_model_is_refused_unless_somebody_says_why() {
    let shelf = Shelf::new("behaviour@1");
    let attack = "attack.takeover.at_or_above_60";
    shelf.put(2, |manifest| worsen(manifest, attack, 0.3));
    shelf.put(3, |manifest| worsen(manifest, attack, 0.015));
    shelf.put(4, |manifest| {
        set(manifest, "ordinary.at_or_above_80", 0.001)
    });
    shelf.put(5, |manifest| manifest["metrics"] = json!([]));
    for (model, why) in [
        ("behaviour@2", "attack.takeover.at_or_above_60: "),
        ("behaviour@4", "ordinary.at_or_above_80"),
        ("behaviour@5", "not measured on attack.bulk-download"),
    ] {
        let ran = shelf.model(&["promote", model]);
        assert_eq!(ran.status, Some(1), "{ran:?}");
        assert!(
            ran.err.contains(why) && ran.err.contains("--events"),
            "{ran:?}"
        );
        assert_eq!(shelf.champion(), "behaviour@1");
    }
    assert_eq!(
        shelf.model(&["promote", "behaviour@2", "--force"]).status,
        Some(2),
        "no reason"
    );
    let blank = ["promote", "behaviour@2", "--force", "--reason", " "];
    assert_eq!(shelf.model(&blank).status, Some(2), "no reason either");
    let strict = ["promote", "behaviour@3", "--margin", "0"];
    assert_eq!(shelf.model(&strict).status, Some(1), "no margin");
    shelf.model_json(&["promote", "behaviour@3"]);
    assert_eq!(shelf.champion(), "behaviour@3", "within the margin");

    let forced = [
        "promote",
        "behaviour@2",
        "--force",
        "--reason",
        "the old one is too loud",
    ];
    let done = shelf.model_json(&forced);
    assert!(done["overruled"].to_string().contains("takeover"), "{done}");
    let act = shelf.model_json(&["list"])["history"][0].clone();
    assert_eq!(act["act"], "promote");
    assert_eq!(act["forced"], true);
    assert_eq!(act["reason"], "the old one is too loud");
    assert_eq!(act["previous"], "behaviour@3");
}

#[test]
fn only_keepers_choose_models() {
    let shelf = Shelf::new("behaviour@1");
    shelf.put(2, |_| {});
    let roles = ["gateway", "author", "operator", "keeper", "admin"];
    let keys = roles.map(|role| (role, shelf.site.key(role)));
    let engine = shelf.site.start();
    for (role, key) in keys {
        let mut client = engine.client(&key);
        let chooses = ["keeper", "admin"].contains(&role);
        let reads = chooses || role == "operator";
        assert_eq!(
            client.get("/v1/models").status,
            if reads { 200 } else { 403 },
            "{role}"
        );
        for (path, body) in [
            ("promote", json!({ "model": "behaviour@2" })),
            ("shadow", json!({ "model": "behaviour@1" })),
            ("shadow", json!({ "model": null })),
            ("rollback", json!({ "reason": "trial" })),
        ] {
            let status = client.post(&format!("/v1/models/{path}"), &body).status;
            assert_eq!(status, if chooses { 200 } else { 403 }, "{role} {path}");
        }
        if chooses {
            for (path, body) in [
                ("promote", json!({})),
                ("promote", json!(["behaviour@2"])),
                ("shadow", json!(["behaviour@2"])),
                ("rollback", json!(["trial"])),
                ("promote", json!({ "model": "behaviour@2", "force": true })),
                ("promote", json!({ "model": "behaviour@2", "forced": true })),
                ("shadow", json!({})),
                ("rollback", json!([1])),
            ] {
                let status = client.post(&format!("/v1/models/{path}"), &body).status;
                assert_eq!(status, 400, "{role} {path} {body}");
            }
        }
    }
    assert_eq!(engine.client("").get("/v1/models").status, 401);
}

#[test]
fn training_does_not_change_what_scores_and_a_promotion_goes_over_the_settings() {
    let shelf = Shelf::new("behaviour");
    let keeper = shelf.site.key("keeper");
    let starts_with = |model: &str| {
        let engine = shelf.site.start();
        assert_eq!(scored_by(&mut engine.client(&keeper)), model);
        engine.stop();
        let champion = shelf.model_json(&["list"])["champion"].clone();
        assert_eq!(champion["model"], model);
        champion["source"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        shelf.champion(),
        "behaviour@1",
        "what a first start would take"
    );
    assert_eq!(starts_with("behaviour@1"), "settings");
    shelf.put(2, |_| {});
    assert_eq!(starts_with("behaviour@1"), "settings");
    shelf.set_champion("behaviour@2");
    assert_eq!(starts_with("behaviour@2"), "settings");
    shelf.put(3, |_| {});
    shelf.model_json(&["promote", "behaviour@3"]);
    assert_eq!(starts_with("behaviour@3"), "promotion");
    shelf.set_champion("behaviour@1");
    assert_eq!(
        starts_with("behaviour@3"),
        "promotion",
        "until it is taken back"
    );
    shelf.model_json(&["rollback"]);
    assert_eq!(starts_with("behaviour@1"), "settings");
    // A name without a version is settled anew when what it stood for does not fit any more.
    shelf.set_champion("behaviour");
    assert_eq!(starts_with("behaviour@3"), "settings", "the newest");
    shelf.put(3, |manifest| {
        manifest["feature_hash"] = json!("11".repeat(32))
    });
    fs::remove_dir_all(shelf.folder(3)).unwrap();
    assert_eq!(starts_with("behaviour@2"), "settings");
}
