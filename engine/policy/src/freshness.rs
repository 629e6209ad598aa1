//! How fresh a proof must be: windows too short to be met are refused.
//!
//! A person passes a step-up, the application asks again, and some seconds are over. A policy
//! that wants a proof of five seconds ago asks for another step-up for ever.

use std::sync::Arc;

use cedar_policy::PolicySet;
use cedar_policy_core::ast::{self, BinaryOp, Expr, ExprKind};

use crate::load::{Places, whole_number};
use crate::problem::Problem;

/// Shortest window that a policy may ask for, seconds.
const WINDOW_MIN: i64 = 30;

/// The words of `context.assurance` that say how long ago something was proven.
const AGES: [&str; 3] = ["age_seconds", "challenge_age_seconds", "mfa_age_seconds"];

/// Refuses policies with windows that are too short.
pub(crate) fn refuse(set: &PolicySet, places: &Places<'_>, problems: &mut Vec<Problem>) {
    // A link's condition is that of its template, which is looked at once.
    let policies = set.policies().filter(|policy| policy.is_static());
    let policies = policies.map(|policy| {
        let core: &ast::Policy = policy.as_ref();
        (policy.id(), core.non_scope_constraints_arc())
    });
    let templates = set.templates().map(|template| {
        let core: &ast::Template = template.as_ref();
        (template.id(), core.non_scope_constraints_arc())
    });
    for (id, condition) in policies.chain(templates) {
        let (Some(condition), Some((file, start))) = (condition, places.get(id)) else {
            continue;
        };
        problems.extend(too_short(condition).map(|found| {
            Problem::error(
                &file.name,
                format!(
                    "`{}` is compared with {} seconds, and nobody can be that quick",
                    found.age, found.seconds
                ),
            )
            .over(file, found.offset.unwrap_or(*start), found.length)
            .of_kind("policy::window-too-short")
            .with_help(format!("ask for {} seconds or more", WINDOW_MIN))
        }));
    }
}

/// A comparison of an age with something shorter than any window may be.
#[derive(Debug)]
struct TooShort<'a> {
    /// The word.
    age: &'a str,
    /// What it is compared with, seconds.
    seconds: i64,
    /// Where it stands: bytes from the beginning of its file, if that is known.
    offset: Option<usize>,
    /// How long the comparison is, bytes.
    length: usize,
}

/// Windows of a condition that are too short. Whatever way round an age is compared with a number,
/// the number is where the window ends.
fn too_short(condition: &Arc<Expr>) -> impl Iterator<Item = TooShort<'_>> {
    condition.subexpressions().filter_map(|part| {
        let ExprKind::BinaryApp { op, arg1, arg2 } = part.expr_kind() else {
            return None;
        };
        if !matches!(op, BinaryOp::Less | BinaryOp::LessEq | BinaryOp::Eq) {
            return None;
        }
        let (age, seconds) = match (age(arg1), age(arg2)) {
            (Some(age), None) => (age, whole_number(arg2)?),
            (None, Some(age)) => (age, whole_number(arg1)?),
            _ => return None,
        };
        (seconds < WINDOW_MIN).then(|| TooShort {
            age,
            seconds,
            offset: part.source_loc().map(|loc| loc.span.offset()),
            length: part.source_loc().map_or(1, |loc| loc.span.len()),
        })
    })
}

/// The word, if the expression is an age in `context.assurance`.
fn age(expr: &Expr) -> Option<&str> {
    let ExprKind::GetAttr { expr: group, attr } = expr.expr_kind() else {
        return None;
    };
    let is_assurance =
        matches!(group.expr_kind(), ExprKind::GetAttr { attr, .. } if attr == "assurance");
    is_assurance
        .then(|| AGES.into_iter().find(|age| attr == age))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<i64> {
        let condition: Arc<Expr> = Arc::new(text.parse().unwrap());
        too_short(&condition).map(|found| found.seconds).collect()
    }

    #[test]
    fn windows_under_thirty_seconds_are_found_however_they_are_written() {
        for (text, wanted) in [
            ("context.assurance.mfa_age_seconds <= 29", vec![29]),
            ("context.assurance.mfa_age_seconds < 5", vec![5]),
            ("!(context.assurance.age_seconds > 5)", vec![5]),
            ("5 >= context.assurance.challenge_age_seconds", vec![5]),
            ("context.assurance.age_seconds == 0", vec![0]),
            (
                "context.signals has tor || context.assurance.age_seconds < -1",
                vec![-1],
            ),
            ("context.assurance.mfa_age_seconds < 30", vec![]),
            ("context.assurance.mfa_age_seconds <= 30", vec![]),
            ("context.assurance.level >= 3", vec![]),
            ("context.session.age_seconds < 5", vec![]),
        ] {
            assert_eq!(found(text), wanted, "{text}");
        }
    }
}
