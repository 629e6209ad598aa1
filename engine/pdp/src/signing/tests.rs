//! Stories of a ring over a folder, on a virtual clock.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use domain::Timestamp;
use tempfile::TempDir;
use token::SigningKey;
use token::keys::Algorithm;

use super::plan::{OUTLIVES_SECONDS, Schedule, State};
use super::*;

const HOUR: i64 = 3600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_795_000_000 + seconds)
}

fn settings(kek: Option<PathBuf>) -> SigningSettings {
    SigningSettings {
        schedule: Schedule {
            algorithm: Algorithm::Es256,
            rotate_every: Duration::from_secs(24 * 3600),
            publish_before: Duration::from_secs(3600),
        },
        key_encryption_key_file: kek,
    }
}

fn open(folder: &TempDir, seconds: i64) -> Ring {
    Ring::open(folder.path(), &settings(None), at(seconds)).unwrap()
}

fn open_with(folder: &TempDir, kek: Option<PathBuf>) -> Result<Ring, SigningError> {
    Ring::open(folder.path(), &settings(kek), at(0))
}

/// A key-encryption key in a file, for its owner alone.
fn kek(folder: &TempDir, salt: u32) -> Option<PathBuf> {
    let bytes: Vec<u8> = (0..32_u32)
        .map(|i| (i * i * 7 + i * 91 + salt) as u8)
        .collect();
    let path = folder.path().join(format!("kek-{salt}"));
    fs::write(&path, data_encoding::BASE64.encode(&bytes)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Some(path)
}

fn files(folder: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path().join("signing-keys")).unwrap();
    let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn k3_j9_a_rotation_is_published_first_and_leaves_no_token_behind() {
    let folder = tempfile::tempdir().unwrap();
    let ring = open(&folder, 0);
    let first = ring.current();
    let signature = first.signer().sign(b"token").unwrap();
    let kid = first.signer().id().to_owned();
    let verified = |set: &KeySet| {
        set.find(&kid)
            .is_some_and(|key| key.verify(b"token", &signature))
    };
    for (seconds, signs_first, published, verifies) in [
        (HOUR, true, 1, true),
        (23 * HOUR, true, 2, true),
        (24 * HOUR - 1, true, 2, true),
        (24 * HOUR, false, 2, true),
        (24 * HOUR + OUTLIVES_SECONDS - 1, false, 2, true),
        (24 * HOUR + OUTLIVES_SECONDS, false, 1, false),
    ] {
        ring.tend(at(seconds)).unwrap();
        let set = ring.current();
        assert_eq!(set.signer().id() == kid, signs_first, "{seconds}");
        let keys: serde_json::Value = serde_json::from_str(set.jwks()).unwrap();
        assert_eq!(
            keys["keys"].as_array().unwrap().len(),
            published,
            "{seconds}"
        );
        assert_eq!(verified(&set), verifies, "{seconds}");
    }
    // The public half stays, the private one does not.
    let over = ring.listed();
    let over = over.iter().find(|key| key.known.kid == kid).unwrap();
    assert_eq!(over.state, State::Retired);
    assert!(over.public.verify(b"token", &signature));
    let text = fs::read_to_string(&files(&folder)[0]).unwrap()
        + &fs::read_to_string(&files(&folder)[1]).unwrap();
    assert_eq!(text.matches("\"private\"").count(), 1);
    // And all of it holds after a start.
    let again = open(&folder, 25 * HOUR);
    assert_eq!(again.current().jwks(), ring.current().jwks());
}

#[test]
fn k2_a_running_ring_notices_what_another_process_did() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, command) = (open(&folder, 0), open(&folder, 0));
    assert_eq!(engine.current().jwks(), command.current().jwks());
    assert!(!engine.tend(at(1)).unwrap());
    let begun = command.rotate(false, "os:alice", at(2)).unwrap();
    assert!(begun.is_new && begun.signs_from == at(2 + HOUR));
    assert!(engine.tend(at(3)).unwrap());
    assert!(engine.current().find(&begun.kid).is_some());
    assert_ne!(engine.current().signer().id(), begun.kid);
    // Once more is the same rotation.
    let again = command.rotate(false, "os:bob", at(4)).unwrap();
    assert_eq!(
        (again.kid.clone(), again.is_new),
        (begun.kid.clone(), false)
    );
    assert_eq!(again.signs_from, begun.signs_from);
    let hastened = command.rotate(true, "os:bob", at(5)).unwrap();
    assert_eq!(
        (hastened.kid, hastened.signs_from),
        (begun.kid.clone(), at(5))
    );
    assert!(engine.tend(at(6)).unwrap());
    assert_eq!(engine.current().signer().id(), begun.kid);
    assert!(!engine.tend(at(7)).unwrap());
    let by = engine.listed();
    let by = by.iter().find(|key| key.known.kid == begun.kid).unwrap();
    assert_eq!(by.by, "os:bob");
}

