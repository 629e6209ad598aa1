//! The filter before a list that is elsewhere.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

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
