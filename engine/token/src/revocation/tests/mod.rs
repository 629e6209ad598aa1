//! The promises of the list, each against a plain account of what was done.

mod filtered;
mod properties;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::claims::LIFE_MAX_SECONDS;

const NOW: Timestamp = Timestamp::from_seconds(1_795_215_660);
const LIVES: Lives = Lives {
    leeway_seconds: 60,
    family_seconds: 30 * 86_400,
    session_seconds: 7 * 86_400,
    foreign_seconds: 86_400,
};

fn live() -> Live {
    Live::new(Seed::new([7; 16]), 1_000_000)
}

fn put(list: &Live, entry: &Entry, now: Timestamp) {
    list.put(entry, LIVES.end(entry, None, now));
}

/// A UUIDv7 of this moment.
fn jti(at: Timestamp, tail: u64) -> String {
    let time = format!("{:012x}", at.millis());
    let (high, low) = time.split_at(8);
    format!("{high}-{low}-7000-8000-{tail:012x}")
}

fn plain(jti: &str) -> Lineage<'_> {
    Lineage {
        jti,
        original_jti: None,
        ancestors: &[],
        family: Some("family-1"),
        sid: Some("ses_1"),
        sub: "User/alice",
        client_id: "sk_11111111",
        issued_at: NOW,
        issued_to: &[],
    }
}

#[test]
fn v9_each_kind_revokes_its_own_and_nothing_else() {
    let ancestors = ["second".to_owned(), "third".to_owned()];
    let token = Lineage {
        original_jti: Some("first"),
        ancestors: &ancestors,
        ..plain("own")
    };
    let other = Lineage {
        jti: "other",
        original_jti: None,
        ancestors: &[],
        family: Some("family-2"),
        sid: Some("ses_2"),
        sub: "User/bob",
        client_id: "sk_22222222",
        issued_at: NOW,
        issued_to: &[],
    };
    let of_subject = |subject: &str, before| Entry::SubjectNotBefore {
        subject: subject.to_owned(),
        before,
    };
    let of_client = |before| Entry::Client {
        client_id: "sk_11111111".to_owned(),
        before,
    };
    let jti = |id: &str| Entry::Jti(id.to_owned());
    let just_before = Timestamp::from_millis(NOW.millis() - 1);
    let stories = [
        (Entry::Session("ses_1".to_owned()), Some(RevokedBy::Session)),
        (
            Entry::Family("family-1".to_owned()),
            Some(RevokedBy::Family),
        ),
        (of_subject("User/alice", NOW), Some(RevokedBy::Subject)),
        (of_subject("User/alice", just_before), None),
        (of_subject("Service/alice", NOW), None),
        (of_client(NOW), Some(RevokedBy::Client)),
        (of_client(just_before), None),
        (jti("own"), Some(RevokedBy::Token)),
        (jti("first"), Some(RevokedBy::Ancestor)),
        (jti("third"), Some(RevokedBy::Ancestor)),
        // A name of one kind is nothing to another.
        (jti("ses_1"), None),
        (Entry::Session("own".to_owned()), None),
    ];
    for (entry, wanted) in stories {
        let list = live();
        put(&list, &entry, NOW);
        assert_eq!(list.check(&token, NOW), wanted, "{entry:?}");
        assert_eq!(list.check(&other, NOW), None, "{entry:?}");
    }
    let list = live();
    put(&list, &Entry::IssuerEpoch { before: NOW }, NOW);
    assert_eq!(list.check(&token, NOW), Some(RevokedBy::Issuer));
    assert_eq!(list.check(&other, NOW), Some(RevokedBy::Issuer));
    // What tokens come out of is held against it too.
    let grant = Lineage {
        issued_at: just_before,
        ..plain("")
    };
    assert_eq!(list.check(&grant, NOW), Some(RevokedBy::Issuer));
}

