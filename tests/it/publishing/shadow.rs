//! The set in the shadow, and sets that change under load.

use super::*;

#[test]
fn a_candidate_is_counted_sampled_and_never_heard() {
    let (site, policies) = site();
    let engine = start(&site, &policies);
    let mut client = engine.client(&site.key("admin"));
    assert_eq!(
        because(&mut client, "POST", "/v1/policies/promote").status,
        409
    );
    let same = send(
        &mut client,
        "PUT",
        "/v1/policies/shadow",
        &body(&set("allow"), "same"),
    );
    assert_eq!(same.status, 409);
    let done = send(
        &mut client,
        "PUT",
        "/v1/policies/shadow",
        &body(&set("deny"), "try it"),
    );
    assert_eq!(done.status, 200, "{}", done.json());
    let candidate = done.json()["revision"].as_str().unwrap().to_owned();
    for _ in 0..200 {
        assert_eq!(outcome(&mut client), "allow");
    }
    // Questions are not compared.
    let mut question = alice_reads();
    question["context"]["dry_run"] = json!(true);
    client.ask(&question);
    let shown = client.get("/v1/policies").json();
    let shadow = &shown["shadow"];
    assert_eq!(
        (&shadow["compared"], &shadow["differing"]),
        (&json!(200), &json!(200))
    );
    assert_eq!(
        shadow["outcomes"],
        json!([{ "live": "allow", "shadow": "deny", "count": 200 }])
    );
    assert_eq!(shadow["examples"].as_array().unwrap().len(), 20);
    let page = String::from_utf8(client.get("/metrics").body).unwrap();
    let line = format!(
        "portreeve_policy_shadow_compared_total{{candidate=\"{candidate}\",agrees=\"no\",\
         live=\"allow\",shadow=\"deny\"}} 200"
    );
    assert!(page.contains(&line), "{page}");
    let ran = run(site
        .command()
        .args(["audit", "tail", "-n", "1000", "--json"]));
    let sampled: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["shadow"].is_object())
        .collect();
    // One in sixteen, by chance: none of 200 would be a wonder of one in 400,000.
    assert!(
        !sampled.is_empty() && sampled.len() < 60,
        "{}",
        sampled.len()
    );
    for record in sampled {
        assert_eq!(
            record["shadow"],
            json!({ "revision": candidate, "outcome": "deny" })
        );
        assert_eq!(record["outcome"], "allow");
    }

    let promoted = because(&mut client, "POST", "/v1/policies/promote");
    assert_eq!(
        (promoted.status, &promoted.json()["live"]),
        (200, &json!(candidate))
    );
    assert_eq!(outcome(&mut client), "deny");
    assert_eq!(client.get("/v1/policies").json()["shadow"], Value::Null);
    assert_eq!(
        because(&mut client, "DELETE", "/v1/policies/shadow").status,
        409
    );
    send(
        &mut client,
        "PUT",
        "/v1/policies/shadow",
        &body(&set("mfa"), "another"),
    );
    assert_eq!(
        because(&mut client, "DELETE", "/v1/policies/shadow").status,
        200
    );
    let page = String::from_utf8(client.get("/metrics").body).unwrap();
    assert!(
        !page.contains("portreeve_policy_shadow_compared_total{"),
        "{page}"
    );
    let kinds: Vec<String> = acts(&mut client).into_iter().map(|(act, _)| act).collect();
    assert_eq!(
        kinds,
        ["folder", "shadowed", "promoted", "shadowed", "dropped"]
    );
}

#[test]
fn every_record_matches_the_outcome_of_its_own_revision() {
    let (site, policies) = site();
    let engine = start(&site, &policies);
    let key = site.key("admin");
    let mut swapping = engine.client(&key);
    let revisions: BTreeMap<String, &str> = ["deny", "mfa", "allow"]
        .map(|rule| (publish(&mut swapping, rule), rule))
        .into();
    let ids: BTreeSet<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| {
                let mut client = engine.client(&key);
                scope.spawn(move || {
                    let mut ids = Vec::new();
                    for _ in 0..250 {
                        let context = client.ask(&alice_reads())["context"].clone();
                        ids.push(context["decision_id"].as_str().unwrap().to_owned());
                    }
                    ids
                })
            })
            .collect();
        let mut rules = ["deny", "mfa", "allow"].into_iter().cycle();
        while asking.iter().any(|asking| !asking.is_finished()) {
            publish(&mut swapping, rules.next().unwrap());
        }
        asking
            .into_iter()
            .flat_map(|asking| asking.join().unwrap())
            .collect()
    });
    assert_eq!(ids.len(), 1000);
    let ran = run(site
        .command()
        .args(["audit", "tail", "-n", "5000", "--json"]));
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for line in ran.out.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["decision_id"]
            .as_str()
            .is_some_and(|id| ids.contains(id))
        {
            let revision = record["revisions"]["policies"].as_str().unwrap();
            assert_eq!(record["outcome"], revisions[revision], "{record}");
            *seen.entry(revisions[revision]).or_default() += 1;
        }
    }
    assert_eq!(seen.values().sum::<usize>(), 1000, "{seen:?}");
    assert!(seen.len() >= 2, "nothing was swapped meanwhile: {seen:?}");
}
