use domain::{EntityRef, Timestamp};
use sqlx::Row as _;
use tempfile::TempDir;

use super::*;

async fn store(folder: &TempDir) -> Store {
    Store::open(&folder.path().join("test.db")).await.unwrap()
}

fn profile(id: usize, bytes: usize) -> ProfileRow {
    ProfileRow {
        subject: EntityRef::new("User", format!("u{id}")).unwrap(),
        form: 1,
        body: vec![7; bytes],
        updated_at: Timestamp::from_millis(1),
    }
}

#[tokio::test]
async fn a_full_disk_is_over_once_there_is_room_again() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
        .fetch_one(&store.write)
        .await
        .unwrap();
    let limit = |pages| format!("PRAGMA max_page_count = {pages}");
    let set = |sql: String| sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&store.write);
    set(limit(pages + 2)).await.unwrap();
    let many: Vec<ProfileRow> = (0..100).map(|id| profile(id, 3000)).collect();
    let refused = store.put_profiles(&many).await.unwrap_err();
    assert!(refused.to_string().contains("full"), "{refused}");
    set(limit(1_000_000)).await.unwrap();
    store.put_profiles(&many).await.unwrap();
    let subject = &many[99].subject;
    assert!(store.profile(subject).await.unwrap().is_some());
}

#[tokio::test]
async fn a_revision_is_kept_until_it_has_long_ceased_to_decide() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let at = Timestamp::from_seconds;
    let kind = RevisionKind::Policies;
    let text = "permit(principal, action, resource);".repeat(100);
    let keep = async |revision, content: &str, time| {
        let content = Arc::from(content.as_bytes());
        let kept = store.keep_revision(kind, revision, &content, time).await;
        kept.unwrap();
    };
    keep("old", &text, at(100)).await;
    keep("new", "", at(200)).await;
    let kept = store.revision(kind, "old").await.unwrap().unwrap();
    assert_eq!(kept, text.as_bytes());
    assert_eq!(store.revision(kind, "new").await.unwrap(), Some(Vec::new()));
    assert_eq!(
        store.revision(RevisionKind::Entities, "old").await.unwrap(),
        None
    );

    // It decides again, and is the last one: what it says does not change, when it was used does.
    keep("old", "another", at(300)).await;
    store
        .touch_revisions(&[(kind, "new"), (kind, "unheard-of")], at(250))
        .await
        .unwrap();
    let listed = store.revisions(kind, 10).await.unwrap();
    let listed: Vec<_> = listed
        .iter()
        .map(|kept| {
            let (first, last) = (kept.first_used.seconds(), kept.last_used.seconds());
            (kept.revision.as_str(), first, last)
        })
        .collect();
    assert_eq!(listed, [("old", 100, 300), ("new", 200, 250)]);

    assert_eq!(store.forget_revisions(at(251)).await.unwrap(), 1);
    assert_eq!(store.revision(kind, "new").await.unwrap(), None);
    assert!(store.revision(kind, "old").await.unwrap().is_some());
}

#[tokio::test]
async fn entities_of_any_moment_can_be_put_together_until_they_are_long_over() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let at = Timestamp::from_seconds;
    let change = |id: &str, body: Option<&str>| NewEntityChange {
        kind: "User".to_owned(),
        id: id.to_owned(),
        body: body.map(str::to_owned),
    };
    let add = async |changes: &[NewEntityChange], time, journalled| {
        let added = store.add_entity_changes(changes, "key", time, None, journalled, &[]);
        added.await.unwrap()
    };
    let stored = async |until| {
        let stored = store.stored_entities(until).await.unwrap();
        let told = stored.entities.into_iter();
        let told: Vec<String> = told.map(|e| format!("{}={}", e.id, e.body)).collect();
        (told.join(" "), stored.last)
    };
    assert_eq!(stored(None).await, (String::new(), 0));
    let both = [change("a", Some("1")), change("b", Some("2"))];
    assert_eq!(add(&both, at(100), 0).await, 1);
    assert_eq!(add(&[change("a", Some("3"))], at(200), 2).await, 3);
    assert_eq!(add(&[change("b", None)], at(300), 2).await, 4);
    assert_eq!(stored(Some(1)).await, ("a=1".to_owned(), 1));
    assert_eq!(stored(Some(2)).await, ("a=1 b=2".to_owned(), 2));
    assert_eq!(stored(Some(3)).await, ("b=2 a=3".to_owned(), 3));
    assert_eq!(stored(None).await, ("a=3".to_owned(), 4));
    let last = store.entity_change("User", "b").await.unwrap().unwrap();
    assert_eq!((last.number, last.change.body), (4, None));
    let open = store.entity_changes_to_journal(0, 10).await.unwrap();
    let open: Vec<u64> = open.iter().map(|change| change.number).collect();
    assert_eq!(open, [3, 4]);

    // What was over by then is forgotten, what holds stays, and numbers are never given again.
    assert_eq!(store.forget_entity_changes(at(400)).await.unwrap(), 2);
    assert_eq!(stored(None).await, ("a=3".to_owned(), 4));
    assert_eq!(add(&[change("c", Some("4"))], at(500), 4).await, 5);
    assert_eq!(store.forget_entity_changes(at(600)).await.unwrap(), 1);
    assert_eq!(stored(None).await, ("a=3 c=4".to_owned(), 5));
}