#[test]
fn of_processes_that_race_one_makes_the_next_key() {
    let folder = tempfile::tempdir().unwrap();
    let rings: Vec<Ring> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&folder, 0))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(files(&folder).len(), 1, "one first key");
    std::thread::scope(|scope| {
        for (number, ring) in rings.iter().enumerate() {
            scope.spawn(move || match number % 2 {
                0 => ring.tend(at(23 * HOUR)).map(|_| ()).unwrap(),
                _ => ring
                    .rotate(false, "os:alice", at(23 * HOUR))
                    .map(|_| ())
                    .unwrap(),
            });
        }
    });
    assert_eq!(files(&folder).len(), 2, "one next key");
    let first = open(&folder, 23 * HOUR);
    for ring in &rings {
        ring.tend(at(23 * HOUR)).unwrap();
        assert_eq!(ring.current().jwks(), first.current().jwks());
    }
}

#[test]
fn the_key_of_an_earlier_version_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let before = folder.path().join("signing-key.p8");
    fs::write(&before, key.to_der().unwrap()).unwrap();
    assert_eq!(open(&folder, 0).current().signer().id(), key.id());
    assert!(!before.exists());
    // A start that broke off before it was removed.
    fs::write(&before, key.to_der().unwrap()).unwrap();
    assert_eq!(open(&folder, 1).current().signer().id(), key.id());
    assert!(!before.exists());
    // Another one beside it was put there by somebody.
    let other = SigningKey::generate(Algorithm::Es256).unwrap();
    fs::write(&before, other.to_der().unwrap()).unwrap();
    let refused = open_with(&folder, None).unwrap_err().to_string();
    assert!(refused.contains("earlier version"), "{refused}");
}

