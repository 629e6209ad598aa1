//! The command line: exit statuses, messages, settings, the demo.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::Value;

use crate::harness::{BINARY, Site, root, run};

#[test]
fn the_demo_stops_five_attacks_and_lets_honest_people_work() {
    let ran = run(std::process::Command::new(BINARY)
        .current_dir(root())
        .args(["demo", "--once", "--listen", "127.0.0.1:0", "--json"]));
    assert_eq!(ran.status, Some(0), "{}\n{}", ran.out, ran.err);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let scenes = report["scenes"].as_array().unwrap();
    let attacks = scenes
        .iter()
        .filter(|scene| scene["attack"] == true)
        .count();
    assert_eq!((attacks, scenes.len()), (5, 7));
    for scene in scenes {
        assert_eq!(scene["as_it_must"], true, "{scene}");
        assert!(!scene["factors"].as_array().unwrap().is_empty(), "{scene}");
        if scene["attack"] == false {
            assert_ne!(scene["outcome"], "deny", "{scene}");
        }
    }
    let watched = &report["watched"];
    assert_eq!(watched["as_it_must"], true, "{watched}");
    assert!(watched["heard"]["events"].is_object(), "{watched}");
    let ordinary = report["ordinary"].as_object().unwrap();
    let allowed = ordinary["allow"].as_u64().unwrap();
    let all: u64 = ordinary.values().map(|count| count.as_u64().unwrap()).sum();
    assert!(allowed * 100 >= all * 97, "{report}");
}

#[test]
fn wrong_use_is_2_and_no_is_1() {
    let site = Site::new();
    for (arguments, wanted) in [
        (vec!["--help"], 0),
        (vec!["--version"], 0),
        (vec!["check"], 0),
        (vec!["fly"], 2),
        (vec!["keys", "create"], 2),
        (
            vec!["keys", "create", "--name", "x", "--role", "emperor"],
            2,
        ),
        (
            vec![
                "keys", "create", "--name", "x", "--role", "gateway", "--days", "366",
            ],
            2,
        ),
        (vec!["keys", "revoke", "sk_unknown0"], 1),
        (vec!["audit", "verify"], 2),
        (vec!["policy", "test"], 0),
        (vec!["policy", "vocabulary"], 0),
        (vec!["policy", "test", "no test of this name"], 2),
        (vec!["policy", "test", "--coverage-min", "101"], 2),
        (vec!["geo", "lookup", "not-an-address"], 2),
        (vec!["geo", "lookup", "8.8.8.8"], 1),
        (vec!["model", "card", "../../etc"], 2),
        (vec!["model", "card", "nobody"], 2),
        (vec!["model", "train", "--events", "/no/such/file"], 2),
    ] {
        let ran = run(site.command().args(&arguments));
        assert_eq!(ran.status, Some(wanted), "{arguments:?}: {ran:?}");
        if wanted == 2 {
            assert!(!ran.err.is_empty(), "{arguments:?} says nothing");
        }
    }
}

