//! What a token keeps of the one that it was exchanged for (RFC 8693, X3 to X6).
//!
//! A derived token is never more than its original: not wider, not longer, not less bound, and
//! whatever revokes the original revokes it too. Pure, so that a property test can say so.

use token::Claims;
use token::claims::{Actor, Confirmation, DELEGATIONS_MAX};

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
    /// Who acts, and who acted before.
    pub(crate) act: Actor,
    /// The key that it is bound to.
    pub(crate) cnf: Option<Confirmation>,
}

/// The token was passed on as often as one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token was passed on {DELEGATIONS_MAX} times already")]
pub(crate) struct TooDeep;

/// What a token that `actor` gets for `original` takes over. `proven` is the key that the actor
/// proved to hold: what was bound stays bound to the same key, and what was not is bound now.
///
/// # Errors
/// When it was passed on too often (X5).
pub(crate) fn derive(
    original: &Claims,
    mut actor: Actor,
    proven: Option<Confirmation>,
    now: i64,
) -> Result<Derived, TooDeep> {
    actor.act = original.act.clone().map(Box::new);
    let mut lineage = original.lineage.clone();
    let original_jti = match &original.original_jti {
        Some(first) => {
            lineage.push(original.jti.clone());
            first.clone()
        }
        None => original.jti.clone(),
    };
    if actor.depth() > DELEGATIONS_MAX || lineage.len() > DELEGATIONS_MAX {
        return Err(TooDeep);
    }
    Ok(Derived {
        exp: original.exp.min(now.saturating_add(LIFE_MAX_SECONDS)),
        original_jti: Some(original_jti),
        lineage,
        act: actor,
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
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;
    use token::claims::ContextClaim;

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
                family_id: None,
                status: None,
                context: ContextClaim::default(),
                risk: None,
            },
        )
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
            original in original(), now in 0..10_000_i64,
        ) {
            let proven = Some(Confirmation { jkt: Some("other".to_owned()), x5t_s256: None });
            let Ok(derived) = derive(&original, actor(), proven.clone(), now) else {
                let depth = original.act.as_ref().map_or(0, Actor::depth);
                let passed = original.lineage.len() + usize::from(original.original_jti.is_some());
                prop_assert!(depth == DELEGATIONS_MAX || passed > DELEGATIONS_MAX);
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
            prop_assert!(derived.act.depth() <= DELEGATIONS_MAX);
            prop_assert_eq!(derived.act.act.as_deref(), original.act.as_ref());
            prop_assert_eq!(derived.cnf, original.cnf.or(proven));
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
            let derived = derive(&claims, actor(), None, 0).unwrap();
            assert_eq!(derived.act.depth(), round);
            claims.act = Some(derived.act);
            claims.original_jti = derived.original_jti;
            claims.lineage = derived.lineage;
            claims.jti = format!("derived-{round}");
        }
        assert_eq!(derive(&claims, actor(), None, 0), Err(TooDeep));
    }
}