#[test]
fn keys_are_for_their_owner_alone_and_sealed_once_there_is_a_key_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let clear = open(&folder, 0);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("signing-keys")), 0o700);
    let first = &files(&folder)[0];
    assert_eq!(mode(first), 0o600);
    let secret = serde_json::from_str::<serde_json::Value>(&fs::read_to_string(first).unwrap());
    let secret = secret.unwrap()["private"].as_str().unwrap().to_owned();

    let key = kek(&folder, 13);
    let sealed = open_with(&folder, key.clone()).unwrap();
    assert_eq!(sealed.current().jwks(), clear.current().jwks());
    let text = fs::read_to_string(first).unwrap();
    assert!(!text.contains(&secret) && !text.contains("private") && text.contains("sealed"));
    assert_eq!(mode(first), 0o600);
    let kid = sealed.current().signer().id().to_owned();
    // What was in clear goes on from memory, and says what is wrong.
    assert!(matches!(
        clear.tend(at(1)),
        Err(SigningError::NoKeyEncryptionKey { .. })
    ));
    assert_eq!(clear.current().signer().id(), kid);

    let refused = |kek: Option<PathBuf>| open_with(&folder, kek).unwrap_err().to_string();
    assert!(refused(None).contains("set `tokens.key_encryption_key_file`"));
    assert!(refused(kek(&folder, 14)).contains("another key-encryption key"));
    let readable = kek(&folder, 15).unwrap();
    fs::set_permissions(&readable, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(Some(readable)).contains("chmod 600"));
    // A sealed key is bound to its times.
    let moved = text.replace("\"by\":\"engine\"", "\"by\":\"nobody\"");
    assert_ne!(moved, text);
    fs::write(first, moved).unwrap();
    assert!(refused(key.clone()).contains("changed since"));
    fs::write(first, &text).unwrap();
    // A key in clear that somebody puts beside it is not taken up.
    let other = tempfile::tempdir().unwrap();
    open(&other, 0);
    let planted = files(&other).remove(0);
    let target = folder
        .path()
        .join("signing-keys")
        .join(planted.file_name().unwrap());
    fs::copy(&planted, &target).unwrap();
    assert!(refused(key.clone()).contains("in clear beside encrypted ones"));
    assert!(matches!(
        sealed.tend(at(1)),
        Err(SigningError::Clear { .. })
    ));
    assert_eq!(sealed.current().signer().id(), kid);
    fs::remove_file(&target).unwrap();
    assert_eq!(
        open_with(&folder, key).unwrap().current().signer().id(),
        kid
    );
}

#[test]
fn the_key_encryption_key_is_changed_by_a_line_before_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (kek(&folder, 13), kek(&folder, 17));
    let ring = open_with(&folder, old.clone()).unwrap();
    ring.rotate(true, "admin", at(1)).unwrap();
    let kid = ring.current().signer().id().to_owned();
    let text = |path: &Option<PathBuf>| fs::read_to_string(path.as_ref().unwrap()).unwrap();
    let both = folder.path().join("kek-both");
    fs::write(&both, format!("{}\n{}\n", text(&new), text(&old))).unwrap();
    fs::set_permissions(&both, fs::Permissions::from_mode(0o600)).unwrap();

    assert!(open_with(&folder, new.clone()).is_err());
    assert_eq!(files(&folder).len(), 2);
    for kek in [Some(both.clone()), Some(both), new] {
        let ring = Ring::open(folder.path(), &settings(kek), at(2)).unwrap();
        assert_eq!(ring.current().signer().id(), kid);
    }
    // What the old one opened it does not open any more.
    let refused = open_with(&folder, old).unwrap_err().to_string();
    assert!(refused.contains("another key-encryption key"), "{refused}");
}

#[test]
fn sealing_that_broke_off_is_finished_or_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let kid = open(&folder, 0).current().signer().id().to_owned();
    let key = kek(&folder, 13);
    let (keys, clear, sealed) = (
        folder.path().join("signing-keys"),
        folder.path().join("signing-keys.clear"),
        folder.path().join("signing-keys.sealed"),
    );
    // Before anything was moved: a half-made draft.
    fs::create_dir(&sealed).unwrap();
    fs::write(sealed.join("half.json"), "{").unwrap();
    let ring = open_with(&folder, key.clone()).unwrap();
    assert_eq!(ring.current().signer().id(), kid);
    assert!(!clear.exists() && !sealed.exists());
    // Between the two moves.
    fs::rename(&keys, &sealed).unwrap();
    fs::create_dir(&clear).unwrap();
    let ring = open_with(&folder, key).unwrap();
    assert_eq!(ring.current().signer().id(), kid);
    assert!(!clear.exists() && !sealed.exists());
}