#[test]
fn settings_with_faults_are_refused_with_file_line_and_key() {
    for (text, said) in [
        ("listen = \"nowhere\"", "`listen`"),
        ("lisen = \"127.0.0.1:0\"", "line 1"),
        ("[risk]\nmodel_weight = 0.9", "together 1"),
        ("[risk]\nlevels = [60, 30, 80]", "rise"),
        ("[risk.rules]\nnew-devise = 3", "no rule"),
        ("[risk.rules]\nnew-device = 300", "0 to 100"),
        ("[risk]\ntime_zone = \"Mars/Olympus\"", "no such time zone"),
        ("[limits]\nbody_bytes = 0", "`limits.body_bytes`"),
        ("[limits]\nrequest_timeout = \"a while\"", "length of time"),
        ("[tokens]\nttl_seconds = 7200", "60 to 900"),
        ("[tokens]\nalgorithm = \"none\"", "ES256, EdDSA or RS256"),
        ("[tokens]\nalgorithm = \"HS256\"", "ES256, EdDSA or RS256"),
        // T2: a quarter of an hour at most.
        ("[tokens]\nttl_seconds = 901", "60 to 900"),
        ("[tokens]\npublish_before = \"1m\"", "300 seconds or more"),
        ("[tokens]\nrotate_every = \"90m\"", "twice"),
        ("[tokens]\nkey_encryption_key_file = \"/no/kek\"", "/no/kek"),
        ("[store]\nurl = \"postgres://db\"", "not built yet"),
        ("[redis]\nurl = \"redis://x\"", "`redis` is not built yet"),
        ("[gateway]\nx = 1", "unknown field `x`"),
        ("grpc_listen = \"8182\"", "is not ADDRESS:PORT"),
        ("public_url = \"http://pdp.example\"", "https"),
        ("public_url = \"https://pdp.example/?x\"", "public_url"),
        ("[models]\nchampion = \"../x\"", "no model"),
        ("[policies]\ndir = \"/no/such/folder\"", "policies.dir"),
        ("[geo]\ncity = \"/no/such.mmdb\"", "/no/such.mmdb"),
        ("= 3", "line 1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("portreeve.toml");
        std::fs::write(&config, text).unwrap();
        let ran = run(crate::harness::portreeve(&config).arg("check"));
        assert!(matches!(ran.status, Some(1 | 2)), "{text}: {ran:?}");
        let all = format!("{}{}", ran.out, ran.err);
        assert!(all.contains(said), "{text}: {all}");
    }
    let missing = run(crate::harness::portreeve("/no/such.toml".as_ref()).arg("check"));
    assert_eq!(missing.status, Some(2));
}

#[test]
fn the_environment_overrides_the_file_and_its_faults_are_named() {
    let site = Site::new();
    let check = |name: &str, value: &str| run(site.command().env(name, value).arg("check"));
    assert_eq!(check("PORTREEVE_RISK__MODEL_WEIGHT", "0.7").status, Some(0));
    let half = check("PORTREEVE_RISK__MODEL_WEIGHT", "0.5");
    assert!(half.err.contains("together 1"), "{half:?}");
    let unknown = check("PORTREEVE_RISK__COLOUR", "red");
    assert!(
        unknown.err.contains("PORTREEVE_RISK__COLOUR"),
        "{unknown:?}"
    );
    let twice = check("PORTREEVE_PORTREEVE_LISTEN", "127.0.0.1:0");
    assert!(
        twice.err.contains("PORTREEVE_PORTREEVE_LISTEN"),
        "{twice:?}"
    );
    let bytes = OsStr::from_bytes(b"/tmp/v\xffr");
    let no_text = run(site.command().env("PORTREEVE_DATA_DIR", bytes).arg("check"));
    assert_eq!(no_text.status, Some(2), "{no_text:?}");
    assert!(no_text.err.contains("PORTREEVE_DATA_DIR"), "{no_text:?}");
    let wrong = check("PORTREEVE_LIMITS__BODY_BYTES", "many");
    assert!(
        wrong.err.contains("PORTREEVE_LIMITS__BODY_BYTES"),
        "{wrong:?}"
    );
}

#[test]
fn a_model_is_trained_from_simulated_events_and_the_same_again() {
    let site = Site::new();
    let events = site.folder.path().join("events.jsonl");
    let mut command = site.command();
    command.args([
        "data",
        "simulate",
        "--people",
        "22",
        "--services",
        "3",
        "--days",
        "40",
        "--json",
    ]);
    let ran = run(command.arg("--out").arg(&events));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let train = |name: &str| {
        let out = site.folder.path().join(name);
        let mut command = site.command();
        command
            .args(["model", "train", "--trees", "50", "--json", "--events"])
            .arg(&events);
        let ran = run(command.arg("--out").arg(&out));
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let folder = out.join("behaviour/1");
        ["forest.bin", "manifest.json", "card.md"]
            .map(|file| std::fs::read(folder.join(file)).unwrap())
    };
    assert!(train("one") == train("two"), "byte for byte");
    // And it decides.
    let models = site.folder.path().join("one");
    let checked = run(site
        .command()
        .env("PORTREEVE_MODELS__DIR", &models)
        .arg("check"));
    assert_eq!(checked.status, Some(0), "{checked:?}");
    // A damaged one, or one for other features, does not.
    let forest = models.join("behaviour/1/forest.bin");
    let whole = std::fs::read(&forest).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&forest, &damaged).unwrap();
    let refused = run(site
        .command()
        .env("PORTREEVE_MODELS__DIR", &models)
        .arg("check"));
    assert!(refused.out.contains("SHA-256"), "{refused:?}");
    std::fs::write(&forest, &whole).unwrap();
    let manifest = models.join("behaviour/1/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let parsed: Value = serde_json::from_str(&text).unwrap();
    let hash = parsed["feature_hash"].as_str().unwrap();
    std::fs::write(&manifest, text.replace(hash, &"0".repeat(64))).unwrap();
    let refused = run(site
        .command()
        .env("PORTREEVE_MODELS__DIR", &models)
        .arg("check"));
    assert!(refused.out.contains("other features"), "{refused:?}");
}

#[test]
fn what_cannot_be_shown_is_not_done_in_silence() {
    let site = Site::new();
    let full = || std::fs::File::options().write(true).open("/dev/full");
    let Ok(_) = full() else {
        println!("SKIPPED: there is no /dev/full");
        return;
    };
    let engine = site.start();
    engine.stop();
    for arguments in [
        &["keys", "create", "--name", "x", "--role", "admin", "--json"][..],
        &["keys", "list"],
        &["audit", "verify"],
        &["audit", "tail"],
        &["check"],
    ] {
        let mut command = site.command();
        let ended = command
            .args(arguments)
            .stdout(full().unwrap())
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?} {told}");
        assert!(told.contains("standard output"), "{arguments:?} {told}");
    }
    let listed = run(site.command().args(["keys", "list", "--json"]));
    let keys: Value = serde_json::from_str(&listed.out).unwrap();
    let lost = keys
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"] == "x");
    assert_eq!(
        lost.unwrap()["is_active"],
        false,
        "a secret that nobody has"
    );
}

#[test]
fn numbers_past_all_sense_are_refused_or_taken_for_all() {
    let site = Site::new();
    let engine = site.start();
    engine.stop();
    let all = run(site
        .command()
        .args(["audit", "tail", "-n", &usize::MAX.to_string()]));
    assert_eq!(all.status, Some(0), "{all:?}");
    for name in ["CONCURRENCY", "CONNECTIONS", "PROFILES_IN_MEMORY"] {
        let ran = run(site
            .command()
            .env(format!("PORTREEVE_LIMITS__{name}"), i64::MAX.to_string())
            .arg("check"));
        assert_eq!(ran.status, Some(2), "{ran:?}");
        let named = format!("limits.{}", name.to_lowercase());
        assert!(ran.err.contains(&named), "{ran:?}");
    }
}
