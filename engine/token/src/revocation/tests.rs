//! The promises of the list, each against a plain account of what was done.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::claims::LIFE_MAX_SECONDS;

const NOW: Timestamp = Timestamp::from_seconds(1_795_215_660);
const LIVES: Lives = Lives {
    leeway_seconds: 60,
    family_seconds: 30 * 86_400,
    session_seconds: 7 * 86_400,
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

/// What may happen to a list.
#[derive(Clone, Debug)]
enum Step {
    Issue {
        session: u8,
        subject: u8,
        client: u8,
        life: i64,
        parent: Option<usize>,
    },
    Revoke {
        kind: Kind,
        which: u8,
    },
    /// The same entry comes once more, from another engine or a restore.
    Repeat {
        which: usize,
    },
    Wait {
        millis: i64,
    },
    Tidy,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let issue = (
        0..3_u8,
        0..3_u8,
        0..2_u8,
        1..=900_i64,
        proptest::option::of(0..50_usize),
    )
        .prop_map(|(session, subject, client, life, parent)| Step::Issue {
            session,
            subject,
            client,
            life,
            parent,
        });
    let revoke = (0..Kind::ALL.len(), 0..3_u8).prop_map(|(kind, which)| Step::Revoke {
        kind: Kind::ALL[kind],
        which,
    });
    prop_oneof![
        5 => issue,
        2 => revoke,
        1 => (0..20_usize).prop_map(|which| Step::Repeat { which }),
        3 => prop_oneof![0..1500_i64, 0..2_000_000_i64].prop_map(|millis| Step::Wait { millis }),
        2 => Just(Step::Tidy),
        1 => Just(Step::Restart),
    ]
}

#[derive(Clone, Debug)]
struct Issued {
    jti: String,
    ancestors: Vec<String>,
    sid: String,
    sub: String,
    client: String,
    at: Timestamp,
    end: Timestamp,
    /// What the account says: revoked once is revoked.
    revoked: bool,
}

impl Issued {
    fn is_of(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Session(id) => self.sid == *id,
            Entry::Family(id) => self.family() == *id,
            Entry::Jti(id) => self.jti == *id || self.ancestors.contains(id),
            Entry::SubjectNotBefore { subject, before } => {
                self.sub == *subject && self.at <= *before
            }
            Entry::Client { client_id, before } => self.client == *client_id && self.at <= *before,
            Entry::IssuerEpoch { before } => self.at <= *before,
        }
    }

    fn family(&self) -> String {
        format!("family of {}", self.sid)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// B5, X27: what was revoked stays so, through tidying, restarts and repetition; what was not
    /// is not.
    #[test]
    fn b5_x27_revoked_never_revives(steps in proptest::collection::vec(step(), 1..120)) {
        // Short lives, so that entries do end while something goes on.
        let lives = Lives { leeway_seconds: 5, family_seconds: 600, session_seconds: 300 };
        let mut list = live();
        let mut now = NOW;
        let mut issued: Vec<Issued> = Vec::new();
        // What a store would hold.
        let mut stored: Vec<(Entry, Timestamp)> = Vec::new();
        for step in steps {
            match step {
                Step::Issue { session, subject, client, life, parent } => {
                    let tail = issued.len() as u64;
                    let parent = parent.and_then(|parent| issued.get(parent)).cloned();
                    let mut token = Issued {
                        jti: jti(now, tail),
                        ancestors: Vec::new(),
                        sid: format!("ses_{session}"),
                        sub: format!("User/{subject}"),
                        client: format!("sk_{client}"),
                        at: now,
                        end: now.plus_seconds(life),
                        revoked: false,
                    };
                    if let Some(parent) = parent {
                        // An exchange: never of what is over or revoked.
                        if parent.revoked || parent.end < now {
                            continue;
                        }
                        token.ancestors = parent.ancestors.clone();
                        token.ancestors.push(parent.jti.clone());
                        token.end = token.end.min(parent.end);
                        token.sid = parent.sid.clone();
                        token.sub = parent.sub.clone();
                    } else if stored.iter().any(|(entry, _)| match entry {
                        Entry::Session(id) => *id == token.sid,
                        Entry::Family(id) => *id == token.family(),
                        _ => false,
                    }) {
                        continue; // Nothing comes out of what has ended.
                    }
                    issued.push(token);
                }
                Step::Revoke { kind, which } => {
                    let entry = match kind {
                        Kind::Session => Entry::Session(format!("ses_{which}")),
                        Kind::Family => Entry::Family(format!("family of ses_{which}")),
                        Kind::Subject => Entry::SubjectNotBefore { subject: format!("User/{which}"), before: now },
                        Kind::Client => Entry::Client { client_id: format!("sk_{which}"), before: now },
                        Kind::Issuer => Entry::IssuerEpoch { before: now },
                        Kind::Jti => match issued.get(usize::from(which)) {
                            Some(token) => Entry::Jti(token.jti.clone()),
                            None => continue,
                        },
                    };
                    let end = lives.end(&entry, None, now);
                    list.put(&entry, end);
                    for token in issued.iter_mut().filter(|token| token.is_of(&entry)) {
                        token.revoked = true;
                    }
                    stored.push((entry, end));
                    // Who revokes answers when this millisecond is over.
                    now = Timestamp::from_millis(now.millis() + 1);
                }
                Step::Repeat { which } => {
                    if let Some((entry, end)) = stored.get(which).filter(|(_, end)| *end >= now) {
                        list.put(entry, *end);
                    }
                }
                Step::Wait { millis } => now = Timestamp::from_millis(now.millis() + millis),
                Step::Tidy => { list.tidy_all(now); }
                Step::Restart => {
                    list = live();
                    for (entry, end) in stored.iter().filter(|(_, end)| *end >= now) {
                        list.put(entry, *end);
                    }
                }
            }
            for token in issued.iter().filter(|token| now <= token.end) {
                let (first, rest) = match token.ancestors.split_first() {
                    Some((first, rest)) => (Some(first.as_str()), rest),
                    None => (None, &[][..]),
                };
                let family = token.family();
                let lineage = Lineage {
                    jti: &token.jti,
                    original_jti: first,
                    ancestors: rest,
                    family: Some(&family),
                    sid: Some(&token.sid),
                    sub: &token.sub,
                    client_id: &token.client,
                    issued_at: issued_at(&token.jti, token.at.seconds()),
                };
                prop_assert_eq!(list.revokes(&list.hashed(&lineage)), token.revoked);
                prop_assert_eq!(list.check(&lineage, now).is_some(), token.revoked, "{:?} at {:?}", token, now);
            }
        }
    }

    /// X27: the same entries in any order, and as often as may be, are the same list.
    #[test]
    fn x27_entries_merge_in_any_order(
        entries in proptest::collection::vec((0..3_i64, 0..1000_i64), 1..20),
        again in proptest::collection::vec(0..20_usize, 0..20),
    ) {
        let entries: Vec<_> = entries.iter().map(|(who, at)| {
            let before = Timestamp::from_millis(NOW.millis() + at);
            Entry::SubjectNotBefore { subject: format!("User/{who}"), before }
        }).collect();
        let (forth, back) = (live(), live());
        entries.iter().for_each(|entry| put(&forth, entry, NOW));
        entries.iter().rev().for_each(|entry| put(&back, entry, NOW));
        again.iter().filter_map(|at| entries.get(*at)).for_each(|entry| put(&back, entry, NOW));
        for who in 0..3 {
            let subject = format!("User/{who}");
            prop_assert_eq!(forth.mark(Kind::Subject, &subject), back.mark(Kind::Subject, &subject));
        }
        prop_assert_eq!(forth.len(), back.len());
    }
}

/// A store that is elsewhere, for once in this process.
#[derive(Debug, Default)]
struct Shared {
    marks: Mutex<HashMap<(Kind, String), Mark>>,
    asked: AtomicUsize,
    is_down: AtomicBool,
}

impl Shared {
    fn put(&self, entry: &Entry) {
        let mark = Mark {
            before: entry.before().unwrap_or(Timestamp::MAX),
            until: LIVES.end(entry, None, NOW),
        };
        let mut marks = self.marks.lock().unwrap();
        marks
            .entry((entry.kind(), entry.id().to_owned()))
            .and_modify(|known| *known = known.merged_with(mark))
            .or_insert(mark);
    }
}

impl RemoteList for Shared {
    fn look_up(&self, kind: Kind, id: &str) -> Result<Option<Mark>, RemoteError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.is_down.load(Ordering::Relaxed) {
            return Err(RemoteError("connection refused".to_owned()));
        }
        Ok(self
            .marks
            .lock()
            .unwrap()
            .get(&(kind, id.to_owned()))
            .copied())
    }
}

