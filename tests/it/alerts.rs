//! The alert rules that are shipped: each speaks of a metric that the engine really has.

use std::collections::BTreeSet;
use std::path::Path;

use crate::harness::{Client, Site};

/// V16, V17, O5, O6: what a rule asks for is on `/metrics` once there has been any of it.
#[test]
fn v16_v17_o5_o6_rules_ask_for_metrics_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/alerts.yml");
    let text = std::fs::read_to_string(path).unwrap();
    let rules: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    let mut asked = BTreeSet::new();
    let mut names = BTreeSet::new();
    let groups = rules["groups"].as_sequence().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_sequence().unwrap());
    for rule in rules {
        names.insert(rule["alert"].as_str().unwrap());
        assert!(rule["annotations"]["action"].is_string(), "{rule:?}");
        let expr = rule["expr"].as_str().unwrap();
        let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        asked.extend(
            words
                .filter(|word| word.starts_with("portreeve_"))
                .map(str::to_owned),
        );
    }
    assert!(names.len() >= 6 && asked.len() >= 6, "{names:?} {asked:?}");

    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let form = |client: &mut Client, path: &str, body: &str| {
        let kind = "application/x-www-form-urlencoded";
        client
            .send("POST", path, &[("content-type", kind)], body.as_bytes())
            .status
    };
    let own = format!(
        "grant_type=client_credentials&audience=http://{}&scope=evaluate",
        engine.address
    );
    assert_eq!(form(&mut client, "/oauth2/token", &own), 200);
    assert_eq!(form(&mut client, "/oauth2/introspect", "token=x"), 200);
    let exchange =
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&audience=x";
    assert_ne!(form(&mut client, "/oauth2/token", exchange), 200);
    let shown = String::from_utf8(client.get("/metrics").body).unwrap();
    for name in asked {
        let family = ["_total", "_bucket", "_count", "_sum"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(&name);
        assert!(
            shown.contains(&format!("# TYPE {family} ")),
            "{name} is not on /metrics"
        );
    }
}
