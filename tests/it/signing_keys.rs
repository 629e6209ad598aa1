//! Signing keys of the real engine: published, rotated while requests go on, encrypted at rest.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Client, Site, alice_reads, eventually, run};

fn published(client: &mut Client) -> BTreeSet<String> {
    let response = client.get("/.well-known/jwks.json");
    assert_eq!(response.status, 200);
    let keys = response.json();
    let keys = keys["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

/// A token for alice's handbook, and the header of it.
fn header_of_token(client: &mut Client) -> Value {
    let mut question = alice_reads();
    question["context"]["token"] = json!({"audience": "https://docs.example"});
    let answer = client.ask(&question);
    let token = answer["context"]["token"]["access_token"].as_str();
    let token = token.unwrap_or_else(|| panic!("{answer}"));
    let header = token.split('.').next().unwrap();
    let header = data_encoding::BASE64URL_NOPAD
        .decode(header.as_bytes())
        .unwrap();
    serde_json::from_slice(&header).unwrap()
}

fn command(site: &Site, arguments: &[&str]) -> Value {
    let ran = run(site
        .command()
        .args(["signing-keys"])
        .args(arguments)
        .arg("--json"));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

fn kek(site: &Site) -> PathBuf {
    let path = site.folder.path().join("kek");
    let bytes: Vec<u8> = (0..32_u32)
        .map(|i| (i * i * 7 + i * 91 + 5) as u8)
        .collect();
    std::fs::write(&path, data_encoding::BASE64.encode(&bytes)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn k1_t23_t31_the_key_set_is_cached_and_asked_for_again() {
    let site = Site::new();
    let engine = site.start();
    let mut nobody = engine.client("");
    let first = nobody.get("/.well-known/jwks.json");
    assert_eq!(first.status, 200);
    assert_eq!(
        first.header("content-type"),
        Some("application/jwk-set+json")
    );
    assert_eq!(first.header("cache-control"), Some("public, max-age=300"));
    let tag = first.header("etag").unwrap().to_owned();
    assert!(token::keys::admit_jwks(std::str::from_utf8(&first.body).unwrap()).is_ok());
    for (asked, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"other\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
        (tag.trim_matches('"').to_owned(), 200),
    ] {
        let headers = [("If-None-Match", &*asked)];
        let again = nobody.send("GET", "/.well-known/jwks.json", &headers, b"");
        assert_eq!(again.status, status, "{asked}");
        assert_eq!(again.header("etag"), Some(&*tag));
        assert_eq!(again.body.is_empty(), status == 304);
    }
}

#[test]
fn k2_k3_j9_no_request_fails_across_a_rotation() {
    let site = Site::new();
    let key = site.key("gateway");
    let engine = site.start();
    let mut client = engine.client(&key);
    let before = header_of_token(&mut client);
    assert_eq!(before["alg"], "ES256");
    let old = before["kid"].as_str().unwrap().to_owned();
    assert_eq!(published(&mut client), [old.clone()].into());

    // Published before it signs, within a second, and for the list.
    let rotation = command(&site, &["rotate"]);
    let new = rotation["kid"].as_str().unwrap().to_owned();
    eventually("the next key is published", || {
        published(&mut client).contains(&new).then_some(())
    });
    assert_eq!(header_of_token(&mut client)["kid"], *old);
    let again = command(&site, &["rotate"]);
    assert_eq!(
        (&again["kid"], &again["is_new"]),
        (&rotation["kid"], &json!(false))
    );

    // At once, under requests: every one has a token of one of the two, and both are published.
    let both: BTreeSet<String> = [old.clone(), new.clone()].into();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            let mut client = engine.client(&key);
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let kid = header_of_token(&mut client)["kid"].clone();
                assert!(both.contains(kid.as_str().unwrap()));
                assert_eq!(published(&mut client), both);
                asked += 1;
            }
            asked
        });
        assert_eq!(command(&site, &["rotate", "--now"])["kid"], *new);
        eventually("the new key signs", || {
            (header_of_token(&mut client)["kid"] == *new).then_some(())
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(asking.join().unwrap() > 0);
    });
    let list = command(&site, &["list"]);
    let states: Vec<(&str, &str)> = list["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| (key["kid"].as_str().unwrap(), key["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, [(&*old, "verifies"), (&*new, "signs")]);

    // It is on record, with who did it.
    eventually("the rotation is on record", || {
        let ran = run(site
            .command()
            .args(["audit", "tail", "-n", "100000", "--json"]));
        let acts: Vec<Value> = ran
            .out
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|record| record["kind"] == "signing_key" && record["kid"] == *new)
            .collect();
        let word = |act: &str| acts.iter().find(|record| record["act"] == act).cloned();
        let (made, signs) = (word("made")?, word("signs")?);
        assert!(made["by"].as_str().unwrap().starts_with("os:"), "{made}");
        assert_eq!(signs["algorithm"], "ES256");
        Some(())
    });
    // And holds after a stop, with the engine down, and after a start.
    engine.stop();
    let down = command(&site, &["rotate", "--now"]);
    let engine = site.start();
    let mut client = engine.client(&key);
    assert_eq!(header_of_token(&mut client)["kid"], down["kid"]);
    assert_eq!(published(&mut client).len(), 3);
    let told = run(site.command().args(["audit", "tail", "-n", "5"]));
    assert!(told.out.contains("signing key"), "{told:?}");
}

#[test]
fn t1_other_algorithms_are_settings_and_taken_up_as_a_rotation_is() {
    let site = Site::with("[tokens]\nalgorithm = \"EdDSA\"\n");
    let key = site.key("gateway");
    let engine = site.start();
    assert_eq!(header_of_token(&mut engine.client(&key))["alg"], "EdDSA");
    engine.stop();
    let mut command = site.command();
    command.env("PORTREEVE_TOKENS__ALGORITHM", "RS256");
    let engine = crate::harness::Engine::start(&mut command);
    let mut client = engine.client(&key);
    assert_eq!(header_of_token(&mut client)["alg"], "EdDSA");
    assert_eq!(published(&mut client).len(), 2, "the next one is published");
    let hasten = run(site
        .command()
        .env("PORTREEVE_TOKENS__ALGORITHM", "RS256")
        .args(["signing-keys", "rotate", "--now"]));
    assert_eq!(hasten.status, Some(0), "{hasten:?}");
    eventually("it signs", || {
        (header_of_token(&mut client)["alg"] == "RS256").then_some(())
    });
}

#[test]
fn j2_keys_are_encrypted_at_rest_with_a_key_that_is_good_enough() {
    let site = Site::new();
    let engine = site.start();
    let kids = published(&mut engine.client(""));
    engine.stop();
    let secrets = || -> Vec<String> {
        let folder = std::fs::read_dir(site.data().join("signing-keys")).unwrap();
        folder
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect()
    };
    assert!(secrets().iter().all(|text| text.contains("\"private\"")));
    let kek = kek(&site);
    let with = |kek: &PathBuf| {
        let mut command = site.command();
        command.env("PORTREEVE_TOKENS__KEY_ENCRYPTION_KEY_FILE", kek);
        command
    };
    let engine = crate::harness::Engine::start(&mut with(&kek));
    assert_eq!(published(&mut engine.client("")), kids, "the same keys");
    engine.stop();
    assert!(secrets().iter().all(|text| !text.contains("\"private\"")));
    // Without it, with one that others may read, or a weak one, nothing starts.
    let none = run(site.command().arg("serve"));
    assert_eq!(none.status, Some(2));
    assert!(none.err.contains("key_encryption_key_file"), "{none:?}");
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = run(with(&kek).arg("serve"));
    assert!(
        open.status == Some(2) && open.err.contains("chmod 600"),
        "{open:?}"
    );
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&kek, "secret-key-").unwrap();
    let weak = run(with(&kek).arg("serve"));
    assert!(
        weak.status == Some(2) && weak.err.contains("32 bytes"),
        "{weak:?}"
    );
    assert!(!weak.err.contains("secret-key-"), "{weak:?}");
    let checked = run(with(&kek).arg("check"));
    assert_eq!(checked.status, Some(1), "{checked:?}");
}
