//! What a token keeps of the one that it was exchanged for (RFC 8693, X3 to X6).
//!
//! A derived token is never more than its original: not wider, not longer, not less bound, and
//! whatever revokes the original revokes it too. Pure, so that a property test can say so.

use token::Claims;
use token::claims::{Actor, Confirmation, DELEGATIONS_MAX, IssuedTo};
use token::revocation::issued_at;

/// Longest life of a derived token, seconds (X4).
pub(crate) const LIFE_MAX_SECONDS: i64 = 300;

/// What a derived token takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Derived {
    /// Its end, seconds: the original's at the latest.
    pub(crate) exp: i64,
    /// The `jti` of the first of its ancestors.
    pub(crate) original_jti: Option<String>,
    /// The `jti`s of those after the first, oldest first.
    pub(crate) lineage: Vec<String>,
    /// To whom all of them were issued, and when: what is taken back from one of these clients is
    /// taken back from those after it.
    pub(crate) issued_to: Vec<IssuedTo>,
    /// Who acts, and who acted before.
    pub(crate) act: Option<Actor>,
    /// The key that it is bound to.
    pub(crate) cnf: Option<Confirmation>,
}

impl Derived {
    /// Puts on a token what it takes over.
    pub(crate) fn hand_down(self, original: Claims, claims: &mut Claims) {
        claims.exp = self.exp;
        // What is known of the subject is what the original said, not what came to be known since.
        claims.acr = original.acr;
        claims.auth_time = original.auth_time;
        claims.sid = original.sid;
        claims.family_id = original.family_id;
        claims.context = original.context;
        claims.original_jti = self.original_jti;
        claims.lineage = self.lineage;
        claims.issued_to = self.issued_to;
        claims.act = self.act;
        claims.cnf = self.cnf;
    }
}

/// The token was passed on as often as one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token was passed on {DELEGATIONS_MAX} times already")]
pub(crate) struct TooDeep;

/// What a token that `actor` gets for `original` takes over. None: nobody acts who did not act
/// before, as where a gateway passes a request on. `proven` is the key that the actor proved to
/// hold: what was bound stays bound to the same key, and what was not is bound now.
///
/// # Errors
/// When it was passed on too often (X5).
pub(crate) fn derive(
    original: &Claims,
    actor: Option<Actor>,
    proven: Option<Confirmation>,
    now: i64,
) -> Result<Derived, TooDeep> {
    let before = original.act.clone();
    let act = match actor {
        Some(actor) => Some(Actor {
            act: before.map(Box::new),
            ..actor
        }),
        None => before,
    };
    let mut lineage = original.lineage.clone();
    let original_jti = match &original.original_jti {
        Some(first) => {
            lineage.push(original.jti.clone());
            first.clone()
        }
        None => original.jti.clone(),
    };
    let mut issued_to = original.issued_to.clone();
    issued_to.push(IssuedTo {
        client_id: original.client_id.clone(),
        at: issued_at(&original.jti, original.iat).millis(),
    });
    let depth = act.as_ref().map_or(0, Actor::depth);
    if depth > DELEGATIONS_MAX || lineage.len() > DELEGATIONS_MAX {
        return Err(TooDeep);
    }
    Ok(Derived {
        exp: original.exp.min(now.saturating_add(LIFE_MAX_SECONDS)),
        original_jti: Some(original_jti),
        lineage,
        issued_to,
        act,
        cnf: original.cnf.clone().or(proven),
    })
}

