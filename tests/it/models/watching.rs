//! What models do: measured on the same events, compared on live traffic, drifting.

use serde_json::{Value, json};

use super::*;

#[test]
fn both_are_measured_on_the_same_events_when_there_are_some() {
    let shelf = Shelf::new("behaviour@1");
    // What its manifest says of itself does not count then.
    shelf.put(2, |manifest| manifest["metrics"] = json!([]));
    shelf.put_trained(3);
    let events = trained().few();
    let with_events = |model| shelf.model(&["promote", model, "--events", &events]);
    assert_eq!(
        with_events("behaviour@2").status,
        Some(0),
        "the same forest"
    );
    let ran = with_events("behaviour@3");
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(
        ran.err
            .contains("would do worse than the champion behaviour@2"),
        "{ran:?}"
    );

    let compared = shelf.model_json(&[
        "compare",
        "behaviour@1",
        "behaviour@3",
        "--events",
        &events,
        "--examples",
        "4",
    ]);
    assert_eq!(compared["models"], json!(["behaviour@1", "behaviour@3"]));
    let (agree, all) = (
        compared["agree"].as_u64().unwrap(),
        compared["events"].as_u64().unwrap(),
    );
    assert!(0 < agree && agree < all, "{agree} of {all}");
    let kinds = compared["kinds"].as_array().unwrap();
    let sum: u64 = kinds
        .iter()
        .map(|kind| kind["events"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, all);
    assert!(kinds.iter().any(|kind| kind["kind"] == "ordinary"));
    let examples = compared["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 4);
    for example in examples {
        assert!(example["event"]["subject"]["id"].is_string(), "{example}");
        let [first, second] = [0, 1].map(|side| &example["scores"][side]);
        assert_ne!(first["level"], second["level"], "{example}");
        for side in [first, second] {
            assert!(!side["factors"].as_array().unwrap().is_empty(), "{example}");
            assert!(side["score"].as_u64().unwrap() <= 100);
        }
    }
    let same = ["compare", "behaviour@1", "behaviour@2", "--events", &events];
    let same = shelf.model_json(&same);
    assert_eq!(
        (&same["agree"], &same["examples"]),
        (&same["events"], &json!([]))
    );
    let ran = shelf.model(&["compare", "behaviour@1", "behaviour@3", "--events", &events]);
    assert!(
        ran.out.contains("alike") && ran.out.contains("behaviour@3:"),
        "{}",
        ran.out
    );
}

#[test]
fn a_challenger_is_counted_and_never_heard() {
    let shelf = Shelf::new("behaviour@1");
    shelf.put_trained(2);
    let keeper = shelf.site.key("keeper");
    let engine = shelf.site.start();
    let mut client = engine.client(&keeper);
    assert!(!metrics(&engine).contains("portreeve_shadow_compared_total{"));
    shelf.model_json(&["shadow", "behaviour@2"]);
    eventually("the challenger is at work", || {
        metrics(&engine)
            .contains("portreeve_model{role=\"challenger\",model=\"behaviour@2\"} 1")
            .then_some(())
    });
    let mut strange = alice_reads();
    strange["context"]["ip"] = json!("203.0.113.9");
    for _ in 0..10 {
        for question in [&alice_reads(), &strange] {
            let answer = client.ask(question);
            assert_eq!(answer["context"]["risk"]["model"], "behaviour@1");
        }
    }
    // What is no access is not compared.
    let mut dry = alice_reads();
    dry["context"]["dry_run"] = json!(true);
    client.ask(&dry);
    let listed = client.get("/v1/models").json();
    let challenger = &listed["challenger"];
    assert_eq!(challenger["model"], "behaviour@2", "{listed}");
    assert_eq!(challenger["compared"], 20, "{challenger}");
    let agreed = challenger["agreed"].as_u64().unwrap();
    assert!(
        agreed <= 20 && challenger["mean_distance"].as_f64().unwrap() > 0.0,
        "{challenger}"
    );

    let page = metrics(&engine);
    let value = |start: &str| -> u64 {
        page.lines()
            .filter(|line| line.starts_with(start) && line.contains("behaviour@2"))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    assert_eq!(value("portreeve_shadow_compared_total{"), 20, "{page}");
    assert_eq!(
        value("portreeve_shadow_score_difference_count{"),
        20,
        "{page}"
    );
    assert_eq!(value("portreeve_shadow_failures_total{"), 0, "{page}");
    let agrees: u64 = page
        .lines()
        .filter(|line| line.contains("agrees=\"yes\""))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(agrees, agreed);

    shelf.model_json(&["shadow", "off"]);
    eventually("the champion scores alone", || {
        let page = metrics(&engine);
        (!page.contains("behaviour@2")).then_some(())
    });
    assert_eq!(client.get("/v1/models").json()["challenger"], Value::Null);
    assert_eq!(scored_by(&mut client), "behaviour@1");
    // The champion cannot be its own challenger.
    assert_eq!(shelf.model(&["shadow", "behaviour@1"]).status, Some(1));
}

#[test]
fn traffic_unlike_the_training_is_told_by_command_metric_and_log() {
    let shelf = Shelf::new("behaviour@2");
    shelf.put_trained(2);
    let none = shelf.model(&["drift"]);
    assert_eq!(none.status, Some(2), "no decisions yet: {none:?}");
    let keeper = shelf.site.key("keeper");
    let mut engine = shelf.site.start();
    let mut client = engine.client(&keeper);
    client.ask(&alice_reads());
    eventually("one is too few", || {
        let ran = shelf.model(&["drift"]);
        (ran.status == Some(2) && ran.err.contains("1 accesses")).then_some(())
    });
    let batch = json!({ "evaluations": vec![alice_reads(); 10] });
    assert_eq!(client.post("/access/v1/evaluations", &batch).status, 200);
    // One person, one desk, one document, hundreds of times: like nobody's month.
    for _ in 1..220 {
        client.ask(&alice_reads());
    }
    let report: Value = eventually("they are drained", || {
        let ran = shelf.model(&["drift", "--json"]);
        let report: Value = serde_json::from_str(&ran.out).ok()?;
        (report["accesses"] == 220).then_some(report)
    });
    let features = report["features"].as_array().unwrap();
    let drifted: Vec<&str> = features
        .iter()
        .filter(|feature| feature["psi"].as_f64().unwrap() > 0.25)
        .map(|feature| feature["feature"].as_str().unwrap())
        .collect();
    assert!(
        !drifted.is_empty() && drifted.len() < features.len(),
        "{drifted:?}"
    );
    assert_eq!(report["drifted"], json!(drifted));
    assert_eq!(report["passed_over"]["questions"], 10);
    for feature in features {
        let (psi, verdict) = (feature["psi"].as_f64().unwrap(), &feature["verdict"]);
        let wanted = match psi {
            psi if psi < 0.1 => "stable",
            psi if psi <= 0.25 => "shifting",
            _ => "drifted",
        };
        assert_eq!(verdict, wanted, "{feature}");
    }
    let ran = shelf.model(&["drift", "--last", "200"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(
        ran.out.contains("200 accesses") && ran.err.contains("retrain"),
        "{ran:?}"
    );

    let gauge = format!("portreeve_feature_drift{{feature=\"{}\"}} ", drifted[0]);
    let live: f64 = eventually("the engine says so too", || {
        let page = metrics(&engine);
        let line = page.lines().find(|line| line.starts_with(&gauge))?;
        line.rsplit(' ').next()?.parse().ok()
    });
    assert!(live > 0.25, "{live}");
    assert_eq!(
        metrics(&engine).matches("portreeve_feature_drift{").count(),
        features.len()
    );
    drop(client);
    engine.signal("TERM");
    let (_, log) = engine.wait();
    let told = log.matches("has drifted from what the model").count();
    assert!(0 < told && told <= features.len(), "{log}");

    // A model that does not say what it was made from cannot be asked.
    shelf.put(1, |manifest| {
        manifest.as_object_mut().unwrap().remove("distribution");
    });
    let ran = shelf.model(&["drift", "behaviour@1"]);
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.err.contains("retrain"), "{ran:?}");
}
