//! The folder beside what is published: taken up, refused, overtaken.

use super::*;

#[test]
fn the_folder_is_taken_up_when_it_has_changed_and_a_slip_in_it_is_no_outage() {
    let (site, policies) = site();
    let engine = start(&site, &policies);
    let mut client = engine.client(&site.key("admin"));
    publish(&mut client, "mfa");
    assert_eq!(outcome(&mut client), "mfa");
    // Nothing has changed there: what is published goes on.
    engine.signal("HUP");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(outcome(&mut client), "mfa");

    fs::write(policies.join("own.cedar"), "permit (").unwrap();
    let told = eventually("the slip shows", || {
        let response = client.get("/readyz");
        (response.status == 503).then(|| response.json())
    });
    assert!(
        told["policies"]["faults"].to_string().contains("own.cedar"),
        "{told}"
    );
    assert_eq!(outcome(&mut client), "mfa", "the old set decides");
    let page = String::from_utf8(client.get("/metrics").body).unwrap();
    assert!(page.contains("portreeve_reload_failures_total 1"), "{page}");
    let shown = client.get("/v1/policies").json();
    assert!(
        shown["refused"]["why"].to_string().contains("own.cedar"),
        "{shown}"
    );

    // Put right as it was: nothing new. Another content: that is newer than what is published.
    write(&policies, &set("allow"));
    eventually("it is ready", || {
        (client.get("/readyz").status == 200).then_some(())
    });
    assert_eq!(outcome(&mut client), "mfa");
    write(&policies, &set("deny"));
    eventually("the folder decides", || {
        (outcome(&mut client) == "deny").then_some(())
    });
    assert_eq!(
        client.get("/v1/policies").json()["live"]["source"],
        "folder"
    );
    let kinds: Vec<String> = acts(&mut client).into_iter().map(|(act, _)| act).collect();
    assert_eq!(
        kinds,
        ["folder", "published", "refused", "folder", "folder"]
    );

    // What is published while the folder holds nonsense ends the fault.
    fs::write(policies.join("own.cedar"), "permit (").unwrap();
    eventually("the slip shows", || {
        (client.get("/readyz").status == 503).then_some(())
    });
    publish(&mut client, "allow");
    assert_eq!(client.get("/readyz").status, 200);
    assert_eq!(outcome(&mut client), "allow");
}

#[test]
fn a_published_set_survives_a_kill_until_the_folder_is_changed() {
    let (site, policies) = site();
    let key = site.key("admin");
    let mut engine = start(&site, &policies);
    let mut client = engine.client(&key);
    let denying = publish(&mut client, "deny");
    engine.signal("KILL");
    engine.wait();

    let mut engine = start(&site, &policies);
    let mut client = engine.client(&key);
    assert_eq!(
        client.get("/v1/policies").json()["live"]["revision"],
        denying.as_str()
    );
    assert_eq!(outcome(&mut client), "deny");
    let shadowed = send(
        &mut client,
        "PUT",
        "/v1/policies/shadow",
        &body(&set("mfa"), "try"),
    );
    assert_eq!(shadowed.status, 200, "{}", shadowed.json());
    engine.signal("KILL");
    engine.wait();

    // The shadow survives as well. Somebody changes the folder while the engine is down.
    let engine = start(&site, &policies);
    let shown = engine.client(&key).get("/v1/policies").json();
    assert_eq!(
        shown["shadow"]["revision"],
        shadowed.json()["revision"],
        "{shown}"
    );
    engine.stop();
    let mut changed = set("allow");
    changed["more.cedar"] = json!("@id(\"more\") permit (principal, action, resource);");
    write(&policies, &changed);
    let engine = start(&site, &policies);
    assert_eq!(outcome(&mut engine.client(&key)), "allow");
    let log = engine.stop();
    assert!(
        log.contains("has changed while the engine was down"),
        "{log}"
    );

    // A slip while it is down is no outage either.
    fs::write(policies.join("more.cedar"), "permit (").unwrap();
    let engine = start(&site, &policies);
    let mut client = engine.client(&key);
    assert_eq!(outcome(&mut client), "allow");
    let told = client.get("/readyz");
    assert_eq!(
        (told.status, &told.json()["status"]),
        (503, &json!("degraded"))
    );
    let log = engine.stop();
    assert!(log.contains("more.cedar"), "{log}");
}
