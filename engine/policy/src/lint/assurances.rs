//! The assurances that a condition can tell apart, as the engine gives them to policies.

use domain::facts::AssuranceFacts;
use domain::{Assurance, Level, Timestamp};

/// More constants than these are not all tried.
const CONSTANTS_MAX: usize = 4;

/// The moment at which assurances are looked at. What matters are ages.
const NOW_SECONDS: i64 = 100_000_000_000;

/// The assurances that comparisons with these ages part, with those that each step of the ladder
/// makes of them, the least first. False when there are too many ages to try all.
pub(super) fn telling(ages: &[i64]) -> (Vec<AssuranceFacts>, bool) {
    let now = Timestamp::from_seconds(NOW_SECONDS);
    let mut ages: Vec<i64> = ages
        .iter()
        .copied()
        .filter(|age| (0..NOW_SECONDS).contains(age))
        .collect();
    ages.sort_unstable();
    ages.dedup();
    let all = ages.len() <= CONSTANTS_MAX;
    ages.truncate(CONSTANTS_MAX);
    let around = ages.iter().flat_map(|age| [age - 1, *age, age + 1]);
    let mut ages: Vec<i64> = around.chain([0]).filter(|age| *age >= 0).collect();
    ages.sort_unstable_by(|a, b| b.cmp(a));
    ages.dedup();
    let moments = ages.iter().map(|age| Some(now.plus_seconds(-age)));
    let moments: Vec<Option<Timestamp>> = [None].into_iter().chain(moments).collect();
    let levels = [
        Level::None,
        Level::SingleFactor,
        Level::Challenge,
        Level::Mfa,
    ];
    let held = levels
        .into_iter()
        .flat_map(|level| moments.iter().map(move |at| Assurance::of(level, *at)));
    let held: Vec<Assurance> = held.collect();
    let climbed = held.iter().map(|held| held.with_challenge_passed(now));
    let mut told: Vec<AssuranceFacts> = held
        .iter()
        .copied()
        .chain(climbed)
        .map(|assurance| AssuranceFacts::of(&assurance, now))
        .collect();
    let mut known: Vec<AssuranceFacts> = Vec::with_capacity(told.len());
    told.retain(|facts| {
        let new = !known.contains(facts);
        if new {
            known.push(facts.clone());
        }
        new
    });
    told.sort_by_key(|facts| {
        let age = |age: Option<i64>| age.map_or(i64::MIN, |age| -age);
        (
            facts.level,
            age(facts.age_seconds),
            age(facts.challenge_age_seconds),
            age(facts.mfa_age_seconds),
        )
    });
    (told, all)
}

/// Whether one assurance is more than another, and less in nothing.
pub(super) fn is_more(one: &AssuranceFacts, than: &AssuranceFacts) -> bool {
    let younger = |one: Option<i64>, than: Option<i64>| match (one, than) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(one), Some(than)) => one <= than,
    };
    one != than
        && one.level >= than.level
        && younger(one.age_seconds, than.age_seconds)
        && younger(one.challenge_age_seconds, than.challenge_age_seconds)
        && younger(one.mfa_age_seconds, than.mfa_age_seconds)
}

/// An assurance in words.
pub(super) fn in_words(facts: &AssuranceFacts) -> String {
    let level = facts.level.unwrap_or_default();
    let age = |name: &str, age: Option<i64>| age.map(|age| format!("{name} {age} s ago"));
    let proofs = [
        age("challenge", facts.challenge_age_seconds),
        age("MFA", facts.mfa_age_seconds),
    ];
    let proofs: Vec<String> = proofs.into_iter().flatten().collect();
    if proofs.is_empty() {
        format!("level {level}")
    } else {
        format!("level {level}, {}", proofs.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_of_the_ladder_is_more_than_what_was_before() {
        let now = Timestamp::from_seconds(NOW_SECONDS);
        let (told, all) = telling(&[900, 60]);
        assert!(all && told.len() > 20);
        let nothing = AssuranceFacts::of(&Assurance::default(), now);
        let mfa = AssuranceFacts::of(&Assurance::default().with_mfa_passed(now), now);
        assert!(is_more(&mfa, &nothing) && !is_more(&nothing, &mfa));
        assert_eq!(told.first(), Some(&nothing));
        for facts in told.iter().filter(|facts| **facts != mfa) {
            assert!(is_more(&mfa, facts), "{facts:?}");
        }
    }
}