#[test]
fn what_is_damaged_or_gone_is_told_and_nothing_else_signs() {
    let folder = tempfile::tempdir().unwrap();
    let ring = open(&folder, 0);
    let path = files(&folder).remove(0);
    let text = fs::read_to_string(&path).unwrap();
    let kid = ring.current().signer().id().to_owned();
    let other = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let its = data_encoding::BASE64.encode(&other.to_der().unwrap());
    let mut swapped: serde_json::Value = serde_json::from_str(&text).unwrap();
    swapped["private"] = its.into();
    for (broken, said) in [
        (String::new(), "EOF"),
        ("{}".to_owned(), "missing field"),
        (text.replace("\"form\":1", "\"form\":2"), "later version"),
        (text.replace(&kid, "other"), "its name"),
        (text.replace("Z\"", "\""), "is no time"),
        (swapped.to_string(), "of another key"),
        ("x".repeat(100_000), "too many"),
    ] {
        fs::write(&path, &broken).unwrap();
        let found = ring.tend(at(1)).unwrap_err().to_string();
        assert!(found.contains(said) && found.contains(&kid), "{found}");
        assert!(open_with(&folder, None).is_err());
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(ring.tend(at(1)), Err(SigningError::Gone { .. })));
    assert_eq!(ring.current().signer().id(), kid);
    fs::write(&path, &text).unwrap();
    ring.tend(at(2)).unwrap();
    assert_eq!(ring.current().signer().id(), kid);
}

/// All that lies in a data folder, with the moments at which it was written.
fn all_of(folder: &TempDir) -> Vec<(PathBuf, std::time::SystemTime, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let written = fs::metadata(&path).unwrap().modified().unwrap();
            if path.is_dir() {
                folders.push(path.clone());
                all.push((path, written, Vec::new()));
            } else {
                let text = fs::read(&path).unwrap();
                all.push((path, written, text));
            }
        }
    }
    all.sort();
    all
}

#[test]
fn who_only_looks_changes_nothing_whatever_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let sealing = kek(&folder, 5);
    let looks = |kek: Option<PathBuf>, seconds: i64| {
        let before = all_of(&folder);
        let seen = look(folder.path(), &settings(kek), at(seconds));
        assert_eq!(all_of(&folder), before);
        seen
    };
    // No key yet; the next one due; all in clear where they are to be sealed.
    assert_eq!(looks(None, 0).unwrap().keys.iter().count(), 0);
    let kid = open(&folder, 0).current().signer().id().to_owned();
    let seen = looks(None, 30 * HOUR).unwrap();
    let seen: Vec<_> = seen.keys.iter().map(|key| key.known.kid.clone()).collect();
    assert_eq!(seen, [kid]);
    let seen = looks(sealing.clone(), 0).unwrap();
    assert!(!seen.is_sealed && seen.keys.iter().count() == 1);
    assert!(!are_sealed(folder.path()).unwrap());
    // Sealed: not without the key, and a clear one beside them is none of ours.
    open_with(&folder, sealing.clone()).unwrap();
    let seen = looks(sealing.clone(), 0).unwrap();
    assert!(seen.is_sealed && are_sealed(folder.path()).unwrap());
    let refused = looks(None, 0).unwrap_err();
    assert!(matches!(refused, SigningError::NoKeyEncryptionKey { .. }));
    let other = tempfile::tempdir().unwrap();
    open(&other, 0);
    let planted = files(&other).remove(0);
    let name = planted.file_name().unwrap();
    fs::copy(&planted, folder.path().join("signing-keys").join(name)).unwrap();
    let refused = looks(sealing, 0).unwrap_err();
    assert!(matches!(refused, SigningError::Clear { .. }), "{refused}");
}

#[test]
fn what_cannot_be_done_is_noted_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let ring = open(&folder, 0);
    assert_eq!(ring.failing_since(), None);
    for (went_well, seconds, since) in [
        (false, 10, Some(at(10))),
        (false, 20, Some(at(10))),
        (true, 30, None),
        (false, 40, Some(at(40))),
    ] {
        ring.note_tended(went_well, at(seconds));
        assert_eq!(ring.failing_since(), since);
    }
}
