use super::*;

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
