//! Which words of the context the policies mention at all. What none of them mentions is not
//! built: nobody would see it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, Var};
use smol_str::SmolStr;

use crate::clock;

/// The words that a set of policies looks at.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    /// `context` itself is used as a value, so that everything in it may be seen.
    everything: bool,
    /// Groups that are used as values: all their words may be seen.
    groups: HashSet<SmolStr>,
    words: HashMap<(SmolStr, SmolStr), Uses>,
}

/// How a word is used.
#[derive(Debug, Default)]
struct Uses {
    /// Numbers that it is compared with.
    against: BTreeSet<i64>,
    /// How often its value is taken, and how often only to compare it with one of them.
    taken: usize,
    compared: usize,
}

/// What the policies can tell of the value of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// All of it.
    Exactly,
    /// Only where it lies among these numbers, which rise.
    Among(Vec<i64>),
}

impl Mentions {
    /// Takes note of what a condition looks at.
    pub(crate) fn add(&mut self, condition: &Expr) {
        // Counted from outside in: a `context` that stands where only an attribute of it is
        // taken is accounted for, any other is used as a value.
        let (mut contexts, mut read) = (0, 0);
        let (mut uses, mut words) = (Vec::new(), 0);
        for part in condition.subexpressions() {
            match part.expr_kind() {
                ExprKind::Var(Var::Context) => contexts += 1,
                ExprKind::BinaryApp {
                    op: BinaryOp::Less | BinaryOp::LessEq | BinaryOp::Eq,
                    arg1,
                    arg2,
                } => {
                    let compared = [(arg1, arg2), (arg2, arg1)];
                    let compared = compared
                        .into_iter()
                        .find_map(|(word, number)| Some((word_of(word)?, number_of(number)?)));
                    if let Some((word, number)) = compared {
                        let uses = self.words.entry(word).or_default();
                        uses.against.insert(number);
                        uses.compared += 1;
                    }
                }
                ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
                    if is_context(expr) {
                        read += 1;
                        uses.push((
                            attr.clone(),
                            matches!(part.expr_kind(), ExprKind::HasAttr { .. }),
                        ));
                    } else if let Some(group) = group_of(expr) {
                        words += 1;
                        let uses = self.words.entry((group, attr.clone())).or_default();
                        uses.taken += usize::from(word_of(part).is_some());
                    }
                }
                _ => {}
            }
        }
        self.everything |= contexts > read;
        // Each word is taken from its group; a group taken more often than that is a value.
        let taken = uses.iter().filter(|(_, only_asked)| !only_asked).count();
        if taken > words {
            self.groups.extend(uses.into_iter().map(|(group, _)| group));
        }
    }

    /// Whether anything of the subject's own clock may be seen.
    pub(crate) fn sees_clock(&self) -> bool {
        clock::WORDS.into_iter().any(|word| self.sees("time", word))
    }

    /// Whether a word of a group may be seen.
    pub(crate) fn sees(&self, group: &str, word: &str) -> bool {
        self.everything
            || self.groups.contains(group)
            || self
                .words
                .contains_key(&(SmolStr::new(group), SmolStr::new(word)))
    }

    /// What may be told of a word's value: of a number that is only ever compared with others,
    /// less than the number.
    pub(crate) fn seen(&self, group: &str, word: &str) -> Seen {
        let uses = self
            .words
            .get(&(SmolStr::new(group), SmolStr::new(word)))
            .filter(|uses| uses.taken == uses.compared);
        match uses {
            Some(uses) if !self.everything && !self.groups.contains(group) => {
                Seen::Among(uses.against.iter().copied().collect())
            }
            _ => Seen::Exactly,
        }
    }
}

