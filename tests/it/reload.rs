//! SIGHUP: what loads is swapped whole, what does not leaves the old in place.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Client, Engine, Site, alice_reads, eventually, root, run};

/// A site with policies of its own, to be changed.
fn site() -> (Site, PathBuf) {
    let site = Site::new();
    let policies = own_policies(&site);
    (site, policies)
}

/// The shipped policies, copied to where a test may change them.
pub(crate) fn own_policies(site: &Site) -> PathBuf {
    let policies = site.folder.path().join("policies");
    fs::create_dir(&policies).unwrap();
    for entry in fs::read_dir(root().join("policies")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, policies.join(path.file_name().unwrap())).unwrap();
        }
    }
    policies
}

fn start(site: &Site, policies: &std::path::Path) -> Engine {
    Engine::start(
        site.command()
            .env("PORTREEVE_POLICIES__DIR", policies)
            .env("PORTREEVE_POLICIES__WATCH", "false")
            .env("PORTREEVE_POLICIES__STALE_DENY_AFTER", "2s"),
    )
}

fn ready(engine: &Engine) -> (u16, Value) {
    let response = engine.client("").get("/readyz");
    (response.status, response.json())
}

#[test]
fn a_new_policy_counts_after_a_reload_and_a_broken_one_never_does() {
    let (site, policies) = site();
    let key = site.key("gateway");
    let engine = start(&site, &policies);
    let mut client = engine.client(&key);
    assert_eq!(client.ask(&alice_reads())["decision"], true);
    let (status, first) = ready(&engine);
    assert_eq!((status, &first["status"]), (200, &json!("ready")));

    let extra = policies.join("70-extra.cedar");
    fs::write(
        &extra,
        "@id(\"closed\") forbid (principal, action, resource);",
    )
    .unwrap();
    assert_eq!(
        client.ask(&alice_reads())["decision"],
        true,
        "not before it is told to"
    );
    engine.signal("HUP");
    eventually("the new policy counts", || {
        (client.ask(&alice_reads())["context"]["policies"] == json!(["closed"])).then_some(())
    });
    assert_ne!(
        ready(&engine).1["policies"]["revision"],
        first["policies"]["revision"]
    );

    fs::write(
        &extra,
        "@id(\"closed\") forbid (principal, action, resource) when { nonsense };",
    )
    .unwrap();
    engine.signal("HUP");
    let degraded = eventually("the failed reload shows", || {
        let (status, body) = ready(&engine);
        (status == 503).then_some(body)
    });
    assert_eq!(degraded["status"], "degraded");
    // A probe learns that something is wrong; what it is says policies and paths.
    assert_eq!(degraded["policies"]["fault_count"], 1);
    let told = degraded.to_string();
    assert!(!told.contains("extra"), "{told}");
    let faults = client.get("/readyz").json()["policies"]["faults"].to_string();
    assert!(faults.contains("70-extra.cedar:1:"), "{faults}");
    assert_eq!(
        client.ask(&alice_reads())["context"]["policies"],
        json!(["closed"]),
        "the old set"
    );
    let page = String::from_utf8(engine.client("").get("/metrics").body).unwrap();
    assert!(page.contains("portreeve_reload_failures_total 1"), "{page}");

    // A typo is no outage; only past its time does the engine deny.
    fs::remove_file(&extra).unwrap();
    fs::write(policies.join("schema.cedarschema"), "entity User").unwrap();
    engine.signal("HUP");
    eventually("what is too old denies", || {
        (client.ask(&alice_reads())["context"]["cause"] == "snapshot_stale").then_some(())
    });
    assert_eq!(ready(&engine).1["status"], "denying");
    fs::copy(
        root().join("policies/schema.cedarschema"),
        policies.join("schema.cedarschema"),
    )
    .unwrap();
    engine.signal("HUP");
    eventually("it recovers", || {
        (client.ask(&alice_reads())["decision"] == true).then_some(())
    });
    assert_eq!(ready(&engine).0, 200);
}

/// Reloads until `/readyz` says so; what it then says to a caller with a key.
fn reload_until(engine: &Engine, key: &str, status: u16) -> Value {
    engine.signal("HUP");
    eventually("the reload shows", || {
        let response = engine.client(key).get("/readyz");
        (response.status == status).then(|| response.json())
    })
}

#[test]
fn a_reload_is_whole_or_not_at_all() {
    let (site, policies) = site();
    let key = site.key("gateway");
    let own = site.folder.path().join("own.mmdb");
    let good = root().join("data/geo/demo.mmdb");
    fs::copy(&good, &own).unwrap();
    let mut command = site.command();
    command
        .env("PORTREEVE_POLICIES__DIR", &policies)
        .env("PORTREEVE_POLICIES__WATCH", "false")
        .env("PORTREEVE_GEO__CITY", &own);
    let engine = Engine::start(&mut command);
    let revision = ready(&engine).1["policies"]["revision"].clone();
    fs::write(&own, "no database").unwrap();
    fs::write(
        policies.join("70-extra.cedar"),
        "@id(\"closed\") forbid (principal, action, resource);",
    )
    .unwrap();
    let told = reload_until(&engine, &key, 503);
    let faults = told["policies"]["faults"].to_string();
    assert!(faults.contains("own.mmdb"), "{told}");
    assert_eq!(told["policies"]["revision"], revision, "the old policies");
    fs::copy(&good, &own).unwrap();
    let told = reload_until(&engine, &key, 200);
    assert_ne!(told["policies"]["revision"], revision, "both are new");
}

