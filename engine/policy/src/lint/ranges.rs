//! What values the engine's own words can have.

use std::collections::BTreeSet;

use cedar_policy_core::ast::Literal;
use domain::facts;

use super::world::{Known, Range};

/// The largest `Long`.
const MOST: i64 = i64::MAX;

/// Words whose values have a range: group, word, least, most. All others may have any.
const RANGES: &[(&str, &str, i64, i64)] = &[
    ("risk", "score", 0, 100),
    ("risk", "model_score", 0, 100),
    ("risk", "rule_score", 0, 100),
    ("assurance", "level", 0, 3),
    ("assurance", "age_seconds", 0, MOST),
    ("assurance", "challenge_age_seconds", 0, MOST),
    ("assurance", "mfa_age_seconds", 0, MOST),
    ("signals", "history", 0, MOST),
    ("signals", "new_objects_1m", 0, MOST),
    ("signals", "objects_5m", 0, MOST),
    ("signals", "objects_1h", 0, MOST),
    ("signals", "objects_1d", 0, MOST),
    ("signals", "recent_failures", 0, MOST),
    ("signals", "refused_prompts", 0, MOST),
    ("signals", "requests_5m", 0, MOST),
    ("signals", "requests_1h", 0, MOST),
    ("signals", "requests_1d", 0, MOST),
    ("session", "age_seconds", 0, MOST),
    ("time", "hour", 0, 23),
    ("time", "weekday", 1, 7),
];

/// Words that are one of a few texts.
const TEXTS: &[(&str, &str, &[&str])] = &[("risk", "level", &["LOW", "MEDIUM", "HIGH"])];

/// What is known of a word of the context before anything is asked of it.
pub(super) fn of(group: &str, word: &str) -> Option<Known> {
    let range = RANGES
        .iter()
        .find(|(of, name, ..)| (*of, *name) == (group, word))
        .map(|(_, _, low, high)| Known::Long(Range::new(*low, *high)));
    range.or_else(|| {
        let texts = texts(group, word)?;
        let texts: BTreeSet<Literal> = texts.iter().map(|text| Literal::from(*text)).collect();
        Some(Known::OneOf(texts))
    })
}

/// The texts that a word can be, if they are few.
pub(super) fn texts(group: &str, word: &str) -> Option<&'static [&'static str]> {
    TEXTS
        .iter()
        .find(|(of, name, _)| (*of, *name) == (group, word))
        .map(|(_, _, texts)| *texts)
}

/// The names of the words of a group that the engine offers.
pub(super) fn words(group: &str) -> impl Iterator<Item = &'static str> {
    facts::group(group)
        .into_iter()
        .flat_map(|group| group.words.iter().map(|word| word.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_is_of_a_word_that_there_is() {
        let numbers = RANGES.iter().map(|(group, word, ..)| (*group, *word));
        let texts = TEXTS.iter().map(|(group, word, _)| (*group, *word));
        for (group, word) in numbers.chain(texts) {
            assert!(words(group).any(|name| name == word), "{group}.{word}");
        }
        assert_eq!(of("risk", "score"), Some(Known::Long(Range::new(0, 100))));
        assert_eq!(of("risk", "nothing"), None);
    }
}
