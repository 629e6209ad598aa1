use domain::{EntityRef, Timestamp};
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