#[test]
fn entities_that_are_put_beside_the_policies_later_are_read() {
    let (site, policies) = site();
    let key = site.key("gateway");
    let entities = policies.join("entities.json");
    let aside = policies.join("aside");
    fs::rename(&entities, &aside).unwrap();
    let engine = start(&site, &policies);
    let mut client = engine.client(&key);
    let cause = |client: &mut Client| client.ask(&alice_reads())["context"]["cause"].clone();
    assert_eq!(cause(&mut client), "unknown_subject");
    fs::rename(&aside, &entities).unwrap();
    engine.signal("HUP");
    eventually("alice is known", || {
        (cause(&mut client) != "unknown_subject").then_some(())
    });
    // And when they are gone again, that is a fault and no organisation without people.
    fs::rename(&entities, &aside).unwrap();
    let told = reload_until(&engine, &key, 503);
    let faults = told["policies"]["faults"].to_string();
    assert!(faults.contains("entities.json"), "{told}");
    assert_ne!(cause(&mut client), "unknown_subject");
}

#[test]
fn every_decision_sees_one_revision_from_start_to_end() {
    let (site, policies) = site();
    let key = site.key("admin");
    let engine = start(&site, &policies);
    let extra = policies.join("70-extra.cedar");
    let swaps = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut client = engine.client(&key);
            let mut seen: Vec<(String, String)> = Vec::new();
            for _ in 0..400 {
                let context = client.ask(&alice_reads())["context"].clone();
                let revision = context["policy_revision"].as_str().unwrap().to_owned();
                seen.push((revision, context["policies"].to_string()));
            }
            seen
        });
        let mut number = 0;
        while !asking.is_finished() {
            number += 1;
            let open = number % 2 == 0;
            let text = if open {
                ""
            } else {
                "@id(\"closed\") forbid (principal, action, resource);"
            };
            fs::write(&extra, text).unwrap();
            engine.signal("HUP");
            std::thread::sleep(std::time::Duration::from_millis(15));
        }
        asking.join().unwrap()
    });
    let mut answers: std::collections::BTreeMap<String, std::collections::BTreeSet<String>> =
        std::collections::BTreeMap::new();
    for (revision, policies) in swaps {
        answers.entry(revision).or_default().insert(policies);
    }
    assert!(answers.len() >= 2, "nothing was swapped: {answers:?}");
    for (revision, policies) in answers {
        assert_eq!(policies.len(), 1, "{revision} gave {policies:?}");
    }
}

#[test]
fn a_callers_word_opens_nothing_that_is_stored_alone_and_check_warns_of_the_rest() {
    let (site, policies) = site();
    let key = site.key("gateway");
    // The roadmap is stored, and who owns it is not.
    let mut claim = alice_reads();
    claim["action"]["name"] = json!("download");
    claim["resource"] = json!({
        "type": "Document", "id": "roadmap",
        "properties": { "owner": { "type": "User", "id": "alice" } },
    });
    let check = |policies: &std::path::Path| {
        let mut command = site.command();
        let command = command.env("PORTREEVE_POLICIES__DIR", policies);
        let ran = run(command.args(["check", "--json"]));
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        report["warnings"].to_string()
    };
    let engine = start(&site, &policies);
    let answer = engine.client(&key).ask(&claim);
    assert_eq!(answer["context"]["cause"], "nothing_permits", "{answer}");
    let warnings = check(&policies);
    assert!(!warnings.contains("permits by"), "{warnings}");

    let path = policies.join("organisation.cedarschema");
    let schema = fs::read_to_string(&path).unwrap();
    fs::write(&path, schema.replace("@stored(\"alone\")", "@stored")).unwrap();
    let warnings = check(&policies);
    for told in [
        "`owner` permits by `resource.owner`, which 4 of 6",
        "own-department",
    ] {
        assert!(warnings.contains(told), "{warnings}");
    }
}

#[test]
fn check_names_file_line_and_what_to_do() {
    let (site, policies) = site();
    let broken = policies.join("70-extra.cedar");
    for (text, place, help) in [
        (
            "permit (principal, action, resource)\nwhen { context.risk.scoer > 3 };",
            ":2:",
            "score",
        ),
        ("permit (principal, action, resource", ":1:", ""),
        (
            "@id(\"owner\") permit (principal, action, resource);",
            ":1:1",
            "@id",
        ),
        (
            "forbid (principal, action, resource) when { principal.department == \"x\" };",
            ":1:",
            "has",
        ),
        (
            "forbid (principal, action, resource)\nunless { context.assurance has mfa_age_seconds \
             && context.assurance.mfa_age_seconds <= 5 };",
            ":2:",
            "30 seconds",
        ),
    ] {
        fs::write(&broken, text).unwrap();
        let ran = run(site
            .command()
            .env("PORTREEVE_POLICIES__DIR", &policies)
            .arg("check"));
        assert_eq!(ran.status, Some(1), "{ran:?}");
        let said = ran.out;
        assert!(
            said.contains(&format!("70-extra.cedar{place}")) && said.contains(help),
            "{said}"
        );
    }
    let engine_start = run(site
        .command()
        .env("PORTREEVE_POLICIES__DIR", &policies)
        .arg("serve"));
    assert_eq!(
        engine_start.status,
        Some(2),
        "it does not start with it either"
    );
}