fn filtered(entries: usize) -> Filtered<Shared> {
    let settings = FilterSettings {
        entries,
        ..FilterSettings::default()
    };
    Filtered::new(live(), Seed::new([3; 16]), Shared::default(), settings)
}

#[test]
fn v9_v18_the_filter_answers_for_what_is_not_there() {
    let list = filtered(1000);
    for number in 0..1000 {
        let entry = Entry::Session(format!("ses_gone_{number}"));
        list.remote().put(&entry);
        list.note_name(entry.kind(), entry.id());
    }
    let asks = |list: &Filtered<Shared>| list.remote().asked.load(Ordering::Relaxed);
    for number in 0..1000 {
        let id = number.to_string();
        assert_eq!(list.check(&plain(&id), NOW), None);
    }
    let layers = list.layers();
    assert_eq!(layers.local + layers.remote_revoked + layers.unsure, 0);
    assert_eq!(layers.filter + layers.remote_absent, 6000, "six names each");
    assert!(
        layers.remote_absent < 30,
        "about one in a thousand: {layers:?}"
    );

    let gone = Lineage {
        sid: Some("ses_gone_500"),
        ..plain("1")
    };
    let before = asks(&list);
    assert_eq!(list.check(&gone, NOW), Some(RevokedBy::Session));
    assert_eq!(asks(&list), before + 1);
    assert_eq!(list.check(&gone, NOW), Some(RevokedBy::Session));
    assert_eq!(asks(&list), before + 1, "known here by now");
    assert_eq!(list.layers().local, 1);
}