/// The parts of a condition that must all be true for it to hold, and that look at principal,
/// action and resource alone.
pub(crate) fn of_parties(condition: &Arc<Expr>) -> Vec<Arc<Expr>> {
    if !condition.subexpressions().any(is_context) {
        return vec![Arc::clone(condition)];
    }
    match condition.expr_kind() {
        ExprKind::And { left, right } => {
            let mut parts = of_parties(left);
            parts.extend(of_parties(right));
            parts
        }
        _ => Vec::new(),
    }
}

fn is_context(expr: &Expr) -> bool {
    matches!(expr.expr_kind(), ExprKind::Var(Var::Context))
}

/// Group and word, if the expression is `context.group.word`.
fn word_of(expr: &Expr) -> Option<(SmolStr, SmolStr)> {
    match expr.expr_kind() {
        ExprKind::GetAttr { expr, attr } => Some((group_of(expr)?, attr.clone())),
        _ => None,
    }
}

fn number_of(expr: &Expr) -> Option<i64> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::Long(number)) => Some(*number),
        _ => None,
    }
}

/// The group, if the expression is `context.group`.
fn group_of(expr: &Expr) -> Option<SmolStr> {
    match expr.expr_kind() {
        ExprKind::GetAttr { expr, attr } if is_context(expr) => Some(attr.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mentions(text: &str) -> Mentions {
        let mut mentions = Mentions::default();
        mentions.add(&text.parse().unwrap());
        mentions
    }

    #[test]
    fn what_a_condition_says_of_the_parties_is_told_apart() {
        for (text, wanted) in [
            (
                "principal has a && principal.a",
                &["principal has a && principal.a"][..],
            ),
            (
                "principal.a && context.b && (resource.c || resource.d)",
                &["principal.a", "resource.c || resource.d"],
            ),
            ("principal.a || context.b", &[]),
            ("!(principal.a && context.b)", &[]),
            ("context.b", &[]),
        ] {
            let parts = of_parties(&Arc::new(text.parse().unwrap()));
            let wanted: Vec<Expr> = wanted.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(parts.len(), wanted.len(), "{text}");
            for (part, wanted) in parts.iter().zip(&wanted) {
                assert!(part.eq_shape(wanted), "{text}");
            }
        }
    }

    #[test]
    fn what_may_be_seen_is_kept_and_nothing_else() {
        let plain = mentions("context.risk.score > 3 && context.signals has tor");
        assert!(plain.sees("risk", "score") && plain.sees("signals", "tor"));
        assert!(!plain.sees("risk", "level") && !plain.sees("signals", "vpn"));
        let group = mentions("context.risk == {score: 3} && context.device.id == \"x\"");
        assert!(group.sees("risk", "level"));
        let whole = mentions("[context].contains(context) || context.risk.score > 3");
        assert!(whole.sees("device", "os"));
        let nested = mentions("if context has risk then context.risk.score > 3 else false");
        assert!(nested.sees("risk", "score") && !nested.sees("risk", "level"));
    }
    #[test]
    fn of_a_number_that_is_only_compared_less_is_told() {
        let among = |numbers: &[i64]| Seen::Among(numbers.to_vec());
        for (text, score) in [
            (
                "context.risk.score >= 30 && context.risk.score < 80",
                among(&[30, 80]),
            ),
            (
                "60 <= context.risk.score || context.risk.score == -1",
                among(&[-1, 60]),
            ),
            ("context has risk && context.risk has score", among(&[])),
            // Anything else may tell the number itself.
            ("context.risk.score > context.action.most", Seen::Exactly),
            ("context.risk.score + 1 > 30", Seen::Exactly),
            (
                "context.risk.score > 30 && [1, 2].contains(context.risk.score)",
                Seen::Exactly,
            ),
            (
                "context.risk.score > 30 && context.risk == {score: 3}",
                Seen::Exactly,
            ),
            (
                "context.risk.score > 30 && [context].contains(context)",
                Seen::Exactly,
            ),
            ("context.risk.level == \"HIGH\"", Seen::Exactly),
        ] {
            assert_eq!(mentions(text).seen("risk", "score"), score, "{text}");
        }
    }
}
