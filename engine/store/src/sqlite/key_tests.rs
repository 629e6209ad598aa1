use domain::{EntityRef, Timestamp};
use tempfile::TempDir;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(second)
}

fn key(id: &str, client: &str, made: i64) -> KeyRecord {
    KeyRecord {
        key_id: id.to_owned(),
        secret_sha256: [7; 32],
        client_id: client.to_owned(),
        name: "billing".to_owned(),
        role: "service".to_owned(),
        permissions: Some(vec!["evaluate".to_owned(), "access".to_owned()]),
        subject: EntityRef::new("Service", "billing").unwrap(),
        audience: Some("https://billing.example".to_owned()),
        certificate: Some("spiffe://example.org/billing".to_owned()),
        created_at: at(made),
        created_by: Some("sk_admin000".to_owned()),
        expires_at: at(made + 1000),
        rotated_to: None,
        overlap_end: None,
        last_used_at: None,
        revoked_at: None,
    }
}

fn act(kind: &str, key_id: &str, second: i64) -> KeyAct {
    KeyAct {
        number: 0,
        kind: kind.to_owned(),
        key_id: key_id.to_owned(),
        at: at(second),
        by: "somebody".to_owned(),
        told: "{}".to_owned(),
    }
}

/// The schema of before keys had clients.
#[derive(Debug)]
struct Earlier;

impl MigrationSource<'static> for Earlier {
    fn resolve(
        self,
    ) -> std::pin::Pin<
        Box<
            dyn Future<Output = Result<Vec<Migration>, Box<dyn std::error::Error + Send + Sync>>>
                + Send,
        >,
    > {
        Box::pin(async {
            let mut all = Embedded.resolve().await?;
            all.retain(|step| step.version < 10);
            Ok(all)
        })
    }
}

#[tokio::test]
async fn a_key_of_an_earlier_version_is_the_first_of_its_client() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("test.db");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let earlier = Migrator::new(Earlier).await.unwrap();
    earlier.run(&pool).await.unwrap();
    for (id, name) in [("sk_plain000", "billing"), ("sk_odd00000", "a\nb")] {
        sqlx::query(
            "INSERT INTO api_keys (key_id, secret_sha256, name, role, created_at, expires_at) \
             VALUES (?, zeroblob(32), ?, 'gateway', 1000, 2000)",
        )
        .bind(id)
        .bind(name)
        .execute(&pool)
        .await
        .unwrap();
    }
    pool.close().await;
    let store = Store::open(&path).await.unwrap();
    let plain = store.key("sk_plain000").await.unwrap().unwrap();
    assert_eq!(plain.client_id, "sk_plain000");
    assert_eq!(plain.subject.to_string(), "Service::\"billing\"");
    assert_eq!((plain.permissions, plain.rotated_to), (None, None));
    let odd = store.key("sk_odd00000").await.unwrap().unwrap();
    assert_eq!(odd.subject.to_string(), "Service::\"sk_odd00000\"");
}

#[tokio::test]
async fn x18_of_two_who_rotate_a_key_at_once_one_does() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("test.db")).await.unwrap();
    let old = key("sk_old00000", "sk_old00000", 1);
    store
        .insert_key(&old, 10, &act("created", "sk_old00000", 1))
        .await
        .unwrap();
    assert_eq!(store.key("sk_old00000").await.unwrap().as_ref(), Some(&old));
    let rotate = async |id: &str| {
        let (new, end) = (key(id, "sk_old00000", 100), at(200));
        let act = act("rotated", "sk_old00000", 100);
        store.rotate_key(&old, &new, end, 10, &act).await
    };
    rotate("sk_new00000").await.unwrap();
    // The other has read what was there before.
    let late = rotate("sk_late0000").await;
    assert!(matches!(late, Err(KeepKeyError::Changed)), "{late:?}");
    assert_eq!(store.key("sk_late0000").await.unwrap(), None);
    let rotated = store.key("sk_old00000").await.unwrap().unwrap();
    assert_eq!(rotated.rotated_to.as_deref(), Some("sk_new00000"));
    assert!(rotated.is_active(at(199)) && !rotated.is_active(at(200)));
    // What was not done is not told of either.
    let acts = store.key_acts().await.unwrap();
    let told: Vec<&str> = acts.iter().map(|act| act.kind.as_str()).collect();
    assert_eq!(told, ["created", "rotated"]);
    store.forget_key_acts(acts[0].number).await.unwrap();
    assert_eq!(store.key_acts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_keys_that_are_over_make_room() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("test.db")).await.unwrap();
    let add = async |id: &str, made: i64| {
        let act = act("created", id, made);
        store.insert_key(&key(id, id, made), 2, &act).await
    };
    add("sk_first000", 1).await.unwrap();
    add("sk_second00", 2).await.unwrap();
    let full = add("sk_third000", 3).await;
    assert!(matches!(full, Err(KeepKeyError::TooMany(2))), "{full:?}");
    let revoked = act("revoked", "sk_second00", 4);
    assert!(store.revoke_key(&revoked).await.unwrap());
    assert!(!store.revoke_key(&revoked).await.unwrap(), "once");
    add("sk_third000", 5).await.unwrap();
    assert_eq!(store.key("sk_second00").await.unwrap(), None);
    // By now the first has expired.
    add("sk_fourth00", 1500).await.unwrap();
    let left = store.keys().await.unwrap();
    let left: Vec<&str> = left.iter().map(|key| key.key_id.as_str()).collect();
    assert_eq!(left, ["sk_third000", "sk_fourth00"]);
}