#[test]
fn v9_v14_when_nobody_can_tell_it_is_refused_and_the_list_left_alone() {
    let list = filtered(1000);
    let gone = |number: u32| format!("ses_gone_{number}");
    for number in 0..100 {
        let entry = Entry::Session(gone(number));
        list.remote().put(&entry);
        list.note_name(entry.kind(), entry.id());
    }
    let check = |sid: &str, now| {
        list.check(
            &Lineage {
                sid: Some(sid),
                ..plain("1")
            },
            now,
        )
    };
    let asks = || list.remote().asked.load(Ordering::Relaxed);
    list.remote().is_down.store(true, Ordering::Relaxed);
    for number in 0..20 {
        assert_eq!(check(&gone(number), NOW), Some(RevokedBy::Unsure));
    }
    assert_eq!((asks(), list.breaker()), (5, BreakerState::Open));
    assert_eq!(
        check("ses_1", NOW),
        None,
        "the filter clears it without anybody"
    );

    // It is tried once in a while, and a failure begins the pause anew.
    let later = NOW.plus_seconds(30);
    for _ in 0..3 {
        assert_eq!(check(&gone(20), later), Some(RevokedBy::Unsure));
    }
    assert_eq!((asks(), list.breaker()), (6, BreakerState::Open));

    list.remote().is_down.store(false, Ordering::Relaxed);
    let later = NOW.plus_seconds(60);
    assert_eq!(check(&gone(21), later), Some(RevokedBy::Session));
    assert_eq!((asks(), list.breaker()), (7, BreakerState::Closed));
    assert_eq!(list.layers().unsure, 23);
}

#[test]
fn a_new_filter_forgets_what_is_over_and_loses_nothing_meanwhile() {
    let list = filtered(1000);
    let entry = |number: u32| Entry::Session(number.to_string());
    let knows = |number: u32| {
        let sid = number.to_string();
        let token = Lineage {
            sid: Some(&sid),
            ..plain("1")
        };
        list.check(&token, NOW).is_some()
    };
    for number in 0..3 {
        list.remote().put(&entry(number));
        list.note_name(Kind::Session, entry(number).id());
    }
    list.begin_renewal();
    list.note_name(Kind::Session, entry(1).id());
    // Revoked by another engine while the new filter is filled.
    list.remote().put(&entry(3));
    list.note(&entry(3), LIVES.end(&entry(3), None, NOW));
    assert!(knows(1) && knows(3));
    list.end_renewal();
    assert!(knows(1) && knows(3));
    let asked = list.remote().asked.load(Ordering::Relaxed);
    assert!(
        !knows(2),
        "it was not told to the new filter, since it was over"
    );
    assert_eq!(list.remote().asked.load(Ordering::Relaxed), asked);
}

#[test]
fn a_moment_that_was_put_later_elsewhere_counts_though_an_earlier_one_is_known_here() {
    let list = filtered(1000);
    let at = |seconds| Entry::SubjectNotBefore {
        subject: "User/alice".to_owned(),
        before: NOW.plus_seconds(seconds),
    };
    list.remote().put(&at(-10));
    list.note(&at(-10), LIVES.end(&at(-10), None, NOW));
    assert_eq!(list.check(&plain("1"), NOW), None);
    list.remote().put(&at(0));
    assert_eq!(list.check(&plain("1"), NOW), Some(RevokedBy::Subject));
}