#[tokio::test]
async fn b5_x27_a_later_revocation_of_the_same_takes_nothing_back() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let at = Timestamp::from_seconds;
    let new = |kind, id: &str, before: Option<i64>, until| NewRevocation {
        kind,
        id: id.to_owned(),
        before: before.map(at),
        until: at(until),
        at: at(until),
        by: "sk_1".to_owned(),
        subject: None,
        reason: None,
    };
    for (kind, before, until) in [
        ("subject", Some(500), 900),
        ("subject", Some(400), 800),
        ("session", None, 700),
        ("session", None, 600),
    ] {
        let new = new(kind, "x", before, until);
        store.add_revocation(&new).await.unwrap();
    }
    let rows = store.revocations_after(0, at(100), 10).await.unwrap();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.number, &*row.kind, row.before, row.until))
        .collect();
    assert_eq!(
        seen,
        [
            (2, "subject", Some(at(500)), at(900)),
            (4, "session", None, at(700))
        ]
    );
    assert_eq!(
        store.revocations_after(2, at(100), 10).await.unwrap(),
        rows[1..]
    );
    // What was not on record when another took its place waits for it.
    let replaced = store.replaced_revocations(10).await.unwrap();
    let numbers: Vec<_> = replaced.iter().map(|row| row.number).collect();
    assert_eq!((numbers, replaced[0].until), (vec![1, 3], at(900)));
    store.forget_replaced_revocations(1).await.unwrap();
    assert_eq!(store.replaced_revocations(10).await.unwrap(), replaced[1..]);
    let listed = |kind, id| store.revocations_before(None, kind, id, 10);
    assert_eq!(listed(None, None).await.unwrap().len(), 2);
    assert_eq!(listed(Some("session"), Some("x")).await.unwrap(), rows[1..]);
    assert!(listed(Some("jti"), None).await.unwrap().is_empty());

    for before in [600, 550] {
        let moved = store.move_revocation("subject", "x", at(before), at(1000));
        moved.await.unwrap();
    }
    store.note_revocations_journalled(2).await.unwrap();
    let rows = store.revocations_after(0, at(100), 10).await.unwrap();
    assert_eq!(rows[0].before, Some(at(600)));
    assert!(rows[0].journalled && !rows[1].journalled);

    assert_eq!(store.forget_revocations(at(700)).await.unwrap(), 0);
    assert_eq!(store.forget_revocations(at(701)).await.unwrap(), 1);
    // Numbers are never given again.
    let number = store.add_revocation(&new("jti", "x", None, 2000)).await;
    assert_eq!(number.unwrap(), 5);
}

#[tokio::test]
async fn b3_e23_sessions_and_families_are_found_by_indexes() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    for (sql, index) in [
        (
            "UPDATE refresh_families SET revoked_at = 1 WHERE session_id = 'x' \
             AND revoked_at IS NULL",
            "refresh_families_by_session",
        ),
        (
            "UPDATE refresh_families SET revoked_at = 1 WHERE subject_type = 'User' \
             AND subject_id = 'x' AND revoked_at IS NULL",
            "refresh_families_by_subject",
        ),
        (
            "SELECT session_id FROM sessions WHERE handle_sha256 = x'00'",
            "sessions_by_handle",
        ),
        (
            "SELECT * FROM sessions WHERE client_id NOT NULL AND client_id = 'x' \
             ORDER BY born_at DESC, session_id DESC LIMIT 3",
            "sessions_of_client",
        ),
        (
            "SELECT * FROM sessions WHERE client_id NOT NULL AND subject_type = 'User' \
             AND subject_id = 'x' ORDER BY born_at DESC, session_id DESC LIMIT 3",
            "sessions_of_subject",
        ),
    ] {
        let plan = format!("EXPLAIN QUERY PLAN {sql}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(plan))
            .fetch_all(&store.read)
            .await
            .unwrap();
        let details: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let plan = details.join("; ");
        assert!(plan.contains(index), "{sql}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

/// F21: a proof is spent with the session that it lifts, or not at all, and for as long as it could
/// come again.
#[tokio::test]
async fn f21_a_proof_counts_once_and_is_forgotten_when_it_is_over() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder).await;
    let session = domain::SessionRecord {
        id: "ses_1".to_owned(),
        subject: EntityRef::new("User", "alice").unwrap(),
        birth: domain::SessionBirth::default(),
        last_seen: Timestamp::from_seconds(1),
        sight: None,
        assurance: domain::Assurance::default(),
        ended: false,
        terms: Some(domain::SessionTerms {
            tightened_at: Some(Timestamp::from_seconds(3)),
            stepped_up_at: Some(Timestamp::from_seconds(4)),
            ..domain::SessionTerms::default()
        }),
    };
    let lift = |name: &str, at: i64| Lift {
        handle: None,
        spends: Some(SpentProof {
            name: name.to_owned(),
            at: Timestamp::from_seconds(at),
            until: Timestamp::from_seconds(at + 60),
        }),
    };
    let put = |lift: Lift| {
        let (store, session) = (&store, &session);
        async move { store.put_session_telling(session, &[], Some(&lift)).await }
    };
    put(lift("ext_1", 100)).await.unwrap();
    assert_eq!(store.session("ses_1").await.unwrap(), Some(session.clone()));
    let again = put(lift("ext_1", 159)).await;
    assert!(matches!(again, Err(StoreError::Spent)), "{again:?}");
    assert!(store.is_spent("ext_1").await.unwrap());
    put(lift("ext_2", 160)).await.unwrap();
    assert!(!store.is_spent("ext_1").await.unwrap());
    assert!(store.is_spent("ext_2").await.unwrap());
}
