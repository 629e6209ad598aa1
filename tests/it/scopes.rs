//! Scopes are narrowed by the same policies that decide.

use serde_json::json;

use crate::harness::{Site, alice_reads};

/// L2: from outside the organisation's network the same question gets a narrower token.
#[test]
fn l2_another_network_narrows_what_a_token_may_do() {
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "own.cedarschema",
        r#"entity User;
           @audience("https://docs.example") entity Document;
           action read, write appliesTo {
               principal: [User], resource: [Document], context: { network: { ip?: ipaddr } } };"#,
    );
    write(
        "own.cedar",
        r#"@id("all") permit (principal, action, resource);
           @id("write-at-work") forbid (principal, action == Action::"write", resource)
           unless { context.network has ip && context.network.ip.isInRange(ip("10.0.0.0/8")) };"#,
    );
    let site = Site::with(&format!("[policies]\ndir = {:?}\n", folder.path()));
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    for (ip, scope) in [("10.10.4.7", "read write"), ("192.0.2.7", "read")] {
        let mut question = alice_reads();
        question["context"]["ip"] = json!(ip);
        question["context"]["token"] =
            json!({ "audience": "https://docs.example", "scope": "read write" });
        let answer = client.ask(&question);
        assert_eq!(answer["context"]["token"]["scope"], scope, "{ip}: {answer}");
    }
}
