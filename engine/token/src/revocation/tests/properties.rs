//! What holds of every list, whatever is put into it in whatever order.

use proptest::prelude::*;

use crate::claims::IssuedTo;

use super::*;

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
    /// Up to so long ago, for what is revoked up to a moment.
    Revoke {
        kind: Kind,
        which: u8,
        millis_ago: i64,
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
    let ago = prop_oneof![Just(0), 0..1_000_000_i64];
    let revoke =
        (0..Kind::ALL.len(), 0..3_u8, ago).prop_map(|(kind, which, millis_ago)| Step::Revoke {
            kind: Kind::ALL[kind],
            which,
            millis_ago,
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
    issued_to: Vec<IssuedTo>,
    parent: Option<usize>,
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
        let lives = Lives { leeway_seconds: 5, family_seconds: 600, session_seconds: 300, foreign_seconds: 900 };
        let mut list = live();
        let mut now = NOW;
        let mut issued: Vec<Issued> = Vec::new();
        // What a store would hold.
        let mut stored: Vec<(Entry, Timestamp)> = Vec::new();
        for step in steps {
            match step {
                Step::Issue { session, subject, client, life, parent } => {
                    let tail = issued.len() as u64;
                    let parent_at = parent.filter(|parent| *parent < issued.len());
                    let parent = parent_at.map(|parent| issued[parent].clone());
                    let mut token = Issued {
                        jti: jti(now, tail),
                        ancestors: Vec::new(),
                        sid: format!("ses_{session}"),
                        sub: format!("User/{subject}"),
                        client: format!("sk_{client}"),
                        issued_to: Vec::new(),
                        parent: parent_at,
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
                        token.issued_to = parent.issued_to.clone();
                        token.issued_to.push(IssuedTo {
                            client_id: parent.client.clone(),
                            at: parent.at.millis(),
                        });
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
                Step::Revoke { kind, which, millis_ago } => {
                    let before = Timestamp::from_millis(now.millis() - millis_ago);
                    let entry = match kind {
                        Kind::Session => Entry::Session(format!("ses_{which}")),
                        Kind::Family => Entry::Family(format!("family of ses_{which}")),
                        Kind::Subject => Entry::SubjectNotBefore { subject: format!("User/{which}"), before },
                        Kind::Client => Entry::Client { client_id: format!("sk_{which}"), before },
                        Kind::Issuer => Entry::IssuerEpoch { before },
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
                    // Whatever revokes a token revokes what came out of it; parents come first.
                    for at in 0..issued.len() {
                        let parent = issued[at].parent;
                        issued[at].revoked |= parent.is_some_and(|parent| issued[parent].revoked);
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
                    issued_to: &token.issued_to,
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
