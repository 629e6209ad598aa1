//! Address databases: MaxMind's own, broken ones, and the project's.

use std::fs;

use serde_json::Value;

use crate::harness::{Engine, Site, alice_reads, eventually, root, run, shared};

fn lookup(site: &Site, database: &std::path::Path, address: &str) -> Option<Value> {
    let mut command = site.command();
    command
        .args(["geo", "lookup", address, "--json", "--database"])
        .arg(database);
    let ran = run(&mut command);
    (ran.status == Some(0)).then(|| serde_json::from_str(&ran.out).unwrap())
}

#[test]
fn maxminds_test_databases_are_read() {
    let Some(folder) = shared("mmdb") else { return };
    let site = Site::new();
    let city = folder.join("GeoIP2-City-Test.mmdb");
    let london = lookup(&site, &city, "81.2.69.160").unwrap();
    assert_eq!(
        (&london["city"], &london["country"]),
        (&"London".into(), &"GB".into())
    );
    assert_eq!(london["accuracy_radius_km"], 100.0);
    let mapped = lookup(&site, &city, "::ffff:81.2.69.160").unwrap();
    assert_eq!(mapped["city"], "London", "IPv4-mapped is IPv4");
    let no_city = lookup(&site, &city, "216.160.83.64").unwrap();
    assert_eq!(
        (&no_city["city"], &no_city["accuracy_radius_km"]),
        (&Value::Null, &1000.0.into())
    );
    let anonymous = folder.join("GeoIP2-Anonymous-IP-Test.mmdb");
    for (address, flag) in [
        ("71.160.223.1", "hosting"),
        ("186.30.236.1", "public proxy"),
        ("65.0.0.1", "tor"),
        ("81.2.69.1", "vpn"),
    ] {
        let found = lookup(&site, &anonymous, address).unwrap();
        assert!(
            found["flags"].as_array().unwrap().contains(&flag.into()),
            "{address} {found}"
        );
    }
    let asn = lookup(&site, &folder.join("GeoLite2-ASN-Test.mmdb"), "1.128.0.1").unwrap();
    assert_eq!(asn["asn"], 1221);
    for name in [
        "GeoLite2-City-Test",
        "GeoIP2-Enterprise-Test",
        "GeoIP2-Country-Test",
        "GeoIP2-ISP-Test",
    ] {
        assert!(
            lookup(&site, &folder.join(format!("{name}.mmdb")), "81.2.69.160").is_some(),
            "{name}"
        );
    }
    assert!(
        lookup(&site, &city, "127.0.0.1").is_none(),
        "nothing is known of it"
    );
}

#[test]
fn broken_databases_are_refused_with_a_word_and_never_a_panic() {
    let Some(folder) = shared("mmdb/bad-data") else {
        return;
    };
    let site = Site::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut command = site.command();
        command
            .args(["geo", "lookup", "81.2.69.160", "--database"])
            .arg(&path);
        let ran = run(&mut command);
        assert_eq!(ran.status, Some(2), "{}: {ran:?}", path.display());
        assert!(
            ran.err.contains("not a sound MaxMind database"),
            "{}",
            ran.err
        );
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        count += 1;
    }
    assert!(count >= 15, "{count}");
}

#[test]
fn a_database_that_breaks_leaves_the_old_one_in_place() {
    let Some(bad) = shared("mmdb/bad-data/unexpected-bytes.mmdb") else {
        return;
    };
    let site = Site::new();
    let key = site.key("admin");
    let own = site.folder.path().join("own.mmdb");
    fs::copy(root().join("data/geo/demo.mmdb"), &own).unwrap();
    let engine = Engine::start(site.command().env("PORTREEVE_GEO__CITY", &own));
    let country = || {
        let mut client = engine.client(&key);
        let id = client.ask(&alice_reads())["context"]["decision_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let record = eventually("the record is drained", || {
            let response = client.get(&format!("/v1/decisions/{id}"));
            (response.status == 200).then(|| response.json())
        });
        record["facts"]["network"]["country"].clone()
    };
    assert_eq!(country(), "FR");
    // In place, as a careless copy would: the open database must not notice.
    fs::copy(&bad, &own).unwrap();
    assert_eq!(country(), "FR");
    engine.signal("HUP");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(country(), "FR");
    let log = engine.stop();
    assert!(log.contains("not a sound MaxMind database"), "{log}");
}

#[test]
fn the_shipped_database_is_the_one_its_source_builds() {
    let site = Site::new();
    let out = site.folder.path().join("built.mmdb");
    let mut command = site.command();
    command
        .args(["geo", "build", "data/geo/demo.toml", "--out"])
        .arg(&out);
    let ran = run(&mut command);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(
        fs::read(out).unwrap(),
        fs::read(root().join("data/geo/demo.mmdb")).unwrap()
    );
    let found = lookup(&site, &root().join("data/geo/demo.mmdb"), "198.51.100.100").unwrap();
    assert_eq!(
        (&found["city"], &found["asn"]),
        (&"Amsterdam".into(), &64505.into())
    );
    assert!(lookup(&site, &root().join("data/geo/demo.mmdb"), "8.8.8.8").is_none());
}

#[test]
fn a_source_with_a_fault_is_refused_with_its_place() {
    let site = Site::new();
    let source = site.folder.path().join("offices.toml");
    let network = "[[network]]\nrange = \"10.0.0.0/8\"\n";
    for (text, said) in [
        (
            "[[network]]\nrange = \"10.0.0.0/33\"\n".to_owned(),
            "line 2",
        ),
        (
            format!("{network}place = \"atlantis\"\n"),
            "no place.atlantis",
        ),
        (format!("{network}flags = [\"spooky\"]\n"), "spooky"),
        (
            "[place.x]\ncity = \"X\"\ncountry = \"FRA\"\nlatitude = 0\nlongitude = 0\n".to_owned(),
            "two-letter",
        ),
        (format!("{network}colour = \"red\"\n"), "colour"),
        (String::new(), "no [[network]]"),
    ] {
        fs::write(&source, &text).unwrap();
        let mut command = site.command();
        command
            .args(["geo", "build"])
            .arg(&source)
            .arg("--out")
            .arg(site.folder.path().join("x"));
        let ran = run(&mut command);
        assert_eq!(ran.status, Some(1), "{text}: {ran:?}");
        assert!(ran.err.contains(said), "{text}: {}", ran.err);
    }
}
