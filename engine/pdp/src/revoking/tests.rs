use std::time::{Duration, Instant};

use super::*;
use crate::inputs::Inputs;

#[test]
fn nobody_revokes_what_will_only_be_issued() {
    let now = Timestamp::from_seconds(1_795_215_660);
    let of = |before| Entry::Client {
        client_id: "sk_1".to_owned(),
        before,
    };
    let past = now.plus_seconds(-1);
    assert_eq!(up_to(of(past), now), (of(past), false));
    for ahead in [now, now.plus_seconds(60), Timestamp::MAX] {
        assert_eq!(up_to(of(ahead), now), (of(now), true));
    }
    let session = Entry::Session("ses_1".to_owned());
    assert_eq!(up_to(session.clone(), now), (session, false));
}

fn lineage(jti: &str, at: Timestamp) -> Lineage<'_> {
    Lineage {
        jti,
        original_jti: None,
        ancestors: &[],
        issued_to: &[],
        family: None,
        sid: None,
        sub: "User/alice",
        client_id: "sk_1",
        issued_at: at,
    }
}

#[test]
fn b5_a_clock_that_jumps_ahead_takes_nothing_away() {
    let from = Timestamp::from_seconds(1_795_215_660);
    let started = Instant::now();
    let passed = Passed::since(from, started);
    for (wall, seconds, wanted) in [
        (0, 0, 0),
        (60, 60, 60),
        // An hour ahead, a minute after the start.
        (3660, 60, 60),
        // And behind.
        (-3600, 60, -3600),
    ] {
        let now = started + Duration::from_secs(seconds);
        let wanted = from.plus_seconds(wanted - KEPT_SECONDS);
        assert_eq!(passed.over_before(from.plus_seconds(wall), now), wanted);
    }
}

#[tokio::test]
async fn b5_a_start_under_a_clock_that_is_ahead_loses_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("test.db")).await.unwrap();
    let settings = Settings::load(None, std::iter::empty()).unwrap();
    let now = Timestamp::from_seconds(1_795_215_660);
    let new = NewRevocation {
        kind: "jti",
        id: "1".to_owned(),
        before: None,
        until: now.plus_seconds(60),
        at: now,
        by: "sk_1".to_owned(),
        subject: None,
        reason: None,
    };
    store.add_revocation(&new).await.unwrap();
    let ahead = now.plus_seconds(3600);
    let randomness = Inputs::system().randomness;
    let restored = Revocations::restore(&settings, &store, Meters::default(), &*randomness, ahead);
    let restored = restored.await.unwrap();
    let over = restored.over_before(ahead);
    assert_eq!(store.forget_revocations(over).await.unwrap(), 0);
    for _ in 0..16 {
        restored.tidy(ahead);
    }
    // The clock was put right.
    let by = restored.check(&lineage("1", now), now);
    assert_eq!(by, Some(RevokedBy::Token));
}