/// The words of a scope that are asked for and that the original has, in the order in which they
/// are asked for and each once. All of the original's when nothing is asked for (X6).
pub(crate) fn narrowed<'a>(original: &'a str, requested: Option<&'a str>) -> Vec<&'a str> {
    let has = |word: &&str| original.split(' ').any(|own| own == *word);
    let mut words: Vec<&str> = Vec::new();
    for word in requested.unwrap_or(original).split(' ').filter(has) {
        if !word.is_empty() && !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;
    use token::claims::ContextClaim;
    use token::revocation::{Entry, Kind, Lineage, Live, RevocationList as _, Seed};

    use super::*;

    fn original() -> impl Strategy<Value = Claims> {
        let id = || "[a-z0-9-]{1,12}";
        let key = option::of("[A-Za-z0-9_-]{42}A".prop_map(|jkt| Confirmation {
            jkt: Some(jkt),
            x5t_s256: None,
        }));
        let actors = vec(id(), 0..=DELEGATIONS_MAX).prop_map(|actors| {
            actors.into_iter().fold(None, |act, sub| {
                Some(Actor {
                    sub,
                    client_id: None,
                    act: act.map(Box::new),
                })
            })
        });
        let lineage = (option::of(id()), vec(id(), 0..=DELEGATIONS_MAX));
        let scope = vec("[a-c]", 1..4).prop_map(|words| words.join(" "));
        (id(), lineage, scope, 0..10_000_i64, actors, key).prop_map(
            |(jti, (original_jti, lineage), scope, exp, act, cnf)| Claims {
                iss: "i".to_owned(),
                sub: "User/a".to_owned(),
                aud: "a".to_owned(),
                client_id: "c".to_owned(),
                iat: 0,
                nbf: 0,
                exp,
                jti,
                scope,
                acr: "none".to_owned(),
                sid: None,
                auth_time: None,
                cnf,
                act,
                lineage: original_jti.as_ref().map_or_else(Vec::new, |_| lineage),
                original_jti,
                issued_to: Vec::new(),
                family_id: None,
                status: None,
                context: ContextClaim::default(),
                risk: None,
            },
        )
    }

    const BEGIN: i64 = 1_795_215_660;

    /// A token and what was derived from it, one after the other, each by a client of its own.
    fn line(first: Claims, has_session: bool, waits: &[i64]) -> Vec<Claims> {
        let jti = |millis: i64| {
            let time = format!("{millis:012x}");
            let (high, low) = time.split_at(8);
            format!("{high}-{low}-7000-8000-000000000000")
        };
        let mut millis = BEGIN * 1000;
        let mut line = vec![Claims {
            jti: jti(millis),
            iat: BEGIN,
            exp: BEGIN + 900,
            sid: has_session.then(|| "ses_1".to_owned()),
            family_id: has_session.then(|| "f1".to_owned()),
            act: None,
            original_jti: None,
            lineage: Vec::new(),
            client_id: "client 0".to_owned(),
            ..first
        }];
        for (number, wait) in (1..).zip(waits) {
            let original = line.last().unwrap().clone();
            // No two are of one moment, as with the engine's own ids.
            millis += wait + 1;
            let derived = derive(&original, Some(actor()), None, millis / 1000).unwrap();
            let mut claims = Claims {
                jti: jti(millis),
                iat: millis / 1000,
                client_id: format!("client {number}"),
                ..blank(&original)
            };
            derived.hand_down(original, &mut claims);
            line.push(claims);
        }
        line
    }

    /// What a token has of itself before it takes anything over.
    fn blank(of: &Claims) -> Claims {
        Claims {
            sid: None,
            family_id: None,
            original_jti: None,
            lineage: Vec::new(),
            issued_to: Vec::new(),
            act: None,
            cnf: None,
            ..of.clone()
        }
    }

    fn actor() -> Actor {
        Actor {
            sub: "Service/s".to_owned(),
            client_id: Some("sk_1".to_owned()),
            act: None,
        }
    }

    proptest! {
        #[test]
        fn x4_x5_a_derived_token_is_never_more_than_its_original(
            original in original(), now in 0..10_000_i64, acts in any::<bool>(),
        ) {
            let actor = acts.then(actor);
            let proven = Some(Confirmation { jkt: Some("other".to_owned()), x5t_s256: None });
            let Ok(derived) = derive(&original, actor.clone(), proven.clone(), now) else {
                let depth = original.act.as_ref().map_or(0, Actor::depth);
                let passed = original.lineage.len() + usize::from(original.original_jti.is_some());
                prop_assert!((acts && depth == DELEGATIONS_MAX) || passed > DELEGATIONS_MAX);
                return Ok(());
            };
            prop_assert!(derived.exp <= original.exp && derived.exp <= now + LIFE_MAX_SECONDS);
            // Every ancestor is there, so whatever revokes one revokes this.
            let ancestors: Vec<&String> =
                derived.original_jti.iter().chain(&derived.lineage).collect();
            let before = original.original_jti.iter().chain(&original.lineage);
            for ancestor in before.chain([&original.jti]) {
                prop_assert!(ancestors.contains(&ancestor));
            }
            prop_assert!(derived.lineage.len() <= DELEGATIONS_MAX);
            let act = derived.act.as_ref();
            prop_assert!(act.map_or(0, Actor::depth) <= DELEGATIONS_MAX);
            let before = if acts { act.and_then(|act| act.act.as_deref()) } else { act };
            prop_assert_eq!(before, original.act.as_ref());
            let now_acts = actor.as_ref().or(original.act.as_ref());
            prop_assert_eq!(act.map(|act| &act.sub), now_acts.map(|act| &act.sub));
            prop_assert_eq!(derived.cnf, original.cnf.or(proven));
        }

        /// B5, V9: all kinds, up to any moment, at any place of the line.
        #[test]
        fn whatever_revokes_the_original_revokes_what_was_derived(
            first in original(),
            has_session in any::<bool>(),
            waits in vec(0..200_000_i64, 1..=DELEGATIONS_MAX),
            kind in 0..Kind::ALL.len(),
            at in any::<proptest::sample::Index>(),
            moment in -1000..900_000_i64,
        ) {
            let line = line(first, has_session, &waits);
            let place = at.index(line.len());
            let original = &line[place];
            let before = Timestamp::from_millis(BEGIN * 1000 + moment);
            let entry = match Kind::ALL[kind] {
                Kind::Session => Entry::Session("ses_1".to_owned()),
                Kind::Family => Entry::Family("f1".to_owned()),
                Kind::Subject => Entry::SubjectNotBefore { subject: original.sub.clone(), before },
                Kind::Client => {
                    Entry::Client { client_id: original.client_id.clone(), before }
                }
                Kind::Issuer => Entry::IssuerEpoch { before },
                Kind::Jti => Entry::Jti(original.jti.clone()),
            };
            let list = Live::new(Seed::new([7; 16]), 10);
            list.put(&entry, Timestamp::MAX);
            let is_revoked =
                |claims: &Claims| list.check(&Lineage::of(claims), Timestamp::MAX).is_some();
            let revoked: Vec<bool> = line.iter().map(is_revoked).collect();
            for derived in &revoked[place..] {
                prop_assert!(*derived || !revoked[place], "{entry:?}: {revoked:?} from {place}");
            }
            // And nothing that came before a client, or a token, is.
            if matches!(entry, Entry::Jti(_) | Entry::Client { .. }) {
                prop_assert!(!revoked[..place].contains(&true), "{entry:?}: {revoked:?}");
            }
            if matches!(entry, Entry::Jti(_)) {
                prop_assert!(revoked[place]);
            }
        }

        #[test]
        fn x6_a_scope_is_never_wider(
            original in vec("[a-e]", 1..5), requested in option::of(vec("[a-g]", 1..6)),
        ) {
            let (original, requested) = (original.join(" "), requested.map(|words| words.join(" ")));
            let granted = narrowed(&original, requested.as_deref());
            for word in &granted {
                prop_assert!(original.split(' ').any(|own| own == *word));
                let was_asked_for = requested
                    .as_deref()
                    .is_none_or(|asked| asked.split(' ').any(|own| own == *word));
                prop_assert!(was_asked_for);
            }
            let mut once = granted.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), granted.len());
        }
    }

    #[test]
    fn x5_a_token_is_passed_on_four_times_and_no_more() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut claims = original().new_tree(&mut runner).unwrap().current();
        (claims.act, claims.original_jti) = (None, None);
        claims.lineage.clear();
        for round in 1..=DELEGATIONS_MAX {
            let derived = derive(&claims, Some(actor()), None, 0).unwrap();
            assert_eq!(derived.act.as_ref().map(Actor::depth), Some(round));
            claims.act = derived.act;
            claims.original_jti = derived.original_jti;
            claims.lineage = derived.lineage;
            claims.jti = format!("derived-{round}");
        }
        assert_eq!(derive(&claims, Some(actor()), None, 0), Err(TooDeep));
    }
}