#[test]
fn f6_not_before_is_exact_to_the_millisecond() {
    let revoked_at = Timestamp::from_millis(NOW.millis() + 400);
    let list = live();
    let entry = Entry::SubjectNotBefore {
        subject: "User/alice".to_owned(),
        before: revoked_at,
    };
    put(&list, &entry, revoked_at);
    let is_revoked = |jti: &str, iat: i64| {
        let token = Lineage {
            issued_at: issued_at(jti, iat),
            ..plain(jti)
        };
        list.check(&token, revoked_at).is_some()
    };
    for (offset, wanted) in [
        (-1000, true),
        (0, true),
        (399, true),
        (400, true),
        (401, false),
        (999, false),
        (1000, false),
    ] {
        let at = Timestamp::from_millis(NOW.millis() + offset);
        assert_eq!(is_revoked(&jti(at, 1), at.seconds()), wanted, "{offset} ms");
    }
    // Without a millisecond to go by, the whole second of the revocation is refused.
    let elsewhere = NOW.plus_seconds(-5);
    let mut version_4 = jti(NOW, 1);
    version_4.replace_range(14..15, "4");
    for odd in [
        "",
        "id",
        "zzzzzzzz-zzzz-7000",
        &version_4,
        &jti(elsewhere, 1),
    ] {
        assert!(is_revoked(odd, NOW.seconds()), "{odd}");
        assert!(!is_revoked(odd, NOW.seconds() + 1), "{odd}");
    }
}

#[test]
fn b5_v11_entries_live_as_long_as_what_they_revoke() {
    let cap = i64::try_from(LIFE_MAX_SECONDS).unwrap();
    let access = cap + LIVES.leeway_seconds;
    let ahead = NOW.plus_seconds(3600);
    for (entry, longest) in [
        (Entry::Jti("1".to_owned()), access),
        // A token of another issuer may live longer than ours.
        (
            Entry::Jti("ext_1".to_owned()),
            86_400 + LIVES.leeway_seconds,
        ),
        (Entry::Family("1".to_owned()), 30 * 86_400 + access),
        // A family may outlive the session that it began in.
        (Entry::Session("1".to_owned()), 30 * 86_400 + access),
        (Entry::IssuerEpoch { before: NOW }, 30 * 86_400 + access),
        (
            Entry::IssuerEpoch { before: ahead },
            3600 + 30 * 86_400 + access,
        ),
    ] {
        assert_eq!(
            LIVES.end(&entry, None, NOW),
            NOW.plus_seconds(longest),
            "{entry:?}"
        );
    }
}

#[test]
fn there_is_room_until_there_is_none_and_again_when_entries_are_over() {
    let list = Live::new(Seed::new([1; 16]), 100);
    for number in 0..100 {
        assert!(list.has_room());
        put(&list, &Entry::Jti(number.to_string()), NOW);
        // Again is not one more.
        put(&list, &Entry::Jti(number.to_string()), NOW);
    }
    assert!(!list.has_room());
    for kind in Kind::ALL {
        let is_bounded = matches!(kind, Kind::Jti | Kind::Family);
        assert_eq!(list.has_room_for(kind), !is_bounded, "{kind:?}");
    }
    assert_eq!(list.tidy_all(NOW.plus_seconds(960)), 0, "not over yet");
    assert_eq!(list.tidy_all(NOW.plus_seconds(961)), 100);
    assert!(list.has_room() && list.is_empty());
}

#[test]
fn v21_what_was_put_is_seen_by_every_thread_at_once() {
    let list = live();
    let (done, until) = (AtomicUsize::new(0), 20_000);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let revoked = done.load(Ordering::Acquire);
                    for number in revoked.saturating_sub(3)..revoked {
                        let id = number.to_string();
                        assert!(list.check(&plain(&id), NOW).is_some(), "{number}");
                    }
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                list.tidy(NOW);
            }
        });
        for number in 0..until {
            put(&list, &Entry::Jti(number.to_string()), NOW);
            done.store(number + 1, Ordering::Release);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(list.len(), until);
}
